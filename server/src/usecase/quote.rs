//! Quote: what coupons are worth for a cart (R47, R48, R60). Uncached; the same evaluator as Lock.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use coupon_domain::{
    CouponFault, Rejection,
    coupon::Coupon,
    evaluate::{Candidate, best, judge},
    ids::CouponId,
    money::Minor,
    template::Template,
};

use super::{QuoteCommand, Quoted, Unusable, Usable, UseCases};
use crate::error::ServiceError;

impl UseCases {
    /// Judges coupons for a cart: the named ones, or all that are live in the wallet.
    ///
    /// # Errors
    /// When ledger or catalog cannot be read.
    pub async fn quote(&self, command: QuoteCommand) -> Result<Quoted, ServiceError> {
        let now = self.clock.now();
        let mut unusable = Vec::new();
        let found = self.quoted_coupons(&command, &mut unusable).await?;
        let mut usable: Vec<(Usable, Arc<Template>)> = Vec::new();
        for coupon in found {
            let template = self.template(coupon.template).await?;
            let use_from = template.use_from(coupon.claimed_at);
            let stated = coupon.lock_rejection(None, use_from, now);
            let candidate = candidate(coupon.id, &template);
            let judged = match stated {
                Some(reason) => Err(fault(coupon.id, reason)),
                None => judge(&candidate, &command.cart),
            };
            match judged {
                Ok(discount) => {
                    let usable_coupon =
                        Usable { coupon: coupon.id, template: template.id, discount };
                    usable.push((usable_coupon, template));
                }
                Err(fault) => unusable.push(Unusable { fault, template: Some(template.id) }),
            }
        }
        let candidates: Vec<Candidate<'_>> =
            usable.iter().map(|(found, template)| candidate(found.coupon, template)).collect();
        let best = best(&candidates, &command.cart);
        let mut usable: Vec<Usable> = usable.iter().map(|(usable, _)| *usable).collect();
        usable.sort_by_key(|usable| (Reverse(usable.discount), usable.coupon));
        Ok(Quoted { usable, unusable, best })
    }

    /// The coupons to judge, in the order of the request or of the wallet.
    async fn quoted_coupons(
        &self,
        command: &QuoteCommand,
        unusable: &mut Vec<Unusable>,
    ) -> Result<Vec<Coupon>, ServiceError> {
        let limit = usize::try_from(self.config.pages.wallet_scan_rows_max).unwrap_or(usize::MAX);
        if command.coupons.is_empty() {
            return Ok(self.ledger.live_coupons(command.user, self.clock.now(), limit).await?);
        }
        let found = self.ledger.coupons(command.user, &command.coupons).await?;
        let mut found: HashMap<CouponId, Coupon> =
            found.into_iter().map(|coupon| (coupon.id, coupon)).collect();
        let mut ordered = Vec::with_capacity(command.coupons.len());
        for id in &command.coupons {
            match found.remove(id) {
                Some(coupon) => ordered.push(coupon),
                None => {
                    let fault = fault(*id, Rejection::CouponNotFound);
                    unusable.push(Unusable { fault, template: None });
                }
            }
        }
        Ok(ordered)
    }
}

fn candidate(coupon: CouponId, template: &Template) -> Candidate<'_> {
    Candidate { coupon, template: template.id, rules: &template.rules }
}

fn fault(coupon: CouponId, reason: Rejection) -> CouponFault {
    CouponFault { coupon, reason, missing: Minor::ZERO }
}
