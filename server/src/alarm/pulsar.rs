//! The alarm queue on a Pulsar broker's delayed delivery.
//!
//! Two tasks stand behind it, each with a client of its own, because a send that gets no receipt
//! breaks the connection it was sent on: one publishes, one receives. Each begins anew with a fresh
//! client whenever anything fails, for as long as it takes: a broker that is away costs delay and
//! nothing else. Rules that the client library makes necessary:
//! - The producer never batches. A batch loses its messages' delivery times.
//! - The subscription is there before the producer: without one the broker keeps nothing. Whoever
//!   publishes makes sure of it, also a node that receives nothing.
//! - The subscription is Shared, because only then is delivery delayed, and starts at the earliest
//!   message.
//! - An acknowledgement is sent and forgotten: there is no receipt for it, and it may be lost. Who
//!   receives does nothing twice.
//! - A negative acknowledgement brings the message back at once. It is therefore held back here for
//!   `pulsar.retry_after_ms`.

mod consumer;
mod inbox;
mod link;
mod producer;
mod wire;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use coupon_domain::time::Timestamp;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::{
    inbox::Inbox,
    link::{Link, State},
    producer::Publication,
};
use super::{AlarmQueue, AlarmQueueError, Delivery};
use crate::{
    clock::{Clock, wall_millis},
    config::PulsarConfig,
    ledger::AlarmRow,
};

/// The alarm queue on a broker.
pub struct PulsarAlarms {
    url: String,
    clock: Arc<dyn Clock>,
    send_timeout: Duration,
    publications: mpsc::Sender<Publication>,
    publishing: Arc<State>,
    /// None on a node that receives nothing.
    receiving: Option<(Arc<Inbox>, Arc<State>)>,
    stop: CancellationToken,
    tasks: Mutex<JoinSet<()>>,
}

impl PulsarAlarms {
    /// Starts to connect, in the background and for as long as it takes. A node that does not
    /// `consume` publishes only. Must be called inside a runtime. Delivery times are by `clock`,
    /// which may differ from the wall's time but has to run at its speed.
    pub fn connect(config: &PulsarConfig, clock: Arc<dyn Clock>, consume: bool) -> Arc<Self> {
        let link = Arc::new(Link::new(config.clone()));
        let stop = CancellationToken::new();
        let (publications, queue) = mpsc::channel(config.queue_max);
        let publishing = Arc::new(State::new("publishing"));
        let mut tasks = JoinSet::new();
        tasks.spawn(producer::run(Arc::clone(&link), queue, Arc::clone(&publishing), stop.clone()));
        let receiving = consume.then(|| {
            let inbox = Arc::new(Inbox::new(config.receive_queue as usize));
            let state = Arc::new(State::new("receiving"));
            tasks.spawn(consumer::run(link, Arc::clone(&inbox), Arc::clone(&state), stop.clone()));
            (inbox, state)
        });
        Arc::new(Self {
            url: config.url.clone(),
            clock,
            send_timeout: config.send_timeout(),
            publications,
            publishing,
            receiving,
            stop,
            tasks: Mutex::new(tasks),
        })
    }

    /// Whether the broker can be used for the alarms now, asked over a connection of its own.
    ///
    /// # Errors
    /// One plain sentence that names the broker and what is wrong.
    pub async fn check(config: &PulsarConfig) -> Result<(), AlarmQueueError> {
        let link = Link::new(config.clone());
        let reached = link.check().await;
        reached.map_err(|why| AlarmQueueError(unreachable(&config.url, &why)))
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wall's time at which the queue's clock will show `at`; `None` when it does already.
    fn by_the_wall(&self, at: Timestamp) -> Option<i64> {
        let left = at.since(self.clock.now());
        let left = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
        (left > 0).then(|| wall_millis().saturating_add(left))
    }
}

fn unreachable(url: &str, why: &str) -> String {
    format!(
        "the broker {url} cannot be used ({why}); alarms are late until it can, nothing else is \
         affected: start it or correct [pulsar]"
    )
}

#[async_trait]
impl AlarmQueue for PulsarAlarms {
    async fn publish(&self, alarm: AlarmRow, deliver_at: Timestamp) -> Result<(), AlarmQueueError> {
        let refused = |why: &str| AlarmQueueError(why.to_owned());
        let (answer, accepted) = oneshot::channel();
        let publication = Publication {
            payload: wire::encode(alarm),
            deliver_at: self.by_the_wall(deliver_at),
            answer,
        };
        self.publications.try_send(publication).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                refused("pulsar.queue_max messages wait to be sent already")
            }
            mpsc::error::TrySendError::Closed(_) => refused("the queue is closed"),
        })?;
        match tokio::time::timeout(self.send_timeout, accepted).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(refused("the connection to the broker was lost")),
            Err(_) => {
                let why = self.publishing.trouble();
                Err(AlarmQueueError(why.unwrap_or_else(|| "the broker does not answer".to_owned())))
            }
        }
    }

    async fn try_receive(&self) -> Result<Option<Delivery>, AlarmQueueError> {
        Ok(self.receiving.as_ref().and_then(|(inbox, _)| inbox.take()))
    }

    async fn wait(&self) {
        match &self.receiving {
            Some((inbox, _)) => inbox.wait().await,
            None => std::future::pending().await,
        }
    }

    /// Only notes it: there is no receipt, and after a lost connection the message comes again.
    async fn ack(&self, delivery: Delivery) -> Result<(), AlarmQueueError> {
        if let Some((inbox, _)) = &self.receiving {
            inbox.done(delivery.ticket);
        }
        Ok(())
    }

    async fn retry(&self, delivery: Delivery) {
        if let Some((inbox, _)) = &self.receiving {
            inbox.again(delivery.ticket);
        }
    }

    /// A broker does not tell.
    async fn next_due(&self) -> Option<Timestamp> {
        None
    }

    fn forgets(&self) -> bool {
        false
    }

    fn health(&self) -> Result<(), AlarmQueueError> {
        let states = [Some(&self.publishing), self.receiving.as_ref().map(|(_, state)| state)];
        match states.into_iter().flatten().find_map(|state| state.trouble()) {
            Some(why) => Err(AlarmQueueError(unreachable(&self.url, &why))),
            None => Ok(()),
        }
    }

    /// Takes at most about twice the send time-out.
    async fn close(&self) {
        self.stop.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks());
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(2 * self.send_timeout, ended).await.is_err() {
            tracing::warn!("the alarm queue was cut off from a broker that does not answer");
        }
    }
}
