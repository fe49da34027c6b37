//! `runlake user`: through the server that owns a lake, or on a lake that no server has open.

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use runlake_identity::{Identity, IdentitySettings, NewUser, OldTokens, Role, Scope, UserInfo};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::Server;
use crate::secret_input::PasswordArgs;
use crate::terminal::say;
use crate::upkeep::{Opened, Target, close};
use crate::{Failure, Result};

/// Who may use a lake.
#[allow(clippy::doc_markdown, reason = "the comments are the help that terminals show")]
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Makes the first administrator of a server, with the token it printed when it started.
    CreateAdmin(CreateAdminArgs),
    /// Makes a user.
    ///
    /// Roles: a viewer reads, an editor also writes runs and models, an approver also decides which version of a
    /// registered model is used, an admin may do everything.
    Add(AddArgs),
    /// Lists the users with their roles.
    List(Target),
    /// Gives a user another password, which ends what the old one began; tokens only with `--revoke-tokens`.
    Passwd(PasswdArgs),
    /// Gives a user a role, or takes it away.
    Role(RoleArgs),
    /// Locks a user out, with their tokens, until `enable`.
    Disable(NameArgs),
    /// Lets a disabled user in again.
    Enable(NameArgs),
    /// Removes a user with their tokens and roles.
    Remove(NameArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateAdminArgs {
    /// Name to log in with.
    name: String,

    /// Address of the server, e.g. <http://127.0.0.1:5000>.
    #[arg(long, env = "RUNLAKE_SERVER", value_name = "URL")]
    server: String,

    /// The token that the server printed at this start. It is good once.
    #[arg(long, env = "RUNLAKE_SETUP_TOKEN", value_name = "TOKEN")]
    setup_token: String,

    #[command(flatten)]
    password: PasswordArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Name to log in with.
    name: String,

    /// What the user may do [default: nothing, until `runlake user role`].
    #[arg(long)]
    role: Option<RoleName>,

    #[command(flatten)]
    scope: ScopeArgs,

    /// A service account: no password, only tokens (`runlake token create`).
    #[arg(long, conflicts_with = "password_file")]
    service: bool,

    #[command(flatten)]
    password: PasswordArgs,

    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct PasswdArgs {
    /// The user.
    name: String,

    /// Ends the user's tokens, too: whoever had the old password may have made some.
    #[arg(long)]
    revoke_tokens: bool,

    #[command(flatten)]
    password: PasswordArgs,

    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct RoleArgs {
    /// The user.
    name: String,

    /// The role; none takes it away.
    role: RoleChange,

    #[command(flatten)]
    scope: ScopeArgs,

    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The user.
    name: String,

    #[command(flatten)]
    target: Target,
}

/// What a role is for; everything when nothing is named.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct ScopeArgs {
    /// For one experiment only, by id.
    #[arg(long, value_name = "ID")]
    experiment: Option<String>,

    /// For one registered model only.
    #[arg(long, value_name = "NAME")]
    registered_model: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleName {
    Viewer,
    Editor,
    Approver,
    Admin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleChange {
    Viewer,
    Editor,
    Approver,
    Admin,
    None,
}

impl RoleChange {
    fn role(self) -> Option<Role> {
        match self {
            Self::Viewer => Some(Role::Viewer),
            Self::Editor => Some(Role::Editor),
            Self::Approver => Some(Role::Approver),
            Self::Admin => Some(Role::Admin),
            Self::None => None,
        }
    }
}

impl RoleName {
    fn role(self) -> Role {
        match self {
            Self::Viewer => Role::Viewer,
            Self::Editor => Role::Editor,
            Self::Approver => Role::Approver,
            Self::Admin => Role::Admin,
        }
    }
}

impl ScopeArgs {
    fn scope(&self) -> Result<Scope> {
        let scope = match (&self.experiment, &self.registered_model) {
            (Some(id), _) => Scope::parse("experiment", id),
            (None, Some(name)) => Scope::parse("registered_model", name),
            (None, None) => Ok(Scope::All),
        };
        scope.map_err(|error| Failure::usage(error.to_string()))
    }
}

/// A user as the server lists one.
#[derive(Debug, Deserialize)]
struct User {
    name: String,
    has_password: bool,
    disabled: bool,
    roles: Vec<GivenRole>,
}

#[derive(Debug, Deserialize)]
struct GivenRole {
    role: String,
    scope: String,
    #[serde(default)]
    id: String,
}

#[derive(Debug, Deserialize)]
struct Users {
    users: Vec<User>,
}

impl From<&UserInfo> for User {
    fn from(user: &UserInfo) -> Self {
        let given = |(scope, role): (&Scope, Role)| GivenRole {
            role: role.to_string(),
            scope: scope.kind().to_string(),
            id: scope.id(),
        };
        Self {
            name: user.name.clone(),
            has_password: user.has_password,
            disabled: user.disabled_time.is_some(),
            roles: user.grants.iter().map(given).collect(),
        }
    }
}

/// The users behind a server, or of a lake at rest.
pub(crate) enum Door {
    Server(Server),
    Lake(Identity, Box<runlake_engine::Engine>),
}

impl Door {
    pub(crate) async fn open(target: Target) -> Result<Self> {
        match target.open().await? {
            Opened::Server(server) => Ok(Self::Server(server)),
            Opened::Lake(engine) => match Identity::open((*engine).clone(), &IdentitySettings::default()).await {
                Ok(identity) => Ok(Self::Lake(identity, engine)),
                Err(error) => {
                    close(&engine).await?;
                    Err(Failure::new(format!("the users of the lake cannot be read: {error}")))
                }
            },
        }
    }
}

/// The outcome, once the lake is closed.
pub(crate) async fn finish<T>(engine: &runlake_engine::Engine, outcome: runlake_identity::Result<T>) -> Result<T> {
    let closed = close(engine).await;
    let done = outcome.map_err(|error| Failure::new(error.to_string()))?;
    closed?;
    Ok(done)
}

pub(crate) async fn run(command: UserCommand) -> Result {
    match command {
        UserCommand::CreateAdmin(args) => create_admin(args).await,
        UserCommand::Add(args) => add(args).await,
        UserCommand::List(target) => list(target).await,
        UserCommand::Passwd(args) => passwd(args).await,
        UserCommand::Role(args) => role(args).await,
        UserCommand::Disable(args) => set_disabled(args, true).await,
        UserCommand::Enable(args) => set_disabled(args, false).await,
        UserCommand::Remove(args) => remove(args).await,
    }
}

async fn create_admin(args: CreateAdminArgs) -> Result {
    let password = args.password.read(&args.name)?;
    let body = json!({ "setup_token": args.setup_token, "name": args.name, "password": password });
    let made: User = Server::at(&args.server)?.send(Method::POST, "auth/setup", &body).await?;
    say(&format_args!("{} may do everything now", made.name));
    Ok(())
}

async fn add(args: AddArgs) -> Result {
    let scope = args.scope.scope()?;
    if args.role.is_none() && scope != Scope::All {
        return Err(Failure::usage("say which role the user has there: --role viewer, editor or approver"));
    }
    let roles: Vec<(Scope, Role)> = args.role.map(|role| (scope, role.role())).into_iter().collect();
    let password = if args.service { None } else { Some(args.password.read(&args.name)?) };
    let made = match Door::open(args.target).await? {
        Door::Server(server) => {
            let roles: Vec<Value> = roles.iter().map(|(scope, role)| role_body(scope, Some(*role))).collect();
            let body = json!({ "name": args.name, "password": password, "roles": roles });
            server.send(Method::POST, "auth/users", &body).await?
        }
        Door::Lake(identity, engine) => {
            let user = NewUser { name: args.name, password, roles, is_first: false };
            User::from(&finish(&engine, identity.create_user(user, "").await).await?)
        }
    };
    say(&format_args!("made {}", line(&made)));
    Ok(())
}

async fn list(target: Target) -> Result {
    let users = match Door::open(target).await? {
        Door::Server(server) => server.send::<Users>(Method::GET, "auth/users", &json!({})).await?.users,
        Door::Lake(identity, engine) => finish(&engine, identity.users().await).await?.iter().map(User::from).collect(),
    };
    for user in &users {
        say(&format_args!("{}", line(user)));
    }
    if users.is_empty() {
        say(&format_args!("there are no users"));
    }
    Ok(())
}

async fn passwd(args: PasswdArgs) -> Result {
    let password = args.password.read(&args.name)?;
    match Door::open(args.target).await? {
        Door::Server(server) => {
            let path = format!("{}/password", path_of(&args.name));
            let current = std::env::var("MLFLOW_TRACKING_PASSWORD").ok();
            let body =
                json!({ "password": password, "current_password": current, "revoke_tokens": args.revoke_tokens });
            server.send::<Value>(Method::PUT, &path, &body).await?;
        }
        Door::Lake(identity, engine) => {
            let tokens = if args.revoke_tokens { OldTokens::Revoke } else { OldTokens::Keep };
            finish(&engine, identity.set_password(&args.name, password, tokens).await).await?;
        }
    }
    say(&format_args!("{} has another password now", args.name));
    Ok(())
}

async fn role(args: RoleArgs) -> Result {
    let (scope, role) = (args.scope.scope()?, args.role.role());
    let user = match Door::open(args.target).await? {
        Door::Server(server) => {
            let method = if role.is_some() { Method::PUT } else { Method::DELETE };
            let path = format!("{}/roles", path_of(&args.name));
            server.send(method, &path, &role_body(&scope, role)).await?
        }
        Door::Lake(identity, engine) => {
            let changed = match identity.set_role(&args.name, scope, role, "").await {
                Ok(()) => identity.user(&args.name).await,
                Err(error) => Err(error),
            };
            User::from(&finish(&engine, changed).await?)
        }
    };
    say(&format_args!("{}", line(&user)));
    Ok(())
}

async fn set_disabled(args: NameArgs, disabled: bool) -> Result {
    match Door::open(args.target).await? {
        Door::Server(server) => {
            let body = json!({ "disabled": disabled });
            server.send::<Value>(Method::PATCH, &path_of(&args.name), &body).await?;
        }
        Door::Lake(identity, engine) => finish(&engine, identity.set_disabled(&args.name, disabled).await).await?,
    }
    say(&format_args!("{} is {} now", args.name, if disabled { "locked out" } else { "let in" }));
    Ok(())
}

async fn remove(args: NameArgs) -> Result {
    match Door::open(args.target).await? {
        Door::Server(server) => {
            server.send::<Value>(Method::DELETE, &path_of(&args.name), &json!({})).await?;
        }
        Door::Lake(identity, engine) => finish(&engine, identity.remove_user(&args.name).await).await?,
    }
    say(&format_args!("removed {}", args.name));
    Ok(())
}

fn path_of(name: &str) -> String {
    let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    format!("auth/users/{name}")
}

fn role_body(scope: &Scope, role: Option<Role>) -> Value {
    let (kind, id) = (scope.kind().as_str(), scope.id());
    match role {
        Some(role) => json!({ "role": role.as_str(), "scope": kind, "id": id }),
        None => json!({ "scope": kind, "id": id }),
    }
}

fn line(user: &User) -> String {
    let role = |given: &GivenRole| match given.scope.as_str() {
        "all" => given.role.clone(),
        scope => format!("{} of {} {}", given.role, scope.replace('_', " "), given.id),
    };
    let roles: Vec<String> = user.roles.iter().map(role).collect();
    let roles = if roles.is_empty() { "no role".to_owned() } else { roles.join(", ") };
    let kind = if user.has_password { "" } else { "  (service account)" };
    let state = if user.disabled { "  (disabled)" } else { "" };
    format!("{}  {roles}{kind}{state}", user.name)
}
