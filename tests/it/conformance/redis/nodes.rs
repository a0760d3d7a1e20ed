//! A Redis Cluster of one test's own, to be flushed, frozen and killed.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::harness::eventually;

/// An answer of Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Nothing,
    Text(Vec<u8>),
    Number(i64),
    List(Vec<Answer>),
    Error(String),
}

impl Answer {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }

    fn string(self) -> String {
        match self {
            Self::Text(text) => String::from_utf8(text).expect("a text"),
            other => panic!("not a text: {other:?}"),
        }
    }
}

/// A node.
pub(super) struct Node {
    pub(super) port: u16,
    process: Child,
    _folder: TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Node {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let free = || TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let (port, bus) = (free(), free());
        let number = |listener: &TcpListener| listener.local_addr().expect("bound").port();
        let (port, bus) = (number(&port), number(&bus));
        let settings = format!(
            "port {port}\ncluster-port {bus}\nbind 127.0.0.1\ndir {}\ncluster-enabled yes\n\
             cluster-node-timeout 1000\ncluster-require-full-coverage no\nappendonly no\nsave \"\"\n\
             cluster-replica-validity-factor 0\nrepl-diskless-sync-delay 0\n\
             maxmemory 64mb\nmaxmemory-policy noeviction\n",
            folder.path().display(),
        );
        let file = folder.path().join("redis.conf");
        std::fs::write(&file, settings).expect("written");
        let process = Command::new("redis-server")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        Self { port, process, _folder: folder }
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it, without a goodbye.
    pub(super) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Stops it, or lets it go on.
    pub(super) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.process.id().to_string()]).status();
        assert!(status.expect("kill is installed").success());
    }

    pub(super) async fn ask(&self, words: &[&[u8]]) -> Answer {
        let asked = async {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            exchange(stream, words).await
        };
        timeout(Duration::from_secs(30), asked).await.expect("in time").expect("an answer")
    }

    pub(super) async fn say(&self, line: &str) -> Answer {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.ask(&words).await
    }

    async fn is_up(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
            && self.say("PING").await == Answer::text("PONG")
    }

    pub(super) async fn id(&self) -> String {
        self.say("CLUSTER MYID").await.string()
    }
}

async fn exchange(stream: TcpStream, words: &[&[u8]]) -> std::io::Result<Answer> {
    let mut stream = BufReader::new(stream);
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend(*word);
        bytes.extend(b"\r\n");
    }
    stream.get_mut().write_all(&bytes).await?;
    Box::pin(read(&mut stream)).await
}

async fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Answer> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let (kind, rest) = line.trim_end().split_at_checked(1).expect("an answer");
    let number = || rest.parse::<i64>().expect("a number");
    Ok(match kind {
        "+" => Answer::text(rest),
        ":" => Answer::Number(number()),
        "-" => Answer::Error(rest.to_owned()),
        "$" => match usize::try_from(number()) {
            Ok(length) => {
                let mut text = vec![0; length + 2];
                stream.read_exact(&mut text).await?;
                text.truncate(length);
                Answer::Text(text)
            }
            Err(_) => Answer::Nothing,
        },
        "*" => {
            let mut list = Vec::new();
            for _ in 0..number().max(0) {
                list.push(Box::pin(read(stream)).await?);
            }
            Answer::List(list)
        }
        other => panic!("not an answer: {other}"),
    })
}

/// Three primaries with the slots in equal parts, and replicas where wanted.
pub(super) struct Nodes(pub(super) Vec<Node>);

impl Nodes {
    pub(super) async fn start(replicas: bool) -> Self {
        let count = if replicas { 6 } else { 3 };
        let mut nodes: Vec<Node> = (0..count).map(|_| Node::start()).collect();
        for node in &mut nodes {
            eventually("redis is up", async || {
                // Somebody else may have taken one of its ports.
                if node.process.try_wait().expect("its state").is_some() {
                    *node = Node::start();
                }
                node.is_up().await.then_some(())
            })
            .await;
        }
        for (node, (first, last)) in
            nodes.iter().zip([(0, 5_460), (5_461, 10_922), (10_923, 16_383)])
        {
            let added = node.say(&format!("CLUSTER ADDSLOTSRANGE {first} {last}")).await;
            assert_eq!(added, Answer::text("OK"));
        }
        for (epoch, node) in (1..).zip(&nodes) {
            node.say(&format!("CLUSTER SET-CONFIG-EPOCH {epoch}")).await;
        }
        for node in &nodes[1..] {
            let bus = format!("CLUSTER MEET 127.0.0.1 {} {}", nodes[0].port, nodes[0].bus().await);
            assert_eq!(node.say(&bus).await, Answer::text("OK"));
        }
        let cluster = Self(nodes);
        for node in &cluster.0 {
            eventually("the cluster is whole", async || {
                let info = node.say("CLUSTER INFO").await.string();
                let has = |line: String| info.lines().any(|found| found == line);
                (has("cluster_state:ok".into())
                    && has(format!("cluster_known_nodes:{count}"))
                    && has("cluster_slots_assigned:16384".into()))
                .then_some(())
            })
            .await;
        }
        for (primary, replica) in (0..3).zip(cluster.0.iter().skip(3)) {
            let id = cluster.0[primary].id().await;
            eventually("the replica follows", async || {
                let said = replica.say(&format!("CLUSTER REPLICATE {id}")).await;
                (said == Answer::text("OK")).then_some(())
            })
            .await;
        }
        for replica in cluster.0.iter().skip(3) {
            eventually("the replica is in step", async || {
                let info = replica.say("INFO replication").await.string();
                info.contains("master_link_status:up").then_some(())
            })
            .await;
        }
        cluster
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        self.0.iter().map(Node::address).collect()
    }

    /// The index of the primary that a slot was given to at the start.
    pub(super) fn owner(slot: i64) -> usize {
        [5_461, 10_923].iter().filter(|first| slot >= **first).count()
    }

    pub(super) async fn on_all(&self, line: &str) {
        for node in &self.0 {
            let said = node.say(line).await;
            assert_eq!(said, Answer::text("OK"), "{line}");
        }
    }
}

impl Node {
    async fn bus(&self) -> String {
        let nodes = self.say("CLUSTER NODES").await.string();
        let myself = nodes.lines().find(|line| line.contains("myself")).expect("itself");
        let address = myself.split(' ').nth(1).expect("an address");
        let bus = address.split('@').nth(1).expect("a bus port");
        bus.split(',').next().expect("a number").to_owned()
    }
}
