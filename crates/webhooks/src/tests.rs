use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use runlake_engine::{Engine, Settings};
use runlake_storage::{Store, StoreSettings};
use runlake_types::{ManualClock, Timestamp, WriteBatch};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;

const START_MS: i64 = 1_700_000_000_000;

/// Answers as planned, then with 200, and keeps what it was sent.
#[derive(Debug, Default)]
struct Target {
    planned: Mutex<VecDeque<Result<u16, &'static str>>>,
    sent: Mutex<Vec<Message>>,
}

impl Post for Target {
    fn post(&self, message: Message) -> BoxFuture<'static, Result<Answer, PostError>> {
        self.sent.lock().push(message);
        let answer = match self.planned.lock().pop_front().unwrap_or(Ok(200)) {
            Ok(status) => Ok(Answer { status, body: "thanks".into() }),
            Err(problem) => Err(PostError(problem.into())),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Target {
    async fn wait_for(&self, count: usize) -> Vec<Message> {
        for _ in 0..500 {
            if self.sent.lock().len() >= count {
                return self.sent.lock().clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} messages instead of {count}", self.sent.lock().len());
    }
}

struct Lake {
    webhooks: Webhooks,
    target: Arc<Target>,
    clock: Arc<ManualClock>,
    store: Store,
}

impl Lake {
    async fn open() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(START_MS).expect("fits")));
        let store = Store::open("memory://", &StoreSettings::default()).await.expect("opens");
        Self::open_at(store, clock).await
    }

    async fn open_at(store: Store, clock: Arc<ManualClock>) -> Self {
        let engine = Engine::open(store.clone(), Settings::default(), Arc::clone(&clock) as _).await.expect("opens");
        let target = Arc::new(Target::default());
        let webhooks = Webhooks::open(engine, WebhookSettings::default(), Arc::clone(&target) as _).await;
        Self { webhooks: webhooks.expect("opens"), target, clock, store }
    }

    async fn reopened(self) -> Self {
        self.webhooks.engine().close().await.expect("closes");
        Self::open_at(self.store.clone(), Arc::clone(&self.clock)).await
    }

    async fn webhook(&self, events: &[Kind]) -> String {
        self.webhooks.create(request(events)).await.expect("made").webhook_id
    }

    /// Something happens.
    async fn happen(&self, kind: Kind, name: &str) {
        let data = json!({"name": name}).as_object().cloned().unwrap_or_default();
        let mut batch = WriteBatch::default();
        self.webhooks.enqueue(&mut batch, &Event { kind, time: self.webhooks.now(), data });
        if !batch.is_empty() {
            self.webhooks.engine().write(batch).await.expect("written");
        }
    }

    fn deliver(&self) -> CancellationToken {
        let stop = CancellationToken::new();
        tokio::spawn(self.webhooks.clone().run(stop.clone()));
        stop
    }

    async fn owed(&self) -> usize {
        let all = runlake_types::KeyBuilder::default().build();
        let view = self.webhooks.engine().view();
        view.scan::<runlake_types::rows::WebhookDelivery>(&all).await.expect("reads").len()
    }

    async fn owed_becomes(&self, count: usize) {
        for _ in 0..500 {
            if self.owed().await == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} messages are owed instead of {count}", self.owed().await);
    }
}

fn request(events: &[Kind]) -> CreateWebhook {
    CreateWebhook {
        name: "hook".into(),
        url: "https://example.com/x".into(),
        events: events.to_vec(),
        secret: Some("s".into()),
        ..CreateWebhook::default()
    }
}

fn header<'a>(message: &'a Message, name: &str) -> &'a str {
    message.headers.iter().find(|(found, _)| *found == name).map_or("", |(_, value)| value.as_str())
}

fn subject(message: &Message) -> Value {
    serde_json::from_str::<Value>(&message.body).expect("is JSON")["data"]["name"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asked_is_told_once() {
    let lake = Lake::open().await;
    lake.webhook(&[Kind::ModelCreated, Kind::RunFinished]).await;
    lake.webhook(&[Kind::VersionCreated]).await;
    assert!(lake.webhooks.wants(Kind::RunFinished) && !lake.webhooks.wants(Kind::RunFailed));
    let stop = lake.deliver();
    lake.happen(Kind::AliasDeleted, "nobody asked").await;
    lake.happen(Kind::ModelCreated, "m").await;
    let sent = lake.target.wait_for(1).await;
    lake.owed_becomes(0).await;
    let message = &sent[0];
    assert_eq!((sent.len(), &*message.url), (1, "https://example.com/x"));
    let body: Value = serde_json::from_str(&message.body).expect("is JSON");
    assert_eq!(
        body,
        json!({"entity": "registered_model", "action": "created", "timestamp": "2023-11-14T22:13:20.000000Z",
               "data": {"name": "m"}})
    );
    let (id, seconds) = (header(message, "X-MLflow-Delivery-Id"), header(message, "X-MLflow-Timestamp"));
    assert_eq!(seconds, (START_MS / 1000).to_string());
    assert_eq!(header(message, "X-MLflow-Signature"), sign::signature("s", id, START_MS / 1000, &message.body));
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_tried_again_later_and_refusals_are_not() {
    let lake = Lake::open().await;
    lake.webhook(&[Kind::ModelCreated]).await;
    lake.target.planned.lock().extend([Err("no route"), Ok(503), Ok(200), Ok(404)]);
    let stop = lake.deliver();
    lake.happen(Kind::ModelCreated, "m").await;
    let mut ids = Vec::new();
    for attempt in 1..=3 {
        let sent = lake.target.wait_for(attempt).await;
        ids.push(header(&sent[attempt - 1], "X-MLflow-Delivery-Id").to_owned());
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(lake.target.sent.lock().len(), attempt, "not before its time");
        // More than each of the pauses.
        lake.clock.advance(5_000_000);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "a message keeps its id");
    lake.owed_becomes(0).await;
    lake.happen(Kind::ModelCreated, "refused").await;
    lake.target.wait_for(4).await;
    lake.owed_becomes(0).await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_delivers_what_is_owed() {
    let lake = Lake::open().await;
    let kept = lake.webhook(&[Kind::ModelCreated]).await;
    let gone = lake.webhook(&[Kind::ModelCreated]).await;
    lake.happen(Kind::ModelCreated, "m").await;
    lake.webhooks.delete(&gone).await.expect("deleted");
    assert_eq!(lake.owed().await, 2);
    let lake = lake.reopened().await;
    assert!(lake.webhooks.get(&kept).await.is_ok());
    let stop = lake.deliver();
    lake.owed_becomes(0).await;
    assert_eq!(lake.target.sent.lock().iter().map(subject).collect::<Vec<_>>(), ["m"]);
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_for_a_day_is_given_up() {
    let lake = Lake::open().await;
    lake.webhook(&[Kind::ModelCreated]).await;
    lake.target.planned.lock().extend([Ok(500), Ok(500)]);
    let stop = lake.deliver();
    lake.happen(Kind::ModelCreated, "m").await;
    lake.target.wait_for(1).await;
    lake.clock.advance(25 * 3600 * 1_000_000);
    lake.owed_becomes(0).await;
    assert_eq!(lake.target.sent.lock().len(), 2);
    stop.cancel();
}

#[tokio::test]
async fn webhooks_are_made_changed_and_listed() {
    let lake = Lake::open().await;
    let id = lake.webhook(&[Kind::VersionCreated, Kind::ModelCreated, Kind::ModelCreated]).await;
    let made = lake.webhooks.get(&id).await.expect("there");
    assert_eq!((made.status, made.events), (WebhookStatus::Active, vec![Kind::ModelCreated, Kind::VersionCreated]));
    let change =
        UpdateWebhook { status: Some(WebhookStatus::Disabled), name: Some(String::new()), ..UpdateWebhook::default() };
    let changed = lake.webhooks.update(&id, change).await.expect("changed");
    assert_eq!((changed.name.as_str(), changed.secret.as_deref()), ("hook", Some("s")));
    assert!(!lake.webhooks.wants(Kind::ModelCreated), "a disabled one is told nothing");
    for _ in 0..4 {
        lake.clock.advance(1);
        lake.webhook(&[Kind::RunFailed]).await;
    }
    let (mut seen, mut token) = (Vec::new(), None);
    loop {
        let page = lake.webhooks.list(Some(2), token.as_deref()).await.expect("listed");
        seen.extend(page.webhooks.into_iter().map(|webhook| webhook.creation_time));
        token = page.next_page_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted_by(|a, b| a > b), "the newest first");
    let said = |result: Result<Webhook>| result.expect_err("refused").to_string();
    for (name, events, url, part) in [
        ("a b", vec![Kind::RunFailed], "https://x.org", "Webhook name 'a b' is invalid."),
        ("-a", vec![Kind::RunFailed], "https://x.org", "is invalid"),
        (&*"a".repeat(64), vec![Kind::RunFailed], "https://x.org", "is invalid"),
        ("a", vec![], "https://x.org", "must be a non-empty list"),
        ("a", vec![Kind::RunFailed], "http://x.org", "Invalid webhook URL scheme"),
    ] {
        let request = CreateWebhook { name: name.into(), url: url.into(), ..request(&events) };
        assert!(said(lake.webhooks.create(request).await).contains(part), "{name} {url}");
    }
    assert_eq!(said(lake.webhooks.get("nope").await), "Webhook with ID nope not found.");
    assert!(lake.webhooks.list(Some(1001), None).await.is_err() && lake.webhooks.list(None, Some("%")).await.is_err());
    assert_eq!(
        Kind::parse("REGISTERED_MODEL", "DELETED").expect_err("refused"),
        "Invalid action 'deleted' for entity 'registered_model'. Valid actions are: ['created']"
    );
    assert!(Kind::parse("X", "created").expect_err("refused").contains("Valid entities are"));
}

#[tokio::test]
async fn a_test_tells_what_came_of_it() {
    let lake = Lake::open().await;
    let id = lake.webhook(&[Kind::VersionTagSet]).await;
    lake.target.planned.lock().extend([Ok(418), Err("no route")]);
    assert_eq!(lake.webhooks.test(&id, None).await.expect("tested").expect("answered").status, 418);
    assert!(lake.webhooks.test(&id, Some(Kind::RunFailed)).await.expect("tested").is_err());
    let entities: Vec<String> = lake.target.sent.lock().iter().map(|message| message.body.clone()).collect();
    assert!(entities[0].contains("model_version_tag") && entities[1].contains("\"run\""));
    assert_eq!(lake.owed().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_away_is_owed_no_more_than_so_much() {
    let lake = Lake::open().await;
    let away = lake.webhook(&[Kind::ModelCreated]).await;
    let mut batch = WriteBatch::default();
    let data = json!({"name": "m"}).as_object().cloned().unwrap_or_default();
    let event = Event { kind: Kind::ModelCreated, time: lake.webhooks.now(), data };
    for _ in 0..10_050 {
        lake.webhooks.enqueue(&mut batch, &event);
    }
    lake.webhooks.engine().write(batch).await.expect("written");
    assert_eq!(lake.owed().await, 10_000);
    lake.webhook(&[Kind::ModelCreated]).await;
    lake.happen(Kind::ModelCreated, "the other is told").await;
    assert_eq!(lake.owed().await, 10_001);
    // What is delivered makes room.
    let stop = lake.deliver();
    lake.target.wait_for(100).await;
    stop.cancel();
    lake.webhooks.delete(&away).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_disabled_webhook_is_owed_waits_for_it() {
    let lake = Lake::open().await;
    let id = lake.webhook(&[Kind::ModelCreated]).await;
    lake.happen(Kind::ModelCreated, "m").await;
    let switch = async |status| {
        let change = UpdateWebhook { status: Some(status), ..UpdateWebhook::default() };
        lake.webhooks.update(&id, change).await.expect("changed");
    };
    switch(WebhookStatus::Disabled).await;
    let stop = lake.deliver();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((lake.target.sent.lock().len(), lake.owed().await), (0, 1));
    switch(WebhookStatus::Active).await;
    lake.target.wait_for(1).await;
    lake.owed_becomes(0).await;
    stop.cancel();
}
