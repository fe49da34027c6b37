//! Every route with every kind of caller: who is let in, and who is not.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runlake_identity::{NewUser, Role, Scope};
use runlake_types::ExperimentId;

use super::*;

pub(super) const PASSWORD: &str = "a long password";

/// Route, who may call it, and a request: a query, or a JSON body. `{run}` and `{model}` are of experiment 1, `{caller}`
/// is who asks.
///
/// Who: `open`; `signed-in`; or a role on `all`, `experiment` (1) or `model` (the registered model `m`).
const ROUTES: &[(&str, &str, &str)] = &[
    ("POST 2.0/mlflow/experiments/create", "editor all", r#"{"name": "by {caller}"}"#),
    ("POST 2.0/mlflow/experiments/delete", "editor experiment", r#"{"experiment_id": "1"}"#),
    ("POST 2.0/mlflow/experiments/restore", "editor experiment", r#"{"experiment_id": "1"}"#),
    ("POST 2.0/mlflow/experiments/update", "editor experiment", r#"{"experiment_id": "1", "new_name": "n"}"#),
    ("POST 2.0/mlflow/experiments/set-experiment-tag", "editor experiment", r#"{"experiment_id": "1", "key": "k"}"#),
    ("POST 2.0/mlflow/experiments/delete-experiment-tag", "editor experiment", r#"{"experiment_id": "1", "key": "k"}"#),
    ("GET 2.0/mlflow/experiments/get", "viewer experiment", "?experiment_id=1"),
    ("GET 2.0/mlflow/experiments/get-by-name", "viewer experiment", "?experiment_name=n"),
    ("GET 2.0/mlflow/experiments/search", "signed-in", "?max_results=5"),
    ("POST 2.0/mlflow/experiments/search", "signed-in", r#"{"max_results": 5}"#),
    ("POST 2.0/mlflow/experiments/search-datasets", "viewer experiment", r#"{"experiment_ids": ["1"]}"#),
    ("POST 2.0mlflow/experiments/search-datasets", "viewer experiment", r#"{"experiment_ids": ["1"]}"#),
    ("POST 2.0/mlflow/runs/create", "editor experiment", r#"{"experiment_id": "1"}"#),
    ("POST 2.0/mlflow/runs/delete", "editor experiment", r#"{"run_id": "{run}"}"#),
    ("POST 2.0/mlflow/runs/restore", "editor experiment", r#"{"run_id": "{run}"}"#),
    ("GET 2.0/mlflow/runs/get", "viewer experiment", "?run_id={run}"),
    ("POST 2.0/mlflow/runs/search", "viewer experiment", r#"{"experiment_ids": ["1"]}"#),
    ("POST 2.0/mlflow/runs/update", "editor experiment", r#"{"run_id": "{run}", "run_name": "x"}"#),
    ("POST 2.0/mlflow/runs/set-tag", "editor experiment", r#"{"run_id": "{run}", "key": "k", "value": "v"}"#),
    ("POST 2.0/mlflow/runs/delete-tag", "editor experiment", r#"{"run_uuid": "{run}", "key": "k"}"#),
    (
        "POST 2.0/mlflow/runs/log-batch",
        "editor experiment",
        r#"{"run_id": "{run}", "params": [{"key": "a", "value": "b"}]}"#,
    ),
    (
        "POST 2.0/mlflow/runs/log-inputs",
        "editor experiment",
        r#"{"run_id": "{run}", "models": [{"model_id": "{model}"}]}"#,
    ),
    (
        "POST 2.0/mlflow/runs/log-metric",
        "editor experiment",
        r#"{"run_id": "{run}", "key": "m", "value": 1, "timestamp": 1}"#,
    ),
    ("POST 2.0/mlflow/runs/log-model", "editor experiment", r#"{"run_id": "{run}", "model_json": "{}"}"#),
    ("POST 2.0/mlflow/runs/log-parameter", "editor experiment", r#"{"run_id": "{run}", "key": "p", "value": "1"}"#),
    (
        "POST 2.0/mlflow/runs/outputs",
        "editor experiment",
        r#"{"run_id": "{run}", "models": [{"model_id": "{model}"}]}"#,
    ),
    ("GET 2.0/mlflow/metrics/get-history", "viewer experiment", "?run_id={run}&metric_key=m"),
    ("GET 2.0/mlflow/metrics/get-history-bulk", "viewer experiment", "?run_id={run}&metric_key=m"),
    ("GET 2.0/mlflow/metrics/get-history-bulk-interval", "viewer experiment", "?run_ids={run}&metric_key=m"),
    ("GET /api/runlake/metrics/envelope", "viewer experiment", "?run_ids={run}&metric_key=m"),
    ("POST 2.0/mlflow/logged-models", "editor experiment", r#"{"experiment_id": "1", "source_run_id": "{run}"}"#),
    ("POST 2.0/mlflow/logged-models/search", "viewer experiment", r#"{"experiment_ids": ["1"]}"#),
    ("GET 2.0/mlflow/logged-models/{model_id}", "viewer experiment", ""),
    ("PATCH 2.0/mlflow/logged-models/{model_id}", "editor experiment", r#"{"model_id": "{model}", "status": 2}"#),
    ("POST 2.0/mlflow/logged-models/{model_id}/params", "editor experiment", r#"{"params": []}"#),
    ("PATCH 2.0/mlflow/logged-models/{model_id}/tags", "editor experiment", r#"{"tags": []}"#),
    ("DELETE 2.0/mlflow/logged-models/{model_id}/tags/{tag_key}", "editor experiment", ""),
    ("GET 2.0/mlflow/logged-models/{model_id}/artifacts/directories", "viewer experiment", ""),
    ("GET 2.0/mlflow/logged-models/{model_id}/artifacts/files", "viewer experiment", "?artifact_file_path=f"),
    ("DELETE 2.0/mlflow/logged-models/{model_id}", "editor experiment", ""),
    ("GET 2.0/mlflow-artifacts/artifacts", "viewer experiment", "?path=1/x"),
    ("GET 2.0/mlflow-artifacts/artifacts/{*path}", "viewer experiment", ""),
    ("PUT 2.0/mlflow-artifacts/artifacts/{*path}", "editor experiment", "{}"),
    ("DELETE 2.0/mlflow-artifacts/artifacts/{*path}", "editor experiment", ""),
    ("POST 2.0/mlflow-artifacts/mpu/create/{*path}", "editor experiment", r#"{"path": "f", "num_parts": 1}"#),
    ("POST 2.0/mlflow-artifacts/mpu/complete/{*path}", "editor experiment", r#"{"path": "f", "upload_id": "u"}"#),
    ("POST 2.0/mlflow-artifacts/mpu/abort/{*path}", "editor experiment", r#"{"path": "f", "upload_id": "u"}"#),
    ("PUT 2.0/mlflow-artifacts/mpu/part/{*path}", "editor experiment", ""),
    ("GET 2.0/mlflow-artifacts/presigned/{*path}", "viewer experiment", ""),
    ("GET 2.0/mlflow/artifacts/list", "viewer experiment", "?run_id={run}"),
    ("POST 2.0/mlflow/artifacts/presigned-download-url", "viewer experiment", r#"{"run_id": "{run}", "path": "f"}"#),
    ("POST 2.0/mlflow/artifacts/presigned-upload-url", "editor experiment", r#"{"model_id": "{model}", "path": "f"}"#),
    ("POST 2.0/mlflow/upload-artifact", "editor experiment", "?run_uuid={run}&path=f"),
    ("GET /get-artifact", "viewer experiment", "?run_id={run}&path=f"),
    ("POST 2.0/mlflow/registered-models/create", "editor model", r#"{"name": "m"}"#),
    ("GET 2.0/mlflow/registered-models/get", "viewer model", "?name=m"),
    ("GET 2.0/mlflow/registered-models/get-latest-versions", "viewer model", "?name=m"),
    ("POST 2.0/mlflow/registered-models/get-latest-versions", "viewer model", r#"{"name": "m"}"#),
    ("POST 2.0/mlflow/registered-models/rename", "approver all", r#"{"name": "m", "new_name": "n"}"#),
    ("PATCH 2.0/mlflow/registered-models/update", "editor model", r#"{"name": "m", "description": "d"}"#),
    ("DELETE 2.0/mlflow/registered-models/delete", "approver model", r#"{"name": "m"}"#),
    ("POST 2.0/mlflow/registered-models/set-tag", "editor model", r#"{"name": "m", "key": "k", "value": "v"}"#),
    ("DELETE 2.0/mlflow/registered-models/delete-tag", "editor model", r#"{"name": "m", "key": "k"}"#),
    ("GET 2.0/mlflow/registered-models/alias", "viewer model", "?name=m&alias=a"),
    ("POST 2.0/mlflow/registered-models/alias", "approver model", r#"{"name": "m", "alias": "a", "version": "1"}"#),
    ("DELETE 2.0/mlflow/registered-models/alias", "approver model", r#"{"name": "m", "alias": "a"}"#),
    ("GET 2.0/mlflow/registered-models/search", "signed-in", ""),
    ("POST 2.0/mlflow/model-versions/create", "editor all", r#"{"name": "m", "source": "s3://elsewhere/m"}"#),
    ("GET 2.0/mlflow/model-versions/get", "viewer model", "?name=m&version=1"),
    ("GET 2.0/mlflow/model-versions/get-download-uri", "viewer model", "?name=m&version=1"),
    ("GET 2.0/mlflow/model-versions/search", "signed-in", ""),
    ("PATCH 2.0/mlflow/model-versions/update", "editor model", r#"{"name": "m", "version": "1"}"#),
    ("DELETE 2.0/mlflow/model-versions/delete", "approver model", r#"{"name": "m", "version": "1"}"#),
    ("POST 2.0/mlflow/model-versions/set-tag", "editor model", r#"{"name": "m", "version": "1", "key": "k"}"#),
    ("DELETE 2.0/mlflow/model-versions/delete-tag", "editor model", r#"{"name": "m", "version": "1", "key": "k"}"#),
    ("POST 2.0/mlflow/model-versions/transition-stage", "approver model", r#"{"name": "m", "version": "1"}"#),
    ("GET /model-versions/get-artifact", "viewer model", "?name=m&version=1&path=f"),
    ("GET 2.0/mlflow/webhooks", "admin all", ""),
    ("POST 2.0/mlflow/webhooks", "admin all", "{}"),
    ("GET 2.0/mlflow/webhooks/{webhook_id}", "admin all", ""),
    ("PATCH 2.0/mlflow/webhooks/{webhook_id}", "admin all", "{}"),
    ("DELETE 2.0/mlflow/webhooks/{webhook_id}", "admin all", ""),
    ("POST 2.0/mlflow/webhooks/{webhook_id}/test", "admin all", "{}"),
    // What a batch's rows are about, tests/ingest.rs asks.
    ("POST /api/runlake/ingest", "signed-in", "{}"),
    ("GET /api/runlake/lineage", "viewer all", "?of=models:/m/1"),
    ("POST /api/runlake/sql", "viewer all", r#"{"sql": "SELECT 1"}"#),
    ("GET /api/runlake/changes", "signed-in", ""),
    ("GET /api/runlake/openapi.json", "open", ""),
    ("GET /api/runlake/docs", "open", ""),
    ("GET /api/runlake/registry/policy", "viewer model", "?name=m"),
    ("PUT /api/runlake/registry/policy", "admin model", r#"{"name": "m", "required_approvals": 0}"#),
    ("DELETE /api/runlake/registry/policy", "admin model", r#"{"name": "m"}"#),
    ("GET /api/runlake/registry/requests", "viewer model", "?name=m"),
    ("POST /api/runlake/registry/requests", "editor model", r#"{"name": "m", "version": "1", "alias": "a"}"#),
    ("GET /api/runlake/registry/requests/{request_id}", "viewer model", "?name=m"),
    ("POST /api/runlake/registry/requests/{request_id}/approve", "approver model", r#"{"name": "m"}"#),
    ("POST /api/runlake/registry/requests/{request_id}/reject", "approver model", r#"{"name": "m"}"#),
    ("POST /api/runlake/registry/requests/{request_id}/withdraw", "editor model", r#"{"name": "m"}"#),
    ("GET /api/runlake/registry/history", "viewer model", "?name=m"),
    ("GET /api/runlake/webhooks", "admin all", ""),
    ("POST /api/runlake/webhooks", "admin all", "{}"),
    ("GET /api/runlake/webhooks/{webhook_id}", "admin all", ""),
    ("PATCH /api/runlake/webhooks/{webhook_id}", "admin all", "{}"),
    ("DELETE /api/runlake/webhooks/{webhook_id}", "admin all", ""),
    ("POST /api/runlake/webhooks/{webhook_id}/test", "admin all", "{}"),
    ("GET /", "open", ""),
    ("GET web-app", "open", ""),
    ("GET /health", "open", ""),
    ("GET /version", "open", ""),
    ("GET /metrics", "viewer all", ""),
    ("GET 3.0/mlflow/server-info", "signed-in", ""),
    ("GET 3.0/mlflow/ui-telemetry", "signed-in", ""),
    ("POST 3.0/mlflow/ui-telemetry", "signed-in", "{}"),
    ("GET /api/runlake/status", "viewer all", ""),
    ("POST /api/runlake/flush", "editor all", "{}"),
    ("POST /api/runlake/compact", "admin all", "{}"),
    ("POST /api/runlake/vacuum", "admin all", "{}"),
    ("GET /api/runlake/auth/whoami", "signed-in", ""),
    ("POST /api/runlake/auth/setup", "open", "{}"),
    ("POST /api/runlake/auth/login", "open", "{}"),
    ("POST /api/runlake/auth/logout", "signed-in", "{}"),
    ("GET /api/runlake/auth/users", "admin all", ""),
    ("POST /api/runlake/auth/users", "admin all", r#"{"name": "made by {caller}"}"#),
    ("GET /api/runlake/auth/users/{name}", "admin all", ""),
    ("PATCH /api/runlake/auth/users/{name}", "admin all", r#"{"disabled": true}"#),
    ("PUT /api/runlake/auth/users/{name}/roles", "admin all", r#"{"role": "viewer"}"#),
    ("DELETE /api/runlake/auth/users/{name}/roles", "admin all", "{}"),
    ("PUT /api/runlake/auth/users/{name}/password", "admin all", r#"{"password": "another password"}"#),
    ("DELETE /api/runlake/auth/users/{name}", "admin all", ""),
    ("GET /api/runlake/auth/tokens", "signed-in", ""),
    ("POST /api/runlake/auth/tokens", "signed-in", r#"{"expires_in_seconds": 60}"#),
    ("DELETE /api/runlake/auth/tokens/{token_id}", "signed-in", ""),
    ("POST 2.0/mlflow/users/create", "admin all", r#"{"username": "as MLflow", "password": "a long password"}"#),
    ("GET 2.0/mlflow/users/get", "admin all", "?username=victim"),
    ("GET 2.0/mlflow/users/current", "signed-in", ""),
    ("GET 2.0/mlflow/users/list", "admin all", ""),
    (
        "PATCH 2.0/mlflow/users/update-password",
        "admin all",
        r#"{"username": "victim", "password": "another password"}"#,
    ),
    ("PATCH 2.0/mlflow/users/update-admin", "admin all", r#"{"username": "victim", "is_admin": true}"#),
    ("DELETE 2.0/mlflow/users/delete", "admin all", r#"{"username": "victim"}"#),
    ("GET 2.0/mlflow/traces", "signed-in", ""),
    ("ANY 2.0/mlflow/traces", "signed-in", ""),
    ("GET 3.0/mlflow/datasets/search", "signed-in", ""),
    ("POST 3.0/mlflow/datasets/search", "signed-in", "{}"),
    ("GET 3.0/mlflow/gateway/budgets/list", "signed-in", ""),
    ("GET 3.0/mlflow/gateway/endpoints/bindings/list", "signed-in", ""),
    ("GET 3.0/mlflow/gateway/endpoints/list", "signed-in", ""),
    ("GET 3.0/mlflow/gateway/guardrails/list", "signed-in", ""),
    ("GET 3.0/mlflow/gateway/model-definitions/list", "signed-in", ""),
    ("GET 3.0/mlflow/gateway/secrets/list", "signed-in", ""),
    ("GET 3.0/mlflow/gateway/supported-models", "signed-in", ""),
    ("GET 3.0/mlflow/gateway/supported-providers", "signed-in", ""),
    ("GET 3.0/mlflow/label-schemas/list", "signed-in", ""),
    ("GET 3.0/mlflow/prompt-optimization/jobs/search", "signed-in", ""),
    ("POST 3.0/mlflow/prompt-optimization/jobs/search", "signed-in", "{}"),
    ("GET 3.0/mlflow/review-queues/list", "signed-in", ""),
    ("GET 3.0/mlflow/scorers/list", "signed-in", ""),
    ("GET 3.0/mlflow/scorers/online-configs", "signed-in", ""),
    ("GET 3.0/mlflow/workspaces", "signed-in", ""),
    ("ANY 3.0/mlflow/workspaces", "signed-in", ""),
    ("POST 3.0/mlflow/issues/search", "signed-in", "{}"),
    ("POST 3.0/mlflow/traces/metrics", "signed-in", "{}"),
    ("POST 3.0/mlflow/traces/search", "signed-in", "{}"),
    ("ANY 2.0/mlflow/gateway-proxy", "signed-in", ""),
    ("ANY 2.0/mlflow/get-trace-artifact", "signed-in", ""),
    ("ANY 2.0/mlflow/runs/create-promptlab-run", "signed-in", ""),
    ("ANY 3.0/mlflow/datasets", "signed-in", ""),
    ("ANY 3.0/mlflow/demo", "signed-in", ""),
    ("ANY 3.0/mlflow/gateway", "signed-in", ""),
    ("ANY 3.0/mlflow/genai", "signed-in", ""),
    ("ANY 3.0/mlflow/get-trace-artifact", "signed-in", ""),
    ("ANY 3.0/mlflow/issues", "signed-in", ""),
    ("ANY 3.0/mlflow/jobs", "signed-in", ""),
    ("ANY 3.0/mlflow/label-schemas", "signed-in", ""),
    ("ANY 3.0/mlflow/prompt-optimization", "signed-in", ""),
    ("ANY 3.0/mlflow/review-queues", "signed-in", ""),
    ("ANY 3.0/mlflow/scorers", "signed-in", ""),
    ("ANY 3.0/mlflow/traces", "signed-in", ""),
    ("POST /v1/traces", "signed-in", "{}"),
    ("POST /graphql", "signed-in", "{}"),
    ("ANY wrong-method", "open", ""),
    ("ANY unknown", "signed-in", ""),
];

/// Name, role, and what it is for: everything, or number of an experiment and name of a registered model.
pub(super) type Someone = (&'static str, Role, Option<(u64, &'static str)>);

pub(super) const CALLERS: [Someone; 9] = [
    ("viewer", Role::Viewer, None),
    ("editor", Role::Editor, None),
    ("approver", Role::Approver, None),
    ("admin", Role::Admin, None),
    ("viewer of it", Role::Viewer, Some((1, "m"))),
    ("editor of it", Role::Editor, Some((1, "m"))),
    ("approver of it", Role::Approver, Some((1, "m"))),
    ("viewer of another", Role::Viewer, Some((2, "other"))),
    ("approver of another", Role::Approver, Some((2, "other"))),
];

pub(super) fn is_let_in(who: &str, role: Role, of: Option<(u64, &str)>) -> bool {
    let Some((needed, object)) = who.split_once(' ') else { return true };
    let needed = Role::parse(needed).expect("a role");
    match (of, object) {
        (None, _) | (Some((1, _)), "experiment" | "model") => role >= needed,
        _ => false,
    }
}

/// A server that asks who calls, with a user for each of [`CALLERS`] and some things to ask for.
pub(super) struct Guarded {
    pub(super) server: Server,
    pub(super) app: App,
    pub(super) run: String,
    pub(super) model: String,
}

impl Guarded {
    pub(super) async fn start() -> Self {
        let app = app(Settings { demand_credentials: true, ..Settings::default() }).await;
        for (name, role, of) in CALLERS {
            let roles = match of {
                None => vec![(Scope::All, role)],
                Some((id, model)) => {
                    vec![(Scope::Experiment(ExperimentId::new(id)), role), (Scope::RegisteredModel(model.into()), role)]
                }
            };
            let user = NewUser { name: name.into(), password: Some(PASSWORD.into()), roles, is_first: false };
            app.identity().create_user(user, "").await.unwrap();
        }
        let mut guarded = Self { server: Server(router(app.clone())), app, run: String::new(), model: String::new() };
        for name in ["n", "other"] {
            guarded.ok("POST", "/api/2.0/mlflow/experiments/create", &json!({"name": name})).await;
        }
        let made = guarded.ok("POST", "/api/2.0/mlflow/runs/create", &json!({"experiment_id": "1"})).await;
        guarded.run = made["run"]["info"]["run_id"].as_str().unwrap().into();
        let made = guarded.ok("POST", "/api/2.0/mlflow/logged-models", &json!({"experiment_id": "1"})).await;
        guarded.model = made["model"]["info"]["model_id"].as_str().unwrap().into();
        guarded
    }

    async fn ok(&self, method: &str, uri: &str, body: &Value) -> Value {
        let answer = self.ask(Some("admin"), method, uri, body.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    }

    pub(super) async fn ask(&self, caller: Option<&str>, method: &str, uri: &str, body: String) -> Answer {
        let mut request = Request::builder().method(method).uri(uri).header(header::HOST, "localhost");
        request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(name) = caller {
            request = request.header(header::AUTHORIZATION, basic(name, PASSWORD));
        }
        self.server.send(request.body(Body::from(body)).unwrap()).await
    }

    /// Sends the request of a row.
    async fn call(&self, caller: Option<&str>, route: &str, content: &str) -> Answer {
        let (verb, label) = route.split_once(' ').unwrap();
        let (method, path) = match (verb, label) {
            (_, "web-app") => ("GET", "/sql".to_owned()),
            (_, "unknown") => ("POST", "/api/nope".to_owned()),
            (_, "wrong-method") => ("POST", "/health".to_owned()),
            ("ANY", label) => ("POST", format!("/ajax-api/{label}/deeper")),
            (verb, label) if label.starts_with('/') => (verb, label.to_owned()),
            (verb, label) => (verb, format!("/api/{label}")),
        };
        let fill = |text: &str| {
            text.replace("{run}", &self.run)
                .replace("{model}", &self.model)
                .replace("{caller}", caller.unwrap_or("nobody"))
                .replace("{model_id}", &self.model)
                .replace("{tag_key}", "k")
                .replace("{*path}", "1/x/f")
                .replace("{name}", "victim")
                .replace("{token_id}", "t")
                .replace("{webhook_id}", "w")
        };
        let (query, body) = if content.starts_with('?') { (content, "") } else { ("", content) };
        self.ask(caller, method, &fill(&format!("{path}{query}")), fill(body)).await
    }
}

pub(super) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_whom_it_should() {
    let guarded = Guarded::start().await;
    let listed: BTreeSet<String> = super::super::listed(guarded.app.clone()).all_routes();
    let known: BTreeSet<String> = ROUTES.iter().map(|(route, _, _)| (*route).to_owned()).collect();
    let forgotten: Vec<&String> = listed.difference(&known).collect();
    assert!(forgotten.is_empty(), "say in this table who may call {forgotten:?}");
    for (route, who, content) in ROUTES {
        let (verb, label) = route.split_once(' ').unwrap();
        assert!(super::super::access::rule(verb, label).is_some(), "rest/access.rs has no row for {route}");
        if !listed.contains(*route) {
            continue;
        }
        let answer = guarded.call(None, route, content).await;
        let is_known = answer.status != StatusCode::UNAUTHORIZED;
        assert_eq!(is_known, *who == "open", "{route} without credentials: {}", answer.text());
        if !is_known {
            assert_eq!(answer.code(), (401, "UNAUTHENTICATED".into()), "{route}");
            assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Basic realm=\"mlflow\"", "{route}");
        }
        for (name, role, of) in CALLERS {
            let answer = guarded.call(Some(name), route, content).await;
            let is_refused = matches!(answer.status.as_u16(), 401 | 403);
            assert_eq!(!is_refused, is_let_in(who, role, of), "{route} by {name}: {} {}", answer.status, answer.text());
            if is_refused {
                assert_eq!(answer.code(), (403, "PERMISSION_DENIED".into()), "{route} by {name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_refused_like_what_may_not_be_seen() {
    let guarded = Guarded::start().await;
    let run = guarded.run.clone();
    let absent = "0".repeat(32);
    for (uri, there, absent) in [
        ("/api/2.0/mlflow/runs/get?run_id=", run.as_str(), absent.as_str()),
        ("/api/2.0/mlflow/experiments/get?experiment_id=", "1", "999"),
        ("/api/2.0/mlflow/experiments/get-by-name?experiment_name=", "n", "nope"),
        ("/api/2.0/mlflow-artifacts/artifacts?path=", "1", "nope"),
    ] {
        let code = |id: &str| format!("{uri}{id}");
        let there = guarded.ask(Some("viewer of another"), "GET", &code(there), String::new()).await;
        let absent = guarded.ask(Some("viewer of another"), "GET", &code(absent), String::new()).await;
        assert_eq!((there.code(), absent.code()), ((403, "PERMISSION_DENIED".into()), there.code()), "{uri}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_for_one_experiment_reaches_no_further() {
    let guarded = Guarded::start().await;
    let (run, model) = (guarded.run.clone(), guarded.model.clone());
    let found = guarded.ask(
        Some("viewer of another"),
        "GET",
        "/api/2.0/mlflow/experiments/search?max_results=9",
        String::new(),
    );
    let found = found.await.json();
    let ids: Vec<&str> =
        found["experiments"].as_array().unwrap().iter().map(|e| e["experiment_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["2"]);
    let made = guarded.ask(
        Some("approver of another"),
        "POST",
        "/api/2.0/mlflow/runs/create",
        json!({"experiment_id": "2"}).to_string(),
    );
    let own = made.await.json()["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    let point = |run: &str, model: Option<&str>| json!({"run_id": run, "key": "k", "value": 1, "timestamp": 1, "model_id": model});
    let batch = |run: &str, model: Option<&str>| json!({"run_id": run, "metrics": [point(run, model)]});
    let api = "/api/2.0/mlflow";
    for (path, body, status) in [
        ("runs/log-metric", point(&own, None), 200),
        ("runs/log-metric", point(&own, Some(&model)), 403),
        ("runs/log-batch", batch(&own, None), 200),
        ("runs/log-batch", batch(&own, Some(&model)), 403),
        ("runs/log-batch", batch(&run, None), 403),
        ("runs/outputs", json!({"run_id": own, "models": [{"model_id": model}]}), 403),
        ("logged-models", json!({"experiment_id": "2", "source_run_id": own}), 200),
        ("logged-models", json!({"experiment_id": "2", "source_run_id": run}), 403),
        ("runs/search", json!({"experiment_ids": ["2"]}), 200),
        ("runs/search", json!({"experiment_ids": ["2", "1"]}), 403),
        ("runs/search", json!({"experiment_ids": []}), 403),
        ("runs/search", json!({"experimentIds": ["1"]}), 403),
        ("runs/set-tag", json!({"runId": run, "key": "k", "value": "v"}), 403),
        ("runs/set-tag", json!({"run_id": "", "run_uuid": run, "key": "k", "value": "v"}), 403),
        ("runs/set-tag", json!({"key": "k", "value": "v"}), 400),
    ] {
        let answer = guarded.ask(Some("approver of another"), "POST", &format!("{api}/{path}"), body.to_string()).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {body}: {}", answer.text());
    }
    let files = "/api/2.0/mlflow-artifacts/artifacts";
    for (method, path, status) in [
        ("PUT", "/2/r/artifacts/f", 200),
        ("PUT", "/1/r/artifacts/f", 403),
        ("PUT", "/22/f", 403),
        ("GET", "/2/r/artifacts/f", 200),
        ("GET", "?path=2", 200),
        ("GET", "?path=", 403),
        ("GET", "/2/../1/f", 400),
        ("GET", "/2/%2e%2e/1/f", 400),
    ] {
        let answer = guarded.ask(Some("approver of another"), method, &format!("{files}{path}"), "x".into()).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_an_upload_bring_the_credentials_of_who_began_it() {
    let guarded = Guarded::start().await;
    let mpu = "/api/2.0/mlflow-artifacts/mpu";
    let body = json!({"path": "f", "num_parts": 1}).to_string();
    let begun = guarded.ask(Some("editor of it"), "POST", &format!("{mpu}/create/1/r"), body).await.json();
    let part = &begun["credentials"][0];
    let uri = part["url"].as_str().unwrap().to_owned();
    let authorization = part["headers"]["Authorization"].as_str().unwrap();
    assert_eq!(authorization, basic("editor of it", PASSWORD));
    let request = |authorization: Option<&str>| {
        let mut request = Request::builder().method("PUT").uri(&uri);
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        request.body(Body::from("x")).unwrap()
    };
    assert_eq!(guarded.server.send(request(None)).await.status, StatusCode::UNAUTHORIZED);
    let sent = guarded.server.send(request(Some(authorization))).await;
    assert_eq!(sent.status, StatusCode::OK, "{}", sent.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_models_that_may_not_be_seen_are_not_found() {
    let guarded = Guarded::start().await;
    let api = "/api/2.0/mlflow";
    for name in ["m", "other"] {
        let body = json!({"name": name}).to_string();
        let made = guarded.ask(Some("admin"), "POST", &format!("{api}/registered-models/create"), body).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.text());
        let body = json!({"name": name, "source": "s3://elsewhere/m"}).to_string();
        let made = guarded.ask(Some("admin"), "POST", &format!("{api}/model-versions/create"), body).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.text());
    }
    for (path, list) in [("registered-models/search", "registered_models"), ("model-versions/search", "model_versions")]
    {
        let found = guarded.ask(Some("viewer of it"), "GET", &format!("{api}/{path}"), String::new()).await.json();
        let names: Vec<&str> = found[list].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["m"], "{path}");
    }
}

/// Whoever may read a version reads its files, so its maker must be allowed to read what it is made from.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_made_from_what_its_maker_may_read() {
    let guarded = Guarded::start().await;
    let api = "/api/2.0/mlflow";
    let other = guarded.ok("POST", &format!("{api}/runs/create"), &json!({"experiment_id": "2"})).await;
    let other = other["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    for name in ["m", "other"] {
        guarded.ok("POST", &format!("{api}/registered-models/create"), &json!({"name": name})).await;
    }
    let of_other = json!({"name": "other", "source": format!("runs:/{other}/m"), "run_id": other});
    guarded.ok("POST", &format!("{api}/model-versions/create"), &of_other).await;
    let (run, model) = (&guarded.run, &guarded.model);
    for (source, more, is_let_in) in [
        (format!("models:/{model}"), json!({}), true),
        (format!("models:/{model}"), json!({"run_id": other}), false),
        (format!("runs:/{run}/m"), json!({}), true),
        (format!("runs:/{other}/m"), json!({}), false),
        (format!("runs:///{other}/m"), json!({}), false),
        (format!("runs://{other}/{run}/m"), json!({}), false),
        (format!("models://other/{model}"), json!({}), false),
        (format!("mlflow-artifacts:/1/{run}/artifacts/m"), json!({}), true),
        (format!("mlflow-artifacts:/2/{other}/artifacts/m"), json!({}), false),
        (format!("mlflow-artifacts:/1/../2/{other}/artifacts/m"), json!({}), false),
        ("models:/other/1".into(), json!({}), false),
        ("models:/other@latest".into(), json!({}), false),
        ("models:/m/1".into(), json!({}), true),
        ("s3://elsewhere/m".into(), json!({}), false),
        ("/etc/passwd".into(), json!({}), false),
        ("file:///etc/passwd".into(), json!({}), false),
        ("dummy-source".into(), json!({}), true),
    ] {
        let mut body = json!({"name": "m", "source": source});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer =
            guarded.ask(Some("editor of it"), "POST", &format!("{api}/model-versions/create"), body.to_string()).await;
        assert_eq!(answer.status != StatusCode::FORBIDDEN, is_let_in, "{body}: {} {}", answer.status, answer.text());
    }
}

/// Places of experiments may lie within each other.
#[tokio::test(flavor = "multi_thread")]
async fn files_belong_to_the_nearest_experiment() {
    let guarded = Guarded::start().await;
    for (name, place) in [("around", "mlflow-artifacts:/shared"), ("within", "mlflow-artifacts:/shared/deep")] {
        let body = json!({"name": name, "artifact_location": place});
        guarded.ok("POST", "/api/2.0/mlflow/experiments/create", &body).await;
    }
    for (name, id) in [("of around", 3), ("of within", 4)] {
        let roles = vec![(Scope::Experiment(ExperimentId::new(id)), Role::Editor)];
        let user = NewUser { name: name.into(), password: Some(PASSWORD.into()), roles, is_first: false };
        guarded.app.identity().create_user(user, "").await.unwrap();
    }
    let files = "/api/2.0/mlflow-artifacts/artifacts";
    for (name, method, path, is_let_in) in [
        ("of around", "PUT", "/shared/f", true),
        ("of around", "PUT", "/shared/deep/f", false),
        ("of around", "PUT", "/shared/./deep/f", false),
        ("of around", "GET", "?path=shared", false),
        ("of around", "DELETE", "/shared", false),
        ("of within", "PUT", "/shared/deep/f", true),
        ("of within", "PUT", "/shared/f", false),
        ("of within", "GET", "?path=shared/deep", true),
    ] {
        let answer = guarded.ask(Some(name), method, &format!("{files}{path}"), "x".into()).await;
        assert_eq!(answer.status != StatusCode::FORBIDDEN, is_let_in, "{name} {method} {path}: {}", answer.text());
    }
}

#[tokio::test]
async fn routes_of_our_own_are_described() {
    let listed = super::super::listed(app(Settings::default()).await).all_routes();
    let own: BTreeSet<String> = listed.into_iter().filter(|route| route.contains(" /api/runlake/")).collect();
    let described: BTreeSet<String> =
        super::super::openapi::OPERATIONS.iter().map(|row| format!("{} {}", row.verb, row.path)).collect();
    assert_eq!(own, described);
}
