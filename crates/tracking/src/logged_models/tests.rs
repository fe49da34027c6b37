use super::*;
use crate::testing::{Lake, metric, refusal};
use crate::{DatasetScope, LoggedModelOrder};

async fn model(lake: &Lake, name: &str) -> String {
    let request = CreateLoggedModel {
        experiment_id: "0".into(),
        name: Some(name.into()),
        params: vec![("a".into(), "1".into())],
        tags: vec![("t".into(), "2".into())],
        ..CreateLoggedModel::default()
    };
    lake.create_logged_model(request).await.expect("made").model.model_id.to_string()
}

#[tokio::test]
async fn a_model_lives_from_pending_to_deleted() {
    let lake = Lake::open().await;
    let id = model(&lake, "mm").await;
    let made = lake.get_logged_model(&id, false).await.expect("there");
    assert_eq!(made.model.artifact_uri, format!("mlflow-artifacts:/0/models/{id}/artifacts"));
    assert_eq!(made.model.status, LoggedModelStatus::Pending.number());
    assert_eq!((made.params.len(), made.tags.len()), (1, 1));
    lake.clock.advance(5000);
    let ready = lake.finalize_logged_model(&id, LoggedModelStatus::Ready).await.expect("finalized").model;
    assert_eq!(ready.status, LoggedModelStatus::Ready.number());
    assert!(ready.last_update_time > ready.creation_time);
    lake.delete_logged_model(&id).await.expect("deleted");
    lake.delete_logged_model(&id).await.expect("deleted");
    let gone = format!("Logged model with ID '{id}' not found.");
    assert_eq!(refusal(lake.get_logged_model(&id, false).await), gone);
    assert_eq!(lake.get_logged_model(&id, true).await.expect("there").model.name, "mm");
    assert_eq!(
        refusal(lake.finalize_logged_model("m-x", LoggedModelStatus::Ready).await),
        "Logged model with ID 'm-x' not found."
    );
}

#[tokio::test]
async fn names_are_checked_or_made_up() {
    let lake = Lake::open().await;
    let named = |name: &str| CreateLoggedModel {
        experiment_id: "0".into(),
        name: Some(name.into()),
        ..CreateLoggedModel::default()
    };
    assert!(refusal(lake.create_logged_model(named("a/b")).await).starts_with("Invalid model name ('a/b') provided."));
    let made = lake.create_logged_model(named("")).await.expect("made");
    assert_eq!(made.model.name.split('-').count(), 3);
    let nowhere = CreateLoggedModel { experiment_id: "99".into(), ..CreateLoggedModel::default() };
    assert_eq!(refusal(lake.create_logged_model(nowhere).await), "No Experiment with id=99 exists");
}

#[tokio::test]
async fn tags_and_params_of_a_model() {
    let lake = Lake::open().await;
    let id = model(&lake, "mm").await;
    lake.set_logged_model_tags(&id, &[("t".into(), "5".into()), ("u".into(), "6".into())]).await.expect("set");
    lake.delete_logged_model_tag(&id, "t").await.expect("deleted");
    assert_eq!(
        refusal(lake.delete_logged_model_tag(&id, "t").await),
        format!("No tag with key 't' found for model with ID '{id}'.")
    );
    lake.log_logged_model_params(&id, &[("a".into(), "1".into()), ("b".into(), "2".into())]).await.expect("logged");
    let changed = lake.log_logged_model_params(&id, &[("c".into(), "1".into()), ("a".into(), "2".into())]).await;
    assert!(refusal(changed).starts_with("Changing param values is not allowed. Param with key='a'"));
    let info = lake.get_logged_model(&id, false).await.expect("there");
    assert_eq!(info.tags, [("u".into(), "6".into())]);
    assert_eq!(info.params, [("a".into(), "1".into()), ("b".into(), "2".into())]);
}

#[tokio::test]
async fn models_are_searched_in_pages_and_by_dataset() {
    let lake = Lake::open().await;
    let run = lake.run("0").await;
    let mut ids = Vec::new();
    for value in 0..3u32 {
        lake.clock.advance(1000);
        let id = model(&lake, &format!("m{value}")).await;
        let mut point = metric("acc", 1, f64::from(value));
        point.model_id = Some(id.as_str().into());
        point.dataset_name = Some(if value == 1 { "other" } else { "data" }.into());
        lake.log_metric(&run, point).await.expect("logged");
        ids.push(id);
    }
    let all = SearchLoggedModels { experiment_ids: vec!["0".into()], ..SearchLoggedModels::default() };
    let names =
        |page: Page<LoggedModelInfo>| -> Vec<String> { page.items.into_iter().map(|info| info.model.name).collect() };
    let search = async |request: &SearchLoggedModels| lake.search_logged_models(request).await.expect("searched");
    assert_eq!(names(search(&all).await), ["m2", "m1", "m0"]);
    let by_metric = LoggedModelOrder {
        field_name: "metrics.acc".into(),
        ascending: true,
        dataset_name: None,
        dataset_digest: None,
    };
    let mut paged = SearchLoggedModels { max_results: Some(2), order_by: vec![by_metric], ..all.clone() };
    let first = search(&paged).await;
    paged.page_token.clone_from(&first.next_page_token);
    assert_eq!(names(first), ["m0", "m1"]);
    let second = search(&paged).await;
    assert_eq!(second.next_page_token, None);
    assert_eq!(names(second), ["m2"]);
    let data = DatasetScope { dataset_name: Some("data".into()), dataset_digest: None };
    let on_data = SearchLoggedModels { filter: Some("metrics.acc >= 1".into()), datasets: vec![data], ..all.clone() };
    assert_eq!(names(search(&on_data).await), ["m2"]);
    lake.delete_logged_model(&ids[2]).await.expect("deleted");
    assert_eq!(names(search(&all).await), ["m1", "m0"]);
    let unnamed = SearchLoggedModels { datasets: vec![DatasetScope::default()], ..all };
    assert_eq!(
        refusal(lake.search_logged_models(&unnamed).await),
        "`dataset_name` in the `datasets` clause must be specified."
    );
}
