use std::collections::BTreeMap;

use runlake_types::Timestamp;
use runlake_types::rows::{Experiment, Lifecycle};

use super::*;

fn experiment(id: u64, name: &str, created_ms: i64, updated_ms: i64, tags: &[(&str, &str)]) -> ExperimentInfo {
    let time = |ms| Timestamp::from_millis(ms).expect("in range");
    ExperimentInfo {
        experiment: Experiment {
            experiment_id: ExperimentId::new(id),
            name: name.to_owned(),
            artifact_location: String::new(),
            lifecycle_stage: Lifecycle::Active,
            creation_time: time(created_ms),
            last_update_time: time(updated_ms),
        },
        tags: tags.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>(),
    }
}

fn some() -> Vec<ExperimentInfo> {
    vec![
        experiment(0, "Default", 100, 100, &[]),
        experiment(1, "bert-base", 200, 500, &[("team", "nlp"), ("a b", "x")]),
        experiment(2, "Bert-Large", 200, 400, &[("team", "NLP")]),
        experiment(10, "resnet", 300, 300, &[("team", "vision")]),
    ]
}

#[test]
fn filters() {
    let check = |filter: &str, expect: &[u64]| {
        let parsed = ExperimentFilter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
        let ids: Vec<u64> = some()
            .iter()
            .filter(|info| parsed.matches(info))
            .map(|info| info.experiment.experiment_id.number())
            .collect();
        assert_eq!(ids, expect, "{filter}");
    };
    check("", &[0, 1, 2, 10]);
    check("name = 'resnet'", &[10]);
    check("attribute.name != 'resnet'", &[0, 1, 2]);
    check("name LIKE 'bert%'", &[1]);
    check("\"name\" ilike 'bert%'", &[1, 2]);
    check("name NOT ILIKE 'bert%'", &[0, 10]);
    check("experiment_id = '2'", &[2]);
    check("experiment_id != '2'", &[0, 1, 10]);
    check("experiment_id IN ('1', '10', '99')", &[1, 10]);
    check("attribute.experiment_id NOT IN ('1')", &[0, 2, 10]);
    check("creation_time >= 200 AND last_update_time < 500", &[2, 10]);
    check("creation_time BETWEEN 150 AND 250", &[1, 2]);
    check("creation_time = 100 OR last_update_time = 400", &[0, 2]);
    check("tags.team = 'nlp'", &[1]);
    check("tag.team ILIKE 'nlp'", &[1, 2]);
    check("tags.team != 'nlp'", &[2, 10]);
    check("NOT tags.team = 'nlp'", &[2, 10]);
    check("tags.team NOT IN ('nlp', 'NLP')", &[10]);
    check("tags.`a b` = 'x'", &[1]);
    check("tags.team IS NULL", &[0]);
    check("tags.team IS NOT NULL AND NOT (name LIKE '%e%')", &[]);
    check("tags.team IS NULL OR tags.team = 'vision'", &[0, 10]);
}

#[test]
fn refused() {
    let check = |filter: &str, expect: &str| {
        let error = ExperimentFilter::parse(filter).expect_err(filter).to_string();
        assert!(error.starts_with(expect), "{filter}: {error}");
    };
    check("metrics.a > 1", "Invalid entity type 'metrics'. Valid entity types are ('attribute', 'tag', 'tags')");
    check("attributes.name = 'a'", "Invalid entity type 'attributes'");
    check("foo = 'a'", "Invalid attribute key 'foo' specified. Valid keys are '['name', ");
    check("name > 'a'", "Invalid comparator '>' not one of");
    check("name = 1", "Expected a quoted string value for attributes. Got value 1");
    check("name IN ('a')", "Only ['experiment_id'] attributes support comparison with a list of quoted string values.");
    check("name IS NULL", "IS NULL / IS NOT NULL is only supported for tags, not for attribute 'name'");
    check("experiment_id = 'abc'", "Invalid experiment ID 'abc'. Experiment ID must be a valid integer.");
    check("experiment_id = 1", "Expected a quoted string value for attributes. Got value 1");
    check("experiment_id > '1'", "Invalid comparator for experiment_id: >");
    check("experiment_id LIKE '1'", "Invalid comparator for experiment_id: LIKE");
    check("creation_time > '1'", "Expected numeric value type for numeric attribute: creation_time. Found '1'");
    check("creation_time > 1.5", "Invalid value for numeric attribute 'creation_time': '1.5'");
    check("creation_time LIKE 1", "Invalid comparator 'LIKE' not one of");
    check("tags.a > 'x'", "Invalid comparator for tag: >");
    check("tags.a = 1", "Expected a quoted string value for tag");
    check("tags.a = x", "Parameter value is either not quoted or unidentified quote types used");
    check("name = 'a' name = 'b'", "Invalid clause(s) in filter string");
}

#[test]
fn order_and_pages() {
    let check = |order_by: &[&str], expect: &[u64]| {
        let order = ExperimentOrder::parse(order_by).unwrap_or_else(|error| panic!("{order_by:?}: {error}"));
        for limit in 1..=4 {
            let (mut ids, mut after) = (Vec::new(), None);
            loop {
                let (page, next) = order.page(some(), after.as_ref(), limit);
                ids.extend(page.iter().map(|info| info.experiment.experiment_id.number()));
                after = next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(ids, expect, "{order_by:?} by {limit}");
        }
    };
    check(&[], &[10, 1, 2, 0]);
    check(&["creation_time DESC"], &[10, 2, 1, 0]);
    check(&["creation_time"], &[0, 2, 1, 10]);
    check(&["attribute.creation_time asc", "experiment_id ASC"], &[0, 1, 2, 10]);
    check(&["name"], &[2, 0, 1, 10]);
    check(&["experiment_id"], &[0, 1, 2, 10]);
    check(&["last_update_time desc"], &[1, 2, 10, 0]);
}

#[test]
fn refused_orders() {
    let check = |clause: &str, expect: &str| {
        let error = ExperimentOrder::parse(&[clause]).expect_err(clause).to_string();
        assert!(error.starts_with(expect), "{clause}: {error}");
    };
    check("tags.a", "Invalid order_by entity: tag");
    check("foo", "Invalid attribute key 'foo' specified");
    check("metrics.a", "Invalid entity type 'metrics'");
    check("name ACS", "Invalid ordering key in order_by clause 'name ACS'.");
    check("name, creation_time", "Invalid order_by clause 'name, creation_time'. Could not be parsed.");
}
