//! The audit: every change of the registry is an event, written together with the change.

use runlake_types::rows::{RegistryAction, RegistryEvent};
use runlake_types::{EventId, KeyBuilder, WriteBatch};

use crate::{Acting, Registry, Result};

/// What an event tells besides who, when and what. Empty by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) version: Option<i64>,
    pub(crate) subject: Option<String>,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
    pub(crate) comment: Option<String>,
}

impl Acting<'_> {
    /// An event about the model called `name`, now.
    pub(crate) fn event(&self, name: &str, action: RegistryAction, told: Told) -> RegistryEvent {
        RegistryEvent {
            name: name.to_owned(),
            event_id: EventId::generate(),
            time: self.now(),
            actor: self.actor.map(str::to_owned),
            action,
            version: told.version,
            subject: told.subject,
            old_value: told.old,
            new_value: told.new,
            comment: told.comment,
        }
    }

    pub(crate) fn tell(&self, batch: &mut WriteBatch, name: &str, action: RegistryAction, told: Told) {
        batch.put(&self.event(name, action, told));
    }
}

impl Registry {
    /// Everything that was done to the model of that name, oldest first; what was done under a name it had before it was
    /// renamed as well. Tells of models that were deleted too.
    pub async fn history(&self, name: &str) -> Result<Vec<RegistryEvent>> {
        let view = self.view();
        let mut name = name.to_owned();
        let mut until = None;
        let mut history: Vec<RegistryEvent> = Vec::new();
        loop {
            let mut events = view.scan::<RegistryEvent>(&KeyBuilder::default().text(&name).build()).await?;
            if let Some(until) = until.take() {
                // Under a name that was given up somebody else may have gone on.
                events.retain(|event| event.event_id < until);
            }
            let renamed = events.iter().rposition(|event| {
                event.action == RegistryAction::ModelRenamed && event.new_value.as_deref() == Some(&*name)
            });
            let Some(at) = renamed else {
                history.splice(0..0, events);
                return Ok(history);
            };
            // What came before under this name was another model's.
            let later = events.split_off(at);
            let origin = later[0].clone();
            history.splice(0..0, later);
            match origin.old_value {
                Some(old) => (name, until) = (old, Some(origin.event_id)),
                None => return Ok(history),
            }
        }
    }
}
