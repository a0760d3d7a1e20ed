//! The alarms' topic, through the broker's web service.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::wait_until;

const ANSWER: Duration = Duration::from_secs(10);
/// How long it may take until the topic is used.
const IN_USE: Duration = Duration::from_secs(60);

/// A topic and the subscription of the workers.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    /// Of the web service, `http://host:port`.
    pub(super) admin_url: String,
    /// `persistent://tenant/namespace/name`.
    pub(super) name: String,
    pub(super) subscription: String,
}

impl Topic {
    fn path(&self) -> anyhow::Result<String> {
        let rest = self.name.strip_prefix("persistent://");
        let rest = rest.with_context(|| format!("{} is not persistent", self.name))?;
        Ok(format!("/admin/v2/persistent/{rest}"))
    }

    /// Waits until a worker is subscribed and a message is stored: after the broker was away, and at
    /// the beginning, that takes a moment.
    async fn in_use(&self) -> anyhow::Result<()> {
        let path = self.path()?;
        wait_until("a worker is subscribed to the alarms", IN_USE, async || {
            let stats = self.call("GET", &format!("{path}/stats")).await?;
            let consumers = stats["subscriptions"][&self.subscription]["consumers"].as_array();
            Ok(consumers.is_some_and(|list| !list.is_empty()) && self.stored().await? > 0)
        })
        .await
    }

    /// Messages that the broker still has.
    async fn stored(&self) -> anyhow::Result<u64> {
        let stats = self.call("GET", &format!("{}/internalStats", self.path()?)).await?;
        Ok(stats["numberOfEntries"].as_u64().unwrap_or_default())
    }

    /// Delivers everything again that was delivered before, behind what waits now: duplicates, in
    /// another order. Answers how many messages there are.
    pub(super) async fn deliver_again(&self) -> anyhow::Result<u64> {
        self.in_use().await?;
        // Instants before the first message are the first message.
        let subscription = &self.subscription;
        let back = format!("{}/subscription/{subscription}/resetcursor/1", self.path()?);
        self.call("POST", &back).await?;
        self.stored().await
    }

    /// Loses everything that waits to be delivered. Answers how many messages that was.
    pub(super) async fn lose(&self) -> anyhow::Result<u64> {
        self.in_use().await?;
        let path = self.path()?;
        let stats = self.call("GET", &format!("{path}/stats")).await?;
        let waiting = stats["subscriptions"][&self.subscription]["msgBacklog"].as_u64();
        self.call("POST", &format!("{path}/subscription/{}/skip_all", self.subscription)).await?;
        Ok(waiting.unwrap_or_default())
    }

    /// One call of HTTP/1.0, which is answered in one piece.
    async fn call(&self, method: &str, path: &str) -> anyhow::Result<Value> {
        let host = self.admin_url.trim_start_matches("http://").trim_end_matches('/');
        let asked = async {
            let mut stream = TcpStream::connect(host).await?;
            let request = format!(
                "{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: 0\r\n\
                 Accept: application/json\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = timeout(ANSWER, asked).await;
        let answer = answer.with_context(|| format!("{host} does not answer"))??;
        let (head, body) =
            answer.split_once("\r\n\r\n").context("the broker's answer has no end")?;
        let status = head.lines().next().unwrap_or_default();
        ensure!(status.contains(" 20"), "{method} {path}: {status}: {body}");
        Ok(serde_json::from_str(body).unwrap_or(Value::Null))
    }
}
