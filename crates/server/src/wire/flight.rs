//! What tickets and handles of Flight say. They hold everything there is to know, so that the server keeps nothing between
//! calls.

use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Schema, SchemaRef};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runlake_query::{Parameters, Request};
use serde::{Deserialize, Serialize};

use super::plain_ticket::PlainTicket;
use super::sql::as_of;
use crate::error::{ApiError, Result};

/// Memory of the parameters of a statement.
const MOST_PARAMETER_BYTES: usize = 1 << 20;
/// Rows of parameters, each of which is a query.
const MOST_PARAMETER_ROWS: usize = 1000;

/// How buffers of an answer are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    Zstd,
    Lz4,
    None,
}

impl Compression {
    /// As Arrow calls it.
    pub(crate) fn of_ipc(self) -> CompressionType {
        match self {
            Self::Zstd | Self::None => CompressionType::ZSTD,
            Self::Lz4 => CompressionType::LZ4_FRAME,
        }
    }
}

/// How statements are answered, where their text does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) as_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) row_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compression: Option<Compression>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dictionaries: Option<bool>,
}

impl Options {
    /// Their names.
    pub(crate) const NAMES: [&str; 5] = ["as_of", "row_limit", "timeout_ms", "compression", "dictionaries"];

    /// Sets one from its text; an empty text unsets it. `None` if there is none of this name.
    pub(crate) fn set(&mut self, name: &str, text: &str) -> Option<Result<()>> {
        fn read<T>(place: &mut Option<T>, text: &str, name: &str, takes: &str, value: Option<T>) -> Result<()> {
            if !text.is_empty() && value.is_none() {
                let text: String = text.chars().take(100).collect();
                return Err(ApiError::invalid(format!("Invalid value {text:?} for '{name}': it must be {takes}.")));
            }
            *place = if text.is_empty() { None } else { value };
            Ok(())
        }
        let number = "a whole number";
        Some(match name {
            "as_of" => {
                let value = as_of(text).ok().map(|_| text.to_owned());
                read(&mut self.as_of, text, name, "a UTC time such as 2026-05-03T12:00:00Z", value)
            }
            "row_limit" => read(&mut self.row_limit, text, name, number, text.parse().ok()),
            "timeout_ms" => read(&mut self.timeout_ms, text, name, number, text.parse().ok()),
            "compression" => {
                let value = match text {
                    "zstd" => Some(Compression::Zstd),
                    "lz4" => Some(Compression::Lz4),
                    "none" => Some(Compression::None),
                    _ => None,
                };
                read(&mut self.compression, text, name, "zstd, lz4 or none", value)
            }
            "dictionaries" => read(&mut self.dictionaries, text, name, "true or false", text.parse().ok()),
            _ => return None,
        })
    }

    /// Those that are set, as texts.
    pub(crate) fn texts(&self) -> Vec<(&'static str, String)> {
        let compression = self.compression.map(|compression| match compression {
            Compression::Zstd => "zstd",
            Compression::Lz4 => "lz4",
            Compression::None => "none",
        });
        let texts = [
            self.as_of.clone(),
            self.row_limit.map(|limit| limit.to_string()),
            self.timeout_ms.map(|millis| millis.to_string()),
            compression.map(str::to_owned),
            self.dictionaries.map(|wanted| wanted.to_string()),
        ];
        Self::NAMES.into_iter().zip(texts).filter_map(|(name, text)| Some((name, text?))).collect()
    }

    /// These, and the others where these say nothing.
    pub(crate) fn or(self, others: &Self) -> Self {
        Self {
            as_of: self.as_of.or_else(|| others.as_of.clone()),
            row_limit: self.row_limit.or(others.row_limit),
            timeout_ms: self.timeout_ms.or(others.timeout_ms),
            compression: self.compression.or(others.compression),
            dictionaries: self.dictionaries.or(others.dictionaries),
        }
    }

    /// A query so answered.
    pub(crate) fn request(&self, sql: String, parameters: Parameters) -> Result<Request> {
        Ok(Request {
            sql,
            parameters,
            as_of: self.as_of.as_deref().map(as_of).transpose()?,
            row_limit: self.row_limit,
            time_limit: self.timeout_ms.map(Duration::from_millis),
            dictionaries: self.dictionaries.unwrap_or_default(),
        })
    }
}

/// The options of a session, as its cookie has them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Session {
    lake: String,
    pub(crate) options: Options,
}

impl Session {
    pub(crate) fn new(lake: &str, options: Options) -> Self {
        Self { lake: lake.to_owned(), options }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts write to memory")
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|_| ApiError::invalid("The cookie is not one of a session."))
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Asked {
    /// A statement of Flight SQL.
    Statement(String),
    /// A plain ticket.
    Plain(PlainTicket),
}

/// A question and how to answer it, in a ticket or as the handle of a prepared statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Handle {
    /// Id of the lake it is for.
    lake: String,
    /// By which it can be cancelled; the parts of one answer share it.
    pub(crate) id: String,
    asked: Asked,
    #[serde(default)]
    options: Options,
    /// Columns of the answer and of the parameters, where a statement was prepared: Arrow streams without rows, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    columns: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    takes: Option<String>,
    /// Rows of parameters: an Arrow stream, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parameters: Option<String>,
}

impl Handle {
    pub(crate) fn new(lake: &str, asked: Asked, options: Options) -> Self {
        let (lake, id) = (lake.to_owned(), runlake_types::unique_id());
        Self { lake, id, asked, options, columns: None, takes: None, parameters: None }
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|_| ApiError::invalid("It is no ticket or handle: ask for a new one."))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts write to memory")
    }

    /// Notes what is known of a statement once it is prepared.
    pub(crate) fn prepared(mut self, columns: Option<&Schema>, takes: &Schema) -> Result<Self> {
        self.columns = columns.map(|columns| written(columns, &[])).transpose()?;
        self.takes = Some(written(takes, &[])?);
        Ok(self)
    }

    /// The columns of the answer, where no parameters can have changed them since it was prepared.
    pub(crate) fn columns(&self) -> Result<Option<SchemaRef>> {
        match (&self.columns, &self.parameters) {
            (Some(columns), None) => Ok(Some(read(columns)?.0)),
            _ => Ok(None),
        }
    }

    /// The same statement with these rows of parameters, which must fit it.
    pub(crate) fn with_parameters(mut self, given: &Schema, batches: &[RecordBatch]) -> Result<Self> {
        if let Some(takes) = &self.takes {
            Parameters::check(read(takes)?.0.as_ref(), given)?;
        }
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows > MOST_PARAMETER_ROWS {
            return Err(ApiError::invalid(format!(
                "There are {rows} rows of parameters; at most {MOST_PARAMETER_ROWS} are taken. Write a join instead."
            )));
        }
        let parameters = written(given, batches)?;
        if parameters.len() > MOST_PARAMETER_BYTES {
            return Err(ApiError::invalid(format!("The parameters take more than {MOST_PARAMETER_BYTES} bytes.")));
        }
        self.parameters = Some(parameters);
        Ok(self)
    }

    /// How the answer is to be compressed.
    pub(crate) fn compression(&self) -> Option<Compression> {
        let own = match &self.asked {
            Asked::Statement(_) => None,
            Asked::Plain(ticket) => ticket.options().compression,
        };
        own.or(self.options.compression).filter(|compression| *compression != Compression::None)
    }

    /// The handles that together give what this one does, to be read side by side.
    pub(crate) fn parts(&self) -> Vec<Self> {
        let Asked::Plain(ticket) = &self.asked else { return vec![self.clone()] };
        ticket.parts().into_iter().map(|part| Self { asked: Asked::Plain(part), ..self.clone() }).collect()
    }

    /// What to run, one after the other.
    pub(crate) fn requests(&self) -> Result<Requests> {
        let batches = match &self.parameters {
            None => None,
            Some(parameters) => Some(read(parameters)?.1),
        };
        Ok(Requests { handle: self.clone(), batches, batch: 0, row: 0, is_over: false })
    }
}

/// The queries of a handle: one, or one for each row of its parameters.
#[derive(Debug)]
pub(crate) struct Requests {
    handle: Handle,
    batches: Option<Vec<RecordBatch>>,
    batch: usize,
    row: usize,
    is_over: bool,
}

impl Requests {
    /// The next query.
    pub(crate) fn next(&mut self) -> Result<Option<Request>> {
        if self.is_over {
            return Ok(None);
        }
        let Handle { asked, options, .. } = &self.handle;
        let sql = match asked {
            Asked::Plain(ticket) => {
                self.is_over = true;
                return ticket.request(options).map(Some);
            }
            Asked::Statement(sql) => sql.clone(),
        };
        let Some(batches) = &self.batches else {
            self.is_over = true;
            return options.request(sql, Parameters::default()).map(Some);
        };
        loop {
            let Some(batch) = batches.get(self.batch) else { return Ok(None) };
            if self.row < batch.num_rows() {
                self.row += 1;
                return options.request(sql, Parameters::of_row(batch, self.row - 1)?).map(Some);
            }
            (self.batch, self.row) = (self.batch + 1, 0);
        }
    }
}

fn written(schema: &Schema, batches: &[RecordBatch]) -> Result<String> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, schema)?;
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.finish()?;
    drop(writer);
    Ok(STANDARD.encode(bytes))
}

fn read(text: &str) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let bytes = STANDARD.decode(text).map_err(|_| ApiError::invalid("The handle is broken: prepare it anew."))?;
    let reader = StreamReader::try_new(bytes.as_slice(), None)?;
    let schema = reader.schema();
    Ok((schema, reader.collect::<Result<Vec<_>, _>>()?))
}

/// The lake that a ticket, handle or session says it is of, whoever wrote it.
pub(crate) fn lake_of(payload: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        lake: String,
    }
    serde_json::from_slice::<Named>(payload).ok().map(|named| named.lake)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, StringArray};
    use arrow_schema::{DataType, Field};

    use super::*;

    fn handle(sql: &str) -> Handle {
        Handle::new("lake", Asked::Statement(sql.into()), Options::default())
    }

    fn count(mut requests: Requests) -> usize {
        std::iter::from_fn(|| requests.next().expect("a request")).count()
    }

    #[test]
    fn handles_come_back_as_they_were() {
        let takes = Schema::new(vec![Field::new("$1", DataType::Int64, true)]);
        let columns = Schema::new(vec![Field::new("a", DataType::Utf8, false)]);
        let prepared = handle("SELECT $1").prepared(Some(&columns), &takes).expect("prepared");
        assert_eq!(prepared.columns().expect("readable").as_deref(), Some(&columns));
        let again = Handle::read(&prepared.to_bytes()).expect("ours");
        assert_eq!(again, prepared);
        assert_eq!(lake_of(&prepared.to_bytes()).as_deref(), Some("lake"));
        assert_eq!(lake_of(b"{}"), None);
        assert_eq!(count(prepared.requests().expect("readable")), 1);
    }

    #[test]
    fn each_row_of_parameters_is_a_query() {
        let takes = Schema::new(vec![Field::new("$1", DataType::Int64, true)]);
        let prepared = handle("SELECT $1").prepared(None, &takes).expect("prepared");
        let batch = |values: Vec<i64>| {
            RecordBatch::try_from_iter([("0", Arc::new(Int64Array::from(values)) as _)]).expect("a column")
        };
        let batches = [batch(vec![1, 2]), batch(vec![]), batch(vec![3])];
        let bound = prepared.clone().with_parameters(batches[0].schema_ref(), &batches).expect("bound");
        assert_eq!(count(bound.requests().expect("readable")), 3);
        assert_eq!(bound.columns().expect("readable"), None);
        let none = prepared.clone().with_parameters(batches[0].schema_ref(), &[]).expect("bound");
        assert_eq!(count(none.requests().expect("readable")), 0);
        let many = [batch((0..=MOST_PARAMETER_ROWS as i64).collect())];
        let error = prepared.clone().with_parameters(many[0].schema_ref(), &many).expect_err("too many");
        assert!(error.message().contains("at most 1000"), "{}", error.message());
        let text = RecordBatch::try_from_iter([("0", Arc::new(StringArray::from(vec!["x"])) as _)]).expect("a column");
        let error = prepared.with_parameters(text.schema_ref(), &[text.clone()]).expect_err("no number");
        assert!(error.message().contains("$1 takes BIGINT, and was given VARCHAR"), "{}", error.message());
    }

    #[test]
    fn options_are_set_from_texts_and_told() {
        let mut options = Options::default();
        for (name, text) in
            [("as_of", "2026-05-03T12:00:00Z"), ("row_limit", "5"), ("compression", "lz4"), ("dictionaries", "true")]
        {
            options.set(name, text).expect("known").expect("taken");
        }
        assert_eq!(options.texts().len(), 4);
        let request = options.request("SELECT 1".into(), Parameters::default()).expect("a request");
        assert!(request.as_of.is_some() && request.dictionaries);
        assert_eq!(request.row_limit, Some(5));
        options.set("row_limit", "").expect("known").expect("unset");
        let other = Options { row_limit: Some(7), compression: Some(Compression::Zstd), ..Options::default() };
        let both = options.or(&other);
        assert_eq!((both.row_limit, both.compression), (Some(7), Some(Compression::Lz4)));
        for (name, text) in
            [("as_of", "yesterday"), ("row_limit", "-1"), ("compression", "gzip"), ("dictionaries", "1")]
        {
            let error = Options::default().set(name, text).expect("known").expect_err("refused");
            assert!(error.message().contains(name), "{}", error.message());
        }
        assert!(Options::default().set("colour", "red").is_none());
    }
}
