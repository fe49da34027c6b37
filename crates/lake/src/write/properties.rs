//! How the files of each table are encoded.

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use runlake_types::{ColumnKind, TableId, TableKind};

/// A point look-up decodes whole pages: keep them small.
const FACTS_PAGE_ROWS: usize = 20 << 10;
const STATE_PAGE_ROWS: usize = 4 << 10;
const STATE_PAGE_BYTES: usize = 64 << 10;
/// A look-up in a state table reads the dictionaries of its row group: keep them small.
const STATE_DICTIONARY_BYTES: usize = 128 << 10;
const FACTS_GROUP_ROWS: usize = 1 << 20;
const STATE_GROUP_ROWS: usize = 128 << 10;

/// zstd; dictionaries for text, delta encoding for numbers and times, split bytes for doubles.
///
/// No statistics for doubles: minimum and maximum leave NaN out, and a filter would then lose rows.
pub(super) fn of(table: TableId, zstd_level: i32) -> WriterProperties {
    let level = ZstdLevel::try_new(zstd_level).unwrap_or_default();
    // Readers do not agree on where NaN belongs: no promise about doubles.
    let columns = table.columns()[..table.key_len()].iter().take_while(|column| column.kind != ColumnKind::Float);
    let sorting =
        (0..).zip(columns).map(|(column_idx, _)| SortingColumn { column_idx, descending: false, nulls_first: false });
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by(format!("runlake {}", env!("CARGO_PKG_VERSION")))
        .set_sorting_columns(Some(sorting.collect()));
    builder = match table.kind() {
        TableKind::Facts => builder
            .set_write_batch_size(FACTS_PAGE_ROWS / 5)
            .set_data_page_row_count_limit(FACTS_PAGE_ROWS)
            .set_max_row_group_row_count(Some(FACTS_GROUP_ROWS)),
        TableKind::State => builder
            .set_data_page_row_count_limit(STATE_PAGE_ROWS)
            .set_data_page_size_limit(STATE_PAGE_BYTES)
            .set_dictionary_page_size_limit(STATE_DICTIONARY_BYTES)
            .set_max_row_group_row_count(Some(STATE_GROUP_ROWS)),
    };
    for column in table.columns() {
        let path = ColumnPath::from(column.name);
        builder = match column.kind {
            ColumnKind::Int | ColumnKind::Time => builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            ColumnKind::Float => builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
                .set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT),
            ColumnKind::Text | ColumnKind::Bool | ColumnKind::Map => builder,
        };
    }
    builder.build()
}
