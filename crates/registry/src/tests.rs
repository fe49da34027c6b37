use std::collections::BTreeMap;

use runlake_types::rows::{RegistryAction, Stage};

use super::*;
use crate::testing::{Lake, START_MS, refusal};

fn pair(key: &str, value: &str) -> (String, String) {
    (key.into(), value.into())
}

#[tokio::test]
async fn names_are_checked() {
    let lake = Lake::open().await;
    let create = |name: &str| CreateModel { name: name.into(), ..CreateModel::default() };
    for (name, said) in [
        ("", "Missing value for required parameter 'name'."),
        ("  ", "Missing value for required parameter 'name'."),
        ("a/b", "Invalid model name 'a/b'. Names cannot contain '/' or ':'."),
        ("a:b", "Invalid model name 'a:b'. Names cannot contain '/' or ':'."),
        ("..", "must not resolve to other names"),
        (".", "must not resolve to other names"),
    ] {
        let message = refusal(lake.edit().create_model(create(name)).await);
        assert!(message.contains(said), "{name:?}: {message}");
        lake.model("kept").await;
        assert!(refusal(lake.edit().rename_model("kept", name).await).contains(said), "{name:?}");
        lake.edit().delete_model("kept").await.expect("deleted");
    }
    assert!(refusal(lake.edit().create_model(create(&"n".repeat(1001))).await).contains("maximum length of 1000"));
    assert!(lake.search_models(&Search::default()).await.expect("found").items.is_empty());
}

#[tokio::test]
async fn aliases_are_checked() {
    let lake = Lake::open().await;
    lake.model("m").await;
    lake.version("m").await;
    for (alias, said) in [
        ("v1", "Version alias name 'v1' is reserved."),
        ("V22", "Version alias name 'V22' is reserved."),
        ("LATEST", "'latest' alias name (case insensitive) is reserved."),
        ("a b", "Invalid alias name: 'a b'."),
        ("", "cannot be empty"),
    ] {
        assert!(refusal(lake.edit().set_alias("m", alias, "1").await).contains(said), "{alias:?}");
    }
    assert!(refusal(lake.edit().set_alias("m", &"x".repeat(256), "1").await).contains("maximum length of 255"));
    assert_eq!(refusal(lake.edit().set_alias("m", "x", "7").await), "Model Version (name=m, version=7) not found");
    assert_eq!(refusal(lake.version_by_alias("m", "x").await), "Registered model alias x not found.");
    for fine in ["1", "v1a", "ok-2_x", "ünï"] {
        lake.edit().set_alias("m", fine, "1").await.expect(fine);
    }
    assert_eq!(lake.get_version("m", "1").await.expect("there").aliases, ["1", "ok-2_x", "v1a", "ünï"]);
    assert_eq!(lake.version_by_alias("m", "Latest").await.expect("there").version.version, 1);
}

#[tokio::test]
async fn numbers_are_never_used_again() {
    let lake = Lake::open().await;
    lake.model("m").await;
    for expected in 1..=3 {
        assert_eq!(lake.version("m").await, expected);
    }
    lake.edit().delete_version("m", "3").await.expect("deleted");
    let lake = lake.reopened().await;
    assert_eq!(lake.version("m").await, 4);
    assert_eq!(refusal(lake.get_version("m", "3").await), "Model Version (name=m, version=3) not found");
    assert_eq!(refusal(lake.get_version("m", "x").await), "Parameter 'version' must be an integer, got 'x'.");
    assert_eq!(refusal(lake.get_version("m", "1.0").await), "Parameter 'version' must be an integer, got '1.0'.");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_made_at_once_are_numbered_without_gap_or_double() {
    let lake = std::sync::Arc::new(Lake::open().await);
    lake.model("m").await;
    let making = (0..64).map(|_| {
        let lake = std::sync::Arc::clone(&lake);
        tokio::spawn(async move { lake.version("m").await })
    });
    let mut numbers = Vec::new();
    for made in making.collect::<Vec<_>>() {
        numbers.push(made.await.expect("made"));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=64).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_source_names_need_not_be_repeated_but_must_agree() {
    let lake = Lake::open().await;
    lake.model("m").await;
    let (run, other) = (lake.run().await, lake.run().await);
    let logged = lake.logged_model(&run).await;
    let in_run = |run: &str| format!("mlflow-artifacts:/0/{run}/artifacts/model");
    let of_run = [format!("runs:/{run}/model"), in_run(&run)];
    for source in &of_run {
        let version = lake.version_of("m", source, None, None).await.expect(source).version;
        assert_eq!(
            (version.run_id.as_deref(), version.experiment_id),
            (Some(&*run), Some(runlake_types::ExperimentId::DEFAULT))
        );
        assert!(refusal(lake.version_of("m", source, Some(&other), None).await).contains("must identify the resource"));
    }
    for source in [format!("models:/{logged}"), format!("mlflow-artifacts:/0/models/{logged}/artifacts")] {
        let version = lake.version_of("m", &source, None, None).await.expect("made");
        assert_eq!(version.version.model_id.as_deref(), Some(&*logged));
        assert_eq!(version.version.run_id.as_deref(), Some(&*run));
        assert_eq!(version.download_uri(), format!("mlflow-artifacts:/0/models/{logged}/artifacts"));
    }
    let tags = lake.tracking.get_logged_model(&logged, false).await.expect("there").tags;
    assert_eq!(tags, [pair("mlflow.modelVersions", r#"[{"name":"m","version":3},{"name":"m","version":4}]"#)]);
    lake.edit().set_alias("m", "best", "2").await.expect("set");
    for (source, meant) in [("models:/m/2", 2), ("models:/m@best", 2), ("models:/m/latest", 6), ("models:/m/None", 7)] {
        let copy = lake.version_of("m", source, None, None).await.expect(source);
        assert_eq!(copy.version.source, format!("models:/m/{meant}"));
        let origin = lake.get_version("m", &meant.to_string()).await.expect("there");
        assert_eq!(copy.download_uri(), origin.download_uri());
        assert_eq!(copy.version.run_id.as_deref(), Some(&*run));
    }
}

#[tokio::test]
async fn sources_that_open_what_they_should_not_are_refused() {
    let lake = Lake::open().await;
    lake.model("m").await;
    let run = lake.run().await;
    for (source, run_id, said) in [
        ("/etc/passwd", None, "To use a local path as a model version source"),
        ("/etc/passwd", Some(&*run), "To use a local path as a model version source"),
        ("file:///etc/passwd", Some(&*run), "To use a local path as a model version source"),
        ("./here", None, "To use a local path as a model version source"),
        ("/tmp/x", Some("nobody"), "must identify the resource"),
        ("http://h/x", None, "cannot use the 'http' scheme"),
        ("mlflow-artifacts://h/x", None, "cannot use the 'mlflow-artifacts' scheme"),
        ("mlflow-artifacts:/x", None, "must identify the resource"),
        ("mlflow-artifacts:/", Some(&*run), "must identify the resource"),
        ("s3://b/../k", None, "Please provide an absolute path"),
        ("s3://b/%252e%252e/k", None, "Please provide an absolute path"),
        ("s3://b/k\0", None, "Please provide an absolute path"),
        ("runs:/", None, "Please provide an absolute path"),
        ("models:/", None, "model_id request parameter must identify"),
        ("models:/m", None, "model_id request parameter must identify"),
        ("models:/a/b/1", None, "model_id request parameter must identify"),
        ("models:/m/9", None, "Model Version (name=m, version=9) not found"),
        ("models:/n/1", None, "Registered Model with name=n not found"),
        ("models:/m@none", None, "Registered model alias none not found."),
        ("models:/m-0", None, "Logged model with ID 'm-0' not found."),
    ] {
        let message = refusal(lake.version_of("m", source, run_id, None).await);
        assert!(message.contains(said), "{source}: {message}");
    }
    let climbing = format!("mlflow-artifacts:/0/{run}/artifacts/../../other");
    assert!(refusal(lake.version_of("m", &climbing, Some(&run), None).await).contains("absolute path"));
    assert_eq!(lake.get_model("m").await.expect("there").model.last_version, 0);
}

#[tokio::test]
async fn archiving_takes_the_others_of_a_stage_only() {
    let lake = Lake::open().await;
    lake.model("m").await;
    for _ in 0..4 {
        lake.version("m").await;
    }
    for (version, stage) in [("1", "staging"), ("2", "STAGING"), ("3", "Production")] {
        lake.edit().transition("m", version, stage, false).await.expect("moved");
    }
    lake.clock.advance(1_000_000);
    lake.edit().transition("m", "4", "Staging", true).await.expect("moved");
    lake.edit().transition("m", "4", "Staging", true).await.expect("stays");
    let mut stages = Vec::new();
    for version in ["1", "2", "3", "4"] {
        stages.push(lake.get_version("m", version).await.expect("there").version.current_stage);
    }
    assert_eq!(stages, [Stage::Archived, Stage::Archived, Stage::Production, Stage::Staging]);
    let latest = lake.latest_versions::<&str>("m", &[]).await.expect("found");
    assert_eq!(latest.iter().map(|info| info.version.version).collect::<Vec<_>>(), [2, 3, 4]);
    for (stage, archive, said) in [
        ("Nope", false, "Value must be one of None, Staging, Production, Archived."),
        ("archived", true, "'archived' is not an Active stage"),
    ] {
        assert!(refusal(lake.edit().transition("m", "4", stage, archive).await).contains(said));
    }
}

#[tokio::test]
async fn a_renamed_model_keeps_everything() {
    use RegistryAction::{AliasSet, ModelCreated, ModelRenamed, VersionCreated, VersionTagSet};

    let lake = Lake::open().await;
    let tags = vec![pair("t", "1"), pair("t", "2")];
    lake.edit().create_model(CreateModel { name: "old".into(), tags, ..CreateModel::default() }).await.expect("made");
    lake.model("taken").await;
    lake.version("old").await;
    lake.edit().set_version_tag("old", "1", "k", "v").await.expect("set");
    lake.edit().set_alias("old", "champion", "1").await.expect("set");
    assert_eq!(
        refusal(lake.edit().rename_model("old", "taken").await),
        "Registered Model (name=taken) already exists."
    );
    lake.edit().rename_model("old", "new").await.expect("renamed");
    let lake = lake.reopened().await;
    assert_eq!(refusal(lake.get_model("old").await), "Registered Model with name=old not found");
    let model = lake.get_model("new").await.expect("there");
    assert_eq!((model.tags, model.aliases), (vec![pair("t", "2")], vec![("champion".into(), 1)]));
    let version = lake.version_by_alias("new", "champion").await.expect("there");
    assert_eq!(version.tags, [pair("k", "v")]);
    assert_eq!(lake.version("new").await, 2);
    lake.model("old").await;
    let actions = |events: Vec<RegistryEvent>| events.into_iter().map(|event| event.action).collect::<Vec<_>>();
    assert_eq!(
        actions(lake.history("new").await.expect("read")),
        [ModelCreated, VersionCreated, VersionTagSet, AliasSet, ModelRenamed, VersionCreated]
    );
    assert_eq!(actions(lake.history("old").await.expect("read")).last(), Some(&ModelCreated));
}

#[tokio::test]
async fn history_says_who_was_champion_when() {
    let lake = Lake::open().await;
    let ann = Some("ann");
    let request = CreateModel { name: "m".into(), ..CreateModel::default() };
    lake.registry.acting(ann).create_model(request).await.expect("made");
    lake.version("m").await;
    lake.version("m").await;
    for (after, version) in [(10, "1"), (10, "2"), (10, "2")] {
        lake.clock.advance(after * 1000);
        lake.registry.acting(ann).set_alias("m", "champion", version).await.expect("set");
    }
    lake.edit().delete_version("m", "2").await.expect("deleted");
    lake.edit().delete_model("m").await.expect("deleted");
    let history = lake.reopened().await.history("m").await.expect("read");
    assert!(history.is_sorted_by(|a, b| a.event_id < b.event_id && a.time <= b.time));
    let moves: Vec<_> = history
        .iter()
        .filter(|event| event.subject.as_deref() == Some("champion"))
        .map(|event| {
            (
                event.time.millis() - START_MS,
                event.actor.as_deref(),
                event.old_value.as_deref(),
                event.new_value.as_deref(),
            )
        })
        .collect();
    assert_eq!(moves, [(10, ann, None, Some("1")), (20, ann, Some("1"), Some("2")), (30, None, Some("2"), None)]);
    assert_eq!(history.last().map(|event| event.action), Some(RegistryAction::ModelDeleted));
}

#[tokio::test]
async fn prompts_are_found_only_when_asked_for() {
    let lake = Lake::open().await;
    let prompt =
        |name: &str| CreateModel { name: name.into(), tags: vec![pair(IS_PROMPT, "true")], ..CreateModel::default() };
    lake.model("model").await;
    lake.edit().create_model(prompt("prompt")).await.expect("made");
    let found = async |filter: &str| {
        let request = Search { filter: Some(filter.into()), ..Search::default() };
        let page = lake.search_models(&request).await.expect("found");
        page.items.into_iter().map(|info| info.model.name).collect::<Vec<_>>()
    };
    let is_prompt = format!("tags.`{IS_PROMPT}`");
    assert_eq!(found("").await, ["model"]);
    assert_eq!(found("name = 'prompt'").await, [""; 0]);
    for (filter, names) in
        [("= 'true'", ["prompt"]), ("!= 'false'", ["prompt"]), ("= 'false'", ["model"]), ("!= 'true'", ["model"])]
    {
        assert_eq!(found(&format!("{is_prompt} {filter}")).await, names, "{filter}");
    }
    assert!(refusal(lake.edit().create_model(prompt("model")).await).contains("already taken by a registered model"));
    assert_eq!(refusal(lake.edit().create_model(prompt("prompt")).await), "Prompt (name=prompt) already exists.");
    let version = |source: &str| CreateVersion {
        name: "prompt".into(),
        source: source.into(),
        tags: vec![pair(IS_PROMPT, "true"), pair("mlflow.prompt.text", "hi")],
        ..CreateVersion::default()
    };
    lake.edit().create_version(version("prompt-template")).await.expect("made");
    assert!(
        refusal(lake.edit().create_version(version("/etc/passwd")).await).contains("must use an MLflow placeholder")
    );
}

#[tokio::test]
async fn searches_page_without_gap_or_overlap() {
    let lake = Lake::open().await;
    for number in 0..7 {
        lake.clock.advance(1000);
        lake.model(&format!("m{number}")).await;
        for _ in 0..3 {
            lake.version(&format!("m{number}")).await;
        }
    }
    lake.flush().await;
    lake.model("m7").await;
    let mut request = Search { max_results: Some(3), order_by: vec!["timestamp DESC".into()], ..Search::default() };
    let mut names = Vec::new();
    loop {
        let page = lake.search_models(&request).await.expect("found");
        assert!(page.items.iter().all(|info| info.model.name == "m7" || info.latest_versions.len() == 1));
        names.extend(page.items.into_iter().map(|info| info.model.name));
        request.page_token = page.next_page_token;
        if request.page_token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["m6", "m7", "m5", "m4", "m3", "m2", "m1", "m0"]);
    let search = |filter: &str| Search { filter: Some(filter.into()), max_results: Some(2), ..Search::default() };
    let mut request = search("name = 'm3' AND version_number >= '2'");
    let page = lake.search_versions(&request).await.expect("found");
    assert_eq!(page.items.iter().map(|info| info.version.version).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(page.next_page_token, None);
    request = search("name LIKE 'm%'");
    let token = lake.search_versions(&request).await.expect("found").next_page_token;
    let foreign = Search { page_token: token, ..search("name LIKE 'n%'") };
    assert!(refusal(lake.search_versions(&foreign).await).contains("does not match the requested filter"));
    for (filter, said) in [
        ("stage = 'x'", "Invalid attribute key 'stage'"),
        ("name > 'x'", "Invalid comparator for attribute: >"),
        ("version_number = 'x'", "Expected numeric value"),
        ("params.x = 'y'", "Invalid entity type 'params'"),
    ] {
        assert!(refusal(lake.search_versions(&search(filter)).await).contains(said), "{filter}");
    }
}

/// What the registry should hold, kept simply.
#[derive(Debug, Default, Clone, PartialEq)]
struct Model {
    last: i64,
    versions: BTreeMap<i64, (Stage, BTreeMap<String, String>)>,
    aliases: BTreeMap<String, i64>,
}

#[derive(Debug, Clone)]
enum Step {
    Create(usize),
    Delete(usize),
    Rename(usize, usize),
    Version(usize),
    DeleteVersion(usize, i64),
    Transition(usize, i64, Stage, bool),
    Alias(usize, usize, i64),
    DeleteAlias(usize, usize),
    Tag(usize, i64, usize),
    Flush,
    Reopen,
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const WORDS: [&str; 2] = ["champion", "next"];

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    use proptest::prelude::*;
    let name = 0..NAMES.len();
    let word = 0..WORDS.len();
    let version = 1..6_i64;
    let stage = prop_oneof![Just(Stage::Staging), Just(Stage::Production), Just(Stage::Archived)];
    prop_oneof![
        3 => name.clone().prop_map(Step::Create),
        1 => name.clone().prop_map(Step::Delete),
        1 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        6 => name.clone().prop_map(Step::Version),
        1 => (name.clone(), version.clone()).prop_map(|(name, version)| Step::DeleteVersion(name, version)),
        4 => (name.clone(), version.clone(), stage, any::<bool>())
            .prop_map(|(name, version, stage, archive)| Step::Transition(name, version, stage, archive)),
        4 => (name.clone(), word.clone(), version.clone())
            .prop_map(|(name, alias, version)| Step::Alias(name, alias, version)),
        1 => (name.clone(), word.clone()).prop_map(|(name, alias)| Step::DeleteAlias(name, alias)),
        2 => (name, version, word).prop_map(|(name, version, value)| Step::Tag(name, version, value)),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

/// Does the step to the model of the registry; whether it is allowed.
fn expect(models: &mut BTreeMap<&'static str, Model>, step: &Step) -> bool {
    let version_of = |models: &BTreeMap<&str, Model>, name: usize, version: i64| {
        models.get(NAMES[name]).is_some_and(|model| model.versions.contains_key(&version))
    };
    match *step {
        Step::Create(name) if models.contains_key(NAMES[name]) => return false,
        Step::Create(name) => drop(models.insert(NAMES[name], Model::default())),
        Step::Delete(name) => return models.remove(NAMES[name]).is_some(),
        Step::Rename(from, to) => {
            if !models.contains_key(NAMES[from]) || (from != to && models.contains_key(NAMES[to])) {
                return false;
            }
            let model = models.remove(NAMES[from]).expect("is there");
            models.insert(NAMES[to], model);
        }
        Step::Version(name) => {
            let Some(model) = models.get_mut(NAMES[name]) else { return false };
            model.last += 1;
            model.versions.insert(model.last, (Stage::None, BTreeMap::new()));
        }
        Step::DeleteVersion(name, version) => {
            let Some(model) = models.get_mut(NAMES[name]) else { return false };
            model.aliases.retain(|_, of| *of != version);
            return model.versions.remove(&version).is_some();
        }
        Step::Transition(name, version, stage, archive) => {
            if !version_of(models, name, version) || (archive && stage == Stage::Archived) {
                return false;
            }
            let model = models.get_mut(NAMES[name]).expect("is there");
            for (other, (current, _)) in &mut model.versions {
                if *other == version {
                    *current = stage;
                } else if archive && *current == stage {
                    *current = Stage::Archived;
                }
            }
        }
        Step::Alias(name, alias, version) => {
            if !version_of(models, name, version) {
                return false;
            }
            models.get_mut(NAMES[name]).expect("is there").aliases.insert(WORDS[alias].into(), version);
        }
        Step::DeleteAlias(name, alias) => {
            let Some(model) = models.get_mut(NAMES[name]) else { return false };
            model.aliases.remove(WORDS[alias]);
        }
        Step::Tag(name, version, value) => {
            if !version_of(models, name, version) {
                return false;
            }
            let versions = &mut models.get_mut(NAMES[name]).expect("is there").versions;
            versions.get_mut(&version).expect("is there").1.insert("k".into(), WORDS[value].into());
        }
        Step::Flush | Step::Reopen => {}
    }
    true
}

async fn apply(lake: Lake, step: &Step) -> (Lake, bool) {
    let edit = lake.edit();
    let done = match *step {
        Step::Create(name) => {
            edit.create_model(CreateModel { name: NAMES[name].into(), ..CreateModel::default() }).await.is_ok()
        }
        Step::Delete(name) => edit.delete_model(NAMES[name]).await.is_ok(),
        Step::Rename(from, to) => edit.rename_model(NAMES[from], NAMES[to]).await.is_ok(),
        Step::Version(name) => lake.version_of(NAMES[name], "s3://b/k", None, None).await.is_ok(),
        Step::DeleteVersion(name, version) => edit.delete_version(NAMES[name], &version.to_string()).await.is_ok(),
        Step::Transition(name, version, stage, archive) => {
            edit.transition(NAMES[name], &version.to_string(), stage.as_str(), archive).await.is_ok()
        }
        Step::Alias(name, alias, version) => {
            edit.set_alias(NAMES[name], WORDS[alias], &version.to_string()).await.is_ok()
        }
        Step::DeleteAlias(name, alias) => edit.delete_alias(NAMES[name], WORDS[alias]).await.is_ok(),
        Step::Tag(name, version, value) => {
            edit.set_version_tag(NAMES[name], &version.to_string(), "k", WORDS[value]).await.is_ok()
        }
        Step::Flush => {
            lake.flush().await;
            true
        }
        Step::Reopen => return (lake.reopened().await, true),
    };
    (lake, done)
}

async fn held(lake: &Lake) -> BTreeMap<&'static str, Model> {
    let mut models = BTreeMap::new();
    for info in lake.search_models(&Search::default()).await.expect("found").items {
        let name = NAMES.into_iter().find(|name| *name == info.model.name).expect("is known");
        let filter = Some(format!("name = '{name}'"));
        let versions = lake.search_versions(&Search { filter, ..Search::default() }).await.expect("found").items;
        let versions = versions
            .into_iter()
            .map(|info| (info.version.version, (info.version.current_stage, info.tags.into_iter().collect())));
        let aliases = info.aliases.into_iter().collect();
        models.insert(name, Model { last: info.model.last_version, versions: versions.collect(), aliases });
    }
    models
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 24, ..Default::default() })]

    #[test]
    fn the_registry_answers_like_a_model(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("starts");
        runtime.block_on(async {
            let mut lake = Lake::open().await;
            let mut models = BTreeMap::new();
            for (number, step) in steps.iter().enumerate() {
                let expected = expect(&mut models, step);
                let (after, done) = apply(lake, step).await;
                lake = after;
                assert_eq!(done, expected, "{step:?}");
                if number % 5 == 4 {
                    assert_eq!(held(&lake).await, models, "after {step:?}");
                }
            }
            let lake = lake.reopened().await;
            assert_eq!(held(&lake).await, models, "after opening it again");
        });
    }
}
