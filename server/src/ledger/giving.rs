//! Claim and Issue: who is given what.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use coupon_domain::{
    Rejection,
    fingerprint::Fingerprint,
    ids::{CouponId, TemplateId, UserId},
    template::Template,
    time::Timestamp,
};

use super::{LedgerError, ShardId};

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

/// Where to go on reading [`Giving::holdings`].
pub type HoldingCursor = i64;

/// Gives coupons, and knows who was given and who may be.
#[async_trait]
pub trait Giving: Send + Sync {
    /// Gives coupons, every command judged by itself; answers in the order of the commands. The
    /// commands travel together, but in groups of the ledger's own making. Accepting them happens
    /// before the first suspension of the future.
    async fn give(&self, commands: Vec<GiveCommand>) -> Vec<Result<Given, NotGiven>>;

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

    /// Names users for a template; says how many were not named before.
    async fn add_audience(
        &self,
        template: TemplateId,
        users: &[UserId],
    ) -> Result<i64, LedgerError>;

    /// Whether a user is named for a template.
    async fn is_named(&self, user: UserId, template: TemplateId) -> Result<bool, LedgerError>;
}
