//! What tests begin with: templates, coupons and carts in their usual form, to be changed where a
//! test is about the change.

use coupon_client::{ClientError, v1};
use prost_types::Timestamp;

use super::{Harness, START_MS};

/// In milliseconds.
pub(crate) const SECOND: i64 = 1_000;
/// In milliseconds.
pub(crate) const MINUTE: i64 = 60 * SECOND;
/// In milliseconds.
pub(crate) const HOUR: i64 = 60 * MINUTE;
/// In milliseconds.
pub(crate) const DAY: i64 = 24 * HOUR;

/// An instant on the wire.
pub(crate) fn instant(ms: i64) -> Timestamp {
    let nanos = i32::try_from(ms.rem_euclid(1_000)).expect("below 1,000") * 1_000_000;
    Timestamp { seconds: ms.div_euclid(1_000), nanos }
}

/// An instant in milliseconds.
pub(crate) fn millis(at: Option<Timestamp>) -> i64 {
    let at = at.expect("an instant");
    at.seconds * 1_000 + i64::from(at.nanos) / 1_000_000
}

/// `amount` minor units off.
pub(crate) fn direct_off(amount_minor: i64) -> v1::template_rules::Benefit {
    v1::template_rules::Benefit::DirectOff(v1::DirectOff { amount_minor })
}

/// `amount` off from `threshold` on.
pub(crate) fn threshold_off(
    threshold_minor: i64,
    amount_minor: i64,
) -> v1::template_rules::Benefit {
    let off = v1::ThresholdOff { threshold_minor, amount_minor, ..v1::ThresholdOff::default() };
    v1::template_rules::Benefit::ThresholdOff(off)
}

/// `pay_bps` of the price is paid; a cap of 0 is none.
pub(crate) fn percentage(pay_bps: i32, max_discount_minor: i64) -> v1::template_rules::Benefit {
    let percentage = v1::Percentage { pay_bps, max_discount_minor, threshold_minor: 0 };
    v1::template_rules::Benefit::Percentage(percentage)
}

/// Lines of these products.
pub(crate) fn products(product_ids: impl IntoIterator<Item = i64>) -> Option<v1::Scope> {
    let product_ids = product_ids.into_iter().collect();
    let kind = v1::scope::Kind::Products(v1::scope::Products { product_ids });
    Some(v1::Scope { kind: Some(kind) })
}

/// Lines of these merchants.
pub(crate) fn merchants(merchant_ids: impl IntoIterator<Item = i64>) -> Option<v1::Scope> {
    let merchant_ids = merchant_ids.into_iter().collect();
    let kind = v1::scope::Kind::Merchants(v1::scope::Merchants { merchant_ids });
    Some(v1::Scope { kind: Some(kind) })
}

/// Lines of these categories.
pub(crate) fn categories<'a>(codes: impl IntoIterator<Item = &'a str>) -> Option<v1::Scope> {
    let categories = codes.into_iter().map(str::to_owned).collect();
    let kind = v1::scope::Kind::Categories(v1::scope::Categories { categories });
    Some(v1::Scope { kind: Some(kind) })
}

/// Every line.
pub(crate) fn all() -> Option<v1::Scope> {
    Some(v1::Scope { kind: Some(v1::scope::Kind::All(v1::scope::All {})) })
}

/// The same use window for every coupon, in milliseconds.
pub(crate) fn fixed(use_from: i64, valid_until: i64) -> Option<v1::UseWindow> {
    let (use_from, valid_until) = (Some(instant(use_from)), Some(instant(valid_until)));
    let kind = v1::use_window::Kind::Fixed(v1::use_window::Fixed { use_from, valid_until });
    Some(v1::UseWindow { kind: Some(kind) })
}

/// A use window of `days` days after the claim.
pub(crate) fn after_claim(days: i32) -> Option<v1::UseWindow> {
    let kind = v1::use_window::Kind::AfterClaim(v1::use_window::AfterClaim { days });
    Some(v1::UseWindow { kind: Some(kind) })
}

/// 5.00 CNY off everything, stackable, usable for 30 days from [`START_MS`], one each.
pub(crate) fn rules() -> v1::TemplateRules {
    v1::TemplateRules {
        benefit: Some(direct_off(500)),
        currency_code: "CNY".to_owned(),
        scope: all(),
        stacking: v1::Stacking::Stackable.into(),
        use_window: fixed(START_MS, START_MS + 30 * DAY),
        time_zone: "Asia/Shanghai".to_owned(),
        per_user_limit: 1,
        audience: v1::Audience::Everyone.into(),
        restore_policy: v1::RestorePolicy::IfUnexpired.into(),
        restore_days: 0,
        threshold_base: v1::ThresholdBase::BeforeCoupons.into(),
        kept_discount: v1::KeptDiscount::Keep.into(),
        ..v1::TemplateRules::default()
    }
}

/// `total` pieces of `rules`, claimable for ten days from [`START_MS`].
pub(crate) fn template_of(total_count: i64, rules: v1::TemplateRules) -> v1::Template {
    v1::Template {
        display_name: "五元券".to_owned(),
        rules: Some(rules),
        total_count,
        claim_from: Some(instant(START_MS)),
        claim_until: Some(instant(START_MS + 10 * DAY)),
        ..v1::Template::default()
    }
}

/// `total` pieces of [`rules`].
pub(crate) fn template(total_count: i64) -> v1::Template {
    template_of(total_count, rules())
}

/// A cart line of one piece without merchant or category.
pub(crate) fn line(line_id: &str, product_id: i64, amount_minor: i64) -> v1::CartLine {
    v1::CartLine {
        line_id: line_id.to_owned(),
        product_id,
        merchant_id: 0,
        category: String::new(),
        quantity: 1,
        amount_minor,
    }
}

/// A cart in CNY.
pub(crate) fn cart(lines: impl IntoIterator<Item = v1::CartLine>) -> Option<v1::Cart> {
    Some(v1::Cart {
        currency_code: "CNY".to_owned(),
        lines: lines.into_iter().collect(),
        ..v1::Cart::default()
    })
}

/// One line of 100.00 CNY.
pub(crate) fn small_cart() -> Option<v1::Cart> {
    cart([line("1", 1, 10_000)])
}

/// A claim.
pub(crate) fn claim(user_id: i64, template_id: i64, request_id: &str) -> v1::ClaimRequest {
    let request_id = request_id.to_owned();
    v1::ClaimRequest { user_id, template_id, request_id, source: String::new() }
}

/// A lock of `coupons` for [`small_cart`], of the default length.
pub(crate) fn lock(
    user_id: i64,
    order: &str,
    request_id: &str,
    coupons: &[i64],
) -> v1::LockRequest {
    v1::LockRequest {
        user_id,
        order_id: order.to_owned(),
        request_id: request_id.to_owned(),
        coupon_ids: coupons.to_vec(),
        cart: small_cart(),
        ..v1::LockRequest::default()
    }
}

/// A Confirm that names no coupons.
pub(crate) fn confirm(user_id: i64, order: &str, request_id: &str) -> v1::ConfirmRequest {
    let (order_id, request_id) = (order.to_owned(), request_id.to_owned());
    v1::ConfirmRequest { user_id, order_id, request_id, coupon_ids: Vec::new() }
}

/// A Cancel that names no coupons.
pub(crate) fn cancel(user_id: i64, order: &str, request_id: &str) -> v1::CancelRequest {
    let (order_id, request_id) = (order.to_owned(), request_id.to_owned());
    v1::CancelRequest { user_id, order_id, request_id, coupon_ids: Vec::new() }
}

/// The reason of a refusal.
pub(crate) fn reason<T: std::fmt::Debug>(outcome: Result<T, ClientError>) -> v1::ErrorReason {
    let error = outcome.expect_err("a refusal");
    error.reason().unwrap_or_else(|| panic!("no reason: {error}"))
}

impl Harness {
    /// Stores a draft; answers its id.
    pub(crate) async fn draft(&self, template: v1::Template) -> i64 {
        let request = v1::CreateTemplateRequest { template: Some(template), ..Default::default() };
        let created = self.client.create_template(request).await.expect("a draft");
        created.template.expect("the draft").template_id
    }

    /// Publishes a template; answers its id.
    pub(crate) async fn publish(&self, template: v1::Template) -> i64 {
        self.publish_in(template, 0).await
    }

    /// Publishes a template over `bucket_count` sub-stock buckets; answers its id.
    pub(crate) async fn publish_in(&self, template: v1::Template, bucket_count: i32) -> i64 {
        let template_id = self.draft(template).await;
        let request =
            v1::PublishTemplateRequest { template_id, bucket_count, ..Default::default() };
        self.client.publish_template(request).await.expect("published");
        template_id
    }

    /// Claims under an id of its own; answers the coupon's id.
    pub(crate) async fn win(&self, user_id: i64, template_id: i64) -> i64 {
        let won = self.client.claim(claim(user_id, template_id, "")).await.expect("a win");
        won.coupon.expect("the coupon").coupon_id
    }

    /// Publishes a template for one user and claims it; answers the coupon's id.
    pub(crate) async fn give(&self, user: i64, rules: v1::TemplateRules) -> i64 {
        let template = self.publish(template_of(1_000, rules)).await;
        self.win(user, template).await
    }

    /// A coupon as it is now.
    pub(crate) async fn coupon(&self, user_id: i64, coupon_id: i64) -> v1::Coupon {
        let request = v1::GetCouponRequest { user_id, coupon_id };
        let found = self.client.get_coupon(request).await.expect("the coupon");
        found.coupon.expect("the coupon")
    }

    /// The status of a coupon now.
    pub(crate) async fn status(&self, user: i64, coupon: i64) -> v1::CouponStatus {
        self.coupon(user, coupon).await.status()
    }

    /// A redemption as it is now.
    pub(crate) async fn redemption(&self, user_id: i64, order: &str) -> v1::Redemption {
        let request = v1::GetRedemptionRequest { user_id, order_id: order.to_owned() };
        let found = self.client.get_redemption(request).await.expect("the redemption");
        found.redemption.expect("the redemption")
    }

    /// All of a user's coupons, newest first.
    pub(crate) async fn wallet(&self, user_id: i64) -> Vec<v1::Coupon> {
        let mut coupons = Vec::new();
        let mut request = v1::ListCouponsRequest { user_id, page_size: 200, ..Default::default() };
        loop {
            let page = self.client.list_coupons(request.clone()).await.expect("a page");
            coupons.extend(page.coupons);
            if page.next_page_token.is_empty() {
                return coupons;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Counts of a template, once the folded ones satisfy `settled`.
    pub(crate) async fn stats_when(
        &self,
        template_id: i64,
        settled: impl Fn(&v1::GetTemplateStatsResponse) -> bool,
    ) -> v1::GetTemplateStatsResponse {
        super::eventually("the counts are folded", async || {
            let request = v1::GetTemplateStatsRequest { template_id };
            let stats = self.client.get_template_stats(request).await.expect("counts");
            settled(&stats).then_some(stats)
        })
        .await
    }

    /// How many pieces of a template are given.
    pub(crate) async fn issued(&self, template: i64) -> i64 {
        self.stats_when(template, |_| true).await.issued_count
    }
}
