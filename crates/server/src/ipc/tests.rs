use arrow_array::types::Int32Type;
use arrow_array::{DictionaryArray, Float64Array, Int64Array, StringArray, StringViewArray};
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{Field, Schema};

use super::*;

/// A stream of two batches with every kind of column that is taken.
fn stream(codec: Option<CompressionType>) -> Vec<u8> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("run_id", DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into()), true),
        Field::new("key", DataType::Utf8View, true),
        Field::new("value", DataType::Float64, true),
        Field::new("step", DataType::Int64, true),
        Field::new("model_id", DataType::Utf8, true),
    ]));
    let options = IpcWriteOptions::default().try_with_compression(codec).unwrap();
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new_with_options(&mut bytes, &schema, options).unwrap();
    for start in [0i32, 300] {
        let rows = start..start + 300;
        let texts: Vec<String> =
            rows.clone().map(|row| format!("a text of more than twelve bytes {}", row % 7)).collect();
        let runs: DictionaryArray<Int32Type> = texts.iter().map(String::as_str).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(runs),
            Arc::new(StringViewArray::from_iter_values(&texts)),
            Arc::new(rows.clone().map(|row| Some(f64::from(row))).collect::<Float64Array>()),
            Arc::new(rows.clone().map(|row| (row % 5 > 0).then_some(i64::from(row))).collect::<Int64Array>()),
            Arc::new(rows.map(|row| (row % 3 > 0).then(|| row.to_string())).collect::<StringArray>()),
        ];
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()).unwrap();
    }
    writer.finish().unwrap();
    bytes
}

/// Rows of a stream that comes in pieces of `piece` bytes.
fn rows(bytes: &[u8], piece: usize) -> Result<usize> {
    let (mut framed, mut decoder, mut rows) = (Framed::default(), Decoder::default(), 0);
    for piece in bytes.chunks(piece.max(1)) {
        framed.push(piece);
        while let Some((header, body)) = framed.next()? {
            if let Decoded::Batch(batch) = decoder.decode(&header, body)? {
                rows += batch.num_rows();
            }
        }
    }
    framed.finish()?;
    Ok(rows)
}

const CODECS: [Option<CompressionType>; 3] = [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)];

#[test]
fn streams_are_read_however_they_are_cut_and_compressed() {
    for codec in CODECS {
        let bytes = stream(codec);
        for piece in [1, 7, 64, 4096, bytes.len()] {
            assert_eq!(rows(&bytes, piece).unwrap(), 600, "{codec:?} by {piece}");
        }
    }
}

#[test]
fn a_stream_that_breaks_off_is_an_error() {
    let bytes = stream(None);
    let end = bytes.len() - 8;
    for length in [1, 4, 9, 100, end / 2, end - 1] {
        let error = rows(&bytes[..length], length).unwrap_err();
        assert!(error.message().contains("cut short"), "{length}: {}", error.message());
    }
    // The mark of the end may be missing.
    assert_eq!(rows(&bytes[..end], end).unwrap(), 600);
}

/// Nothing that arrives is a panic, or takes memory without end.
#[test]
fn damaged_streams_are_refused_or_read() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut chance = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for codec in CODECS {
        let whole = stream(codec);
        for _ in 0..1500 {
            let mut bytes = whole.clone();
            for _ in 0..=chance(4) {
                let at = chance(bytes.len());
                match chance(4) {
                    0 => bytes[at] ^= 1 << chance(8),
                    1 => bytes[at] = 0xFF,
                    2 => bytes.truncate(at.max(1)),
                    _ => {
                        let end = (at + 8).min(bytes.len());
                        bytes[at..end].fill(0x7F);
                    }
                }
            }
            let piece = chance(bytes.len()) + 1;
            match rows(&bytes, piece) {
                Ok(rows) => assert!(rows <= 600 * 64),
                Err(error) => assert!(error.status().is_client_error(), "{}", error.message()),
            }
        }
    }
    std::panic::set_hook(hook);
}

#[test]
fn a_declared_length_is_not_taken_at_its_word() {
    let part = |declared: i64, data: &[u8]| [&declared.to_le_bytes()[..], data].concat();
    let zstd = |declared: i64| decoded_bytes(&part(declared, &[0; 20]), CompressionType::ZSTD);
    assert_eq!(zstd(1 << 40).unwrap(), 1 << 40);
    assert_eq!(zstd(-1).unwrap(), 20);
    assert!(zstd(-2).is_err());
    assert!(decoded_bytes(&[0; 7], CompressionType::ZSTD).is_err());
    // A frame of LZ4 that says little of itself and becomes much.
    let mut bomb = 0x184D_2204_u32.to_le_bytes().to_vec();
    bomb.extend([0x40, 0x70, 0]);
    for _ in 0..10 {
        bomb.extend(100_000u32.to_le_bytes());
        bomb.extend([0; 100_000]);
    }
    bomb.extend([0; 4]);
    assert_eq!(decoded_bytes(&part(8, &bomb), CompressionType::LZ4_FRAME).unwrap(), 10 * (4 << 20));
}

#[test]
fn types_that_no_table_takes_are_refused_at_the_schema() {
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
    for kind in [list.clone(), DataType::Dictionary(DataType::Int8.into(), list.into())] {
        let schema = Schema::new(vec![Field::new("value", kind, true)]);
        let mut bytes = Vec::new();
        StreamWriter::try_new(&mut bytes, &schema).unwrap().finish().unwrap();
        let error = rows(&bytes, bytes.len()).unwrap_err();
        assert!(error.message().contains("nested"), "{}", error.message());
    }
}
