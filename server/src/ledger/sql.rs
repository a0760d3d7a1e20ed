//! The ledger over SQL: N shards behind the router. The embedded back end is the one-shard case.

mod alarms;
mod audience;
mod give;
mod lane_db;
mod port;
mod redeem;
mod refill;
mod replica;
mod retention;
mod rows;
mod shard;
mod statement;
mod stats;
mod stock;
mod sweep;
mod transfer;
mod wallet;

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use coupon_domain::ids::UserId;

pub use self::{lane_db::LaneConnections, replica::Replica, shard::ShardConnections};
use self::{
    refill::{Proofs, Refills},
    shard::Shard,
};
use super::{AlarmBell, LedgerError, Settle, ShardId, TemplateSource, router::Router};
use crate::mint::Mint;

/// Limits of grouping.
#[derive(Debug, Clone, Copy)]
pub struct GroupLimits {
    /// Claims and issues of one transaction.
    pub give_group_max: usize,
    /// Waiting claims and issues.
    pub give_queue_max: usize,
    /// Commands on redemptions of one transaction.
    pub redeem_group_max: usize,
    /// Waiting commands on redemptions.
    pub redeem_queue_max: usize,
    /// How often one command is tried in new groups.
    pub attempts_max: u32,
}

/// What the ledger tells and asks.
#[derive(Clone)]
pub struct Neighbours {
    /// Ids.
    pub mint: Arc<Mint>,
    /// Templates of coupons.
    pub templates: Arc<dyn TemplateSource>,
    /// Who learns the outcomes of claims.
    pub settle: Arc<dyn Settle>,
    /// Who hears of alarms.
    pub bell: Arc<dyn AlarmBell>,
}

/// The ledger over SQL.
pub struct SqlLedger {
    router: Router,
    shards: Arc<[Shard]>,
    mint: Arc<Mint>,
    settle: Arc<dyn Settle>,
    /// `None` where one shard has all the stock.
    refills: Option<Arc<Refills>>,
    /// When this process last found nothing more to fold.
    folded_at: AtomicI64,
    fold_lag: Duration,
}

impl SqlLedger {
    /// Starts the lanes of every shard. `connections` has one entry per shard of the router.
    pub fn start(
        router: Router,
        connections: Vec<ShardConnections>,
        limits: GroupLimits,
        neighbours: &Neighbours,
    ) -> Self {
        let proofs = (connections.len() > 1).then(Arc::<Proofs>::default);
        let shards = (0..)
            .zip(connections)
            .map(|(id, db)| Shard::start(id, db, limits, neighbours, proofs.as_ref()));
        let shards: Arc<[Shard]> = shards.collect();
        let mint = Arc::clone(&neighbours.mint);
        let settle = Arc::clone(&neighbours.settle);
        let refills = proofs.map(|proofs| {
            let (shards, mint, settle) =
                (Arc::clone(&shards), Arc::clone(&mint), Arc::clone(&settle));
            Arc::new(Refills::new(shards, mint, settle, proofs))
        });
        Self {
            router,
            shards,
            mint,
            settle,
            refills,
            folded_at: AtomicI64::new(0),
            fold_lag: Duration::ZERO,
        }
    }

    /// Folds only operations that were minted longer than `lag` ago, as is needed where several nodes
    /// mint them.
    pub fn with_fold_lag(mut self, lag: Duration) -> Self {
        self.fold_lag = lag;
        self
    }

    fn shard(&self, id: ShardId) -> Result<&Shard, LedgerError> {
        let missing = || LedgerError::Corrupt(format!("the slot map names shard {id}"));
        self.shards.get(usize::from(id)).ok_or_else(missing)
    }

    fn shard_of(&self, user: UserId) -> Result<&Shard, LedgerError> {
        self.shard(self.router.shard_of_user(user))
    }
}
