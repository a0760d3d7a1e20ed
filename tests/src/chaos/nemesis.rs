//! The faults: each breaks something, holds it for a while, and mends it.

mod conflict;
#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context as _, bail, ensure};
use rand::{Rng as _, rngs::StdRng, seq::SliceRandom as _};
use serde::Serialize;
use tokio::time::sleep;

use super::{
    ground::{Field, Ground, Start},
    proxy::Mode,
    stage::Stage,
};

/// How long something that is broken for no particular time stays so.
pub const HOLD: Duration = Duration::from_secs(4);
/// How long a frozen node sleeps, longer than every lease and deadline.
const NODE_FROZEN: Duration = Duration::from_secs(10);
/// Longer than the time after which a Redis primary is taken for dead.
const REDIS_FROZEN: Duration = Duration::from_secs(4);
const MYSQL_FROZEN: Duration = Duration::from_secs(5);
/// Out of a thousand.
const COMMITS_CUT: u32 = 200;
/// A failpoint that is not met for so long is given up.
const FAILPOINT: Duration = Duration::from_secs(30);
const SLOTS_MOVED: usize = 12;
/// Primary without the meta database.
pub(super) const LAST_PRIMARY: usize = 1;

/// A kind of fault; the numbers are those of the list of faults that the platform must bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Fault {
    /// A node is killed: before the gate, between gate and commit, after the commit.
    F1,
    /// A node sleeps for ten seconds.
    F2,
    /// A Redis primary is killed.
    F3,
    /// A Redis primary sleeps, is replaced, and wakes with old data.
    F4,
    /// Redis forgets everything.
    F6,
    /// Redis forgets the scripts, and slots move.
    F7,
    /// A MariaDB primary is killed and started again.
    F9,
    /// A MariaDB primary sleeps.
    F10,
    /// Links are cut after a COMMIT was sent and before it is answered.
    F11,
    /// Somebody else writes to the buckets and makes deadlocks and lock waits.
    F12,
    /// One shard cannot be reached.
    F13,
    /// The broker is killed and started again.
    F15,
    /// Alarms arrive again and in another order.
    F16,
    /// Alarms are lost.
    F17,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 14] = [
        Self::F1,
        Self::F2,
        Self::F3,
        Self::F4,
        Self::F6,
        Self::F7,
        Self::F9,
        Self::F10,
        Self::F11,
        Self::F12,
        Self::F13,
        Self::F15,
        Self::F16,
        Self::F17,
    ];

    /// Those that one embedded server can meet.
    pub const EMBEDDED: [Self; 2] = [Self::F1, Self::F2];

    /// What happens.
    pub fn what(self) -> &'static str {
        match self {
            Self::F1 => "node killed at a failpoint",
            Self::F2 => "node frozen 10 s",
            Self::F3 => "Redis primary killed",
            Self::F4 => "Redis primary frozen",
            Self::F6 => "FLUSHALL",
            Self::F7 => "SCRIPT FLUSH, slots moved",
            Self::F9 => "MariaDB killed",
            Self::F10 => "MariaDB frozen 5 s",
            Self::F11 => "link cut after COMMIT",
            Self::F12 => "conflicting writer",
            Self::F13 => "one shard unreachable",
            Self::F15 => "Pulsar killed",
            Self::F16 => "alarms doubled",
            Self::F17 => "alarms lost",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.trim().to_ascii_uppercase();
        let found = Self::ALL.into_iter().find(|fault| fault.to_string() == wanted);
        found.ok_or_else(|| {
            let known: Vec<String> = Self::ALL.iter().map(Self::to_string).collect();
            format!("{text:?} is no fault, name some of {}", known.join(","))
        })
    }
}

/// The faults in an order of the seed's, each of them once before any comes again.
pub fn schedule(kinds: &[Fault], random: &mut StdRng) -> Vec<Fault> {
    let mut order = kinds.to_vec();
    order.shuffle(random);
    order
}

/// Breaks things.
#[derive(Debug)]
pub struct Nemesis {
    random: StdRng,
    /// The server with failpoints; `None` = nodes are killed at any point.
    failpoints: Option<PathBuf>,
    hold: Duration,
}

impl Nemesis {
    /// One whose choices follow from `random`; what has no time of its own stays broken for `hold`.
    pub fn new(random: StdRng, failpoints: Option<PathBuf>, hold: Duration) -> Self {
        Self { random, failpoints, hold }
    }

    /// Breaks, holds and mends. Answers what exactly was done.
    ///
    /// # Errors
    /// When it cannot be broken or mended: the fault was not injected, and the run means nothing.
    pub async fn inject(
        &mut self,
        fault: Fault,
        ground: &mut Ground,
        stage: &Stage,
    ) -> anyhow::Result<String> {
        let done = match fault {
            Fault::F1 => self.kill_node(ground).await,
            Fault::F2 => self.freeze_node(ground).await,
            _ => {
                let field = ground.field().context("an embedded server has no such part")?;
                Box::pin(self.shake(fault, field, stage)).await
            }
        };
        done.with_context(|| format!("{fault} ({}) could not be done", fault.what()))
    }

    async fn kill_node(&mut self, ground: &mut Ground) -> anyhow::Result<String> {
        let node = self.random.random_range(0..ground.endpoints().len());
        let Some(program) = self.failpoints.clone() else {
            ground.kill(node).await?;
            sleep(self.hold / 2).await;
            ground.restart(node, &Start::default()).await?;
            return Ok(format!("node {node} killed"));
        };
        for point in ["abort-before-gate", "abort-before-commit", "abort-after-commit"] {
            let every = self.random.random_range(20..60);
            let start = Start {
                program: Some(program.clone()),
                envs: vec![("COUPON_FAULT".to_owned(), format!("{point}:{every}"))],
            };
            ground.restart(node, &start).await?;
            ensure!(ground.ends_within(node, FAILPOINT).await?, "{point} was never met");
        }
        ground.restart(node, &Start::default()).await?;
        Ok(format!("node {node} aborted before the gate, before and after a commit"))
    }

    async fn freeze_node(&mut self, ground: &mut Ground) -> anyhow::Result<String> {
        let node = self.random.random_range(0..ground.endpoints().len());
        ground.freeze(node).await?;
        sleep(NODE_FROZEN).await;
        ground.thaw(node).await?;
        Ok(format!("node {node} frozen"))
    }

    async fn shake(
        &mut self,
        fault: Fault,
        field: &Field,
        stage: &Stage,
    ) -> anyhow::Result<String> {
        match fault {
            Fault::F1 | Fault::F2 => bail!("it is no fault of the stores"),
            Fault::F3 | Fault::F4 => self.redis_primary(fault, field).await,
            Fault::F6 => {
                for _ in 0..3 {
                    field.tell_redis(&["FLUSHALL"]).await?;
                    sleep(self.hold / 3).await;
                }
                Ok("flushed three times".to_owned())
            }
            Fault::F7 => {
                field.tell_redis(&["SCRIPT", "FLUSH"]).await?;
                let moved = field.move_slots(SLOTS_MOVED).await?;
                field.tell_redis(&["SCRIPT", "FLUSH"]).await?;
                sleep(self.hold / 2).await;
                ensure!(moved > 0, "no slot holds a key of the platform");
                Ok(format!("scripts flushed twice, {moved} slots moved"))
            }
            Fault::F9 | Fault::F10 => self.primary(fault, field).await,
            Fault::F11 => {
                let before = field.cuts();
                field.links(Mode::CutAfterCommit(COMMITS_CUT));
                sleep(self.hold).await;
                field.links(Mode::Pass);
                let cut = field.cuts() - before;
                ensure!(cut > 0, "no commit was cut");
                Ok(format!("{cut} commits cut"))
            }
            Fault::F12 => {
                let rounds = conflict::storm(field, stage, self.hold).await?;
                Ok(format!("{rounds} conflicting transactions"))
            }
            Fault::F13 => {
                field.link(LAST_PRIMARY, Mode::Cut);
                sleep(self.hold).await;
                field.link(LAST_PRIMARY, Mode::Pass);
                Ok(format!("primary {LAST_PRIMARY} unreachable"))
            }
            Fault::F15 => {
                field.services.pulsar().kill().await?;
                sleep(self.hold).await;
                field.services.pulsar().restart().await?;
                Ok("broker killed and started".to_owned())
            }
            Fault::F16 => {
                let mut messages = 0;
                for _ in 0..3 {
                    messages = field.repeat_alarms().await?;
                    sleep(self.hold / 3).await;
                }
                ensure!(messages > 0, "there are no alarms to repeat");
                Ok(format!("{messages} alarms delivered again, three times"))
            }
            Fault::F17 => {
                let mut lost = 0;
                for _ in 0..8 {
                    lost += field.lose_alarms().await?;
                    sleep(self.hold / 8).await;
                }
                Ok(format!("{lost} alarms lost"))
            }
        }
    }

    async fn redis_primary(&mut self, fault: Fault, field: &Field) -> anyhow::Result<String> {
        let index = field.redis_primary(&mut self.random).await?;
        let node = field.services.redis(index);
        if fault == Fault::F3 {
            node.kill().await?;
            sleep(self.hold).await;
            node.restart().await?;
        } else {
            node.pause()?;
            sleep(REDIS_FROZEN).await;
            node.resume()?;
        }
        field.redis_whole().await?;
        Ok(node.name.clone())
    }

    async fn primary(&mut self, fault: Fault, field: &Field) -> anyhow::Result<String> {
        let primaries = field.shard_urls.len().min(LAST_PRIMARY + 1);
        let node = field.services.mysql(self.random.random_range(0..primaries));
        if fault == Fault::F9 {
            node.kill().await?;
            sleep(self.hold / 2).await;
            Box::pin(node.restart()).await?;
        } else {
            node.pause()?;
            sleep(MYSQL_FROZEN).await;
            node.resume()?;
        }
        Ok(node.name.clone())
    }
}
