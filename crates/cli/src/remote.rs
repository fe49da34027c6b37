//! Asking a running server.

use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Failure, Result};

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    message: String,
}

impl Server {
    /// The server at an address such as `http://127.0.0.1:5000`.
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned() }
    }

    /// Has it do something.
    pub(crate) async fn post<T: DeserializeOwned>(&self, action: &str, body: serde_json::Value) -> Result<T> {
        self.ask(action, |client, url| client.post(url).json(&body)).await
    }

    /// Has it tell something.
    pub(crate) async fn get<T: DeserializeOwned>(&self, what: &str, query: &[(&str, &str)]) -> Result<T> {
        self.ask(what, |client, url| client.get(url).query(query)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        what: &str,
        request: impl FnOnce(Client, &str) -> RequestBuilder,
    ) -> Result<T> {
        let url = format!("{}/api/runlake/{what}", self.url);
        let unreachable = |error: reqwest::Error| {
            Failure::new(format!(
                "the server at {} did not answer: {error}; is it running, and is the address right?",
                self.url
            ))
        };
        let client = Client::builder().connect_timeout(Duration::from_secs(10)).build().map_err(unreachable)?;
        let response = request(client, &url).send().await.map_err(unreachable)?;
        let status = response.status();
        let answer = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|error| {
                Failure::new(format!(
                    "{url} answered what runlake does not understand ({error}); is it a runlake server?"
                ))
            });
        }
        let reason = match serde_json::from_slice(&answer) {
            Ok(Refusal { message }) => message,
            Err(_) => format!("status {status}; is it a runlake server?"),
        };
        Err(Failure::new(format!("{url} refused: {reason}")))
    }
}
