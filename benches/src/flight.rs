//! `DoPut` of metric points: batches of 64k rows, all durable and visible when they are told to be, beside a Flight server
//! that takes them and does nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightData, FlightDescriptor};
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tonic::transport::Channel;

use crate::data::START;
use crate::figures::Scale;
use crate::load::new_run;
use crate::report::Report;
use crate::server::{Kind, Server, Setup, bytes_below};
use crate::stats::{mebibytes, rate};

/// Rows of a batch.
pub(crate) const ROWS: usize = 1 << 16;
/// Runs of a stream, each with this many metrics.
pub(crate) const RUNS: usize = 16;
const KEYS: usize = 10;
/// Messages longer than this are refused by the server.
pub(crate) const MOST_MESSAGE_BYTES: usize = 64 << 20;

/// How the columns of text are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    Dictionary,
    Plain,
}

/// Measures bursts and a load that lasts, of runlake and of a server that does nothing.
pub(crate) async fn flight(setup: &Setup, scale: Scale, report: &mut Report) -> Result<()> {
    let null = setup.start(Kind::NullFlight, "null-flight").await?;
    for (text, streams, figure) in BURSTS {
        let points = burst(&null, text, streams, scale.load).await?;
        report.limit(figure, format!("null Flight server: {}", rate(points, "points")));
    }
    null.stop()?;
    for (text, streams, figure) in BURSTS {
        let server = setup.start(Kind::Runlake, &format!("flight-{text:?}-{streams}")).await?;
        let cpu = server.cpu();
        let points = burst(&server, text, streams, scale.load).await?;
        report.add(figure, Kind::Runlake.name(), rate(points, "points"));
        eprintln!("    (the server used {:?} of processor time)", server.cpu().saturating_sub(cpu));
        server.stop()?;
    }
    let server = setup.start(Kind::Runlake, "flight-lasting").await?;
    let (points, most) = lasting(&server, scale.sustained).await?;
    report.add("DoPut, 4 streams, as long as it lasts", Kind::Runlake.name(), rate(points, "points"));
    report.add("memory meanwhile", Kind::Runlake.name(), mebibytes(most));
    server.stop()?;
    let bytes = bytes_below(&setup.data(Kind::Runlake, "flight-lasting"));
    eprintln!("    ({} on disk at the end)", mebibytes(bytes));
    Ok(())
}

const BURSTS: [(Text, usize, &str); 4] = [
    (Text::Dictionary, 1, "DoPut, 1 stream, text in dictionaries"),
    (Text::Dictionary, 4, "DoPut, 4 streams, text in dictionaries"),
    (Text::Plain, 1, "DoPut, 1 stream, text plain"),
    (Text::Plain, 4, "DoPut, 4 streams, text plain"),
];

/// Points per second of a short load.
async fn burst(server: &Server, text: Text, streams: usize, time: Duration) -> Result<f64> {
    // What memory takes before it must be written to tables is not much more than this.
    let time = time.min(Duration::from_secs(5));
    side_by_side(server, text, streams, time).await
}

/// Points per second of a load that lasts, and the most memory meanwhile.
async fn lasting(server: &Server, time: Duration) -> Result<(f64, u64)> {
    let load = side_by_side(server, Text::Dictionary, 4, time);
    let mut load = std::pin::pin!(load);
    let mut most = 0;
    let mut looks = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            points = &mut load => return Ok((points?, most)),
            _ = looks.tick() => most = most.max(server.memory()),
        }
    }
}

/// Sends batches over some streams until the time is up, and waits until all of them are durable.
async fn side_by_side(server: &Server, text: Text, streams: usize, time: Duration) -> Result<f64> {
    let mut sources = Vec::new();
    for number in 0..streams as u64 {
        let mut runs = Vec::new();
        for run in 0..RUNS as u64 {
            let is_null = server.kind == Kind::NullFlight;
            let id = if is_null {
                format!("{run:032x}")
            } else {
                new_run(&mut server.client().await?, number * 100 + run).await?
            };
            runs.push(id);
        }
        sources.push(Source::new(&runs, text)?);
    }
    let channel = endpoint(server)?;
    let started = Instant::now();
    let deadline = started + time;
    let all: FuturesUnordered<_> = sources
        .into_iter()
        .map(|source| {
            let channel = channel.clone();
            async move { put(channel.connect().await?, source, move |_| Instant::now() < deadline).await }
        })
        .collect();
    let rows: u64 = all.try_fold(0, |sum, rows| std::future::ready(Ok(sum + rows))).await?;
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    Ok(rows as f64 / started.elapsed().as_secs_f64())
}

/// Writes at least so many points of some runs; answers how many.
pub(crate) async fn fill(server: &Server, points: u64) -> Result<u64> {
    let mut runs = Vec::new();
    for run in 0..RUNS as u64 {
        runs.push(new_run(&mut server.client().await?, run).await?);
    }
    let source = Source::new(&runs, Text::Dictionary)?;
    put(endpoint(server)?.connect().await?, source, move |sent| sent < points).await
}

/// How clients reach the Flight door of a server.
pub(crate) fn endpoint(server: &Server) -> Result<tonic::transport::Endpoint> {
    Ok(Channel::from_shared(format!("http://127.0.0.1:{}", server.port))?
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20))
}

/// One stream, for as long as `goes_on` says so of the rows sent; answers how many were told to be durable, which are all.
async fn put(channel: Channel, source: Source, goes_on: impl Fn(u64) -> bool + Clone + Send + 'static) -> Result<u64> {
    let mut client = FlightServiceClient::new(channel).max_encoding_message_size(MOST_MESSAGE_BYTES);
    let sent = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let messages = stream::unfold((source, true), move |(mut source, is_first)| {
        let (counted, goes_on) = (Arc::clone(&counted), goes_on.clone());
        async move {
            if is_first {
                let messages = source.schema();
                return Some((messages, (source, false)));
            }
            if !goes_on(counted.load(std::sync::atomic::Ordering::Relaxed)) {
                return None;
            }
            counted.fetch_add(ROWS as u64, std::sync::atomic::Ordering::Relaxed);
            Some((source.next(), (source, false)))
        }
    });
    let mut answers = client.do_put(messages.flat_map(stream::iter)).await?.into_inner();
    let mut durable = 0;
    while let Some(answer) = answers.message().await? {
        let told: serde_json::Value = serde_json::from_slice(&answer.app_metadata)?;
        durable = told["rows"].as_u64().context("an answer without rows")?;
    }
    let sent = sent.load(std::sync::atomic::Ordering::Relaxed);
    ensure!(durable == sent, "{sent} rows were sent and {durable} are durable");
    Ok(durable)
}

/// Batches of points as a training loop logs them: ten metrics at each step of each run.
pub(crate) struct Source {
    schema: Arc<Schema>,
    run_ids: ArrayRef,
    keys: ArrayRef,
    /// Where the noise of the next values begins.
    noise: u64,
    next_step: i64,
    generator: IpcDataGenerator,
    tracker: DictionaryTracker,
    context: IpcWriteContext,
    options: IpcWriteOptions,
}

impl Source {
    pub(crate) fn new(runs: &[String], text: Text) -> Result<Self> {
        let names: Vec<String> = (0..KEYS).map(|key| format!("metric/{key}")).collect();
        let column = |texts: &[String], place: fn(usize) -> usize| -> Result<ArrayRef> {
            let places = (0..ROWS).map(|row| i32::try_from(place(row)).unwrap_or_default());
            let dictionary = DictionaryArray::<Int32Type>::try_new(
                Int32Array::from_iter_values(places),
                Arc::new(StringArray::from(texts.to_vec())),
            )?;
            Ok(match text {
                Text::Dictionary => Arc::new(dictionary),
                Text::Plain => Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| texts[place(row)].as_str()))),
            })
        };
        let run_ids = column(runs, |row| row * RUNS / ROWS)?;
        let keys = column(&names, |row| row % KEYS)?;
        let schema = Schema::new(vec![
            Field::new("run_id", run_ids.data_type().clone(), false),
            Field::new("key", keys.data_type().clone(), false),
            Field::new("value", DataType::Float64, false),
            Field::new("step", DataType::Int64, false),
            Field::new("timestamp", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        ]);
        Ok(Self {
            schema: Arc::new(schema),
            run_ids,
            keys,
            noise: 0x9E37_79B9_7F4A_7C15,
            next_step: 0,
            generator: IpcDataGenerator::default(),
            tracker: DictionaryTracker::new(false),
            context: IpcWriteContext::default(),
            options: IpcWriteOptions::default(),
        })
    }

    pub(crate) fn schema(&mut self) -> Vec<FlightData> {
        let descriptor = FlightDescriptor::new_path(vec!["metrics".into()]);
        let (schema, tracker) = (&self.schema, &mut self.tracker);
        let schema = self.generator.schema_to_bytes_with_dictionary_tracker(schema, tracker, &self.options);
        vec![FlightData::from(schema).with_descriptor(descriptor)]
    }

    /// The next points, and before the first of them their dictionaries.
    pub(crate) fn next(&mut self) -> Vec<FlightData> {
        let steps_of_run = (ROWS / RUNS).div_ceil(KEYS) + 1;
        let step = |row: usize| self.next_step + i64::try_from(row % (ROWS / RUNS) / KEYS).unwrap_or_default();
        let steps = Int64Array::from_iter_values((0..ROWS).map(step));
        let start = i64::try_from(START).unwrap_or_default();
        let times = TimestampMillisecondArray::from_iter_values((0..ROWS).map(|row| start + 37 * step(row)));
        self.next_step += i64::try_from(steps_of_run).unwrap_or_default();
        // As a float of 32 bits, widened, as training frameworks have them.
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "noise")]
        let values = Float64Array::from_iter_values((0..ROWS).map(|_| {
            self.noise ^= self.noise << 13;
            self.noise ^= self.noise >> 7;
            self.noise ^= self.noise << 17;
            f64::from(((self.noise >> 40) as f64 / f64::from(1 << 24)) as f32)
        }));
        let columns: Vec<ArrayRef> =
            vec![Arc::clone(&self.run_ids), Arc::clone(&self.keys), Arc::new(values), Arc::new(steps), Arc::new(times)];
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).expect("columns of the schema");
        let (dictionaries, batch) = self
            .generator
            .encode(&batch, &mut self.tracker, &self.options, &mut self.context)
            .expect("memory takes all");
        dictionaries.into_iter().map(Into::into).chain([batch.into()]).collect()
    }
}
