//! Rows of the model registry.

use super::{Row, Value, column_of, read};
use crate::{Cell, Column, ColumnKind, EventId, ExperimentId, Record, SchemaError, TableId, Timestamp};

rows! {
    /// A registered model; a prompt is one with the tag `mlflow.prompt.is_prompt`.
    RegisteredModels => RegisteredModel {
        [
            name: String,
        ]
        description: Option<String>,
        /// The highest version number ever given: numbers are not used again after a deletion.
        last_version: i64,
        creation_time: Timestamp,
        last_update_time: Timestamp,
    }

    /// A tag of a registered model.
    RegisteredModelTags => RegisteredModelTag {
        [
            name: String,
            key: String,
        ]
        value: String,
    }

    /// An alias of a registered model.
    RegisteredModelAliases => RegisteredModelAlias {
        [
            name: String,
            alias: String,
        ]
        /// The version it stands for.
        version: i64,
    }

    /// A version of a registered model.
    ModelVersions => ModelVersion {
        [
            name: String,
            /// From 1, without gaps as long as none is deleted.
            version: i64,
        ]
        /// Experiment of the run, where both are known.
        experiment_id: Option<ExperimentId>,
        /// The run that made the model.
        run_id: Option<String>,
        /// The logged model it was registered from.
        model_id: Option<String>,
        /// Where the model was registered from, as the caller named it.
        source: String,
        /// Where its files are, if `source` is a reference to something else.
        storage_location: Option<String>,
        run_link: Option<String>,
        status: VersionStatus,
        status_message: Option<String>,
        current_stage: Stage,
        /// Who registered it, where the server knows.
        user_id: Option<String>,
        description: Option<String>,
        creation_time: Timestamp,
        last_update_time: Timestamp,
    }

    /// A tag of a model version.
    ModelVersionTags => ModelVersionTag {
        [
            name: String,
            version: i64,
            key: String,
        ]
        value: String,
    }

    /// An entry of the registry's audit log.
    RegistryEvents => RegistryEvent {
        [
            /// The registered model, by its name at that time. A renaming is entered under both names.
            name: String,
            event_id: EventId,
        ]
        time: Timestamp,
        /// Who did it, where the server knows.
        actor: Option<String>,
        action: RegistryAction,
        version: Option<i64>,
        /// Name of the alias or key of the tag that changed.
        subject: Option<String>,
        /// What it was before: a stage, the version of an alias, the value of a tag.
        old_value: Option<String>,
        /// What it is now.
        new_value: Option<String>,
        comment: Option<String>,
    }
}

rows! {
    /// A webhook: who wants to be told of what.
    Webhooks => Webhook {
        [
            webhook_id: String,
        ]
        name: String,
        description: Option<String>,
        url: String,
        /// Names of events, such as `model_version.created`, with commas between.
        events: String,
        /// What messages are signed with.
        secret: Option<String>,
        status: WebhookStatus,
        creation_time: Timestamp,
        last_update_time: Timestamp,
    }

    /// A message that is still to be delivered.
    WebhookDeliveries => WebhookDelivery {
        [
            delivery_id: String,
        ]
        webhook_id: String,
        body: String,
        creation_time: Timestamp,
        /// How often it was tried.
        attempts: i64,
        /// Not before this.
        next_attempt_time: Timestamp,
        /// Why the last try failed.
        last_error: Option<String>,
    }
}

rows! {
    /// What of a registered model changes only with approval.
    ApprovalPolicies => ApprovalPolicy {
        [
            name: String,
        ]
        /// How many must approve.
        required_approvals: i64,
        /// The users who may, as keys; none: whoever has the role.
        approvers: Vec<(String, String)>,
        /// Stages that need it, as keys; none: every one.
        stages: Vec<(String, String)>,
        /// Aliases that need it, as keys; none: every one.
        aliases: Vec<(String, String)>,
        set_by: String,
        last_update_time: Timestamp,
    }

    /// A change that somebody asked for.
    ApprovalRequests => ApprovalRequest {
        [
            name: String,
            request_id: String,
        ]
        version: i64,
        change: RequestedChange,
        /// The stage or alias.
        target: String,
        /// Whether other versions leave the stage.
        archive_existing: bool,
        status: RequestStatus,
        requested_by: String,
        comment: Option<String>,
        creation_time: Timestamp,
        decided_time: Option<Timestamp>,
    }

    /// What somebody said to a request.
    ApprovalVotes => ApprovalVote {
        [
            name: String,
            request_id: String,
            user_name: String,
        ]
        approved: bool,
        comment: Option<String>,
        time: Timestamp,
    }
}

text_enum! {
    /// What a request asks for.
    RequestedChange {
        /// The version to go to a stage.
        Transition = "transition",
        /// An alias to mean the version.
        SetAlias = "set_alias",
        /// An alias to be taken away from the version.
        DeleteAlias = "delete_alias",
    }
}

text_enum! {
    /// What became of a request.
    RequestStatus {
        /// Nothing yet.
        Pending = "pending",
        /// Approved by as many as needed, and done.
        Approved = "approved",
        /// Rejected.
        Rejected = "rejected",
        /// Taken back by whoever asked.
        Withdrawn = "withdrawn",
    }
}

text_enum! {
    /// Whether a webhook is told anything.
    WebhookStatus {
        /// It is.
        Active = "ACTIVE",
        /// Not for now.
        Disabled = "DISABLED",
    }
}

text_enum! {
    /// Stage of a model version.
    Stage {
        /// None yet.
        None = "None",
        /// Under test.
        Staging = "Staging",
        /// In use.
        Production = "Production",
        /// No longer in use.
        Archived = "Archived",
    }
}

text_enum! {
    /// Whether a model version can be used.
    VersionStatus {
        /// Its files are still on their way.
        Pending = "PENDING_REGISTRATION",
        /// Its files could not be taken over.
        Failed = "FAILED_REGISTRATION",
        /// Usable.
        Ready = "READY",
    }
}

text_enum! {
    /// What was done to the registry.
    RegistryAction {
        /// A registered model was made.
        ModelCreated = "model_created",
        /// Its description changed.
        ModelUpdated = "model_updated",
        /// It got another name.
        ModelRenamed = "model_renamed",
        /// It was deleted, with all its versions.
        ModelDeleted = "model_deleted",
        /// A tag of it was set.
        ModelTagSet = "model_tag_set",
        /// A tag of it was deleted.
        ModelTagDeleted = "model_tag_deleted",
        /// A version was made.
        VersionCreated = "version_created",
        /// The description of a version changed.
        VersionUpdated = "version_updated",
        /// A version was deleted.
        VersionDeleted = "version_deleted",
        /// A tag of a version was set.
        VersionTagSet = "version_tag_set",
        /// A tag of a version was deleted.
        VersionTagDeleted = "version_tag_deleted",
        /// A version went to another stage.
        StageChanged = "stage_changed",
        /// An alias was given to a version.
        AliasSet = "alias_set",
        /// An alias was taken away.
        AliasDeleted = "alias_deleted",
        /// It was said which changes need approval.
        PolicySet = "policy_set",
        /// No change needs approval any more.
        PolicyCleared = "policy_cleared",
        /// A change was asked for.
        ChangeRequested = "change_requested",
        /// A request was approved; the change is told apart, once it is made.
        ChangeApproved = "change_approved",
        /// A request was rejected.
        ChangeRejected = "change_rejected",
        /// A request was taken back.
        ChangeWithdrawn = "change_withdrawn",
    }
}
