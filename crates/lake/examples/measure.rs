//! Measures the lake on local files: how fast sorted points are written, how small they get, how long a look-up of one
//! series takes, and how long it takes to open every table. Run in release mode, with a folder to use:
//! `cargo run --release -p runlake-lake --example measure -- /tmp/lake`.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array as _, ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use runlake_lake::{CompactPolicy, Lake, LakeSettings, Watermark};
use runlake_storage::{Store, StoreSettings};
use runlake_types::rows::Param;
use runlake_types::{ExperimentId, Row as _, RunId, TableId, TableKind};

const RUNS: usize = 16;
/// As many as [`loss_curves`] writes.
const KEYS: usize = 10;
const STEPS: i64 = 50_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("say which folder to use")?;
    let store = Store::open(&folder, &StoreSettings::default()).await?;
    let settings = LakeSettings::default();
    let lake = Lake::open(&store, "measure", &settings).await?;
    let metrics = lake.table(TableId::Metrics);

    let runs: Vec<RunId> = (0..RUNS).map(|_| RunId::generate()).collect();
    let batches: Vec<_> = runs.iter().map(|run| loss_curves(run, 0..STEPS)).collect();
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let snapshot = metrics.append(batches, next(metrics)).await?;
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!("append: {:.1} M rows per CPU second", rows as f64 / cpu / 1e6);
    println!(
        "append: {rows} rows, {:.1} M rows/s, {:.2} bytes/row",
        rows as f64 / seconds / 1e6,
        snapshot.bytes() as f64 / rows as f64
    );

    for n in 0..3 {
        let start = Instant::now();
        let points = snapshot.points(&runs[n * 5], "loss_3").await?;
        println!("points: {} in {:.1} ms", points.len(), start.elapsed().as_secs_f64() * 1e3);
    }

    for part in 0..16 {
        let steps = STEPS + part * 1000..STEPS + (part + 1) * 1000;
        let batches: Vec<_> = runs.iter().map(|run| loss_curves(run, steps.clone())).collect();
        metrics.append(batches, next(metrics)).await?;
    }
    let start = Instant::now();
    let report = metrics.compact(&CompactPolicy { max_files: 16, ..CompactPolicy::thorough() }).await?;
    let seconds = start.elapsed().as_secs_f64();
    println!("compact: {report:?}, {:.1} M rows/s", report.rows_after as f64 / seconds / 1e6);

    let params = lake.table(TableId::Params);
    for flush in 0..15 {
        let start = Instant::now();
        for table in lake.tables().iter().filter(|table| table.id().kind() == TableKind::State) {
            let changes = if table.id() == TableId::Params { some_params(flush) } else { Vec::new() };
            table.merge(changes, next(table)).await?;
        }
        println!(
            "flush {flush}: {:.1} ms, params {} files",
            start.elapsed().as_secs_f64() * 1e3,
            params.snapshot().files().len()
        );
    }
    measure_open(&store, &settings, "10 to 20 commits, no checkpoint").await?;
    for table in lake.tables() {
        table.checkpoint().await?;
    }
    measure_open(&store, &settings, "with a checkpoint").await?;
    Ok(())
}

async fn measure_open(store: &Store, settings: &LakeSettings, what: &str) -> Result<(), Box<dyn std::error::Error>> {
    for _ in 0..3 {
        let start = Instant::now();
        Lake::open(store, "measure", settings).await?;
        println!("open, {what}: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}

/// User and system time of this process, from Linux; NaN elsewhere.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat.split(' ').skip(13).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    if fields.is_empty() { f64::NAN } else { fields.iter().sum::<f64>() / 100.0 }
}

fn next(table: &runlake_lake::Table) -> Watermark {
    let expected = table.snapshot().watermark();
    Watermark { expected, reached: expected.next() }
}

fn some_params(flush: usize) -> Vec<(runlake_types::Key, Option<Arc<runlake_types::Record>>)> {
    let run_id = RunId::generate();
    (0..10_000)
        .map(|n| {
            let key = format!("param_{n:05}");
            let value = format!("{:.4}", (n * flush) as f64 / 7.0);
            Param { run_id: run_id.clone(), key, experiment_id: ExperimentId::new(1), value }
        })
        .map(|param| (param.key(), Some(Arc::new(param.to_record()))))
        .collect()
}

/// Loss curves as a training loop logs them: single precision, noisy, one point per step every 100 ms or so.
fn loss_curves(run: &RunId, steps: std::ops::Range<i64>) -> RecordBatch {
    let per_key = usize::try_from(steps.end - steps.start).unwrap_or(0);
    let rows = per_key * KEYS;
    let mut random = run
        .as_str()
        .bytes()
        .fold(steps.start.cast_unsigned() + 1, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let mut noise = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 40) as f32 / (1u64 << 24) as f32
    };
    let mut timestamps = Vec::with_capacity(rows);
    let mut values = Vec::with_capacity(rows);
    for _ in 0..KEYS {
        for step in steps.clone() {
            timestamps.push(1_700_000_000_000_000 + step * 100_000 + i64::from(noise() > 0.5) * 1000);
            let loss = 3.0 / (1.0 + step as f32 * 0.001) + 0.1 * noise();
            values.push(f64::from(loss));
        }
    }
    let one = |text: &str| -> ArrayRef {
        let values = Arc::new(StringArray::from_iter_values([text]));
        Arc::new(DictionaryArray::<Int32Type>::new(Int32Array::from(vec![0; rows]), values))
    };
    let keys = Arc::new(StringArray::from_iter_values((0..KEYS).map(|key| format!("loss_{key}"))));
    let key_of_row = (0..10).flat_map(|key| std::iter::repeat_n(key, per_key));
    let nothing = || -> ArrayRef {
        let values = Arc::new(StringArray::from_iter_values(Vec::<String>::new()));
        Arc::new(DictionaryArray::<Int32Type>::new(Int32Array::from(vec![None; rows]), values))
    };
    let columns: Vec<ArrayRef> = vec![
        one(run.as_str()),
        Arc::new(DictionaryArray::<Int32Type>::new(key_of_row.collect(), keys)),
        Arc::new(Int64Array::from_iter_values((0..KEYS).flat_map(|_| steps.clone()))),
        Arc::new(TimestampMicrosecondArray::from(timestamps).with_timezone("UTC")),
        Arc::new(Float64Array::from(values)),
        one("1"),
        nothing(),
        nothing(),
        nothing(),
    ];
    assert!(columns.iter().all(|column| column.len() == rows));
    let names = TableId::Metrics.columns().iter().map(|column| column.name);
    RecordBatch::try_from_iter_with_nullable(
        names
            .zip(columns)
            .zip(TableId::Metrics.columns())
            .map(|((name, array), column)| (name, array, column.nullable)),
    )
    .expect("columns of one length")
}
