//! Telling webhooks of what happens to the registry, in the same write as the change.

use runlake_engine::View;
use runlake_types::WriteBatch;
use runlake_webhooks::{Event, Kind};
use serde_json::Value;

use crate::models::model_tags;
use crate::{Acting, IS_PROMPT, Result, names};

/// What an event is called when it is about a model, and when it is about a prompt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kinds {
    pub(crate) of_model: Option<Kind>,
    pub(crate) of_prompt: Kind,
}

pub(crate) const CREATED: Kinds = Kinds { of_model: Some(Kind::ModelCreated), of_prompt: Kind::PromptCreated };
pub(crate) const TAG_SET: Kinds = Kinds { of_model: None, of_prompt: Kind::PromptTagSet };
pub(crate) const TAG_DELETED: Kinds = Kinds { of_model: None, of_prompt: Kind::PromptTagDeleted };
pub(crate) const VERSION_CREATED: Kinds =
    Kinds { of_model: Some(Kind::VersionCreated), of_prompt: Kind::PromptVersionCreated };
pub(crate) const VERSION_TAG_SET: Kinds =
    Kinds { of_model: Some(Kind::VersionTagSet), of_prompt: Kind::PromptVersionTagSet };
pub(crate) const VERSION_TAG_DELETED: Kinds =
    Kinds { of_model: Some(Kind::VersionTagDeleted), of_prompt: Kind::PromptVersionTagDeleted };
pub(crate) const ALIAS_CREATED: Kinds =
    Kinds { of_model: Some(Kind::AliasCreated), of_prompt: Kind::PromptAliasCreated };
pub(crate) const ALIAS_DELETED: Kinds =
    Kinds { of_model: Some(Kind::AliasDeleted), of_prompt: Kind::PromptAliasDeleted };

impl Acting<'_> {
    /// Tells of an event about something called `name`; looks up what that is only if somebody wants to know.
    pub(crate) async fn notify(
        &self,
        view: &View,
        batch: &mut WriteBatch,
        name: &str,
        kinds: Kinds,
        data: impl FnOnce() -> Value,
    ) -> Result<()> {
        if self.is_wanted(kinds) {
            let is_prompt = names::is_prompt(&model_tags(view, name).await?);
            self.notify_of(batch, is_prompt, kinds, data);
        }
        Ok(())
    }

    /// Tells of an event about a model or a prompt.
    pub(crate) fn notify_of(
        &self,
        batch: &mut WriteBatch,
        is_prompt: bool,
        kinds: Kinds,
        data: impl FnOnce() -> Value,
    ) {
        let Some(kind) = (if is_prompt { Some(kinds.of_prompt) } else { kinds.of_model }) else { return };
        if let Some(webhooks) = self.registry.inner.tracking.webhooks()
            && webhooks.wants(kind)
            && let Value::Object(data) = data()
        {
            webhooks.enqueue(batch, &Event { kind, time: self.now(), data });
        }
    }

    fn is_wanted(&self, kinds: Kinds) -> bool {
        let wants = |kind: Kind| self.registry.inner.tracking.webhooks().is_some_and(|webhooks| webhooks.wants(kind));
        wants(kinds.of_prompt) || kinds.of_model.is_some_and(wants)
    }
}

/// Tags as a message tells them: without the one that only says what kind of thing this is.
pub(crate) fn told_tags(tags: &[(String, String)]) -> Value {
    tags.iter()
        .filter(|(key, _)| key != IS_PROMPT)
        .map(|(key, value)| (key.clone(), Value::String(value.clone())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
