//! Table functions: questions that one asks of experiments and that plain SQL makes long.

mod compare_runs;
mod lineage;
mod metric_envelope;
mod runs_wide;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use runlake_engine::View;

use crate::{Error, Parameters, Result, Value, session, statement};

/// What a function stands on: the lake at the query's position, and the query's deadline.
#[derive(Clone)]
pub(crate) struct Lake {
    pub(crate) view: View,
    pub(crate) base: Arc<SessionState>,
    /// Made when it is asked for: few queries do.
    tables: Arc<OnceLock<SessionState>>,
    deadline: Instant,
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake").field("view", &self.view.seq()).finish_non_exhaustive()
    }
}

impl Lake {
    pub(crate) fn new(base: Arc<SessionState>, view: View, deadline: Instant) -> Self {
        Self { view, base, tables: Arc::default(), deadline }
    }

    /// A session over the tables at that position.
    pub(crate) fn tables(&self) -> &SessionState {
        self.tables.get_or_init(|| session::over_tables(&self.base, &self.view))
    }

    /// The rows of a statement over the tables.
    async fn rows(&self, sql: &str, parameters: Parameters) -> Result<Vec<RecordBatch>> {
        let statement = statement::parse(sql, &parameters)?;
        let plan = statement::plan(self.tables(), statement, parameters.values()).await?;
        Ok(SessionContext::new_with_state(self.tables().clone()).execute_logical_plan(plan).await?.collect().await?)
    }
}

/// How one function is called.
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    pub(crate) usage: &'static str,
}

/// The functions over one position of the log.
pub(crate) fn all(lake: &Lake) -> impl Iterator<Item = (&'static str, Arc<dyn TableFunctionImpl>)> {
    Kind::ALL.iter().map(|kind| {
        let function = Function { lake: lake.clone(), kind: *kind };
        (kind.signature().name, Arc::new(function) as Arc<dyn TableFunctionImpl>)
    })
}

/// Which function.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    CompareRuns,
    Lineage,
    MetricEnvelope,
    RunsWide,
}

impl Kind {
    pub(crate) const ALL: &[Self] = &[Self::CompareRuns, Self::Lineage, Self::MetricEnvelope, Self::RunsWide];

    pub(crate) fn signature(self) -> &'static Signature {
        match self {
            Self::CompareRuns => &compare_runs::SIGNATURE,
            Self::Lineage => &lineage::SIGNATURE,
            Self::MetricEnvelope => &metric_envelope::SIGNATURE,
            Self::RunsWide => &runs_wide::SIGNATURE,
        }
    }
}

#[derive(Debug)]
struct Function {
    lake: Lake,
    kind: Kind,
}

impl TableFunctionImpl for Function {
    /// Columns depend on what is in the lake, so the rows are read when the query is planned.
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let lake = &self.lake;
        let arguments = Arguments::of(self.kind.signature(), args.exprs())?;
        match self.kind {
            Kind::CompareRuns => table(lake, compare_runs::rows(lake, &arguments)),
            Kind::Lineage => table(lake, lineage::rows(lake, &arguments)),
            Kind::MetricEnvelope => table(lake, metric_envelope::rows(lake, &arguments)),
            Kind::RunsWide => table(lake, runs_wide::rows(lake, &arguments)),
        }
    }
}

/// Planning is synchronous, reading is not: the thread is lent out meanwhile.
fn table(
    lake: &Lake,
    rows: impl Future<Output = Result<RecordBatch>>,
) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let patience = lake.deadline.saturating_duration_since(Instant::now());
    let read = async { tokio::time::timeout(patience, rows).await.map_err(|_| Error::TimedOut(patience))? };
    let batch = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(read))?;
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}

/// The arguments of a call: texts and numbers that are written out.
pub(crate) struct Arguments {
    usage: &'static str,
    values: Vec<Value>,
}

impl Arguments {
    fn of(signature: &Signature, exprs: &[Expr]) -> Result<Self> {
        let values = exprs.iter().map(|expr| literal(expr).ok_or_else(|| usage(signature.usage)));
        Ok(Self { usage: signature.usage, values: values.collect::<Result<_>>()? })
    }

    /// The text at a place.
    fn text(&self, index: usize) -> Result<&str> {
        match self.values.get(index) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(usage(self.usage)),
        }
    }

    /// The whole number at a place, if there is anything.
    fn int(&self, index: usize) -> Result<Option<i64>> {
        match self.values.get(index) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Int(number)) => Ok(Some(*number)),
            Some(_) => Err(usage(self.usage)),
        }
    }

    /// All of them, as texts.
    fn texts(&self) -> Result<Vec<&str>> {
        (0..self.values.len()).map(|index| self.text(index)).collect()
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    /// Refuses calls with fewer or more arguments.
    fn count(&self, range: std::ops::RangeInclusive<usize>) -> Result<()> {
        if range.contains(&self.len()) { Ok(()) } else { Err(usage(self.usage)) }
    }
}

fn usage(usage: &str) -> Error {
    Error::Invalid(format!("call it as {usage}, with texts and numbers that are written out or given as parameters"))
}

fn literal(expr: &Expr) -> Option<Value> {
    match expr {
        Expr::Literal(value, _) => Value::try_from(value.clone()).ok(),
        Expr::Negative(inner) => match literal(inner)? {
            Value::Int(number) => number.checked_neg().map(Value::Int),
            Value::Float(number) => Some(Value::Float(-number)),
            _ => None,
        },
        Expr::Alias(alias) => literal(&alias.expr),
        _ => None,
    }
}
