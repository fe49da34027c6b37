//! Rows of an answer, as they are computed.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use datafusion::arrow::array::cast::AsArray as _;
use datafusion::arrow::array::{
    Array as _, ArrayRef, DictionaryArray, Int32Array, RecordBatch, RecordBatchOptions, StringArray, StringViewArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use foldhash::fast::RandomState;
use futures::Stream;
use runlake_types::Seq;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::{Error, Result};

/// The rows of an answer. Dropping it cancels the query.
#[derive(Debug)]
pub struct Answer {
    schema: SchemaRef,
    position: Seq,
    batches: mpsc::Receiver<Result<RecordBatch>>,
    end: Arc<End>,
    _query: AbortOnDrop,
}

/// How an answer came to its end.
#[derive(Debug, Default)]
pub(crate) struct End {
    /// Its last rows were sent, or the error that ended it.
    pub(crate) is_told: AtomicBool,
    /// There are more rows than the caller wanted.
    pub(crate) is_truncated: AtomicBool,
}

/// Ends a task that nobody waits for any more.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(pub(crate) AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Answer {
    pub(crate) fn new(
        schema: SchemaRef,
        position: Seq,
        batches: mpsc::Receiver<Result<RecordBatch>>,
        end: Arc<End>,
        query: AbortOnDrop,
    ) -> Self {
        Self { schema, position, batches, end, _query: query }
    }

    /// Columns of the rows.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The position of the lake's log that the answer stands at. With [`Request::as_of`](crate::Request::as_of) that of the
    /// newest flush it saw.
    pub fn position(&self) -> Seq {
        self.position
    }

    /// Whether there are more rows than the caller wanted. Known once the last batch was taken.
    pub fn is_truncated(&self) -> bool {
        self.end.is_truncated.load(Ordering::Acquire)
    }
}

impl Stream for Answer {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let batch = std::task::ready!(self.batches.poll_recv(context));
        // A task that panicked, or was stopped, leaves a channel that ends as that of a whole answer does.
        if batch.is_none() && !self.end.is_told.swap(true, Ordering::AcqRel) {
            let told = "the query ended before its answer did: please report it".to_owned();
            return Poll::Ready(Some(Err(Error::Internal(told))));
        }
        Poll::Ready(batch)
    }
}

/// The columns as clients get them: text as plain UTF-8, since many readers of Arrow do not know views yet; or, where they
/// ask for it, as dictionaries.
pub(crate) fn outward(schema: &Schema, dictionaries: bool) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let kind = match plain(field.data_type()) {
            text @ (DataType::Utf8 | DataType::LargeUtf8) if dictionaries => {
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(text))
            }
            kind => kind,
        };
        Arc::new(Field::new(field.name(), kind, field.is_nullable()))
    });
    Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>()))
}

/// The columns as [`Queries::describe`](crate::Queries::describe) told them of the plan, which clients compare with what
/// comes; but nothing is said to be without nulls that may have some.
pub(crate) fn promised(plan: &Schema, found: &Schema, dictionaries: bool) -> SchemaRef {
    if plan.fields().len() != found.fields().len() {
        return outward(found, dictionaries);
    }
    let fields = plan.fields().iter().zip(found.fields()).map(|(plan, found)| {
        Field::new(plan.name(), plan.data_type().clone(), plan.is_nullable() || found.is_nullable())
    });
    outward(&Schema::new(fields.collect::<Vec<_>>()), dictionaries)
}

pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        match (column.as_string_view_opt(), field.data_type()) {
            (Some(texts), DataType::Dictionary(..)) => Ok(dictionary(texts)),
            (_, kind) if column.data_type() == kind => Ok(Arc::clone(column)),
            (_, kind) => cast(column, kind),
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_, _>>()?, &options)?)
}

/// Texts as numbers of the distinct ones. Views of the same place are the same text, so most rows are told apart without
/// a look at their bytes.
fn dictionary(texts: &StringViewArray) -> ArrayRef {
    let mut values: Vec<&str> = Vec::new();
    let mut by_view: HashMap<u128, i32, RandomState> = HashMap::default();
    let mut by_text: HashMap<&str, i32, RandomState> = HashMap::default();
    let mut last = None;
    let nulls = texts.nulls().filter(|nulls| nulls.null_count() > 0);
    let keys = texts.views().iter().enumerate().map(|(row, view)| {
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return 0;
        }
        match last {
            Some((same, key)) if same == *view => key,
            _ => {
                let key = *by_view.entry(*view).or_insert_with(|| {
                    let text = texts.value(row);
                    *by_text.entry(text).or_insert_with(|| {
                        values.push(text);
                        i32::try_from(values.len() - 1).expect("a batch has fewer rows than that")
                    })
                });
                last = Some((*view, key));
                key
            }
        }
    });
    let keys = Int32Array::new(keys.collect(), nulls.cloned());
    Arc::new(DictionaryArray::new(keys, Arc::new(StringArray::from(values))))
}

/// The type as clients get it.
pub(crate) fn plain(kind: &DataType) -> DataType {
    let of = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(plain(field.data_type())));
    match kind {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(field) => DataType::List(of(field)),
        DataType::LargeList(field) => DataType::LargeList(of(field)),
        DataType::FixedSizeList(field, length) => DataType::FixedSizeList(of(field), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(of).collect()),
        DataType::Map(field, sorted) => DataType::Map(of(field), *sorted),
        DataType::Dictionary(key, value) => DataType::Dictionary(key.clone(), Box::new(plain(value))),
        kind => kind.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_hold_the_same_texts() {
        let long = "a text that is longer than a view holds by itself";
        let texts = StringViewArray::from(vec![Some("a"), None, Some(long), Some("a"), Some(""), Some(long), None]);
        let field = Field::new("t", DataType::Utf8View, true);
        let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(texts.clone())])
            .expect("one column");
        let schema = outward(&batch.schema(), true);
        let sent = conform(&batch, &schema).expect("conforms");
        let dictionary =
            sent.column(0).as_dictionary_opt::<datafusion::arrow::datatypes::Int32Type>().expect("a dictionary");
        assert_eq!(dictionary.values().len(), 3);
        let back = cast(sent.column(0), &DataType::Utf8View).expect("texts");
        assert_eq!(back.as_string_view_opt().expect("views"), &texts);
    }
}
