use std::sync::Arc;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::{Float16Type, Int8Type, Int32Type};
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float16Array, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, LargeStringArray, NullArray, RecordBatch, StringArray, StringViewArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array,
    UInt16Array, UInt32Array, UInt64Array,
};
use runlake_types::KeyBuilder;
use runlake_types::rows::LoggedModelMetric;

use super::*;
use crate::CreateLoggedModel;
use crate::testing::{Lake, value};

const NOW: Timestamp = Timestamp::from_micros(77_000);

fn text(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(name, array)| (*name, Arc::clone(array), true)))
        .expect("of one length")
}

/// Points of one run and key with the given columns beside.
fn points(run: &str, values: ArrayRef, more: &[(&str, ArrayRef)]) -> RecordBatch {
    let count = values.len();
    let mut columns = vec![("run_id", text(&vec![run; count])), ("key", text(&vec!["m"; count])), ("value", values)];
    columns.extend(more.iter().map(|(name, array)| (*name, Arc::clone(array))));
    batch(&columns)
}

fn doubles(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

impl Lake {
    async fn take(&self, target: Target, batch: &RecordBatch, id: Option<&str>) -> Result<(), Refused> {
        let rows = Rows::read(target, batch, NOW, true)?;
        let id = id.map(|id| BatchId::parse("", id)).transpose()?;
        Ok(self.ingest(rows, id).await?.durable().await?)
    }

    async fn refuses(&self, target: Target, batch: &RecordBatch) -> String {
        self.take(target, batch, None).await.expect_err("refused").to_string()
    }

    async fn values(&self, run: &str, key: &str) -> Vec<(i64, i64, f64)> {
        let history = self.engine().view().history(&RunId::from_stored(run), key).await.expect("reads");
        history.iter().map(|point| (point.step, point.timestamp.micros(), point.value)).collect()
    }
}

#[tokio::test]
async fn every_type_that_fits_is_taken() {
    let lake = Lake::open().await;
    let numbers: [ArrayRef; 11] = [
        Arc::new(Float64Array::from(vec![3.0])),
        Arc::new(Float32Array::from(vec![3.0])),
        Arc::new(Float16Array::from(vec![<Float16Type as arrow_array::ArrowPrimitiveType>::Native::from_f32(3.0)])),
        Arc::new(Int8Array::from(vec![3])),
        Arc::new(Int16Array::from(vec![3])),
        Arc::new(Int32Array::from(vec![3])),
        Arc::new(Int64Array::from(vec![3])),
        Arc::new(UInt8Array::from(vec![3])),
        Arc::new(UInt16Array::from(vec![3])),
        Arc::new(UInt32Array::from(vec![3])),
        Arc::new(UInt64Array::from(vec![3])),
    ];
    for array in &numbers {
        let run = lake.run("0").await;
        let mut more = Vec::new();
        if array.data_type().is_integer() {
            more = vec![("step", Arc::clone(array)), ("timestamp", Arc::clone(array))];
        }
        lake.take(Target::Metrics, &points(&run, Arc::clone(array), &more), None).await.expect("taken");
        let expected = if more.is_empty() { (0, NOW.micros(), 3.0) } else { (3, 3000, 3.0) };
        assert_eq!(lake.values(&run, "m").await, [expected], "{}", array.data_type());
    }
    let times: [(ArrayRef, i64); 7] = [
        (Arc::new(TimestampSecondArray::from(vec![2])), 2_000_000),
        (Arc::new(TimestampMillisecondArray::from(vec![2]).with_timezone("+02:00")), 2000),
        (Arc::new(TimestampMicrosecondArray::from(vec![2])), 2),
        (Arc::new(TimestampNanosecondArray::from(vec![2999]).with_timezone("UTC")), 2),
        (Arc::new(TimestampMillisecondArray::from(vec![None])), NOW.micros()),
        (Arc::new(Int64Array::from(vec![None])), NOW.micros()),
        (Arc::new(NullArray::new(1)), NOW.micros()),
    ];
    for (array, micros) in times {
        let run = lake.run("0").await;
        let shown = array.data_type().to_string();
        lake.take(Target::Metrics, &points(&run, doubles(&[0.5]), &[("timestamp", array)]), None).await.expect("taken");
        assert_eq!(lake.values(&run, "m").await, [(0, micros, 0.5)], "{shown}");
    }
}

#[tokio::test]
async fn text_may_lie_in_memory_in_any_way() {
    let lake = Lake::open().await;
    let run = lake.run("0").await;
    let keys = ["a", "b", "a"];
    let mut dictionary = StringDictionaryBuilder::<Int8Type>::new();
    keys.iter().for_each(|key| dictionary.append_value(key));
    // One text twice among the values, and one that no row has.
    let twice = DictionaryArray::<Int32Type>::new(
        Int32Array::from(vec![0, 1, 3]),
        Arc::new(LargeStringArray::from(vec!["a", "b", "bad\n", "a"])),
    );
    let ways: [ArrayRef; 5] = [
        text(&keys),
        Arc::new(LargeStringArray::from(keys.to_vec())),
        Arc::new(StringViewArray::from(keys.to_vec())),
        Arc::new(dictionary.finish()),
        Arc::new(twice),
    ];
    for (turn, keys) in (0i8..).zip(ways) {
        let steps: ArrayRef = Arc::new(Int8Array::from(vec![turn; 3]));
        let columns = [
            ("run_id", text(&[run.as_str(); 3])),
            ("key", keys),
            ("value", doubles(&[1.0, 2.0, 3.0])),
            ("step", steps),
        ];
        lake.take(Target::Metrics, &batch(&columns), None).await.expect("taken");
    }
    assert_eq!((lake.values(&run, "a").await.len(), lake.values(&run, "b").await.len()), (10, 5));
}

#[tokio::test]
async fn points_of_many_runs_find_their_series() {
    let lake = Lake::open().await;
    let mut runs = Vec::new();
    for _ in 0..7 {
        runs.push(lake.run("0").await);
    }
    let rows: Vec<(usize, String, f64)> =
        (0..1000u32).map(|row| ((row * 13 % 7) as usize, format!("k{}", row * 31 % 11), f64::from(row))).collect();
    let run_ids: Vec<&str> = rows.iter().map(|(run, _, _)| runs[*run].as_str()).collect();
    let keys: Vec<&str> = rows.iter().map(|(_, key, _)| key.as_str()).collect();
    let values: Vec<f64> = rows.iter().map(|(_, _, value)| *value).collect();
    let columns = [("value", doubles(&values)), ("key", text(&keys)), ("run_id", text(&run_ids))];
    lake.take(Target::Metrics, &batch(&columns), None).await.expect("taken");
    for (at, run) in runs.iter().enumerate() {
        for key in 0..11 {
            let key = format!("k{key}");
            let expected: Vec<f64> =
                rows.iter().filter(|(r, k, _)| *r == at && *k == key).map(|(_, _, value)| *value).collect();
            let found: Vec<f64> = lake.values(run, &key).await.iter().map(|(_, _, value)| *value).collect();
            assert_eq!(found, expected);
        }
    }
}

#[tokio::test]
async fn points_know_what_they_were_measured_on() {
    let lake = Lake::open().await;
    let run = lake.run("0").await;
    let request = CreateLoggedModel { experiment_id: "0".into(), ..CreateLoggedModel::default() };
    let model = lake.create_logged_model(request).await.expect("made").model.model_id.to_string();
    let models: ArrayRef = Arc::new(StringArray::from(vec![Some(model.as_str()), None, Some("")]));
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("d"), Some("d"), None]));
    let more = [("model_id", models), ("dataset_name", names)];
    lake.take(Target::Metrics, &points(&run, doubles(&[1.0, 2.0, 3.0]), &more), None).await.expect("taken");
    let kept = lake.engine().view().scan::<LoggedModelMetric>(&KeyBuilder::default().text(&model).build()).await;
    let kept = kept.expect("reads");
    assert_eq!((kept.len(), kept[0].value, kept[0].dataset_name.as_deref()), (1, 1.0, Some("d")));
    let unknown = [("model_id", text(&["m-unknown", "m-unknown"]))];
    let refused = lake.refuses(Target::Metrics, &points(&run, doubles(&[4.0, 5.0]), &unknown)).await;
    assert_eq!(refused, "row 0: Logged model with ID 'm-unknown' not found.");
}

#[tokio::test]
async fn schemas_that_do_not_fit_are_refused_by_name() {
    let one = |name: &str, array: ArrayRef| {
        let mut columns = vec![("run_id", text(&["r"])), ("key", text(&["k"])), ("value", doubles(&[1.0]))];
        columns.retain(|(column, _)| *column != name);
        columns.push((name, array));
        batch(&columns)
    };
    let int: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let flag: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    for (batch, expected) in [
        (
            one("stap", Arc::clone(&int)),
            "metrics have no column 'stap'; they have run_id, key, value, step, timestamp, model_id, dataset_name, \
             dataset_digest, experiment_id",
        ),
        (
            one("key", Arc::clone(&int)),
            "the column 'key' is of type Int64; it takes text (Utf8, LargeUtf8, Utf8View, or a dictionary of them)",
        ),
        (one("value", flag), "the column 'value' is of type Boolean; it takes an integer or floating-point type"),
        (one("step", doubles(&[1.0])), "the column 'step' is of type Float64; it takes an integer type"),
        (
            one("timestamp", text(&["now"])),
            "the column 'timestamp' is of type Utf8; it takes a timestamp of any unit, or an integer: milliseconds since \
             1970",
        ),
        (
            one("value", Arc::new(NullArray::new(1))),
            "the column 'value' is of type Null; it takes an integer or floating-point type",
        ),
        (batch(&[("run_id", text(&["r"])), ("value", doubles(&[1.0]))]), "metrics need the column 'key'"),
        (
            batch(&[
                ("run_id", text(&["r"])),
                ("key", text(&["k"])),
                ("value", doubles(&[1.0])),
                ("key", text(&["k"])),
            ]),
            "the column 'key' is there twice",
        ),
    ] {
        let refused = Rows::read(Target::Metrics, &batch, NOW, true).expect_err("refused");
        assert_eq!((refused.to_string().as_str(), refused.kind()), (expected, ErrorKind::Invalid));
    }
    let steps = batch(&[("run_id", text(&["r"])), ("key", text(&["k"])), ("value", text(&["v"])), ("step", int)]);
    let refused = Rows::read(Target::Tags, &steps, NOW, true).expect_err("refused").to_string();
    assert_eq!(refused, "tags have no column 'step'; they have run_id, key, value, experiment_id");
}

#[tokio::test]
async fn rows_that_do_not_fit_are_refused_by_number_and_leave_nothing() {
    let lake = Lake::open().await;
    let run = lake.run("0").await;
    let gone = lake.run("0").await;
    lake.delete_run(&gone).await.expect("deleted");
    let other = lake.experiment("other").await;
    let long = "x".repeat(251);
    let good = |column: &str| -> ArrayRef {
        match column {
            "run_id" => text(&[&run, &run]),
            "key" => text(&["k", "k"]),
            _ => doubles(&[1.0, 2.0]),
        }
    };
    let with = |column: &str, array: ArrayRef| {
        let mut columns: Vec<(&str, ArrayRef)> = ["run_id", "key", "value"].map(|name| (name, good(name))).to_vec();
        columns.retain(|(name, _)| *name != column);
        columns.push((column, array));
        batch(&columns)
    };
    let nullable = |second: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![Some(run.as_str()), second])) };
    for (batch, expected) in [
        (with("run_id", nullable(None)), "row 1: the run_id is null".to_owned()),
        (with("run_id", nullable(Some("no"))), "row 1: Run with id=no not found".to_owned()),
        (
            with("run_id", nullable(Some("../x"))),
            "row 1: Invalid value \"../x\" for parameter 'run_id' supplied.".to_owned(),
        ),
        (
            with("run_id", nullable(Some(&gone))),
            format!("row 1: The run {gone} must be in the 'active' state. Current state is deleted."),
        ),
        (with("key", Arc::new(StringArray::from(vec![None, Some("k")]))), "row 0: the key is null".to_owned()),
        (
            with("key", text(&["k", &long])),
            "row 1: 'Metric name' exceeds the maximum length of 250 characters".to_owned(),
        ),
        (
            with("value", Arc::new(Float64Array::from(vec![Some(f64::NAN), None]))),
            "row 1: the value is null; a value that is not a number is NaN".to_owned(),
        ),
        (
            with("step", Arc::new(UInt64Array::from(vec![0, u64::MAX]))),
            "row 1: the step is larger than 9223372036854775807".to_owned(),
        ),
        (
            with("timestamp", Arc::new(Int64Array::from(vec![0, -1]))),
            "row 1: Invalid value -1 for parameter 'timestamp' supplied: Timestamp must be a nonnegative long (64-bit \
             integer) "
                .to_owned(),
        ),
        (
            with("timestamp", Arc::new(TimestampSecondArray::from(vec![0, i64::MAX]))),
            "row 1: Invalid value 9223372036854775807 for parameter 'timestamp' supplied: Timestamp must be in \
             milliseconds since 1970, and at most 9223372036854775."
                .to_owned(),
        ),
        (
            with("experiment_id", text(&["0", &other])),
            format!("row 1: the run {run} is in experiment 0, not in {other}"),
        ),
        (
            with("experiment_id", text(&["", "first"])),
            "row 1: Invalid experiment ID 'first'. Experiment ID must be a valid integer.".to_owned(),
        ),
    ] {
        assert_eq!(lake.refuses(Target::Metrics, &batch).await, expected);
    }
    assert!(lake.get_run(&run).await.expect("there").metrics.is_empty());
    lake.take(Target::Metrics, &with("experiment_id", text(&["0", ""])), None).await.expect("taken");
    let many: ArrayRef = Arc::new(NullArray::new(MOST_ROWS + 1));
    let many = batch(&[("run_id", Arc::clone(&many)), ("key", Arc::clone(&many)), ("value", many)]);
    assert!(Rows::read(Target::Metrics, &many, NOW, true).is_err());
}

#[tokio::test]
async fn params_are_written_once_and_tags_as_often_as_one_likes() {
    let lake = Lake::open().await;
    let (a, b) = (lake.run("0").await, lake.run("0").await);
    let pairs = |rows: &[(&str, &str, &str)]| {
        let column = |part: fn(&(&str, &str, &str)) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(part)))
        };
        batch(&[
            ("run_id", column(|row| row.0.to_owned())),
            ("key", column(|row| row.1.to_owned())),
            ("value", column(|row| row.2.to_owned())),
        ])
    };
    let first = pairs(&[(&a, "lr", "1"), (&b, "lr", "2"), (&a, "n", "")]);
    lake.take(Target::Params, &first, None).await.expect("taken");
    lake.take(Target::Params, &first, None).await.expect("the same again");
    let changed = pairs(&[(&b, "new", "1"), (&a, "lr", "1"), (&b, "lr", "3")]);
    assert_eq!(
        lake.refuses(Target::Params, &changed).await,
        format!(
            "row 2: Changing param values is not allowed. Param with key='lr' was already logged with value='2' for run \
             ID='{b}'. Attempted logging new value '3'."
        )
    );
    let twice = pairs(&[(&a, "x", "1"), (&b, "x", "1"), (&a, "x", "1")]);
    assert_eq!(
        lake.refuses(Target::Params, &twice).await,
        format!("row 2: the param 'x' of the run {a} is given twice, first in row 0")
    );
    let run = lake.get_run(&b).await.expect("there");
    assert_eq!(run.params, [("lr".to_owned(), "2".to_owned())]);
    let tags = pairs(&[(&a, "t", "1"), (&b, "mlflow.runName", "renamed"), (&a, "t", "2")]);
    lake.take(Target::Tags, &tags, None).await.expect("taken");
    assert_eq!(value(&lake.get_run(&a).await.expect("there").tags, "t"), Some("2"));
    assert_eq!(lake.get_run(&b).await.expect("there").run.run_name, "renamed");
    let long = pairs(&[(&a, "long", &"x".repeat(6001))]);
    lake.take(Target::Params, &long, None).await.expect("cut");
    let uncut = Rows::read(Target::Params, &long, NOW, false).expect_err("refused");
    assert_eq!(uncut.to_string(), "row 0: 'Param value' exceeds the maximum length of 6000 characters");
}

#[tokio::test]
async fn a_named_batch_is_written_once() {
    let lake = Lake::open().await;
    let run = lake.run("0").await;
    let counted = |lake: &Lake| {
        let view = lake.engine().view();
        async move { view.scan::<IngestedBatch>(&KeyBuilder::default().build()).await.expect("reads").len() }
    };
    let rows = |value: f64| points(&run, doubles(&[value]), &[]);
    lake.take(Target::Metrics, &rows(1.0), Some("one")).await.expect("taken");
    // Told apart by name alone.
    lake.take(Target::Metrics, &rows(2.0), Some("one")).await.expect("known");
    // Of two users, one name is two.
    let mine = BatchId::parse("ann", "one").expect("fits");
    let read = Rows::read(Target::Metrics, &rows(3.0), NOW, true).expect("fits");
    lake.ingest(read, Some(mine)).await.expect("taken").durable().await.expect("durable");
    assert_eq!((lake.values(&run, "m").await.len(), counted(&lake).await), (2, 2));
    // What is refused does not use a name up.
    let bad = points("unknown", doubles(&[1.0]), &[]);
    lake.take(Target::Metrics, &bad, Some("two")).await.expect_err("refused");
    lake.take(Target::Metrics, &rows(4.0), Some("two")).await.expect("taken");
    let lake = lake.reopened().await;
    lake.take(Target::Metrics, &rows(5.0), Some("two")).await.expect("known");
    assert_eq!(lake.values(&run, "m").await.len(), 3);
    // The same name side by side.
    let same: Vec<_> = (0..8u8)
        .map(|turn| {
            let (tracking, rows) = (lake.tracking.clone(), rows(f64::from(turn)));
            tokio::spawn(async move {
                let rows = Rows::read(Target::Metrics, &rows, NOW, true)?;
                let mut ingested = tracking.ingest(rows, Some(BatchId::parse("", "three")?)).await?;
                Ok::<(), Refused>(ingested.durable().await?)
            })
        })
        .collect();
    for task in same {
        task.await.expect("ends").expect("taken or known");
    }
    assert_eq!(lake.values(&run, "m").await.len(), 4);
    // A name is known for a week, though its batch's run is gone, and then forgotten.
    lake.delete_run(&run).await.expect("deleted");
    lake.clock.advance(6 * 24 * 3600 * 1_000_000);
    lake.take(Target::Metrics, &rows(9.0), Some("three")).await.expect("known");
    lake.restore_run(&run).await.expect("restored");
    lake.clock.advance(2 * 24 * 3600 * 1_000_000);
    lake.take(Target::Metrics, &rows(9.0), Some("four")).await.expect("taken");
    assert_eq!(counted(&lake).await, 1);
    lake.take(Target::Metrics, &rows(10.0), Some("three")).await.expect("new");
    assert_eq!(lake.values(&run, "m").await.len(), 6);
}

#[test]
fn names_of_batches_are_plain() {
    for name in ["a", "A-z_09", &"x".repeat(64)] {
        assert!(BatchId::parse("", name).is_ok(), "{name}");
    }
    for name in ["", "a b", "é", "a/b", &"x".repeat(65)] {
        assert!(BatchId::parse("", name).is_err(), "{name}");
    }
}

fn new_runs(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    batch(columns)
}

#[tokio::test]
async fn runs_are_made_with_their_ids_and_can_be_added_to() {
    let lake = Lake::open().await;
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![Some(5), None]));
    let runs = new_runs(&[
        ("run_id", text(&["first-run", "b"])),
        ("experiment_id", text(&["0", "0"])),
        ("run_name", Arc::new(StringArray::from(vec![Some("named"), None]))),
        ("status", text(&["FINISHED", ""])),
        ("start_time", Arc::clone(&times)),
        ("end_time", times),
        ("parent_run_id", text(&["", "first-run"])),
        ("user_id", text(&["ada", ""])),
    ]);
    lake.take(Target::Runs, &runs, Some("batch-1")).await.expect("taken");
    let [first, second] = [lake.get_run("first-run").await.expect("there"), lake.get_run("b").await.expect("there")];
    assert_eq!((first.run.run_name.as_str(), first.run.user_id.as_str()), ("named", "ada"));
    assert_eq!(first.run.status.as_str(), "FINISHED");
    assert_eq!((first.run.start_time, first.run.end_time), (Timestamp::from_millis(5), Timestamp::from_millis(5)));
    assert!(first.run.artifact_uri.ends_with("/first-run/artifacts"), "{}", first.run.artifact_uri);
    assert_eq!(first.tags, [("mlflow.runName".to_owned(), "named".to_owned())]);
    assert!(!second.run.run_name.is_empty(), "it gets a name as over REST");
    assert_eq!((second.run.start_time, second.run.end_time), (Some(NOW), None));
    assert_eq!(second.run.status.as_str(), "RUNNING");
    assert_eq!(second.run.parent_run_id.as_deref(), Some("first-run"));
    assert!(second.tags.contains(&("mlflow.parentRunId".to_owned(), "first-run".to_owned())));
    // The same batch again is known by its name; points can follow.
    lake.take(Target::Runs, &runs, Some("batch-1")).await.expect("known");
    lake.take(Target::Metrics, &points("b", doubles(&[1.0]), &[]), None).await.expect("taken");
    assert_eq!(lake.values("b", "m").await.len(), 1);
}

#[tokio::test]
async fn runs_that_will_not_do_leave_nothing_behind() {
    let lake = Lake::open().await;
    let gone = lake.experiment("gone").await;
    lake.delete_experiment(&gone).await.expect("deleted");
    let taken = lake.run("0").await;
    let deleted = lake.run("0").await;
    lake.delete_run(&deleted).await.expect("deleted");
    let with = |id: &str, experiment: &str, more: &[(&str, ArrayRef)]| {
        let mut columns = vec![("run_id", text(&["fine", id])), ("experiment_id", text(&["0", experiment]))];
        columns.extend(more.iter().map(|(name, array)| (*name, Arc::clone(array))));
        new_runs(&columns)
    };
    let nulls: ArrayRef = Arc::new(StringArray::from(vec![Some("fine"), None]));
    for (runs, expected) in [
        (with("fine", "0", &[]), "row 1: the run fine is there twice, first in row 0".to_owned()),
        (with(&taken, "0", &[]), format!("row 1: The run {taken} exists already")),
        (with(&deleted, "0", &[]), format!("row 1: The run {deleted} exists already")),
        (with("bad id!", "0", &[]), "row 1: Invalid value \"bad id!\"".to_owned()),
        (with("b", "77", &[]), "row 1: No Experiment with id=77 exists".to_owned()),
        (with("b", &gone, &[]), "row 1: The experiment 1 must be in the 'active' state".to_owned()),
        (with("b", "x", &[]), "row 1: Invalid experiment ID".to_owned()),
        (with("b", "", &[]), "row 1: Invalid experiment ID".to_owned()),
        (with("b", "0", &[("status", text(&["RUNNING", "DONE"]))]), "row 1: 'DONE' is no status".to_owned()),
        (
            with("b", "0", &[("end_time", Arc::new(Int64Array::from(vec![1, -1])))]),
            "row 1: Invalid value -1 for parameter 'end_time'".to_owned(),
        ),
        (with("b", "0", &[("artifact_uri", text(&["", ""]))]), "runs have no column 'artifact_uri'".to_owned()),
        (new_runs(&[("run_id", text(&["b"]))]), "runs need the column 'experiment_id'".to_owned()),
        (new_runs(&[("run_id", nulls), ("experiment_id", text(&["0", "0"]))]), "row 1: the run_id is null".to_owned()),
    ] {
        let refused = lake.refuses(Target::Runs, &runs).await;
        assert!(refused.contains(&expected), "{refused} instead of {expected}");
    }
    assert!(lake.get_run("fine").await.is_err(), "nothing is left of a batch that was refused");
    assert!(lake.get_run("b").await.is_err());
}

#[tokio::test]
async fn of_two_batches_with_the_same_run_one_is_taken() {
    let lake = Lake::open().await;
    let runs = new_runs(&[("run_id", text(&["same"])), ("experiment_id", text(&["0"]))]);
    let (one, other) = tokio::join!(lake.take(Target::Runs, &runs, None), lake.take(Target::Runs, &runs, None));
    assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1, "{one:?} {other:?}");
}

/// What served models answered, with the given columns beside those that must be there.
fn inferences(ids: &[&str], more: &[(&str, ArrayRef)]) -> RecordBatch {
    let rows = ids.len();
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("request_id", text(ids)),
        ("model", text(&vec!["m"; rows])),
        ("status", Arc::new(Int64Array::from(vec![200; rows]))),
        ("latency_ms", doubles(&vec![1.5; rows])),
    ];
    for (name, array) in more {
        columns.retain(|(known, _)| known != name);
        columns.push((name, Arc::clone(array)));
    }
    batch(&columns)
}

#[tokio::test]
async fn what_models_answered_is_written_once_per_request_and_row() {
    use runlake_types::rows::Inference;
    let lake = Lake::open().await;
    let more: Vec<(&str, ArrayRef)> = vec![
        ("row", Arc::new(Int32Array::from(vec![0, 1]))),
        ("inputs", text(&[r#"{"a": "1.5", "b": null, "c": [1]}"#, ""])),
        ("version", Arc::new(Int64Array::from(vec![Some(3), None]))),
        ("registered_model", text(&["forest", ""])),
        ("is_shadow", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("output", text(&["[0.5]", ""])),
    ];
    let two = inferences(&["r", "r"], &more);
    for _ in 0..2 {
        lake.take(Target::InferenceLog, &two, None).await.expect("taken");
    }
    let rows = Rows::read(Target::InferenceLog, &two, NOW, true).expect("reads");
    assert_eq!(rows.registered(), [(Some("forest".to_owned()), 0), (None, 1)]);
    let found: Vec<Inference> =
        lake.engine().view().scan(&KeyBuilder::default().text("r").build()).await.expect("reads");
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].inputs, [("a".to_owned(), "1.5".to_owned()), ("c".to_owned(), "[1]".to_owned())]);
    assert_eq!((found[0].version, found[0].is_shadow, found[0].time), (Some(3), true, NOW));
    assert_eq!((found[1].version, found[1].is_shadow, found[1].output.as_deref()), (None, false, None));
    let refused: [(&str, ArrayRef, &str); 6] = [
        ("request_id", text(&["a b"]), "is no request_id"),
        ("inputs", text(&["[1]"]), "the inputs are no JSON object"),
        ("row", Arc::new(Int64Array::from(vec![-2])), "the row is -2"),
        ("status", Arc::new(Int64Array::from(vec![None])), "the status or the latency_ms is null"),
        ("output", text(&[&"x".repeat(70_000)]), "the output has 70000 bytes"),
        ("is_shadow", text(&["yes"]), "it takes a boolean"),
    ];
    for (name, array, said) in refused {
        let refusal = lake.refuses(Target::InferenceLog, &inferences(&["r"], &[(name, array)])).await;
        assert!(refusal.contains(said), "{refusal}");
    }
}
