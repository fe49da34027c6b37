//! What a model takes and gives: columns or tensors, and params. In the `MLmodel` file these are JSON texts.

use serde_json::{Map, Value, json};

/// A model's signature.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signature {
    /// What the model takes.
    pub inputs: Option<Schema>,
    /// What the model gives.
    pub outputs: Option<Schema>,
    /// What may be set with a request.
    pub params: Option<Vec<Param>>,
}

/// Columns of a table, or tensors.
#[derive(Debug, Clone, PartialEq)]
pub enum Schema {
    /// Columns. Either all have names or none.
    Columns(Vec<Column>),
    /// Tensors. One without a name, or all with.
    Tensors(Vec<Tensor>),
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name; `None` if columns are told apart by their order.
    pub name: Option<String>,
    /// What its values are.
    pub kind: Kind,
    /// Whether it must be there.
    pub is_required: bool,
}

/// A tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: Option<String>,
    /// numpy's name of its type.
    pub dtype: String,
    /// Its shape; -1 is any length.
    pub shape: Vec<i64>,
}

/// A param.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// What its value is, or the values of its list.
    pub kind: Kind,
    /// What it is when a request does not set it.
    pub default: Value,
    /// `Some` if it is a list; -1 is any length.
    pub shape: Option<Vec<i64>>,
}

/// What values are.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// One of MLflow's simple types.
    Simple(Simple),
    /// A list.
    Array(Box<Kind>),
    /// An object with these properties.
    Object(Vec<Property>),
    /// An object with any keys.
    Map(Box<Kind>),
    /// Anything.
    Any,
}

/// A property of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its key.
    pub name: String,
    /// What its value is.
    pub kind: Kind,
    /// Whether it must be there.
    pub is_required: bool,
}

/// MLflow's simple types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simple {
    /// Truth.
    Boolean,
    /// A whole number of 32 bits.
    Integer,
    /// A whole number of 64 bits.
    Long,
    /// A number of 32 bits.
    Float,
    /// A number of 64 bits.
    Double,
    /// A text.
    String,
    /// Bytes; base64 in JSON.
    Binary,
    /// A time without a zone.
    Datetime,
}

impl Simple {
    const ALL: [Self; 8] = [
        Self::Boolean,
        Self::Integer,
        Self::Long,
        Self::Float,
        Self::Double,
        Self::String,
        Self::Binary,
        Self::Datetime,
    ];

    /// As MLflow writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::String => "string",
            Self::Binary => "binary",
            Self::Datetime => "datetime",
        }
    }

    fn named(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|simple| simple.name() == name).ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.iter().map(|simple| simple.name()).collect();
            format!("{name:?} is no type; there are {}, array, object, map, any and tensor", all.join(", "))
        })
    }
}

/// The types of numpy that tensors may have, and the bytes of one value; texts are made by Python.
pub(crate) const DTYPES: [(&str, usize); 12] = [
    ("bool", 1),
    ("int8", 1),
    ("int16", 2),
    ("int32", 4),
    ("int64", 8),
    ("uint8", 1),
    ("uint16", 2),
    ("uint32", 4),
    ("uint64", 8),
    ("float16", 2),
    ("float32", 4),
    ("float64", 8),
];

impl Schema {
    /// Reads the JSON text of the `MLmodel` file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
        let Value::Array(items) = value else { return Err("is to be a list".to_owned()) };
        if items.iter().any(|item| item["type"] == "tensor") {
            return items.iter().map(tensor).collect::<Result<_, _>>().map(Self::Tensors);
        }
        let columns = items.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let named = columns.iter().filter(|column| column.name.is_some()).count();
        if named != 0 && named != columns.len() {
            return Err("has columns with names and columns without".to_owned());
        }
        Ok(Self::Columns(columns))
    }

    /// As the `MLmodel` file has it.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Columns(columns) => columns
                .iter()
                .map(|column| {
                    let mut entry = kind_json(&column.kind);
                    if let Some(name) = &column.name {
                        entry.insert("name".into(), name.as_str().into());
                    }
                    entry.insert("required".into(), column.is_required.into());
                    Value::Object(entry)
                })
                .collect(),
            Self::Tensors(tensors) => tensors
                .iter()
                .map(|tensor| {
                    let mut entry = Map::new();
                    if let Some(name) = &tensor.name {
                        entry.insert("name".into(), name.as_str().into());
                    }
                    entry.insert("type".into(), "tensor".into());
                    entry.insert("tensor-spec".into(), json!({"dtype": tensor.dtype, "shape": tensor.shape}));
                    Value::Object(entry)
                })
                .collect(),
        }
    }

    /// One line for each column or tensor: `sepal_length: double (required)`.
    pub fn lines(&self) -> Vec<String> {
        let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "(no name)".to_owned());
        match self {
            Self::Columns(columns) => columns
                .iter()
                .map(|column| {
                    let need = if column.is_required { "required" } else { "optional" };
                    format!("{}: {} ({need})", name(&column.name), column.kind)
                })
                .collect(),
            Self::Tensors(tensors) => tensors
                .iter()
                .map(|tensor| format!("{}: tensor of {}, shape {:?}", name(&tensor.name), tensor.dtype, tensor.shape))
                .collect(),
        }
    }
}

impl Param {
    /// Reads the JSON text of the `MLmodel` file.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
        let Value::Array(items) = value else { return Err("is to be a list".to_owned()) };
        items
            .iter()
            .map(|item| {
                let name = item["name"].as_str().ok_or("has a param without a name")?.to_owned();
                // Older versions of MLflow wrote `dtype` for `type`.
                let described = match item.get("dtype") {
                    Some(dtype) if item.get("type").is_none() => {
                        json!({"type": dtype, "properties": item["properties"]})
                    }
                    _ => item.clone(),
                };
                let kind = kind(&described).map_err(|problem| format!("has a param {name:?} that {problem}"))?;
                let shape = serde_json::from_value(item["shape"].clone())
                    .map_err(|_| format!("has a param {name:?} whose shape is no list of whole numbers"))?;
                Ok(Self { name, kind, default: item["default"].clone(), shape })
            })
            .collect()
    }

    /// As the `MLmodel` file has it.
    pub fn to_json(&self) -> Value {
        let mut entry = Map::new();
        entry.insert("name".into(), self.name.as_str().into());
        entry.insert("default".into(), self.default.clone());
        entry.insert("shape".into(), json!(self.shape));
        entry.extend(kind_json(&self.kind));
        Value::Object(entry)
    }
}

fn tensor(item: &Value) -> Result<Tensor, String> {
    if item["type"] != "tensor" {
        return Err("has tensors and columns; a model takes one or the other".to_owned());
    }
    let spec = &item["tensor-spec"];
    let name = item["name"].as_str().map(str::to_owned);
    let called = name.as_deref().unwrap_or("without a name");
    let dtype = spec["dtype"].as_str().ok_or_else(|| format!("has a tensor {called} without a dtype"))?.to_owned();
    let shape = serde_json::from_value(spec["shape"].clone())
        .map_err(|_| format!("has a tensor {called} whose shape is no list of whole numbers"))?;
    Ok(Tensor { name, dtype, shape })
}

fn column(item: &Value) -> Result<Column, String> {
    let name = item["name"].as_str().map(str::to_owned);
    let called = name.as_deref().unwrap_or("without a name");
    let kind = kind(item).map_err(|problem| format!("has a column {called} that {problem}"))?;
    Ok(Column { name, kind, is_required: is_required(item) })
}

/// Older versions of MLflow wrote `optional` for what need not be there.
fn is_required(item: &Value) -> bool {
    match item.get("required") {
        Some(required) => required.as_bool().unwrap_or(true),
        None => !item["optional"].as_bool().unwrap_or(false),
    }
}

fn kind(item: &Value) -> Result<Kind, String> {
    let name = item["type"].as_str().ok_or("has no type")?;
    Ok(match name {
        "array" => {
            Kind::Array(Box::new(kind(&item["items"]).map_err(|problem| format!("has items, which {problem}"))?))
        }
        "map" => Kind::Map(Box::new(kind(&item["values"]).map_err(|problem| format!("has values, which {problem}"))?)),
        "any" => Kind::Any,
        "object" => {
            let properties = item["properties"].as_object().ok_or("is an object without properties")?;
            let read = |(name, value): (&String, &Value)| {
                let kind = kind(value).map_err(|problem| format!("has a property {name:?}, which {problem}"))?;
                Ok::<_, String>(Property { name: name.clone(), kind, is_required: is_required(value) })
            };
            Kind::Object(properties.iter().map(read).collect::<Result<_, _>>()?)
        }
        simple => {
            Kind::Simple(Simple::named(simple).map_err(|problem| format!("has a type that is unknown: {problem}"))?)
        }
    })
}

fn kind_json(kind: &Kind) -> Map<String, Value> {
    let value = match kind {
        Kind::Simple(simple) => json!({"type": simple.name()}),
        Kind::Array(items) => json!({"type": "array", "items": kind_json(items)}),
        Kind::Map(values) => json!({"type": "map", "values": kind_json(values)}),
        Kind::Any => json!({"type": "any"}),
        Kind::Object(properties) => {
            let properties: Map<String, Value> = properties
                .iter()
                .map(|property| {
                    let mut entry = kind_json(&property.kind);
                    entry.insert("required".into(), property.is_required.into());
                    (property.name.clone(), Value::Object(entry))
                })
                .collect();
            json!({"type": "object", "properties": properties})
        }
    };
    match value {
        Value::Object(map) => map,
        _ => unreachable!("every kind is written as an object"),
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Simple(simple) => f.write_str(simple.name()),
            Self::Array(items) => write!(f, "array of {items}"),
            Self::Map(values) => write!(f, "map of {values}"),
            Self::Any => f.write_str("anything"),
            Self::Object(properties) => {
                f.write_str("{")?;
                for (index, property) in properties.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    let need = if property.is_required { "" } else { " (optional)" };
                    write!(f, "{comma}{}: {}{need}", property.name, property.kind)?;
                }
                f.write_str("}")
            }
        }
    }
}
