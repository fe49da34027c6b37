//! Groups the rows of a table of facts by what they belong to.
//!
//! Facts lie in their files series after series, so thousands of rows in a row have the same run and key. DataFusion hashes
//! the text of each; here a row is taken for the one before it where both point at the same text, and is looked up
//! otherwise. Only the first stage of a grouping is replaced, which may give a group more than once.

mod groups;

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::config::ConfigOptions;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput as _};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, InputOrderMode, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{StreamExt as _, TryStreamExt as _};
use runlake_types::{TableId, TableKind};

use crate::table::is_file_of;
use groups::Groups;

/// Puts [`SeriesAggregateExec`] where facts are grouped by their texts.
#[derive(Debug)]
pub(crate) struct GroupSeries;

impl PhysicalOptimizerRule for GroupSeries {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| match node.downcast_ref::<AggregateExec>() {
            Some(aggregate) if is_of_series(aggregate) => grouped(aggregate).map(Transformed::yes),
            _ => Ok(Transformed::no(node)),
        })
        .map(|done| done.data)
    }

    fn name(&self) -> &'static str {
        "group_series"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// `aggregate` with a first stage that knows series; the second is left to DataFusion, which can spill it.
fn grouped(aggregate: &AggregateExec) -> Result<Arc<dyn ExecutionPlan>> {
    let (functions, schema) = (aggregate.aggr_expr(), aggregate.input_schema());
    let first = AggregateExec::try_new(
        AggregateMode::Partial,
        aggregate.group_expr().clone(),
        functions.to_vec(),
        aggregate.filter_expr().to_vec(),
        Arc::clone(aggregate.input()),
        Arc::clone(&schema),
    )?;
    let first: Arc<dyn ExecutionPlan> = Arc::new(SeriesAggregateExec::new(Arc::new(first)));
    if *aggregate.mode() == AggregateMode::Partial {
        return Ok(first);
    }
    let (groups, filters) = (aggregate.group_expr().as_final(), vec![None; functions.len()]);
    Ok(Arc::new(AggregateExec::try_new(AggregateMode::Final, groups, functions.to_vec(), filters, first, schema)?))
}

fn is_of_series(aggregate: &AggregateExec) -> bool {
    let schema = aggregate.input_schema();
    let is_text = |expr: &Arc<dyn PhysicalExpr>| {
        expr.downcast_ref::<Column>()
            .map(|column| schema.field(column.index()))
            .is_some_and(|field| *field.data_type() == DataType::Utf8View && !field.is_nullable())
    };
    let groups = aggregate.group_expr();
    matches!(aggregate.mode(), AggregateMode::Partial | AggregateMode::Single)
        && *aggregate.input_order_mode() == InputOrderMode::Linear
        && aggregate.limit_options().is_none()
        && !groups.has_grouping_set()
        && !groups.is_empty()
        && groups.expr().iter().all(|(expr, _)| is_text(expr))
        && aggregate
            .aggr_expr()
            .iter()
            .all(|function| function.groups_accumulator_supported() && function.order_bys().is_empty())
        && keeps_series(aggregate.input())
}

/// Whether the rows of `plan` come as they lie in files of facts, or in memory beside them.
fn keeps_series(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(source) = plan.downcast_ref::<DataSourceExec>() {
        let Some(scan) = source.data_source().downcast_ref::<FileScanConfig>() else { return false };
        let first = scan.file_groups.iter().flat_map(|group| group.files()).next();
        return first.is_some_and(|file| {
            let facts = TableId::ALL.iter().filter(|table| table.kind() == TableKind::Facts);
            facts.into_iter().any(|table| is_file_of(*table, &file.object_meta.location))
        });
    }
    if plan.is::<UnionExec>() {
        return plan.children().into_iter().any(keeps_series);
    }
    let passes_on = plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<CooperativeExec>()
        || plan
            .downcast_ref::<RepartitionExec>()
            .is_some_and(|exchange| matches!(exchange.partitioning(), Partitioning::RoundRobinBatch(_)));
    passes_on && plan.children().into_iter().all(keeps_series)
}

/// See the module.
#[derive(Debug)]
struct SeriesAggregateExec {
    /// What it does in the place of.
    replaced: Arc<dyn ExecutionPlan>,
    metrics: ExecutionPlanMetricsSet,
}

impl SeriesAggregateExec {
    fn new(replaced: Arc<dyn ExecutionPlan>) -> Self {
        Self { replaced, metrics: ExecutionPlanMetricsSet::new() }
    }

    fn aggregate(&self) -> Result<&AggregateExec> {
        self.replaced
            .downcast_ref()
            .ok_or_else(|| internal_datafusion_err!("a grouping became {}", self.replaced.name()))
    }
}

impl DisplayAs for SeriesAggregateExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeriesAggregateExec: ")?;
        self.replaced.fmt_as(kind, f)
    }
}

impl ExecutionPlan for SeriesAggregateExec {
    fn name(&self) -> &'static str {
        "SeriesAggregateExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.replaced.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.replaced.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.replaced.apply_expressions(f)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        Ok(Arc::new(Self::new(Arc::clone(&self.replaced).replace_children(children, options)?)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let aggregate = self.aggregate()?;
        let work = Work {
            input: aggregate.input().execute(partition, Arc::clone(&context))?,
            groups: Groups::new(aggregate)?,
            memory: MemoryConsumer::new(format!("SeriesAggregate[{partition}]")).register(context.memory_pool()),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let rows = context.session_config().batch_size();
        let given = futures::stream::try_unfold(work, Work::next)
            .map_ok(move |batch| futures::stream::iter(slices(&batch, rows).map(Ok).collect::<Vec<_>>()))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), given)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

fn slices(batch: &RecordBatch, rows: usize) -> impl Iterator<Item = RecordBatch> {
    (0..batch.num_rows()).step_by(rows.max(1)).map(move |from| batch.slice(from, rows.min(batch.num_rows() - from)))
}

/// One partition on its way.
struct Work {
    input: SendableRecordBatchStream,
    groups: Groups,
    memory: MemoryReservation,
    metrics: BaselineMetrics,
}

impl Work {
    /// The groups of all rows; where they do not fit into memory, of those so far.
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        while let Some(batch) = self.input.next().await {
            let batch = batch?;
            let timer = self.metrics.elapsed_compute().timer();
            self.groups.add(&batch)?;
            timer.done();
            if self.memory.try_resize(self.groups.bytes()).is_err() {
                break;
            }
        }
        let taken = self.groups.take()?;
        self.memory.free();
        if taken.num_rows() == 0 {
            return Ok(None);
        }
        (&taken).record_output(&self.metrics);
        Ok(Some((taken, self)))
    }
}
