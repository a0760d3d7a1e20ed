//! What users have.

use async_trait::async_trait;
use coupon_domain::{
    coupon::Coupon,
    ids::{CouponId, TemplateId, UserId},
    time::Timestamp,
};

use super::LedgerError;

/// A coupon with the order that holds or used it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCoupon {
    /// As stored.
    pub coupon: Coupon,
    /// The order of its redemption.
    pub order: Option<String>,
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

/// Reads the coupons of users.
#[async_trait]
pub trait Wallets: Send + Sync {
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
}
