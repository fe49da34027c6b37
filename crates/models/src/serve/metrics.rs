//! Figures for Prometheus.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Served;
use super::inference_log::InferenceLog;

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const LATENCY_SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    latency: Family<Model, Histogram, fn() -> Histogram>,
    shadows: Family<Shadow, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    model: String,
    version: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Model {
    model: String,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Shadow {
    model: String,
    good: String,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("runlake_model");
        let requests = Family::default();
        let latency = Family::new_with_constructor((|| Histogram::new(LATENCY_SECONDS)) as fn() -> Histogram);
        let shadows = Family::default();
        registry.register("requests", "Requests by model, version and status", requests.clone());
        registry.register("request_seconds", "Time from request to answer", latency.clone());
        registry.register("shadow_requests", "Copies of requests to models in the shadow", shadows.clone());
        Self { registry, requests, latency, shadows }
    }

    pub(super) fn count(&self, model: &str, version: Option<&str>, status: u16, took: Duration) {
        let (model, version) = (model.to_owned(), version.unwrap_or_default().to_owned());
        self.requests.get_or_create(&Request { model: model.clone(), version: version.clone(), status }).inc();
        self.latency.get_or_create(&Model { model, version }).observe(took.as_secs_f64());
    }

    pub(super) fn count_shadow(&self, model: &str, is_good: bool) {
        self.shadows.get_or_create(&Shadow { model: model.to_owned(), good: is_good.to_string() }).inc();
    }

    /// The page: the workers of each model as they are now, then what was counted.
    pub(super) fn page(&self, models: &[Arc<Served>], log: Option<&InferenceLog>) -> String {
        let mut page = String::new();
        let figures: [(&str, &str, &str, fn(&crate::pool::Load) -> usize); 4] = [
            ("waiting", "gauge", "Requests that wait or are scored", |load| load.waiting.load(Ordering::Relaxed)),
            ("workers", "gauge", "Processes that are ready", |load| load.ready.load(Ordering::Relaxed)),
            ("restarts", "counter", "Processes that were started anew", |load| load.restarts.load(Ordering::Relaxed)),
            ("batches", "counter", "Batches that were scored", |load| load.batches.load(Ordering::Relaxed)),
        ];
        for (name, kind, help, figure) in figures {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let _in_memory = write!(page, "# HELP runlake_model_{name} {help}.\n# TYPE runlake_model_{name} {kind}\n");
            for served in models {
                let value = figure(served.current().scorer.load());
                let model = served.name.replace(['"', '\\', '\n'], "_");
                let _in_memory = writeln!(page, "runlake_model_{name}{suffix}{{model=\"{model}\"}} {value}");
            }
        }
        if let Some(log) = log {
            let name = "runlake_model_logged_rows";
            let _in_memory =
                write!(page, "# HELP {name} Rows for inference_log, by what became of them.\n# TYPE {name} counter\n");
            for (outcome, count) in [("written", &log.counts.written), ("dropped", &log.counts.dropped)] {
                let count = count.load(Ordering::Relaxed);
                let _in_memory = writeln!(page, "{name}_total{{outcome=\"{outcome}\"}} {count}");
            }
        }
        encode(&mut page, &self.registry).expect("writing to memory");
        page
    }
}
