use runlake_types::{ErrorKind, Timestamp};

use super::*;
use crate::testing::{Lake, START_MS, metric, pair, refusal, value};

#[tokio::test]
async fn a_new_run_has_what_it_was_given() {
    let lake = Lake::open().await;
    let made = lake
        .run_with("0", |request| {
            request.user_id = "u".into();
            request.run_name = Some("rn".into());
            request.tags = vec![("mlflow.user".into(), "bob".into()), (PARENT_RUN_ID.into(), "p".into())];
        })
        .await;
    let run = &made.run;
    assert_eq!((run.run_name.as_str(), run.user_id.as_str(), run.status), ("rn", "u", RunStatus::Running));
    assert_eq!(run.artifact_uri, format!("mlflow-artifacts:/0/{}/artifacts", run.run_id));
    assert_eq!(run.parent_run_id.as_deref(), Some("p"));
    assert_eq!(run.start_time, Timestamp::from_millis(START_MS));
    assert_eq!(value(&made.tags, RUN_NAME), Some("rn"));
    let read = lake.get_run(run.run_id.as_str()).await.expect("there");
    assert_eq!(read, made);
}

#[tokio::test]
async fn names_come_from_argument_tag_or_chance() {
    let lake = Lake::open().await;
    let tag = |name: &str| vec![(RUN_NAME.into(), name.into())];
    let by_tag = lake.run_with("0", |request| request.tags = tag("t")).await;
    assert_eq!(by_tag.run.run_name, "t");
    let by_chance = lake.run_with("0", |request| request.run_name = Some(String::new())).await;
    assert_eq!(by_chance.run.run_name.split('-').count(), 3);
    assert_eq!(value(&by_chance.tags, RUN_NAME), Some(by_chance.run.run_name.as_str()));
    let request =
        CreateRun { experiment_id: "0".into(), run_name: Some("a".into()), tags: tag("b"), ..CreateRun::default() };
    assert_eq!(
        refusal(lake.create_run(request).await),
        "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values (run_name='a', \
         mlflow.runName='b')."
    );
}

#[tokio::test]
async fn a_run_needs_an_experiment() {
    let lake = Lake::open().await;
    for (id, message) in [
        ("", "Missing value for required parameter 'experiment_id'."),
        ("abc", "Invalid experiment ID 'abc'. Experiment ID must be a valid integer."),
        ("77", "No Experiment with id=77 exists"),
    ] {
        let request = CreateRun { experiment_id: id.into(), ..CreateRun::default() };
        assert_eq!(refusal(lake.create_run(request).await), message);
    }
    let unknown = lake.get_run("nope").await.expect_err("unknown");
    assert_eq!((unknown.kind(), unknown.to_string().as_str()), (ErrorKind::NotFound, "Run with id=nope not found"));
}

#[tokio::test]
async fn updates_change_only_what_is_given() {
    let lake = Lake::open().await;
    let id = lake.run("0").await;
    let update = |change: UpdateRun| lake.update_run(UpdateRun { run_id: id.clone(), ..change });
    let name = lake.get_run(&id).await.expect("there").run.run_name;
    let run = update(UpdateRun { end_time: Some(5), ..UpdateRun::default() }).await.expect("updated");
    assert_eq!((run.status, run.end_time), (RunStatus::Running, Timestamp::from_millis(5)));
    let run =
        update(UpdateRun { status: Some(RunStatus::Failed), run_name: Some(String::new()), ..UpdateRun::default() })
            .await
            .expect("updated");
    assert_eq!((run.status, run.end_time, run.run_name), (RunStatus::Failed, Timestamp::from_millis(5), name));
    let run = update(UpdateRun { run_name: Some("n".into()), ..UpdateRun::default() }).await.expect("updated");
    assert_eq!(run.run_name, "n");
    let read = lake.get_run(&id).await.expect("there");
    assert_eq!((read.run, value(&read.tags, RUN_NAME)), (run, Some("n")));
    let far = update(UpdateRun { end_time: Some(i64::MAX), ..UpdateRun::default() }).await;
    assert!(refusal(far).contains("parameter 'end_time'"));
}

#[tokio::test]
async fn a_deleted_run_is_read_but_not_written() {
    let lake = Lake::open().await;
    let id = lake.run("0").await;
    for _ in 0..2 {
        lake.delete_run(&id).await.expect("deleted");
    }
    let refused = format!("The run {id} must be in the 'active' state. Current state is deleted.");
    let update = UpdateRun { run_id: id.clone(), ..UpdateRun::default() };
    assert_eq!(refusal(lake.update_run(update).await), refused);
    assert_eq!(refusal(lake.log_param(&id, "p", "1").await), refused);
    assert_eq!(refusal(lake.set_tag(&id, "t", "1").await), refused);
    assert!(lake.get_run(&id).await.is_ok());
    for _ in 0..2 {
        lake.restore_run(&id).await.expect("restored");
    }
    assert!(lake.set_tag(&id, "t", "1").await.is_ok());
    assert_eq!(refusal(lake.delete_run("zz").await), "Run with id=zz not found");
}

#[tokio::test]
async fn runs_are_searched_in_pages() {
    let lake = Lake::open().await;
    let mut ids = Vec::new();
    for start in 0..5 {
        let made = lake.run_with("0", |request| request.start_time = Some(START_MS + start)).await;
        ids.insert(0, made.run.run_id.to_string());
        lake.metrics(&ids[0], &[metric("m", 1, 1.0)]).await.expect("logged");
        lake.params(&ids[0], &[pair("p", "1")]).await.expect("logged");
    }
    let mut request =
        SearchRuns { experiment_ids: vec!["0".into(), "99".into()], max_results: Some(2), ..SearchRuns::default() };
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let page = lake.search_runs(&request).await.expect("searched");
        found.extend(page.items);
        pages += 1;
        request.page_token = page.next_page_token;
        if request.page_token.is_none() {
            break;
        }
    }
    assert_eq!((pages, found.iter().map(|info| info.run.run_id.to_string()).collect::<Vec<_>>()), (3, ids));
    assert_eq!(found[0], lake.get_run(found[0].run.run_id.as_str()).await.expect("there"));
}

#[tokio::test]
async fn searches_are_checked() {
    let lake = Lake::open().await;
    lake.run("0").await;
    let all = SearchRuns { experiment_ids: vec!["0".into()], ..SearchRuns::default() };
    let with = |max_results| SearchRuns { max_results: Some(max_results), ..all.clone() };
    assert!(refusal(lake.search_runs(&with(0)).await).ends_with("It must be a positive integer"));
    assert!(
        refusal(lake.search_runs(&with(50_001)).await).starts_with("Invalid value 50001 for parameter 'max_results'")
    );
    let none = lake.search_runs(&SearchRuns::default()).await.expect("searched");
    assert_eq!((none.items.len(), none.next_page_token), (0, None));
    let bad = SearchRuns { experiment_ids: vec!["abc".into()], ..SearchRuns::default() };
    assert!(refusal(lake.search_runs(&bad).await).starts_with("Invalid experiment ID 'abc'"));
    let bad = SearchRuns { filter: Some("params.x = 1 2".into()), ..all.clone() };
    assert_eq!(lake.search_runs(&bad).await.expect_err("refused").kind(), ErrorKind::Invalid);
    let bad = SearchRuns { page_token: Some("!".into()), ..all.clone() };
    assert!(refusal(lake.search_runs(&bad).await).starts_with("Invalid page token"));
    assert_eq!(lake.search_runs(&all).await.expect("searched").items.len(), 1);
}

#[tokio::test]
async fn rows_of_many_runs_are_told_apart() {
    let lake = Lake::open().await;
    let mut ids = Vec::new();
    for _ in 0..SINGLE_LOOKUPS + 4 {
        ids.push(RunId::from_stored(&lake.run("0").await));
    }
    lake.set_tag(ids[3].as_str(), "t", "3").await.expect("set");
    let view = lake.engine().view();
    let many = of_runs::<Tag>(&view, &ids, |tag| &tag.run_id).await.expect("read");
    for (id, tags) in ids.iter().zip(many) {
        assert_eq!(tags, view.of_run::<Tag>(id).await.expect("read"));
    }
    let few = of_runs::<Tag>(&view, &ids[2..4], |tag| &tag.run_id).await.expect("read");
    assert_eq!(few.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
}
