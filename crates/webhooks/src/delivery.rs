//! From the outbox to the targets.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use runlake_types::rows::{Row as _, WebhookDelivery, WebhookStatus};
use runlake_types::{KeyBuilder, TableId, Timestamp, WriteBatch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::webhooks::{Webhook, Webhooks};
use crate::{Result, sign};

/// Messages under way at once.
const AT_ONCE: usize = 32;
/// Messages under way at once to one target.
const AT_ONCE_EACH: usize = 4;
/// A message is given up when it is older than this.
const GIVEN_UP_AFTER: Duration = Duration::from_hours(24);
/// Pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// How often the outbox is looked at while something was enqueued lately, and otherwise.
const BUSY_TICK: Duration = Duration::from_millis(50);
const IDLE_TICK: Duration = Duration::from_secs(10);
/// A look at a long outbox costs: the pause after it is this many times as long.
const LOOKING_SHARE: u32 = 10;
/// What was enqueued is visible by then, or never.
const BUSY_FOR: Duration = Duration::from_secs(10);
const ERROR_CHARS: usize = 500;

/// A message to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it goes.
    pub url: String,
    /// Headers besides the usual ones.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
}

/// What a target answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The start of its body.
    pub body: String,
}

/// Why a target could not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PostError(pub String);

/// How messages travel: by HTTP in a server, by hand in a test.
pub trait Post: Send + Sync + std::fmt::Debug {
    /// Sends a message once. Does not follow redirects, and does not connect to addresses the operator does not allow.
    fn post(&self, message: Message) -> BoxFuture<'static, Result<Answer, PostError>>;
}

/// What becomes of a message after a try.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Done,
    Again(String),
    GiveUp(String),
}

impl Outcome {
    /// As MLflow has it: too many requests and faults of the target are worth another try, refusals are not.
    fn of(result: Result<Answer, PostError>) -> Self {
        match result {
            Ok(Answer { status: 200..300, .. }) => Self::Done,
            Ok(Answer { status, .. }) if matches!(status, 408 | 429 | 500 | 502 | 503 | 504) => {
                Self::Again(format!("the target answered {status}"))
            }
            Ok(Answer { status, .. }) => Self::GiveUp(format!("the target refused it with {status}")),
            Err(PostError(problem)) => Self::Again(problem),
        }
    }
}

/// A message under way.
struct Taken {
    delivery_id: String,
    webhook_id: String,
}

/// What the last look at the outbox found, and what is under way.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<WebhookDelivery>,
    taken: HashSet<String>,
    /// Messages under way, by webhook.
    of_webhook: HashMap<String, usize>,
}

impl Queue {
    /// The oldest message that there is room for: of one webhook no more than a few go out at once, so that a target that
    /// does not answer does not hold up the others.
    fn next(&mut self) -> Option<WebhookDelivery> {
        if self.taken.len() >= AT_ONCE {
            return None;
        }
        let has_room = |delivery: &WebhookDelivery| {
            self.of_webhook.get(&delivery.webhook_id).is_none_or(|count| *count < AT_ONCE_EACH)
        };
        let at = self.waiting.iter().position(has_room)?;
        let delivery = self.waiting.remove(at)?;
        self.taken.insert(delivery.delivery_id.clone());
        *self.of_webhook.entry(delivery.webhook_id.clone()).or_default() += 1;
        Some(delivery)
    }

    fn ended(&mut self, taken: &Taken) {
        self.taken.remove(&taken.delivery_id);
        if let Some(count) = self.of_webhook.get_mut(&taken.webhook_id) {
            *count -= 1;
            if *count == 0 {
                self.of_webhook.remove(&taken.webhook_id);
            }
        }
    }
}

impl Webhooks {
    /// Delivers what is in the outbox, and what is put there, until told to stop. What is under way then is cut off, and
    /// delivered again at the next start.
    pub async fn run(self, stop: CancellationToken) {
        let mut under_way = FuturesUnordered::new();
        let mut queue = Queue::default();
        let mut busy_until = Instant::now() + BUSY_FOR;
        let (mut soonest_look, mut next_look) = (Instant::now(), Instant::now());
        loop {
            if next_look <= Instant::now() {
                let began = Instant::now();
                match self.due(&queue).await {
                    Ok(due) => queue.waiting = due,
                    Err(error) => tracing::warn!(%error, "the outbox of the webhooks cannot be read; trying again"),
                }
                let tick = if Instant::now() < busy_until { BUSY_TICK } else { IDLE_TICK };
                soonest_look = Instant::now() + began.elapsed() * LOOKING_SHARE;
                next_look = soonest_look.max(Instant::now() + tick);
            }
            while let Some(delivery) = queue.next() {
                under_way.push(self.attempt(delivery));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.enqueued() => {
                    busy_until = Instant::now() + BUSY_FOR;
                    next_look = soonest_look.max(next_look.min(Instant::now() + BUSY_TICK));
                }
                Some(delivery) = under_way.next() => queue.ended(&delivery),
                () = tokio::time::sleep_until(next_look) => {}
            }
        }
    }

    /// The messages whose time has come, the oldest first.
    async fn due(&self, queue: &Queue) -> Result<VecDeque<WebhookDelivery>> {
        let now = self.now();
        let everything = KeyBuilder::default().build();
        let mut due = self.engine().view().scan::<WebhookDelivery>(&everything).await?;
        self.count_owed(&due);
        // What a disabled webhook is owed waits until it is enabled again, or too old.
        let disabled = self.disabled().await?;
        due.retain(|delivery| !disabled.contains(&delivery.webhook_id) || is_too_old(delivery, now));
        due.retain(|delivery| delivery.next_attempt_time <= now && !queue.taken.contains(&delivery.delivery_id));
        due.sort_by_key(|delivery| delivery.creation_time);
        Ok(due.into())
    }

    /// Tries once to deliver a message and records what became of it.
    async fn attempt(&self, delivery: WebhookDelivery) -> Taken {
        let (delivery_id, webhook_id) = (delivery.delivery_id.clone(), delivery.webhook_id.clone());
        let outcome = match self.find(&delivery.webhook_id).await {
            Ok(Some(webhook)) if webhook.status == WebhookStatus::Active => {
                let message = message(&webhook, &delivery_id, &delivery.body, self.now());
                Outcome::of(self.post(message).await)
            }
            Ok(Some(_)) => Outcome::Again("the webhook is disabled".to_owned()),
            // Deleted since: nobody waits for it any more.
            Ok(None) => Outcome::Done,
            Err(error) => Outcome::Again(error.to_string()),
        };
        if let Err(error) = self.record(delivery, outcome).await {
            // It is still in the outbox, and goes out again.
            tracing::warn!(%error, delivery_id, "what became of a webhook message cannot be recorded");
        }
        Taken { delivery_id, webhook_id }
    }

    async fn record(&self, mut delivery: WebhookDelivery, outcome: Outcome) -> Result<()> {
        let now = self.now();
        let mut batch = WriteBatch::default();
        match outcome {
            Outcome::Again(problem) if !is_too_old(&delivery, now) => {
                let pause = pause_after(delivery.attempts);
                tracing::debug!(
                    delivery_id = delivery.delivery_id,
                    problem,
                    ?pause,
                    "a webhook message goes out again"
                );
                delivery.attempts += 1;
                delivery.next_attempt_time = after(now, pause);
                delivery.last_error = Some(problem.chars().take(ERROR_CHARS).collect());
                batch.put(&delivery);
            }
            Outcome::Done => {
                batch.delete(TableId::WebhookDeliveries, delivery.key());
            }
            Outcome::Again(problem) | Outcome::GiveUp(problem) => {
                tracing::warn!(
                    webhook_id = delivery.webhook_id,
                    delivery_id = delivery.delivery_id,
                    problem,
                    "a webhook message could not be delivered and is given up"
                );
                batch.delete(TableId::WebhookDeliveries, delivery.key());
            }
        }
        self.engine().write(batch).await?;
        Ok(())
    }
}

fn is_too_old(delivery: &WebhookDelivery, now: Timestamp) -> bool {
    after(delivery.creation_time, GIVEN_UP_AFTER) <= now
}

fn pause_after(attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, 16)).unwrap_or_default();
    (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
}

fn after(time: Timestamp, pause: Duration) -> Timestamp {
    Timestamp::from_micros(time.micros().saturating_add(i64::try_from(pause.as_micros()).unwrap_or(i64::MAX)))
}

/// The message that tells `webhook` of what `body` says.
pub(crate) fn message(webhook: &Webhook, delivery_id: &str, body: &str, now: Timestamp) -> Message {
    let seconds = now.millis() / 1000;
    let mut headers = vec![
        ("Content-Type", "application/json".to_owned()),
        ("X-MLflow-Delivery-Id", delivery_id.to_owned()),
        ("X-MLflow-Timestamp", seconds.to_string()),
    ];
    if let Some(secret) = &webhook.secret {
        headers.push(("X-MLflow-Signature", sign::signature(secret, delivery_id, seconds, body)));
    }
    Message { url: webhook.url.clone(), headers, body: body.to_owned() }
}
