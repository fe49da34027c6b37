//! Webhook messages by HTTP.
//!
//! A target may only be an address that the operator allows, whatever its name means at that moment: names are looked up
//! here, addresses that are not allowed are left out, and the connection goes to one of the others. Redirects are not
//! followed and no proxy is used, since either would lead around this.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use runlake_webhooks::{Answer, Message, Post, PostError, WebhookSettings};

/// How long a target may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 10_000;

/// Posts messages to their targets.
#[derive(Debug, Clone)]
pub struct HttpPost {
    client: reqwest::Client,
}

impl HttpPost {
    /// A sender that keeps to `settings`.
    ///
    /// # Errors
    /// When the certificates of this machine cannot be read.
    pub fn new(settings: WebhookSettings) -> Result<Self, PostError> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("runlake/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Resolver(settings)))
            .build()
            .map_err(|error| PostError(told(&error)))?;
        Ok(Self { client })
    }
}

impl Post for HttpPost {
    fn post(&self, message: Message) -> BoxFuture<'static, Result<Answer, PostError>> {
        let mut request = self.client.post(&message.url).body(message.body);
        for (name, value) in message.headers {
            request = request.header(name, value);
        }
        Box::pin(async move {
            let mut response = request.send().await.map_err(|error| PostError(told(&error)))?;
            let mut body = Vec::new();
            // An answer that breaks off is an answer.
            while body.len() < ANSWER_BYTES
                && let Ok(Some(chunk)) = response.chunk().await
            {
                body.extend_from_slice(&chunk);
            }
            body.truncate(ANSWER_BYTES);
            Ok(Answer { status: response.status().as_u16(), body: String::from_utf8_lossy(&body).into_owned() })
        })
    }
}

/// Looks names up as the machine does, and leaves out what is not allowed.
#[derive(Debug, Clone, Copy)]
struct Resolver(WebhookSettings);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let settings = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found.into_iter().filter(|address| settings.allows(address.ip())).collect();
            if allowed.is_empty() {
                let problem = format!(
                    "'{}' has no address that webhooks may go to; the operator can allow private ones with \
                     --webhook-allow-private",
                    name.as_str()
                );
                return Err(problem.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// An error with its causes, without the URL: it may hold a secret.
fn told(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    match text.is_empty() {
        true if error.is_timeout() => "the target did not answer in time".to_owned(),
        true => "the message could not be sent".to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn target(answer: &'static str) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = vec![0; 4096];
            let _read = stream.read(&mut read).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    fn message(url: String) -> Message {
        Message { url, headers: vec![("X-MLflow-Delivery-Id", "1".into())], body: "{}".into() }
    }

    #[tokio::test]
    async fn an_answer_is_told_and_a_redirect_not_followed() {
        let post = HttpPost::new(WebhookSettings { allow_http: true, allow_private: true }).unwrap();
        let here = target("HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok").await;
        let answer = post.post(message(format!("http://{here}/x"))).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (202, "ok"));
        let there = target("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(post.post(message(format!("http://{there}/x"))).await.unwrap().status, 302);
    }

    #[tokio::test]
    async fn names_that_mean_private_addresses_are_refused() {
        let post = HttpPost::new(WebhookSettings { allow_http: true, allow_private: false }).unwrap();
        let problem = post.post(message("http://localhost:1/secret".into())).await.unwrap_err().0;
        assert!(problem.contains("no address that webhooks may go to"), "{problem}");
        assert!(!problem.contains("secret"), "{problem}");
    }
}
