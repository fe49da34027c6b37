//! The routes. [`router`] lists every one of them; the files beside hold their handlers, one group each.
//!
//! Every route of MLflow's exists twice, below `/api` and below `/ajax-api`.

mod access;
mod approvals;
mod artifacts;
mod auth;
mod changes;
mod download;
mod elsewhere;
mod experiments;
mod ingest;
mod lake;
mod lineage;
mod logged_models;
mod metrics;
mod mlflow_users;
mod model_versions;
mod multipart;
mod openapi;
mod registered_models;
mod run_data;
mod runs;
mod service;
mod sql;
#[cfg(feature = "ui")]
mod web;
mod webhooks;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, any, on};
use futures::future::BoxFuture;
use runlake_identity::Role;

use crate::app::App;
use crate::call::Call;
use crate::error::Result;
use crate::metrics::RouteMetrics;

pub(crate) use access::{Object, Rule};

/// A method of HTTP, for the router and for the metrics page.
#[derive(Clone, Copy)]
struct Verb {
    filter: MethodFilter,
    name: &'static str,
}

const GET: Verb = Verb { filter: MethodFilter::GET, name: "GET" };
const POST: Verb = Verb { filter: MethodFilter::POST, name: "POST" };
const PUT: Verb = Verb { filter: MethodFilter::PUT, name: "PUT" };
const PATCH: Verb = Verb { filter: MethodFilter::PATCH, name: "PATCH" };
const DELETE: Verb = Verb { filter: MethodFilter::DELETE, name: "DELETE" };

/// All routes of a server.
pub fn router(app: App) -> Router {
    listed(app).finish()
}

fn listed(app: App) -> Table {
    let mut table = Table { app, router: Router::new(), listed: Vec::new() };
    table.tracking();
    table.registry();
    table.artifacts();
    table.own();
    table.auth();
    elsewhere::routes(&mut table);
    table
}

/// Routes as they are listed.
struct Table {
    app: App,
    router: Router<App>,
    /// Verb and label of each route.
    listed: Vec<(&'static str, &'static str)>,
}

impl Table {
    /// Experiments, runs, their data, logged models.
    fn tracking(&mut self) {
        self.post("2.0/mlflow/experiments/create", experiments::create);
        self.post("2.0/mlflow/experiments/delete", experiments::delete);
        self.post("2.0/mlflow/experiments/delete-experiment-tag", experiments::delete_tag);
        self.get("2.0/mlflow/experiments/get", experiments::get);
        self.get("2.0/mlflow/experiments/get-by-name", experiments::get_by_name);
        self.post("2.0/mlflow/experiments/restore", experiments::restore);
        self.get("2.0/mlflow/experiments/search", experiments::search);
        self.post("2.0/mlflow/experiments/search", experiments::search);
        self.post("2.0/mlflow/experiments/search-datasets", experiments::search_datasets);
        // MLflow's own table of routes misses a slash here.
        self.post("2.0mlflow/experiments/search-datasets", experiments::search_datasets);
        self.post("2.0/mlflow/experiments/set-experiment-tag", experiments::set_tag);
        self.post("2.0/mlflow/experiments/update", experiments::update);

        self.post("2.0/mlflow/runs/create", runs::create);
        self.post("2.0/mlflow/runs/delete", runs::delete);
        self.get("2.0/mlflow/runs/get", runs::get);
        self.post("2.0/mlflow/runs/restore", runs::restore);
        self.post("2.0/mlflow/runs/search", runs::search);
        self.post("2.0/mlflow/runs/update", runs::update);

        self.post("2.0/mlflow/runs/delete-tag", run_data::delete_tag);
        self.post("2.0/mlflow/runs/log-batch", run_data::log_batch);
        self.post("2.0/mlflow/runs/log-inputs", run_data::log_inputs);
        self.post("2.0/mlflow/runs/log-metric", run_data::log_metric);
        self.post("2.0/mlflow/runs/log-model", run_data::log_model);
        self.post("2.0/mlflow/runs/log-parameter", run_data::log_param);
        self.post("2.0/mlflow/runs/outputs", run_data::log_outputs);
        self.post("2.0/mlflow/runs/set-tag", run_data::set_tag);

        self.get("2.0/mlflow/metrics/get-history", metrics::history);
        self.get("2.0/mlflow/metrics/get-history-bulk", metrics::history_bulk);
        self.get("2.0/mlflow/metrics/get-history-bulk-interval", metrics::history_interval);

        self.post("2.0/mlflow/logged-models", logged_models::create);
        self.post("2.0/mlflow/logged-models/search", logged_models::search);
        self.get("2.0/mlflow/logged-models/{model_id}", logged_models::get);
        self.patch("2.0/mlflow/logged-models/{model_id}", logged_models::finalize);
        self.delete("2.0/mlflow/logged-models/{model_id}", logged_models::delete);
        self.post("2.0/mlflow/logged-models/{model_id}/params", logged_models::log_params);
        self.patch("2.0/mlflow/logged-models/{model_id}/tags", logged_models::set_tags);
        self.delete("2.0/mlflow/logged-models/{model_id}/tags/{tag_key}", logged_models::delete_tag);
    }

    /// Registered models, their versions and aliases.
    fn registry(&mut self) {
        self.post("2.0/mlflow/registered-models/create", registered_models::create);
        self.get("2.0/mlflow/registered-models/get", registered_models::get);
        self.get("2.0/mlflow/registered-models/search", registered_models::search);
        self.patch("2.0/mlflow/registered-models/update", registered_models::update);
        self.post("2.0/mlflow/registered-models/rename", registered_models::rename);
        self.delete("2.0/mlflow/registered-models/delete", registered_models::delete);
        self.post("2.0/mlflow/registered-models/set-tag", registered_models::set_tag);
        self.delete("2.0/mlflow/registered-models/delete-tag", registered_models::delete_tag);
        self.get("2.0/mlflow/registered-models/get-latest-versions", registered_models::latest_versions);
        self.post("2.0/mlflow/registered-models/get-latest-versions", registered_models::latest_versions);
        self.get("2.0/mlflow/registered-models/alias", registered_models::get_by_alias);
        self.post("2.0/mlflow/registered-models/alias", registered_models::set_alias);
        self.delete("2.0/mlflow/registered-models/alias", registered_models::delete_alias);
        self.at_root(GET, "/api/runlake/registry/history", registered_models::history);
        self.at_root(GET, "/api/runlake/registry/policy", approvals::policy);
        self.at_root(PUT, "/api/runlake/registry/policy", approvals::set_policy);
        self.at_root(DELETE, "/api/runlake/registry/policy", approvals::clear_policy);
        self.at_root(GET, "/api/runlake/registry/requests", approvals::list);
        self.at_root(POST, "/api/runlake/registry/requests", approvals::request);
        self.at_root(GET, "/api/runlake/registry/requests/{request_id}", approvals::get);
        self.at_root(POST, "/api/runlake/registry/requests/{request_id}/approve", approvals::approve);
        self.at_root(POST, "/api/runlake/registry/requests/{request_id}/reject", approvals::reject);
        self.at_root(POST, "/api/runlake/registry/requests/{request_id}/withdraw", approvals::withdraw);

        self.post("2.0/mlflow/model-versions/create", model_versions::create);
        self.get("2.0/mlflow/model-versions/get", model_versions::get);
        self.get("2.0/mlflow/model-versions/get-download-uri", model_versions::download_uri);
        self.get("2.0/mlflow/model-versions/search", model_versions::search);
        self.patch("2.0/mlflow/model-versions/update", model_versions::update);
        self.post("2.0/mlflow/model-versions/transition-stage", model_versions::transition);
        self.delete("2.0/mlflow/model-versions/delete", model_versions::delete);
        self.post("2.0/mlflow/model-versions/set-tag", model_versions::set_tag);
        self.delete("2.0/mlflow/model-versions/delete-tag", model_versions::delete_tag);

        self.get("2.0/mlflow/webhooks", webhooks::list);
        self.post("2.0/mlflow/webhooks", webhooks::create);
        self.get("2.0/mlflow/webhooks/{webhook_id}", webhooks::get);
        self.patch("2.0/mlflow/webhooks/{webhook_id}", webhooks::update);
        self.delete("2.0/mlflow/webhooks/{webhook_id}", webhooks::delete);
        self.post("2.0/mlflow/webhooks/{webhook_id}/test", webhooks::test);
        self.at_root(GET, "/api/runlake/webhooks", webhooks::list);
        self.at_root(POST, "/api/runlake/webhooks", webhooks::create);
        self.at_root(GET, "/api/runlake/webhooks/{webhook_id}", webhooks::get);
        self.at_root(PATCH, "/api/runlake/webhooks/{webhook_id}", webhooks::update);
        self.at_root(DELETE, "/api/runlake/webhooks/{webhook_id}", webhooks::delete);
        self.at_root(POST, "/api/runlake/webhooks/{webhook_id}/test", webhooks::test);
    }

    /// Files of runs and models, through the server.
    fn artifacts(&mut self) {
        self.get("2.0/mlflow-artifacts/artifacts", artifacts::list_destination);
        self.get("2.0/mlflow-artifacts/artifacts/{*path}", artifacts::download);
        self.put("2.0/mlflow-artifacts/artifacts/{*path}", artifacts::upload);
        self.delete("2.0/mlflow-artifacts/artifacts/{*path}", artifacts::delete);
        self.post("2.0/mlflow-artifacts/mpu/create/{*path}", multipart::create);
        self.post("2.0/mlflow-artifacts/mpu/complete/{*path}", multipart::complete);
        self.post("2.0/mlflow-artifacts/mpu/abort/{*path}", multipart::abort);
        self.put("2.0/mlflow-artifacts/mpu/part/{*path}", multipart::part);
        self.get("2.0/mlflow-artifacts/presigned/{*path}", artifacts::presigned);

        self.get("2.0/mlflow/artifacts/list", artifacts::list_run);
        self.post("2.0/mlflow/artifacts/presigned-download-url", artifacts::presigned_download);
        self.post("2.0/mlflow/artifacts/presigned-upload-url", artifacts::presigned_upload);
        self.post("2.0/mlflow/upload-artifact", artifacts::upload_to_run);
        self.get("2.0/mlflow/logged-models/{model_id}/artifacts/directories", artifacts::list_model);
        self.get("2.0/mlflow/logged-models/{model_id}/artifacts/files", artifacts::download_of_model);
        self.at_root(GET, "/get-artifact", artifacts::download_of_run);
        self.at_root(GET, "/model-versions/get-artifact", artifacts::download_of_version);
    }

    /// What is runlake's own, and pages of the server.
    fn own(&mut self) {
        self.web();
        self.at_root(GET, "/health", service::health);
        self.at_root(GET, "/version", service::version);
        self.at_root(GET, "/metrics", service::metrics);
        self.get("3.0/mlflow/server-info", service::server_info);
        self.get("3.0/mlflow/ui-telemetry", service::ui_telemetry);
        self.post("3.0/mlflow/ui-telemetry", elsewhere::nothing);

        self.at_root(GET, "/api/runlake/metrics/envelope", metrics::envelope);
        self.at_root(POST, "/api/runlake/ingest", ingest::ingest);
        self.at_root(GET, "/api/runlake/lineage", lineage::lineage);
        self.at_root(POST, "/api/runlake/sql", sql::sql);
        self.at_root(GET, "/api/runlake/changes", changes::changes);
        self.at_root(GET, "/api/runlake/openapi.json", openapi::document);
        self.at_root(GET, "/api/runlake/docs", openapi::page);
        self.at_root(GET, "/api/runlake/status", lake::status);
        self.at_root(POST, "/api/runlake/flush", lake::flush);
        self.at_root(POST, "/api/runlake/compact", lake::compact);
        self.at_root(POST, "/api/runlake/vacuum", lake::vacuum);
    }

    /// Log-in, users, tokens, roles.
    fn auth(&mut self) {
        self.at_root(GET, "/api/runlake/auth/whoami", auth::whoami);
        self.at_root(POST, "/api/runlake/auth/setup", auth::set_up);
        self.at_root(POST, "/api/runlake/auth/login", auth::log_in);
        self.at_root(POST, "/api/runlake/auth/logout", auth::log_out);
        self.at_root(GET, "/api/runlake/auth/users", auth::users);
        self.at_root(POST, "/api/runlake/auth/users", auth::create_user);
        self.at_root(GET, "/api/runlake/auth/users/{name}", auth::user);
        self.at_root(PATCH, "/api/runlake/auth/users/{name}", auth::update_user);
        self.at_root(DELETE, "/api/runlake/auth/users/{name}", auth::remove_user);
        self.at_root(PUT, "/api/runlake/auth/users/{name}/password", auth::set_password);
        self.at_root(PUT, "/api/runlake/auth/users/{name}/roles", auth::set_role);
        self.at_root(DELETE, "/api/runlake/auth/users/{name}/roles", auth::remove_role);
        self.at_root(GET, "/api/runlake/auth/tokens", auth::tokens);
        self.at_root(POST, "/api/runlake/auth/tokens", auth::create_token);
        self.at_root(DELETE, "/api/runlake/auth/tokens/{token_id}", auth::revoke_token);

        self.post("2.0/mlflow/users/create", mlflow_users::create);
        self.get("2.0/mlflow/users/get", mlflow_users::get);
        self.get("2.0/mlflow/users/current", mlflow_users::current);
        self.get("2.0/mlflow/users/list", mlflow_users::list);
        self.patch("2.0/mlflow/users/update-password", mlflow_users::update_password);
        self.patch("2.0/mlflow/users/update-admin", mlflow_users::update_admin);
        self.delete("2.0/mlflow/users/delete", mlflow_users::delete);
    }

    fn get<H: Handler>(&mut self, path: &'static str, handler: H) {
        self.both(GET, path, handler);
    }

    fn post<H: Handler>(&mut self, path: &'static str, handler: H) {
        self.both(POST, path, handler);
    }

    fn put<H: Handler>(&mut self, path: &'static str, handler: H) {
        self.both(PUT, path, handler);
    }

    fn patch<H: Handler>(&mut self, path: &'static str, handler: H) {
        self.both(PATCH, path, handler);
    }

    fn delete<H: Handler>(&mut self, path: &'static str, handler: H) {
        self.both(DELETE, path, handler);
    }

    /// A route of MLflow's, below both prefixes.
    fn both<H: Handler>(&mut self, verb: Verb, path: &'static str, handler: H) {
        for prefix in ["/api/", "/ajax-api/"] {
            self.add(verb, &format!("{prefix}{path}"), path, handler);
        }
    }

    fn at_root<H: Handler>(&mut self, verb: Verb, path: &'static str, handler: H) {
        self.add(verb, path, path, handler);
    }

    /// The web app, or a page of text where it was left out.
    fn web(&mut self) {
        #[cfg(feature = "ui")]
        {
            self.at_root(GET, "/", web::page);
            web::PAGES.iter().for_each(|path| self.add(GET, path, "web-app", web::page));
            web::FILES.iter().for_each(|path| self.add(GET, path, "web-app", web::file));
        }
        #[cfg(not(feature = "ui"))]
        self.at_root(GET, "/", service::front);
    }

    /// Adds one route. `label` is what the metrics page calls it.
    fn add<H: Handler>(&mut self, verb: Verb, path: &str, label: &'static str, handler: H) {
        let counted = self.app.metrics().route(label, verb.name);
        let endpoint = framed(counted, self.rule(verb.name, label), handler);
        self.router = std::mem::take(&mut self.router).route(path, on(verb.filter, endpoint));
    }

    /// Answers everything at and below `path` that no other route takes the same way, below both prefixes.
    fn rest_of<H: Handler>(&mut self, path: &'static str, handler: H) {
        for prefix in ["/api/", "/ajax-api/"] {
            for tail in ["", "/{*rest}"] {
                let counted = self.app.metrics().route(path, "ANY");
                let rule = self.rule("ANY", path);
                let path = format!("{prefix}{path}{tail}");
                let endpoint = framed(counted, rule, handler);
                self.router = std::mem::take(&mut self.router).route(&path, any(endpoint));
            }
        }
    }

    /// Who may call a route. One that nobody thought about is for administrators.
    fn rule(&mut self, verb: &'static str, label: &'static str) -> Rule {
        self.listed.push((verb, label));
        access::rule(verb, label).unwrap_or(Rule::Needs(Role::Admin, Object::Everything))
    }

    /// `VERB label` of each route.
    #[cfg(test)]
    fn all_routes(mut self) -> std::collections::BTreeSet<String> {
        self.rule("ANY", "unknown");
        self.rule("ANY", "wrong-method");
        self.listed.iter().map(|(verb, label)| format!("{verb} {label}")).collect()
    }

    /// Unknown paths and wrong methods pass the same frame as everything else.
    fn finish(mut self) -> Router {
        let unknown = framed(self.app.metrics().route("unknown", "ANY"), self.rule("ANY", "unknown"), service::unknown);
        let wrong_method = self.app.metrics().route("wrong-method", "ANY");
        let wrong_method = framed(wrong_method, self.rule("ANY", "wrong-method"), service::wrong_method);
        self.router.fallback(unknown).method_not_allowed_fallback(wrong_method).with_state(self.app)
    }
}

/// A function that answers a [`Call`].
trait Handler: Copy + Send + Sync + 'static {
    fn handle(self, call: Call) -> impl Future<Output = Result<Response>> + Send + 'static;
}

impl<F, Fut> Handler for F
where
    F: Fn(Call) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<Response>> + Send + 'static,
{
    fn handle(self, call: Call) -> impl Future<Output = Result<Response>> + Send + 'static {
        self(call)
    }
}

/// A handler within the frame that every request passes ([`App::answer`]), as the router calls it.
fn framed<H: Handler>(
    counted: RouteMetrics,
    rule: Rule,
    handler: H,
) -> impl Fn(State<App>, Request) -> BoxFuture<'static, Response> + Clone + Send + Sync + 'static {
    move |State(app), request| {
        let counted = counted.clone();
        Box::pin(app.answer(counted, rule, move |call| handler.handle(call), request))
    }
}

#[cfg(test)]
pub(crate) mod tests;
