//! Request bodies. What clients send is made ahead and patched in place, since the load shares the machine with the
//! server it measures.

use std::io::Write as _;

/// Milliseconds since the epoch at which the made-up runs start.
pub(crate) const START: u64 = 1_700_000_000_000;
const WORDS: [&str; 5] = ["adam", "sgd", "lamb", "rmsprop", "adagrad"];

/// Value of metric `m{metric}` of run `number`: spread over [0, 1) without an order.
pub(crate) fn metric_value(number: u64, metric: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "below 2^17")]
    let value = ((number * 7919 + metric * 104_729) % 100_003) as f64;
    value / 100_003.0
}

pub(crate) fn create_run(number: u64) -> String {
    format!(
        r#"{{"experiment_id":"0","user_id":"bench","run_name":"run-{number}","start_time":{},"tags":[]}}"#,
        START + number
    )
}

/// 10 metrics, 10 params and 5 tags of one run.
pub(crate) fn describe_run(run_id: &str, number: u64) -> String {
    let metrics: Vec<_> = (0..10)
        .map(|metric| {
            let value = metric_value(number, metric);
            format!(r#"{{"key":"m{metric}","value":{value},"timestamp":{},"step":0}}"#, START + number)
        })
        .collect();
    let params: Vec<_> = (0..10)
        .map(|param| {
            let word = usize::try_from((number + param) % 5).expect("below 5");
            let value = if param < 5 { WORDS[word].to_owned() } else { ((number * 31 + param) % 1000).to_string() };
            format!(r#"{{"key":"p{param}","value":"{value}"}}"#)
        })
        .collect();
    let tags: Vec<_> =
        (0..5).map(|tag| format!(r#"{{"key":"t{tag}","value":"team-{}"}}"#, (number + tag) % 17)).collect();
    format!(
        r#"{{"run_id":"{run_id}","metrics":[{}],"params":[{}],"tags":[{}]}}"#,
        metrics.join(","),
        params.join(","),
        tags.join(",")
    )
}

/// Points a `log-batch` may carry at most.
pub(crate) const BATCH: u64 = 1000;
const KEYS: [&str; 10] = ["loss", "accuracy", "lr", "grad_norm", "val_loss", "f1", "recall", "precision", "auc", "wer"];
/// Width of a value in the body; shorter ones are padded with spaces, which JSON allows.
const WIDTH: usize = 20;
/// Steps are written with this many digits, from `FIRST_STEP` on, so that they never change width.
const STEP_DIGITS: usize = 10;
const FIRST_STEP: u64 = 1_000_000_000;

/// Values of a noisy training curve as a Python client writes them: a 32-bit float, widened, in all its digits.
#[derive(Debug)]
pub(crate) struct Curve(Vec<[u8; WIDTH]>);

impl Curve {
    pub(crate) fn new() -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let values = (0..1_u32 << 16).map(|step| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "noise")]
            let noise = ((state >> 40) as f64 / f64::from(1 << 24)) as f32;
            #[allow(clippy::cast_precision_loss, reason = "noise")]
            let value = 2.0 * (-(step as f32) / 20_000.0).exp() + 0.1 * noise + 0.05;
            let mut text = [b' '; WIDTH];
            // A widened f32 below 10 takes at most 19 characters.
            write!(&mut text[..], "{}", f64::from(value)).expect("it fits");
            text
        });
        Self(values.collect())
    }
}

/// A `log-batch` of [`BATCH`] points of ten metrics at consecutive steps, whose next edition is made in place.
pub(crate) struct Batch<'a> {
    body: Vec<u8>,
    /// Where the value of each point begins; timestamp and step follow at fixed distances.
    places: Vec<usize>,
    next_step: u64,
    curve: &'a Curve,
}

const AFTER_VALUE: &str = r#","timestamp":"#;
const TIME_DIGITS: usize = 13;
const AFTER_TIME: &str = r#","step":"#;

impl<'a> Batch<'a> {
    pub(crate) fn new(run_id: &str, curve: &'a Curve) -> Self {
        let mut body = format!(r#"{{"run_id":"{run_id}","metrics":["#).into_bytes();
        let mut places = Vec::new();
        for point in 0..BATCH {
            if point > 0 {
                body.push(b',');
            }
            let key = KEYS[usize::try_from(point % 10).expect("below 10")];
            write!(body, r#"{{"key":"{key}","value":"#).expect("memory takes all");
            places.push(body.len());
            let (time, step) = ("0".repeat(TIME_DIGITS), "0".repeat(STEP_DIGITS));
            write!(body, "{:WIDTH$}{AFTER_VALUE}{time}{AFTER_TIME}{step}}}", 0).expect("memory takes all");
        }
        body.extend_from_slice(b"]}");
        Self { body, places, next_step: 0, curve }
    }

    /// The body with the next points in it.
    pub(crate) fn next(&mut self) -> &[u8] {
        for (point, place) in self.places.iter().enumerate() {
            let step = self.next_step + point as u64 / KEYS.len() as u64;
            let value = usize::try_from(step + point as u64 * 257).expect("64 bits") % self.curve.0.len();
            self.body[*place..place + WIDTH].copy_from_slice(&self.curve.0[value]);
            let time = place + WIDTH + AFTER_VALUE.len();
            digits(&mut self.body[time..time + TIME_DIGITS], START + step * 37 + point as u64 % 10);
            let at = time + TIME_DIGITS + AFTER_TIME.len();
            digits(&mut self.body[at..at + STEP_DIGITS], FIRST_STEP + step);
        }
        self.next_step += BATCH / KEYS.len() as u64;
        &self.body
    }
}

fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
    }
}

/// Points `first..first + count` of one metric, `loss`, as a `log-batch`.
pub(crate) fn history_batch(run_id: &str, first: u64, count: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "small")]
    let value = |step: u64| 1.0 / (1 + step) as f64 + (step * 7919 % 1009) as f64 / 1009.0;
    let points: Vec<_> = (first..first + count)
        .map(|step| format!(r#"{{"key":"loss","value":{},"timestamp":{},"step":{step}}}"#, value(step), START + step))
        .collect();
    format!(r#"{{"run_id":"{run_id}","metrics":[{}]}}"#, points.join(","))
}
