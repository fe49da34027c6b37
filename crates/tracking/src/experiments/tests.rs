use runlake_types::{Clock as _, ErrorKind};

use super::*;
use crate::ViewType;
use crate::testing::{Lake, metric, refusal};

fn named(name: &str) -> CreateExperiment {
    CreateExperiment { name: name.into(), ..CreateExperiment::default() }
}

async fn found(lake: &Lake, filter: &str, view_type: ViewType) -> Vec<String> {
    let request =
        SearchExperiments { filter: Some(filter.into()), view_type, max_results: 100, ..SearchExperiments::default() };
    let page = lake.search_experiments(&request).await.expect("searched");
    page.items.iter().map(|info| info.experiment.name.clone()).collect()
}

#[tokio::test]
async fn a_new_lake_has_the_default_experiment() {
    let lake = Lake::open().await;
    let default = lake.get_experiment("0").await.expect("there");
    assert_eq!(default.experiment.name, "Default");
    assert_eq!(default.experiment.artifact_location, "mlflow-artifacts:/0");
    assert_eq!(lake.experiment("a").await, "1");
    assert_eq!(lake.experiment("b").await, "2");
}

#[tokio::test]
async fn experiments_are_still_there_when_the_lake_is_opened_again() {
    let lake = Lake::open().await;
    lake.experiment("a").await;
    lake.set_experiment_tag("1", "k", "v").await.expect("set");
    let again = Tracking::open(lake.engine().clone(), lake.settings().clone()).await.expect("opens");
    assert_eq!(again.get_experiment_by_name("a").await.expect("there"), lake.get_experiment("1").await.expect("there"));
    assert_eq!(again.create_experiment(named("c")).await.ok(), Some(ExperimentId::new(2)));
}

#[tokio::test]
async fn names_are_unique_also_among_deleted_ones() {
    let lake = Lake::open().await;
    lake.experiment("a").await;
    lake.experiment("b").await;
    lake.delete_experiment("1").await.expect("deleted");
    let error = lake.create_experiment(named("a")).await.expect_err("taken");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().starts_with("Experiment(name=a) already exists."));
    assert!(refusal(lake.update_experiment("2", Some("a")).await).contains("already exists"));
    assert!(lake.update_experiment("2", Some("b")).await.is_ok());
    assert_eq!(
        refusal(lake.create_experiment(named(&"n".repeat(501))).await),
        "'name' exceeds the maximum length of 500 characters"
    );
}

#[tokio::test]
async fn a_renamed_experiment_is_found_by_its_new_name_only() {
    let lake = Lake::open().await;
    lake.experiment("a").await;
    lake.clock.advance(5000);
    lake.update_experiment("1", Some("b")).await.expect("renamed");
    assert_eq!(refusal(lake.get_experiment_by_name("a").await), "Could not find experiment with name 'a'");
    let info = lake.get_experiment_by_name("b").await.expect("there");
    assert!(info.experiment.last_update_time > info.experiment.creation_time);
    assert_eq!(lake.experiment("a").await, "2");
}

#[tokio::test]
async fn stages_are_checked() {
    let lake = Lake::open().await;
    lake.experiment("a").await;
    assert_eq!(refusal(lake.restore_experiment("1").await), "No Experiment with id=1 exists");
    lake.delete_experiment("1").await.expect("deleted");
    assert_eq!(refusal(lake.delete_experiment("1").await), "No Experiment with id=1 exists");
    assert_eq!(refusal(lake.delete_experiment("77").await), "No Experiment with id=77 exists");
    let renaming = lake.update_experiment("1", Some("x")).await.expect_err("refused");
    assert_eq!(renaming.kind(), ErrorKind::Conflict);
    assert_eq!(renaming.to_string(), "Cannot rename a non-active experiment.");
    let inactive = "The experiment 1 must be in the 'active' state. Current state is deleted.";
    assert_eq!(refusal(lake.set_experiment_tag("1", "k", "v").await), inactive);
    let run = crate::CreateRun { experiment_id: "1".into(), ..crate::CreateRun::default() };
    assert_eq!(refusal(lake.create_run(run).await), inactive);
    assert!(lake.get_experiment("1").await.is_ok());
    lake.restore_experiment("1").await.expect("restored");
    assert!(lake.set_experiment_tag("1", "k", "v").await.is_ok());
}

#[tokio::test]
async fn runs_go_and_come_back_with_their_experiment() {
    let lake = Lake::open().await;
    lake.experiment("a").await;
    let (one, two, elsewhere) = (lake.run("1").await, lake.run("1").await, lake.run("0").await);
    lake.delete_run(&two).await.expect("deleted");
    lake.delete_experiment("1").await.expect("deleted");
    for id in [&one, &two] {
        let run = lake.get_run(id).await.expect("there").run;
        assert_eq!((run.lifecycle_stage, run.deleted_time), (Lifecycle::Deleted, Some(lake.clock.now())));
    }
    assert_eq!(
        refusal(lake.metrics(&one, &[metric("m", 1, 1.0)]).await),
        format!("The run {one} must be in the 'active' state. Current state is deleted.")
    );
    assert!(lake.metrics(&elsewhere, &[metric("m", 1, 1.0)]).await.is_ok());
    lake.restore_experiment("1").await.expect("restored");
    for id in [&one, &two] {
        let run = lake.get_run(id).await.expect("there").run;
        assert_eq!((run.lifecycle_stage, run.deleted_time), (Lifecycle::Active, None));
        assert!(lake.metrics(id, &[metric("m", 1, 1.0)]).await.is_ok());
    }
}

#[tokio::test]
async fn tags_are_set_and_deleted() {
    let lake = Lake::open().await;
    let tags = vec![("k".into(), "v".into())];
    let id = lake.create_experiment(CreateExperiment { tags, ..named("a") }).await.expect("made").to_string();
    lake.set_experiment_tag(&id, "k", "w").await.expect("set");
    assert_eq!(lake.get_experiment(&id).await.expect("there").tags.get("k").map(String::as_str), Some("w"));
    lake.delete_experiment_tag(&id, "k").await.expect("deleted");
    assert!(lake.get_experiment(&id).await.expect("there").tags.is_empty());
    assert_eq!(refusal(lake.delete_experiment_tag(&id, "k").await), "No tag with name: k in experiment with id 1");
    assert_eq!(
        refusal(lake.set_experiment_tag(&id, "k", &"v".repeat(20_001)).await),
        "'value' exceeds the maximum length of 20000 characters"
    );
    let tags = vec![("a!".into(), String::new())];
    assert!(refusal(lake.create_experiment(CreateExperiment { tags, ..named("b") }).await).contains("parameter 'key'"));
}

#[tokio::test]
async fn experiments_are_searched_in_pages() {
    let lake = Lake::open().await;
    for name in ["a1", "a2", "b1"] {
        lake.clock.advance(1000);
        lake.experiment(name).await;
    }
    lake.delete_experiment("2").await.expect("deleted");
    assert_eq!(found(&lake, "name LIKE 'a%'", ViewType::All).await, ["a2", "a1"]);
    assert_eq!(found(&lake, "name LIKE 'a%'", ViewType::ActiveOnly).await, ["a1"]);
    assert_eq!(found(&lake, "", ViewType::DeletedOnly).await, ["a2"]);
    let mut request = SearchExperiments { max_results: 1, ..SearchExperiments::default() };
    let mut names = Vec::new();
    loop {
        let page = lake.search_experiments(&request).await.expect("searched");
        names.extend(page.items.iter().map(|info| info.experiment.name.clone()));
        request.page_token = page.next_page_token;
        if request.page_token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["b1", "a1", "Default"]);
    assert_eq!(
        refusal(lake.search_experiments(&SearchExperiments::default()).await),
        "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"
    );
}

#[tokio::test]
async fn saved_views_are_bounded() {
    let lake = Lake::open().await;
    for number in 0..MOST_VIEWS {
        lake.set_experiment_tag("0", &format!("{VIEW_TAG_PREFIX}.{number}"), "{}").await.expect("set");
    }
    lake.set_experiment_tag("0", &format!("{VIEW_TAG_PREFIX}.1"), "{1}").await.expect("changed");
    let refused = lake.set_experiment_tag("0", &format!("{VIEW_TAG_PREFIX}.x"), "{}").await;
    assert!(refusal(refused).starts_with("Unable to create another custom view for experiment 0; the maximum number"));
}

#[tokio::test]
async fn experiments_made_at_once_get_ids_of_their_own() {
    let lake = Lake::open().await;
    let made =
        futures::future::join_all((0..20).map(|number| lake.create_experiment(named(&format!("e{}", number % 10)))));
    let made = made.await;
    let mut ids: Vec<u64> = made.iter().filter_map(|made| made.as_ref().ok()).map(|id| id.number()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=10).collect::<Vec<_>>());
}
