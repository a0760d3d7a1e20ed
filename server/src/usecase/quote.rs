//! Quote: what coupons are worth for a cart (R47, R48, R60). Uncached; the same evaluator as Lock.

use std::{
    cmp::Reverse,
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use coupon_domain::{
    CouponFault, Rejection,
    coupon::Coupon,
    evaluate::{self, Candidate, Evaluator, SearchLimits},
    ids::{CouponId, TemplateId},
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
        let templates = self.templates_of(&found).await?;
        let evaluator = Evaluator::new(&command.cart);
        // Coupons of one template are worth the same.
        let mut judgements: HashMap<TemplateId, Result<evaluate::Usable<'_>, CouponFault>> =
            HashMap::new();
        let mut usable = Vec::new();
        for coupon in &found {
            let Some(template) = templates.get(&coupon.template) else { continue };
            let use_from = template.use_from(coupon.claimed_at);
            let candidate = Candidate {
                coupon: coupon.id,
                template: template.id,
                valid_until: coupon.valid_until,
                rules: &template.rules,
            };
            let judged = match coupon.lock_rejection(None, use_from, now) {
                Some(reason) => Err(fault(coupon.id, reason)),
                None => match judgements
                    .entry(template.id)
                    .or_insert_with(|| evaluator.judge(&candidate))
                {
                    Ok(one) => Ok(one.copy(coupon.id, coupon.valid_until)),
                    Err(fault) => Err(CouponFault { coupon: coupon.id, ..*fault }),
                },
            };
            match judged {
                Ok(one) => usable.push(one),
                Err(fault) => unusable.push(Unusable { fault, template: Some(template.id) }),
            }
        }
        let limits = SearchLimits {
            effort: self.config.quotes.effort_max,
            coupons_max: self.config.redemptions.coupons_per_order_max,
        };
        let best = evaluator.best_of(&usable, limits);
        let mut usable: Vec<Usable> = usable.iter().map(Usable::from).collect();
        usable.sort_by_key(|usable| (Reverse(usable.discount), usable.coupon));
        Ok(Quoted { usable, unusable, best })
    }

    async fn templates_of(
        &self,
        coupons: &[Coupon],
    ) -> Result<HashMap<TemplateId, Arc<Template>>, ServiceError> {
        let mut templates = HashMap::new();
        for coupon in coupons {
            if let Entry::Vacant(entry) = templates.entry(coupon.template) {
                entry.insert(self.template(coupon.template).await?);
            }
        }
        Ok(templates)
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

fn fault(coupon: CouponId, reason: Rejection) -> CouponFault {
    CouponFault { coupon, reason, missing: Minor::ZERO }
}

impl From<&evaluate::Usable<'_>> for Usable {
    fn from(usable: &evaluate::Usable<'_>) -> Self {
        let Candidate { coupon, template, .. } = *usable.candidate();
        Self { coupon, template, discount: usable.alone() }
    }
}
