//! A shard of the ledger: its connections, and the lanes in which commands wait for their groups.

use std::sync::Arc;

use coupon_domain::ids::{UserId, mix64};
use sea_orm::{DatabaseConnection, DbBackend};

use super::{
    GroupLimits, Neighbours,
    give::GiveWriter,
    lane_db::{LaneConnections, retried},
    redeem::RedeemWriter,
    refill::Proofs,
    replica::Replica,
};
use crate::clock::wall_millis;
use crate::ledger::{
    Fresh, GiveCommand, LedgerError, Settle, Settlement, ShardId,
    batcher::{Answer, Lane},
};

/// Connections to one shard's database.
#[derive(Debug, Clone)]
pub struct ShardConnections {
    /// The primary, for everything that writes or must see the latest commit.
    pub write: DatabaseConnection,
    /// For reads.
    pub read: DatabaseConnection,
    /// Of the lanes, to the primary.
    pub lanes: LaneConnections,
    /// For reads that may be a little old.
    pub replica: Option<Arc<Replica>>,
}

impl ShardConnections {
    /// For reads that must see the latest commit without waiting behind the one who writes: SQLite's
    /// readers do, replicas do not.
    pub(super) fn latest(&self) -> &DatabaseConnection {
        match self.write.get_database_backend() {
            DbBackend::Sqlite => &self.read,
            _ => &self.write,
        }
    }

    /// The replica, if there is one that is fresh enough.
    pub(super) fn replica_for(&self, fresh: Fresh) -> Option<&DatabaseConnection> {
        self.replica.as_ref()?.for_read(fresh, wall_millis())
    }

    /// Does something to the primary, outside the lanes, that is safe to repeat; again when it had to
    /// give way to others.
    pub(super) async fn retried<T, F>(&self, work: impl FnMut() -> F) -> Result<T, LedgerError>
    where
        F: Future<Output = Result<T, LedgerError>>,
    {
        retried(self.lanes.call_max(), work).await
    }
}

/// One shard: its connections and lanes.
pub(super) struct Shard {
    pub(super) id: ShardId,
    pub(super) db: ShardConnections,
    /// Lanes of claims and issues, by bucket.
    give: Vec<Lane<GiveWriter>>,
    /// Lanes of commands on redemptions, by user.
    redeem: Vec<Lane<RedeemWriter>>,
}

impl Shard {
    /// Starts the lanes.
    pub(super) fn start(
        id: ShardId,
        db: ShardConnections,
        limits: GroupLimits,
        neighbours: &Neighbours,
        proofs: Option<&Arc<Proofs>>,
    ) -> Self {
        let attempts_max = limits.attempts_max;
        let give = (0..db.lanes.lanes()).map(|_| {
            let (lane, proofs) = (db.lanes.lane(), proofs.cloned());
            let writer = GiveWriter::new(id, lane, attempts_max, neighbours, proofs);
            let (queue_max, group_max) = (limits.give_queue_max, limits.give_group_max);
            Lane::start("the claim queue", Arc::new(writer), queue_max, group_max)
        });
        let redeem = (0..db.lanes.lanes()).map(|_| {
            let writer = RedeemWriter::new(id, db.lanes.lane(), attempts_max, neighbours);
            let (queue_max, group_max) = (limits.redeem_queue_max, limits.redeem_group_max);
            Lane::start("the redemption queue", Arc::new(writer), queue_max, group_max)
        });
        Self { id, give: give.collect(), redeem: redeem.collect(), db }
    }

    /// The number of the lane of a claim or issue: that of its bucket, so that two groups in flight
    /// never meet in one, and all commands of a user and a template go one way.
    pub(super) fn give_lane(&self, command: &GiveCommand) -> usize {
        let template = &command.template;
        let bucket = u64::from(command.user.slot().bucket(template.buckets));
        // Small templates all have a bucket 0.
        let start = mix64(template.id.get().unsigned_abs());
        usize::try_from(start.wrapping_add(bucket) % self.lanes()).unwrap_or(0)
    }

    /// The lane of a user's commands on redemptions.
    pub(super) fn redeem_lane(&self, user: UserId) -> Option<&Lane<RedeemWriter>> {
        let lane = mix64(user.get().unsigned_abs()) % self.lanes();
        self.redeem.get(usize::try_from(lane).unwrap_or(0))
    }

    fn lanes(&self) -> u64 {
        u64::try_from(self.give.len()).unwrap_or(1).max(1)
    }
}

/// Hands commands of one lane to their shard's, in order. What the lane does not take is settled here,
/// so that the gate gets its units back.
pub(super) fn submit(
    shards: &[Shard],
    settle: &dyn Settle,
    shard: ShardId,
    commands: Vec<GiveCommand>,
) -> Result<Answer<GiveWriter>, LedgerError> {
    let lane = shards.get(usize::from(shard)).and_then(|shard| {
        let lane = commands.first().map_or(0, |command| shard.give_lane(command));
        shard.give.get(lane)
    });
    let submitted = match lane {
        Some(lane) => lane.submit(commands),
        None => Err((LedgerError::Corrupt(format!("there is no shard {shard}")), commands)),
    };
    submitted.map_err(|(error, commands)| {
        let outcome = Err(error.clone().into());
        let refused = commands.iter().map(|command| Settlement { command, outcome: &outcome });
        settle.settle(&refused.collect::<Vec<_>>());
        error
    })
}
