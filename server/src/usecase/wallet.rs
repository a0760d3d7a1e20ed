//! Reading coupons (R5, R48).

use coupon_domain::{
    Rejection,
    coupon::Coupon,
    ids::{CouponId, UserId},
};

use super::{CouponView, Fresh, UseCases, WalletPage, WalletQuery};
use crate::{error::ServiceError, ledger::StoredCoupon};

/// Rows of one read while a filtered page is being filled.
const STEP_ROWS: usize = 200;

impl UseCases {
    /// One coupon of a user.
    ///
    /// # Errors
    /// The user has no such coupon, or the ledger cannot be read.
    pub async fn coupon(
        &self,
        user: UserId,
        coupon: CouponId,
        fresh: Fresh,
    ) -> Result<CouponView, ServiceError> {
        match self.ledger.coupon(user, coupon, fresh).await? {
            Some(StoredCoupon { coupon, order }) => self.view(coupon, order).await,
            None => Err(Rejection::CouponNotFound.into()),
        }
    }

    /// A page of a user's coupons. Filters by the status effective now, so it may have to read more
    /// rows than it shows; it reads at most `pages.wallet_scan_rows_max` and then answers a short
    /// page that says where to go on.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn wallet(&self, query: WalletQuery) -> Result<WalletPage, ServiceError> {
        let scan_max =
            usize::try_from(self.config.pages.wallet_scan_rows_max).unwrap_or(usize::MAX);
        let filtered = !query.statuses.is_empty();
        let step = if filtered { STEP_ROWS.max(query.page_size) } else { query.page_size };
        let (mut coupons, mut before, mut scanned) = (Vec::new(), query.before, 0);
        loop {
            let WalletQuery { user, template, fresh, .. } = query;
            let rows = self.ledger.wallet(user, template, before, step + 1, fresh).await?;
            let more = rows.len() > step;
            scanned += rows.len();
            for StoredCoupon { coupon, order } in rows.into_iter().take(step) {
                before = Some(coupon.id);
                let view = self.view(coupon, order).await?;
                let status = view.coupon.effective_status(view.now);
                if filtered && !query.statuses.contains(&status) {
                    continue;
                }
                coupons.push(view);
                if coupons.len() == query.page_size {
                    break;
                }
            }
            let full = coupons.len() == query.page_size;
            if full || !more || scanned >= scan_max {
                let next = before.filter(|_| more || full);
                return Ok(WalletPage { coupons, next });
            }
        }
    }

    /// A stored coupon as a reader sees it now.
    pub(super) async fn view(
        &self,
        coupon: Coupon,
        order: Option<String>,
    ) -> Result<CouponView, ServiceError> {
        let template = self.template(coupon.template).await?;
        let use_from = template.use_from(coupon.claimed_at);
        Ok(CouponView { coupon, use_from, order, now: self.clock.now() })
    }
}
