//! What a graph gave, as JSON: a list of rows where a table was asked, else an object of lists.

use bytes::Bytes;
use tract_onnx::prelude::*;

use super::Output;

type Result<T> = std::result::Result<T, String>;

pub(super) fn write(outputs: &[Output], values: &[TValue], rows: Option<usize>) -> Result<Bytes> {
    let mut columns = Vec::with_capacity(outputs.len());
    for (output, value) in outputs.iter().zip(values) {
        columns.push(Column { output, value: Values::of(value)?, shape: value.shape() });
    }
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"predictions\": ");
    match rows.filter(|rows| columns.iter().all(|column| column.shape.first() == Some(rows))) {
        Some(rows) => {
            list(&mut out, rows, |out, row| object(out, &columns, |out, column| column.row(out, row)));
        }
        None => object(&mut out, &columns, |out, column| match column.output.keys {
            Some(_) => list(out, column.shape.first().copied().unwrap_or(0), |out, row| column.map(out, row)),
            None => column.value.nested(out, column.shape, 0),
        }),
    }
    out.push(b'}');
    Ok(out.into())
}

struct Column<'a> {
    output: &'a Output,
    value: Values<'a>,
    shape: &'a [usize],
}

impl Column<'_> {
    /// A single value of the row as such, several as a list.
    fn row(&self, out: &mut Vec<u8>, row: usize) {
        if self.output.keys.is_some() {
            return self.map(out, row);
        }
        let rest = &self.shape[1..];
        let length: usize = rest.iter().product();
        if length == 1 {
            self.value.write(out, row);
        } else {
            self.value.nested(out, rest, row * length);
        }
    }

    fn map(&self, out: &mut Vec<u8>, row: usize) {
        let keys = self.output.keys.as_deref().unwrap_or_default();
        out.push(b'{');
        for (at, key) in keys.iter().enumerate() {
            comma(out, at);
            text(out, key);
            out.extend_from_slice(b": ");
            self.value.write(out, row * keys.len() + at);
        }
        out.push(b'}');
    }
}

fn comma(out: &mut Vec<u8>, at: usize) {
    if at > 0 {
        out.extend_from_slice(b", ");
    }
}

fn object(out: &mut Vec<u8>, columns: &[Column<'_>], write: impl Fn(&mut Vec<u8>, &Column<'_>)) {
    out.push(b'{');
    for (at, column) in columns.iter().enumerate() {
        comma(out, at);
        text(out, &column.output.name);
        out.extend_from_slice(b": ");
        write(out, column);
    }
    out.push(b'}');
}

fn list(out: &mut Vec<u8>, length: usize, mut write: impl FnMut(&mut Vec<u8>, usize)) {
    out.push(b'[');
    for at in 0..length {
        comma(out, at);
        write(out, at);
    }
    out.push(b']');
}

fn text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text writes to memory");
}

/// The values of a tensor, one after the other.
enum Values<'a> {
    Single(&'a [f32]),
    Double(&'a [f64]),
    Long(std::borrow::Cow<'a, [i64]>),
    Truth(&'a [bool]),
    Text(&'a [String]),
    /// Of a type that is made into doubles first.
    Other(Vec<f64>),
}

impl<'a> Values<'a> {
    fn of(tensor: &'a Tensor) -> Result<Self> {
        let read = || -> TractResult<Self> {
            let view = tensor.try_as_plain_ram()?;
            Ok(match tensor.datum_type() {
                DatumType::F32 => Self::Single(view.as_slice()?),
                DatumType::F64 => Self::Double(view.as_slice()?),
                DatumType::I64 => Self::Long(std::borrow::Cow::Borrowed(view.as_slice()?)),
                DatumType::Bool => Self::Truth(view.as_slice()?),
                DatumType::String => Self::Text(view.as_slice()?),
                DatumType::F16 => {
                    let wide = tensor.cast_to::<f64>()?;
                    Self::Other(wide.try_as_plain_ram()?.as_slice::<f64>()?.to_vec())
                }
                _ => {
                    let wide = tensor.cast_to::<i64>()?;
                    Self::Long(std::borrow::Cow::Owned(wide.try_as_plain_ram()?.as_slice::<i64>()?.to_vec()))
                }
            })
        };
        read().map_err(|error| format!("what the model gave cannot be written: {error}"))
    }

    fn nested(&self, out: &mut Vec<u8>, shape: &[usize], from: usize) {
        match shape {
            [] => self.write(out, from),
            [length, rest @ ..] => {
                let step: usize = rest.iter().product();
                list(out, *length, |out, at| self.nested(out, rest, from + at * step));
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>, at: usize) {
        match self {
            Self::Single(values) => float(out, f64::from(values[at])),
            Self::Double(values) => float(out, values[at]),
            Self::Other(values) => float(out, values[at]),
            Self::Long(values) => out.extend_from_slice(values[at].to_string().as_bytes()),
            Self::Truth(values) => out.extend_from_slice(if values[at] { b"true" } else { b"false" }),
            Self::Text(values) => text(out, &values[at]),
        }
    }
}

/// As Python writes it, with its words for what JSON has no number for.
fn float(out: &mut Vec<u8>, number: f64) {
    if number.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if number.is_infinite() {
        out.extend_from_slice(if number > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else {
        serde_json::to_writer(out, &number).expect("a number writes to memory");
    }
}
