//! Models of the flavor `onnx`, scored in this process by tract: no Python.
//!
//! A graph is made ready once: nodes `ZipMap` at its end, whose maps tract has no type for, are taken off and done when the
//! answer is written; trees, linear classifiers, scalers and imputers of `ai.onnx.ml` are operators of our own; what is not known is named. The
//! first length that a graph leaves open is the number of rows. A graph that cannot be made ready for any number is made for
//! one row, and run for each.
//!
//! What goes in and comes out has the shape that MLflow's flavor gives it through onnxruntime: a table gives a list of rows,
//! tensors give an object of lists.

mod answer;
mod input;
mod linear;
mod node;
mod scaler;
mod trees;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tract_onnx::data_resolver::ModelDataResolver;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Length;
use tract_onnx::pb::type_proto::Value as TypeValue;
use tract_onnx::pb::{GraphProto, ModelProto, ValueInfoProto};
use tract_onnx::prelude::*;
#[allow(clippy::wildcard_imports, reason = "its macros name what they need without a path")]
use tract_onnx::tract_hir::internal::*;

use crate::mlmodel::{MlModel, inside};
use crate::pool::Unscored;
use crate::request::Request;
use crate::signature::{Schema, Signature, Tensor as TensorSpec};
use crate::{Error, Result};

/// The flavor's name in the file `MLmodel`.
pub const FLAVOR: &str = "onnx";
/// Operators that a sentence names at most.
const MOST_NAMED: usize = 8;

/// A graph that is ready.
#[derive(Debug)]
pub struct Onnx {
    plan: Plan,
    inputs: Vec<Port>,
    outputs: Vec<Output>,
    output_specs: Option<Vec<TensorSpec>>,
    /// Whether the signature is of tensors: then a table is a tensor, too.
    has_tensors: bool,
}

#[derive(Debug)]
enum Plan {
    /// For any number of rows.
    Rows(Arc<TypedRunnableModel>),
    /// For one.
    Row(Arc<TypedRunnableModel>),
}

/// An input of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    name: String,
    kind: DatumType,
    /// `None` is any length.
    shape: Vec<Option<usize>>,
}

/// An output of the graph.
#[derive(Debug)]
pub(crate) struct Output {
    name: String,
    /// What `ZipMap` calls the columns.
    keys: Option<Vec<String>>,
}

impl Onnx {
    /// The graph of a model's folder, if the model has this flavor.
    pub fn of(model: &MlModel, folder: &Path) -> Option<Result<Self>> {
        let (_, flavor) = model.flavors.iter().find(|(name, _)| name == FLAVOR)?;
        let file = flavor["data"].as_str().unwrap_or("model.onnx");
        let has_tensors =
            model.signature.as_ref().is_some_and(|signature| matches!(signature.inputs, Some(Schema::Tensors(_))));
        Some(inside(folder, file).and_then(|path| Self::read(&path)).map(|onnx| Self { has_tensors, ..onnx }))
    }

    /// Reads a graph. Numbers that it keeps in files of their own are to be in its folder.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::at("read", path))?;
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        // A graph from anywhere may go against what tract takes for granted.
        let ready = catch_unwind(AssertUnwindSafe(|| Self::ready(&bytes, &folder)))
            .unwrap_or_else(|_| Err(format_err!("the graph is not sound")));
        ready.map_err(|error| {
            Error::worker(format!("the ONNX model in {} is not scored in process: {}", path.display(), told(&error)))
        })
    }

    fn ready(bytes: &[u8], folder: &Path) -> TractResult<Self> {
        let framework = framework(folder)?;
        let mut proto = framework.proto_model_for_read(&mut &*bytes).context("it is no ONNX file")?;
        let opens = proto.graph.as_ref().context("it has no graph")?;
        let output_specs = opens.output.iter().map(spec).collect::<Option<Vec<_>>>();
        let known = &framework.op_register.0;
        let outputs = take_off_maps(&mut proto)?;
        let graph = proto.graph.as_ref().context("it has no graph")?;
        let mut unknown: Vec<&str> =
            graph.node.iter().map(|node| node.op_type.as_str()).filter(|op| !known.contains_key(*op)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown.truncate(MOST_NAMED);
        ensure!(unknown.is_empty(), "operators are not known: {}", unknown.join(", "));
        let inputs = ports(graph)?;
        let plan = match plan(&framework, &proto, folder, &inputs, None) {
            Ok(plan) => Plan::Rows(plan),
            Err(error) => match plan(&framework, &proto, folder, &inputs, Some(1)) {
                Ok(plan) if inputs.iter().all(|port| port.shape.first() == Some(&None)) => Plan::Row(plan),
                _ => return Err(error),
            },
        };
        Ok(Self { plan, inputs, outputs, output_specs, has_tensors: false })
    }

    /// What the graph in a file takes and gives, also one that is not scored here. A graph that keeps numbers in other files
    /// is refused.
    pub fn signature_of(path: &Path) -> Result<Signature> {
        let bytes = std::fs::read(path).map_err(Error::at("read", path))?;
        let read = || -> TractResult<Signature> {
            let proto = tract_onnx::onnx().proto_model_for_read(&mut &*bytes).context("it is no ONNX file")?;
            let graph = proto.graph.as_ref().context("it has no graph")?;
            ensure!(
                graph.initializer.iter().all(|constant| constant.external_data.is_empty()),
                "it keeps numbers in files of their own; save it as one file"
            );
            let outputs = graph.output.iter().map(spec).collect::<Option<Vec<_>>>();
            Ok(signature(&ports(graph)?, outputs))
        };
        read().map_err(|error| Error::usage(format!("{} is not logged: {}", path.display(), told(&error))))
    }

    /// What the graph takes and gives, as tensors. Maps are no tensors: a graph that gives some tells of its inputs alone.
    pub fn signature(&self) -> Signature {
        signature(&self.inputs, self.output_specs.clone())
    }

    /// Scores a request: the JSON of its answer.
    pub fn score(&self, request: &Request) -> Result<Bytes, Unscored> {
        let given = input::read(self, request).map_err(Unscored::Refused)?;
        if given.rows == Some(0) {
            return Ok(Bytes::from_static(b"{\"predictions\": []}"));
        }
        let ran = catch_unwind(AssertUnwindSafe(|| self.run(given.tensors)));
        let ran = ran.unwrap_or_else(|_| Err(format_err!("the graph and the request do not go together")));
        let outputs = ran.map_err(|error| Unscored::Refused(told(&error)))?;
        answer::write(&self.outputs, &outputs, given.rows).map_err(Unscored::Refused)
    }

    fn run(&self, tensors: Vec<Tensor>) -> TractResult<Vec<TValue>> {
        match &self.plan {
            Plan::Rows(plan) => Ok(plan.run(tensors.into_iter().map(IntoTValue::into_tvalue).collect())?.to_vec()),
            Plan::Row(plan) => {
                let rows = tensors.first().and_then(|tensor| tensor.shape().first().copied()).unwrap_or(0);
                let mut columns: Vec<Vec<Tensor>> = vec![Vec::with_capacity(rows); self.outputs.len()];
                for row in 0..rows {
                    let of_row = tensors.iter().map(|tensor| Ok(tensor.slice(0, row, row + 1)?.into_tvalue()));
                    for (column, value) in columns.iter_mut().zip(plan.run(of_row.collect::<TractResult<_>>()?)?) {
                        column.push(value.into_tensor());
                    }
                }
                columns.iter().map(|parts| Ok(Tensor::stack_tensors(0, parts)?.into_tvalue())).collect()
            }
        }
    }

    pub(crate) fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    pub(crate) fn has_tensors(&self) -> bool {
        self.has_tensors
    }
}

fn signature(inputs: &[Port], outputs: Option<Vec<TensorSpec>>) -> Signature {
    let inputs = inputs.iter().map(|port| TensorSpec {
        name: Some(port.name.clone()),
        dtype: dtype(port.kind).to_owned(),
        shape: port.shape.iter().map(|length| length.map_or(-1, signed)).collect(),
    });
    Signature { inputs: Some(Schema::Tensors(inputs.collect())), outputs: outputs.map(Schema::Tensors), params: None }
}

/// An error with its causes, the last of which says most.
fn told(error: &TractError) -> String {
    let mut words: Vec<String> = error.chain().map(ToString::to_string).collect();
    words.dedup();
    let text = words.join(": ");
    if text.len() > 1000 { format!("{}…", text.chars().take(1000).collect::<String>()) } else { text }
}

fn framework(folder: &Path) -> TractResult<tract_onnx::Onnx> {
    let mut framework = tract_onnx::onnx();
    let own = &mut framework.op_register;
    own.insert("TreeEnsembleClassifier", trees::classifier);
    own.insert("TreeEnsembleRegressor", trees::regressor);
    own.insert("LinearClassifier", linear::classifier);
    own.insert("Scaler", scaler::scaler);
    own.insert("Imputer", scaler::imputer);
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    framework.provider = Arc::new(OwnFolder(folder.canonicalize()?));
    Ok(framework)
}

/// Reads numbers beside the graph, and none from elsewhere.
struct OwnFolder(PathBuf);

impl ModelDataResolver for OwnFolder {
    fn read_bytes_from_path(
        &self,
        out: &mut Vec<u8>,
        path: &Path,
        from: usize,
        length: Option<usize>,
    ) -> TractResult<()> {
        let path = path.canonicalize().with_context(|| format!("its file {} is not there", path.display()))?;
        ensure!(path.starts_with(&self.0), "its file {} is not in the model's folder", path.display());
        let all = std::fs::read(&path)?;
        let to = length.map_or(Some(all.len()), |length| from.checked_add(length));
        let part = to.and_then(|to| all.get(from..to)).with_context(|| format!("{} is too short", path.display()))?;
        out.extend_from_slice(part);
        Ok(())
    }
}

/// Replaces outputs that are maps by the tables they are made of.
fn take_off_maps(proto: &mut ModelProto) -> TractResult<Vec<Output>> {
    let graph = proto.graph.as_mut().context("it has no graph")?;
    let mut outputs = Vec::with_capacity(graph.output.len());
    let mut is_map = vec![false; graph.node.len()];
    for output in &mut graph.output {
        let name = output.name.clone();
        let mut keys = None;
        if let Some((at, map)) =
            graph.node.iter().enumerate().find(|(_, node)| node.op_type == "ZipMap" && node.output.contains(&name))
        {
            let given = node::Attributes::of(map);
            let texts = given.texts("classlabels_strings")?;
            let ints = given.ints("classlabels_int64s");
            keys = Some(if texts.is_empty() { ints.iter().map(ToString::to_string).collect() } else { texts });
            output.name = map.input.first().context("its ZipMap has no input")?.clone();
            output.r#type = None;
            is_map[at] = true;
        }
        outputs.push(Output { name, keys });
    }
    ensure!(!outputs.is_empty(), "its graph gives nothing");
    let mut at = 0;
    graph.node.retain(|_| {
        at += 1;
        !is_map[at - 1]
    });
    Ok(outputs)
}

fn ports(graph: &GraphProto) -> TractResult<Vec<Port>> {
    let is_constant = |name: &str| graph.initializer.iter().any(|constant| constant.name == name);
    graph
        .input
        .iter()
        .filter(|input| !is_constant(&input.name))
        .map(|input| {
            let name = input.name.clone();
            let Some(TypeValue::TensorType(tensor)) = input.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
                bail!("its input {name} is no tensor");
            };
            let kind = kind(tensor.elem_type).with_context(|| format!("the type of its input {name} is not known"))?;
            let shape = tensor.shape.as_ref().with_context(|| format!("its input {name} has no shape"))?;
            Ok(Port { name, kind, shape: shape.dim.iter().map(|dim| length(dim.value.as_ref())).collect() })
        })
        .collect()
}

fn length(given: Option<&Length>) -> Option<usize> {
    match given {
        Some(Length::DimValue(length)) => usize::try_from(*length).ok().filter(|length| *length > 0),
        Some(Length::DimParam(_)) | None => None,
    }
}

fn kind(number: i32) -> Option<DatumType> {
    Some(match DataType::try_from(number).ok()? {
        DataType::Float => DatumType::F32,
        DataType::Double => DatumType::F64,
        DataType::Float16 => DatumType::F16,
        DataType::Int64 => DatumType::I64,
        DataType::Int32 => DatumType::I32,
        DataType::Int16 => DatumType::I16,
        DataType::Int8 => DatumType::I8,
        DataType::Uint64 => DatumType::U64,
        DataType::Uint32 => DatumType::U32,
        DataType::Uint16 => DatumType::U16,
        DataType::Uint8 => DatumType::U8,
        DataType::Bool => DatumType::Bool,
        DataType::String => DatumType::String,
        _ => return None,
    })
}

/// numpy's name of a type.
fn dtype(kind: DatumType) -> &'static str {
    match kind {
        DatumType::F64 => "float64",
        DatumType::F16 => "float16",
        DatumType::I64 => "int64",
        DatumType::I32 => "int32",
        DatumType::I16 => "int16",
        DatumType::I8 => "int8",
        DatumType::U64 => "uint64",
        DatumType::U32 => "uint32",
        DatumType::U16 => "uint16",
        DatumType::U8 => "uint8",
        DatumType::Bool => "bool",
        DatumType::String => "str",
        _ => "float32",
    }
}

fn spec(output: &ValueInfoProto) -> Option<TensorSpec> {
    let TypeValue::TensorType(tensor) = output.r#type.as_ref()?.value.as_ref()?;
    let shape = tensor.shape.as_ref()?.dim.iter().map(|dim| length(dim.value.as_ref()).map_or(-1, signed));
    let dtype = dtype(kind(tensor.elem_type)?).to_owned();
    Some(TensorSpec { name: Some(output.name.clone()), dtype, shape: shape.collect() })
}

/// A length as signatures have it.
fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// Makes a graph ready for a number of rows, or for any.
fn plan(
    framework: &tract_onnx::Onnx,
    proto: &ModelProto,
    folder: &Path,
    ports: &[Port],
    rows: Option<usize>,
) -> TractResult<Arc<TypedRunnableModel>> {
    let parsed = framework.parse(proto, folder.to_str())?;
    ensure!(parsed.unresolved_inputs.is_empty(), "inputs come from nowhere: {:?}", parsed.unresolved_inputs);
    let mut model = parsed.model;
    let any = model.symbols.sym("N");
    for (at, port) in ports.iter().enumerate() {
        let mut shape: TVec<TDim> = tvec!();
        for (axis, length) in port.shape.iter().enumerate() {
            shape.push(match (length, rows) {
                (Some(length), _) => length.to_dim(),
                (None, Some(rows)) if axis == 0 => rows.to_dim(),
                (None, None) if axis == 0 => any.to_dim(),
                (None, _) => model.symbols.new_with_prefix("L").to_dim(),
            });
        }
        model.set_input_fact(at, InferenceFact::dt_shape(port.kind, shape))?;
    }
    model.into_optimized()?.into_runnable()
}

#[cfg(test)]
mod tests;
