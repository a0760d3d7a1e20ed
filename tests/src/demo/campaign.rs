//! What is on sale: the Singles' Day coupon of a digital shop, 50 off from 100.

use anyhow::Context as _;
use coupon_client::{CouponClient, v1};
use prost_types::Timestamp;

/// Where the server's clock starts: four hours before Singles' Day in Shanghai.
pub(super) const START: &str = "2026-11-10T12:00:00Z";
/// End of Singles' Day in Shanghai, of the claim window and of every coupon.
const END: &str = "2026-11-11T16:00:00Z";
/// Alarms ring at whole minutes; two minutes later everything is swept.
const SWEPT: &str = "2026-11-11T16:02:00Z";
/// When the locks that nobody confirms have lapsed, and no other has.
const LAPSED: &str = "2026-11-10T12:20:00Z";

const BUCKETS: i32 = 8;
const THRESHOLD_MINOR: i64 = 10_000;
const AMOUNT_MINOR: i64 = 5_000;
const CATEGORY: &str = "digital";
const CURRENCY: &str = "CNY";

/// A published template and what the demo knows about it.
#[derive(Clone, Debug)]
pub(super) struct Campaign {
    pub(super) template_id: i64,
    /// After the lapse of the short locks.
    pub(super) lapsed: Timestamp,
    /// After the end of every coupon.
    pub(super) swept: Timestamp,
}

impl Campaign {
    /// Creates and publishes the template.
    pub(super) async fn publish(client: &CouponClient, stock: i64) -> anyhow::Result<Self> {
        let request =
            v1::CreateTemplateRequest { template: Some(template(stock)?), ..Default::default() };
        let created = client.create_template(request).await?;
        let template_id = created.template.context("an answer without template")?.template_id;
        client
            .publish_template(v1::PublishTemplateRequest {
                template_id,
                bucket_count: BUCKETS,
                ..Default::default()
            })
            .await?;
        Ok(Self { template_id, lapsed: LAPSED.parse()?, swept: SWEPT.parse()? })
    }

    /// What a cart with the coupon saves.
    pub(super) fn discount_minor(&self) -> i64 {
        AMOUNT_MINOR
    }

    /// A cart that the coupon fits.
    pub(super) fn cart(&self) -> v1::Cart {
        let line = |line_id: &str, category: &str, amount_minor| v1::CartLine {
            line_id: line_id.to_owned(),
            product_id: 10,
            merchant_id: 0,
            category: category.to_owned(),
            quantity: 1,
            amount_minor,
        };
        v1::Cart {
            currency_code: CURRENCY.to_owned(),
            lines: vec![line("1", CATEGORY, 19_900), line("2", "books", 4_500)],
            ..v1::Cart::default()
        }
    }
}

fn template(stock: i64) -> anyhow::Result<v1::Template> {
    let start: Timestamp = START.parse()?;
    let end: Timestamp = END.parse()?;
    let categories = v1::scope::Categories { categories: vec![CATEGORY.to_owned()] };
    let window = v1::use_window::Fixed { use_from: Some(start), valid_until: Some(end) };
    let rules = v1::TemplateRules {
        benefit: Some(v1::template_rules::Benefit::ThresholdOff(v1::ThresholdOff {
            threshold_minor: THRESHOLD_MINOR,
            amount_minor: AMOUNT_MINOR,
            ..v1::ThresholdOff::default()
        })),
        currency_code: CURRENCY.to_owned(),
        scope: Some(v1::Scope { kind: Some(v1::scope::Kind::Categories(categories)) }),
        stacking: v1::Stacking::Stackable.into(),
        use_window: Some(v1::UseWindow { kind: Some(v1::use_window::Kind::Fixed(window)) }),
        time_zone: "Asia/Shanghai".to_owned(),
        per_user_limit: 1,
        audience: v1::Audience::Everyone.into(),
        restore_policy: v1::RestorePolicy::IfUnexpired.into(),
        restore_days: 0,
        ..v1::TemplateRules::default()
    };
    Ok(v1::Template {
        display_name: "Singles' Day: 50 off from 100".to_owned(),
        rules: Some(rules),
        total_count: stock,
        claim_from: Some(start),
        claim_until: Some(end),
        ..Default::default()
    })
}
