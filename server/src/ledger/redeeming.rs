//! Lock, Confirm, Cancel and what else becomes of coupons in orders.

use std::time::Instant;

use async_trait::async_trait;
use coupon_domain::{
    Refusal,
    coupon::Coupon,
    ids::{RedemptionId, UserId},
    redemption::{
        CloseCommand, ForceCommand, LockCommand, LockLimits, Redemption, RestoreCommand, Restored,
        VoidCommand,
    },
    time::Timestamp,
};

use super::{Fresh, LedgerError};

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

/// Uses coupons in orders, and takes them away.
#[async_trait]
pub trait Redeeming: Send + Sync {
    /// Carries out one command on redemptions.
    async fn redeem(
        &self,
        command: RedeemCommand,
        at: Timestamp,
        deadline: Instant,
    ) -> Result<Redeemed, NotRedeemed>;

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
}
