//! `TreeEnsembleClassifier` and `TreeEnsembleRegressor`, with the answers of onnxruntime.
//!
//! tract has the first of them, but trusts a model's numbers where they are places in memory, and knows fewer comparisons and
//! layouts. Here everything is checked when the model is read.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
#[allow(clippy::wildcard_imports, reason = "its macros name what they need without a path")]
use tract_onnx::tract_hir::internal::*;

use super::node::{Attributes, Labels};

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

pub(super) fn classifier(_context: &ParsingContext<'_>, node: &NodeProto) -> Built {
    let given = Attributes::of(node);
    let labels = given.labels("classlabels_int64s", "classlabels_strings")?;
    let classes = labels.len();
    Ok((expand(Trees { forest: Arc::new(Forest::read(&given, "class", classes)?), labels: Some(labels) }), vec![]))
}

pub(super) fn regressor(_context: &ParsingContext<'_>, node: &NodeProto) -> Built {
    let given = Attributes::of(node);
    let targets = usize::try_from(given.int("n_targets").unwrap_or(1))?;
    ensure!((1..=MOST_CLASSES).contains(&targets), "it has {targets} targets");
    Ok((expand(Trees { forest: Arc::new(Forest::read(&given, "target", targets)?), labels: None }), vec![]))
}

const MOST_CLASSES: usize = 1 << 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Test {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Node {
    /// Goes to one node or the other.
    Branch { test: Test, feature: usize, bits: u32, yes: usize, no: usize, nan_is_yes: bool },
    /// Gives these votes.
    Leaf { from: usize, to: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum After {
    Nothing,
    Logistic,
    Softmax,
}

impl After {
    /// By its name in a graph.
    pub(super) fn named(name: Option<&str>) -> TractResult<Self> {
        Ok(match name.unwrap_or("NONE") {
            "NONE" => Self::Nothing,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX" => Self::Softmax,
            other => bail!("its post_transform {other} is not known here"),
        })
    }
}

/// Numbers are kept as their bits, by which graphs are compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Forest {
    nodes: Vec<Node>,
    roots: Vec<usize>,
    /// Class or target, and weight.
    votes: Vec<(usize, u32)>,
    classes: usize,
    /// One more than the last feature that is looked at.
    width: usize,
    base: Vec<u32>,
    aggregate: Aggregate,
    after: After,
    /// Two classes: votes are for the first, and mean the second.
    is_one_sided: bool,
    has_negative: bool,
}

impl Forest {
    /// `leaf` is what attributes of leaves begin with.
    fn read(given: &Attributes<'_>, leaf: &str, classes: usize) -> TractResult<Self> {
        ensure!((1..=MOST_CLASSES).contains(&classes), "it has {classes} classes");
        for name in ["nodes_values_as_tensor", "nodes_hitrates_as_tensor", "base_values_as_tensor"] {
            ensure!(!given.has(name), "its numbers are doubles ({name}), which is not read here");
        }
        let modes = given.texts("nodes_modes")?;
        let count = modes.len();
        ensure!(count > 0, "it has no nodes");
        let lists = ["nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids"];
        let [trees, ids, features, yes, no] = lists.map(|name| given.ints(name));
        let values = given.floats("nodes_values");
        for (name, length) in lists.into_iter().zip([trees, ids, features, yes, no].map(<[i64]>::len)) {
            ensure!(length == count, "{name} has {length} entries, and there are {count} nodes");
        }
        ensure!(values.len() == count, "nodes_values has {} entries, and there are {count} nodes", values.len());
        let nan = given.ints("nodes_missing_value_tracks_true");
        ensure!(nan.is_empty() || nan.len() == count, "nodes_missing_value_tracks_true has {} entries", nan.len());

        let mut place = HashMap::with_capacity(count);
        let mut roots = Vec::new();
        let mut last = None;
        for at in 0..count {
            if last != Some(trees[at]) {
                last = Some(trees[at]);
                roots.push(at);
            }
            ensure!(place.insert((trees[at], ids[at]), at).is_none(), "a node stands twice in it");
        }
        let (votes, of_node) = votes(given, leaf, classes, &place)?;
        let mut nodes = Vec::with_capacity(count);
        let mut width = 0;
        for at in 0..count {
            let Some(test) = test(&modes[at])? else {
                let (from, to) = of_node.get(&at).copied().unwrap_or((0, 0));
                nodes.push(Node::Leaf { from, to });
                continue;
            };
            let child =
                |id: i64| place.get(&(trees[at], id)).copied().with_context(|| format!("its node {id} is not there"));
            let feature = usize::try_from(features[at]).context("a feature has a negative number")?;
            width = width.max(feature + 1);
            nodes.push(Node::Branch {
                test,
                feature,
                bits: values[at].to_bits(),
                yes: child(yes[at])?,
                no: child(no[at])?,
                nan_is_yes: nan.get(at).is_some_and(|flag| *flag != 0),
            });
        }
        refuse_circles(&nodes, &roots)?;
        let base = given.floats("base_values");
        ensure!(
            base.is_empty() || base.len() == classes || (base.len() == 1 && classes == 2),
            "base_values has {} entries, and there are {classes} classes or targets",
            base.len()
        );
        let is_one_sided = leaf == "class" && classes == 2;
        // Of two classes converters let leaves vote for one. What onnxruntime makes of anything else is not to be relied on.
        ensure!(
            !is_one_sided || (base.len() <= 1 && votes.iter().all(|(class, _)| *class == 0)),
            "leaves vote for both of two classes, which is not known here"
        );
        Ok(Self {
            nodes,
            roots,
            classes,
            width,
            base: base.iter().map(|value| value.to_bits()).collect(),
            aggregate: match given.text("aggregate_function").unwrap_or("SUM") {
                "SUM" => Aggregate::Sum,
                "AVERAGE" => Aggregate::Average,
                "MIN" => Aggregate::Min,
                "MAX" => Aggregate::Max,
                other => bail!("its aggregate_function {other} is not known here"),
            },
            after: After::named(given.text("post_transform"))?,
            is_one_sided,
            has_negative: votes.iter().any(|(_, bits)| f32::from_bits(*bits) < 0.0),
            votes,
        })
    }

    /// What the trees say of a row; `None` where no leaf votes.
    fn scores(&self, row: &[f32], scores: &mut [Option<f32>]) {
        for root in &self.roots {
            let mut at = *root;
            let (from, to) = loop {
                match self.nodes[at] {
                    Node::Leaf { from, to } => break (from, to),
                    Node::Branch { test, feature, bits, yes, no, nan_is_yes } => {
                        let (value, bound) = (row[feature], f32::from_bits(bits));
                        let is_yes = match test {
                            _ if value.is_nan() => nan_is_yes,
                            Test::LessOrEqual => value <= bound,
                            Test::Less => value < bound,
                            Test::GreaterOrEqual => value >= bound,
                            Test::Greater => value > bound,
                            #[allow(clippy::float_cmp, reason = "what the operator says")]
                            Test::Equal => value == bound,
                            #[allow(clippy::float_cmp, reason = "what the operator says")]
                            Test::NotEqual => value != bound,
                        };
                        at = if is_yes { yes } else { no };
                    }
                }
            };
            for (class, bits) in &self.votes[from..to] {
                let weight = f32::from_bits(*bits);
                let score = &mut scores[*class];
                *score = Some(match (*score, self.aggregate) {
                    (None, _) => weight,
                    (Some(score), Aggregate::Sum | Aggregate::Average) => score + weight,
                    (Some(score), Aggregate::Min) => score.min(weight),
                    (Some(score), Aggregate::Max) => score.max(weight),
                });
            }
        }
        if self.aggregate == Aggregate::Average {
            for score in scores.iter_mut().flatten() {
                *score /= self.roots.len() as f32;
            }
        }
    }

    fn base(&self, class: usize) -> f32 {
        self.base.get(class).map_or(0.0, |bits| f32::from_bits(*bits))
    }

    /// The class of a row and its scores.
    fn classify(&self, row: &[f32], scores: &mut [Option<f32>], out: &mut Vec<f32>) -> usize {
        self.scores(row, scores);
        if self.is_one_sided {
            let score = scores[0].unwrap_or(0.0) + self.base(0);
            out.extend(match (self.after, self.has_negative) {
                (After::Logistic, _) => [logistic(-score), logistic(score)],
                (_, true) => [-score, score],
                (_, false) => [1.0 - score, score],
            });
            let is_second = score > if self.has_negative { 0.0 } else { 0.5 };
            return usize::from(is_second);
        }
        let at = out.len();
        out.extend(scores.iter().enumerate().map(|(class, score)| score.unwrap_or(0.0) + self.base(class)));
        let all = &mut out[at..];
        // Of equal ones the first.
        let best = (1..all.len()).fold(0, |best, class| if all[class] > all[best] { class } else { best });
        self.transform(all);
        best
    }

    fn regress(&self, row: &[f32], scores: &mut [Option<f32>], out: &mut Vec<f32>) {
        self.scores(row, scores);
        let at = out.len();
        out.extend(scores.iter().enumerate().map(|(target, score)| score.unwrap_or(0.0) + self.base(target)));
        self.transform(&mut out[at..]);
    }

    fn transform(&self, scores: &mut [f32]) {
        match self.after {
            After::Nothing => {}
            After::Logistic => scores.iter_mut().for_each(|score| *score = logistic(*score)),
            After::Softmax => softmax(scores),
        }
    }
}

/// Votes by class and weight, and which of them the leaf at a place gives.
type Votes = (Vec<(usize, u32)>, HashMap<usize, (usize, usize)>);

fn votes(given: &Attributes<'_>, leaf: &str, classes: usize, place: &HashMap<(i64, i64), usize>) -> TractResult<Votes> {
    let list = |name: &str| given.ints(&format!("{leaf}_{name}"));
    let (trees, nodes, ids) = (list("treeids"), list("nodeids"), list("ids"));
    let weights = given.floats(&format!("{leaf}_weights"));
    ensure!(
        !ids.is_empty() && [trees.len(), nodes.len(), weights.len()] == [ids.len(); 3],
        "its leaves have {} trees, {} nodes, {} ids and {} weights",
        trees.len(),
        nodes.len(),
        ids.len(),
        weights.len()
    );
    let mut all = Vec::with_capacity(ids.len());
    for at in 0..ids.len() {
        let node =
            place.get(&(trees[at], nodes[at])).with_context(|| format!("its leaf {} is not there", nodes[at]))?;
        let class = usize::try_from(ids[at]).ok().filter(|class| *class < classes);
        let class = class.with_context(|| format!("a leaf votes for {}, and there are {classes}", ids[at]))?;
        all.push((*node, class, weights[at].to_bits()));
    }
    // Votes of one leaf together, in their own order.
    all.sort_by_key(|(node, ..)| *node);
    let mut of_node: HashMap<usize, (usize, usize)> = HashMap::new();
    for (at, (node, ..)) in all.iter().enumerate() {
        of_node.entry(*node).or_insert((at, at)).1 = at + 1;
    }
    Ok((all.into_iter().map(|(_, class, bits)| (class, bits)).collect(), of_node))
}

fn test(mode: &str) -> TractResult<Option<Test>> {
    Ok(Some(match mode {
        "LEAF" => return Ok(None),
        "BRANCH_LEQ" => Test::LessOrEqual,
        "BRANCH_LT" => Test::Less,
        "BRANCH_GTE" => Test::GreaterOrEqual,
        "BRANCH_GT" => Test::Greater,
        "BRANCH_EQ" => Test::Equal,
        "BRANCH_NEQ" => Test::NotEqual,
        other => bail!("its nodes have the mode {other}, which is not known here"),
    }))
}

/// A walk from the root must come to a leaf.
fn refuse_circles(nodes: &[Node], roots: &[usize]) -> TractResult<()> {
    let mut is_seen = vec![false; nodes.len()];
    let mut open: Vec<usize> = roots.to_vec();
    while let Some(at) = open.pop() {
        ensure!(!std::mem::replace(&mut is_seen[at], true), "two of its nodes lead to the same node");
        if let Node::Branch { yes, no, .. } = nodes[at] {
            open.extend([yes, no]);
        }
    }
    Ok(())
}

pub(super) fn logistic(score: f32) -> f32 {
    // As onnxruntime has it.
    let positive = 1.0 / (1.0 + (-score.abs()).exp());
    if score < 0.0 { 1.0 - positive } else { positive }
}

pub(super) fn softmax(scores: &mut [f32]) {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for score in scores.iter_mut() {
        *score = (*score - most).exp();
    }
    let sum: f32 = scores.iter().sum();
    for score in scores {
        *score /= sum;
    }
}

/// The operator. With labels it classifies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Trees {
    forest: Arc<Forest>,
    labels: Option<Labels>,
}

impl Trees {
    fn eval_rows(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let input = input.cast_to::<f32>()?;
        let [rows, width] = *input.shape() else {
            bail!("it takes a table, and was given the shape {:?}", input.shape())
        };
        ensure!(width >= self.forest.width, "its trees look at {} columns, and there are {width}", self.forest.width);
        let view = input.try_as_plain_ram()?;
        let all = view.as_slice::<f32>()?;
        let forest = &*self.forest;
        let mut scores = Vec::with_capacity(rows * forest.classes);
        let mut winners = Vec::with_capacity(rows);
        let mut of_row = vec![None; forest.classes];
        for row in 0..rows {
            of_row.fill(None);
            let row = &all[row * width..(row + 1) * width];
            if self.labels.is_some() {
                winners.push(forest.classify(row, &mut of_row, &mut scores));
            } else {
                forest.regress(row, &mut of_row, &mut scores);
            }
        }
        let scores = Tensor::from_shape(&[rows, forest.classes], &scores)?.into_tvalue();
        let Some(labels) = &self.labels else { return Ok(tvec!(scores)) };
        Ok(tvec!(labels.of(&winners)?.into_tvalue(), scores))
    }
}

impl Op for Trees {
    fn name(&self) -> StaticName {
        "RunlakeTrees".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Trees {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.eval_rows(inputs)
    }
}

impl TypedOp for Trees {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = inputs[0].shape[0].clone();
        let scores = f32::fact(&[rows.clone(), self.forest.classes.to_dim()]);
        Ok(match &self.labels {
            None => tvec!(scores),
            Some(labels) => tvec!(labels.kind().fact(&[rows]), scores),
        })
    }

    as_op!();
}

impl Expansion for Trees {
    fn name(&self) -> StaticName {
        "RunlakeTrees".into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(if self.labels.is_some() { 2 } else { 1 })
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, self.nboutputs()?)?;
        let scores = &outputs[outputs.len() - 1];
        solver.equals(&scores.datum_type, DatumType::F32)?;
        solver.equals(&scores.rank, 2)?;
        solver.equals(&scores.shape[0], &inputs[0].shape[0])?;
        solver.equals(&scores.shape[1], self.forest.classes.to_dim())?;
        if let Some(labels) = &self.labels {
            solver.equals(&outputs[0].datum_type, labels.kind())?;
            solver.equals(&outputs[0].rank, 1)?;
            solver.equals(&outputs[0].shape[0], &inputs[0].shape[0])?;
        }
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}
