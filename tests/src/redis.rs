//! A Redis Cluster as its operator sees it: one question at a time, who is in it, and what it holds.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

const ANSWER: Duration = Duration::from_secs(2);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A text or a number.
    Text(String),
    /// No value.
    Nothing,
    /// Several.
    List(Vec<Reply>),
}

impl Reply {
    /// The texts in it, in order.
    pub fn texts(self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text],
            Self::Nothing => Vec::new(),
            Self::List(list) => list.into_iter().flat_map(Self::texts).collect(),
        }
    }
}

/// The address of this port of the loopback interface.
pub fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// A connection to one node.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(address: &str) -> anyhow::Result<Self> {
        let opened = timeout(ANSWER, TcpStream::connect(address)).await;
        let opened = opened.with_context(|| format!("redis at {address} does not answer"))?;
        let stream = opened.with_context(|| format!("no redis at {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { address: address.to_owned(), stream: BufReader::new(stream) })
    }

    /// Asks one thing.
    ///
    /// # Errors
    /// When there is no answer, or it is an error.
    pub async fn ask(&mut self, words: &[&str]) -> anyhow::Result<Reply> {
        let address = &self.address;
        let answered = timeout(ANSWER, exchange(&mut self.stream, words)).await;
        let answered = answered.with_context(|| format!("redis at {address} does not answer"))?;
        answered.with_context(|| format!("redis at {address} refuses {}", words.join(" ")))
    }
}

/// Asks the node at this address one thing.
///
/// # Errors
/// When it does not answer, or with an error.
pub async fn ask(address: &str, words: &[&str]) -> anyhow::Result<Reply> {
    Connection::open(address).await?.ask(words).await
}

async fn exchange(stream: &mut BufReader<TcpStream>, words: &[&str]) -> anyhow::Result<Reply> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.get_mut().write_all(text.as_bytes()).await?;
    read(stream).await
}

async fn read(stream: &mut BufReader<TcpStream>) -> anyhow::Result<Reply> {
    let mut head = String::new();
    stream.read_line(&mut head).await?;
    let head = head.trim_end();
    let Some((kind, rest)) = head.split_at_checked(1) else { bail!("the connection was closed") };
    match kind {
        "+" | ":" => Ok(Reply::Text(rest.to_owned())),
        "$" => {
            let Ok(length) = rest.parse::<usize>() else { return Ok(Reply::Nothing) };
            let mut body = vec![0; length + 2];
            stream.read_exact(&mut body).await?;
            body.truncate(length);
            Ok(Reply::Text(String::from_utf8_lossy(&body).into_owned()))
        }
        "*" => {
            let mut list = Vec::new();
            for _ in 0..rest.parse::<usize>().unwrap_or(0) {
                list.push(Box::pin(read(stream)).await?);
            }
            Ok(Reply::List(list))
        }
        _ => bail!("{rest}"),
    }
}

/// A node as another one knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name in the cluster.
    pub id: String,
    /// `host:port`.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Whether it is a primary.
    pub primary: bool,
    /// Whether it does not answer.
    pub failed: bool,
    /// First and last of each range of slots that it owns.
    pub slots: Vec<(u16, u16)>,
}

impl Peer {
    /// `ID HOST:PORT@BUS FLAGS PRIMARY PING PONG EPOCH LINK SLOTS...`
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [id, addr, flags, _, _, _, _, _, slots @ ..] = words.as_slice() else { return None };
        let address = addr.split('@').next()?;
        let port = address.rsplit_once(':')?.1.parse().ok()?;
        let has = |wanted: &[&str]| flags.split(',').any(|flag| wanted.contains(&flag));
        let range = |text: &&str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        Some(Self {
            id: (*id).to_owned(),
            address: address.to_owned(),
            port,
            primary: has(&["master"]),
            failed: has(&["fail", "fail?", "noaddr", "handshake"]),
            slots: slots.iter().filter_map(range).collect(),
        })
    }

    /// Whether a slot is its own.
    pub fn owns(&self, slot: u16) -> bool {
        self.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }
}

/// The cluster as the node at this address knows it.
///
/// # Errors
/// When it does not answer.
pub async fn peers(address: &str) -> anyhow::Result<Vec<Peer>> {
    let text = ask(address, &["CLUSTER", "NODES"]).await?.texts().join("\n");
    Ok(text.lines().filter_map(Peer::parse).collect())
}

/// The cluster as the first of these nodes that answers knows it.
///
/// # Errors
/// When none answers.
pub async fn peers_of_any(seeds: &[String]) -> anyhow::Result<Vec<Peer>> {
    let mut trouble = anyhow::anyhow!("no redis node is named");
    for seed in seeds {
        match peers(seed).await {
            Ok(peers) => return Ok(peers),
            Err(error) => trouble = error,
        }
    }
    Err(trouble)
}

/// Deletes every key that begins so: a cluster's memory is small, and what one run leaves is missing in
/// the next.
///
/// # Errors
/// When a primary does not answer.
pub async fn delete_keys(seeds: &[String], prefix: &str) -> anyhow::Result<()> {
    let pattern = format!("{prefix}*");
    for peer in peers_of_any(seeds).await?.iter().filter(|peer| peer.primary && !peer.failed) {
        let mut connection = Connection::open(&peer.address).await?;
        for key in connection.ask(&["KEYS", &pattern]).await?.texts() {
            connection.ask(&["UNLINK", &key]).await?;
        }
    }
    Ok(())
}

/// Whether every slot is served, as the node at this address sees it.
///
/// # Errors
/// When it does not answer.
pub async fn is_ok(address: &str) -> anyhow::Result<bool> {
    let text = ask(address, &["CLUSTER", "INFO"]).await?.texts().join("\n");
    let has = |wanted: &str| text.lines().any(|line| line.trim_end() == wanted);
    Ok(has("cluster_state:ok") && has("cluster_slots_ok:16384"))
}

/// Moves a slot with its keys from one primary to another while clients use it.
///
/// # Errors
/// When a node refuses a step.
pub async fn migrate(slot: u16, from: &Peer, to: &Peer) -> anyhow::Result<()> {
    let number = slot.to_string();
    let set = |state: &'static str, peer: &str| {
        ["CLUSTER", "SETSLOT", &number, state, peer].map(str::to_owned)
    };
    let send = async |node: &Peer, words: [String; 5]| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        ask(&node.address, &words).await
    };
    let (host, port) = to.address.rsplit_once(':').context("a node without a port")?;
    send(to, set("IMPORTING", &from.id)).await?;
    send(from, set("MIGRATING", &to.id)).await?;
    loop {
        let keys = ask(&from.address, &["CLUSTER", "GETKEYSINSLOT", &number, "1"]).await?.texts();
        let Some(key) = keys.first() else { break };
        ask(&from.address, &["MIGRATE", host, port, key, "0", "5000"]).await?;
    }
    send(to, set("NODE", &to.id)).await?;
    send(from, set("NODE", &to.id)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_read_off_its_line() {
        let line = "e7d1 127.0.0.1:30001@31001 myself,master - 0 0 1 connected 0-99 200";
        let peer = Peer::parse(line).unwrap();
        assert_eq!((peer.port, peer.primary, peer.failed), (30_001, true, false));
        assert_eq!(peer.address, "127.0.0.1:30001");
        assert_eq!(peer.slots, [(0, 99), (200, 200)]);
        assert!(peer.owns(99) && peer.owns(200) && !peer.owns(100));
        let line = "07c3 127.0.0.1:30004@31004,host slave,fail e7d1 0 1 4 connected";
        let peer = Peer::parse(line).unwrap();
        assert_eq!((peer.primary, peer.failed), (false, true));
        assert_eq!(Peer::parse("07c3"), None);
    }
}
