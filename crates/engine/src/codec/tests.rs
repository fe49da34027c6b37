use runlake_types::rows::{Lifecycle, Param, Row as _, Run, RunStatus, Tag};
use runlake_types::{Attribution, ExperimentId, Point, RunId, Series, Timestamp};

use super::*;

fn run_id(number: u8) -> RunId {
    RunId::from_stored(&format!("{number:032x}"))
}

fn tag(value: &str) -> Tag {
    Tag { run_id: run_id(1), key: "k".into(), experiment_id: ExperimentId::DEFAULT, value: value.into() }
}

fn run(number: u8) -> Run {
    Run {
        run_id: run_id(number),
        experiment_id: ExperimentId::new(7),
        run_name: "a name, ✓".into(),
        user_id: "somebody".into(),
        status: RunStatus::Finished,
        start_time: Some(Timestamp::from_micros(1_700_000_000_123_456)),
        end_time: None,
        lifecycle_stage: Lifecycle::Deleted,
        deleted_time: Some(Timestamp::from_micros(-1)),
        artifact_uri: String::new(),
        parent_run_id: (number > 1).then(|| run_id(1).to_string()),
    }
}

/// What `data/engine/v1/group.bin` holds: several tables, deletions, the same key twice, and points of two series, mixed.
fn group() -> WriteBatch {
    let mut group = WriteBatch::default();
    group.put(&run(1)).put(&run(2));
    group.put(&Param { run_id: run_id(1), key: "lr".into(), experiment_id: ExperimentId::new(7), value: "0.1".into() });
    group.put(&tag("old")).delete(TableId::Tags, tag("").key()).put(&tag("new"));
    let series = |key: &str, attribution| Series {
        run_id: run_id(1),
        experiment_id: ExperimentId::new(7),
        key: key.into(),
        attribution,
    };
    let loss = group.metrics.add_series(series("loss", None));
    let attribution =
        Attribution { model_id: Some("m-1".into()), dataset_name: Some("train".into()), dataset_digest: None };
    let accuracy = group.metrics.add_series(series("accuracy/top 5", Some(attribution.into())));
    let values = [0.1, -0.0, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    for (step, value) in (-2..).zip(values) {
        let timestamp = Timestamp::from_micros(1_700_000_000_000_000 + step);
        group.metrics.push(if step % 2 == 0 { loss } else { accuracy }, Point { step, timestamp, value });
    }
    group
}

/// Groups as text, in which NaN equals NaN and 0 is not -0.
fn text(group: &WriteBatch) -> String {
    format!("{group:#?}")
}

#[test]
fn a_group_survives_the_log() {
    let mut payload = Vec::new();
    encode(&[group()], &mut payload).expect("encodes");
    assert_eq!(text(&decode(&payload).expect("decodes")), text(&group()));
}

#[test]
fn a_group_of_the_first_version_is_read_by_every_later_one() {
    let golden = include_bytes!("../../../../data/engine/v1/group.bin");
    let decoded = decode(golden).expect("decodes");
    assert_eq!(text(&decoded), text(&group()));
    let mut again = Vec::new();
    encode(std::slice::from_ref(&decoded), &mut again).expect("encodes");
    assert_eq!(text(&decode(&again).expect("decodes")), text(&group()));
}

#[test]
fn a_cut_payload_is_an_error_and_not_a_panic() {
    let mut payload = Vec::new();
    encode(&[group()], &mut payload).expect("encodes");
    for length in 0..payload.len() {
        // Cut between two sections it is a shorter group, which the frame's checksum rules out.
        if let Ok(part) = decode(&payload[..length]) {
            assert!(part.changes.len() < group().changes.len());
        }
    }
}
