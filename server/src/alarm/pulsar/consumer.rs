//! The task that receives.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::StreamExt as _;
use pulsar::consumer::Message;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    inbox::{Inbox, Place, Verdict},
    link::{Backoff, Client, Link, Receiver, State},
    wire,
};

/// Between two questions to the broker whether it still knows the consumer: without them a
/// subscription that was lost on the way would be missed by nobody.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);
/// Longest sleep while nothing is to be told again.
const IDLE: Duration = Duration::from_secs(3_600);

/// Receives until `stop`.
pub(super) async fn run(
    link: Arc<Link>,
    inbox: Arc<Inbox>,
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
        let received = match opened {
            Ok((_client, consumer)) => {
                inbox.begin();
                state.well();
                backoff.reset();
                Box::pin(receive(&link, consumer, &inbox, &stop)).await
            }
            Err(why) => Err(why),
        };
        let Err(why) = received else { return };
        state.failed(&why);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
}

async fn open(link: &Link) -> Result<(Client, Receiver), String> {
    let client = link.client().await?;
    let consumer = link.consumer(&client, link.config.receive_queue).await?;
    Ok((client, consumer))
}

/// Fills the inbox and tells the broker what was decided, until `stop`. An error means that the
/// consumer is of no use any more.
async fn receive(
    link: &Link,
    mut consumer: Receiver,
    inbox: &Inbox,
    stop: &CancellationToken,
) -> Result<(), String> {
    let capacity = link.config.receive_queue as usize;
    let mut again: VecDeque<(Instant, Place)> = VecDeque::new();
    let mut check = interval(CHECK_INTERVAL);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    check.reset();
    loop {
        tell(link, &mut consumer, inbox, &mut again).await?;
        // Whoever stops reading stops the library's acknowledgements too; it is therefore read as
        // long as there is room, and a check waits for room as well.
        let room = inbox.has_room() && again.len() < capacity;
        let next = again.front().map_or_else(|| Instant::now() + IDLE, |(at, _)| *at);
        tokio::select! {
            () = stop.cancelled() => break,
            () = inbox.changed.notified() => {}
            () = sleep_until(next) => {}
            _ = check.tick(), if room => {
                link.patiently(Box::pin(consumer.get_stats())).await?;
            }
            message = consumer.next(), if room => match message {
                Some(Ok(message)) => accept(&mut consumer, inbox, message).await?,
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("the connection was lost".to_owned()),
            }
        }
    }
    tell(link, &mut consumer, inbox, &mut again).await?;
    link.patiently(Box::pin(consumer.close())).await
}

/// Tells the broker what was decided; what is to come again, after its pause.
async fn tell(
    link: &Link,
    consumer: &mut Receiver,
    inbox: &Inbox,
    again: &mut VecDeque<(Instant, Place)>,
) -> Result<(), String> {
    for verdict in inbox.verdicts() {
        match verdict {
            Verdict::Done(place) => {
                let told = consumer.ack_with_id(&place.topic, place.id).await;
                told.map_err(|error| error.to_string())?;
            }
            Verdict::Again(place) => {
                again.push_back((Instant::now() + link.config.retry_after(), place));
            }
        }
    }
    while again.front().is_some_and(|(at, _)| *at <= Instant::now()) {
        let Some((_, place)) = again.pop_front() else { break };
        let told = consumer.nack_with_id(&place.topic, place.id).await;
        told.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Puts a message into the inbox. One that is no alarm would come again for ever: it is told in the
/// log and acknowledged.
async fn accept(
    consumer: &mut Receiver,
    inbox: &Inbox,
    message: Message<Vec<u8>>,
) -> Result<(), String> {
    match wire::decode(&message.payload.data) {
        Ok(alarm) => {
            let id = message.message_id().clone();
            inbox.put(alarm, Place { topic: message.topic, id });
            Ok(())
        }
        Err(why) => {
            let id = message.message_id();
            tracing::warn!(error = why, ?id, "message dropped that is no alarm");
            consumer.ack(&message).await.map_err(|error| error.to_string())
        }
    }
}
