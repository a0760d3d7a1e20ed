//! Group commit: commands that arrive while a group is being written form the next one.
//!
//! Nothing ever waits for a timer: an idle lane starts a lone command at once, and a busy one takes
//! what has gathered. The lane owns its work: a caller that goes away loses the answer, nothing else.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::LedgerError;

/// Writes one group of commands in one transaction.
#[async_trait]
pub(crate) trait GroupWriter: Send + Sync + 'static {
    /// A command.
    type Command: Send + 'static;
    /// What becomes of it.
    type Outcome: Send + 'static;

    /// Writes the group. Answers one outcome per command, in order, and never panics.
    async fn write(&self, group: Vec<Self::Command>) -> Vec<Self::Outcome>;
}

/// Where the outcomes of a parcel will be, in the order of its commands.
pub(crate) type Answer<W> = oneshot::Receiver<Vec<<W as GroupWriter>::Outcome>>;

/// Commands that were sent together and are answered together.
struct Parcel<W: GroupWriter> {
    commands: Vec<W::Command>,
    reply: oneshot::Sender<Vec<W::Outcome>>,
}

/// A queue in front of a [`GroupWriter`] and the task that empties it.
pub(crate) struct Lane<W: GroupWriter> {
    name: &'static str,
    queue: mpsc::Sender<Parcel<W>>,
}

impl<W: GroupWriter> Lane<W> {
    /// Starts a lane. At most `queue_max` parcels wait; a group has about `group_max` commands: a
    /// parcel is never split, so callers keep theirs below it.
    pub(crate) fn start(
        name: &'static str,
        writer: Arc<W>,
        queue_max: usize,
        group_max: usize,
    ) -> Self {
        let (queue, inbox) = mpsc::channel(queue_max.max(1));
        let lane = run(name, writer, inbox, group_max);
        match lane_runtime() {
            Ok(runtime) => drop(std::thread::spawn(move || runtime.block_on(lane))),
            Err(error) => {
                tracing::warn!(%error, "{name} has no thread of its own");
                tokio::spawn(lane);
            }
        }
        Self { name, queue }
    }

    /// Hands commands over; the answer comes through the receiver. Does not wait for room.
    ///
    /// # Errors
    /// [`LedgerError::Overloaded`] when the queue is full, and the commands with it.
    pub(crate) fn submit(
        &self,
        commands: Vec<W::Command>,
    ) -> Result<Answer<W>, (LedgerError, Vec<W::Command>)> {
        let (reply, answer) = oneshot::channel();
        match self.queue.try_send(Parcel { commands, reply }) {
            Ok(()) => Ok(answer),
            Err(mpsc::error::TrySendError::Full(parcel)) => {
                Err((LedgerError::Overloaded(self.name), parcel.commands))
            }
            Err(mpsc::error::TrySendError::Closed(parcel)) => {
                let stopped = LedgerError::Unavailable(format!("{} has stopped", self.name));
                Err((stopped, parcel.commands))
            }
        }
    }
}

/// A lane runs on a thread of its own: between two statements of a group it must not wait behind the
/// calls that the other threads are busy with, or everybody waits.
fn lane_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn run<W: GroupWriter>(
    name: &'static str,
    writer: Arc<W>,
    mut inbox: mpsc::Receiver<Parcel<W>>,
    group_max: usize,
) {
    let mut carried = None;
    loop {
        let first = match carried.take() {
            Some(parcel) => parcel,
            None => match inbox.recv().await {
                Some(parcel) => parcel,
                None => return,
            },
        };
        let mut commands = first.commands;
        let mut replies = vec![(commands.len(), first.reply)];
        while commands.len() < group_max {
            let Ok(parcel) = inbox.try_recv() else { break };
            if commands.len() + parcel.commands.len() > group_max {
                carried = Some(parcel);
                break;
            }
            replies.push((parcel.commands.len(), parcel.reply));
            commands.extend(parcel.commands);
        }
        let (group, began) = (commands.len(), Instant::now());
        let mut outcomes = writer.write(commands).await.into_iter();
        tracing::debug!(lane = name, group, took = ?began.elapsed(), waiting = inbox.len());
        for (count, reply) in replies {
            // A caller that has gone away does not want its answer.
            let _ = reply.send(outcomes.by_ref().take(count).collect());
        }
    }
}
