//! Who may call which route: one row for each.
//!
//! A row says which role the caller needs, and what the request is about, so that a role for one experiment or one
//! registered model counts there. A route without a row is for administrators only, and a test fails.

use runlake_identity::Role::{self, Admin, Approver, Editor, Viewer};

use Object::{
    Batch, Everything, Experiment, ExperimentName, Experiments, Files, Folder, Metric, Model, ModelVersion, NewModel,
    RegisteredModel, Renaming, Run, RunInQuery, RunInputs, RunOrModel, RunOutputs, Runs,
};
use Rule::{Needs, Open, SignedIn};

/// Whom a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Everybody, without credentials.
    Open,
    /// Everybody who logged in, whatever their roles. The answer holds nothing of the lake, or only what the caller may
    /// see: that is up to the handler.
    SignedIn,
    /// Who has this role, or more, on what the request is about.
    Needs(Role, Object),
}

/// What a request is about, and where it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Object {
    /// The whole lake.
    Everything,
    /// The field `experiment_id`.
    Experiment,
    /// The field `experiment_name`.
    ExperimentName,
    /// Each of the field `experiment_ids`.
    Experiments,
    /// The field `run_id` or `run_uuid`.
    Run,
    /// The same in the query of a request whose body is a file.
    RunInQuery,
    /// Each of the list in the field of this name.
    Runs(&'static str),
    /// A run, and the logged model that a metric point names.
    Metric,
    /// The same of a whole batch.
    Batch,
    /// A run, and the logged models that went into it, which need be read only.
    RunInputs,
    /// A run, and the logged models that came out of it.
    RunOutputs,
    /// The logged model in the path.
    Model,
    /// The field `experiment_id`, and to be read the run that a new logged model is said to come from.
    NewModel,
    /// The field `run_id`, or else `model_id`.
    RunOrModel,
    /// The file or folder of the artifacts destination in the path.
    Files,
    /// The same in the field `path`.
    Folder,
    /// The registered model in the field `name`.
    RegisteredModel,
    /// The same, and the name in the field `new_name`, which others may have a role for.
    Renaming,
    /// The registered model in the field `name`; and to be read the run, logged model and files a version is made from.
    ModelVersion,
}

/// The row of a route; `label` is what the metrics page calls it.
pub(crate) fn rule(verb: &str, label: &str) -> Option<Rule> {
    let row = TABLE.iter().find(|(verbs, path, _)| *path == label && verbs.split(' ').any(|listed| listed == verb));
    row.map(|(_, _, rule)| *rule)
}

/// Verbs, label, rule. `ANY` is a group of routes with one answer.
const TABLE: &[(&str, &str, Rule)] = &[
    // Experiments.
    ("POST", "2.0/mlflow/experiments/create", Needs(Editor, Everything)),
    ("POST", "2.0/mlflow/experiments/delete", Needs(Editor, Experiment)),
    ("POST", "2.0/mlflow/experiments/delete-experiment-tag", Needs(Editor, Experiment)),
    ("GET", "2.0/mlflow/experiments/get", Needs(Viewer, Experiment)),
    ("GET", "2.0/mlflow/experiments/get-by-name", Needs(Viewer, ExperimentName)),
    ("POST", "2.0/mlflow/experiments/restore", Needs(Editor, Experiment)),
    ("GET POST", "2.0/mlflow/experiments/search", SignedIn),
    ("POST", "2.0/mlflow/experiments/search-datasets", Needs(Viewer, Experiments)),
    ("POST", "2.0mlflow/experiments/search-datasets", Needs(Viewer, Experiments)),
    ("POST", "2.0/mlflow/experiments/set-experiment-tag", Needs(Editor, Experiment)),
    ("POST", "2.0/mlflow/experiments/update", Needs(Editor, Experiment)),
    // Runs.
    ("POST", "2.0/mlflow/runs/create", Needs(Editor, Experiment)),
    ("POST", "2.0/mlflow/runs/delete", Needs(Editor, Run)),
    ("GET", "2.0/mlflow/runs/get", Needs(Viewer, Run)),
    ("POST", "2.0/mlflow/runs/restore", Needs(Editor, Run)),
    ("POST", "2.0/mlflow/runs/search", Needs(Viewer, Experiments)),
    ("POST", "2.0/mlflow/runs/update", Needs(Editor, Run)),
    ("POST", "2.0/mlflow/runs/delete-tag", Needs(Editor, Run)),
    ("POST", "2.0/mlflow/runs/log-batch", Needs(Editor, Batch)),
    ("POST", "2.0/mlflow/runs/log-inputs", Needs(Editor, RunInputs)),
    ("POST", "2.0/mlflow/runs/log-metric", Needs(Editor, Metric)),
    ("POST", "2.0/mlflow/runs/log-model", Needs(Editor, Run)),
    ("POST", "2.0/mlflow/runs/log-parameter", Needs(Editor, Run)),
    ("POST", "2.0/mlflow/runs/outputs", Needs(Editor, RunOutputs)),
    ("POST", "2.0/mlflow/runs/set-tag", Needs(Editor, Run)),
    // Metrics.
    ("GET", "2.0/mlflow/metrics/get-history", Needs(Viewer, Run)),
    ("GET", "2.0/mlflow/metrics/get-history-bulk", Needs(Viewer, Runs("run_id"))),
    ("GET", "2.0/mlflow/metrics/get-history-bulk-interval", Needs(Viewer, Runs("run_ids"))),
    ("GET", "/api/runlake/metrics/envelope", Needs(Viewer, Runs("run_ids"))),
    // Logged models.
    ("POST", "2.0/mlflow/logged-models", Needs(Editor, NewModel)),
    ("POST", "2.0/mlflow/logged-models/search", Needs(Viewer, Experiments)),
    ("GET", "2.0/mlflow/logged-models/{model_id}", Needs(Viewer, Model)),
    ("PATCH DELETE", "2.0/mlflow/logged-models/{model_id}", Needs(Editor, Model)),
    ("POST", "2.0/mlflow/logged-models/{model_id}/params", Needs(Editor, Model)),
    ("PATCH", "2.0/mlflow/logged-models/{model_id}/tags", Needs(Editor, Model)),
    ("DELETE", "2.0/mlflow/logged-models/{model_id}/tags/{tag_key}", Needs(Editor, Model)),
    ("GET", "2.0/mlflow/logged-models/{model_id}/artifacts/directories", Needs(Viewer, Model)),
    ("GET", "2.0/mlflow/logged-models/{model_id}/artifacts/files", Needs(Viewer, Model)),
    // Files.
    ("GET", "2.0/mlflow-artifacts/artifacts", Needs(Viewer, Folder)),
    ("GET", "2.0/mlflow-artifacts/artifacts/{*path}", Needs(Viewer, Files)),
    ("PUT DELETE", "2.0/mlflow-artifacts/artifacts/{*path}", Needs(Editor, Files)),
    ("POST", "2.0/mlflow-artifacts/mpu/create/{*path}", Needs(Editor, Files)),
    ("POST", "2.0/mlflow-artifacts/mpu/complete/{*path}", Needs(Editor, Files)),
    ("POST", "2.0/mlflow-artifacts/mpu/abort/{*path}", Needs(Editor, Files)),
    ("PUT", "2.0/mlflow-artifacts/mpu/part/{*path}", Needs(Editor, Files)),
    ("GET", "2.0/mlflow-artifacts/presigned/{*path}", Needs(Viewer, Files)),
    ("GET", "2.0/mlflow/artifacts/list", Needs(Viewer, Run)),
    ("POST", "2.0/mlflow/artifacts/presigned-download-url", Needs(Viewer, RunOrModel)),
    ("POST", "2.0/mlflow/artifacts/presigned-upload-url", Needs(Editor, RunOrModel)),
    ("POST", "2.0/mlflow/upload-artifact", Needs(Editor, RunInQuery)),
    ("GET", "/get-artifact", Needs(Viewer, Run)),
    // Registered models and their versions.
    ("POST", "2.0/mlflow/registered-models/create", Needs(Editor, RegisteredModel)),
    ("GET", "2.0/mlflow/registered-models/get", Needs(Viewer, RegisteredModel)),
    ("GET POST", "2.0/mlflow/registered-models/get-latest-versions", Needs(Viewer, RegisteredModel)),
    ("POST", "2.0/mlflow/registered-models/rename", Needs(Approver, Renaming)),
    ("GET", "2.0/mlflow/registered-models/search", SignedIn),
    ("PATCH", "2.0/mlflow/registered-models/update", Needs(Editor, RegisteredModel)),
    ("DELETE", "2.0/mlflow/registered-models/delete", Needs(Approver, RegisteredModel)),
    ("POST", "2.0/mlflow/registered-models/set-tag", Needs(Editor, RegisteredModel)),
    ("DELETE", "2.0/mlflow/registered-models/delete-tag", Needs(Editor, RegisteredModel)),
    ("GET", "2.0/mlflow/registered-models/alias", Needs(Viewer, RegisteredModel)),
    ("POST DELETE", "2.0/mlflow/registered-models/alias", Needs(Approver, RegisteredModel)),
    ("POST", "2.0/mlflow/model-versions/create", Needs(Editor, ModelVersion)),
    ("GET", "2.0/mlflow/model-versions/get", Needs(Viewer, RegisteredModel)),
    ("GET", "2.0/mlflow/model-versions/get-download-uri", Needs(Viewer, RegisteredModel)),
    ("GET", "2.0/mlflow/model-versions/search", SignedIn),
    ("PATCH", "2.0/mlflow/model-versions/update", Needs(Editor, RegisteredModel)),
    ("DELETE", "2.0/mlflow/model-versions/delete", Needs(Approver, RegisteredModel)),
    ("POST", "2.0/mlflow/model-versions/set-tag", Needs(Editor, RegisteredModel)),
    ("DELETE", "2.0/mlflow/model-versions/delete-tag", Needs(Editor, RegisteredModel)),
    ("POST", "2.0/mlflow/model-versions/transition-stage", Needs(Approver, RegisteredModel)),
    ("GET", "/model-versions/get-artifact", Needs(Viewer, RegisteredModel)),
    ("GET", "/api/runlake/registry/history", Needs(Viewer, RegisteredModel)),
    ("GET", "/api/runlake/registry/policy", Needs(Viewer, RegisteredModel)),
    ("PUT DELETE", "/api/runlake/registry/policy", Needs(Admin, RegisteredModel)),
    ("GET", "/api/runlake/registry/requests", Needs(Viewer, RegisteredModel)),
    ("POST", "/api/runlake/registry/requests", Needs(Editor, RegisteredModel)),
    ("GET", "/api/runlake/registry/requests/{request_id}", Needs(Viewer, RegisteredModel)),
    ("POST", "/api/runlake/registry/requests/{request_id}/approve", Needs(Approver, RegisteredModel)),
    ("POST", "/api/runlake/registry/requests/{request_id}/reject", Needs(Approver, RegisteredModel)),
    ("POST", "/api/runlake/registry/requests/{request_id}/withdraw", Needs(Editor, RegisteredModel)),
    // Its paths lead from one experiment to the next.
    ("GET", "/api/runlake/lineage", Needs(Viewer, Everything)),
    ("POST", "/api/runlake/sql", Needs(Viewer, Everything)),
    ("GET", "/api/runlake/changes", SignedIn),
    // Webhooks call wherever they are told to: only who may do everything may tell.
    ("GET POST", "2.0/mlflow/webhooks", Needs(Admin, Everything)),
    ("GET PATCH DELETE", "2.0/mlflow/webhooks/{webhook_id}", Needs(Admin, Everything)),
    ("POST", "2.0/mlflow/webhooks/{webhook_id}/test", Needs(Admin, Everything)),
    ("GET POST", "/api/runlake/webhooks", Needs(Admin, Everything)),
    ("GET PATCH DELETE", "/api/runlake/webhooks/{webhook_id}", Needs(Admin, Everything)),
    ("POST", "/api/runlake/webhooks/{webhook_id}/test", Needs(Admin, Everything)),
    // Rows of any number of runs: each batch is looked at when it is there.
    ("POST", "/api/runlake/ingest", SignedIn),
    // The server and the lake.
    ("GET", "/health", Open),
    ("GET", "/version", Open),
    ("GET", "/", Open),
    ("GET", "web-app", Open),
    ("GET", "/metrics", Needs(Viewer, Everything)),
    ("GET", "3.0/mlflow/server-info", SignedIn),
    ("GET POST", "3.0/mlflow/ui-telemetry", SignedIn),
    ("GET", "/api/runlake/openapi.json", Open),
    ("GET", "/api/runlake/docs", Open),
    ("GET", "/api/runlake/status", Needs(Viewer, Everything)),
    ("POST", "/api/runlake/flush", Needs(Editor, Everything)),
    ("POST", "/api/runlake/compact", Needs(Admin, Everything)),
    ("POST", "/api/runlake/vacuum", Needs(Admin, Everything)),
    // Users. What a user may do with their own password and tokens, the handlers know.
    ("GET", "/api/runlake/auth/whoami", SignedIn),
    ("POST", "/api/runlake/auth/setup", Open),
    ("POST", "/api/runlake/auth/login", Open),
    ("POST", "/api/runlake/auth/logout", SignedIn),
    ("GET POST", "/api/runlake/auth/users", Needs(Admin, Everything)),
    ("GET PATCH DELETE", "/api/runlake/auth/users/{name}", Needs(Admin, Everything)),
    ("PUT", "/api/runlake/auth/users/{name}/password", SignedIn),
    ("PUT DELETE", "/api/runlake/auth/users/{name}/roles", Needs(Admin, Everything)),
    ("GET POST", "/api/runlake/auth/tokens", SignedIn),
    ("DELETE", "/api/runlake/auth/tokens/{token_id}", SignedIn),
    ("POST", "2.0/mlflow/users/create", Needs(Admin, Everything)),
    ("GET", "2.0/mlflow/users/get", SignedIn),
    ("GET", "2.0/mlflow/users/current", SignedIn),
    ("GET", "2.0/mlflow/users/list", Needs(Admin, Everything)),
    ("PATCH", "2.0/mlflow/users/update-password", SignedIn),
    ("PATCH", "2.0/mlflow/users/update-admin", Needs(Admin, Everything)),
    ("DELETE", "2.0/mlflow/users/delete", Needs(Admin, Everything)),
    // What is not offered, or an empty list.
    ("GET POST ANY", "2.0/mlflow/traces", SignedIn),
    ("GET POST", "3.0/mlflow/datasets/search", SignedIn),
    ("GET", "3.0/mlflow/gateway/budgets/list", SignedIn),
    ("GET", "3.0/mlflow/gateway/endpoints/bindings/list", SignedIn),
    ("GET", "3.0/mlflow/gateway/endpoints/list", SignedIn),
    ("GET", "3.0/mlflow/gateway/guardrails/list", SignedIn),
    ("GET", "3.0/mlflow/gateway/model-definitions/list", SignedIn),
    ("GET", "3.0/mlflow/gateway/secrets/list", SignedIn),
    ("GET", "3.0/mlflow/gateway/supported-models", SignedIn),
    ("GET", "3.0/mlflow/gateway/supported-providers", SignedIn),
    ("GET", "3.0/mlflow/label-schemas/list", SignedIn),
    ("GET POST", "3.0/mlflow/prompt-optimization/jobs/search", SignedIn),
    ("GET", "3.0/mlflow/review-queues/list", SignedIn),
    ("GET", "3.0/mlflow/scorers/list", SignedIn),
    ("GET", "3.0/mlflow/scorers/online-configs", SignedIn),
    ("GET ANY", "3.0/mlflow/workspaces", SignedIn),
    ("POST", "3.0/mlflow/issues/search", SignedIn),
    ("POST", "3.0/mlflow/traces/metrics", SignedIn),
    ("POST", "3.0/mlflow/traces/search", SignedIn),
    ("ANY", "2.0/mlflow/gateway-proxy", SignedIn),
    ("ANY", "2.0/mlflow/get-trace-artifact", SignedIn),
    ("ANY", "2.0/mlflow/runs/create-promptlab-run", SignedIn),
    ("ANY", "3.0/mlflow/datasets", SignedIn),
    ("ANY", "3.0/mlflow/demo", SignedIn),
    ("ANY", "3.0/mlflow/gateway", SignedIn),
    ("ANY", "3.0/mlflow/genai", SignedIn),
    ("ANY", "3.0/mlflow/get-trace-artifact", SignedIn),
    ("ANY", "3.0/mlflow/issues", SignedIn),
    ("ANY", "3.0/mlflow/jobs", SignedIn),
    ("ANY", "3.0/mlflow/label-schemas", SignedIn),
    ("ANY", "3.0/mlflow/prompt-optimization", SignedIn),
    ("ANY", "3.0/mlflow/review-queues", SignedIn),
    ("ANY", "3.0/mlflow/scorers", SignedIn),
    ("ANY", "3.0/mlflow/traces", SignedIn),
    ("POST", "/v1/traces", SignedIn),
    ("POST", "/graphql", SignedIn),
    // A browser that asks what it may send has no credentials to send along.
    ("ANY", "wrong-method", Open),
    ("ANY", "unknown", SignedIn),
];
