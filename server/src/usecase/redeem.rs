//! Lock, Confirm, Cancel, Restore, Force, Void: using coupons in an order (R49-R51, R58, R59).

use std::time::Duration;

use coupon_domain::{
    Rejection,
    ids::{RedemptionId, UserId},
    redemption::{
        CloseCommand, ForceCommand, Forced, LockCommand, LockLimits, Redemption, RequestMark,
        RestoreCommand, Restored, VoidCommand,
    },
    time::Timestamp,
};

use super::{CouponView, Deadline, Fresh, UseCases};
use crate::{
    catalog::Recorded,
    error::ServiceError,
    ledger::{RedeemCommand, Redeemed},
};

/// Where a list of overdue redemptions goes on.
pub(super) type OverdueCursor = (Timestamp, RedemptionId);

impl UseCases {
    async fn redeem(
        &self,
        command: RedeemCommand,
        deadline: Deadline,
    ) -> Result<Redeemed, ServiceError> {
        Ok(self.ledger.redeem(command, self.clock.now(), deadline).await?)
    }

    async fn redeem_order(
        &self,
        command: RedeemCommand,
        deadline: Deadline,
    ) -> Result<Redemption, ServiceError> {
        match self.redeem(command, deadline).await? {
            Redeemed::Redemption(redemption) => Ok(redemption),
            other => Err(ServiceError::Internal(format!("unexpected answer {other:?}"))),
        }
    }

    /// Try: holds coupons for an order.
    ///
    /// # Errors
    /// A refusal that names every failing coupon; or a failure of the ledger.
    pub async fn lock(
        &self,
        command: LockCommand,
        deadline: Deadline,
    ) -> Result<Redemption, ServiceError> {
        let limits = LockLimits {
            horizon: self.config.redemptions.lock_horizon(),
            locks_max: usize::try_from(self.config.redemptions.locks_per_order_max)
                .unwrap_or(usize::MAX),
        };
        self.redeem_order(RedeemCommand::Lock(command, limits), deadline).await
    }

    /// Paid.
    ///
    /// # Errors
    /// A refusal, or a failure of the ledger.
    pub async fn confirm(
        &self,
        command: CloseCommand,
        deadline: Deadline,
    ) -> Result<Redemption, ServiceError> {
        self.redeem_order(RedeemCommand::Confirm(command), deadline).await
    }

    /// Not paid.
    ///
    /// # Errors
    /// A refusal, or a failure of the ledger.
    pub async fn cancel(
        &self,
        command: CloseCommand,
        deadline: Deadline,
    ) -> Result<Redemption, ServiceError> {
        self.redeem_order(RedeemCommand::Cancel(command), deadline).await
    }

    /// Refunded.
    ///
    /// # Errors
    /// A refusal, or a failure of the ledger.
    pub async fn restore(
        &self,
        command: RestoreCommand,
        deadline: Deadline,
    ) -> Result<Restored, ServiceError> {
        match self.redeem(RedeemCommand::Restore(command), deadline).await? {
            Redeemed::Restored(restored) => Ok(restored),
            other => Err(ServiceError::Internal(format!("unexpected answer {other:?}"))),
        }
    }

    /// Confirmed or cancelled by an operator, whom the log of the server names.
    ///
    /// # Errors
    /// A refusal, or a failure of the ledger.
    pub async fn force(
        &self,
        command: ForceCommand,
        deadline: Deadline,
    ) -> Result<Redemption, ServiceError> {
        let request = command.request.clone();
        let redemption = self.redeem_order(RedeemCommand::Force(command), deadline).await?;
        let forced = redemption.forced.as_ref();
        if let Some(forced) = forced.filter(|_| redemption.close.as_ref() == Some(&request)) {
            let Redemption { user, order, state, .. } = &redemption;
            let Forced { operator, reason, .. } = forced;
            tracing::warn!(%user, order, ?state, operator, reason, "an order was closed by force");
        }
        Ok(redemption)
    }

    /// Takes a coupon away. Repeats by state; the request id is recorded to tell reuse.
    ///
    /// # Errors
    /// A refusal, or a failure of ledger or catalog.
    pub async fn void_coupon(
        &self,
        command: VoidCommand,
        request: RequestMark,
        deadline: Deadline,
    ) -> Result<CouponView, ServiceError> {
        let known = self.recorded(&request).await?;
        let redeemed = self.redeem(RedeemCommand::Void(command), deadline).await?;
        let Redeemed::Coupon(coupon) = redeemed else {
            return Err(ServiceError::Internal(format!("unexpected answer {redeemed:?}")));
        };
        if known.is_none() {
            let at = self.clock.now();
            let RequestMark { request_id, fingerprint } = request;
            let subject = coupon.id.get();
            self.catalog.record(&Recorded { request_id, fingerprint, subject, at }).await?;
        }
        self.view(coupon, None).await
    }

    /// The redemption of an order, as stored.
    ///
    /// # Errors
    /// None was ever stored, or the ledger cannot be read.
    pub async fn redemption(
        &self,
        user: UserId,
        order: String,
        fresh: Fresh,
    ) -> Result<Redemption, ServiceError> {
        let found = self.ledger.redemption(user, &order, fresh).await?;
        found.ok_or_else(|| Rejection::RedemptionNotFound.into())
    }

    /// Redemptions stored LOCKED although their time has been over for `min_overdue`, longest first,
    /// and where the next page starts.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn stuck_redemptions(
        &self,
        min_overdue: Duration,
        page_size: usize,
        after: Option<OverdueCursor>,
    ) -> Result<(Vec<Redemption>, Option<OverdueCursor>), ServiceError> {
        let until = self.clock.now().minus(min_overdue);
        let found = self.ledger.overdue(until, after, page_size).await?;
        let last = found.last().filter(|_| found.len() == page_size);
        let next = last.and_then(|last| Some((last.locked_until?, last.id)));
        Ok((found, next))
    }
}
