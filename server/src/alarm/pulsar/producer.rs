//! The task that publishes.

use std::sync::Arc;

use futures::{StreamExt as _, stream::FuturesUnordered};
use pulsar::{
    Producer, TokioExecutor,
    error::{ConnectionError, ProducerError},
    producer::{Message, SendFuture},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::link::{Backoff, Link, State};
use crate::alarm::AlarmQueueError;

/// Messages that may be without a receipt at once.
const IN_FLIGHT_MAX: usize = 1_000;

/// A message to be sent.
pub(super) struct Publication {
    pub(super) payload: Vec<u8>,
    /// By the wall; `None` = at once.
    pub(super) deliver_at: Option<i64>,
    pub(super) answer: oneshot::Sender<Result<(), AlarmQueueError>>,
}

/// Publishes until `stop` or until nobody can ask for it any more.
pub(super) async fn run(
    link: Arc<Link>,
    mut queue: mpsc::Receiver<Publication>,
    state: Arc<State>,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::default();
    loop {
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            opened = open(&link) => opened,
        };
        let served = match opened {
            Ok(producer) => {
                state.well();
                backoff.reset();
                Box::pin(serve(&link, producer, &mut queue, &stop)).await
            }
            Err(why) => Err(why),
        };
        let Err(why) = served else { return };
        state.failed(&why);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
}

/// Makes sure that the subscription exists, every time: the topic may have been deleted meanwhile.
/// What the broker has sent to the short-lived consumer it sends to another one.
async fn open(link: &Link) -> Result<Producer<TokioExecutor>, String> {
    let client = link.client().await?;
    let mut subscriber = link.consumer(&client, 1).await?;
    link.patiently(Box::pin(subscriber.close())).await?;
    drop(subscriber);
    link.producer(&client).await
}

/// Sends until `stop`; then what is in the queue, and closes. An error means that the producer is of
/// no use any more.
async fn serve(
    link: &Link,
    mut producer: Producer<TokioExecutor>,
    queue: &mut mpsc::Receiver<Publication>,
    stop: &CancellationToken,
) -> Result<(), String> {
    let mut receipts = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(received) = receipts.next(), if !receipts.is_empty() => received?,
            publication = queue.recv(), if receipts.len() < IN_FLIGHT_MAX => {
                let Some(publication) = publication else { break };
                if let Some((sent, answer)) = send(&mut producer, publication).await? {
                    receipts.push(receipt(sent, answer));
                }
            }
            () = stop.cancelled() => break,
        }
    }
    queue.close();
    while let Some(publication) = queue.recv().await {
        if let Some((sent, answer)) = send(&mut producer, publication).await? {
            receipts.push(receipt(sent, answer));
        }
    }
    while let Some(received) = receipts.next().await {
        received?;
    }
    link.patiently(Box::pin(producer.close())).await
}

type Answer = oneshot::Sender<Result<(), AlarmQueueError>>;

/// Hands a message to the connection, unless whoever wanted it has given up.
async fn send(
    producer: &mut Producer<TokioExecutor>,
    publication: Publication,
) -> Result<Option<(SendFuture, Answer)>, String> {
    let Publication { payload, deliver_at, answer } = publication;
    if answer.is_closed() {
        return Ok(None);
    }
    let message = Message { payload, deliver_at_time: deliver_at, ..Message::default() };
    match Box::pin(producer.send_non_blocking(message)).await {
        Ok(sent) => Ok(Some((sent, answer))),
        Err(error) => {
            let slow = matches!(
                error,
                pulsar::Error::Producer(ProducerError::Connection(ConnectionError::SlowDown))
            );
            let why = error.to_string();
            // Whoever has given up meanwhile is not told.
            let _ = answer.send(Err(AlarmQueueError(why.clone())));
            if slow { Ok(None) } else { Err(why) }
        }
    }
}

/// Waits for the broker's receipt and passes it on.
async fn receipt(sent: SendFuture, answer: Answer) -> Result<(), String> {
    let received = sent.await.map(drop).map_err(|error| error.to_string());
    // Whoever has given up meanwhile publishes it again: twice is harmless.
    let _ = answer.send(received.clone().map_err(AlarmQueueError));
    received
}
