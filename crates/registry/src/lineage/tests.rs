use std::collections::BTreeSet;

use runlake_tracking::{CreateExperiment, CreateRun, DatasetInfo, DatasetInput, LogInputs, LogOutputs};
use runlake_types::rows::{Lifecycle, RunStatus};

use super::walk::{Link, Links, walk};
use super::*;
use crate::Error;
use crate::testing::Lake;

impl Lake {
    async fn ask(&self, of: &str, direction: Direction) -> Lineage {
        self.lineage(of, direction, LINEAGE_NODES).await.expect(of)
    }

    async fn use_dataset(&self, run_id: &str, name: &str, digest: &str) {
        let dataset = DatasetInfo {
            name: name.into(),
            digest: digest.into(),
            source_type: "local".into(),
            source: format!("/data/{name}"),
            schema: None,
            profile: None,
        };
        self.use_inputs(run_id, vec![DatasetInput { dataset, tags: Vec::new() }], Vec::new()).await;
    }

    async fn use_model(&self, run_id: &str, model_id: &str) {
        self.use_inputs(run_id, Vec::new(), vec![model_id.into()]).await;
    }

    async fn use_inputs(&self, run_id: &str, datasets: Vec<DatasetInput>, models: Vec<String>) {
        self.tracking.log_inputs(LogInputs { run_id: run_id.into(), datasets, models }).await.expect("logged");
    }

    async fn put_out(&self, run_id: &str, model_id: &str) {
        let request = LogOutputs { run_id: run_id.into(), models: vec![(model_id.into(), 0)] };
        self.tracking.log_outputs(request).await.expect("logged");
    }
}

fn ids(lineage: &Lineage) -> Vec<String> {
    lineage.nodes.iter().map(|node| node.id.to_string()).collect()
}

/// The edges as lines, nearest first.
fn lines(lineage: &Lineage) -> Vec<String> {
    let id = |place: usize| lineage.nodes[place].id.to_string();
    let line = |edge: &Edge| {
        format!("{} {}: {} {} {}", edge.direction.as_str(), edge.depth, id(edge.from), edge.kind.as_str(), id(edge.to))
    };
    lineage.edges.iter().map(line).collect()
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

fn detail<'a>(lineage: &'a Lineage, id: &str) -> Option<&'a Detail> {
    let node = lineage.nodes.iter().find(|node| node.id.to_string() == id);
    node.unwrap_or_else(|| panic!("{id} is missing among {:?}", ids(lineage))).detail.as_ref()
}

#[tokio::test]
async fn every_kind_of_edge_both_ways() {
    let lake = Lake::open().await;
    let (train, eval) = (lake.run().await, lake.run().await);
    lake.use_dataset(&train, "iris", "d1").await;
    let model = lake.logged_model(&train).await;
    lake.put_out(&train, &model).await;
    lake.use_model(&eval, &model).await;
    for name in ["Dev", "Prod"] {
        lake.model(name).await;
    }
    lake.version_of("Dev", &format!("models:/{model}"), None, None).await.expect("made");
    lake.version_of("Prod", "models:/Dev/1", None, None).await.expect("made");
    lake.version_of("Dev", &format!("runs:/{eval}/x"), None, None).await.expect("made");
    lake.edit().set_alias("Prod", "champion", "1").await.expect("set");
    let up = [
        "up 1: models:/Dev/1 copied models:/Prod/1".to_owned(),
        format!("up 2: models:/{model} registered models:/Dev/1"),
        format!("up 3: run:{train} output models:/{model}"),
        format!("up 4: dataset:iris@d1 input run:{train}"),
    ];
    let alias = "down 1: models:/Prod/1 alias models:/Prod@champion".to_owned();
    for flushed in [false, true] {
        if flushed {
            lake.flush().await;
        }
        assert_eq!(lines(&lake.ask("models:/Prod/1", Direction::Up).await), up);
        assert_eq!(lines(&lake.ask("models:/Prod/1", Direction::Down).await), [alias.as_str()]);
        let both = lake.ask("models:/Prod@champion", Direction::Both).await;
        assert_eq!(sorted(lines(&both)), sorted([up.as_slice(), std::slice::from_ref(&alias)].concat()));
        assert_eq!(both.start, [0]);
        assert_eq!(both.nodes[0].id.to_string(), "models:/Prod/1");
        assert!(!both.truncated);

        let down = lake.ask("dataset:d1", Direction::Down).await;
        assert_eq!(
            lines(&down),
            [
                format!("down 1: dataset:iris@d1 input run:{train}"),
                format!("down 2: run:{train} output models:/{model}"),
                format!("down 3: models:/{model} input run:{eval}"),
                format!("down 3: models:/{model} registered models:/Dev/1"),
                format!("down 4: run:{eval} registered models:/Dev/2"),
                "down 4: models:/Dev/1 copied models:/Prod/1".to_owned(),
                "down 5: models:/Prod/1 alias models:/Prod@champion".to_owned(),
            ]
        );
        assert!(down.nodes.iter().all(|node| node.detail.is_some()));
        let Some(Detail::Dataset { source, experiment_ids, .. }) = detail(&down, "dataset:iris@d1") else { panic!() };
        assert_eq!((source.as_str(), experiment_ids.as_slice()), ("/data/iris", [ExperimentId::DEFAULT].as_slice()));
        let Some(Detail::Run { run, experiment }) = detail(&down, &format!("run:{train}")) else { panic!() };
        assert_eq!((run.status, experiment.as_deref()), (RunStatus::Running, Some("Default")));
    }
}

#[tokio::test]
async fn what_else_descends_from_an_ancestor_is_not_told() {
    let lake = Lake::open().await;
    let run = lake.run().await;
    let (one, other) = (lake.logged_model(&run).await, lake.logged_model(&run).await);
    let both = lake.ask(&format!("models:/{one}"), Direction::Both).await;
    assert_eq!(ids(&both), [format!("models:/{one}"), format!("run:{run}")]);
    let of_run = lake.ask(&format!("runs:/{run}/model"), Direction::Down).await;
    assert_eq!(
        sorted(ids(&of_run)),
        sorted(vec![format!("run:{run}"), format!("models:/{one}"), format!("models:/{other}")])
    );
}

#[tokio::test]
async fn all_ways_to_ask() {
    let lake = Lake::open().await;
    let run = lake.run().await;
    lake.use_dataset(&run, "a@b", "d/1").await;
    lake.use_dataset(&run, "a@b", "d/2").await;
    let model = lake.logged_model(&run).await;
    let alone = lake.run().await;
    lake.model("n@m").await;
    lake.model("m").await;
    lake.model("empty").await;
    for _ in 0..2 {
        lake.version("n@m").await;
        lake.version("m").await;
    }
    lake.edit().transition("m", "1", "Staging", false).await.expect("moved");
    lake.edit().set_alias("m", "x", "1").await.expect("set");
    for (of, expected) in [
        ("models:/m/2", vec!["models:/m/2"]),
        ("models:/m", vec!["models:/m/1", "models:/m/2"]),
        ("models:/m@x", vec!["models:/m/1"]),
        ("models:/m@LATEST", vec!["models:/m/2"]),
        ("models:/m/latest", vec!["models:/m/2"]),
        ("models:/m/staging", vec!["models:/m/1"]),
        ("models:/n@m", vec!["models:/n@m/1", "models:/n@m/2"]),
        ("models:/n@m/1", vec!["models:/n@m/1"]),
        ("dataset:d/1", vec!["dataset:a@b@d/1"]),
        ("dataset:a@b@d/1", vec!["dataset:a@b@d/1"]),
        ("dataset:a@b", vec!["dataset:a@b@d/1", "dataset:a@b@d/2"]),
        (&format!("run:{alone}"), vec![&*format!("run:{alone}")]),
        (&format!("runs:/{run}"), vec![&*format!("run:{run}")]),
        (&format!("models:/{model}"), vec![&*format!("models:/{model}")]),
    ] {
        let lineage = lake.ask(of, Direction::Both).await;
        let start = lineage.start.iter().map(|place| lineage.nodes[*place].id.to_string()).collect();
        assert_eq!(sorted::<String>(start), expected, "{of}");
        assert_eq!(
            lake.ask(&lineage.nodes[0].id.to_string(), Direction::Up).await.start,
            [0],
            "{of}: ids can be asked for"
        );
    }
    for unknown in [
        "models:/m/3",
        "models:/m/99999999999999999999",
        "models:/m/Production",
        "models:/m@y",
        "models:/nobody",
        "models:/nobody/latest",
        "models:/empty",
        "models:/m-0",
        "run:nobody",
        "dataset:nothing",
    ] {
        let error = lake.lineage(unknown, Direction::Up, 9).await.expect_err(unknown);
        assert!(matches!(error, Error::NotFound(_)), "{unknown}: {error}");
        let named = unknown.rsplit([':', '/']).next().expect("a part");
        assert!(error.to_string().contains(named), "{unknown}: {error}");
    }
    for malformed in [
        "",
        "m",
        "m/1",
        "models:",
        "models:/",
        "models:/m/",
        "models:/m@",
        "models:/a/b/c",
        "run:",
        "runs:/",
        "dataset:",
    ] {
        let error = lake.lineage(malformed, Direction::Up, 9).await.expect_err(malformed);
        assert!(matches!(error, Error::InvalidParameter(_)), "{malformed}: {error}");
        assert!(error.to_string().contains("models:/Name/3"), "{malformed}: {error}");
    }
    assert!(lake.lineage("models:/m/nostage", Direction::Up, 9).await.is_err());
}

#[tokio::test]
async fn a_dataset_of_several_experiments_is_one() {
    let lake = Lake::open().await;
    let other = CreateExperiment { name: "other".into(), ..CreateExperiment::default() };
    let other = lake.tracking.create_experiment(other).await.expect("made").to_string();
    let here = lake.run().await;
    let request = CreateRun { experiment_id: other.clone(), ..CreateRun::default() };
    let there = lake.tracking.create_run(request).await.expect("made").run.run_id.to_string();
    lake.use_dataset(&here, "iris", "d1").await;
    lake.use_dataset(&there, "iris", "d1").await;
    let down = lake.ask("dataset:iris", Direction::Down).await;
    assert_eq!(ids(&down).len(), 3);
    let Some(Detail::Dataset { experiment_ids, .. }) = detail(&down, "dataset:iris@d1") else { panic!() };
    assert_eq!(experiment_ids.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0", &other]);
}

#[tokio::test]
async fn what_is_deleted_or_elsewhere_is_told_as_such() {
    let lake = Lake::open().await;
    let run = lake.run().await;
    lake.use_model(&run, "m-elsewhere").await;
    let model = lake.logged_model(&run).await;
    lake.model("m").await;
    lake.model("copy").await;
    lake.version_of("m", &format!("models:/{model}"), None, None).await.expect("made");
    lake.version_of("copy", "models:/m/1", None, None).await.expect("made");
    lake.version_of("m", "runs:/0123abcd/model", None, None).await.expect("made");
    lake.edit().delete_version("m", "1").await.expect("deleted");
    lake.tracking.delete_logged_model(&model).await.expect("deleted");
    lake.tracking.delete_run(&run).await.expect("deleted");

    let up = lake.ask("models:/copy/1", Direction::Up).await;
    assert_eq!(
        sorted(lines(&up)),
        sorted(vec![
            "up 1: models:/m/1 copied models:/copy/1".to_owned(),
            format!("up 1: models:/{model} registered models:/copy/1"),
            format!("up 2: run:{run} output models:/{model}"),
            format!("up 3: models:/m-elsewhere input run:{run}"),
        ])
    );
    assert_eq!(detail(&up, "models:/m/1"), None);
    assert_eq!(detail(&up, "models:/m-elsewhere"), None);
    let Some(Detail::LoggedModel(row)) = detail(&up, &format!("models:/{model}")) else { panic!() };
    assert_eq!(row.lifecycle_stage, Lifecycle::Deleted);
    let Some(Detail::Run { run: row, .. }) = detail(&up, &format!("run:{run}")) else { panic!() };
    assert_eq!(row.lifecycle_stage, Lifecycle::Deleted);

    let elsewhere = lake.ask("run:0123abcd", Direction::Down).await;
    assert_eq!(ids(&elsewhere), ["run:0123abcd", "models:/m/2"]);
    assert_eq!(elsewhere.nodes[0].detail, None);
}

#[tokio::test]
async fn an_original_is_found_under_its_new_name() {
    let lake = Lake::open().await;
    for name in ["a", "b"] {
        lake.model(name).await;
    }
    lake.version("a").await;
    lake.version_of("b", "models:/a/1", None, None).await.expect("made");
    let up = async |of: &str| lines(&lake.ask(of, Direction::Up).await);
    lake.edit().rename_model("a", "c").await.expect("renamed");
    lake.edit().rename_model("c", "d").await.expect("renamed");
    assert_eq!(up("models:/b/1").await, ["up 1: models:/d/1 copied models:/b/1"]);

    // Somebody else takes the old name, and the copy takes over the original's in between.
    lake.clock.advance(1);
    lake.model("a").await;
    lake.version("a").await;
    assert_eq!(up("models:/b/1").await, ["up 1: models:/d/1 copied models:/b/1"]);
    lake.edit().rename_model("a", "x").await.expect("renamed");
    lake.edit().rename_model("b", "a").await.expect("renamed");
    lake.flush().await;
    assert_eq!(up("models:/a/1").await, ["up 1: models:/d/1 copied models:/a/1"]);

    lake.edit().delete_model("d").await.expect("deleted");
    assert_eq!(up("models:/a/1").await, ["up 1: models:/d/1 copied models:/a/1"]);
    lake.clock.advance(1);
    lake.model("d").await;
    lake.version("d").await;
    assert_eq!(up("models:/a/1").await, [""; 0], "a younger one of that name is not what it was copied from");
}

#[tokio::test]
async fn a_run_is_told_where_the_model_does_not_tell_it() {
    let lake = Lake::open().await;
    let (made, registered) = (lake.run().await, lake.run().await);
    let model = lake.logged_model(&made).await;
    lake.model("m").await;
    lake.version_of("m", &format!("models:/{model}"), Some(&registered), None).await.expect("made");
    lake.version_of("m", &format!("models:/{model}"), Some(&made), None).await.expect("made");
    let up = async |of: &str| sorted(lines(&lake.ask(of, Direction::Up).await));
    let of_model = |version: u8| format!("up 1: models:/{model} registered models:/m/{version}");
    let of_run = format!("up 2: run:{made} output models:/{model}");
    let direct = format!("up 1: run:{registered} registered models:/m/1");
    assert_eq!(up("models:/m/1").await, sorted(vec![of_model(1), direct, of_run.clone()]));
    assert_eq!(up("models:/m/2").await, sorted(vec![of_model(2), of_run]));
}

#[tokio::test]
async fn too_many_nodes_are_cut_off() {
    let lake = Lake::open().await;
    lake.model("m").await;
    for _ in 0..5 {
        let run = lake.run().await;
        lake.use_dataset(&run, "iris", "d1").await;
        lake.version("m").await;
    }
    for (most, nodes, truncated) in [(3, 3, true), (5, 5, true), (6, 6, false)] {
        let cut = lake.lineage("dataset:d1", Direction::Down, most).await.expect("found");
        assert_eq!((cut.nodes.len(), cut.edges.len(), cut.truncated), (nodes, nodes - 1, truncated), "{most}");
    }
    let cut = lake.lineage("models:/m", Direction::Both, 2).await.expect("found");
    assert_eq!((cut.nodes.len(), cut.start.len(), cut.truncated), (2, 2, true));
}

const NODES: u32 = 9;

/// What can be reached, found by asking for every edge again and again.
fn reachable(edges: &[(u32, u32)], start: &[u32], up: bool) -> BTreeSet<u32> {
    let mut reached: BTreeSet<u32> = start.iter().copied().collect();
    loop {
        let before = reached.len();
        for (from, to) in edges {
            let (near, far) = if up { (to, from) } else { (from, to) };
            if reached.contains(near) {
                reached.insert(*far);
            }
        }
        if reached.len() == before {
            return reached;
        }
    }
}

proptest::proptest! {
    /// Any graph, cycles and edges from a node to itself among them.
    #[test]
    fn a_walk_reaches_what_can_be_reached(
        edges in proptest::collection::vec((0..NODES, 0..NODES), 0..24),
        start in proptest::collection::vec(0..NODES, 1..3),
        most in 1..=NODES as usize,
    ) {
        let mut links = Links::default();
        for (from, to) in &edges {
            links.add(Link { from: *from, to: *to, kind: EdgeKind::Input });
        }
        let (above, below) = (reachable(&edges, &start, true), reachable(&edges, &start, false));
        let both = above.union(&below).copied().collect();
        for (direction, expected) in [(Direction::Up, &above), (Direction::Down, &below), (Direction::Both, &both)] {
            let walked = walk(&links, &start, direction, usize::MAX);
            let nodes: BTreeSet<u32> = walked.nodes.iter().copied().collect();
            proptest::prop_assert_eq!(nodes.len(), walked.nodes.len(), "each node once");
            proptest::prop_assert_eq!(&nodes, expected);
            proptest::prop_assert!(!walked.truncated);
            let within = |set: &BTreeSet<u32>, (from, to): &(u32, u32)| set.contains(from) && set.contains(to);
            let told = edges.iter().filter(|edge| match direction {
                Direction::Up => within(&above, edge),
                Direction::Down => within(&below, edge),
                Direction::Both => within(&above, edge) || within(&below, edge),
            });
            proptest::prop_assert_eq!(walked.steps.len(), told.count(), "every edge between them, once");
            proptest::prop_assert!(walked.steps.is_sorted_by_key(|step| step.depth));

            let cut = walk(&links, &start, direction, most);
            proptest::prop_assert_eq!(cut.nodes.as_slice(), &walked.nodes[..most.min(walked.nodes.len())]);
            proptest::prop_assert_eq!(cut.truncated, walked.nodes.len() > most);
            let is_whole = |link: &Link| cut.nodes.contains(&link.from) && cut.nodes.contains(&link.to);
            proptest::prop_assert!(cut.steps.iter().all(|step| is_whole(&step.link)));
        }
    }
}
