//! The OpenAPI description, made from the models' signatures.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Served;
use crate::signature::{Column, Kind, Param, Schema, Signature, Simple};

pub(super) fn page(models: &[Arc<Served>]) -> Value {
    let mut paths = Map::new();
    for (number, served) in models.iter().enumerate() {
        let loaded = served.current();
        let operation = invocation(&served.name, loaded.model.signature.as_ref());
        if number == 0 {
            paths.insert("/invocations".into(), operation.clone());
        }
        paths.insert(format!("/models/{}/invocations", served.name), operation);
    }
    for (path, summary) in [
        ("/ping", "Whether every model has a worker"),
        ("/health", "The same"),
        ("/version", "The version of MLflow in the first model's environment"),
        ("/metrics", "Figures for Prometheus"),
    ] {
        paths.insert(path.into(), json!({"get": {"summary": summary, "responses": {"200": {"description": "it is"}}}}));
    }
    json!({"openapi": "3.1.0", "info": {"title": "runlake models", "version": "1"}, "paths": paths})
}

fn invocation(name: &str, signature: Option<&Signature>) -> Value {
    let inputs = signature.and_then(|signature| signature.inputs.as_ref());
    let any = json!({});
    let mut forms = Map::new();
    match inputs {
        Some(Schema::Columns(columns)) => {
            let names: Vec<&str> = columns.iter().filter_map(|column| column.name.as_deref()).collect();
            let row = row(columns);
            let split = json!({"type": "object", "required": ["data"], "properties": {
                "columns": {"type": "array", "items": {"type": "string"}, "example": names},
                "data": {"type": "array", "items": {"type": "array"}}, "index": {"type": "array"}}});
            let records = json!({"type": "array", "items": row});
            let lists: Map<String, Value> = columns
                .iter()
                .filter_map(|column| {
                    Some((column.name.clone()?, json!({"type": "array", "items": schema(&column.kind)})))
                })
                .collect();
            forms.insert("dataframe_split".into(), split);
            forms.insert("dataframe_records".into(), records.clone());
            forms.insert("instances".into(), records);
            forms.insert("inputs".into(), json!({"type": "object", "properties": lists}));
        }
        Some(Schema::Tensors(tensors)) => {
            let one =
                |shape: &[i64]| shape.iter().rev().fold(json!({}), |inner, _| json!({"type": "array", "items": inner}));
            let value = match &tensors[..] {
                [tensor] if tensor.name.is_none() => one(&tensor.shape),
                all => {
                    let named: Map<String, Value> = all
                        .iter()
                        .map(|tensor| (tensor.name.clone().unwrap_or_default(), one(&tensor.shape)))
                        .collect();
                    json!({"type": "object", "properties": named})
                }
            };
            forms.insert("inputs".into(), value);
            forms.insert("instances".into(), json!({"type": "array"}));
        }
        None => {
            for form in ["dataframe_split", "dataframe_records", "instances", "inputs"] {
                forms.insert(form.into(), any.clone());
            }
        }
    }
    let params = signature.and_then(|signature| signature.params.as_deref()).map(params);
    let bodies: Vec<Value> = forms
        .iter()
        .map(|(form, described)| {
            let mut properties = Map::from_iter([(form.clone(), described.clone())]);
            if let Some(params) = &params {
                properties.insert("params".into(), params.clone());
            }
            json!({"type": "object", "required": [form], "properties": properties})
        })
        .collect();
    let bytes = json!({"schema": {"type": "string", "format": "binary"}});
    let said = |text: &str| {
        let body =
            json!({"type": "object", "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}}});
        json!({"description": text, "content": {"application/json": {"schema": body}}})
    };
    json!({"post": {
        "summary": format!("Scores with the model {name}"),
        "requestBody": {"required": true, "content": {
            "application/json": {"schema": {"oneOf": bodies}},
            "text/csv": {"schema": {"type": "string"}},
            "application/vnd.apache.arrow.stream": bytes,
            "application/vnd.apache.parquet": bytes,
        }},
        "responses": {
            "200": {"description": "the predictions", "content": {"application/json": {"schema":
                {"type": "object", "required": ["predictions"], "properties": {"predictions": {}}}}}},
            "400": said("the request does not suit the model, or the model refused it"),
            "413": said("the body is too long"),
            "415": said("the content type is not read"),
            "503": said("too many requests wait; Retry-After says when to come again"),
            "504": said("the model took too long"),
        },
    }})
}

fn row(columns: &[Column]) -> Value {
    let properties: Map<String, Value> =
        columns.iter().filter_map(|column| Some((column.name.clone()?, schema(&column.kind)))).collect();
    let required: Vec<&str> =
        columns.iter().filter(|column| column.is_required).filter_map(|column| column.name.as_deref()).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn params(params: &[Param]) -> Value {
    let properties: Map<String, Value> = params
        .iter()
        .map(|param| {
            let mut described = schema(&param.kind);
            if param.shape.is_some() {
                described = json!({"type": "array", "items": described});
            }
            described["default"] = param.default.clone();
            (param.name.clone(), described)
        })
        .collect();
    json!({"type": "object", "properties": properties})
}

fn schema(kind: &Kind) -> Value {
    match kind {
        Kind::Simple(simple) => match simple {
            Simple::Boolean => json!({"type": "boolean"}),
            Simple::Integer => json!({"type": "integer", "format": "int32"}),
            Simple::Long => json!({"type": "integer", "format": "int64"}),
            Simple::Float => json!({"type": "number", "format": "float"}),
            Simple::Double => json!({"type": "number", "format": "double"}),
            Simple::String => json!({"type": "string"}),
            Simple::Binary => json!({"type": "string", "format": "byte"}),
            Simple::Datetime => json!({"type": "string", "format": "date-time"}),
        },
        Kind::Array(items) => json!({"type": "array", "items": schema(items)}),
        Kind::Map(values) => json!({"type": "object", "additionalProperties": schema(values)}),
        Kind::Any => json!({}),
        Kind::Object(properties) => {
            let described: Map<String, Value> =
                properties.iter().map(|property| (property.name.clone(), schema(&property.kind))).collect();
            json!({"type": "object", "properties": described})
        }
    }
}
