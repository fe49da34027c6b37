//! What this machine can do at best, measured in the same run as everything else.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use crate::data::{Batch, Curve};
use crate::stats::median;

/// Median time to append 4 KiB and have it on the disk: into a file that grows, and into one written ahead.
pub(crate) fn append_and_sync(folder: &Path) -> Result<(Duration, Duration)> {
    let block = [7u8; 4096];
    let rounds = 500;
    let measure = |path: &Path, ahead: bool| -> Result<Duration> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        if ahead {
            file.write_all(&vec![0; 4096 * rounds])?;
            file.sync_all()?;
            file = OpenOptions::new().write(true).open(path)?;
        }
        let mut times = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let started = Instant::now();
            file.write_all(&block)?;
            rustix::fs::fdatasync(&file)?;
            times.push(started.elapsed());
        }
        Ok(median(&mut times))
    };
    Ok((measure(&folder.join("grows"), false)?, measure(&folder.join("ahead"), true)?))
}

/// Points per second that typed, borrowing `serde_json` reads on one core from `log-batch` bodies.
pub(crate) fn json_points_per_second() -> Result<f64> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        metrics: Vec<Point<'a>>,
    }
    #[derive(Deserialize)]
    struct Point<'a> {
        key: &'a str,
        value: f64,
        timestamp: i64,
        step: i64,
    }
    let curve = Curve::new();
    let mut batch = Batch::new("0123456789abcdef0123456789abcdef", &curve);
    let started = Instant::now();
    let mut points = 0;
    let mut sum = 0.0;
    while started.elapsed() < Duration::from_secs(1) {
        let body: Body<'_> = serde_json::from_slice(batch.next())?;
        points += body.metrics.len();
        for point in &body.metrics {
            #[allow(clippy::cast_precision_loss, reason = "kept from being optimised away")]
            let used = (point.timestamp ^ point.step) as f64 + point.key.len() as f64;
            sum += point.value + used;
        }
    }
    std::hint::black_box(sum);
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    Ok(points as f64 / started.elapsed().as_secs_f64())
}

/// Serves `{}` to whatever is asked, with the same HTTP library as runlake: the ceiling of requests per second.
pub(crate) fn serve_nothing(port: u16) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answer = service_fn(|request: Request<hyper::body::Incoming>| async {
                request.into_body().collect().await?;
                Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(b"{}"))))
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(connection);
        }
    })
}
