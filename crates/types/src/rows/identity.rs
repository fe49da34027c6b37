//! Who may use the lake: users, their tokens, and the roles they were given.

use super::{Row, Value, column_of, read};
use crate::{Cell, Column, ColumnKind, Record, SchemaError, TableId, Timestamp};

rows! {
    /// A user, or a service account: a user without a password.
    Users => User {
        [
            name: String,
        ]
        /// Argon2 hash of the password, as a PHC string. Without one the user logs in with tokens only.
        password_hash: Option<String>,
        /// Since when the user may not log in.
        disabled_time: Option<Timestamp>,
        creation_time: Timestamp,
        last_update_time: Timestamp,
    }

    /// A token, which stands for its user without the password.
    Tokens => Token {
        [
            token_id: String,
        ]
        user_name: String,
        /// What it is for, in the words of whoever made it.
        label: String,
        /// Argon2 hash of the secret part, as a PHC string.
        secret_hash: String,
        creation_time: Timestamp,
        expiry_time: Option<Timestamp>,
        revoked_time: Option<Timestamp>,
    }

    /// A role of a user: for everything, or for one experiment or registered model.
    RoleGrants => RoleGrant {
        [
            user_name: String,
            scope_kind: ScopeKind,
            /// Id of the experiment or name of the registered model; empty for everything.
            scope_id: String,
        ]
        role: Role,
        /// Name of the user who gave it; empty when it was given on a lake at rest, or without identity.
        granted_by: String,
        creation_time: Timestamp,
    }
}

text_enum! {
    /// What a role is for.
    ScopeKind {
        /// Everything in the lake.
        All = "all",
        /// One experiment, with its runs, logged models and artifacts.
        Experiment = "experiment",
        /// One registered model, with its versions.
        RegisteredModel = "registered_model",
    }
}

text_enum! {
    /// What a user may do. Each role may do what those before it may.
    Role {
        /// Read.
        Viewer = "viewer",
        /// Write runs, models and their files.
        Editor = "editor",
        /// Decide which version of a registered model is used.
        Approver = "approver",
        /// Everything, users and upkeep included.
        Admin = "admin",
    }
}
