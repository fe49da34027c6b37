//! Which values of the leading key column a query asks for: what files and memory are narrowed down by.

use std::collections::BTreeSet;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use runlake_lake::DataFile;
use runlake_types::{ColumnKind, Key, KeyBuilder, TableId};

/// Values a list may have to be looked at one by one.
const VALUES: usize = 10_000;

/// Values of the first key columns; `None`: any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    columns: [Option<BTreeSet<String>>; 2],
}

impl Wanted {
    /// What all of `filters` together leave of `table`.
    pub(crate) fn of(table: TableId, filters: &[Expr]) -> Self {
        let mut columns = [None, None];
        for (index, wanted) in columns.iter_mut().enumerate().take(table.key_len()) {
            let column = table.columns()[index];
            if column.kind == ColumnKind::Text {
                *wanted = filters.iter().filter_map(|filter| values(filter, column.name)).reduce(|a, b| &a & &b);
            }
        }
        Self { columns }
    }

    /// Whether rows of `file` may be asked for.
    pub(crate) fn may_be_in(&self, file: &DataFile) -> bool {
        self.columns.iter().enumerate().all(|(column, wanted)| {
            let (Some(wanted), Some((min, max))) = (wanted, file.bounds(column)) else { return true };
            wanted.range::<str, _>((std::ops::Bound::Included(min), std::ops::Bound::Included(max))).next().is_some()
        })
    }

    /// Prefixes of the keys that are asked for, ascending; an empty one stands for all.
    pub(crate) fn prefixes(&self) -> Vec<Key> {
        match &self.columns[0] {
            None => vec![KeyBuilder::default().build()],
            Some(values) => {
                let mut prefixes: Vec<Key> =
                    values.iter().map(|value| KeyBuilder::default().text(value).build()).collect();
                prefixes.sort_unstable();
                prefixes
            }
        }
    }

    /// Values of the first key column, ascending.
    pub(crate) fn leading(&self) -> Option<Vec<&str>> {
        Some(self.columns[0].as_ref()?.iter().map(String::as_str).collect())
    }
}

/// The values that `column` may have where `filter` is true; `None` if it says nothing of that.
fn values(filter: &Expr, column: &str) -> Option<BTreeSet<String>> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let value = match (left.as_ref(), right.as_ref()) {
                (Expr::Column(found), value) | (value, Expr::Column(found)) if found.name == column => text(value)?,
                _ => return None,
            };
            Some(BTreeSet::from([value]))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            match (values(left, column), values(right, column)) {
                (Some(a), Some(b)) => Some(&a & &b),
                (some, None) | (None, some) => some,
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let both = values(left, column)?.into_iter().chain(values(right, column)?).collect::<BTreeSet<_>>();
            (both.len() <= VALUES).then_some(both)
        }
        Expr::InList(list) if !list.negated && list.list.len() <= VALUES => match list.expr.as_ref() {
            Expr::Column(found) if found.name == column => list.list.iter().map(text).collect(),
            _ => None,
        },
        _ => None,
    }
}

fn text(value: &Expr) -> Option<String> {
    match value {
        Expr::Literal(
            ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)),
            _,
        ) => Some(text.clone()),
        Expr::Cast(cast) if cast.field.data_type().is_string() => text(&cast.expr),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{col, lit};

    fn leading(filters: &[Expr]) -> Option<Vec<String>> {
        Wanted::of(TableId::Metrics, filters).leading().map(|values| values.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn equality_lists_and_their_combinations_narrow() {
        let some = |values: &[&str]| Some(values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
        assert_eq!(leading(&[col("run_id").eq(lit("a"))]), some(&["a"]));
        assert_eq!(leading(&[lit("a").eq(col("run_id"))]), some(&["a"]));
        assert_eq!(leading(&[col("run_id").in_list(vec![lit("b"), lit("a")], false)]), some(&["a", "b"]));
        assert_eq!(leading(&[col("run_id").eq(lit("a")).or(col("run_id").eq(lit("b")))]), some(&["a", "b"]));
        assert_eq!(leading(&[col("run_id").eq(lit("a")).and(col("value").gt(lit(1.0)))]), some(&["a"]));
        assert_eq!(leading(&[col("run_id").eq(lit("a")), col("run_id").eq(lit("b"))]), some(&[]));
    }

    #[test]
    fn what_does_not_narrow_is_left_alone() {
        assert_eq!(leading(&[]), None);
        assert_eq!(leading(&[col("run_id").eq(lit("a")).or(col("step").eq(lit(1)))]), None);
        assert_eq!(leading(&[col("run_id").in_list(vec![lit("a")], true)]), None);
        assert_eq!(leading(&[col("run_id").not_eq(lit("a"))]), None);
        assert_eq!(leading(&[col("value").eq(lit("a"))]), None);
    }
}
