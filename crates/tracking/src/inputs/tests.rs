use super::*;
use crate::testing::{Lake, refusal};

fn dataset(name: &str, source: &str, context: Option<&str>) -> DatasetInput {
    DatasetInput {
        dataset: DatasetInfo {
            name: name.into(),
            digest: "d".into(),
            source_type: "local".into(),
            source: source.into(),
            schema: Some("{}".into()),
            profile: None,
        },
        tags: context.map(|context| (CONTEXT.to_owned(), context.to_owned())).into_iter().collect(),
    }
}

async fn log(lake: &Lake, run_id: &str, datasets: Vec<DatasetInput>, models: &[&str]) -> Result<()> {
    let models = models.iter().map(|id| (*id).to_owned()).collect();
    lake.log_inputs(LogInputs { run_id: run_id.into(), datasets, models }).await
}

#[tokio::test]
async fn inputs_and_outputs_are_read_back() {
    let lake = Lake::open().await;
    let id = lake.run("0").await;
    let given = vec![dataset("b", "s", Some("train")), dataset("a", "s", None)];
    log(&lake, &id, given.clone(), &["m-1"]).await.expect("logged");
    let models = vec![("m-2".into(), 3)];
    for _ in 0..2 {
        lake.log_outputs(LogOutputs { run_id: id.clone(), models: models.clone() }).await.expect("logged");
    }
    let run = lake.get_run(&id).await.expect("there");
    assert_eq!(run.dataset_inputs, [given[1].clone(), given[0].clone()]);
    assert_eq!(run.model_inputs, [ModelId::from_stored("m-1")]);
    assert_eq!(run.model_outputs, [ModelOutput { model_id: ModelId::from_stored("m-2"), step: 3 }]);
}

#[tokio::test]
async fn the_first_word_on_a_dataset_and_its_use_stays() {
    let lake = Lake::open().await;
    let (one, two) = (lake.run("0").await, lake.run("0").await);
    let twice = vec![dataset("a", "first", Some("train")), dataset("a", "second", Some("eval"))];
    log(&lake, &one, twice, &[]).await.expect("logged");
    log(&lake, &one, vec![dataset("a", "third", Some("test"))], &[]).await.expect("logged");
    log(&lake, &two, vec![dataset("a", "fourth", Some("eval"))], &[]).await.expect("logged");
    let inputs = lake.get_run(&one).await.expect("there").dataset_inputs;
    assert_eq!(inputs, [dataset("a", "first", Some("train"))]);
    let inputs = lake.get_run(&two).await.expect("there").dataset_inputs;
    assert_eq!(inputs, [dataset("a", "first", Some("eval"))]);
}

#[tokio::test]
async fn inputs_are_checked() {
    let lake = Lake::open().await;
    let id = lake.run("0").await;
    assert!(refusal(log(&lake, "bad id", Vec::new(), &[]).await).contains("parameter 'run_id'"));
    assert_eq!(refusal(log(&lake, "nope", Vec::new(), &[]).await), "Run with id=nope not found");
    assert!(refusal(log(&lake, &id, vec![dataset("", "s", None)], &[]).await).contains("datasets[0].dataset.name"));
    let long = vec![dataset(&"n".repeat(501), "s", None)];
    assert_eq!(refusal(log(&lake, &id, long, &[]).await), "'name' exceeds the maximum length of 500 characters");
    lake.delete_run(&id).await.expect("deleted");
    assert!(refusal(log(&lake, &id, Vec::new(), &["m"]).await).contains("must be in the 'active' state"));
}

#[tokio::test]
async fn datasets_in_use_are_listed_once_for_each_context() {
    let lake = Lake::open().await;
    let other = lake.experiment("other").await;
    let (one, two, three) = (lake.run("0").await, lake.run("0").await, lake.run(&other).await);
    log(&lake, &one, vec![dataset("a", "s", Some("train")), dataset("b", "s", None)], &["m-1"]).await.expect("logged");
    log(&lake, &two, vec![dataset("a", "s", Some("train"))], &[]).await.expect("logged");
    log(&lake, &three, vec![dataset("a", "s", Some("eval"))], &[]).await.expect("logged");
    let shown = |found: Vec<DatasetSummary>| -> Vec<String> {
        found
            .into_iter()
            .map(|found| format!("{}:{}:{}", found.experiment_id, found.name, found.context.unwrap_or_default()))
            .collect()
    };
    let found = lake.search_datasets(&["0".into(), "77".into()]).await.expect("searched");
    assert_eq!(shown(found), ["0:a:train", "0:b:"]);
    let found = lake.search_datasets(&[other]).await.expect("searched");
    assert_eq!(shown(found), ["1:a:eval"]);
    assert_eq!(
        refusal(lake.search_datasets(&[]).await),
        "SearchDatasets request must specify at least one experiment_id."
    );
    assert_eq!(
        refusal(lake.search_datasets(&vec!["0".to_owned(); 21]).await),
        "SearchDatasets request cannot specify more than 20 experiment_ids. Received 21 experiment_ids."
    );
}

#[test]
fn ids_of_datasets_never_change() {
    let id = dataset_id(ExperimentId::new(3), "name", "digest");
    assert_eq!(id, dataset_id(ExperimentId::new(3), "name", "digest"));
    assert_eq!(id, "d3e8f78a4d538f20e54e0dd9b049e1af");
    assert_ne!(id, dataset_id(ExperimentId::new(3), "named", "igest"));
}
