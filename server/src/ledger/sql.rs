//! The ledger over SQL: N shards behind the router. The embedded back end is the one-shard case.

mod alarms;
mod audience;
mod give;
mod lane_db;
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
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use coupon_domain::{
    book::AlarmKind,
    coupon::Coupon,
    ids::{CouponId, RedemptionId, TemplateId, UserId},
    redemption::Redemption,
    stock::Bucket,
    time::{Minute, Timestamp},
};
use tokio::task::JoinHandle;

use self::{
    give::{GiveWriter, Outcome, Reply},
    redeem::RedeemItem,
    refill::{Proofs, Refills},
    shard::{Shard, submit},
};
pub use self::{lane_db::LaneConnections, replica::Replica, shard::ShardConnections};
use super::{
    AlarmBell, AlarmRow, Counts, Fresh, GiveCommand, Given, Granted, Holding, HoldingCursor,
    Ledger, LedgerError, NotGiven, NotRedeemed, Purged, RedeemCommand, Redeemed, Settle, ShardId,
    StoredCoupon, Swept, TemplateSource, batcher::Answer, router::Router,
};
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

/// Where the outcomes of a parcel come from.
enum Awaited {
    /// From its lane: one shard has all the stock.
    Lane(Answer<GiveWriter>),
    /// From a task of the ledger's own, which goes on when the caller goes away: members that fall
    /// short on their shard are not answered by its lane.
    Task(JoinHandle<Vec<Outcome>>),
}

impl Awaited {
    /// The outcomes; fewer when they are lost.
    async fn outcomes(self) -> Vec<Outcome> {
        let alone = || LedgerError::Corrupt("the only shard fell short".to_owned());
        match self {
            Self::Task(task) => task.await.unwrap_or_default(),
            Self::Lane(answer) => {
                let outcome = |reply| match reply {
                    Reply::Done(outcome) => outcome,
                    Reply::Short(_) => Err(alone().into()),
                };
                answer.await.unwrap_or_default().into_iter().map(outcome).collect()
            }
        }
    }
}

#[async_trait]
impl Ledger for SqlLedger {
    fn shards(&self) -> u16 {
        self.router.shards()
    }

    async fn give(&self, commands: Vec<GiveCommand>) -> Vec<Result<Given, NotGiven>> {
        let count = commands.len();
        let mut by_lane: BTreeMap<(ShardId, usize), (Vec<usize>, Vec<GiveCommand>)> =
            BTreeMap::new();
        for (index, command) in commands.into_iter().enumerate() {
            let shard = self.router.shard_of_user(command.user);
            let lane = self.shards.get(usize::from(shard)).map(|shard| shard.give_lane(&command));
            let (indices, parcel) = by_lane.entry((shard, lane.unwrap_or(0))).or_default();
            indices.push(index);
            parcel.push(command);
        }
        let await_answer = |shard, count, answer| match &self.refills {
            None => Awaited::Lane(answer),
            Some(refills) => {
                let task = Arc::clone(refills).see_through(shard, answer, count);
                Awaited::Task(tokio::spawn(task))
            }
        };
        let waiting: Vec<_> = by_lane
            .into_iter()
            .map(|((shard, _), (indices, parcel))| {
                let submitted = submit(&self.shards, self.settle.as_ref(), shard, parcel);
                let awaited = submitted.map(|answer| await_answer(shard, indices.len(), answer));
                (indices, awaited)
            })
            .collect();
        let lost = || Err(LedgerError::Unknown("the group was dropped".to_owned()).into());
        let mut outcomes: Vec<_> = (0..count).map(|_| lost()).collect();
        for (indices, awaited) in waiting {
            match awaited {
                Ok(awaited) => {
                    for (index, outcome) in indices.into_iter().zip(awaited.outcomes().await) {
                        outcomes[index] = outcome;
                    }
                }
                Err(error) => {
                    for index in indices {
                        outcomes[index] = Err(error.clone().into());
                    }
                }
            }
        }
        outcomes
    }

    async fn redeem(
        &self,
        command: RedeemCommand,
        at: Timestamp,
        deadline: Instant,
    ) -> Result<Redeemed, NotRedeemed> {
        let user = command.user();
        let no_lane = || LedgerError::Corrupt("a shard has no lanes".to_owned());
        let lane = self.shard_of(user)?.redeem_lane(user).ok_or_else(no_lane)?;
        let item = RedeemItem { command, at, deadline };
        let answer = lane.submit(vec![item]).map_err(|(error, _)| error)?;
        let dropped = || LedgerError::Unknown("the group was dropped".to_owned());
        answer.await.ok().and_then(|mut outcomes| outcomes.pop()).ok_or_else(dropped)?
    }

    async fn grant(
        &self,
        template: TemplateId,
        buckets: u16,
        total: i64,
    ) -> Result<Granted, LedgerError> {
        let shares = coupon_domain::stock::deal(total, self.shards.len());
        let mut granted = Granted { buckets, pieces: 0 };
        // One after the other: the first shard fixes the number of buckets for all.
        for (shard, share) in self.shards.iter().zip(shares) {
            let grant = || stock::grant(&shard.db.write, template, granted.buckets, share);
            let here = shard.db.retried(grant).await?;
            granted = Granted { buckets: here.buckets, pieces: granted.pieces + here.pieces };
        }
        Ok(granted)
    }

    async fn finish_transfers(
        &self,
        shard: ShardId,
        before: Timestamp,
        limit: u32,
        at: Timestamp,
    ) -> Result<usize, LedgerError> {
        match &self.refills {
            Some(refills) => refills.finish_old(shard, before, limit, at).await,
            None => Ok(0),
        }
    }

    async fn set_open(&self, template: TemplateId, open: bool) -> Result<(), LedgerError> {
        for shard in self.shards.iter() {
            shard.db.retried(|| stock::set_open(&shard.db.write, template, open)).await?;
        }
        Ok(())
    }

    async fn buckets(&self, template: TemplateId) -> Result<Vec<(ShardId, Bucket)>, LedgerError> {
        let mut all = Vec::new();
        for shard in self.shards.iter() {
            let rows = stock::buckets(shard.db.latest(), &[template]).await?;
            all.extend(rows.into_iter().map(|bucket| (shard.id, bucket)));
        }
        Ok(all)
    }

    async fn holdings(
        &self,
        shard: ShardId,
        templates: &[TemplateId],
        after: HoldingCursor,
        limit: u32,
    ) -> Result<(Vec<(TemplateId, Holding)>, Option<HoldingCursor>), LedgerError> {
        wallet::holdings(&self.shard(shard)?.db.read, templates, after, limit).await
    }

    async fn held(&self, user: UserId, template: TemplateId) -> Result<Vec<Holding>, LedgerError> {
        wallet::held(&self.shard_of(user)?.db.read, user, template).await
    }

    async fn coupon(
        &self,
        user: UserId,
        coupon: CouponId,
        fresh: Fresh,
    ) -> Result<Option<StoredCoupon>, LedgerError> {
        let db = &self.shard_of(user)?.db;
        if let Some(replica) = db.replica_for(fresh)
            && let Some(Some(found)) = replica::answer(wallet::coupon(replica, user, coupon)).await
        {
            return Ok(Some(found));
        }
        wallet::coupon(&db.read, user, coupon).await
    }

    async fn wallet(
        &self,
        user: UserId,
        template: Option<TemplateId>,
        before: Option<CouponId>,
        limit: usize,
        fresh: Fresh,
    ) -> Result<Vec<StoredCoupon>, LedgerError> {
        let db = &self.shard_of(user)?.db;
        if let Some(replica) = db.replica_for(fresh)
            && let Some(page) =
                replica::answer(wallet::page(replica, user, template, before, limit)).await
        {
            return Ok(page);
        }
        wallet::page(&db.read, user, template, before, limit).await
    }

    async fn live_coupons(
        &self,
        user: UserId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Coupon>, LedgerError> {
        wallet::live(&self.shard_of(user)?.db.read, user, now, limit).await
    }

    async fn coupons(
        &self,
        user: UserId,
        coupons: &[CouponId],
    ) -> Result<Vec<Coupon>, LedgerError> {
        wallet::named(&self.shard_of(user)?.db.read, user, coupons).await
    }

    async fn redemption(
        &self,
        user: UserId,
        order: &str,
        fresh: Fresh,
    ) -> Result<Option<Redemption>, LedgerError> {
        let db = &self.shard_of(user)?.db;
        if let Some(replica) = db.replica_for(fresh)
            && let Some(Some(found)) = replica::answer(redeem::by_order(replica, user, order)).await
        {
            return Ok(Some(found));
        }
        redeem::by_order(&db.read, user, order).await
    }

    async fn overdue(
        &self,
        until: Timestamp,
        after: Option<(Timestamp, RedemptionId)>,
        limit: usize,
    ) -> Result<Vec<Redemption>, LedgerError> {
        let mut all = Vec::new();
        for shard in self.shards.iter() {
            all.extend(redeem::overdue(&shard.db.read, until, after, limit).await?);
        }
        all.sort_by_key(|redemption| (redemption.locked_until, redemption.id));
        all.truncate(limit);
        Ok(all)
    }

    async fn add_audience(
        &self,
        template: TemplateId,
        users: &[UserId],
    ) -> Result<i64, LedgerError> {
        let mut added = 0;
        for shard in self.shards.iter() {
            let here = |user: &&UserId| self.router.shard_of_user(**user) == shard.id;
            let users: Vec<UserId> = users.iter().filter(here).copied().collect();
            added += shard.db.retried(|| audience::add(&shard.db.write, template, &users)).await?;
        }
        Ok(added)
    }

    async fn is_named(&self, user: UserId, template: TemplateId) -> Result<bool, LedgerError> {
        audience::contains(&self.shard_of(user)?.db.read, template, user).await
    }

    async fn alarms(
        &self,
        shard: ShardId,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<AlarmRow>, LedgerError> {
        alarms::due(&self.shard(shard)?.db.write, shard, before, limit).await
    }

    async fn alarm_hop(
        &self,
        shard: ShardId,
        kind: AlarmKind,
        minute: Minute,
    ) -> Result<Option<i64>, LedgerError> {
        alarms::hop_of(&self.shard(shard)?.db.read, kind, minute).await
    }

    async fn hop(&self, alarm: AlarmRow) -> Result<bool, LedgerError> {
        let db = &self.shard(alarm.shard)?.db;
        db.retried(|| alarms::hop(&db.write, alarm)).await
    }

    async fn expire_chunk(
        &self,
        alarm: AlarmRow,
        after: Option<(Timestamp, i64)>,
        limit: u32,
        at: Timestamp,
    ) -> Result<Swept, LedgerError> {
        let db = &self.shard(alarm.shard)?.db;
        let chunk = || sweep::expire(&db.write, &self.mint, alarm.minute, after, limit, at);
        db.retried(chunk).await
    }

    async fn lapsing(
        &self,
        alarm: AlarmRow,
        limit: u32,
    ) -> Result<Vec<(UserId, RedemptionId)>, LedgerError> {
        sweep::lapsing(&self.shard(alarm.shard)?.db.read, alarm.minute, limit).await
    }

    async fn close_alarm(&self, alarm: AlarmRow) -> Result<bool, LedgerError> {
        let db = &self.shard(alarm.shard)?.db;
        db.retried(|| alarms::close(&db.write, alarm)).await
    }

    async fn fold_stats(&self, limit: u32, at: Timestamp) -> Result<u64, LedgerError> {
        let mut read = 0;
        for shard in self.shards.iter() {
            read += shard.db.retried(|| stats::fold(&shard.db, limit, at, self.fold_lag)).await?;
        }
        if read < u64::from(limit) {
            self.folded_at.fetch_max(at.minus(self.fold_lag).as_millis(), Ordering::Relaxed);
        }
        Ok(read)
    }

    async fn counts(&self, template: TemplateId) -> Result<Counts, LedgerError> {
        let mut sum: Option<Counts> = None;
        for shard in self.shards.iter() {
            let counts = stats::counts(&shard.db.read, template).await?;
            sum = Some(sum.map_or(counts, |sum| stats::add(sum, counts)));
        }
        let folded_at = Timestamp::from_millis(self.folded_at.load(Ordering::Relaxed));
        let sum = sum.unwrap_or_default();
        Ok(Counts { as_of: sum.as_of.max(folded_at), ..sum })
    }

    async fn purge_redemptions(
        &self,
        shard: ShardId,
        after: i64,
        fences_before: Timestamp,
        uses_before: Timestamp,
        limit: u32,
    ) -> Result<Purged, LedgerError> {
        let db = &self.shard(shard)?.db;
        let purge = || retention::purge(&db.write, after, fences_before, uses_before, limit);
        db.retried(purge).await
    }

    async fn beat(&self, at: Timestamp) -> Result<(), LedgerError> {
        let replicated = self.shards.iter().filter(|shard| shard.db.replica.is_some());
        // One that does not answer keeps no other from being told.
        let beats = replicated.map(|shard| replica::beat(&shard.db.write, at));
        futures::future::join_all(beats).await.into_iter().collect()
    }

    async fn look_at_replicas(&self) {
        let looks = self.shards.iter().filter_map(|shard| {
            let replica = shard.db.replica.as_ref()?;
            Some(async move {
                if let Err(error) = replica.look().await {
                    tracing::debug!(shard = shard.id, %error, "the replica does not answer");
                }
            })
        });
        futures::future::join_all(looks).await;
    }
}
