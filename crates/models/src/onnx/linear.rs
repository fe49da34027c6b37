//! `LinearClassifier`: tract's own knows no labels that are texts.

use std::sync::Arc;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
#[allow(clippy::wildcard_imports, reason = "its macros name what they need without a path")]
use tract_onnx::tract_hir::internal::*;

use super::node::{Attributes, Labels};
use super::trees::{After, logistic, softmax};

/// A weight for each class and column, as bits, by which graphs are compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Linear {
    weights: Arc<Vec<u32>>,
    intercepts: Vec<u32>,
    /// Columns.
    width: usize,
    labels: Labels,
    after: After,
}

pub(super) fn classifier(
    _context: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let given = Attributes::of(node);
    let labels = given.labels("classlabels_ints", "classlabels_strings")?;
    let weights = given.floats("coefficients");
    let intercepts = given.floats("intercepts");
    // Of two classes one may be enough.
    let scored = if intercepts.is_empty() { labels.len() } else { intercepts.len() };
    ensure!(
        scored == labels.len() || (scored == 1 && labels.len() == 2),
        "it scores {scored} classes, and has labels for {}",
        labels.len()
    );
    let width = weights.len() / scored;
    ensure!(
        width > 0 && width * scored == weights.len(),
        "{} coefficients are not for {scored} classes",
        weights.len()
    );
    let mut intercepts: Vec<u32> = intercepts.iter().map(|value| value.to_bits()).collect();
    intercepts.resize(scored, 0);
    let after = After::named(given.text("post_transform"))?;
    ensure!(scored > 1 || after != After::Softmax, "softmax of one score is not known here");
    let weights = Arc::new(weights.iter().map(|value| value.to_bits()).collect());
    Ok((expand(Linear { weights, intercepts, width, labels, after }), vec![]))
}

impl Linear {
    fn classify(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let input = input.cast_to::<f32>()?;
        let [rows, width] = *input.shape() else {
            bail!("it takes a table, and was given the shape {:?}", input.shape())
        };
        ensure!(width == self.width, "it takes {} columns, and there are {width}", self.width);
        let view = input.try_as_plain_ram()?;
        let all = view.as_slice::<f32>()?;
        let mut winners = Vec::with_capacity(rows);
        let mut scores = Vec::with_capacity(rows * self.labels.len());
        for row in 0..rows {
            let row = &all[row * width..(row + 1) * width];
            let at = scores.len();
            for (weights, intercept) in self.weights.chunks_exact(width).zip(&self.intercepts) {
                let sum: f32 = row.iter().zip(weights).map(|(value, weight)| value * f32::from_bits(*weight)).sum();
                scores.push(sum + f32::from_bits(*intercept));
            }
            winners.push(self.finish(&mut scores, at));
        }
        let scores = Tensor::from_shape(&[rows, self.labels.len()], &scores)?.into_tvalue();
        Ok(tvec!(self.labels.of(&winners)?.into_tvalue(), scores))
    }

    /// Ends the scores of a row, which begin at a place, and tells its class.
    fn finish(&self, scores: &mut Vec<f32>, at: usize) -> usize {
        if scores.len() - at < self.labels.len() {
            let score = scores[at];
            scores.truncate(at);
            scores.extend(match self.after {
                After::Logistic => [logistic(-score), logistic(score)],
                After::Nothing | After::Softmax => [-score, score],
            });
            return usize::from(score > 0.0);
        }
        let all = &mut scores[at..];
        let best = (1..all.len()).fold(0, |best, class| if all[class] > all[best] { class } else { best });
        match self.after {
            After::Nothing => {}
            After::Logistic => all.iter_mut().for_each(|score| *score = logistic(*score)),
            After::Softmax => softmax(all),
        }
        best
    }
}

impl Op for Linear {
    fn name(&self) -> StaticName {
        "RunlakeLinear".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Linear {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.classify(inputs)
    }
}

impl TypedOp for Linear {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = inputs[0].shape[0].clone();
        let scores = f32::fact(&[rows.clone(), self.labels.len().to_dim()]);
        Ok(tvec!(self.labels.kind().fact(&[rows]), scores))
    }

    as_op!();
}

impl Expansion for Linear {
    fn name(&self) -> StaticName {
        "RunlakeLinear".into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(2)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 2)?;
        solver.equals(&outputs[0].datum_type, self.labels.kind())?;
        solver.equals(&outputs[0].rank, 1)?;
        solver.equals(&outputs[0].shape[0], &inputs[0].shape[0])?;
        solver.equals(&outputs[1].datum_type, DatumType::F32)?;
        solver.equals(&outputs[1].rank, 2)?;
        solver.equals(&outputs[1].shape[0], &inputs[0].shape[0])?;
        solver.equals(&outputs[1].shape[1], self.labels.len().to_dim())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}
