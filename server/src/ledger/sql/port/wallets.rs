//! Wallets: on the user's shard, or on its replica when that is fresh enough.

use async_trait::async_trait;
use coupon_domain::{
    coupon::Coupon,
    ids::{CouponId, TemplateId, UserId},
    time::Timestamp,
};

use crate::ledger::{
    Fresh, LedgerError, StoredCoupon, Wallets,
    sql::{SqlLedger, replica, wallet},
};

#[async_trait]
impl Wallets for SqlLedger {
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
}
