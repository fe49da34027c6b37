//! Who sends a request: found out from its credentials, before anything else is read.

use std::net::{IpAddr, SocketAddr};

use http::request::Parts;
use http::{Method, header};
use runlake_identity::{Credentials, Identity, Means, Principal, Role, Scope};

use crate::error::{ApiError, Code, Result};

/// Name of the cookie that holds the secret of a session.
pub(crate) const SESSION_COOKIE: &str = "runlake_session";
/// Header that a request with a cookie carries when it changes something.
const CSRF_HEADER: &str = "x-csrf-token";

/// Who sends a request.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Whoever reaches the server may do everything: nobody has to log in.
    Everybody,
    /// Nobody known, at a route that asks for no credentials.
    Stranger,
    /// A user.
    User(Principal),
}

/// The address at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Caller {
    /// Who the credentials of a request belong to.
    pub(crate) async fn of(request: &Parts, identity: &Identity) -> Result<Self> {
        if let Some(value) = request.headers.get(header::AUTHORIZATION) {
            let credentials = value.to_str().ok().and_then(Credentials::from_header);
            let credentials = credentials.ok_or_else(|| {
                ApiError::new(
                    Code::Unauthenticated,
                    "The Authorization header is neither Basic, with a name and a password, nor Bearer, with a token.",
                )
            })?;
            return Ok(Self::User(identity.authenticate(&credentials, peer(request)).await?));
        }
        if let Some(secret) = session_secret(request)
            && let Some((principal, csrf_token)) = identity.session(secret).await?
        {
            if changes(&request.method) {
                let given = request.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
                if !identity.is_csrf_token(given, &csrf_token) {
                    return Err(ApiError::new(
                        Code::PermissionDenied,
                        "A request that changes something and is authenticated by a cookie needs the header \
                         X-CSRF-Token with the token that the log-in answered.",
                    ));
                }
            }
            return Ok(Self::User(principal));
        }
        Err(ApiError::new(
            Code::Unauthenticated,
            "This server asks who you are. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or \
             MLFLOW_TRACKING_TOKEN.",
        ))
    }

    /// Name of the user; empty when nobody has to log in.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::User(principal) => principal.name(),
            Self::Everybody | Self::Stranger => "",
        }
    }

    /// Whether the caller has this role, or more, on the object.
    pub(crate) fn may(&self, role: Role, scope: &Scope) -> bool {
        match self {
            Self::Everybody => true,
            Self::Stranger => false,
            Self::User(principal) => principal.may(role, scope),
        }
    }

    /// Whether the caller has this role, or more, on everything.
    pub(crate) fn may_everywhere(&self, role: Role) -> bool {
        self.may(role, &Scope::All)
    }

    /// Whether the caller may know of a registered model.
    pub(crate) fn sees_model(&self, name: &str) -> bool {
        self.may_everywhere(Role::Viewer) || self.may(Role::Viewer, &Scope::RegisteredModel(name.to_owned()))
    }

    /// Whether a token stands for the user, as it does for programs.
    pub(crate) fn is_token(&self) -> bool {
        matches!(self, Self::User(principal) if matches!(principal.means(), Means::Token(_)))
    }
}

/// The address a request comes from; none without a socket.
pub(crate) fn peer(request: &Parts) -> Option<IpAddr> {
    request.extensions.get::<Peer>().map(|peer| peer.0.ip())
}

/// The secret in the session's cookie.
pub(crate) fn session_secret(request: &Parts) -> Option<&str> {
    let cookies = request.headers.get_all(header::COOKIE).into_iter();
    cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(name, value)| (name == SESSION_COOKIE).then_some(value))
}

fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
