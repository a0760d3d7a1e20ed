//! A TCP proxy for one link, which can be told at any time what to do with it.

mod mysql;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use self::mysql::CommitSpotter;

/// How long an answer that nobody waits for any more is let arrive.
const LAST_ANSWER: Duration = Duration::from_secs(1);
const BUFFER: usize = 16 * 1024;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// From the client.
    Server,
    /// From the server.
    Client,
}

/// What a proxy does with its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything passes.
    Pass,
    /// Everything passes, each read this much later.
    Delay(Duration),
    /// Every connection is reset, also every new one.
    Cut,
    /// Nothing passes in either direction until another mode comes; connections stay open.
    BlackHole,
    /// The server hears the client, the client hears nothing.
    HalfOpen,
    /// Once this many bytes have passed in one direction, the connection that carried the last of
    /// them is reset, and so on after as many again.
    CutAfter(Toward, u64),
    /// For MySQL: out of a thousand connections that have just sent a `COMMIT`, this many are reset
    /// on the client's side; the server has the statement and answers to nobody.
    CutAfterCommit(u32),
}

/// What all connections of a proxy share.
#[derive(Debug)]
struct Link {
    mode: watch::Receiver<Mode>,
    /// Bytes since the last cut, under [`Mode::CutAfter`].
    passed: AtomicU64,
    cuts: AtomicU64,
}

/// A proxy on a port of the loopback interface. Its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    mode: watch::Sender<Mode>,
    link: Arc<Link>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens for connections to pass on to `server`, `host:port`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(server: impl Into<String>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for a proxy")?;
        let addr = listener.local_addr()?;
        let (mode, receiver) = watch::channel(Mode::Pass);
        let link =
            Arc::new(Link { mode: receiver, passed: AtomicU64::new(0), cuts: AtomicU64::new(0) });
        let task = tokio::spawn(accept(listener, server.into(), Arc::clone(&link)));
        Ok(Self { addr, mode, link, task })
    }

    /// Where clients connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on, for connections old and new.
    pub fn set(&self, mode: Mode) {
        self.link.passed.store(0, Ordering::Relaxed);
        self.mode.send_replace(mode);
    }

    /// Connections that were cut so far.
    pub fn cuts(&self) -> u64 {
        self.link.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: String, link: Arc<Link>) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, link) = (server.clone(), Arc::clone(&link));
        tokio::spawn(async move { connect(client, &server, &link).await });
    }
}

async fn connect(client: TcpStream, server: &str, link: &Link) {
    if *link.mode.borrow() == Mode::Cut {
        reset(&client);
        return;
    }
    // A half that is open waits for the other end's answer, as one behind a black hole does.
    link.open(Toward::Server).await;
    let Ok(server) = TcpStream::connect(server).await else {
        reset(&client);
        return;
    };
    // Small answers must not wait for each other; a link that does not know this still works.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut upward = Pump::new(from_client, to_server, Toward::Server, link);
    let mut downward = Pump::new(from_server, to_client, Toward::Client, link);
    let end = tokio::select! {
        end = upward.run() => end,
        end = downward.run() => end,
    };
    if end == End::Closed {
        return;
    }
    link.cuts.fetch_add(1, Ordering::Relaxed);
    let Pump { from: from_client, to: to_server, .. } = upward;
    let Pump { from: mut from_server, to: to_client, .. } = downward;
    if let Ok(client) = from_client.reunite(to_client) {
        reset(&client);
    }
    if end == End::CutAfterCommit {
        // Resetting this side too might take the statement back from the server unread.
        let mut answer = [0; 64];
        let _ = timeout(LAST_ANSWER, from_server.read(&mut answer)).await;
    } else if let Ok(server) = from_server.reunite(to_server) {
        reset(&server);
    }
}

/// Makes the stream end with a reset as soon as it is dropped.
fn reset(stream: &TcpStream) {
    // A stream that is gone already needs no reset.
    let _ = stream.set_zero_linger();
}

impl Link {
    /// Waits until bytes may go this way.
    async fn open(&self, toward: Toward) {
        let mut mode = self.mode.clone();
        let open = |mode: &Mode| match mode {
            Mode::BlackHole => false,
            Mode::HalfOpen => toward == Toward::Server,
            _ => true,
        };
        let gone = mode.wait_for(open).await.is_err();
        if gone {
            // The proxy is gone, and this connection with it.
            std::future::pending::<()>().await;
        }
    }

    async fn cut(&self) {
        let mut mode = self.mode.clone();
        let gone = mode.wait_for(|mode| *mode == Mode::Cut).await.is_err();
        if gone {
            std::future::pending::<()>().await;
        }
    }
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Cut,
    CutAfterCommit,
}

/// One direction of a connection.
struct Pump<'a> {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    toward: Toward,
    link: &'a Link,
    spotter: CommitSpotter,
}

impl<'a> Pump<'a> {
    fn new(from: OwnedReadHalf, to: OwnedWriteHalf, toward: Toward, link: &'a Link) -> Self {
        Self { from, to, toward, link, spotter: CommitSpotter::default() }
    }

    async fn run(&mut self) -> End {
        let link = self.link;
        tokio::select! {
            end = self.pass() => end,
            () = link.cut() => End::Cut,
        }
    }

    async fn pass(&mut self) -> End {
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match self.from.read(&mut buffer).await {
                Ok(0) | Err(_) => return End::Closed,
                Ok(count) => count,
            };
            let commit = match self.toward {
                Toward::Server => self.spotter.feed(&buffer[..count]),
                Toward::Client => None,
            };
            self.link.open(self.toward).await;
            let mode = *self.link.mode.borrow();
            let (upto, end) = self.verdict(mode, count, commit);
            if let Mode::Delay(delay) = mode {
                sleep(delay).await;
            }
            if self.to.write_all(&buffer[..upto]).await.is_err() {
                return End::Closed;
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// How many of the bytes pass, and whether the connection ends behind them.
    fn verdict(&self, mode: Mode, count: usize, commit: Option<usize>) -> (usize, Option<End>) {
        match mode {
            Mode::CutAfter(toward, bytes) if toward == self.toward => {
                let read = u64::try_from(count).unwrap_or(u64::MAX);
                let before = self.link.passed.fetch_add(read, Ordering::Relaxed);
                if before + read < bytes {
                    return (count, None);
                }
                self.link.passed.store(0, Ordering::Relaxed);
                let rest = usize::try_from(bytes.saturating_sub(before)).unwrap_or(count);
                (rest.min(count), Some(End::Cut))
            }
            Mode::CutAfterCommit(per_mille) => match commit {
                Some(at) if rand::random_range(0..1_000) < per_mille => {
                    (at, Some(End::CutAfterCommit))
                }
                _ => (count, None),
            },
            _ => (count, None),
        }
    }
}

#[cfg(test)]
mod tests;
