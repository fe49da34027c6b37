//! A client of one connection that does as little as it can, so that what is measured is the server.

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One keep-alive connection.
pub(crate) struct Client {
    stream: TcpStream,
    port: u16,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// Status and body of an answer; the body lies in the client's buffer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Client {
    pub(crate) async fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.context("the server does not listen")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, port, request: Vec::new(), answer: Vec::with_capacity(1 << 16) })
    }

    pub(crate) async fn get(&mut self, target: &str) -> Result<Answer<'_>> {
        self.request.clear();
        let head = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", self.port);
        self.request.extend_from_slice(head.as_bytes());
        self.round_trip().await
    }

    pub(crate) async fn post(&mut self, target: &str, body: &[u8]) -> Result<Answer<'_>> {
        self.request.clear();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(body);
        self.round_trip().await
    }

    /// Posts and fails on any status but 200.
    pub(crate) async fn post_ok(&mut self, target: &str, body: &[u8]) -> Result<&[u8]> {
        let answer = self.post(target, body).await?;
        if answer.status != 200 {
            bail!("{target} answered {}: {}", answer.status, String::from_utf8_lossy(answer.body));
        }
        Ok(answer.body)
    }

    /// Gets and fails on any status but 200.
    pub(crate) async fn get_ok(&mut self, target: &str) -> Result<&[u8]> {
        let answer = self.get(target).await?;
        if answer.status != 200 {
            bail!("{target} answered {}: {}", answer.status, String::from_utf8_lossy(answer.body));
        }
        Ok(answer.body)
    }

    async fn round_trip(&mut self) -> Result<Answer<'_>> {
        self.stream.write_all(&self.request).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                bail!("the server closed the connection");
            }
            let Some(head) = Head::parse(&self.answer)? else { continue };
            let Some(body) = head.body else { return self.chunks(&head).await };
            let whole = head.length + body;
            self.answer.reserve(whole.saturating_sub(self.answer.len()));
            while self.answer.len() < whole {
                if self.stream.read_buf(&mut self.answer).await? == 0 {
                    bail!("the server closed the connection within an answer");
                }
            }
            return Ok(Answer { status: head.status, body: &self.answer[head.length..whole] });
        }
    }

    /// An answer whose length is not known ahead; its chunks are left as they came.
    async fn chunks(&mut self, head: &Head) -> Result<Answer<'_>> {
        // No line of JSON is like the last chunk.
        while !self.answer[head.length..].ends_with(b"\r\n0\r\n\r\n") && &self.answer[head.length..] != b"0\r\n\r\n" {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                bail!("the server closed the connection within an answer");
            }
        }
        Ok(Answer { status: head.status, body: &self.answer[head.length..] })
    }
}

struct Head {
    status: u16,
    /// Bytes of the head itself.
    length: usize,
    /// Bytes of the body; `None` where it comes in chunks.
    body: Option<usize>,
}

impl Head {
    /// `None` while the head is not complete.
    fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = response.parse(bytes)? else { return Ok(None) };
        let header = |name: &str| response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        let body = match (header("content-length"), header("transfer-encoding")) {
            (Some(length), _) => Some(std::str::from_utf8(length.value)?.trim().parse()?),
            (None, Some(_)) => None,
            (None, None) => bail!("an answer without Content-Length"),
        };
        Ok(Some(Self { status: response.code.unwrap_or_default(), length, body }))
    }
}
