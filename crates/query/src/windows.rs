//! The last rows of each window, kept as they come instead of sorting all.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::partitioned_topk::PartitionedTopKExec;

/// A rule of DataFusion's, but for windows of which no row is wanted (`row_number() < 1`): its operator panics there.
#[derive(Debug)]
pub(crate) struct SomeRows(pub(crate) Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl PhysicalOptimizerRule for SomeRows {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let changed = self.0.optimize(Arc::clone(&plan), config)?;
        let mut takes_none = false;
        changed.apply(|node| {
            takes_none |= node.downcast_ref::<PartitionedTopKExec>().is_some_and(|node| node.fetch() == 0);
            Ok(if takes_none { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(if takes_none { plan } else { changed })
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}
