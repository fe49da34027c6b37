//! A request as the tensors a graph takes, typed as MLflow types them: nothing is cast but doubles to floats.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use tract_onnx::prelude::*;

use super::{Onnx, Port, dtype, signed};
use crate::json::Json;
use crate::request::{DTYPE, Input, JSON_COLUMN, Request, SHAPE};

type Result<T> = std::result::Result<T, String>;

/// What a graph is given.
pub(super) struct Given {
    /// A tensor for each input, in the graph's order.
    pub(super) tensors: Vec<Tensor>,
    /// The rows of a table; `None`: the answer is by output.
    pub(super) rows: Option<usize>,
}

pub(super) fn read(graph: &Onnx, request: &Request) -> Result<Given> {
    let ports = graph.inputs();
    let (tensors, rows) = match &request.input {
        Input::Frame(batch) => (of_frame(ports, batch)?, (!graph.has_tensors()).then_some(batch.num_rows())),
        Input::Tensors(batch) => (of_tensors(ports, batch)?, None),
        Input::Arrays(text) => (of_arrays(ports, &Json::parse(text)?)?, None),
        Input::Plain(_) => return Err("the model takes tables and tensors, no messages".to_owned()),
    };
    for (port, tensor) in ports.iter().zip(&tensors) {
        port.check(tensor, rows == Some(0))?;
    }
    Ok(Given { tensors, rows })
}

impl Port {
    fn check(&self, tensor: &Tensor, may_be_empty: bool) -> Result<()> {
        let shape = tensor.shape();
        let fits = shape.len() == self.shape.len()
            && shape.iter().zip(&self.shape).all(|(have, want)| want.is_none_or(|want| want == *have));
        if !fits {
            let wanted: Vec<i64> = self.shape.iter().map(|length| length.map_or(-1, signed)).collect();
            return Err(format!(
                "the input {:?} has the shape {shape:?}, and the model takes {wanted:?} (-1 is any length)",
                self.name
            ));
        }
        if tensor.datum_type() != self.kind {
            return Err(self.mismatch(dtype(tensor.datum_type())));
        }
        if !may_be_empty && shape.contains(&0) {
            return Err(format!("the input {:?} is empty: its shape is {shape:?}", self.name));
        }
        Ok(())
    }

    fn mismatch(&self, given: &str) -> String {
        format!("the input {:?} is {given}, and the model takes {}", self.name, dtype(self.kind))
    }
}

/// Doubles where the graph takes floats become floats.
fn cast(tensor: Tensor, port: &Port) -> Result<Tensor> {
    if tensor.datum_type() == DatumType::F64 && port.kind == DatumType::F32 {
        return tensor.cast_to::<f32>().map(std::borrow::Cow::into_owned).map_err(|error| error.to_string());
    }
    Ok(tensor)
}

fn of_frame(ports: &[Port], batch: &RecordBatch) -> Result<Vec<Tensor>> {
    let rows = batch.num_rows();
    if let [port] = ports {
        let all: Vec<usize> = (0..batch.num_columns()).collect();
        return Ok(vec![columns(port, batch, &all, &[rows, all.len()])?]);
    }
    ports
        .iter()
        .map(|port| {
            let at = batch.schema_ref().index_of(&port.name);
            let at = at.map_err(|_| format!("the model takes the column {:?}, which was not sent", port.name))?;
            let shape = if port.shape.len() == 2 { vec![rows, 1] } else { vec![rows] };
            columns(port, batch, &[at], &shape)
        })
        .collect()
}

/// Columns side by side, of the type that holds them all.
fn columns(port: &Port, batch: &RecordBatch, places: &[usize], shape: &[usize]) -> Result<Tensor> {
    let schema = batch.schema_ref();
    let mut kinds = places.iter().map(|place| schema.field(*place));
    let is_all = |test: fn(&DataType) -> bool| {
        places.iter().all(|place| {
            let field = schema.field(*place);
            test(field.data_type()) && !field.metadata().contains_key(JSON_COLUMN)
        })
    };
    if is_all(|kind| matches!(kind, DataType::Utf8)) && !places.is_empty() {
        let texts = interleaved(batch, places, |array, row| {
            let array = array.as_string::<i32>();
            if array.is_null(row) { String::new() } else { array.value(row).to_owned() }
        });
        return of_list(&texts, shape);
    }
    if is_all(|kind| matches!(kind, DataType::Boolean)) && !places.is_empty() {
        let flags = interleaved(batch, places, |array, row| array.as_boolean().value(row));
        return of_list(&flags, shape);
    }
    if !is_all(DataType::is_numeric) {
        let odd = kinds.find(|field| !field.data_type().is_numeric() || field.metadata().contains_key(JSON_COLUMN));
        let name = odd.map_or("", |field| field.name().as_str());
        return Err(format!("the column {name:?} holds no numbers, and the model takes {}", dtype(port.kind)));
    }
    if is_all(DataType::is_integer) {
        let wide = cast_all(batch, places, &DataType::Int64)?;
        let is_narrow = is_all(|kind| matches!(kind, DataType::Int32));
        if wide.iter().any(|array| array.null_count() > 0) {
            return Err("a whole number is missing".to_owned());
        }
        let numbers =
            interleaved_of(&wide, batch.num_rows(), |array, row| array.as_primitive::<Int64Type>().value(row));
        let tensor = of_list(&numbers, shape)?;
        return if is_narrow {
            tensor.cast_to::<i32>().map(std::borrow::Cow::into_owned).map_err(told)
        } else {
            Ok(tensor)
        };
    }
    let is_single = is_all(|kind| matches!(kind, DataType::Float32));
    let wide = cast_all(batch, places, &DataType::Float64)?;
    let value = |array: &ArrayRef, row: usize| {
        let array = array.as_primitive::<Float64Type>();
        if array.is_null(row) { f64::NAN } else { array.value(row) }
    };
    if is_single || port.kind == DatumType::F32 {
        #[allow(clippy::cast_possible_truncation, reason = "rounding is what a shorter float is")]
        let numbers = interleaved_of(&wide, batch.num_rows(), |array, row| value(array, row) as f32);
        return of_list(&numbers, shape);
    }
    of_list(&interleaved_of(&wide, batch.num_rows(), value), shape)
}

fn cast_all(batch: &RecordBatch, places: &[usize], kind: &DataType) -> Result<Vec<ArrayRef>> {
    places.iter().map(|place| arrow_cast::cast(batch.column(*place), kind).map_err(told)).collect()
}

fn interleaved<T>(batch: &RecordBatch, places: &[usize], value: impl Fn(&ArrayRef, usize) -> T) -> Vec<T> {
    (0..batch.num_rows())
        .flat_map(|row| places.iter().map(move |place| (*place, row)))
        .map(|(place, row)| value(batch.column(place), row))
        .collect()
}

fn interleaved_of<T>(arrays: &[ArrayRef], rows: usize, value: impl Fn(&ArrayRef, usize) -> T) -> Vec<T> {
    let mut all = Vec::with_capacity(arrays.len() * rows);
    for row in 0..rows {
        all.extend(arrays.iter().map(|array| value(array, row)));
    }
    all
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn of_list<T: Datum>(values: &[T], shape: &[usize]) -> Result<Tensor> {
    tensor1(values).into_shape(shape).map_err(told)
}

/// Tensors that were checked against a signature: one without a name is for the only input.
fn of_tensors(ports: &[Port], batch: &RecordBatch) -> Result<Vec<Tensor>> {
    ports
        .iter()
        .map(|port| {
            let schema = batch.schema_ref();
            let place = schema.fields().iter().position(|field| *field.name() == port.name);
            let place = place.or_else(|| (ports.len() == 1 && batch.num_columns() == 1).then_some(0));
            let place =
                place.ok_or_else(|| format!("the model takes the tensor {:?}, which was not sent", port.name))?;
            let metadata = schema.field(place).metadata();
            let entry = |key: &str| metadata.get(key).map_or("", String::as_str);
            let shape: Vec<usize> = serde_json::from_str(entry(SHAPE)).map_err(told)?;
            cast(of_bytes(batch.column(place).as_binary::<i64>().value(0), entry(DTYPE), &shape)?, port)
        })
        .collect()
}

/// Numbers whose least byte comes first.
fn of_bytes(bytes: &[u8], kind: &str, shape: &[usize]) -> Result<Tensor> {
    macro_rules! numbers {
        ($native:ty) => {{
            const LENGTH: usize = std::mem::size_of::<$native>();
            let numbers: Vec<$native> = bytes
                .chunks_exact(LENGTH)
                .map(|bytes| <$native>::from_le_bytes(bytes.try_into().expect("chunks have this length")))
                .collect();
            of_list(&numbers, shape)
        }};
    }
    match kind {
        "float32" => numbers!(f32),
        "float64" => numbers!(f64),
        "float16" => numbers!(f16),
        "int64" => numbers!(i64),
        "int32" => numbers!(i32),
        "int16" => numbers!(i16),
        "int8" => numbers!(i8),
        "uint64" => numbers!(u64),
        "uint32" => numbers!(u32),
        "uint16" => numbers!(u16),
        "uint8" => numbers!(u8),
        "bool" => of_list(&bytes.iter().map(|byte| *byte != 0).collect::<Vec<bool>>(), shape),
        other => Err(format!("tensors of {other} are not scored in process")),
    }
}

/// Lists of a request to a model without a signature.
fn of_arrays(ports: &[Port], given: &Json) -> Result<Vec<Tensor>> {
    let names = || ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>();
    match (given, ports) {
        (Json::Map(entries), _) => ports
            .iter()
            .map(|port| {
                let value = entries.iter().find(|(name, _)| *name == port.name).map(|(_, value)| value);
                let value =
                    value.ok_or_else(|| format!("the model takes {:?}, and {:?} was not sent", names(), port.name))?;
                cast(of_json(value)?, port)
            })
            .collect(),
        (value, [port]) => Ok(vec![cast(of_json(value)?, port)?]),
        _ => Err(format!("the model takes several inputs: send an object of {:?}", names())),
    }
}

/// Nested lists, of the type numpy would give them.
fn of_json(value: &Json) -> Result<Tensor> {
    let mut shape = Vec::new();
    let mut first = value;
    while let Json::List(items) = first {
        shape.push(items.len());
        match items.first() {
            Some(item) => first = item,
            None => break,
        }
    }
    let mut cells = Vec::new();
    flatten(value, &shape, &mut cells)?;
    let all = |test: fn(&Json) -> bool| !cells.is_empty() && cells.iter().all(|cell| test(cell));
    if all(|cell| matches!(cell, Json::Int(_))) {
        let numbers = cells.iter().map(|cell| if let Json::Int(number) = cell { *number } else { 0 });
        return of_list(&numbers.collect::<Vec<i64>>(), &shape);
    }
    if all(|cell| matches!(cell, Json::Bool(_))) {
        return of_list(&cells.iter().map(|cell| matches!(cell, Json::Bool(true))).collect::<Vec<bool>>(), &shape);
    }
    if all(|cell| matches!(cell, Json::Int(_) | Json::Float(_))) {
        let numbers = cells.iter().map(|cell| match cell {
            Json::Int(number) => *number as f64,
            Json::Float(number) => *number,
            _ => f64::NAN,
        });
        return of_list(&numbers.collect::<Vec<f64>>(), &shape);
    }
    if all(|cell| matches!(cell, Json::Text(_))) {
        let texts = cells.iter().map(|cell| if let Json::Text(text) = cell { text.clone() } else { String::new() });
        return of_list(&texts.collect::<Vec<String>>(), &shape);
    }
    Err(match cells.iter().find(|cell| !matches!(cell, Json::Int(_) | Json::Float(_))) {
        Some(odd) => format!("{} stands among the numbers", odd.shown()),
        None => "there are no values".to_owned(),
    })
}

fn flatten<'a>(value: &'a Json, shape: &[usize], out: &mut Vec<&'a Json>) -> Result<()> {
    match (value, shape) {
        (Json::List(items), [length, rest @ ..]) if items.len() == *length => {
            items.iter().try_for_each(|item| flatten(item, rest, out))
        }
        (Json::List(_), _) | (_, [_, ..]) => {
            Err("its lists have different lengths, or are nested to different depths".to_owned())
        }
        (value, []) => {
            out.push(value);
            Ok(())
        }
    }
}
