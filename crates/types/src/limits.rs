//! Limits of a request, as MLflow documents them (`mlflow.utils.validation` of 3.17) unless said otherwise.

/// Metrics in one `log-batch`.
pub const METRICS_PER_BATCH: usize = 1000;
/// Params in one `log-batch`.
pub const PARAMS_PER_BATCH: usize = 100;
/// Tags in one `log-batch`.
pub const TAGS_PER_BATCH: usize = 100;
/// Metrics, params and tags together in one `log-batch`.
pub const ENTITIES_PER_BATCH: usize = 1000;
/// Characters of a metric, param or tag key.
pub const KEY_CHARS: usize = 250;
/// Characters of a param value.
pub const PARAM_VALUE_CHARS: usize = 6000;
/// Characters of a run tag value.
pub const TAG_VALUE_CHARS: usize = 8000;
/// Characters of an experiment tag value.
pub const EXPERIMENT_TAG_VALUE_CHARS: usize = 20_000;
/// Characters of an experiment name.
pub const EXPERIMENT_NAME_CHARS: usize = 500;
/// Rows of one page of a search.
pub const SEARCH_PAGE_ROWS: usize = 50_000;
/// Rows of a page when the caller does not say.
pub const SEARCH_PAGE_ROWS_DEFAULT: usize = 1000;
/// Points of one page of a metric history.
pub const HISTORY_PAGE_POINTS: usize = 25_000;
/// Runs of one `get-history-bulk`.
pub const HISTORY_BULK_RUNS: usize = 100;
/// Points per run that `get-history-bulk-interval` samples at most.
pub const HISTORY_INTERVAL_POINTS: usize = 2500;
/// Experiments of one `search-datasets`.
pub const DATASET_SEARCH_EXPERIMENTS: usize = 20;
/// Distinct answers of one `search-datasets`.
pub const DATASET_SEARCH_ROWS: usize = 1000;
