//! Functions that make much of little, with a bound on what one call may make.
//!
//! Memory is counted where rows are gathered: for sorting, grouping, joining. What a function makes of one batch is not,
//! and `repeat('x', 2000000000)` would take two gigabytes that no limit knows of.

use std::sync::Arc;

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _};
use datafusion::arrow::compute::{max, min};
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{Result, exec_datafusion_err, resources_err};
use datafusion::execution::SessionState;
use datafusion::execution::registry::FunctionRegistry as _;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// Bytes that one call makes of one batch, at most.
const MOST_BYTES: u64 = 256 << 20;
/// Bytes of an element of a list, at least.
const ELEMENT_BYTES: u64 = 16;

/// What decides how much a function makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Growth {
    /// The first argument so often as the second says.
    Times,
    /// Texts of so many characters as the second says.
    Characters,
    /// Lists of so many elements as the second says.
    Elements,
    /// Whole numbers from the first to the second, or up to the only one; with the third between them.
    Span,
}

const FUNCTIONS: &[(&str, Growth)] = &[
    ("repeat", Growth::Times),
    ("lpad", Growth::Characters),
    ("rpad", Growth::Characters),
    ("array_repeat", Growth::Elements),
    ("array_resize", Growth::Elements),
    ("range", Growth::Span),
    ("generate_series", Growth::Span),
];

/// Puts a bound on the functions of a session that need one.
pub(crate) fn bound(state: &mut SessionState) -> Result<()> {
    for (name, growth) in FUNCTIONS {
        let inner = state.udf(name)?;
        state.register_udf(Arc::new(ScalarUDF::from(Bounded { inner, growth: *growth })))?;
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.inner().return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes = made(self.growth, &args.args, args.number_rows as u64)?;
        if bytes > MOST_BYTES {
            let name = self.name();
            return resources_err!(
                "{name}() would make {bytes} bytes at once; at most {MOST_BYTES} are made: ask for less of it"
            );
        }
        self.inner.invoke_with_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.inner().simplify(args, context)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.inner().documentation()
    }
}

/// Bytes that a call makes, at most; 0 where its arguments are of kinds that do not tell.
fn made(growth: Growth, args: &[ColumnarValue], rows: u64) -> Result<u64> {
    let numbers = |place: usize| args.get(place).and_then(numbers);
    let most = |place: usize| numbers(place).map_or(0, |(_, most)| u64::try_from(most).unwrap_or(0));
    Ok(match growth {
        Growth::Times => {
            let text = args.first().ok_or_else(|| exec_datafusion_err!("repeat() needs a text"))?;
            let bytes = match text {
                ColumnarValue::Scalar(text) => {
                    rows.saturating_mul(text.try_as_str().flatten().map_or(0, str::len) as u64)
                }
                ColumnarValue::Array(texts) => text_bytes(texts),
            };
            bytes.saturating_mul(most(1))
        }
        Growth::Characters => rows.saturating_mul(most(1)),
        Growth::Elements => rows.saturating_mul(most(1)).saturating_mul(args.first().map_or(0, bytes_of_one)),
        Growth::Span => {
            let (first, last) = match (numbers(0), numbers(1)) {
                (Some(only), None) => ((0, 0), only),
                (Some(first), Some(last)) => (first, last),
                _ => return Ok(0),
            };
            let widest = last.1.abs_diff(first.0).max(last.0.abs_diff(first.1));
            let step = numbers(2).map_or(1, |(least, most)| {
                if least <= 0 && most >= 0 { 1 } else { least.unsigned_abs().min(most.unsigned_abs()) }
            });
            rows.saturating_mul(widest / step.max(1)).saturating_mul(ELEMENT_BYTES)
        }
    })
}

/// Bytes of what is repeated, or of the list that grows, as a share of its batch.
fn bytes_of_one(value: &ColumnarValue) -> u64 {
    let bytes = match value {
        ColumnarValue::Scalar(value) => value.size(),
        ColumnarValue::Array(values) => values.get_array_memory_size() / values.len().max(1),
    };
    (bytes as u64).max(ELEMENT_BYTES)
}

fn text_bytes(texts: &ArrayRef) -> u64 {
    let sum = |lengths: &mut dyn Iterator<Item = usize>| lengths.sum::<usize>() as u64;
    match texts.data_type() {
        DataType::Utf8View => sum(&mut texts.as_string_view().iter().flatten().map(str::len)),
        DataType::Utf8 => sum(&mut texts.as_string::<i32>().iter().flatten().map(str::len)),
        DataType::LargeUtf8 => sum(&mut texts.as_string::<i64>().iter().flatten().map(str::len)),
        _ => 0,
    }
}

/// The least and the greatest of whole numbers.
fn numbers(value: &ColumnarValue) -> Option<(i64, i64)> {
    let array = value.to_array(1).ok()?;
    if !array.data_type().is_integer() {
        return None;
    }
    let array = datafusion::arrow::compute::cast(&array, &DataType::Int64).ok()?;
    let array = array.as_primitive::<Int64Type>();
    min(array).zip(max(array))
}
