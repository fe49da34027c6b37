//! What webhooks can ask for. The registry's events are MLflow's; those of runs are runlake's own.

use runlake_types::Timestamp;
use serde_json::{Map, Value, json};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $entity:literal, $action:literal, $sample:tt;)*) => {
        /// A kind of event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Every kind there is.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// What it is about, in lower case: `model_version`.
            pub const fn entity(self) -> &'static str {
                match self {
                    $(Self::$kind => $entity,)*
                }
            }

            /// What happened to it, in lower case: `created`.
            pub const fn action(self) -> &'static str {
                match self {
                    $(Self::$kind => $action,)*
                }
            }

            /// What a test of a webhook sends.
            pub(crate) fn sample(self) -> Value {
                match self {
                    $(Self::$kind => json!($sample),)*
                }
            }
        }
    };
}

kinds! {
    /// A registered model was made.
    ModelCreated = "registered_model", "created", {"name": "example_model", "tags": {}, "description": "An example"};
    /// A version was made.
    VersionCreated = "model_version", "created",
        {"name": "example_model", "version": "1", "source": "models:/m-1", "run_id": "1", "tags": {}, "description": null};
    /// A tag of a version was set.
    VersionTagSet = "model_version_tag", "set", {"name": "example_model", "version": "1", "key": "k", "value": "v"};
    /// A tag of a version was deleted.
    VersionTagDeleted = "model_version_tag", "deleted", {"name": "example_model", "version": "1", "key": "k"};
    /// An alias was given to a version.
    AliasCreated = "model_version_alias", "created", {"name": "example_model", "alias": "champion", "version": "1"};
    /// An alias was taken away.
    AliasDeleted = "model_version_alias", "deleted", {"name": "example_model", "alias": "champion"};
    /// A prompt was made.
    PromptCreated = "prompt", "created", {"name": "example_prompt", "tags": {}, "description": "An example"};
    /// A version of a prompt was made.
    PromptVersionCreated = "prompt_version", "created",
        {"name": "example_prompt", "version": "1", "template": "Hello {{name}}", "tags": {}, "description": null};
    /// A tag of a prompt was set.
    PromptTagSet = "prompt_tag", "set", {"name": "example_prompt", "key": "k", "value": "v"};
    /// A tag of a prompt was deleted.
    PromptTagDeleted = "prompt_tag", "deleted", {"name": "example_prompt", "key": "k"};
    /// A tag of a version of a prompt was set.
    PromptVersionTagSet = "prompt_version_tag", "set",
        {"name": "example_prompt", "version": "1", "key": "k", "value": "v"};
    /// A tag of a version of a prompt was deleted.
    PromptVersionTagDeleted = "prompt_version_tag", "deleted", {"name": "example_prompt", "version": "1", "key": "k"};
    /// An alias was given to a version of a prompt.
    PromptAliasCreated = "prompt_alias", "created", {"name": "example_prompt", "alias": "live", "version": "1"};
    /// An alias of a prompt was taken away.
    PromptAliasDeleted = "prompt_alias", "deleted", {"name": "example_prompt", "alias": "live"};
    /// A run ended well.
    RunFinished = "run", "finished",
        {"run_id": "1", "experiment_id": "0", "run_name": "example", "status": "FINISHED", "end_time": 0};
    /// A run failed or was killed.
    RunFailed = "run", "failed",
        {"run_id": "1", "experiment_id": "0", "run_name": "example", "status": "FAILED", "end_time": 0};
}

impl Kind {
    /// The kind of this entity and action, in any case.
    pub fn parse(entity: &str, action: &str) -> Result<Self, String> {
        let (entity, action) = (entity.to_ascii_lowercase(), action.to_ascii_lowercase());
        let actions: Vec<&str> =
            Self::ALL.iter().filter(|kind| kind.entity() == entity).map(|kind| kind.action()).collect();
        if actions.is_empty() {
            let mut entities: Vec<&str> = Self::ALL.iter().map(|kind| kind.entity()).collect();
            entities.dedup();
            return Err(format!("Invalid entity '{entity}'. Valid entities are: ['{}']", entities.join("', '")));
        }
        Self::ALL.iter().copied().find(|kind| kind.entity() == entity && kind.action() == action).ok_or_else(|| {
            format!("Invalid action '{action}' for entity '{entity}'. Valid actions are: ['{}']", actions.join("', '"))
        })
    }

    /// Whether MLflow's clients know it.
    pub fn is_of_mlflow(self) -> bool {
        !matches!(self, Self::RunFinished | Self::RunFailed)
    }

    /// As stored: `model_version.created`.
    pub(crate) fn name(self) -> String {
        format!("{}.{}", self.entity(), self.action())
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let (entity, action) = name.split_once('.')?;
        Self::parse(entity, action).ok()
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What.
    pub kind: Kind,
    /// When.
    pub time: Timestamp,
    /// The fields MLflow documents for such an event.
    pub data: Map<String, Value>,
}

impl Event {
    /// The body of a message about it.
    pub(crate) fn body(&self) -> String {
        let since = std::time::Duration::from_micros(u64::try_from(self.time.micros()).unwrap_or_default());
        let time = humantime::format_rfc3339_micros(std::time::UNIX_EPOCH + since).to_string();
        json!({
            "entity": self.kind.entity(),
            "action": self.kind.action(),
            "timestamp": time,
            "data": self.data,
        })
        .to_string()
    }
}
