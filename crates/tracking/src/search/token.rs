//! Page tokens: where a page ended, not how many rows were seen, so that rows written meanwhile move nothing.
//!
//! A token is URL-safe base64 of JSON: `{"v": 1, "kind": "runs", "query": ["5f0c…", …], "at": …}`. `query` holds a short
//! hash of each part of the request that must stay the same from page to page; a token of another query is refused.
//! Tokens are opaque to callers and carry no secret. One that names a place no row can have in the order asked for (text
//! where a number belongs, too few values) is refused; forging another gains nothing but an odd place to start at.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use runlake_engine::search::{Column, Cursor, OrderBy, SortValue};
use runlake_types::{Point, RunId, Timestamp};
use serde::{Deserialize, Serialize};

use super::error::{SearchError, shortened};
use super::sort::SortKey;
use crate::{SearchExperiments, SearchLoggedModels, SearchRuns, ViewType};

const VERSION: u32 = 1;
/// Bytes of a token. A sort key may hold long tag values.
const MAX_TOKEN_BYTES: usize = 1 << 20;

/// What a page token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenScope {
    kind: &'static str,
    parts: Vec<Part>,
}

/// What a value that rows are sorted by can be, when it is not missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// A text.
    Text,
    /// Any number, NaN and infinities too: values of metrics.
    Number,
    /// A time or an id.
    Finite,
}

impl ValueKind {
    fn of(column: &Column) -> Self {
        match column {
            Column::Metric(..) => Self::Number,
            Column::Attribute(attribute) if attribute.is_number() => Self::Finite,
            Column::Attribute(_) | Column::Param(_) | Column::Tag(_) => Self::Text,
        }
    }

    fn takes(self, value: &SortValue) -> bool {
        match value {
            SortValue::Null => true,
            SortValue::Text(_) => self == Self::Text,
            SortValue::Number(number) => self == Self::Number || (self == Self::Finite && number.is_finite()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    hash: String,
    /// What to say when it differs.
    differs: &'static str,
}

const EXPERIMENTS_DIFFER: &str = "Experiment IDs in the page token do not match the requested experiment IDs.";
const FILTER_DIFFERS: &str = "Filter string in the page token does not match the requested filter string.";
const ORDER_DIFFERS: &str = "Order by in the page token does not match the requested order by.";
const VIEW_DIFFERS: &str = "View type in the page token does not match the requested view type.";

impl TokenScope {
    /// Pages of a run search.
    pub fn runs(request: &SearchRuns) -> Self {
        Self::new("runs")
            .part(EXPERIMENTS_DIFFER, &request.experiment_ids)
            .query(request.filter.as_deref(), &request.order_by)
            .part(VIEW_DIFFERS, [view_name(request.view_type)])
    }

    /// Pages of an experiment search.
    pub fn experiments(request: &SearchExperiments) -> Self {
        Self::new("experiments")
            .query(request.filter.as_deref(), &request.order_by)
            .part(VIEW_DIFFERS, [view_name(request.view_type)])
    }

    /// Pages of a logged model search.
    pub fn models(request: &SearchLoggedModels) -> Self {
        let order = request.order_by.iter().flat_map(|order| {
            let direction = if order.ascending { "asc" } else { "desc" };
            let dataset = [&order.dataset_name, &order.dataset_digest].map(|text| text.as_deref().unwrap_or_default());
            [&order.field_name, direction, dataset[0], dataset[1]]
        });
        let datasets = request.datasets.iter().flat_map(|dataset| {
            [&dataset.dataset_name, &dataset.dataset_digest].map(|text| text.as_deref().unwrap_or_default())
        });
        Self::new("models")
            .part(EXPERIMENTS_DIFFER, &request.experiment_ids)
            .part(FILTER_DIFFERS, [request.filter.as_deref().unwrap_or_default()])
            .part(ORDER_DIFFERS, order)
            .part("Datasets in the page token do not match the requested datasets.", datasets)
    }

    /// Pages of the history of one metric.
    pub fn history(run_id: &str, metric_key: &str) -> Self {
        Self::new("history").part("The page token is of another run or metric.", [run_id, metric_key])
    }

    /// Pages of another kind of list; [`Self::part`] adds what must stay the same from page to page.
    pub const fn new(kind: &'static str) -> Self {
        Self { kind, parts: Vec::new() }
    }

    /// With the filter and the sort clauses of a search.
    #[must_use]
    pub fn query(self, filter: Option<&str>, order_by: &[String]) -> Self {
        self.part(FILTER_DIFFERS, [filter.unwrap_or_default()]).part(ORDER_DIFFERS, order_by)
    }

    /// With a part of the request that must be the same on every page; `differs` is what to say when it is not.
    #[must_use]
    pub fn part<S: AsRef<str>>(mut self, differs: &'static str, texts: impl IntoIterator<Item = S>) -> Self {
        self.parts.push(Part { hash: short_hash(texts), differs });
        self
    }

    /// Token of the page after the run at `cursor`.
    pub fn run_token(&self, cursor: &Cursor) -> String {
        self.write(&RunPosition {
            keys: cursor.keys.iter().map(WireValue::from).collect(),
            start: cursor.start_time.map(Timestamp::micros),
            run: cursor.run_id.as_str().to_owned(),
        })
    }

    /// Where a token of [`Self::run_token`] points in a search ordered by `order`; no or an empty token is the first
    /// page.
    pub fn run_cursor(&self, token: Option<&str>, order: &[OrderBy]) -> Result<Option<Cursor>, SearchError> {
        let Some((RunPosition { keys, start, run }, json)) = self.read(token)? else { return Ok(None) };
        let kinds: Vec<ValueKind> = order.iter().map(|key| ValueKind::of(&key.column)).collect();
        let keys = fitting(keys, &kinds, &json)?;
        let run_id = RunId::parse(&run).map_err(|_| unusable(&json, "It names no run."))?;
        Ok(Some(Cursor { keys, start_time: start.map(Timestamp::from_micros), run_id }))
    }

    /// Token of the page after the row with this sort key.
    pub fn sort_token(&self, key: &SortKey) -> String {
        self.write(&key.0.iter().map(WireValue::from).collect::<Vec<_>>())
    }

    /// Where a token of [`Self::sort_token`] points in a search sorted by values of these kinds; no or an empty token is
    /// the first page.
    pub fn sort_key(&self, token: Option<&str>, kinds: &[ValueKind]) -> Result<Option<SortKey>, SearchError> {
        let Some((values, json)) = self.read::<Vec<WireValue>>(token)? else { return Ok(None) };
        fitting(values, kinds, &json).map(|values| Some(SortKey(values)))
    }

    /// Token of the page after this point.
    pub fn point_token(&self, point: &Point) -> String {
        let value = WireValue::from(&SortValue::Number(point.value));
        self.write(&(point.timestamp.micros(), point.step, value))
    }

    /// Where a token of [`Self::point_token`] points; no or an empty token is the first page.
    pub fn point(&self, token: Option<&str>) -> Result<Option<Point>, SearchError> {
        let Some(((micros, step, value), json)) = self.read::<(i64, i64, WireValue)>(token)? else { return Ok(None) };
        let SortValue::Number(value) = SortValue::from(value) else {
            return Err(unusable(&json, "The value of its point is not a number."));
        };
        Ok(Some(Point { step, timestamp: Timestamp::from_micros(micros), value }))
    }

    fn write(&self, at: &impl Serialize) -> String {
        let query = self.parts.iter().map(|part| part.hash.clone()).collect();
        let token = WireToken { v: VERSION, kind: self.kind.to_owned(), query, at };
        let json = serde_json::to_vec(&token).expect("positions have text keys and finite numbers only");
        URL_SAFE_NO_PAD.encode(json)
    }

    /// The position in a token, and the token's text for messages.
    fn read<T: for<'de> Deserialize<'de>>(&self, token: Option<&str>) -> Result<Option<(T, String)>, SearchError> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
        let bytes = decode(token).ok_or_else(|| SearchError::new("Invalid page token, could not base64-decode"))?;
        let json: serde_json::Value = serde_json::from_slice(&bytes).map_err(|_| {
            SearchError::new(format!(
                "Invalid page token, decoded value=b'{}'",
                shortened(&bytes.escape_ascii().to_string())
            ))
        })?;
        let text = json.to_string();
        let token: WireToken<T> = serde_json::from_value(json)
            .map_err(|_| unusable(&text, "It was not made by this server, or is damaged."))?;
        if token.v != VERSION || token.kind != self.kind || token.query.len() != self.parts.len() {
            return Err(unusable(&text, "It belongs to another kind of list."));
        }
        match self.parts.iter().zip(&token.query).find(|(part, hash)| part.hash != **hash) {
            Some((part, _)) => Err(unusable(&text, part.differs)),
            None => Ok(Some((token.at, text))),
        }
    }
}

/// The values, if they are what rows are sorted by.
fn fitting(values: Vec<WireValue>, kinds: &[ValueKind], json: &str) -> Result<Vec<SortValue>, SearchError> {
    if values.len() != kinds.len() {
        return Err(unusable(json, "It has another number of sort values than the request."));
    }
    let values: Vec<SortValue> = values.into_iter().map(SortValue::from).collect();
    if values.iter().zip(kinds).all(|(value, kind)| kind.takes(value)) {
        Ok(values)
    } else {
        Err(unusable(json, "One of its sort values is of another type than what the request sorts by."))
    }
}

fn unusable(json: &str, why: &str) -> SearchError {
    SearchError::new(format!(
        "Invalid page token, parsed value={}. {why} Ask for the first page again, without a token.",
        shortened(json)
    ))
}

/// Takes either alphabet, with or without padding, so that a token of another server is told apart from garbage.
fn decode(token: &str) -> Option<Vec<u8>> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let plain: String = token
        .trim_end_matches('=')
        .chars()
        .map(|c| match c {
            '+' => '-',
            '/' => '_',
            other => other,
        })
        .collect();
    URL_SAFE_NO_PAD.decode(plain).ok()
}

/// Hash of a list of texts (FNV-1a, 64 bits): the same in every build of this server, which a page token may outlive.
fn short_hash<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut feed = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for text in texts {
        let text = text.as_ref();
        // The length keeps ["a", "b"] apart from ["ab"].
        (text.len() as u64).to_le_bytes().into_iter().chain(text.bytes()).for_each(&mut feed);
    }
    format!("{hash:016x}")
}

const fn view_name(view: ViewType) -> &'static str {
    match view {
        ViewType::ActiveOnly => "active",
        ViewType::DeletedOnly => "deleted",
        ViewType::All => "all",
    }
}

#[derive(Serialize, Deserialize)]
struct WireToken<T> {
    v: u32,
    kind: String,
    query: Vec<String>,
    at: T,
}

#[derive(Serialize, Deserialize)]
struct RunPosition {
    keys: Vec<WireValue>,
    start: Option<i64>,
    run: String,
}

/// A sort value; JSON has no NaN and no infinities, so these are words.
#[derive(Serialize, Deserialize)]
enum WireValue {
    #[serde(rename = "-")]
    Null,
    #[serde(rename = "n")]
    Number(f64),
    #[serde(rename = "nan")]
    Nan,
    #[serde(rename = "inf")]
    Infinity,
    #[serde(rename = "-inf")]
    NegativeInfinity,
    #[serde(rename = "t")]
    Text(Box<str>),
}

impl From<&SortValue> for WireValue {
    fn from(value: &SortValue) -> Self {
        match value {
            SortValue::Null => Self::Null,
            SortValue::Text(text) => Self::Text(text.clone()),
            SortValue::Number(number) if number.is_nan() => Self::Nan,
            SortValue::Number(number) if number.is_finite() => Self::Number(*number),
            SortValue::Number(number) if *number > 0.0 => Self::Infinity,
            SortValue::Number(_) => Self::NegativeInfinity,
        }
    }
}

impl From<WireValue> for SortValue {
    fn from(value: WireValue) -> Self {
        match value {
            WireValue::Null => Self::Null,
            WireValue::Text(text) => Self::Text(text),
            WireValue::Number(number) => Self::Number(number),
            WireValue::Nan => Self::Number(f64::NAN),
            WireValue::Infinity => Self::Number(f64::INFINITY),
            WireValue::NegativeInfinity => Self::Number(f64::NEG_INFINITY),
        }
    }
}

#[cfg(test)]
mod tests;
