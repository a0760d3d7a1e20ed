//! The generator: the same connections and the same loop for the server and for its baseline.
//!
//! Here is what both loops share, and the closed one: a fixed number of calls in flight, for
//! ceilings. [`open`](super::open) has the other, for latencies.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

pub use super::wire::Connection;
use super::{cpu, stats::Latency};

/// Connections of the generator.
pub const CONNECTIONS: usize = 8;
/// Calls in flight on each connection in the closed loop.
pub const DEPTH: usize = 64;

/// A process under load and the connections to it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Whose CPU time is counted.
    pub pid: u32,
    connections: Vec<Connection>,
}

impl Target {
    /// Opens the connections.
    pub async fn connect(addr: SocketAddr, pid: u32) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{addr}"))?.tcp_nodelay(true);
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            let channel =
                endpoint.connect().await.with_context(|| format!("no server at {addr}"))?;
            connections.push(Connection::new(channel));
        }
        Ok(Self { pid, connections })
    }

    /// All connections.
    pub fn connections(&self) -> &[Connection] {
        &self.connections
    }

    /// The first connection, for calls outside a measurement.
    pub fn connection(&self) -> Connection {
        self.connections[0].clone()
    }
}

/// What the answer of one operation means to the measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Succeeded, and made the coupon of this id.
    Won(i64),
    /// Succeeded.
    Done,
    /// Refused, as was to be expected.
    Refused,
    /// No outcome yet (shed, deadline, lost connection): to be settled after the run.
    Unsettled(String),
    /// The prepared input is used up.
    Exhausted,
    /// An answer that the platform must not give.
    Violated(String),
}

/// What is measured: one operation, of one or several calls.
pub trait Operation: Clone + Send + 'static {
    /// Carries out the operation number `seq`; numbers are never used twice.
    fn run(&self, conn: &mut Connection, seq: u64) -> impl Future<Output = Verdict> + Send;
}

/// What came out of one run.
#[derive(Debug, Default)]
pub struct Load {
    /// From the first call to the last answer.
    pub elapsed: Duration,
    /// CPU time of the process under load.
    pub cpu: Duration,
    /// CPU time of this process, the generator.
    pub generator_cpu: Duration,
    /// Latencies of successes, in microseconds.
    pub done_us: Vec<u32>,
    /// Latencies of refusals, in microseconds.
    pub refused_us: Vec<u32>,
    /// Coupons won.
    pub won: Vec<i64>,
    /// Numbers of operations without an outcome.
    pub unsettled: Vec<u64>,
    /// Why the first of those had none.
    pub first_trouble: Option<String>,
    /// The first answer that the platform must not give.
    pub violation: Option<String>,
}

impl Load {
    /// Operations answered, successes and refusals alike.
    pub fn ops(&self) -> u64 {
        (self.done_us.len() + self.refused_us.len()) as u64
    }

    /// Operations per second.
    pub fn rate(&self) -> f64 {
        self.ops() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// CPU time of the process under load per operation, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / (self.ops() as f64).max(1.0)
    }

    /// CPU time of the generator per operation, in microseconds.
    pub fn generator_cpu_us(&self) -> f64 {
        self.generator_cpu.as_secs_f64() * 1e6 / (self.ops() as f64).max(1.0)
    }

    /// Quantiles of the successes.
    pub fn done(&mut self) -> Option<Latency> {
        Latency::of(&mut self.done_us)
    }

    /// Quantiles of the refusals.
    pub fn refused(&mut self) -> Option<Latency> {
        Latency::of(&mut self.refused_us)
    }

    /// Notes one answer; false when the run should end.
    pub fn note(&mut self, seq: u64, verdict: Verdict, latency: Duration) -> bool {
        let us = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        match verdict {
            Verdict::Won(coupon) => {
                self.won.push(coupon);
                self.done_us.push(us);
            }
            Verdict::Done => self.done_us.push(us),
            Verdict::Refused => self.refused_us.push(us),
            Verdict::Unsettled(why) => {
                self.first_trouble.get_or_insert(why);
                self.unsettled.push(seq);
            }
            Verdict::Exhausted => return false,
            Verdict::Violated(what) => {
                self.violation.get_or_insert(what);
                return false;
            }
        }
        true
    }

    /// Adds another part of the same run.
    pub fn merge(&mut self, other: Self) {
        self.done_us.extend(other.done_us);
        self.refused_us.extend(other.refused_us);
        self.won.extend(other.won);
        self.unsettled.extend(other.unsettled);
        self.first_trouble = self.first_trouble.take().or(other.first_trouble);
        self.violation = self.violation.take().or(other.violation);
    }
}

/// When a closed loop ends: at the number of operations or at the instant, whichever comes first.
#[derive(Clone, Debug)]
pub struct Budget {
    next: Arc<AtomicU64>,
    end: u64,
    until: Option<Instant>,
}

impl Budget {
    /// As many operations as fit into `length`, numbered on from `next`.
    pub fn time(next: &Arc<AtomicU64>, length: Duration) -> Self {
        Self { next: Arc::clone(next), end: u64::MAX, until: Some(Instant::now() + length) }
    }

    /// Exactly `count` operations, numbered on from `next`.
    pub fn count(next: &Arc<AtomicU64>, count: u64) -> Self {
        let end = next.load(Ordering::Relaxed) + count;
        Self { next: Arc::clone(next), end, until: None }
    }

    /// Takes `n` numbers, fewer at the end; `None` when the budget is spent.
    pub fn take(&self, n: u64) -> Option<std::ops::Range<u64>> {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return None;
        }
        let step = |next: u64| (next < self.end).then(|| (next + n).min(self.end));
        let first = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).ok()?;
        Some(first..(first + n).min(self.end))
    }
}

/// Runs operations with [`DEPTH`] in flight on each connection until the budget is spent.
pub async fn closed<O: Operation>(
    target: &Target,
    operation: &O,
    budget: &Budget,
) -> anyhow::Result<Load> {
    let cpu_before = cpu::cpu_time(target.pid)?;
    let generator_before = cpu::cpu_time(std::process::id())?;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for conn in target.connections() {
        for _ in 0..DEPTH {
            let (mut conn, operation, budget) = (conn.clone(), operation.clone(), budget.clone());
            tasks.spawn(async move {
                let mut load = Load::default();
                while let Some(range) = budget.take(1) {
                    let sent = Instant::now();
                    let verdict = operation.run(&mut conn, range.start).await;
                    if !load.note(range.start, verdict, sent.elapsed()) {
                        break;
                    }
                }
                load
            });
        }
    }
    let mut total = Load::default();
    while let Some(load) = tasks.join_next().await {
        total.merge(load?);
    }
    total.elapsed = start.elapsed();
    total.cpu = cpu::cpu_time(target.pid)?.saturating_sub(cpu_before);
    total.generator_cpu = cpu::cpu_time(std::process::id())?.saturating_sub(generator_before);
    Ok(total)
}

/// Runs closed loops of one `slice` each until two of them in a row differ by less than 5 %, or for
/// `longest`. The answer holds everything that was won meanwhile.
pub async fn warm_up<O: Operation>(
    target: &Target,
    operation: &O,
    next: &Arc<AtomicU64>,
    slice: Duration,
    longest: Duration,
) -> anyhow::Result<Load> {
    let start = Instant::now();
    let mut total = closed(target, operation, &Budget::time(next, slice)).await?;
    let mut last_rate = total.rate();
    while start.elapsed() + slice <= longest {
        let part = closed(target, operation, &Budget::time(next, slice)).await?;
        let rate = part.rate();
        total.merge(part);
        let drift = (rate - last_rate).abs() / last_rate.max(1.0);
        if drift < 0.05 {
            break;
        }
        last_rate = rate;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_budget_hands_out_every_number_once() {
        let next = Arc::new(AtomicU64::new(5));
        let budget = Budget::count(&next, 7);
        let taken: Vec<_> = std::iter::from_fn(|| budget.take(3)).collect();
        assert_eq!(taken, [5..8, 8..11, 11..12]);
        assert_eq!(next.load(Ordering::Relaxed), 12);
    }

    #[test]
    fn a_spent_time_budget_hands_out_nothing() {
        let next = Arc::new(AtomicU64::new(0));
        assert_eq!(Budget::time(&next, Duration::ZERO).take(1), None);
        assert_eq!(Budget::time(&next, Duration::from_secs(60)).take(2), Some(0..2));
    }

    #[test]
    fn a_load_keeps_successes_and_refusals_apart_and_ends_at_a_violation() {
        let mut load = Load::default();
        let ms = Duration::from_millis;
        assert!(load.note(0, Verdict::Won(7), ms(1)));
        assert!(load.note(1, Verdict::Done, ms(2)));
        assert!(load.note(2, Verdict::Refused, ms(3)));
        assert!(load.note(3, Verdict::Unsettled("shed".into()), ms(4)));
        assert!(!load.note(4, Verdict::Exhausted, ms(5)));
        assert!(!load.note(5, Verdict::Violated("oversold".into()), ms(6)));
        assert_eq!(
            (load.done_us.as_slice(), load.refused_us.as_slice()),
            (&[1000, 2000][..], &[3000][..])
        );
        assert_eq!((load.won, load.unsettled), (vec![7], vec![3]));
        assert_eq!(load.violation.as_deref(), Some("oversold"));
    }
}
