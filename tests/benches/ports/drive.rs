//! A closed loop over a port: so many tasks, each with one call under way.

use std::{
    future::Future,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use coupon_tests::bench::stats::Latency;
use tokio::task::JoinSet;

/// What came out of a loop.
pub(crate) struct Driven<T> {
    /// What the calls answered.
    pub(crate) answers: Vec<T>,
    /// From the first call to the last answer.
    pub(crate) elapsed: Duration,
    /// Of a call.
    pub(crate) latency: Option<Latency>,
}

impl<T> Driven<T> {
    /// Answers per second.
    pub(crate) fn rate(&self) -> f64 {
        self.answers.len() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Calls `call` for portions of `portion` numbers from `next` on, in `tasks` tasks, for `length`.
pub(crate) async fn drive<T, F>(
    tasks: usize,
    portion: u64,
    length: Duration,
    next: &Arc<AtomicU64>,
    call: impl Fn(Range<u64>) -> F + Clone + Send + 'static,
) -> anyhow::Result<Driven<T>>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<Vec<T>>> + Send,
{
    let start = Instant::now();
    let end = start + length;
    let mut running = JoinSet::new();
    for _ in 0..tasks {
        let (next, call) = (Arc::clone(next), call.clone());
        running.spawn(async move {
            let (mut answers, mut samples) = (Vec::new(), Vec::new());
            while Instant::now() < end {
                let first = next.fetch_add(portion, Ordering::Relaxed);
                let sent = Instant::now();
                answers.extend(call(first..first + portion).await?);
                samples.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            anyhow::Ok((answers, samples))
        });
    }
    let (mut answers, mut samples) = (Vec::new(), Vec::new());
    while let Some(done) = running.join_next().await {
        let (more, latencies) = done??;
        answers.extend(more);
        samples.extend(latencies);
    }
    Ok(Driven { answers, elapsed: start.elapsed(), latency: Latency::of(&mut samples) })
}
