//! Webhooks.

use runlake_webhooks::{CreateWebhook, Kind, TestResult, UpdateWebhook, Webhook, WebhookPage, WebhookStatus};
use serde::Serialize;

use super::{Fields, optional_text};
use crate::error::{ApiError, Result};

const STATUS_NAMES: [&str; 2] = ["ACTIVE", "DISABLED"];

impl Fields {
    /// `POST webhooks`.
    pub(crate) fn create_webhook(&self) -> Result<CreateWebhook> {
        let (name, url) = (self.required_text("name")?, self.required_text("url")?);
        if !self.has("events") {
            return Err(self.missing("events"));
        }
        Ok(CreateWebhook {
            name,
            url,
            description: optional_text(self, "description")?,
            events: self.events()?,
            secret: optional_text(self, "secret")?,
            status: self.webhook_status(),
        })
    }

    /// `PATCH webhooks/{id}`.
    pub(crate) fn update_webhook(&self) -> Result<UpdateWebhook> {
        Ok(UpdateWebhook {
            name: optional_text(self, "name")?,
            description: optional_text(self, "description")?,
            url: optional_text(self, "url")?,
            events: Some(self.events()?),
            secret: optional_text(self, "secret")?,
            status: self.webhook_status(),
        })
    }

    /// The event that `POST webhooks/{id}/test` names, if it does.
    pub(crate) fn tested_event(&self) -> Result<Option<Kind>> {
        self.object("event")?.as_ref().map(kind).transpose()
    }

    fn events(&self) -> Result<Vec<Kind>> {
        self.objects("events")?.iter().map(kind).collect()
    }

    fn webhook_status(&self) -> Option<WebhookStatus> {
        self.member("status", WebhookStatus::parse, &STATUS_NAMES)
    }
}

fn kind(event: &Fields) -> Result<Kind> {
    let (entity, action) = (event.required_text("entity")?, event.required_text("action")?);
    Kind::parse(&entity, &action).map_err(ApiError::invalid)
}

/// Which events an answer tells of: MLflow's clients fail at those they do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// MLflow's clients.
    Mlflow,
    /// Whoever asks runlake's own route.
    Runlake,
}

impl Audience {
    fn knows(self, kind: Kind) -> bool {
        self == Self::Runlake || kind.is_of_mlflow()
    }
}

/// Answer of the routes of one webhook.
#[derive(Debug, Serialize)]
pub(crate) struct WebhookAnswer<'a> {
    webhook: WebhookTold<'a>,
}

impl<'a> WebhookAnswer<'a> {
    pub(crate) fn of(webhook: &'a Webhook, audience: Audience) -> Self {
        Self { webhook: WebhookTold::of(webhook, audience) }
    }
}

/// Answer of `GET webhooks`.
#[derive(Debug, Serialize)]
pub(crate) struct WebhooksAnswer<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    webhooks: Vec<WebhookTold<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<&'a str>,
}

impl<'a> WebhooksAnswer<'a> {
    pub(crate) fn of(page: &'a WebhookPage, audience: Audience) -> Self {
        let known = page.webhooks.iter().filter(|webhook| webhook.events.iter().any(|kind| audience.knows(*kind)));
        Self {
            webhooks: known.map(|webhook| WebhookTold::of(webhook, audience)).collect(),
            next_page_token: page.next_page_token.as_deref(),
        }
    }
}

/// A webhook, without its secret.
#[derive(Debug, Serialize)]
struct WebhookTold<'a> {
    webhook_id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    url: &'a str,
    events: Vec<EventTold>,
    status: &'static str,
    creation_timestamp: i64,
    last_updated_timestamp: i64,
}

#[derive(Debug, Serialize)]
struct EventTold {
    entity: String,
    action: String,
}

impl<'a> WebhookTold<'a> {
    fn of(webhook: &'a Webhook, audience: Audience) -> Self {
        let known = webhook.events.iter().filter(|kind| audience.knows(**kind));
        Self {
            webhook_id: &webhook.webhook_id,
            name: &webhook.name,
            description: webhook.description.as_deref(),
            url: &webhook.url,
            events: known
                .map(|kind| EventTold {
                    entity: kind.entity().to_ascii_uppercase(),
                    action: kind.action().to_ascii_uppercase(),
                })
                .collect(),
            status: webhook.status.as_str(),
            creation_timestamp: webhook.creation_time.millis(),
            last_updated_timestamp: webhook.last_update_time.millis(),
        }
    }
}

/// Answer of `POST webhooks/{id}/test`.
#[derive(Debug, Serialize)]
pub(crate) struct WebhookTestAnswer<'a> {
    result: Tested<'a>,
}

#[derive(Debug, Serialize)]
struct Tested<'a> {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
}

impl<'a> From<&'a TestResult> for WebhookTestAnswer<'a> {
    fn from(result: &'a TestResult) -> Self {
        let result = match result {
            Ok(answer) => Tested {
                success: (200..300).contains(&answer.status),
                response_status: Some(answer.status),
                response_body: Some(&answer.body),
                error_message: None,
            },
            Err(problem) => Tested {
                success: false,
                response_status: None,
                response_body: None,
                error_message: Some(format!("Failed to test webhook: {problem}")),
            },
        };
        Self { result }
    }
}
