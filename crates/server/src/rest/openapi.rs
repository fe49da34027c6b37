//! The routes of our own, described: `GET /api/runlake/openapi.json` for programs, `GET /api/runlake/docs` for people.
//!
//! A route of our own without a row here fails a test, and so does a row without a route. Who may call it is taken from
//! the access table. MLflow's routes are described by MLflow.

mod operations;

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};
use indexmap::IndexMap;
use runlake_identity::Role;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::access::{self, Object, Rule};
use crate::call::Call;
use crate::error::Result;
use crate::wire;

pub(super) use operations::OPERATIONS;

/// What one route does.
pub(super) struct Operation {
    pub(super) verb: &'static str,
    pub(super) path: &'static str,
    pub(super) group: &'static str,
    pub(super) does: &'static str,
    pub(super) takes: &'static [Field],
    /// What a good answer holds.
    pub(super) gives: &'static str,
    /// Its media types.
    pub(super) as_types: &'static [&'static str],
}

/// One thing a route is told.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) at: At,
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) about: &'static str,
}

/// Where a request says something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Path,
    Query,
    Body,
    /// The whole body, of this media type.
    Stream(&'static str),
}

/// What it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Bool,
    Texts,
    Any,
    Bytes,
}

pub(super) async fn document(_call: Call) -> Result<Response> {
    Ok(wire::json(&describe()))
}

/// A page without scripts.
pub(super) async fn page(_call: Call) -> Result<Response> {
    let mut response = Response::new(Body::from(drawn()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    Ok(response)
}

/// The document, in OpenAPI 3.1 (<https://spec.openapis.org/oas/v3.1.1.html>). Requests are read field by field and not
/// into types, so there is nothing that a macro could describe.
fn describe() -> impl Serialize {
    // In the order they are listed, as the page has them.
    let mut paths: IndexMap<&str, Value> = IndexMap::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.verb.to_lowercase()] = described(operation);
    }
    Document {
        openapi: "3.1.0",
        info: json!({
            "title": "runlake",
            "version": crate::VERSION,
            "description": "Routes of runlake's own. MLflow's REST API is served beside them.",
        }),
        paths,
        components: json!({"securitySchemes": {
            "password": {"type": "http", "scheme": "basic"},
            "token": {"type": "http", "scheme": "bearer"},
        }}),
    }
}

#[derive(Serialize)]
struct Document {
    openapi: &'static str,
    info: Value,
    paths: IndexMap<&'static str, Value>,
    components: Value,
}

fn described(operation: &Operation) -> Value {
    let (mut parameters, mut properties, mut required) = (Vec::new(), Map::new(), Vec::new());
    let mut body = None;
    for field in operation.takes {
        let place = match field.at {
            At::Path => "path",
            At::Query => "query",
            At::Body => {
                properties.insert(field.name.to_owned(), schema(field));
                if field.required {
                    required.push(field.name);
                }
                continue;
            }
            At::Stream(media_type) => {
                body = Some(json!({"required": true, "content": {media_type: {}}}));
                continue;
            }
        };
        parameters.push(json!({
            "name": field.name, "in": place, "required": field.required, "description": field.about, "schema": schema(field),
        }));
    }
    if !properties.is_empty() {
        let schema = json!({"type": "object", "properties": properties, "required": required});
        body = Some(json!({"required": true, "content": {"application/json": {"schema": schema}}}));
    }
    let answers: Map<String, Value> = operation.as_types.iter().map(|kind| ((*kind).to_owned(), json!({}))).collect();
    let text = json!({"type": "string"});
    let refusal = json!({"type": "object", "properties": {"error_code": text, "message": text}});
    let mut described = json!({
        "tags": [operation.group],
        "operationId": id(operation),
        "summary": operation.does,
        "description": for_whom(operation),
        "parameters": parameters,
        "responses": {
            "200": {"description": operation.gives, "content": answers},
            "default": {
                "description": "refused: why, and what to do",
                "content": {"application/json": {"schema": refusal}},
            },
        },
        "security": if needs_credentials(operation) { json!([{"password": []}, {"token": []}]) } else { json!([]) },
    });
    if let Some(body) = body {
        described["requestBody"] = body;
    }
    described
}

fn schema(field: &Field) -> Value {
    match field.kind {
        Kind::Text | Kind::Bytes => json!({"type": "string", "description": field.about}),
        Kind::Int => json!({"type": "integer", "description": field.about}),
        Kind::Bool => json!({"type": "boolean", "description": field.about}),
        Kind::Texts => json!({"type": "array", "items": {"type": "string"}, "description": field.about}),
        Kind::Any => json!({"description": field.about}),
    }
}

/// `GET /api/runlake/auth/users/{name}` is `get_auth_users_name`.
fn id(operation: &Operation) -> String {
    let path = operation.path.trim_start_matches("/api/runlake/").replace(['/', '.'], "_").replace(['{', '}'], "");
    format!("{}_{path}", operation.verb.to_lowercase())
}

fn needs_credentials(operation: &Operation) -> bool {
    access::rule(operation.verb, operation.path) != Some(Rule::Open)
}

fn for_whom(operation: &Operation) -> String {
    match access::rule(operation.verb, operation.path) {
        Some(Rule::Open) => "For everybody, without credentials.".to_owned(),
        Some(Rule::SignedIn) => "For everybody who is logged in.".to_owned(),
        Some(Rule::Needs(role, object)) => {
            let role = role_name(role);
            let of = match object {
                Object::Everything => "everything",
                Object::RegisteredModel => "the registered model",
                _ => "each experiment concerned",
            };
            format!("Needs the role {role} for {of}, where the server asks who one is.")
        }
        None => "For administrators.".to_owned(),
    }
}

fn role_name(role: Role) -> &'static str {
    role.as_str()
}

fn drawn() -> String {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>runlake: routes</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>\
         :root{color-scheme:light dark}body{font:15px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}\
         code{font:13px ui-monospace,monospace}h3{margin:2rem 0 .2rem}table{border-collapse:collapse;margin:.5rem 0}\
         td,th{text-align:left;vertical-align:top;padding:.2rem 1rem .2rem 0}p{margin:.2rem 0}</style>\
         <h1>Routes of runlake's own</h1><p>For programs: <a href=\"openapi.json\">openapi.json</a>. MLflow's REST API \
         is served beside them.</p>",
    );
    let mut group = "";
    for operation in OPERATIONS {
        if operation.group != group {
            group = operation.group;
            let _infallible = write!(page, "<h2>{}</h2>", escaped(group));
        }
        let _infallible = write!(
            page,
            "<h3><code>{} {}</code></h3><p>{}. {}</p>",
            operation.verb,
            escaped(operation.path),
            escaped(operation.does),
            escaped(&for_whom(operation))
        );
        if !operation.takes.is_empty() {
            page.push_str("<table><tr><th>Field<th>In<th>What</tr>");
            for field in operation.takes {
                let at = match field.at {
                    At::Path => "path",
                    At::Query => "query",
                    At::Body => "body",
                    At::Stream(media_type) => media_type,
                };
                let needed = if field.required { "" } else { " (optional)" };
                let _infallible = write!(
                    page,
                    "<tr><td><code>{}</code><td>{at}<td>{}{needed}</tr>",
                    escaped(field.name),
                    escaped(field.about)
                );
            }
            page.push_str("</table>");
        }
        let _infallible = write!(page, "<p>Answers {}.</p>", escaped(operation.gives));
    }
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_paths_name_their_parameters() {
        let mut ids: Vec<String> = OPERATIONS.iter().map(id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), OPERATIONS.len());
        for operation in OPERATIONS {
            for field in operation.takes.iter().filter(|field| field.at == At::Path) {
                assert!(operation.path.contains(&format!("{{{}}}", field.name)), "{}", operation.path);
            }
            let named = operation.takes.iter().filter(|field| field.at == At::Path).count();
            assert_eq!(operation.path.matches('{').count(), named, "{}", operation.path);
        }
    }

    #[test]
    fn the_document_holds_every_operation() {
        let document = serde_json::to_value(describe()).expect("JSON");
        assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
        for operation in OPERATIONS {
            let found = &document["paths"][operation.path][operation.verb.to_lowercase()];
            assert_eq!(found["summary"], operation.does, "{} {}", operation.verb, operation.path);
        }
        let sql = &document["paths"]["/api/runlake/sql"]["post"]["requestBody"]["content"]["application/json"];
        assert_eq!(sql["schema"]["required"], serde_json::json!(["sql"]));
    }
}
