//! Figures of the server and of the engine below it, for Prometheus.

use std::time::Duration;

use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use runlake_engine::Status;
use runlake_query::Load;

/// Upper bounds of the latency buckets, seconds.
const LATENCY_SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Content type of the page.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every metric of the server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// Connections open now.
    pub(crate) connections: Gauge,
    /// Rows taken in bulk, by table.
    pub(crate) ingested: Family<TableLabels, Counter>,
    /// Requests whose credentials were missing or wrong.
    pub(crate) failed_logins: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

/// Which table rows went to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TableLabels {
    pub(crate) table: &'static str,
}

/// What one route counts.
#[derive(Debug, Clone)]
pub(crate) struct RouteMetrics {
    labels: RouteLabels,
    requests: Family<RequestLabels, Counter>,
    latency: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("runlake");
        let requests = Family::default();
        let latency = Family::new_with_constructor((|| Histogram::new(LATENCY_SECONDS)) as fn() -> Histogram);
        let connections = Gauge::default();
        registry.register("http_requests", "Requests by route and status", requests.clone());
        registry.register("http_request_seconds", "Time from request line to answer", latency.clone());
        registry.register("http_connections", "Connections open now", connections.clone());
        let failed_logins = Counter::default();
        registry.register("failed_logins", "Requests without right credentials", failed_logins.clone());
        let ingested = Family::default();
        registry.register("ingested_rows", "Rows taken in bulk and durable, by table", ingested.clone());
        Self { registry, requests, latency, connections, ingested, failed_logins }
    }

    /// The counters of a route.
    pub(crate) fn route(&self, route: &'static str, method: &'static str) -> RouteMetrics {
        let labels = RouteLabels { route, method };
        let latency = self.latency.get_or_create_owned(&labels);
        RouteMetrics { labels, requests: self.requests.clone(), latency }
    }

    /// The page, as text: the figures of engine and queries, then the server's own.
    pub(crate) fn page(&self, status: &Status, queries: Load) -> String {
        let mut page = String::new();
        encode_registry(&mut page, &engine_registry(status)).expect("writing to memory");
        encode_registry(&mut page, &query_registry(queries)).expect("writing to memory");
        encode(&mut page, &self.registry).expect("writing to memory");
        page
    }
}

/// The figures of the engine at one moment.
fn engine_registry(status: &Status) -> Registry {
    let mut registry = Registry::with_prefix("runlake");
    let gauges = [
        ("applied_seq", "Last position of the log that is durable and visible", status.applied.0),
        ("flushed_seq", "Last position of the log that table files hold", status.flushed.0),
        ("memtable_bytes", "Bytes in memory that no table file holds yet", status.memtable_bytes),
        ("queued_bytes", "Bytes submitted and not durable yet", status.queued_bytes),
        ("wal_bytes", "Bytes of log that no table has passed yet", status.wal_bytes),
        ("cached_runs", "Runs whose state is cached for checks", status.cached_runs),
        ("indexed_runs", "Runs in the search index", status.indexed_runs),
        ("up", "Whether the engine takes requests", u64::from(status.failure.is_none())),
    ];
    for (name, help, value) in gauges {
        registry.register(name, help, ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)));
    }
    let counters = [
        ("wal_groups", "Groups of writes made durable", status.groups),
        ("writes", "Writes made durable", status.writes),
        ("points", "Metric points made durable", status.points),
        ("wal_appended_bytes", "Bytes appended to the log", status.appended_bytes),
        ("flushes", "Flushes that wrote table files", status.flushes),
        ("flush_failures", "Flushes that failed and were tried again", status.flush_failures),
        ("compactions", "Compactions that rewrote files", status.compactions),
    ];
    for (name, help, value) in counters {
        registry.register(name, help, ConstCounter::new(value));
    }
    registry.register("wal_append_seconds", "Time to make a group durable", AppendTimes::of(status));
    registry
}

/// The figures of SQL at one moment.
fn query_registry(Load { running, waiting, memory_bytes }: Load) -> Registry {
    let mut registry = Registry::with_prefix("runlake");
    for (name, help, value) in [
        ("queries_running", "Queries that run", running),
        ("queries_waiting", "Queries that wait for their turn", waiting),
        ("query_memory_bytes", "Bytes that running queries hold", memory_bytes),
    ] {
        registry.register(name, help, ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)));
    }
    registry
}

/// How long appends to the log took, as the engine counted them.
#[derive(Debug)]
struct AppendTimes {
    seconds: f64,
    count: u64,
    /// Upper bound in seconds, and appends between it and the bound before.
    buckets: Vec<(f64, u64)>,
}

impl AppendTimes {
    fn of(status: &Status) -> Self {
        let mut below = 0;
        let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(status.append_buckets.len() + 1);
        for (micros, cumulative) in &status.append_buckets {
            buckets.push((Duration::from_micros(*micros).as_secs_f64(), cumulative.saturating_sub(below)));
            below = *cumulative;
        }
        let count = status.appends.max(below);
        buckets.push((f64::MAX, count - below));
        Self { seconds: status.append_time.as_secs_f64(), count, buckets }
    }
}

impl EncodeMetric for AppendTimes {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        encoder.encode_histogram::<NoLabelSet>(self.seconds, self.count, &self.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl RouteMetrics {
    /// Counts an answer.
    pub(crate) fn count(&self, status: u16, seconds: f64) {
        let RouteLabels { route, method } = self.labels;
        self.requests.get_or_create(&RequestLabels { route, method, status }).inc();
        self.latency.observe(seconds);
    }
}
