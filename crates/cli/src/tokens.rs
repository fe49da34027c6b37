//! `runlake token`: what programs log in with.

use clap::{Args, Subcommand};
use reqwest::Method;
use runlake_identity::{NewToken, TokenInfo};
use runlake_types::{Clock as _, SystemClock};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::terminal::{complain, say};
use crate::units::Span;
use crate::upkeep::Target;
use crate::users::{Door, finish};
use crate::{Failure, Result};

/// What programs log in with, instead of a password.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Makes a token and prints it, this one time. Clients take it from `MLFLOW_TRACKING_TOKEN`.
    Create(CreateArgs),
    /// Lists tokens: your own, or as an administrator everybody's.
    List(ListArgs),
    /// Ends a token for good.
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Whose token it is [default: yours].
    user: Option<String>,

    /// What it is for.
    #[arg(long, default_value = "")]
    label: String,

    /// How long it is good for, e.g. 90d [default: without end].
    #[arg(long, value_name = "TIME")]
    expires: Option<Span>,

    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Whose tokens [default: all that you may see].
    user: Option<String>,

    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Id of the token: its middle part, as `runlake token list` shows it.
    token_id: String,

    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Deserialize)]
struct Created {
    token: String,
    token_id: String,
}

#[allow(clippy::struct_field_names, reason = "as the server names them")]
#[derive(Debug, Deserialize)]
struct Token {
    token_id: String,
    user_name: String,
    label: String,
    expiry_time: Option<i64>,
    revoked_time: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Tokens {
    tokens: Vec<Token>,
}

impl From<&TokenInfo> for Token {
    fn from(token: &TokenInfo) -> Self {
        Self {
            token_id: token.token_id.clone(),
            user_name: token.user_name.clone(),
            label: token.label.clone(),
            expiry_time: token.expiry_time.map(runlake_types::Timestamp::millis),
            revoked_time: token.revoked_time.map(runlake_types::Timestamp::millis),
        }
    }
}

pub(crate) async fn run(command: TokenCommand) -> Result {
    match command {
        TokenCommand::Create(args) => create(args).await,
        TokenCommand::List(args) => list(args).await,
        TokenCommand::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: CreateArgs) -> Result {
    if args.user.is_none() && args.target.is_at_rest() {
        return Err(Failure::usage("say whose token it is: runlake token create USER --lake PLACE"));
    }
    let lifetime = args.expires.map(|span| span.0);
    let created = match Door::open(args.target).await? {
        Door::Server(server) => {
            let seconds = lifetime.map(|lifetime| lifetime.as_secs());
            let body = json!({ "user_name": args.user, "label": args.label, "expires_in_seconds": seconds });
            server.send(Method::POST, "auth/tokens", &body).await?
        }
        Door::Lake(identity, engine) => {
            let user_name = args.user.unwrap_or_default();
            let made = identity.create_token(NewToken { user_name, label: args.label, lifetime }).await;
            let made = finish(&engine, made).await?;
            Created { token: made.token, token_id: made.info.token_id }
        }
    };
    complain(&format_args!("token {}: keep it now, it is shown this one time", created.token_id));
    say(&format_args!("{}", created.token));
    Ok(())
}

async fn list(args: ListArgs) -> Result {
    let tokens = match Door::open(args.target).await? {
        Door::Server(server) => {
            let query = args.user.as_deref().map(|user| {
                let user = percent_encoding::utf8_percent_encode(user, percent_encoding::NON_ALPHANUMERIC);
                format!("?user_name={user}")
            });
            let path = format!("auth/tokens{}", query.unwrap_or_default());
            server.send::<Tokens>(Method::GET, &path, &json!({})).await?.tokens
        }
        Door::Lake(identity, engine) => {
            let tokens = identity.tokens(args.user.as_deref()).await;
            finish(&engine, tokens).await?.iter().map(Token::from).collect()
        }
    };
    let now = SystemClock.now().millis();
    for token in &tokens {
        let state = match (token.revoked_time, token.expiry_time) {
            (Some(_), _) => "revoked".to_owned(),
            (None, Some(end)) if end <= now => "expired".to_owned(),
            (None, Some(end)) => format!("ends in {}", days(end - now)),
            (None, None) => "without end".to_owned(),
        };
        say(&format_args!("{}  {}  {state}  {}", token.token_id, token.user_name, token.label));
    }
    if tokens.is_empty() {
        say(&format_args!("there are no tokens"));
    }
    Ok(())
}

async fn revoke(args: RevokeArgs) -> Result {
    match Door::open(args.target).await? {
        Door::Server(server) => {
            let id = percent_encoding::utf8_percent_encode(&args.token_id, percent_encoding::NON_ALPHANUMERIC);
            server.send::<Value>(Method::DELETE, &format!("auth/tokens/{id}"), &json!({})).await?;
        }
        Door::Lake(identity, engine) => finish(&engine, identity.revoke_token(&args.token_id).await).await?,
    }
    say(&format_args!("revoked {}", args.token_id));
    Ok(())
}

/// A span of milliseconds in the largest unit that says something.
fn days(millis: i64) -> String {
    let minutes = millis / 60_000;
    match minutes {
        0..=119 => format!("{minutes}m"),
        120..=2879 => format!("{}h", minutes / 60),
        _ => format!("{}d", minutes / 1440),
    }
}
