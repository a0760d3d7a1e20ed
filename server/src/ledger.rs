//! The ledger is the truth: every coupon, and what pays for it.
//!
//! A claim is won when its row is committed, never before. The contract of every back end:
//! - **Durability**: what is answered as done survives the loss of the process and of the machine's
//!   power (unless the operator has given that up).
//! - **Atomicity**: a command is wholly there or not at all, together with its stock, its log rows
//!   and its alarms.
//! - **No oversell**: `issued <= granted` per bucket is a constraint of the database (I1).
//! - **Idempotency**: the same command with the same request id may come any number of times.
//! - **Ownership**: once a command is accepted its effect no longer depends on the caller: a caller
//!   that goes away loses the answer, nothing else.
//! - **Deadlines**: nothing starts after its caller's deadline (I10).

mod batcher;
mod error;
pub mod router;
pub mod sql;

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use coupon_domain::{
    Refusal, Rejection,
    book::AlarmKind,
    coupon::Coupon,
    fingerprint::Fingerprint,
    ids::{CouponId, RedemptionId, TemplateId, UserId},
    redemption::{
        CloseCommand, ForceCommand, LockCommand, LockLimits, Redemption, RestoreCommand, Restored,
        VoidCommand,
    },
    stock::Bucket,
    template::Template,
    time::{Minute, Timestamp},
};

pub use error::LedgerError;

/// A shard's number, 0..shards.
pub type ShardId = u16;

/// Gives coupons of one template to one user: the command behind Claim and Issue.
#[derive(Debug, Clone)]
pub struct GiveCommand {
    /// Whom.
    pub user: UserId,
    /// Of what, as published.
    pub template: Arc<Template>,
    /// How many, all or none; at least 1.
    pub pieces: u32,
    /// Idempotency key, scoped to (user, template).
    pub request_id: String,
    /// Of the request's body.
    pub fingerprint: Fingerprint,
    /// Where it came from.
    pub source: String,
    /// When it is given.
    pub at: Timestamp,
    /// Nothing starts after this.
    pub deadline: Instant,
    /// Whether the gate has set a unit of stock aside for it, which [`Settle`] gives back.
    pub holds_unit: bool,
}

/// Coupons that one request was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Which, in ascending order of `claim_no`.
    pub coupons: Vec<GivenCoupon>,
    /// Whether an earlier request with the same id had been given them.
    pub replayed: bool,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenCoupon {
    /// Which.
    pub id: CouponId,
    /// The user's how-many-eth of the template.
    pub claim_no: i64,
    /// When it was given.
    pub claimed_at: Timestamp,
    /// First instant at which it is expired, as of the giving.
    pub valid_until: Timestamp,
}

/// Why nothing was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotGiven {
    /// `LimitReached`, `SoldOut` (proven: the issued counts add up to the total) or
    /// `IdempotencyKeyReused`.
    #[error(transparent)]
    Refused(#[from] Rejection),
    /// The template is not open: paused, ended, or about to be published.
    #[error("the template is not open")]
    Closed,
    /// Not a matter of the command.
    #[error(transparent)]
    Failed(#[from] LedgerError),
}

/// What became of a [`GiveCommand`], for the gate to learn from.
#[derive(Debug)]
pub struct Settlement<'a> {
    /// The command.
    pub command: &'a GiveCommand,
    /// Its outcome.
    pub outcome: &'a Result<Given, NotGiven>,
}

/// Learns every outcome of a group after its end, before the callers do.
pub trait Settle: Send + Sync {
    /// Must not block: it runs between two groups.
    fn settle(&self, group: &[Settlement<'_>]);
}

/// Hears of alarms that now exist, after the transaction that wanted them.
pub trait AlarmBell: Send + Sync {
    /// May be called any number of times for one alarm. Must not block.
    fn wanted(&self, shard: ShardId, alarms: &[(AlarmKind, Minute)]);
}

/// Finds the templates that decisions about coupons need.
#[async_trait]
pub trait TemplateSource: Send + Sync {
    /// The template; `None` when there is none.
    ///
    /// # Errors
    /// When its store cannot be read.
    async fn find(&self, id: TemplateId) -> Result<Option<Arc<Template>>, LedgerError>;
}

/// Uses coupons in an order, or takes one away.
#[derive(Debug, Clone)]
pub enum RedeemCommand {
    /// Try.
    Lock(LockCommand, LockLimits),
    /// Paid.
    Confirm(CloseCommand),
    /// Not paid.
    Cancel(CloseCommand),
    /// Refunded.
    Restore(RestoreCommand),
    /// Confirmed or cancelled by an operator.
    Force(ForceCommand),
    /// Taken away by an operator.
    Void(VoidCommand),
    /// The lock's time is over. Safe to repeat.
    Lapse(UserId, RedemptionId),
}

impl RedeemCommand {
    /// Whose coupons it is about.
    pub fn user(&self) -> UserId {
        match self {
            Self::Lock(command, _) => command.user,
            Self::Confirm(command) | Self::Cancel(command) => command.user,
            Self::Restore(command) => command.user,
            Self::Force(command) => command.user,
            Self::Void(command) => command.user,
            Self::Lapse(user, _) => *user,
        }
    }
}

/// The answer to a [`RedeemCommand`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redeemed {
    /// Of Lock, Confirm, Cancel and Force.
    Redemption(Redemption),
    /// Of Restore.
    Restored(Restored),
    /// Of Void.
    Coupon(Coupon),
    /// Of Lapse: whether it did something.
    Lapsed(bool),
}

/// Why a [`RedeemCommand`] was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRedeemed {
    /// By rule or state.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Not a matter of the command.
    #[error(transparent)]
    Failed(#[from] LedgerError),
}

/// A coupon with the order that holds or used it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCoupon {
    /// As stored.
    pub coupon: Coupon,
    /// The order of its redemption.
    pub order: Option<String>,
}

/// What a user holds of a template: enough to judge a replay and the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Who.
    pub user: UserId,
    /// Which coupon.
    pub coupon: GivenCoupon,
    /// [`coupon_domain::fingerprint::hash_request_id`] of the request that was given it.
    pub request_hash: u64,
    /// Of that request's body.
    pub fingerprint: Fingerprint,
}

/// An alarm as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlarmRow {
    /// Of which shard.
    pub shard: ShardId,
    /// What it is for.
    pub kind: AlarmKind,
    /// When it rings.
    pub minute: Minute,
    /// How many times its message has travelled.
    pub hop: i64,
}

/// How far a sweep has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Rows changed by this chunk.
    pub changed: u64,
    /// Where the next chunk starts; `None` when the range is done.
    pub next: Option<(Timestamp, i64)>,
}

/// How far a purge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purged {
    /// Rows deleted by this chunk.
    pub deleted: u64,
    /// Where the next chunk starts; `None` at the end.
    pub next: Option<i64>,
}

/// Counts of a template on all shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Stored LOCKED.
    pub locked: i64,
    /// Stored USED.
    pub used: i64,
    /// Stored EXPIRED.
    pub expired: i64,
    /// Stored VOIDED.
    pub voided: i64,
    /// Reissued.
    pub reissued: i64,
    /// The instant they are true for.
    pub as_of: Timestamp,
}

/// What [`Ledger::grant`] found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// Buckets of the template on each shard: those of the first grant, whatever was asked for.
    pub buckets: u16,
    /// Pieces that were added by this call; 0 when all had been handed out before.
    pub pieces: i64,
}

/// How fresh what is read has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fresh {
    /// As of the latest commit.
    Latest,
    /// No older than this instant, in wall milliseconds: what its reader has written before is there.
    Past(i64),
    /// As fresh as replicas are allowed to be.
    Usual,
}

/// Where to go on reading [`Ledger::holdings`].
pub type HoldingCursor = i64;

/// The ledger. See the module's contract.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// How many shards there are.
    fn shards(&self) -> u16;

    /// Gives coupons, every command judged by itself; answers in the order of the commands. The
    /// commands travel together, but in groups of the ledger's own making. Accepting them happens
    /// before the first suspension of the future.
    async fn give(&self, commands: Vec<GiveCommand>) -> Vec<Result<Given, NotGiven>>;

    /// Carries out one command on redemptions.
    async fn redeem(
        &self,
        command: RedeemCommand,
        at: Timestamp,
        deadline: Instant,
    ) -> Result<Redeemed, NotRedeemed>;

    /// Brings what the shards have been handed of a template up to `total` pieces, dealt out evenly
    /// to shards and to their buckets; the first grant makes the buckets, closed. Safe to repeat and
    /// to run at once on several nodes, also with different totals: what was handed only grows. A
    /// grant that was cut off between two shards is finished by the next one.
    async fn grant(
        &self,
        template: TemplateId,
        buckets: u16,
        total: i64,
    ) -> Result<Granted, LedgerError>;

    /// Finishes up to `limit` transfers of stock to other shards that left the shard before `before`
    /// and were cut off on the way; says how many there were. Safe to repeat and to run on several
    /// nodes at once.
    async fn finish_transfers(
        &self,
        shard: ShardId,
        before: Timestamp,
        limit: u32,
        at: Timestamp,
    ) -> Result<usize, LedgerError>;

    /// Opens or closes a template's buckets on every shard. When it answers, every later group obeys.
    async fn set_open(&self, template: TemplateId, open: bool) -> Result<(), LedgerError>;

    /// All buckets of a template, by shard and bucket, as last committed.
    async fn buckets(&self, template: TemplateId) -> Result<Vec<(ShardId, Bucket)>, LedgerError>;

    /// What users hold of any of the templates: up to `limit` rows read from `after` on, and where
    /// to go on (`None` at the end). Reissued coupons are left out.
    async fn holdings(
        &self,
        shard: ShardId,
        templates: &[TemplateId],
        after: HoldingCursor,
        limit: u32,
    ) -> Result<(Vec<(TemplateId, Holding)>, Option<HoldingCursor>), LedgerError>;

    /// What one user holds of one template.
    async fn held(&self, user: UserId, template: TemplateId) -> Result<Vec<Holding>, LedgerError>;

    /// One coupon of a user.
    async fn coupon(
        &self,
        user: UserId,
        coupon: CouponId,
        fresh: Fresh,
    ) -> Result<Option<StoredCoupon>, LedgerError>;

    /// Up to `limit` coupons of a user with ids below `before`, newest first.
    async fn wallet(
        &self,
        user: UserId,
        template: Option<TemplateId>,
        before: Option<CouponId>,
        limit: usize,
        fresh: Fresh,
    ) -> Result<Vec<StoredCoupon>, LedgerError>;

    /// Up to `limit` coupons of a user that are AVAILABLE or LOCKED and not expired at `now`, newest
    /// first.
    async fn live_coupons(
        &self,
        user: UserId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Coupon>, LedgerError>;

    /// The coupons of a user among those named, in any order.
    async fn coupons(&self, user: UserId, coupons: &[CouponId])
    -> Result<Vec<Coupon>, LedgerError>;

    /// The redemption of an order.
    async fn redemption(
        &self,
        user: UserId,
        order: &str,
        fresh: Fresh,
    ) -> Result<Option<Redemption>, LedgerError>;

    /// Up to `limit` redemptions stored LOCKED with `locked_until` at most `until`, longest overdue
    /// first, after the cursor.
    async fn overdue(
        &self,
        until: Timestamp,
        after: Option<(Timestamp, RedemptionId)>,
        limit: usize,
    ) -> Result<Vec<Redemption>, LedgerError>;

    /// Names users for a template; says how many were not named before.
    async fn add_audience(
        &self,
        template: TemplateId,
        users: &[UserId],
    ) -> Result<i64, LedgerError>;

    /// Whether a user is named for a template.
    async fn is_named(&self, user: UserId, template: TemplateId) -> Result<bool, LedgerError>;

    /// Alarms of a shard due before `before`, earliest first, up to `limit`; all of them when
    /// `before` is the end of time.
    async fn alarms(
        &self,
        shard: ShardId,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<AlarmRow>, LedgerError>;

    /// How many times the alarm's message has travelled; `None` when there is no such alarm.
    async fn alarm_hop(
        &self,
        shard: ShardId,
        kind: AlarmKind,
        minute: Minute,
    ) -> Result<Option<i64>, LedgerError>;

    /// Counts a hop: true when the alarm stood at exactly `alarm.hop` and now stands one further.
    async fn hop(&self, alarm: AlarmRow) -> Result<bool, LedgerError>;

    /// Sets the stored status of one chunk of coupons whose validity ended in the alarm's minute.
    async fn expire_chunk(
        &self,
        alarm: AlarmRow,
        after: Option<(Timestamp, i64)>,
        limit: u32,
        at: Timestamp,
    ) -> Result<Swept, LedgerError>;

    /// Redemptions of one user-independent chunk whose lock ended in the alarm's minute and that are
    /// still stored LOCKED.
    async fn lapsing(
        &self,
        alarm: AlarmRow,
        limit: u32,
    ) -> Result<Vec<(UserId, RedemptionId)>, LedgerError>;

    /// Deletes the alarm if nothing of its minute is live any more; says whether it is gone.
    async fn close_alarm(&self, alarm: AlarmRow) -> Result<bool, LedgerError>;

    /// Folds up to `limit` rows of the operation log into the counts; says how many rows it read.
    async fn fold_stats(&self, limit: u32, at: Timestamp) -> Result<u64, LedgerError>;

    /// The folded counts of a template.
    async fn counts(&self, template: TemplateId) -> Result<Counts, LedgerError>;

    /// Looks at up to `limit` redemptions of a shard with ids above `after` and deletes those whose
    /// retention is over: CANCELLED and LAPSED closed before `fences_before`, CONFIRMED and RESTORED
    /// closed before `uses_before`.
    async fn purge_redemptions(
        &self,
        shard: ShardId,
        after: i64,
        fences_before: Timestamp,
        uses_before: Timestamp,
        limit: u32,
    ) -> Result<Purged, LedgerError>;

    /// Leaves the time in every primary, for its replica to show how far it has come.
    async fn beat(&self, at: Timestamp) -> Result<(), LedgerError>;

    /// Looks how far every replica has come; one that cannot be asked is not read meanwhile.
    async fn look_at_replicas(&self);
}
