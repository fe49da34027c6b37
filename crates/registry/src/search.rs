//! Searching registered models and versions, in memory.
//!
//! Fields of models are `name` and `tags.k`; of versions `name`, `version_number`, `run_id`, `source_path` and `tags.k`.
//! Prompts are kept apart by the tag `mlflow.prompt.is_prompt`, which counts as `'false'` where it is not set: a filter
//! that does not speak of it finds no prompts.

use runlake_tracking::search::{
    Clause, Comparison, Condition, Field, Lists, Literal, NumberTest, SearchError, Signed, SortKey, SortValue,
    Test as Written, TextTest, TokenScope, ValueKind, Wording, listed, page, parse, parse_order,
};
use runlake_tracking::{Page, validate};
use runlake_types::rows::{ModelVersion, ModelVersionTag, RegisteredModel, RegisteredModelAlias, RegisteredModelTag};
use runlake_types::{Key, KeyBuilder, Timestamp};

use crate::models::{grouped, key_of, model_infos};
use crate::{Error, IS_PROMPT, ModelInfo, Registry, Result, Search, VersionInfo, names};

const PAGE_MODELS: usize = 100;
const MAX_PAGE_MODELS: usize = 1000;
const PAGE_VERSIONS: usize = 10_000;
const MAX_PAGE_VERSIONS: usize = 200_000;

const MODEL_FIELDS: &[&str] = &["name"];
const MODEL_ORDER_FIELDS: &[&str] = &["name", "timestamp", "last_updated_timestamp"];
const VERSION_FIELDS: &[&str] = &["name", "version_number", "run_id", "source_path"];
const VERSION_ORDER_FIELDS: &[&str] = &["name", "version_number", "creation_timestamp", "last_updated_timestamp"];

/// What a comparison is about.
#[derive(Debug, Clone, PartialEq)]
enum Attribute {
    Name,
    Version,
    RunId,
    Source,
    Tag(Box<str>),
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Text(Attribute, TextTest),
    Version(NumberTest),
}

/// What rows must meet.
#[derive(Debug)]
struct Filter {
    condition: Option<Condition<Test>>,
    speaks_of_prompts: bool,
    /// The only name that can match, if the filter says so.
    only_name: Option<String>,
}

/// What a filter looks at.
struct Subject<'a> {
    name: &'a str,
    version: Option<&'a ModelVersion>,
    tags: &'a [(String, String)],
}

impl Registry {
    /// A page of the registered models that match.
    pub async fn search_models(&self, request: &Search) -> Result<Page<ModelInfo>> {
        self.search_models_among(request, |_| true).await
    }

    /// The same for a caller who may not see all registered models.
    pub async fn search_models_among(
        &self,
        request: &Search,
        may_see: impl Fn(&str) -> bool,
    ) -> Result<Page<ModelInfo>> {
        let limit = page_size(request.max_results, PAGE_MODELS, MAX_PAGE_MODELS)?;
        let filter = Filter::parse(request.filter.as_deref().unwrap_or_default(), MODEL_FIELDS)?;
        let order = Order::of_models(&request.order_by)?;
        let scope = TokenScope::new("registered_models").query(request.filter.as_deref(), &request.order_by);
        let after = scope.sort_key(request.page_token.as_deref(), &order.kinds())?;
        let view = self.view();
        let prefix = filter.prefix();
        let mut tags = grouped(view.scan::<RegisteredModelTag>(&prefix).await?, |row| (row.name, (row.key, row.value)));
        let models = view.scan::<RegisteredModel>(&prefix).await?.into_iter().map(|model| {
            let tags = tags.remove(&model.name).unwrap_or_default();
            (model, tags)
        });
        let found = models.filter(|(model, tags)| {
            may_see(&model.name) && filter.matches(&Subject { name: &model.name, version: None, tags })
        });
        let (found, next) = page(
            found,
            |(model, _)| order.key(&model.name, None, model.last_update_time, model.creation_time),
            &order.directions(),
            after.as_ref(),
            limit,
        );
        let items = model_infos(&view, found).await?;
        Ok(Page { items, next_page_token: next.map(|key| scope.sort_token(&key)) })
    }

    /// A page of the versions that match.
    pub async fn search_versions(&self, request: &Search) -> Result<Page<VersionInfo>> {
        self.search_versions_among(request, |_| true).await
    }

    /// The same for a caller who may not see all registered models.
    pub async fn search_versions_among(
        &self,
        request: &Search,
        may_see: impl Fn(&str) -> bool,
    ) -> Result<Page<VersionInfo>> {
        if let Some(count @ ..1) = request.max_results {
            return Err(Error::invalid(format!(
                "Invalid value for max_results. It must be a positive integer, but got {count}"
            )));
        }
        let limit = page_size(request.max_results, PAGE_VERSIONS, MAX_PAGE_VERSIONS)?;
        let filter = Filter::parse(request.filter.as_deref().unwrap_or_default(), VERSION_FIELDS)?;
        let order = Order::of_versions(&request.order_by)?;
        let scope = TokenScope::new("model_versions").query(request.filter.as_deref(), &request.order_by);
        let after = scope.sort_key(request.page_token.as_deref(), &order.kinds())?;
        let view = self.view();
        let prefix = filter.prefix();
        let mut tags = grouped(view.scan::<ModelVersionTag>(&prefix).await?, |row| {
            ((row.name, row.version), (row.key, row.value))
        });
        let mut aliases =
            grouped(view.scan::<RegisteredModelAlias>(&prefix).await?, |row| ((row.name, row.version), row.alias));
        let versions = view.scan::<ModelVersion>(&prefix).await?.into_iter().map(|version| {
            let key = (version.name.clone(), version.version);
            let (tags, aliases) = (tags.remove(&key).unwrap_or_default(), aliases.remove(&key).unwrap_or_default());
            VersionInfo { version, tags, aliases }
        });
        let found = versions.filter(|info| {
            let name = &info.version.name;
            may_see(name) && filter.matches(&Subject { name, version: Some(&info.version), tags: &info.tags })
        });
        let (items, next) = page(
            found,
            |VersionInfo { version, .. }| {
                order.key(&version.name, Some(version.version), version.last_update_time, version.creation_time)
            },
            &order.directions(),
            after.as_ref(),
            limit,
        );
        Ok(Page { items, next_page_token: next.map(|key| scope.sort_token(&key)) })
    }
}

fn page_size(asked: Option<i64>, default: usize, at_most: usize) -> Result<usize> {
    Ok(asked.map_or(Ok(default), |count| validate::max_results(count, at_most))?)
}

impl Filter {
    fn parse(source: &str, fields: &[&str]) -> Result<Self, SearchError> {
        let expr = parse(source)?;
        let mut speaks_of_prompts = false;
        let condition = expr.as_ref().map(|expr| {
            Condition::lower(expr, &mut |comparison| {
                let clause = Clause { source, comparison };
                let attribute = attribute(&comparison.field, fields).map_err(|message| clause.bad_field(message))?;
                speaks_of_prompts |= matches!(&attribute, Attribute::Tag(key) if &**key == IS_PROMPT);
                lower(clause, attribute)
            })
        });
        let only_name = only_name(condition.as_ref().and_then(|condition| condition.as_ref().ok()));
        Ok(Self { condition: condition.transpose()?, speaks_of_prompts, only_name })
    }

    /// What the keys of all rows start with that can match.
    fn prefix(&self) -> Key {
        self.only_name.as_ref().map_or_else(|| KeyBuilder::default().build(), |name| key_of(name))
    }

    fn matches(&self, subject: &Subject<'_>) -> bool {
        if !self.speaks_of_prompts && names::is_prompt(subject.tags) {
            return false;
        }
        let Some(condition) = &self.condition else { return true };
        condition.evaluate(&|test| evaluate(test, subject)) == Some(true)
    }
}

/// The name that all of a conjunction's matches have.
fn only_name(condition: Option<&Condition<Test>>) -> Option<String> {
    match condition? {
        Condition::Test(Test::Text(Attribute::Name, TextTest::Eq(name))) => Some(name.to_string()),
        Condition::All(terms) => terms.iter().find_map(|term| only_name(Some(term))),
        _ => None,
    }
}

fn evaluate(test: &Test, subject: &Subject<'_>) -> Option<bool> {
    match test {
        Test::Version(test) => test.evaluate(subject.version.map(|version| version.version as f64)),
        Test::Text(Attribute::Tag(key), test) if &**key == IS_PROMPT => {
            test.evaluate(Some(if names::is_prompt(subject.tags) { "true" } else { "false" }))
        }
        Test::Text(Attribute::Tag(key), test) => {
            test.evaluate(subject.tags.iter().find(|(name, _)| *name == **key).map(|(_, value)| value.as_str()))
        }
        Test::Text(Attribute::RunId, test) => {
            test.evaluate(Some(subject.version.and_then(|version| version.run_id.as_deref()).unwrap_or_default()))
        }
        Test::Text(Attribute::Source, test) => test.evaluate(subject.version.map(|version| version.source.as_str())),
        Test::Text(Attribute::Name | Attribute::Version, test) => test.evaluate(Some(subject.name)),
    }
}

fn attribute(field: &Field, fields: &[&str]) -> Result<Attribute, String> {
    let (entity, key) = (field.entity().unwrap_or("attribute"), field.key());
    match entity {
        "tag" | "tags" => return Ok(Attribute::Tag(key.into())),
        "attribute" | "attributes" | "attr" => {}
        other => {
            return Err(format!("Invalid entity type '{other}'. Valid entity types are ('attribute', 'tag', 'tags')"));
        }
    }
    let known = if fields.contains(&&*key) { &*key } else { "" };
    Ok(match known {
        "name" => Attribute::Name,
        "version_number" => Attribute::Version,
        "run_id" => Attribute::RunId,
        "source_path" => Attribute::Source,
        _ => return Err(format!("Invalid attribute key '{key}' specified. Valid keys are '{}'", listed(fields))),
    })
}

fn lower(clause: Clause<'_>, attribute: Attribute) -> Result<Condition<Test>, SearchError> {
    let is_tag = matches!(attribute, Attribute::Tag(_));
    let what = if is_tag { "tag" } else { "attribute" };
    let no_null = |_: &str| "IS NULL / IS NOT NULL is only supported for tags.".to_owned();
    let value = |text: &str| format!("Expected a quoted string value for {what} (e.g. 'my-value'). Got value {text}");
    let number = |text: &str| format!("Expected numeric value type for version_number. Found {text}");
    let operator = |operator: &str| format!("Invalid comparator for {what}: {operator}");
    let is_version = attribute == Attribute::Version;
    let wording = Wording {
        value: if is_version { &number } else { &value },
        operator: &operator,
        lists: Lists::Taken,
        null: if is_tag { None } else { Some(&no_null) },
        bare_text: false,
        operator_first: true,
    };
    if is_version {
        let comparison = unquoted(clause.comparison);
        let Signed { negated, test } = Clause { comparison: &comparison, ..clause }.number_test(&wording)?;
        return Ok(Condition::test(negated, Test::Version(test)));
    }
    let Signed { negated, test } = clause.text_test(&wording)?;
    Ok(Condition::test(negated, Test::Text(attribute, test.into())))
}

/// The comparison with `'3'` read as 3, as MLflow does for version numbers.
fn unquoted(comparison: &Comparison) -> Comparison {
    let mut comparison = comparison.clone();
    let values = match &mut comparison.test {
        Written::Compare(_, value) => vec![value],
        Written::Between { low, high, .. } => vec![low, high],
        Written::In { .. } | Written::IsNull { .. } => Vec::new(),
    };
    for value in values {
        if let Literal::Text(name) = &value.literal
            && name.text.parse::<i64>().is_ok()
        {
            value.literal = Literal::Number(name.text.clone());
        }
    }
    comparison
}

/// How rows are sorted.
struct Order(Vec<(OrderKey, bool)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OrderKey {
    Name,
    Version,
    Creation,
    LastUpdate,
}

impl Order {
    /// By name unless said otherwise; ties by name.
    fn of_models(clauses: &[String]) -> Result<Self, SearchError> {
        let mut keys = keys(clauses, MODEL_ORDER_FIELDS, "order by key")?;
        fill(&mut keys, &[(OrderKey::Name, true)]);
        Ok(Self(keys))
    }

    /// The last changed first unless said otherwise; ties by name, then the highest version first.
    fn of_versions(clauses: &[String]) -> Result<Self, SearchError> {
        let mut keys = keys(clauses, VERSION_ORDER_FIELDS, "attribute key")?;
        if keys.is_empty() {
            keys.push((OrderKey::LastUpdate, false));
        }
        fill(&mut keys, &[(OrderKey::Name, true), (OrderKey::Version, false)]);
        Ok(Self(keys))
    }

    fn kinds(&self) -> Vec<ValueKind> {
        let kind = |key: &OrderKey| if *key == OrderKey::Name { ValueKind::Text } else { ValueKind::Finite };
        self.0.iter().map(|(key, _)| kind(key)).collect()
    }

    fn directions(&self) -> Vec<bool> {
        self.0.iter().map(|(_, ascending)| *ascending).collect()
    }

    fn key(&self, name: &str, version: Option<i64>, updated: Timestamp, created: Timestamp) -> SortKey {
        let values = self.0.iter().map(|(key, _)| match key {
            OrderKey::Name => SortValue::Text(name.into()),
            OrderKey::Version => SortValue::Number(version.unwrap_or_default() as f64),
            OrderKey::Creation => SortValue::Number(created.millis() as f64),
            OrderKey::LastUpdate => SortValue::Number(updated.millis() as f64),
        });
        SortKey(values.collect())
    }
}

fn fill(keys: &mut Vec<(OrderKey, bool)>, ties: &[(OrderKey, bool)]) {
    for tie in ties {
        if !keys.iter().any(|(key, _)| *key == tie.0) {
            keys.push(*tie);
        }
    }
}

fn keys(clauses: &[String], fields: &[&str], what: &str) -> Result<Vec<(OrderKey, bool)>, SearchError> {
    let mut keys: Vec<(OrderKey, bool)> = Vec::new();
    for clause in clauses {
        let (field, ascending) = parse_order(clause)?;
        let name = field.key();
        let known = match field.entity() {
            None | Some("attribute" | "attributes") if fields.contains(&&*name) => &*name,
            _ => "",
        };
        let key = match known {
            "name" => OrderKey::Name,
            "version_number" => OrderKey::Version,
            "creation_timestamp" => OrderKey::Creation,
            "timestamp" | "last_updated_timestamp" => OrderKey::LastUpdate,
            _ => {
                let message = format!("Invalid {what} '{name}' specified. Valid keys are '{}'", listed(fields));
                return Err(SearchError::at(clause, field.span, message));
            }
        };
        if keys.iter().any(|(given, _)| *given == key) {
            let message = format!("`order_by` contains duplicate fields: {}", listed(&clauses_of(clauses)));
            return Err(SearchError::at(clause, field.span, message));
        }
        keys.push((key, ascending.unwrap_or(true)));
    }
    Ok(keys)
}

fn clauses_of(clauses: &[String]) -> Vec<&str> {
    clauses.iter().map(String::as_str).collect()
}
