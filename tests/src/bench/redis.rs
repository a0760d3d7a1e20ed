//! As much of the Redis protocol as the benches need: who is in the cluster, and how long an answer
//! takes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::stats::quantile;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const ROUND_TRIPS: usize = 2_000;

/// A node of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its port.
    pub port: u16,
    /// Whether it is a primary.
    pub primary: bool,
}

/// A connection that asks one question at a time.
#[derive(Debug)]
pub struct Asker(BufReader<TcpStream>);

impl Asker {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(addr: &str) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(addr).await.with_context(|| format!("no redis at {addr}"))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a command without arguments that need quoting; answers a text of any kind.
    ///
    /// # Errors
    /// When there is no answer, or it is an error or not a text.
    pub async fn ask(&mut self, command: &str) -> anyhow::Result<String> {
        let asked = timeout(ANSWER_TIMEOUT, self.exchange(command)).await;
        asked.with_context(|| format!("redis does not answer {command}"))?
    }

    async fn exchange(&mut self, command: &str) -> anyhow::Result<String> {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).await?;
        let mut head = String::new();
        ensure!(self.0.read_line(&mut head).await? > 0, "redis has closed the connection");
        let (kind, rest) = head.trim_end().split_at(1);
        match kind {
            "+" | ":" => Ok(rest.to_owned()),
            "$" => {
                let length: usize = rest.parse().context("redis answered nothing")?;
                let mut body = vec![0; length + 2];
                self.0.read_exact(&mut body).await?;
                body.truncate(length);
                Ok(String::from_utf8(body)?)
            }
            _ => bail!("redis answered {} to {command}", head.trim_end()),
        }
    }
}

/// All nodes of the cluster, as the first of the seeds that answers knows them.
///
/// # Errors
/// When none answers.
pub async fn nodes(seeds: &[String]) -> anyhow::Result<Vec<Node>> {
    let mut trouble = anyhow::anyhow!("no redis node is named");
    for seed in seeds {
        let asked = async { Asker::connect(seed).await?.ask("CLUSTER NODES").await };
        match asked.await {
            Ok(text) => return Ok(text.lines().filter_map(parse_node).collect()),
            Err(error) => trouble = error,
        }
    }
    Err(trouble)
}

/// `ID HOST:PORT@BUS[,NAME] FLAGS ...`
fn parse_node(line: &str) -> Option<Node> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (addr, flags) = (fields.next()?, fields.next()?);
    let port = addr.split('@').next()?.rsplit_once(':')?.1.parse().ok()?;
    let has = |flag: &str| flags.split(',').any(|one| one == flag);
    let gone = ["fail", "noaddr", "handshake"].iter().any(|flag| has(flag));
    (!gone).then_some(Node { port, primary: has("master") })
}

/// Median time of one question and its answer.
///
/// # Errors
/// When the node does not answer.
pub async fn round_trip_p50(addr: &str) -> anyhow::Result<Duration> {
    let mut asker = Asker::connect(addr).await?;
    let mut samples = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let start = Instant::now();
        asker.ask("PING").await?;
        samples.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }
    Ok(Duration::from_nanos(quantile(&mut samples, 0.5).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_read_off_its_line() {
        let line = "07c3 127.0.0.1:30004@31004,host slave e7d1 0 1426238317239 4 connected";
        assert_eq!(parse_node(line), Some(Node { port: 30004, primary: false }));
        let line = "e7d1 127.0.0.1:30001@31001 myself,master - 0 0 1 connected 0-5460";
        assert_eq!(parse_node(line), Some(Node { port: 30001, primary: true }));
        assert_eq!(parse_node("e7d1 127.0.0.1:30001@31001 master,fail - 0 0 1 x"), None);
        assert_eq!(parse_node(""), None);
    }
}
