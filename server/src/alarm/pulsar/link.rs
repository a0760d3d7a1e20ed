//! How a broker is reached, and how that goes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pulsar::{
    Authentication, ConnectionRetryOptions, Consumer, ConsumerOptions, OperationRetryOptions,
    Producer, ProducerOptions, Pulsar, SubType, TokioExecutor, consumer::InitialPosition,
};
use rand::Rng as _;

use crate::config::PulsarConfig;

/// Between two pings of a connection.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Repeats of an operation inside the library; beyond them a task begins anew.
const OPERATION_RETRIES: u32 = 3;
/// Between those.
const OPERATION_PAUSE: Duration = Duration::from_millis(200);
/// Between two attempts to begin anew, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

pub(super) type Client = Pulsar<TokioExecutor>;
pub(super) type Receiver = Consumer<Vec<u8>, TokioExecutor>;

/// Where the broker is, and what is asked of it.
pub(super) struct Link {
    pub(super) config: PulsarConfig,
}

impl Link {
    pub(super) fn new(config: PulsarConfig) -> Self {
        Self { config }
    }

    /// As long as the broker may take for any one thing.
    pub(super) fn patience(&self) -> Duration {
        self.config.send_timeout()
    }

    /// Runs `work`, for no longer than the patience.
    pub(super) async fn patiently<T>(
        &self,
        work: impl Future<Output = Result<T, pulsar::Error>>,
    ) -> Result<T, String> {
        match tokio::time::timeout(self.patience(), work).await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err("the broker does not answer".to_owned()),
        }
    }

    /// A fresh client, connected. It is given up wholly when anything fails: a connection that is
    /// waited for in vain would stay half made inside of it.
    pub(super) async fn client(&self) -> Result<Client, String> {
        let patience = self.patience();
        let connection = ConnectionRetryOptions {
            // Who waits for a connection begins anew by itself.
            max_retries: 0,
            connection_timeout: patience,
            keep_alive: KEEP_ALIVE,
            ..ConnectionRetryOptions::default()
        };
        let operations = OperationRetryOptions {
            operation_timeout: patience,
            retry_delay: OPERATION_PAUSE,
            max_retries: Some(OPERATION_RETRIES),
        };
        let mut builder = Pulsar::builder(self.config.url.as_str(), TokioExecutor)
            .with_connection_retry_options(connection)
            .with_operation_retry_options(operations)
            .with_outbound_channel_size(self.config.queue_max);
        if !self.config.token.is_empty() {
            builder = builder.with_auth(Authentication {
                name: "token".to_owned(),
                data: self.config.token.clone().into_bytes(),
            });
        }
        self.patiently(Box::pin(builder.build())).await
    }

    /// A consumer on the workers' subscription, which exists from then on. The broker sends it up to
    /// `ahead` messages before they are asked for.
    pub(super) async fn consumer(&self, client: &Client, ahead: u32) -> Result<Receiver, String> {
        let options = ConsumerOptions::default()
            .with_initial_position(InitialPosition::Earliest)
            .with_receiver_queue_size(ahead);
        let consumer = client
            .consumer()
            .with_topic(self.config.alarm_topic.as_str())
            .with_subscription(self.config.subscription.as_str())
            .with_subscription_type(SubType::Shared)
            .with_batch_size(ahead)
            .with_options(options)
            .build();
        self.patiently(Box::pin(consumer)).await
    }

    /// A producer. Its options name no batch, and must not: see the module `pulsar`.
    pub(super) async fn producer(
        &self,
        client: &Client,
    ) -> Result<Producer<TokioExecutor>, String> {
        let producer = client
            .producer()
            .with_topic(self.config.alarm_topic.as_str())
            .with_options(ProducerOptions::default())
            .build();
        self.patiently(Box::pin(producer)).await
    }

    /// Whether the broker answers for the topic.
    pub(super) async fn check(&self) -> Result<(), String> {
        let client = self.client().await?;
        let topic = client.lookup_partitioned_topic(self.config.alarm_topic.as_str());
        self.patiently(Box::pin(topic)).await.map(drop)
    }
}

/// How a task is doing.
pub(super) struct State {
    what: &'static str,
    trouble: Mutex<Option<String>>,
}

impl State {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, trouble: Mutex::new(Some(format!("{what}: not connected yet"))) }
    }

    /// Why it cannot do its work; `None` when it can.
    pub(super) fn trouble(&self) -> Option<String> {
        self.lock().clone()
    }

    pub(super) fn well(&self) {
        *self.lock() = None;
        tracing::info!(task = self.what, "connected to the alarm broker");
    }

    /// Told in the log only when it is news: a broker may be away for long.
    pub(super) fn failed(&self, why: &str) {
        let trouble = format!("{}: {why}", self.what);
        let mut kept = self.lock();
        let news = kept.as_deref() != Some(trouble.as_str());
        *kept = Some(trouble);
        drop(kept);
        if news {
            tracing::warn!(task = self.what, error = why, "alarm broker not usable, trying again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pauses between attempts, each up to twice the one before, with some chance in it so that nodes
/// do not come all at once.
#[derive(Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    pub(super) fn next(&mut self) -> Duration {
        let (first, most) = PAUSE;
        let pause = first.saturating_mul(2_u32.saturating_pow(self.attempts)).min(most);
        self.attempts = self.attempts.saturating_add(1);
        pause.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..50).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= PAUSE.0);
        assert!(pauses.iter().all(|pause| *pause <= PAUSE.1));
        assert!(pauses[49] >= PAUSE.1 / 2);
        backoff.reset();
        assert!(backoff.next() <= PAUSE.0);
    }

    #[test]
    fn trouble_is_told_until_it_is_over() {
        let state = State::new("publishing");
        assert_eq!(state.trouble().as_deref(), Some("publishing: not connected yet"));
        state.failed("refused");
        assert_eq!(state.trouble().as_deref(), Some("publishing: refused"));
        state.well();
        assert_eq!(state.trouble(), None);
    }
}
