//! Templates and coupons for tests of orders.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use coupon_domain::{
    coupon::{Coupon, CouponStatus},
    ids::{CouponId, TemplateId, UserId},
    redemption::{LockLimits, Templates},
    rules::Rules,
    template::{Template, TemplateState},
    time::Timestamp,
};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3_600);
pub(crate) const LIMITS: LockLimits =
    LockLimits { horizon: Duration::from_secs(7 * 24 * 3_600), locks_max: 8 };

/// Templates by number.
#[derive(Debug, Default)]
pub(crate) struct Shelf(pub(crate) BTreeMap<i64, Template>);

impl Templates for Shelf {
    fn template(&self, id: TemplateId) -> Option<&Template> {
        self.0.get(&id.get())
    }
}

/// A template of one piece, published and claimable for a day from `start` on.
pub(crate) fn template(number: i64, rules: Rules, start: Timestamp) -> Template {
    Template {
        id: TemplateId::new(number).unwrap(),
        display_name: format!("template {number}"),
        merchant: 0,
        state: TemplateState::Active,
        rules: Arc::new(rules),
        total: 1,
        claim_from: start,
        claim_until: start.plus(DAY),
        buckets: 1,
        version: 1,
        created_at: start,
        published_at: Some(start),
    }
}

/// A coupon that its user claimed at `start` and has not used.
pub(crate) fn coupon(
    id: CouponId,
    user: UserId,
    template: i64,
    start: Timestamp,
    valid_until: Timestamp,
) -> Coupon {
    Coupon {
        id,
        user,
        template: TemplateId::new(template).unwrap(),
        template_version: 1,
        claim_no: 1,
        status: CouponStatus::Available,
        source: String::new(),
        claimed_at: start,
        valid_until,
        redemption: None,
        locked_until: None,
        used_at: None,
        reissue_of: None,
    }
}
