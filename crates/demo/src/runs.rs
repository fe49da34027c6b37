//! Runs as they might have been. Each is made of the seed and its number alone, so that any of them can be made by itself.

use std::f64::consts::PI;
use std::fmt::Write as _;

use runlake_types::rows::RunStatus;

use crate::Scale;

/// When the first run starts: Monday, 5 January 2026, in milliseconds.
const START_MS: i64 = 1_767_571_200_000;
/// They go on for so long.
const SPAN_MS: i64 = 90 * 24 * 3_600_000;
const AUTHORS: [&str; 5] = ["ada", "grace", "katherine", "alan", "edsger"];
/// A sweep is a parent and so many trials.
const TRIALS: u64 = 8;

/// An experiment of the demonstration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Experiment {
    /// Its name.
    pub name: &'static str,
    /// Its note, in Markdown.
    pub note: &'static str,
    /// Who it belongs to.
    pub team: &'static str,
}

/// All of them, in the order of [`Made::experiment`].
pub const EXPERIMENTS: [Experiment; 3] = [
    Experiment {
        name: "vision/resnet",
        note: "Which **bird** is it? Learning rate, depth and optimiser of a ResNet on `birds-v3`.",
        team: "vision",
    },
    Experiment {
        name: "tabular/churn",
        note: "Gradient boosting over customers. Sweeps: a parent run, and a trial of it for each setting.",
        team: "growth",
    },
    Experiment {
        name: "language/small-lm",
        note: "A small language model. Some of these runs *diverge*.",
        team: "language",
    },
];

/// Of ten runs so many are of each experiment.
const SHARES: [u64; 3] = [6, 3, 1];

/// Chance that comes from a seed: `SplitMix64`.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Chance of one number of a seed.
    pub fn new(seed: u64, number: u64) -> Self {
        let mut first = Self(seed ^ 0x5851_F42D_4C95_7F2D);
        let mixed = first.bits();
        Self(mixed.wrapping_add(number.wrapping_mul(0xD134_2543_DE82_EF95)))
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// In [low, high).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Around 0, nearly normal, with a deviation of 1: cheap, as there are many points.
    pub fn noise(&mut self) -> f64 {
        let bits = self.bits();
        let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xFFFF).sum();
        (sum as f64 / 65_536.0 - 2.0) * 1.732_050_8
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.bits() % of.len() as u64).unwrap_or(0)]
    }
}

/// A metric of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its key.
    pub key: &'static str,
    /// Points by step.
    pub points: Vec<(i64, f64)>,
}

/// A made-up run.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// Which one, from 0.
    pub number: u64,
    /// Place in [`EXPERIMENTS`].
    pub experiment: usize,
    /// 32 hexadecimal digits.
    pub run_id: String,
    /// Its name.
    pub name: String,
    /// Who ran it.
    pub user: &'static str,
    /// How it ended.
    pub status: RunStatus,
    /// When it started.
    pub start_ms: i64,
    /// When it ended.
    pub end_ms: Option<i64>,
    /// The run it is a trial of.
    pub parent: Option<String>,
    /// Params.
    pub params: Vec<(&'static str, String)>,
    /// Tags.
    pub tags: Vec<(&'static str, String)>,
    /// Curves.
    pub series: Vec<Series>,
    /// How good it came out: more is better.
    pub score: f64,
}

impl Made {
    /// Time of a step.
    pub fn time_ms(&self, step: i64) -> i64 {
        self.start_ms + step * 900
    }

    /// Points of all its curves.
    pub fn points(&self) -> usize {
        self.series.iter().map(|series| series.points.len()).sum()
    }
}

/// All runs of a scale, one after the other.
#[derive(Debug, Clone)]
pub struct Runs {
    scale: Scale,
    next: u64,
}

impl Runs {
    /// From the first on.
    pub fn new(scale: Scale) -> Self {
        Self { scale, next: 0 }
    }
}

impl Iterator for Runs {
    type Item = Made;

    fn next(&mut self) -> Option<Made> {
        let number = self.next;
        (number < self.scale.runs).then(|| {
            self.next += 1;
            make(self.scale, number)
        })
    }
}

/// Experiment of a run, and its number there.
fn place(number: u64) -> (usize, u64) {
    let (block, mut rest) = (number / 10, number % 10);
    for (experiment, share) in SHARES.into_iter().enumerate() {
        if rest < share {
            return (experiment, block * share + rest);
        }
        rest -= share;
    }
    unreachable!("the shares are ten in all")
}

/// The number of the run that is the `index`-th of an experiment.
fn number_of(experiment: usize, index: u64) -> u64 {
    let before: u64 = SHARES[..experiment].iter().sum();
    index / SHARES[experiment] * 10 + before + index % SHARES[experiment]
}

fn run_id(seed: u64, number: u64) -> String {
    let mut chance = Chance::new(seed ^ 0xA5A5_5A5A, number);
    format!("{:016x}{:016x}", chance.bits(), chance.bits())
}

fn make(scale: Scale, number: u64) -> Made {
    let (experiment, index) = place(number);
    let mut chance = Chance::new(scale.seed, number);
    let span = SPAN_MS / i64::try_from(scale.runs.max(1)).unwrap_or(i64::MAX);
    let status = match chance.bits() % 100 {
        0..5 => RunStatus::Failed,
        5..7 => RunStatus::Killed,
        _ if number + 2 >= scale.runs => RunStatus::Running,
        _ => RunStatus::Finished,
    };
    let mut run = Made {
        number,
        experiment,
        run_id: run_id(scale.seed, number),
        name: String::new(),
        user: chance.pick(&AUTHORS),
        status,
        start_ms: START_MS + span * i64::try_from(number).unwrap_or(i64::MAX),
        end_ms: None,
        parent: None,
        params: Vec::new(),
        tags: Vec::new(),
        series: Vec::new(),
        score: 0.0,
    };
    // Who does not get to the end has a shorter curve.
    let points = if status == RunStatus::Finished { scale.points } else { scale.points.div_ceil(3) };
    match experiment {
        0 => vision(&mut run, index, points, scale.points, &mut chance),
        1 => churn(&mut run, index, points, scale.seed, &mut chance),
        _ => language(&mut run, index, points, scale.points, &mut chance),
    }
    let last = run.series.iter().filter_map(|series| series.points.last()).map(|(step, _)| *step).max().unwrap_or(0);
    run.end_ms = (status != RunStatus::Running).then(|| run.time_ms(last) + 1_000);
    let mut commit = String::new();
    for _ in 0..5 {
        let _ = write!(commit, "{:08x}", chance.bits() >> 32);
    }
    run.tags.extend([
        ("mlflow.user", run.user.to_owned()),
        ("mlflow.source.type", "LOCAL".to_owned()),
        ("mlflow.source.git.commit", commit),
        ("team", EXPERIMENTS[experiment].team.to_owned()),
    ]);
    run
}

/// Steps at which a curve of `points` is measured every `every` steps, the last one always.
fn steps(points: u64, every: u64) -> impl Iterator<Item = i64> {
    let points = points.max(1);
    (0..points)
        .filter(move |step| step % every == 0 || step + 1 == points)
        .map(|step| i64::try_from(step).unwrap_or(i64::MAX))
}

fn curve(points: u64, every: u64, mut value: impl FnMut(f64) -> f64, all: u64) -> Vec<(i64, f64)> {
    let all = all.max(1) as f64;
    steps(points, every).map(|step| (step, value(step as f64 / all))).collect()
}

fn vision(run: &mut Made, index: u64, points: u64, all: u64, chance: &mut Chance) {
    let rate = 10_f64.powf(chance.between(-4.0, -1.0));
    let depth = chance.pick(&[2_u32, 4, 6, 8]);
    let optimizer = chance.pick(&["adam", "sgd", "adamw"]);
    run.name = format!("{optimizer}-d{depth}-{index:04}");
    let floor = 0.08 + 0.5 * (rate.log10() + 2.5).abs() / 4.0 + 0.03 * f64::from(depth.abs_diff(6));
    let speed = 8.4 * (rate * 100.0).sqrt().min(1.5);
    let ideal = move |t: f64| floor + 2.2 * (-speed * t).exp();
    let spike = index.is_multiple_of(3).then(|| chance.between(0.3, 0.9));
    let mut noise = chance.clone();
    let train = curve(
        points,
        1,
        |t| {
            let spiked = spike.is_some_and(|at| (t - at).abs() * (all as f64) < 0.5);
            (ideal(t) + 0.05 * noise.noise() * (1.1 - t) + if spiked { 1.5 } else { 0.0 }).max(0.001)
        },
        all,
    );
    let valid = curve(points, 10, |t| ideal(t) * 1.12 + 0.02 * noise.noise(), all);
    let accuracy = curve(points, 10, |t| (1.0 - ideal(t) * 1.12 / 2.6 + 0.008 * noise.noise()).clamp(0.0, 0.99), all);
    run.score = accuracy.last().map_or(0.0, |(_, value)| *value);
    let f1 = accuracy.iter().map(|(step, value)| (*step, value * 0.97)).collect();
    let decay = curve(points, 10, |t| rate * 0.5 * (1.0 + (PI * t).cos()), all);
    run.series = vec![
        Series { key: "train/loss", points: train },
        Series { key: "valid/loss", points: valid },
        Series { key: "valid/accuracy", points: accuracy },
        Series { key: "valid/f1", points: f1 },
        Series { key: "train/learning_rate", points: decay },
    ];
    run.params = vec![
        ("learning_rate", format!("{rate:.6}")),
        ("depth", depth.to_string()),
        ("optimizer", optimizer.to_owned()),
        ("batch_size", chance.pick(&[32, 64, 128, 256]).to_string()),
        ("dropout", format!("{:.3}", chance.between(0.0, 0.5))),
        ("seed", index.to_string()),
        ("epochs", "90".to_owned()),
        ("augment", chance.pick(&["randaugment", "none", "mixup"]).to_owned()),
    ];
    run.tags = vec![
        ("stage", chance.pick(&["baseline", "sweep", "final"]).to_owned()),
        ("gpu", chance.pick(&["a100", "h100"]).to_owned()),
        ("mlflow.source.name", "train.py".to_owned()),
    ];
    if index.is_multiple_of(5) {
        run.tags.push(("mlflow.note.content", NOTE.to_owned()));
    }
}

const NOTE: &str = "## What this run is about\n\nA **ResNet** with a warm-up of 500 steps; the *learning rate* is decayed with a \
                    cosine.\n\n| split | images | share |\n|---|---:|---:|\n| train | 48,000 | 80 % |\n| valid | 12,000 | 20 % |\n\n\
                    - label smoothing 0.1\n- [x] checked for leaks\n- [ ] ask for more birds\n\n> A spike is a bad shard, not the \
                    optimiser.\n";

fn churn(run: &mut Made, index: u64, points: u64, seed: u64, chance: &mut Chance) {
    let (sweep, trial) = (index / (TRIALS + 1), index % (TRIALS + 1));
    let auc = |leaves: u32, rate: f64, chance: &mut Chance| {
        let shape = 0.12 * (-(rate - 0.08_f64).abs() * 6.0).exp() - 0.004 * (f64::from(leaves).log2() - 5.0).abs();
        (0.74 + shape + 0.01 * chance.noise()).clamp(0.5, 0.99)
    };
    run.tags.push(("mlflow.source.name", "sweep.py".to_owned()));
    if trial == 0 {
        run.name = format!("sweep-{}", sweep + 1);
        run.params =
            vec![("trials", TRIALS.to_string()), ("sampler", chance.pick(&["tpe", "random", "grid"]).to_owned())];
        run.score = chance.between(0.84, 0.88);
        run.series = vec![Series { key: "best_auc", points: vec![(0, run.score)] }];
        return;
    }
    run.parent = Some(run_id(seed, number_of(1, sweep * (TRIALS + 1))));
    run.name = format!("sweep-{}-trial-{trial}", sweep + 1);
    let leaves = chance.pick(&[15_u32, 31, 63, 127]);
    let rate = chance.between(0.01, 0.3);
    let best = auc(leaves, rate, chance);
    run.score = best;
    let mut noise = chance.clone();
    let grown = |step: i64, pace: f64| 1.0 - (-(step as f64 + 1.0) / pace).exp();
    let rounds = points.clamp(1, 400);
    run.series = vec![
        Series {
            key: "auc",
            points: steps(rounds, 1).map(|step| (step, best * grown(step, 8.0) + 0.002 * noise.noise())).collect(),
        },
        Series {
            key: "logloss",
            points: steps(rounds, 1).map(|step| (step, 0.6 - 0.3 * best * grown(step, 9.0))).collect(),
        },
    ];
    run.params = vec![
        ("num_leaves", leaves.to_string()),
        ("learning_rate", format!("{rate:.3}")),
        ("boosting", "gbdt".to_owned()),
        ("min_child_samples", chance.pick(&[5, 20, 50]).to_string()),
        ("feature_fraction", format!("{:.2}", chance.between(0.5, 1.0))),
    ];
}

fn language(run: &mut Made, index: u64, points: u64, all: u64, chance: &mut Chance) {
    let layers = chance.pick(&[4_u32, 8, 12]);
    let rate = 10_f64.powf(chance.between(-4.0, -2.0));
    run.name = format!("lm-{layers}l-{index:03}");
    // A rate that is too high: the loss goes up, and becomes what is no number.
    let diverges = (rate > 6e-3).then(|| chance.between(0.3, 0.8));
    let floor = 2.4 + 3.0 / f64::from(layers) + 0.2 * (rate.log10() + 3.2).abs();
    let mut noise = chance.clone();
    let loss = curve(
        points,
        1,
        |t| match diverges {
            Some(at) if t > at + 0.1 => f64::NAN,
            Some(at) if t > at => floor + 60.0 * (t - at),
            _ => floor + 7.0 * (-9.0 * t).exp() + 0.04 * noise.noise(),
        },
        all,
    );
    let ended = loss.last().map_or(f64::NAN, |(_, value)| *value);
    run.score = if ended.is_nan() { 0.0 } else { 1.0 / ended };
    let perplexity = loss.iter().filter(|(step, _)| step % 10 == 0).map(|(step, value)| (*step, value.exp())).collect();
    run.series = vec![
        Series { key: "loss", points: loss },
        Series { key: "perplexity", points: perplexity },
        Series {
            key: "grad_norm",
            points: curve(points, 1, |t| 0.4 + 2.0 * (-5.0 * t).exp() + 0.1 * noise.noise().abs(), all),
        },
        Series { key: "tokens_per_second", points: curve(points, 10, |_| 48_000.0 + 900.0 * noise.noise(), all) },
    ];
    run.params = vec![
        ("layers", layers.to_string()),
        ("learning_rate", format!("{rate:.6}")),
        ("context", chance.pick(&[512, 1024, 2048]).to_string()),
        ("tokenizer", "bpe-32k".to_owned()),
        ("warmup_steps", chance.pick(&[100, 500, 1000]).to_string()),
        ("precision", "bf16".to_owned()),
    ];
    run.tags.push(("mlflow.source.name", "lm/train.py".to_owned()));
    if diverges.is_some() {
        run.tags.push(("diverged", "true".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(runs: u64, seed: u64) -> Vec<Made> {
        Runs::new(Scale { runs, points: 30, seed }).collect()
    }

    /// NaN is not equal to itself.
    fn told(runs: &[Made]) -> String {
        format!("{runs:?}")
    }

    #[test]
    fn the_same_seed_gives_the_same_runs_and_another_seed_others() {
        assert_eq!(told(&all(300, 7)), told(&all(300, 7)));
        assert_ne!(told(&all(300, 7)), told(&all(300, 8)));
        let ids: std::collections::HashSet<String> =
            all(2000, 7).into_iter().chain(all(2000, 8)).map(|run| run.run_id).collect();
        assert_eq!(ids.len(), 4000);
    }

    #[test]
    fn runs_are_of_all_kinds() {
        let runs = all(2000, 1);
        let of = |experiment: usize| runs.iter().filter(|run| run.experiment == experiment).count();
        assert_eq!([of(0), of(1), of(2)], [1200, 600, 200]);
        for status in [RunStatus::Finished, RunStatus::Failed, RunStatus::Killed, RunStatus::Running] {
            assert!(runs.iter().any(|run| run.status == status), "{status:?}");
        }
        let trial = runs.iter().find(|run| run.parent.is_some()).expect("a trial");
        let parent = runs.iter().find(|run| Some(&run.run_id) == trial.parent.as_ref()).expect("its parent");
        assert!(parent.name.starts_with("sweep-") && parent.parent.is_none() && parent.number < trial.number);
        assert!(
            runs.iter().flat_map(|run| &run.series).flat_map(|series| &series.points).any(|(_, value)| value.is_nan())
        );
        assert!(runs.iter().all(|run| run.series.iter().all(|series| !series.points.is_empty())));
        assert!(runs.iter().all(|run| run.end_ms.is_none() == (run.status == RunStatus::Running)));
        let vision = runs.iter().find(|run| run.experiment == 0 && run.status == RunStatus::Finished).expect("one");
        assert!(vision.series.len() + vision.params.len() + vision.tags.len() >= 20);
        assert_eq!((vision.series[0].points.len(), vision.series[2].points.len()), (30, 4));
        let loss = &vision.series[0].points;
        assert!(loss[0].1 > loss[29].1, "{loss:?}");
    }
}
