//! A gRPC passthrough on the loopback interface that treats unary calls as a bad network and eager
//! coordinators do: it sends them twice, late, in another order, and loses their answers.
//!
//! It stands between callers and one or several nodes and works on whole calls: path, metadata and
//! message go on byte for byte, the answer comes back with its metadata and trailers, and neither is
//! decoded. What may happen, and how often, is said by [`Faults`]; what has happened is counted in
//! [`Counts`], so that a test can insist on it. Every choice comes from a seed. The same seed makes
//! the same choices in the order in which calls arrive, which is the callers' and the scheduler's.
//!
//! A call that has been taken is carried to its end whether its caller waits for it or not.

mod carry;
mod faults;
mod pen;

use std::{
    convert::Infallible,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use http_body_util::BodyExt as _;
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::task::TaskTracker;
use tonic::{
    Status,
    body::Body,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tower::service_fn;

pub use self::faults::Faults;
use self::{
    carry::{Call, Caller},
    faults::Plan,
    pen::Pen,
};

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls taken from callers.
    pub calls: u64,
    /// Copies sent beside the first, the late ones included.
    pub copies: u64,
    /// Copies sent after their caller had been answered.
    pub late: u64,
    /// Copies that were delayed, the first one of a call included.
    pub delayed: u64,
    /// Copies that were held, the first one of a call included.
    pub held: u64,
    /// Calls first sent after a call that had arrived later.
    pub overtaken: u64,
    /// Answers that existed and that the caller was not given.
    pub lost: u64,
    /// Calls whose caller was told that they are lost before they were sent.
    pub abandoned: u64,
    /// Copies that no node has answered.
    pub unanswered: u64,
}

/// The proxy, on a port of the loopback interface. It takes no call once it is dropped.
pub struct Unruly {
    addr: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

/// What all calls share.
struct Shared {
    faults: Faults,
    servers: Vec<Channel>,
    random: Mutex<StdRng>,
    counts: Mutex<Counts>,
    pen: Pen,
    /// The latest arrival that has been sent.
    sent: AtomicU64,
    /// Closed from the start, so that it can be waited for whenever it is empty.
    under_way: TaskTracker,
}

impl Unruly {
    /// Listens for calls to `servers` (`http://HOST:PORT`, at least one); every copy of a call goes
    /// to any of them. What happens to a call is drawn from `seed`.
    ///
    /// # Errors
    /// When a server's address is malformed or does not answer, or no port can be had.
    pub async fn start(servers: &[String], faults: Faults, seed: u64) -> anyhow::Result<Self> {
        anyhow::ensure!(!servers.is_empty(), "a proxy needs a server to pass calls on to");
        let mut channels = Vec::with_capacity(servers.len());
        for server in servers {
            let endpoint = Endpoint::from_shared(server.clone())
                .with_context(|| format!("{server} is no address"))?;
            let channel = endpoint.tcp_nodelay(true).connect().await;
            channels.push(channel.with_context(|| format!("{server} does not answer"))?);
        }
        let under_way = TaskTracker::new();
        under_way.close();
        let shared = Arc::new(Shared {
            pen: Pen::new(faults.held_max, faults.hold_max),
            faults,
            servers: channels,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            counts: Mutex::default(),
            sent: AtomicU64::new(0),
            under_way,
        });
        let listener = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .context("no port for a proxy")?
            .with_nodelay(Some(true));
        let addr = listener.local_addr()?;
        let carrier = Arc::clone(&shared);
        let service = service_fn(move |request| {
            let carrier = Arc::clone(&carrier);
            async move { Ok::<_, Infallible>(carrier.take(request).await) }
        });
        let serving = tokio::spawn(async move {
            // Fails only when the listener does; then callers find the port closed.
            let _ = Server::builder().serve_with_incoming(service, listener).await;
        });
        Ok(Self { addr, shared, serving })
    }

    /// `http://127.0.0.1:PORT`, for callers.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        *self.shared.counts()
    }

    /// Waits until nothing is under way any more, not even a late copy. Every call ends by its
    /// `grpc-timeout`, so this does too.
    pub async fn settled(&self) {
        self.shared.under_way.wait().await;
    }
}

impl Drop for Unruly {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl fmt::Debug for Unruly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unruly")
            .field("addr", &self.addr)
            .field("faults", &self.shared.faults)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Takes one call and answers its caller.
    async fn take(self: Arc<Self>, request: http::Request<Body>) -> http::Response<Body> {
        let (head, body) = request.into_parts();
        let Ok(message) = body.collect().await else {
            return Status::cancelled("the caller broke off").into_http();
        };
        let number = {
            let mut counts = self.counts();
            counts.calls += 1;
            counts.calls
        };
        let plan = Plan::draw(&self.faults, self.servers.len(), &mut *self.random());
        let call = Call { number, path: head.uri, headers: head.headers, body: message.to_bytes() };
        let (tell, told) = oneshot::channel();
        let caller = Caller::new(tell);
        self.under_way.spawn(carry::carry(Arc::clone(&self), call, plan, caller));
        match told.await {
            Ok(answer) => answer.map(Body::new),
            // The task has been dropped with the runtime.
            Err(_) => Status::unavailable("the proxy has ended").into_http(),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random(&self) -> MutexGuard<'_, StdRng> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the call with this number is sent for the first time.
    fn note_sent(&self, number: u64) {
        if self.sent.fetch_max(number, Ordering::Relaxed) > number {
            self.counts().overtaken += 1;
        }
    }
}

#[cfg(test)]
mod tests;
