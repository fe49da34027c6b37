//! Groups by texts, and what was computed of each so far.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray as _, RecordBatch, StringViewArray, StringViewBuilder};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan as _;
use datafusion::physical_plan::aggregates::AggregateExec;
use rustc_hash::FxHashMap;

/// See the module.
pub(super) struct Groups {
    /// The texts' columns, then those of the functions' states.
    schema: SchemaRef,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    functions: Vec<Function>,
    /// Number of each group, by its texts.
    known: FxHashMap<Box<[u8]>, usize>,
    /// The texts of each group, column by column.
    texts: Vec<StringViewBuilder>,
    /// Bytes of all texts.
    text_bytes: usize,
    /// The group of each row of a batch, and the texts of a row: kept to be used again.
    of_rows: Vec<usize>,
    joined: Vec<u8>,
}

/// An aggregate function, such as `max(step) FILTER (WHERE value > 0)`.
struct Function {
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    states: Box<dyn GroupsAccumulator>,
}

impl Groups {
    pub(super) fn new(aggregate: &AggregateExec) -> Result<Self> {
        let keys: Vec<_> = aggregate.group_expr().expr().iter().map(|(key, _)| Arc::clone(key)).collect();
        let functions = aggregate.aggr_expr().iter().zip(aggregate.filter_expr()).map(|(function, filter)| {
            let states = function.create_groups_accumulator()?;
            Ok(Function { arguments: function.expressions(), filter: filter.clone(), states })
        });
        Ok(Self {
            schema: aggregate.schema(),
            functions: functions.collect::<Result<_>>()?,
            texts: keys.iter().map(|_| StringViewBuilder::new()).collect(),
            keys,
            known: FxHashMap::default(),
            text_bytes: 0,
            of_rows: Vec::new(),
            joined: Vec::new(),
        })
    }

    /// Adds rows.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        let array = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(batch)?.into_array(rows);
        let keys = self.keys.iter().map(array).collect::<Result<Vec<ArrayRef>>>()?;
        let keys: Vec<&StringViewArray> = keys.iter().map(|key| key.as_string_view()).collect();
        self.of_rows.clear();
        for same in alike(&keys, rows) {
            let group = self.number(&keys, same.start);
            self.of_rows.resize(same.end, group);
        }
        for function in &mut self.functions {
            let arguments = function.arguments.iter().map(array).collect::<Result<Vec<ArrayRef>>>()?;
            let filter = function.filter.as_ref().map(array).transpose()?;
            let filter = filter.as_ref().map(|filter| filter.as_boolean());
            function.states.update_batch(&arguments, &self.of_rows, filter, self.known.len())?;
        }
        Ok(())
    }

    /// The group that a row belongs to.
    fn number(&mut self, keys: &[&StringViewArray], row: usize) -> usize {
        self.joined.clear();
        for key in keys {
            let text = key.value(row);
            self.joined.extend_from_slice(&text.len().to_le_bytes());
            self.joined.extend_from_slice(text.as_bytes());
        }
        if let Some(group) = self.known.get(self.joined.as_slice()) {
            return *group;
        }
        let group = self.known.len();
        for (texts, key) in self.texts.iter_mut().zip(keys) {
            texts.append_value(key.value(row));
        }
        self.text_bytes += self.joined.len();
        self.known.insert(self.joined.as_slice().into(), group);
        group
    }

    /// Bytes that the groups take.
    pub(super) fn bytes(&self) -> usize {
        let entry = size_of::<(Box<[u8]>, usize)>() + 1;
        let views = self.texts.len() * size_of::<u128>();
        let states: usize = self.functions.iter().map(|function| function.states.size()).sum();
        // The texts are there twice.
        2 * self.text_bytes + self.known.capacity() * entry + self.known.len() * views + states
    }

    /// Gives out all groups, and forgets them.
    pub(super) fn take(&mut self) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> =
            self.texts.iter_mut().map(|texts| Arc::new(texts.finish()) as ArrayRef).collect();
        if !self.known.is_empty() {
            for function in &mut self.functions {
                columns.extend(function.states.state(EmitTo::All)?);
            }
        }
        if self.known.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        self.known = FxHashMap::default();
        self.text_bytes = 0;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// Rows that follow each other and have the same texts; neighbours may have the same ones too. Two views of an array that
/// are the same number stand for the same text: they hold it, or point at it.
fn alike(keys: &[&StringViewArray], rows: usize) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    let mut ends = vec![0; keys.len()];
    std::iter::from_fn(move || {
        for (end, key) in ends.iter_mut().zip(keys) {
            if *end <= from {
                *end = from + repeated(&key.views()[from..rows]);
            }
        }
        let same = from..ends.iter().copied().min()?;
        from = same.end;
        (!same.is_empty()).then_some(same)
    })
}

/// How often the first number is repeated from the start.
fn repeated(views: &[u128]) -> usize {
    let Some(first) = views.first() else { return 0 };
    views.iter().position(|view| view != first).unwrap_or(views.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_alike_while_all_their_texts_are() {
        let runs = StringViewArray::from(vec!["a", "a", "a", "b", "b", "a"]);
        let keys = StringViewArray::from(vec!["x", "x", "y", "y", "y", "y"]);
        assert_eq!(alike(&[&runs, &keys], 6).collect::<Vec<_>>(), [0..2, 2..3, 3..5, 5..6]);
        assert_eq!(alike(&[&runs], 6).collect::<Vec<_>>(), [0..3, 3..5, 5..6]);
        assert_eq!(alike(&[&runs.slice(0, 0)], 0).collect::<Vec<_>>(), Vec::<Range<usize>>::new());
    }
}
