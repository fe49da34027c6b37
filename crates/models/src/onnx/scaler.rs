//! `Scaler` and `Imputer`, which pipelines of scikit-learn begin with.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
#[allow(clippy::wildcard_imports, reason = "its macros name what they need without a path")]
use tract_onnx::tract_hir::internal::*;

use super::node::Attributes;

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// What is done to each column. Numbers are kept as their bits, by which graphs are compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Columns {
    /// `(value - offset) * scale`.
    Scaled { offsets: Vec<u32>, scales: Vec<u32> },
    /// One value, or NaN, is replaced.
    Imputed { replaced: u32, values: Vec<u32> },
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The entry of a column; a list of one is for all columns.
fn entry(list: &[u32], column: usize) -> TractResult<f32> {
    let bits = if list.len() == 1 { list.first() } else { list.get(column) };
    bits.map(|bits| f32::from_bits(*bits))
        .with_context(|| format!("it knows {} columns, and there are more", list.len()))
}

pub(super) fn scaler(_context: &ParsingContext<'_>, node: &NodeProto) -> Built {
    let given = Attributes::of(node);
    let (offsets, scales) = (bits(given.floats("offset")), bits(given.floats("scale")));
    ensure!(!offsets.is_empty() && !scales.is_empty(), "it has no offset or no scale");
    Ok((expand(Columns::Scaled { offsets, scales }), vec![]))
}

pub(super) fn imputer(_context: &ParsingContext<'_>, node: &NodeProto) -> Built {
    let given = Attributes::of(node);
    let values = bits(given.floats("imputed_value_floats"));
    ensure!(!values.is_empty(), "it imputes no floats, which alone is known here");
    let replaced = given.float("replaced_value_float").unwrap_or(0.0).to_bits();
    Ok((expand(Columns::Imputed { replaced, values }), vec![]))
}

impl Columns {
    fn apply(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let shape = input.shape().to_vec();
        let mut values = {
            let floats = input.cast_to::<f32>()?;
            let view = floats.try_as_plain_ram()?;
            view.as_slice::<f32>()?.to_vec()
        };
        let width = shape.last().copied().unwrap_or(1).max(1);
        for (at, value) in values.iter_mut().enumerate() {
            let column = at % width;
            match self {
                Self::Scaled { offsets, scales } => {
                    *value = (*value - entry(offsets, column)?) * entry(scales, column)?;
                }
                Self::Imputed { replaced, values } => {
                    let replaced = f32::from_bits(*replaced);
                    #[allow(clippy::float_cmp, reason = "what the operator says")]
                    if *value == replaced || (value.is_nan() && replaced.is_nan()) {
                        *value = entry(values, column)?;
                    }
                }
            }
        }
        Ok(tvec!(Tensor::from_shape(&shape, &values)?.into_tvalue()))
    }
}

impl Op for Columns {
    fn name(&self) -> StaticName {
        "RunlakeColumns".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Columns {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.apply(inputs)
    }
}

impl TypedOp for Columns {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(inputs[0].shape.clone())))
    }

    as_op!();
}

impl Expansion for Columns {
    fn name(&self) -> StaticName {
        "RunlakeColumns".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&outputs[0].datum_type, DatumType::F32)?;
        solver.equals(&outputs[0].shape, &inputs[0].shape)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}
