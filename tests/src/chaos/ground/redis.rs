//! The Redis Cluster as its operator sees it.

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
pub(super) enum Reply {
    Text(String),
    Nothing,
    List(Vec<Reply>),
}

impl Reply {
    /// The texts in it, in order.
    pub(super) fn texts(self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text],
            Self::Nothing => Vec::new(),
            Self::List(list) => list.into_iter().flat_map(Self::texts).collect(),
        }
    }
}

/// Asks the node at this port of the loopback interface one thing.
///
/// # Errors
/// When it does not answer, or with an error.
pub(super) async fn ask(port: u16, words: &[&str]) -> anyhow::Result<Reply> {
    let asked = async {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.get_mut().write_all(text.as_bytes()).await?;
        read(&mut stream).await
    };
    let answered = timeout(ANSWER, asked).await;
    let answered = answered.with_context(|| format!("redis {port} does not answer"))?;
    answered.with_context(|| format!("redis {port} refuses {}", words.join(" ")))
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
pub(super) struct Peer {
    pub(super) id: String,
    pub(super) port: u16,
    pub(super) primary: bool,
    pub(super) failed: bool,
    /// First and last of each range of slots that it owns.
    pub(super) slots: Vec<(u16, u16)>,
}

impl Peer {
    /// `ID HOST:PORT@BUS FLAGS PRIMARY PING PONG EPOCH LINK SLOTS...`
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [id, addr, flags, _, _, _, _, _, slots @ ..] = words.as_slice() else { return None };
        let port = addr.split('@').next()?.rsplit_once(':')?.1.parse().ok()?;
        let has = |flag: &str| flags.split(',').any(|one| one == flag);
        let range = |text: &&str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        Some(Self {
            id: (*id).to_owned(),
            port,
            primary: has("master"),
            failed: has("fail") || has("fail?") || has("noaddr"),
            slots: slots.iter().filter_map(range).collect(),
        })
    }

    pub(super) fn owns(&self, slot: u16) -> bool {
        self.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }
}

/// The cluster as the node at this port knows it.
///
/// # Errors
/// When it does not answer.
pub(super) async fn peers(port: u16) -> anyhow::Result<Vec<Peer>> {
    let text = ask(port, &["CLUSTER", "NODES"]).await?.texts().join("\n");
    Ok(text.lines().filter_map(Peer::parse).collect())
}

/// Whether every slot is served, as the node at this port sees it.
///
/// # Errors
/// When it does not answer.
pub(super) async fn is_ok(port: u16) -> anyhow::Result<bool> {
    let text = ask(port, &["CLUSTER", "INFO"]).await?.texts().join("\n");
    let has = |wanted: &str| text.lines().any(|line| line.trim_end() == wanted);
    Ok(has("cluster_state:ok") && has("cluster_slots_ok:16384"))
}

/// Moves a slot with its keys from one primary to another while clients use it.
///
/// # Errors
/// When a node refuses a step.
pub(super) async fn migrate(slot: u16, from: &Peer, to: &Peer) -> anyhow::Result<()> {
    let number = slot.to_string();
    let set = |state: &'static str, peer: &str| {
        ["CLUSTER", "SETSLOT", &number, state, peer].map(str::to_owned)
    };
    let send = async |port: u16, words: [String; 5]| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        ask(port, &words).await
    };
    send(to.port, set("IMPORTING", &from.id)).await?;
    send(from.port, set("MIGRATING", &to.id)).await?;
    loop {
        let keys = ask(from.port, &["CLUSTER", "GETKEYSINSLOT", &number, "1"]).await?.texts();
        let Some(key) = keys.first() else { break };
        let port = to.port.to_string();
        ask(from.port, &["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).await?;
    }
    send(to.port, set("NODE", &to.id)).await?;
    send(from.port, set("NODE", &to.id)).await?;
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
        assert_eq!(peer.slots, [(0, 99), (200, 200)]);
        assert!(peer.owns(99) && peer.owns(200) && !peer.owns(100));
        let line = "07c3 127.0.0.1:30004@31004,host slave,fail e7d1 0 1 4 connected";
        let peer = Peer::parse(line).unwrap();
        assert_eq!((peer.primary, peer.failed), (false, true));
        assert_eq!(Peer::parse("07c3"), None);
    }
}
