//! A basket with coupons: quoted with what the shopper presented and with all that they hold, then
//! locked and confirmed with the former.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use coupon_client::ClientError;
use coupon_client::v1::{
    Cart, Combination, ConfirmRequest, CouponUse, ErrorReason, LockRequest, QuoteRequest,
    QuoteResponse, Redemption, RedemptionState,
};
use tonic_types::StatusExt;

use super::check::Split;
use super::data::Basket;
use super::drive::Drive;

/// Refused: the shopper never got such a coupon, or has used every piece.
const NOT_HELD: &str = "NOT_HELD";
/// Refused: the quote says nothing about it, which is a broken invariant.
const NOT_JUDGED: &str = "NOT_JUDGED";

/// The coupons put on the counter: coupon id to index of the journey's redemptions.
type Presented = HashMap<i64, usize>;

impl Drive<'_> {
    /// Uses the coupons presented with a basket, as far as the platform lets them be used.
    pub(crate) async fn checkout(&mut self, basket: &Basket) -> Result<()> {
        let (ids, presented) = self.present(basket);
        if ids.is_empty() {
            return Ok(());
        }
        let cart = self.cart(basket);
        let request = QuoteRequest {
            user_id: basket.household_id,
            cart: Some(cart.clone()),
            coupon_ids: ids,
        };
        let started = Instant::now();
        let quote = self.client.quote(request).await.context("cannot quote")?;
        self.tally.quote.record(started.elapsed());
        let mut usable = self.sort_out(&presented, &quote);
        if usable.is_empty() {
            return Ok(());
        }
        let order = format!("order {}", basket.basket_id);
        let best = quote.best.unwrap_or_default();
        if let Err(what) = Split::from(&best).check(&cart) {
            self.tally.violation(format!("quote of {order}: {what}"));
        }
        let choice = self.platforms_choice(basket, &cart).await?;
        let redemption = self.use_all(basket, &cart, &best, &mut usable, &presented).await?;
        self.compare(&order, &choice, &redemption);
        if let Err(what) = Split::from(&redemption).check(&cart) {
            self.tally.violation(format!("{order}: {what}"));
        }
        if best.optimal && redemption.discount_minor > best.discount_minor {
            self.tally.violation(format!("{order}: saved more than its optimal quote"));
        }
        self.count_used(basket, &presented, &redemption)
    }

    /// The best combination of all that the shopper holds.
    async fn platforms_choice(&mut self, basket: &Basket, cart: &Cart) -> Result<Combination> {
        let request = QuoteRequest {
            user_id: basket.household_id,
            cart: Some(cart.clone()),
            coupon_ids: Vec::new(),
        };
        let started = Instant::now();
        let quote = self.client.quote(request).await.context("cannot quote the whole wallet")?;
        self.tally.quote.record(started.elapsed());
        quote.best.context("a wallet with usable coupons has no best combination")
    }

    /// Compares the platform's choice with what the shopper used.
    fn compare(&mut self, order: &str, choice: &Combination, redemption: &Redemption) {
        let ids = |used: &[CouponUse]| {
            let mut ids: Vec<i64> = used.iter().map(|used| used.coupon_id).collect();
            ids.sort_unstable();
            ids
        };
        let better = choice.discount_minor - redemption.discount_minor;
        self.tally.choices_not_optimal += u64::from(!choice.optimal);
        if better < 0 && choice.optimal {
            self.tally.violation(format!("{order}: saved more than the optimal choice"));
        }
        if ids(&choice.coupons) == ids(&redemption.coupons) {
            self.tally.quoted_same_orders += 1;
        } else if better > 0 {
            self.tally.quoted_better_orders += 1;
            self.tally.quoted_better_minor += better;
        }
    }

    /// Picks a piece for each coupon presented; who holds none is refused here.
    fn present(&mut self, basket: &Basket) -> (Vec<i64>, Presented) {
        let mut ids = Vec::new();
        let mut presented = Presented::new();
        for &redemption in &basket.redemptions {
            let coupon = self.journey.redemptions[redemption].coupon;
            let held = coupon.and_then(|coupon| self.wallets.get(&(basket.household_id, coupon)));
            let piece = held.into_iter().flatten().find(|id| !presented.contains_key(id)).copied();
            match piece {
                Some(coupon_id) => {
                    presented.insert(coupon_id, redemption);
                    ids.push(coupon_id);
                }
                None => self.tally.refuse(redemption, NOT_HELD),
            }
        }
        (ids, presented)
    }

    /// Counts what the platform finds unusable as refused, with its reason, and answers the ids of
    /// the rest in order.
    fn sort_out(&mut self, presented: &Presented, quote: &QuoteResponse) -> Vec<i64> {
        let mut rest = Vec::new();
        for (&coupon_id, &redemption) in presented {
            let usable = quote.usable.iter().any(|usable| usable.coupon_id == coupon_id);
            let unusable = quote.unusable.iter().find(|unusable| unusable.coupon_id == coupon_id);
            match unusable {
                None if usable => rest.push(coupon_id),
                None => self.tally.refuse(redemption, NOT_JUDGED),
                Some(unusable) => {
                    let reason = ErrorReason::try_from(unusable.reason).unwrap_or_default();
                    self.tally.refuse(redemption, reason.as_reason());
                }
            }
            if usable == unusable.is_some() {
                let message = format!("quote judges coupon {coupon_id} twice or not at all");
                self.tally.violation(message);
            }
        }
        rest.sort_unstable();
        rest
    }

    /// Locks and confirms all usable coupons: the shopper has handed them over, also those that the
    /// best combination does without because others save as much. Those to which the others leave
    /// nothing are refused by the lock, by name, and taken out of `usable`.
    async fn use_all(
        &mut self,
        basket: &Basket,
        cart: &Cart,
        best: &Combination,
        usable: &mut Vec<i64>,
        presented: &Presented,
    ) -> Result<Redemption> {
        let (user_id, order_id) = (basket.household_id, basket.basket_id.to_string());
        let quoted = |id: &i64| best.coupons.iter().any(|used| used.coupon_id == *id);
        let left_out = usable.iter().filter(|id| !quoted(id)).count();
        self.tally.left_out_of_best += left_out as u64;
        loop {
            // The quote holds for exactly its coupons.
            let as_quoted = usable.len() == best.coupons.len() && usable.iter().all(quoted);
            let lock = LockRequest {
                user_id,
                order_id: order_id.clone(),
                coupon_ids: usable.clone(),
                cart: Some(cart.clone()),
                expected_discount_minor: as_quoted.then_some(best.discount_minor),
                ..LockRequest::default()
            };
            let started = Instant::now();
            let answer = self.client.lock(lock).await;
            self.tally.lock.record(started.elapsed());
            let starved = match answer {
                Ok(_) => break,
                Err(error) => starved(error).context("cannot lock what was just quoted")?,
            };
            let before = usable.len();
            usable.retain(|id| !starved.contains(id));
            ensure!(
                !usable.is_empty() && usable.len() < before,
                "the lock was refused for coupons {starved:?}, which leaves nothing to do"
            );
            for row in starved.iter().filter_map(|id| presented.get(id)) {
                self.tally.refuse(*row, ErrorReason::NothingLeft.as_reason());
            }
        }
        self.confirm(user_id, order_id, usable).await
    }

    async fn confirm(&mut self, user_id: i64, order_id: String, ids: &[i64]) -> Result<Redemption> {
        let confirm = ConfirmRequest {
            user_id,
            order_id,
            coupon_ids: ids.to_vec(),
            ..ConfirmRequest::default()
        };
        let started = Instant::now();
        let confirmed = self.client.confirm(confirm).await.context("cannot confirm")?;
        self.tally.confirm.record(started.elapsed());
        let redemption = confirmed.redemption.context("the server answered no redemption")?;
        ensure!(
            redemption.state() == RedemptionState::Confirmed,
            "the redemption is {} after Confirm",
            redemption.state().as_str_name()
        );
        let mut used: Vec<_> = redemption.coupons.iter().map(|used| used.coupon_id).collect();
        used.sort_unstable();
        ensure!(used == ids, "coupons {ids:?} were locked, but {used:?} used");
        Ok(redemption)
    }

    fn count_used(
        &mut self,
        basket: &Basket,
        presented: &Presented,
        redemption: &Redemption,
    ) -> Result<()> {
        self.tally.orders += 1;
        self.tally.multi_coupon_orders += u64::from(redemption.coupons.len() > 1);
        self.tally.discount_minor += redemption.discount_minor;
        for used in &redemption.coupons {
            let coupon_id = used.coupon_id;
            let row = *presented
                .get(&coupon_id)
                .with_context(|| format!("coupon {coupon_id} was used but never presented"))?;
            self.tally.redeem(row);
            let Some(coupon) = self.journey.redemptions[row].coupon else {
                continue;
            };
            self.check_use(basket, coupon, used);
            if let Some(held) = self.wallets.get_mut(&(basket.household_id, coupon)) {
                held.retain(|id| *id != coupon_id);
            }
        }
        Ok(())
    }

    /// Checks a redeemed coupon against its row of the files: worth no more than its face, and only
    /// on products that it is for.
    fn check_use(&mut self, basket: &Basket, coupon: usize, used: &CouponUse) {
        let plan = &self.journey.coupons[coupon];
        self.tally.capped += u64::from(used.discount_minor < plan.amount_cents);
        let strayed = used.shares.iter().any(|share| {
            let index = share.line_id.parse::<usize>().ok().and_then(|id| id.checked_sub(1));
            let line = index.and_then(|index| basket.lines.get(index));
            line.is_none_or(|line| !plan.product_ids.contains(&line.product_id))
        });
        if strayed || used.discount_minor > plan.amount_cents || used.discount_minor < 1 {
            let (id, order) = (used.coupon_id, basket.basket_id);
            let discount = used.discount_minor;
            self.tally.violation(format!(
                "order {order}: coupon {id} took {discount} of {} off lines {:?}",
                plan.amount_cents, used.shares
            ));
        }
    }
}

/// The coupons for which a lock was refused because the others leave nothing for them; any other
/// refusal is given back.
fn starved(error: ClientError) -> Result<Vec<i64>, ClientError> {
    if error.reason() != Some(ErrorReason::NothingLeft) {
        return Err(error);
    }
    let failure = error.status().get_details_precondition_failure();
    let violations = failure.into_iter().flat_map(|failure| failure.violations);
    Ok(violations.filter_map(|violation| violation.subject.parse().ok()).collect())
}
