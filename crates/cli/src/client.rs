//! A running server, as the commands talk to it: with the credentials that MLflow's clients take from the environment.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, Method, RequestBuilder, Response, Url};
use runlake_models::fetch::Tracking;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Failure, Result};

/// What a command proves itself with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Credentials {
    None,
    Token(String),
    Password { name: String, password: String },
}

impl Credentials {
    /// A token goes before a password, runlake's variable before MLflow's.
    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        if let Some(token) = given("RUNLAKE_TOKEN").or_else(|| given("MLFLOW_TRACKING_TOKEN")) {
            return Self::Token(token);
        }
        match given("MLFLOW_TRACKING_USERNAME") {
            Some(name) => Self::Password { name, password: variable("MLFLOW_TRACKING_PASSWORD").unwrap_or_default() },
            None => Self::None,
        }
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    credentials: Credentials,
    /// Made with the first request, and kept with its connections.
    client: OnceLock<Client>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    error_code: Option<String>,
    message: String,
}

/// Why a request to MLflow's part of a server got no good answer.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Nothing was done, as nobody is there, or nobody who is able to now.
    Away(Failure),
    /// No answer came, so that nobody knows whether it was done.
    Lost(Failure),
    /// There is no such thing.
    Absent(Failure),
    /// Anything else.
    Otherwise(Failure),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Away(failure)
            | Refused::Lost(failure)
            | Refused::Absent(failure)
            | Refused::Otherwise(failure) => failure,
        }
    }
}

impl Server {
    /// The server at an address such as `http://127.0.0.1:5000`.
    pub(crate) fn at(text: &str) -> Result<Self> {
        let is_usable = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        if !Url::parse(text).is_ok_and(|url| is_usable(&url)) {
            return Err(Failure::usage(format!(
                "--server {text:?} is no URL of a server; write it with its scheme and port, such as \
                 http://127.0.0.1:5000"
            )));
        }
        let credentials = Credentials::of(|name| std::env::var(name).ok());
        Ok(Self { url: text.trim_end_matches('/').to_owned(), credentials, client: OnceLock::new() })
    }

    /// Its address, without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request to `/api/2.0/<path>`, and gives the answer's bytes.
    pub(crate) async fn mlflow(
        &self,
        path: &str,
        request: impl FnOnce(Client, &str) -> RequestBuilder,
    ) -> Result<Bytes, Refused> {
        let url = format!("{}/api/2.0/{path}", self.url);
        let request = self.authorised(request(self.client().map_err(Refused::Otherwise)?, &url));
        let response = request.send().await.map_err(|error| {
            let failure = self.unreachable(&error);
            if error.is_connect() { Refused::Away(failure) } else { Refused::Lost(failure) }
        })?;
        let status = response.status();
        let answer = response.bytes().await.map_err(|error| Refused::Lost(self.unreachable(&error)))?;
        if status.is_success() {
            return Ok(answer);
        }
        let refusal = serde_json::from_slice::<Refusal>(&answer).ok();
        let code = refusal.as_ref().and_then(|refusal| refusal.error_code.clone());
        let reason =
            refusal.map_or_else(|| format!("status {status}; is it an MLflow server?"), |refusal| refusal.message);
        let failure = Failure::new(format!("{url} refused: {reason}"));
        Err(match status.as_u16() {
            429 | 503 => Refused::Away(failure),
            502 | 504 => Refused::Lost(failure),
            404 if code.as_deref() == Some("RESOURCE_DOES_NOT_EXIST") => Refused::Absent(failure),
            _ => Refused::Otherwise(failure),
        })
    }

    fn client(&self) -> Result<Client> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let made = client()?;
        Ok(self.client.get_or_init(|| made).clone())
    }

    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.credentials {
            Credentials::None => request,
            Credentials::Token(token) => request.bearer_auth(token),
            Credentials::Password { name, password } => request.basic_auth(name, Some(password)),
        }
    }

    /// The same server as any MLflow server: where models are found.
    pub(crate) fn tracking(&self) -> Result<Tracking> {
        let header = match &self.credentials {
            Credentials::None => None,
            Credentials::Token(token) => Some(format!("Bearer {token}")),
            Credentials::Password { name, password } => {
                Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}"))))
            }
        };
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            let mut value = HeaderValue::from_str(&header)
                .map_err(|_| Failure::usage("the token or password has characters that HTTP cannot send"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = builder()?.default_headers(headers).build();
        let client =
            client.map_err(|error| Failure::new(format!("no connection can be made: {}", with_causes(&error))))?;
        Ok(Tracking { url: self.url.clone(), client })
    }

    /// Sends a request to `/api/runlake/<path>`.
    pub(crate) async fn send<T: DeserializeOwned>(&self, method: Method, path: &str, body: &Value) -> Result<T> {
        self.ask(path, |client, url| client.request(method, url).json(body)).await
    }

    /// Asks `/api/runlake/<path>`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T> {
        self.ask(path, |client, url| client.get(url).query(query)).await
    }

    /// Posts to `/api/runlake/<path>` and gives the answer's bytes as they come.
    pub(crate) async fn stream(
        &self,
        path: &str,
        body: &Value,
        accept: &str,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
        let request = |client: Client, url: &str| client.post(url).header(ACCEPT, accept).json(body);
        let response = self.respond(path, request).await?;
        Ok(response.bytes_stream().map_err(|error| {
            let cause = with_causes(&error);
            Failure::new(format!(
                "the answer was cut off ({cause}): the query failed on its way, or the server stopped"
            ))
        }))
    }

    /// Asks one SQL statement. Gives the answer as JSON, and the position of the log that it stands at.
    pub(crate) async fn sql(&self, body: &Value) -> Result<(Bytes, Option<u64>), Refused> {
        let url = format!("{}/api/runlake/sql", self.url);
        let client = self.client().map_err(Refused::Otherwise)?;
        let request = self.authorised(client.post(&url).header(ACCEPT, "application/json").json(body));
        let response = request.send().await.map_err(|error| Refused::Away(self.unreachable(&error)))?;
        let status = response.status();
        let position = response.headers().get("runlake-position").and_then(|text| text.to_str().ok()?.parse().ok());
        let answer = response.bytes().await.map_err(|error| {
            let told = format!("the answer was cut off: the query failed on its way ({})", with_causes(&error));
            Refused::Otherwise(Failure::new(told))
        })?;
        if status.is_success() {
            return Ok((answer, position));
        }
        Err(match (serde_json::from_slice(&answer), status.as_u16()) {
            (Ok(Refusal { message, .. }), 401 | 403 | 503) => {
                Refused::Away(Failure::new(format!("{url} refused: {message}")))
            }
            (Ok(Refusal { message, .. }), _) => Refused::Otherwise(Failure::new(message)),
            (Err(_), _) => Refused::Away(Failure::new(format!("{url}: status {status}; is it a runlake server?"))),
        })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        request: impl FnOnce(Client, &str) -> RequestBuilder,
    ) -> Result<T> {
        let response = self.respond(path, request).await?;
        let url = response.url().clone();
        let answer = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&answer).map_err(|error| {
            Failure::new(format!("{url} answered what runlake does not understand ({error}); is it a runlake server?"))
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::new(format!(
            "the server at {} did not answer: {}; is it running, and is the address right?",
            self.url,
            with_causes(error)
        ))
    }

    /// The answer to a request, if it is a good one.
    async fn respond(&self, path: &str, request: impl FnOnce(Client, &str) -> RequestBuilder) -> Result<Response> {
        let url = format!("{}/api/runlake/{path}", self.url);
        let request = self.authorised(request(self.client()?, &url));
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let answer = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let reason = match serde_json::from_slice(&answer) {
            Ok(Refusal { message, .. }) => message,
            Err(_) => format!("status {status}; is it a runlake server?"),
        };
        Err(Failure::new(format!("{url} refused: {reason}")))
    }
}

/// With the trust that MLflow's clients are told to have.
fn client() -> Result<Client> {
    let built = builder()?.build();
    built.map_err(|error| Failure::new(format!("no connection can be made: {}", with_causes(&error))))
}

fn builder() -> Result<ClientBuilder> {
    let mut builder = Client::builder().connect_timeout(Duration::from_secs(10));
    if std::env::var("MLFLOW_TRACKING_INSECURE_TLS")
        .is_ok_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    {
        builder = builder.danger_accept_invalid_certs(true);
    }
    if let Some(path) = std::env::var_os("MLFLOW_TRACKING_SERVER_CERT_PATH").map(PathBuf::from) {
        let unusable = |error: &dyn std::fmt::Display| {
            Failure::usage(format!("MLFLOW_TRACKING_SERVER_CERT_PATH {} cannot be used: {error}", path.display()))
        };
        let pem = std::fs::read(&path).map_err(|error| unusable(&error))?;
        for certificate in Certificate::from_pem_bundle(&pem).map_err(|error| unusable(&error))? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    Ok(builder)
}

/// An error with what is behind it, which is where reqwest says what happened.
fn with_causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_before_a_password() {
        let of = |pairs: &[(&str, &str)]| {
            Credentials::of(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        let password = [("MLFLOW_TRACKING_USERNAME", "ann"), ("MLFLOW_TRACKING_PASSWORD", "p")];
        assert_eq!(of(&password), Credentials::Password { name: "ann".into(), password: "p".into() });
        let both = [password[0], ("MLFLOW_TRACKING_TOKEN", "t")];
        assert_eq!(of(&both), Credentials::Token("t".into()));
        assert_eq!(of(&[both[1], ("RUNLAKE_TOKEN", "r")]), Credentials::Token("r".into()));
        assert_eq!(of(&[("RUNLAKE_TOKEN", ""), ("MLFLOW_TRACKING_USERNAME", "")]), Credentials::None);
    }
}
