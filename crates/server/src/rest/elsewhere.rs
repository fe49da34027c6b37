//! Routes of MLflow's that runlake does not serve. Lists that clients and the web app ask for at start are empty, as
//! there is nothing to list; everything else says clearly that it is not offered.

use axum::response::Response;

use super::{POST, Table};
use crate::call::Call;
use crate::error::{ApiError, Result};
use crate::wire::{Empty, NoConfigs, json};

/// Lists without entries.
const EMPTY_LISTS: [&str; 15] = [
    "2.0/mlflow/traces",
    "3.0/mlflow/datasets/search",
    "3.0/mlflow/gateway/budgets/list",
    "3.0/mlflow/gateway/endpoints/bindings/list",
    "3.0/mlflow/gateway/endpoints/list",
    "3.0/mlflow/gateway/guardrails/list",
    "3.0/mlflow/gateway/model-definitions/list",
    "3.0/mlflow/gateway/secrets/list",
    "3.0/mlflow/gateway/supported-models",
    "3.0/mlflow/gateway/supported-providers",
    "3.0/mlflow/label-schemas/list",
    "3.0/mlflow/prompt-optimization/jobs/search",
    "3.0/mlflow/review-queues/list",
    "3.0/mlflow/scorers/list",
    "3.0/mlflow/workspaces",
];

/// Lists without entries that are asked for by POST.
const EMPTY_SEARCHES: [&str; 5] = [
    "3.0/mlflow/datasets/search",
    "3.0/mlflow/issues/search",
    "3.0/mlflow/prompt-optimization/jobs/search",
    "3.0/mlflow/traces/metrics",
    "3.0/mlflow/traces/search",
];

/// Groups that are not offered.
const GENAI: [&str; 16] = [
    "2.0/mlflow/gateway-proxy",
    "2.0/mlflow/get-trace-artifact",
    "2.0/mlflow/runs/create-promptlab-run",
    "2.0/mlflow/traces",
    "3.0/mlflow/datasets",
    "3.0/mlflow/demo",
    "3.0/mlflow/gateway",
    "3.0/mlflow/genai",
    "3.0/mlflow/get-trace-artifact",
    "3.0/mlflow/issues",
    "3.0/mlflow/jobs",
    "3.0/mlflow/label-schemas",
    "3.0/mlflow/prompt-optimization",
    "3.0/mlflow/review-queues",
    "3.0/mlflow/scorers",
    "3.0/mlflow/traces",
];

pub(super) fn routes(table: &mut Table) {
    for path in EMPTY_LISTS {
        table.get(path, nothing);
    }
    for path in EMPTY_SEARCHES {
        table.post(path, nothing);
    }
    table.get("3.0/mlflow/scorers/online-configs", no_configs);
    for path in GENAI {
        table.rest_of(path, genai);
    }
    table.rest_of("3.0/mlflow/workspaces", workspaces);
    table.at_root(POST, "/v1/traces", genai);
    table.at_root(POST, "/graphql", graphql);
}

pub(super) async fn nothing(_: Call) -> Result<Response> {
    Ok(json(&Empty {}))
}

async fn no_configs(_: Call) -> Result<Response> {
    Ok(json(&NoConfigs { configs: [] }))
}

async fn genai(_: Call) -> Result<Response> {
    Err(ApiError::not_implemented(
        "runlake tracks experiments, runs, metrics, artifacts and logged models; traces and the other GenAI endpoints \
         of MLflow are not offered.",
    ))
}

async fn workspaces(_: Call) -> Result<Response> {
    Err(ApiError::not_implemented("Workspaces are not offered: one server has one lake."))
}

async fn graphql(_: Call) -> Result<Response> {
    Err(ApiError::not_implemented("GraphQL is not offered; the REST routes answer the same questions."))
}
