//! The webhooks there are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::{Mutex, RwLock};
use runlake_engine::Engine;
pub use runlake_types::rows::WebhookStatus;
use runlake_types::rows::{Row as _, Webhook as WebhookRow, WebhookDelivery};
use runlake_types::{KeyBuilder, TableId, Timestamp, WriteBatch, unique_id};
use tokio::sync::Notify;

use crate::delivery::message;
use crate::{Answer, Error, Event, Kind, Message, Post, PostError, Result, WebhookSettings};

const NAME_CHARS: usize = 63;
const PAGE_ROWS: usize = 100;
const MAX_PAGE_ROWS: usize = 1000;
/// Messages that one webhook is owed at most: a target that is away must not fill the lake.
const MOST_OWED: usize = 10_000;

/// A webhook: who wants to be told of what.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Its id.
    pub webhook_id: String,
    /// Name for people; need not be unique.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Where messages go.
    pub url: String,
    /// What it wants to be told of.
    pub events: Vec<Kind>,
    /// What messages are signed with. Never told to anybody.
    pub secret: Option<String>,
    /// Whether it is told anything.
    pub status: WebhookStatus,
    /// When it was made.
    pub creation_time: Timestamp,
    /// When it was last changed.
    pub last_update_time: Timestamp,
}

/// A new webhook.
#[derive(Debug, Clone, Default)]
pub struct CreateWebhook {
    /// 1 to 63 letters, digits, dots, underscores and hyphens, with a letter or digit at both ends.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Where messages go.
    pub url: String,
    /// What it wants to be told of: one kind at least.
    pub events: Vec<Kind>,
    /// What messages are signed with; empty is none.
    pub secret: Option<String>,
    /// Active unless said otherwise.
    pub status: Option<WebhookStatus>,
}

/// A change of a webhook: what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct UpdateWebhook {
    /// New name.
    pub name: Option<String>,
    /// New description.
    pub description: Option<String>,
    /// New target.
    pub url: Option<String>,
    /// New events.
    pub events: Option<Vec<Kind>>,
    /// New secret.
    pub secret: Option<String>,
    /// New status.
    pub status: Option<WebhookStatus>,
}

/// A page of webhooks, the newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookPage {
    /// The webhooks.
    pub webhooks: Vec<Webhook>,
    /// Token of the next page; `None` on the last one.
    pub next_page_token: Option<String>,
}

/// What a test message met with.
pub type TestResult = Result<Answer, PostError>;

/// The webhooks of a lake, and its outbox. Clones share everything.
#[derive(Debug, Clone)]
pub struct Webhooks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    settings: WebhookSettings,
    post: Arc<dyn Post>,
    /// Those that are told of something: looked at by every change that might be one.
    active: RwLock<Vec<Webhook>>,
    changing: tokio::sync::Mutex<()>,
    enqueued: Notify,
    /// Messages that each webhook is owed, as of the last look at the outbox and with what was enqueued since.
    owed: Mutex<HashMap<String, usize>>,
}

impl Webhooks {
    /// Reads the webhooks of the lake.
    pub async fn open(engine: Engine, settings: WebhookSettings, post: Arc<dyn Post>) -> Result<Self> {
        let inner = Inner {
            engine,
            settings,
            post,
            active: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            enqueued: Notify::new(),
            owed: Mutex::default(),
        };
        let webhooks = Self { inner: Arc::new(inner) };
        webhooks.reload().await?;
        Ok(webhooks)
    }

    /// Whether somebody wants to be told of such events: if not, the event need not be put together.
    pub fn wants(&self, kind: Kind) -> bool {
        self.inner.active.read().iter().any(|webhook| webhook.events.contains(&kind))
    }

    /// Adds the messages that tell of `event` to the batch that makes it true. A webhook that is owed too many already is
    /// not told, which the log says.
    pub fn enqueue(&self, batch: &mut WriteBatch, event: &Event) {
        let active = self.inner.active.read();
        let mut told = active.iter().filter(|webhook| webhook.events.contains(&event.kind)).peekable();
        if told.peek().is_none() {
            return;
        }
        let body = event.body();
        let mut owed = self.inner.owed.lock();
        for webhook in told {
            let count = owed.entry(webhook.webhook_id.clone()).or_default();
            *count += 1;
            if *count > MOST_OWED {
                if *count == MOST_OWED + 1 {
                    let webhook_id = &webhook.webhook_id;
                    tracing::warn!(webhook_id, "the webhook is owed {MOST_OWED} messages; it is not told of more");
                }
                continue;
            }
            batch.put(&WebhookDelivery {
                delivery_id: unique_id(),
                webhook_id: webhook.webhook_id.clone(),
                body: body.clone(),
                creation_time: event.time,
                attempts: 0,
                next_attempt_time: event.time,
                last_error: None,
            });
        }
        self.inner.enqueued.notify_one();
    }

    /// Makes a webhook.
    pub async fn create(&self, request: CreateWebhook) -> Result<Webhook> {
        check_name(&request.name)?;
        self.inner.settings.check(&request.url)?;
        let events = checked_events(request.events)?;
        let now = self.now();
        let webhook = Webhook {
            webhook_id: unique_id(),
            name: request.name,
            description: request.description.filter(|text| !text.is_empty()),
            url: request.url,
            events,
            secret: request.secret.filter(|secret| !secret.is_empty()),
            status: request.status.unwrap_or(WebhookStatus::Active),
            creation_time: now,
            last_update_time: now,
        };
        let _changing = self.inner.changing.lock().await;
        self.write(&webhook).await?;
        Ok(webhook)
    }

    /// A webhook by id.
    pub async fn get(&self, webhook_id: &str) -> Result<Webhook> {
        self.find(webhook_id).await?.ok_or_else(|| Error::NotFound(webhook_id.to_owned()))
    }

    /// A page of the webhooks, 100 when the caller does not say how many.
    pub async fn list(&self, max_results: Option<i64>, page_token: Option<&str>) -> Result<WebhookPage> {
        let count = match max_results {
            None | Some(0) => PAGE_ROWS,
            Some(count) => usize::try_from(count)
                .ok()
                .filter(|count| *count <= MAX_PAGE_ROWS)
                .ok_or_else(|| Error::invalid(format!("max_results must be between 1 and {MAX_PAGE_ROWS}.")))?,
        };
        let after = page_token.filter(|token| !token.is_empty()).map(position).transpose()?;
        let mut webhooks = self.all().await?;
        webhooks.sort_by(|a, b| place(b).cmp(&place(a)));
        webhooks.retain(|webhook| after.as_ref().is_none_or(|(time, id)| place(webhook) < (*time, id.as_str())));
        let more = webhooks.len() > count;
        webhooks.truncate(count);
        let next_page_token = webhooks.last().filter(|_| more).map(|last| {
            let (time, id) = place(last);
            URL_SAFE_NO_PAD.encode(format!("{time} {id}"))
        });
        Ok(WebhookPage { webhooks, next_page_token })
    }

    /// Changes a webhook.
    pub async fn update(&self, webhook_id: &str, change: UpdateWebhook) -> Result<Webhook> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let _changing = self.inner.changing.lock().await;
        let mut webhook = self.get(webhook_id).await?;
        if let Some(name) = given(change.name) {
            check_name(&name)?;
            webhook.name = name;
        }
        if let Some(url) = given(change.url) {
            self.inner.settings.check(&url)?;
            webhook.url = url;
        }
        if let Some(events) = change.events.filter(|events| !events.is_empty()) {
            webhook.events = checked_events(events)?;
        }
        webhook.description = given(change.description).or(webhook.description);
        webhook.secret = given(change.secret).or(webhook.secret);
        webhook.status = change.status.unwrap_or(webhook.status);
        webhook.last_update_time = self.now();
        self.write(&webhook).await?;
        Ok(webhook)
    }

    /// Deletes a webhook. Messages that it is still owed are dropped.
    pub async fn delete(&self, webhook_id: &str) -> Result<()> {
        let _changing = self.inner.changing.lock().await;
        let webhook = self.get(webhook_id).await?;
        let mut batch = WriteBatch::default();
        batch.delete(TableId::Webhooks, webhook.to_row().key());
        self.inner.engine.write(batch).await?;
        self.reload().await
    }

    /// Sends an example of an event (of the first kind it wants, if none is named) and tells what came of it.
    pub async fn test(&self, webhook_id: &str, kind: Option<Kind>) -> Result<TestResult> {
        let webhook = self.get(webhook_id).await?;
        let kind = kind.or(webhook.events.first().copied()).unwrap_or(Kind::ModelCreated);
        let data = kind.sample().as_object().cloned().unwrap_or_default();
        let event = Event { kind, time: self.now(), data };
        Ok(self.post(message(&webhook, &unique_id(), &event.body(), event.time)).await)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.engine.clock().now()
    }

    /// Notes what is in the outbox.
    pub(crate) fn count_owed(&self, outbox: &[WebhookDelivery]) {
        let mut owed = self.inner.owed.lock();
        owed.clear();
        for delivery in outbox {
            match owed.get_mut(&delivery.webhook_id) {
                Some(count) => *count += 1,
                None => drop(owed.insert(delivery.webhook_id.clone(), 1)),
            }
        }
    }

    pub(crate) async fn enqueued(&self) {
        self.inner.enqueued.notified().await;
    }

    pub(crate) async fn post(&self, message: Message) -> Result<Answer, PostError> {
        // What was allowed when it was stored may not be any more.
        self.inner.settings.check(&message.url).map_err(|error| PostError(error.to_string()))?;
        self.inner.post.post(message).await
    }

    pub(crate) async fn find(&self, webhook_id: &str) -> Result<Option<Webhook>> {
        let key = KeyBuilder::default().text(webhook_id).build();
        Ok(self.inner.engine.view().get::<WebhookRow>(&key).await?.map(Webhook::from_row))
    }

    /// Ids of the webhooks that are told nothing for now.
    pub(crate) async fn disabled(&self) -> Result<HashSet<String>> {
        let all = self.all().await?.into_iter();
        Ok(all.filter(|webhook| webhook.status == WebhookStatus::Disabled).map(|webhook| webhook.webhook_id).collect())
    }

    async fn all(&self) -> Result<Vec<Webhook>> {
        let rows = self.inner.engine.view().scan::<WebhookRow>(&KeyBuilder::default().build()).await?;
        Ok(rows.into_iter().map(Webhook::from_row).collect())
    }

    async fn write(&self, webhook: &Webhook) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.put(&webhook.to_row());
        self.inner.engine.write(batch).await?;
        self.reload().await
    }

    async fn reload(&self) -> Result<()> {
        let mut webhooks = self.all().await?;
        webhooks.retain(|webhook| webhook.status == WebhookStatus::Active);
        *self.inner.active.write() = webhooks;
        Ok(())
    }
}

impl Webhook {
    fn from_row(row: WebhookRow) -> Self {
        Self {
            webhook_id: row.webhook_id,
            name: row.name,
            description: row.description,
            url: row.url,
            // A kind that a newer version wrote is none of ours to tell of.
            events: row.events.split(',').filter_map(Kind::from_name).collect(),
            secret: row.secret,
            status: row.status,
            creation_time: row.creation_time,
            last_update_time: row.last_update_time,
        }
    }

    fn to_row(&self) -> WebhookRow {
        WebhookRow {
            webhook_id: self.webhook_id.clone(),
            name: self.name.clone(),
            description: self.description.clone(),
            url: self.url.clone(),
            events: self.events.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(","),
            secret: self.secret.clone(),
            status: self.status,
            creation_time: self.creation_time,
            last_update_time: self.last_update_time,
        }
    }
}

/// Where a webhook stands in a list.
fn place(webhook: &Webhook) -> (i64, &str) {
    (webhook.creation_time.micros(), &webhook.webhook_id)
}

/// Where a page ended.
fn position(token: &str) -> Result<(i64, String)> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (time, id) = text.split_once(' ')?;
        Some((time.parse().ok()?, id.to_owned()))
    };
    read().ok_or_else(|| Error::invalid("Invalid page token, could not base64-decode"))
}

fn check_name(name: &str) -> Result<()> {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.len() <= NAME_CHARS
        && name.chars().all(is_fine)
        && is_end(name.chars().next())
        && is_end(name.chars().next_back())
    {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Webhook name '{name}' is invalid. It must start and end with a letter or digit, be less than 63 characters \
         long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-)."
    )))
}

fn checked_events(mut events: Vec<Kind>) -> Result<Vec<Kind>> {
    if events.is_empty() {
        return Err(Error::invalid("Webhook events must be a non-empty list of WebhookEvent objects: []."));
    }
    events.sort_unstable();
    events.dedup();
    Ok(events)
}
