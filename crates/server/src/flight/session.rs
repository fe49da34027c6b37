//! Who sends a call. Credentials are those of REST, in the metadata `authorization`; beside them Flight's handshake, which
//! takes a name and a password once and answers with a token for what follows.

use http::header;
use http::request::Parts;
use runlake_identity::Credentials;
use tonic::metadata::MetadataMap;

use crate::app::App;
use crate::caller::{Caller, peer};
use crate::error::{ApiError, Result};

/// What the token of a handshake begins with: it is a session's secret, and no token of a user.
const SESSION: &str = "rlsession_";
/// The token where nobody has to log in: some clients want one.
const NOBODY: &str = "nobody";

/// Who the credentials of a call belong to.
pub(super) async fn caller(app: &App, parts: &Parts) -> Result<Caller> {
    if !app.settings().demand_credentials {
        return Ok(Caller::Everybody);
    }
    let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(Credentials::Token(token)) = given.and_then(Credentials::from_header)
        && let Some(secret) = token.strip_prefix(SESSION)
    {
        return match app.identity().session(secret).await? {
            Some((principal, _)) => Ok(Caller::User(principal)),
            None => Err(unauthenticated("The session has ended; shake hands again.")),
        };
    }
    Caller::of(parts, app.identity()).await
}

/// Answers a handshake: the value of the `authorization` to send from now on.
pub(super) async fn shake_hands(app: &App, metadata: &MetadataMap, parts: &Parts) -> Result<String> {
    let given = metadata.get("authorization").and_then(|value| value.to_str().ok());
    if !app.settings().demand_credentials {
        return Ok(given.filter(|given| is_bearer(given)).map_or_else(|| format!("Bearer {NOBODY}"), str::to_owned));
    }
    match given.and_then(Credentials::from_header) {
        Some(Credentials::Password { name, password }) => {
            let session = app.identity().log_in(&name, &password, peer(parts)).await?;
            Ok(format!("Bearer {SESSION}{}", session.secret))
        }
        Some(Credentials::Token(_)) => {
            caller(app, parts).await?;
            Ok(given.unwrap_or_default().to_owned())
        }
        None => Err(unauthenticated(
            "This server asks who you are. A handshake needs the metadata 'authorization': Basic, with a name and a \
             password, or Bearer, with a token.",
        )),
    }
}

fn is_bearer(value: &str) -> bool {
    matches!(Credentials::from_header(value), Some(Credentials::Token(_)))
}

fn unauthenticated(message: &str) -> ApiError {
    ApiError::new(crate::error::Code::Unauthenticated, message)
}
