//! What queries run in: functions, limits and settings made once, and the catalog of one position of the log.

use std::sync::Arc;

use datafusion::catalog::{CatalogProviderList, MemoryCatalogProviderList};
use datafusion::execution::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::object_store::ObjectStore;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;
use runlake_engine::View;

use crate::catalog::{Catalog, DATABASE, PUBLIC};
use crate::functions::{self, Lake};
use crate::series::GroupSeries;
use crate::table::STORE;
use crate::windows::SomeRows;
use crate::yielding::Yielding;
use crate::{Result, Settings, bounded, extremes};

/// Consumers of memory that an error names.
const TOLD_CONSUMERS: std::num::NonZeroUsize = std::num::NonZeroUsize::new(3).expect("it is three");

/// What all queries share: memory, disk, caches, functions. It has no tables.
pub(crate) fn base(objects: &Arc<dyn ObjectStore>, settings: &Settings) -> Result<SessionState> {
    let pool = TrackConsumersPool::new(FairSpillPool::new(settings.memory_bytes), TOLD_CONSUMERS);
    let disk = match &settings.spill_dir {
        Some(dir) => DiskManagerMode::Directories(vec![dir.clone()]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    let disk = DiskManagerBuilder::default().with_mode(disk).with_max_temp_directory_size(settings.spill_bytes);
    let runtime: Arc<RuntimeEnv> =
        RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).with_disk_manager_builder(disk).build_arc()?;
    runtime.register_object_store(ObjectStoreUrl::parse(STORE)?.as_ref(), Arc::clone(objects));
    let mut config = SessionConfig::new()
        .with_target_partitions(settings.threads)
        .with_information_schema(true)
        .with_default_catalog_and_schema(DATABASE, PUBLIC)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    // The last points of each run, the best run of each sweep: kept as they come instead of sorting all of them.
    options.optimizer.enable_window_topn = true;
    let rules = PhysicalOptimizer::new().rules.into_iter().map(|rule| match rule.name() {
        "WindowTopN" => Arc::new(SomeRows(rule)) as Arc<dyn PhysicalOptimizerRule + Send + Sync>,
        _ => rule,
    });
    let rules = rules.collect();
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_physical_optimizer_rules(rules)
        .with_physical_optimizer_rule(Arc::new(GroupSeries))
        .with_physical_optimizer_rule(Arc::new(Yielding))
        .build();
    bounded::bound(&mut state)?;
    extremes::mend(&mut state)?;
    Ok(state)
}

/// A session over the tables, without views and functions.
pub(crate) fn over_tables(base: &SessionState, view: &View) -> SessionState {
    let mut state = base.clone();
    state.register_catalog_list(only(Catalog::new(view.clone())));
    state
}

/// A session over everything there is.
pub(crate) fn over_all(lake: &Lake) -> SessionState {
    let mut state = lake.base.as_ref().clone();
    state.register_catalog_list(only(Catalog::with_views(lake)));
    for (name, function) in functions::all(lake) {
        state.register_udtf(name, function);
    }
    state
}

/// The catalogs of a session that knows one database. Set in place: building a session anew costs more than a small query.
fn only(catalog: Catalog) -> Arc<dyn CatalogProviderList> {
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(DATABASE.to_owned(), Arc::new(catalog));
    Arc::new(catalogs)
}
