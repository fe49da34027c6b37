//! The values a sweep goes through.
//!
//! `name=a,b,c` lists them. `name=1..10` are whole numbers and `name=0.1..0.9` any between; `log:` before a range makes each
//! power as likely as the next, `/n` behind it takes `n` points of it for a grid.

use std::fmt;
use std::str::FromStr;

use runlake_yaml::python_float;

/// A parameter, and what it goes through.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimension {
    name: String,
    values: Values,
}

#[derive(Debug, Clone, PartialEq)]
enum Values {
    List(Vec<String>),
    Whole { low: i64, high: i64, is_log: bool, points: Option<usize> },
    Real { low: f64, high: f64, is_log: bool, points: Option<usize> },
}

/// Of a range of whole numbers without `/n`, a grid takes all, if they are not more.
const MOST_POINTS: usize = 1000;

impl FromStr for Dimension {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |problem: &str| {
            format!(
                "--sweep {text:?}: {problem}; write NAME=a,b,c or NAME=LOW..HIGH, with log: before the range for powers and \
                 /N behind it for N points"
            )
        };
        let (name, values) = text.split_once('=').ok_or_else(|| wrong("there is no ="))?;
        let name = name.trim();
        if name.is_empty() {
            return Err(wrong("there is no name"));
        }
        let (is_log, range) = match values.strip_prefix("log:") {
            Some(range) => (true, range),
            None => (false, values.strip_prefix("int:").or(values.strip_prefix("float:")).unwrap_or(values)),
        };
        let values = match range.split_once("..") {
            Some((low, rest)) => {
                let (high, points) = match rest.split_once('/') {
                    Some((high, points)) => match points.trim().parse::<usize>() {
                        Ok(points @ 2..=MOST_POINTS) => (high, Some(points)),
                        _ => return Err(wrong("the number of points is to be from 2 to 1000")),
                    },
                    None => (rest, None),
                };
                range_of(low.trim(), high.trim(), is_log, values.starts_with("float:"), points).map_err(wrong)?
            }
            None if is_log => return Err(wrong("log: goes before a range")),
            None => {
                let list: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
                if list.iter().any(String::is_empty) {
                    return Err(wrong("a value is empty"));
                }
                Values::List(list)
            }
        };
        Ok(Self { name: name.to_owned(), values })
    }
}

fn range_of(low: &str, high: &str, is_log: bool, is_real: bool, points: Option<usize>) -> Result<Values, &'static str> {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    let (Some(from), Some(to)) = (number(low), number(high)) else { return Err("a bound is no number") };
    if from >= to {
        return Err("the low bound is not below the high one");
    }
    if is_log && from <= 0.0 {
        return Err("powers need bounds above zero");
    }
    match (low.parse::<i64>(), high.parse::<i64>()) {
        (Ok(low), Ok(high)) if !is_real => Ok(Values::Whole { low, high, is_log, points }),
        _ => Ok(Values::Real { low: from, high: to, is_log, points }),
    }
}

impl Dimension {
    /// The parameter.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The points of a grid.
    pub(super) fn points(&self) -> Result<Vec<String>, String> {
        let along = |points: usize| (0..points).map(move |at| at as f64 / (points - 1) as f64);
        match &self.values {
            Values::List(list) => Ok(list.clone()),
            Values::Whole { low, high, points: None, is_log: false } if high.abs_diff(*low) < MOST_POINTS as u64 => {
                Ok((*low..=*high).map(|number| number.to_string()).collect())
            }
            Values::Whole { points: Some(points), .. } | Values::Real { points: Some(points), .. } => {
                let mut all: Vec<String> = along(*points).map(|at| self.at(at)).collect();
                all.dedup();
                Ok(all)
            }
            _ => Err(format!(
                "--sweep {}: a range has no end of values; write how many points of it are wanted ({}=LOW..HIGH/5), or \
                 give --trials to take values by chance",
                self.name, self.name
            )),
        }
    }

    pub(super) fn by_chance(&self, chance: &mut Chance) -> String {
        match &self.values {
            Values::List(list) => {
                let at = usize::try_from(chance.next() % list.len() as u64).unwrap_or_default();
                list[at].clone()
            }
            _ => self.at(chance.unit()),
        }
    }

    /// The value at a part of the range, from 0 to 1.
    fn at(&self, part: f64) -> String {
        let between = |low: f64, high: f64, is_log: bool| {
            let value = if is_log { low * (high / low).powf(part) } else { low + (high - low) * part };
            value.clamp(low, high)
        };
        match &self.values {
            Values::List(list) => list.first().cloned().unwrap_or_default(),
            Values::Whole { low, high, is_log, points } => {
                // By chance each number is as likely as the others, the last one too; a grid ends on its ends.
                let (from, to) = (*low as f64, *high as f64);
                let value = match (points, is_log) {
                    (None, false) => (from + part * (to - from + 1.0)).floor(),
                    _ => between(from, to, *is_log).round(),
                };
                // It is whole, and lies between two whole numbers.
                #[allow(clippy::cast_possible_truncation, reason = "a number beyond the bounds becomes a bound")]
                let value = value as i64;
                value.clamp(*low, *high).to_string()
            }
            Values::Real { low, high, is_log, .. } => {
                python_float(shorter(between(*low, *high, *is_log)).clamp(*low, *high))
            }
        }
    }
}

/// Six digits say enough of a value by chance.
fn shorter(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

/// Numbers that follow from a seed: `SplitMix64`, after Steele, Lea and Flood.
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64, number: u64) -> Self {
        let mut first = Self(seed);
        Self(first.next() ^ number.wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
