//! Writing to a run: metrics, params, tags.
//!
//! `log-batch` carries most of the traffic, so a well-formed one is decoded straight into structs that borrow from
//! the body. Only when that fails are the fields looked at one by one, to be as tolerant as MLflow and to say what
//! is wrong.

use std::borrow::Cow;
use std::fmt;

use runlake_tracking::{KeyValue, MetricInput};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::Fields;
use super::fields::integral;
use crate::error::{ApiError, Result};

/// A decoded `runs/log-batch`.
#[derive(Debug, PartialEq)]
pub(crate) struct Batch<'a> {
    /// The run.
    pub(crate) run_id: Cow<'a, str>,
    /// Points.
    pub(crate) metrics: Vec<MetricInput<'a>>,
    params: Vec<TextPair<'a>>,
    tags: Vec<TextPair<'a>>,
}

impl<'a> Batch<'a> {
    /// Reads a body.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self> {
        match serde_json::from_slice::<RawBatch<'a>>(body) {
            Ok(raw) if raw.is_complete() => Ok(raw.into_batch()),
            _ => Self::read_fields(&Fields::from_json(body)),
        }
    }

    /// The params, for the call below.
    pub(crate) fn params(&self) -> Vec<KeyValue<'_>> {
        key_values(&self.params)
    }

    /// The tags, for the call below.
    pub(crate) fn tags(&self) -> Vec<KeyValue<'_>> {
        key_values(&self.tags)
    }

    fn read_fields(fields: &Fields) -> Result<Self> {
        let run_id = fields.run_id()?.into();
        let metrics = fields.objects("metrics")?.iter().map(Fields::metric).collect::<Result<_>>()?;
        let pairs = |name| {
            let pair = |fields: &Fields| {
                Ok(TextPair {
                    key: fields.required_text("key")?.into(),
                    value: fields.text("value")?.unwrap_or_default().into(),
                })
            };
            fields.objects(name)?.iter().map(pair).collect::<Result<Vec<_>>>()
        };
        Ok(Self { run_id, metrics, params: pairs("params")?, tags: pairs("tags")? })
    }
}

fn key_values<'b>(pairs: &'b [TextPair<'_>]) -> Vec<KeyValue<'b>> {
    pairs.iter().map(|pair| KeyValue { key: &pair.key, value: &pair.value }).collect()
}

impl Fields {
    /// A metric point: of `log-metric`, or one of a batch.
    pub(crate) fn metric(&self) -> Result<MetricInput<'static>> {
        let text = |name| Ok::<_, ApiError>(self.text(name)?.filter(|text| !text.is_empty()).map(Cow::Owned));
        Ok(MetricInput {
            key: self.required_text("key")?.into(),
            value: self.required_float("value")?,
            timestamp_ms: self.required_int("timestamp")?,
            step: self.int("step")?.unwrap_or_default(),
            model_id: text("model_id")?,
            dataset_name: text("dataset_name")?,
            dataset_digest: text("dataset_digest")?,
        })
    }
}

/// The shape that needs no tolerance.
#[derive(Debug, Deserialize)]
struct RawBatch<'a> {
    #[serde(borrow)]
    run_id: Cow<'a, str>,
    #[serde(borrow, default)]
    metrics: Vec<RawMetric<'a>>,
    #[serde(borrow, default)]
    params: Vec<TextPair<'a>>,
    #[serde(borrow, default)]
    tags: Vec<TextPair<'a>>,
}

#[derive(Debug, Deserialize)]
struct RawMetric<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    value: LooseDouble,
    timestamp: LooseInt,
    #[serde(default)]
    step: LooseInt,
    #[serde(default)]
    model_id: Option<String>,
    #[serde(default)]
    dataset_name: Option<String>,
    #[serde(default)]
    dataset_digest: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct TextPair<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    value: Cow<'a, str>,
}

impl<'a> RawBatch<'a> {
    /// Whether every required text is there; if not, the slow path words the error.
    fn is_complete(&self) -> bool {
        !self.run_id.is_empty()
            && self.metrics.iter().all(|metric| !metric.key.is_empty())
            && self.params.iter().chain(&self.tags).all(|pair| !pair.key.is_empty())
    }

    fn into_batch(self) -> Batch<'a> {
        let text = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Cow::Owned);
        let metric = |raw: RawMetric<'a>| MetricInput {
            key: raw.key,
            value: raw.value.0,
            timestamp_ms: raw.timestamp.0,
            step: raw.step.0,
            model_id: text(raw.model_id),
            dataset_name: text(raw.dataset_name),
            dataset_digest: text(raw.dataset_digest),
        };
        Batch {
            run_id: self.run_id,
            metrics: self.metrics.into_iter().map(metric).collect(),
            params: self.params,
            tags: self.tags,
        }
    }
}

/// A double as protobuf JSON writes it: a number, or one of three texts.
#[derive(Debug)]
struct LooseDouble(f64);

impl<'de> Deserialize<'de> for LooseDouble {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DoubleVisitor).map(Self)
    }
}

struct DoubleVisitor;

impl Visitor<'_> for DoubleVisitor {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<f64, E> {
        match value {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            other => Err(E::custom(format_args!("{other:?} is not a number"))),
        }
    }
}

/// An integer as protobuf JSON writes it: a number, a text of digits, or a float without a fraction.
#[derive(Debug, Default)]
struct LooseInt(i64);

impl<'de> Deserialize<'de> for LooseInt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntVisitor).map(Self)
    }
}

struct IntVisitor;

impl Visitor<'_> for IntVisitor {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
        Ok(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
        i64::try_from(value).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<i64, E> {
        integral(value).ok_or_else(|| E::custom(format_args!("{value} is not an integer")))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<i64, E> {
        value.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests;
