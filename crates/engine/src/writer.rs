//! The one writer: gives writes their order, makes them durable, makes them visible, answers.
//!
//! It is a thread of its own, since an append to a local log blocks for a disk sync. While one group is being synced the
//! next one gathers in the queue, so there is no timer; a log of cloud objects says how long to linger.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use parking_lot::Mutex;
use runlake_types::{Seq, WriteBatch};
use runlake_wal::Log;
use tokio::sync::{mpsc, oneshot};

use crate::codec::PACKED_POINTS;
use crate::state::State;
use crate::status::Counters;
use crate::tasks::panic_text;
use crate::{Error, Result, codec};

/// A group takes no more writes beyond this many bytes.
const GROUP_BYTES: usize = 8 << 20;

/// Resolves when a submitted write is durable and visible, with its position in the log.
#[derive(Debug)]
pub struct Ticket {
    answer: oneshot::Receiver<Result<Seq>>,
    number: u64,
}

impl Ticket {
    /// Number of the write among all submits of this engine.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Future for Ticket {
    type Output = Result<Seq>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer)
            .poll(context)
            .map(|answer| answer.unwrap_or_else(|_| Err(Error::Stopped("the writer ended before it answered".into()))))
    }
}

enum Command {
    Write { batch: WriteBatch, bytes: usize, done: oneshot::Sender<Result<Seq>> },
    DeleteThrough(Seq),
    Check,
    Close(oneshot::Sender<Result<()>>),
}

/// The way to the writer thread.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Holding the lock orders submits: numbers rise in queue order.
    queue: Mutex<Queue>,
    progress: Arc<Progress>,
}

#[derive(Debug)]
struct Queue {
    sender: mpsc::UnboundedSender<Command>,
    submitted: u64,
}

/// What the writer thread tells everybody else.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// How many submits have been answered.
    applied: AtomicU64,
    /// Bytes that were submitted and are not applied yet.
    queued_bytes: AtomicUsize,
    /// Bytes the log holds.
    log_bytes: AtomicU64,
    /// The first failure: from then on nothing is acknowledged.
    failure: Mutex<Option<Error>>,
}

impl Progress {
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.lock().clone()
    }

    fn fail(&self, error: Error) {
        let mut failure = self.failure.lock();
        if failure.is_none() {
            tracing::error!(%error, "the writer stops: no write is acknowledged from here on");
            *failure = Some(error);
        }
    }
}

impl Writer {
    pub(crate) fn start(log: Box<dyn Log>, last: Seq, state: Arc<State>, counters: Arc<Counters>) -> Result<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let progress = Arc::new(Progress::default());
        progress.log_bytes.store(log.bytes(), Ordering::Relaxed);
        let thread =
            WriterThread { log, last, state, counters, progress: Arc::clone(&progress), receiver, frame: Vec::new() };
        std::thread::Builder::new()
            .name("runlake-writer".into())
            .spawn(move || thread.guarded())
            .map_err(|error| Error::Internal(format!("cannot start the writer thread: {error}")))?;
        Ok(Self { queue: Mutex::new(Queue { sender, submitted: 0 }), progress })
    }

    /// Queues a write.
    pub(crate) fn submit(&self, batch: WriteBatch) -> Result<Ticket> {
        if let Some(error) = self.progress.failure() {
            return Err(Error::Stopped(error.to_string().into()));
        }
        let bytes = batch.bytes();
        let (done, answer) = oneshot::channel();
        let mut queue = self.queue.lock();
        // Counted before the writer can see it, since the writer counts it off again.
        self.progress.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if queue.sender.send(Command::Write { batch, bytes, done }).is_err() {
            self.progress.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::Stopped("it was closed".into()));
        }
        queue.submitted += 1;
        Ok(Ticket { answer, number: queue.submitted })
    }

    /// Whether the submit of that number has been answered.
    pub(crate) fn is_applied(&self, number: u64) -> bool {
        self.progress.applied.load(Ordering::Acquire) >= number
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Tells the log what it may forget.
    pub(crate) fn delete_through(&self, seq: Seq) {
        // A closed writer has nothing left to delete.
        let _closed = self.queue.lock().sender.send(Command::DeleteThrough(seq));
    }

    /// Has the log look whether it is still ours: a writer that nobody writes to learns of its successor as well.
    pub(crate) fn check(&self) {
        // A closed writer has nothing left to lose.
        let _closed = self.queue.lock().sender.send(Command::Check);
    }

    /// Returns when everything that was submitted before the call has been answered.
    pub(crate) async fn settle(&self) {
        let submitted = self.queue.lock().submitted;
        while !self.is_applied(submitted) && self.progress.failure().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// Answers everything that was submitted, then closes the log.
    pub(crate) async fn close(&self) -> Result<()> {
        let (done, answer) = oneshot::channel();
        if self.queue.lock().sender.send(Command::Close(done)).is_err() {
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))
    }
}

struct WriterThread {
    log: Box<dyn Log>,
    last: Seq,
    state: Arc<State>,
    counters: Arc<Counters>,
    progress: Arc<Progress>,
    receiver: mpsc::UnboundedReceiver<Command>,
    frame: Vec<u8>,
}

/// Writes that become durable together.
#[derive(Default)]
struct Group {
    /// In order. Small writes are put together; large ones stay as they came, for nothing is gained by moving them.
    parts: Vec<WriteBatch>,
    bytes: usize,
    waiting: Vec<oneshot::Sender<Result<Seq>>>,
}

impl Group {
    fn add(&mut self, batch: WriteBatch, bytes: usize, done: oneshot::Sender<Result<Seq>>) {
        let is_large = |batch: &WriteBatch| batch.metrics.len() >= PACKED_POINTS;
        match self.parts.last_mut().filter(|last| !is_large(last) && !is_large(&batch)) {
            None => self.parts.push(batch),
            Some(last) => {
                last.metrics.append(&batch.metrics);
                last.changes.extend(batch.changes);
            }
        }
        self.bytes += bytes;
        self.waiting.push(done);
    }
}

impl WriterThread {
    /// Runs; a panic is a failure as any other, so that nobody waits for a writer that is gone.
    fn guarded(self) {
        let progress = Arc::clone(&self.progress);
        if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(|| self.run())) {
            let text = panic_text(panic.as_ref());
            progress.fail(Error::Internal(format!("the writer thread broke down: {text}")));
        }
    }

    fn run(mut self) {
        while let Some(command) = self.receiver.blocking_recv() {
            let mut next = Some(command);
            while let Some(command) = next.take() {
                match command {
                    Command::Write { batch, bytes, done } => {
                        let mut group = Group::default();
                        group.add(batch, bytes, done);
                        next = self.gather(&mut group);
                        self.commit(group);
                    }
                    Command::DeleteThrough(seq) => {
                        if let Err(error) = self.log.delete_through(seq) {
                            self.progress.fail(error.into());
                        }
                        self.progress.log_bytes.store(self.log.bytes(), Ordering::Relaxed);
                    }
                    Command::Check => {
                        if let Err(error) = self.log.check() {
                            self.progress.fail(error.into());
                        }
                    }
                    Command::Close(done) => {
                        // Nobody may wait for the answer any more.
                        let _unheard = done.send(self.log.close().map_err(Into::into));
                        return;
                    }
                }
            }
        }
    }

    /// Takes what is waiting into the group; returns the command that ended the gathering.
    fn gather(&mut self, group: &mut Group) -> Option<Command> {
        let linger = self.log.linger();
        if !linger.is_zero() {
            std::thread::sleep(linger);
        }
        while group.bytes < GROUP_BYTES {
            match self.receiver.try_recv() {
                Ok(Command::Write { batch, bytes, done }) => group.add(batch, bytes, done),
                Ok(other) => return Some(other),
                Err(_) => return None,
            }
        }
        None
    }

    fn commit(&mut self, group: Group) {
        let writes = group.waiting.len() as u64;
        let bytes = group.bytes;
        let answer = self.make_durable(&group.parts);
        if let Ok(seq) = answer {
            self.state.apply(seq, &group.parts);
            self.counters.group(writes, group.parts.iter().map(|part| part.metrics.len() as u64).sum());
        }
        self.progress.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.progress.applied.fetch_add(writes, Ordering::Release);
        for done in group.waiting {
            // A client that went away does not hear that its write is safe.
            let _unheard = done.send(answer.clone());
        }
    }

    fn make_durable(&mut self, parts: &[WriteBatch]) -> Result<Seq> {
        if let Some(error) = self.progress.failure() {
            return Err(Error::Stopped(error.to_string().into()));
        }
        let seq = self.last.next();
        self.frame.clear();
        if let Err(error) = codec::encode(parts, &mut self.frame) {
            // Run states were told of the write already: with it lost they would be wrong.
            self.progress.fail(error.clone());
            return Err(error);
        }
        let started = Instant::now();
        match self.log.append(seq, &self.frame) {
            Ok(()) => {
                self.last = seq;
                self.counters.append(started.elapsed(), self.frame.len());
                self.progress.log_bytes.store(self.log.bytes(), Ordering::Relaxed);
                Ok(seq)
            }
            Err(error) => {
                let error = Error::from(error);
                self.progress.fail(error.clone());
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runlake_memtable::MemTable;

    use super::*;
    use crate::state::Snapshots;

    /// A log that breaks down when it is written to.
    #[derive(Debug)]
    struct Brittle;

    impl Log for Brittle {
        fn append(&mut self, _: Seq, _: &[u8]) -> Result<(), runlake_wal::Error> {
            panic!("the pen broke")
        }

        fn delete_through(&mut self, _: Seq) -> Result<(), runlake_wal::Error> {
            Ok(())
        }

        fn check(&mut self) -> Result<(), runlake_wal::Error> {
            Ok(())
        }

        fn set_floor(&mut self, _: Seq) {}

        fn last_seq(&self) -> Seq {
            Seq::default()
        }

        fn bytes(&self) -> u64 {
            0
        }

        fn linger(&self) -> Duration {
            Duration::ZERO
        }

        fn close(&mut self) -> Result<(), runlake_wal::Error> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_writer_that_panics_is_told() {
        let first = Seq::default();
        let state = Arc::new(State::new(MemTable::new(first), Snapshots::new([]), first));
        let writer = Writer::start(Box::new(Brittle), first, state, Arc::default()).unwrap();
        let answer = writer.submit(WriteBatch::default()).unwrap().await;
        assert!(answer.is_err());
        writer.settle().await;
        while writer.progress().failure().is_none() {
            tokio::task::yield_now().await;
        }
        let failure = writer.progress().failure().unwrap().to_string();
        assert!(failure.contains("the pen broke"), "{failure}");
        assert!(writer.submit(WriteBatch::default()).is_err());
    }
}
