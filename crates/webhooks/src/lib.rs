//! Webhooks and their outbox.
//!
//! Whoever changes something calls [`Webhooks::enqueue`] while it gathers the rows of the change: for each webhook that
//! asked for such an event a delivery is added to the same batch, so that change and delivery become durable together.
//! [`Webhooks::run`] posts what is in the outbox, again and again with growing pauses until it was taken or is too old,
//! and removes it then. A server that dies in between posts it once more at its next start: every event arrives at least
//! once, with the same delivery id each time.
//!
//! How a message travels is not known here: see [`Post`].

mod delivery;
mod error;
mod event;
mod sign;
mod target;
mod webhooks;

pub use delivery::{Answer, Message, Post, PostError};
pub use error::{Error, Result};
pub use event::{Event, Kind};
pub use target::WebhookSettings;
pub use webhooks::{CreateWebhook, TestResult, UpdateWebhook, Webhook, WebhookPage, WebhookStatus, Webhooks};

#[cfg(test)]
mod tests;
