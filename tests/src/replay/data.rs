//! A folder of coupon campaigns as typed structs. Its format is described in `tests/data/README.md`.

use std::collections::HashMap;

use serde::Serialize;

/// Seconds of a day.
pub const DAY_SECONDS: i64 = 86_400;

/// Everything that a replay needs, in the order of the files.
#[derive(Debug, Default)]
pub struct Journey {
    /// The campaigns.
    pub campaigns: Vec<Campaign>,
    /// The coupons of all campaigns, each of which becomes a template.
    pub coupons: Vec<CampaignCoupon>,
    /// What is known of products: some that occur in baskets and scopes are not here.
    pub products: HashMap<i64, Product>,
    /// The baskets.
    pub baskets: Vec<Basket>,
    /// The coupons that shoppers presented.
    pub redemptions: Vec<Redemption>,
    /// Where the files had to be read with tolerance.
    pub notes: Notes,
}

/// A mailing of coupons to some households.
#[derive(Debug)]
pub struct Campaign {
    /// Its id in the files.
    pub campaign_id: i64,
    /// First instant, Unix seconds.
    pub start: i64,
    /// First instant at which it is over, Unix seconds.
    pub end: i64,
    /// The households that received it, each once.
    pub recipients: Vec<i64>,
    /// Its coupons, as indices of [`Journey::coupons`].
    pub coupons: Vec<usize>,
}

/// One coupon of one campaign.
#[derive(Debug)]
pub struct CampaignCoupon {
    /// Its campaign, as an index of [`Journey::campaigns`].
    pub campaign: usize,
    /// The code printed on it.
    pub upc: String,
    /// What it takes off, in cents.
    pub amount_cents: i64,
    /// How many pieces each recipient gets.
    pub per_household: i32,
    /// The products it applies to, each once.
    pub product_ids: Vec<i64>,
}

/// A product as the shop's catalogue has it.
#[derive(Debug)]
pub struct Product {
    /// Who makes it.
    pub manufacturer_id: i64,
    /// Its category; empty when the catalogue has none.
    pub category: String,
}

/// What a household bought at one visit.
#[derive(Debug)]
pub struct Basket {
    /// Its id in the files.
    pub basket_id: i64,
    /// Who bought.
    pub household_id: i64,
    /// When, Unix seconds.
    pub at: i64,
    /// What.
    pub lines: Vec<BasketLine>,
    /// The coupons presented with it, as indices of [`Journey::redemptions`].
    pub redemptions: Vec<usize>,
}

/// One line of a basket.
#[derive(Debug)]
pub struct BasketLine {
    /// What.
    pub product_id: i64,
    /// How many, at least 1.
    pub quantity: i64,
    /// Line total after the shop's own discounts, at least 0.
    pub sales_cents: i64,
}

/// A coupon that a shopper presented at the till.
#[derive(Debug)]
pub struct Redemption {
    /// Its id in the files.
    pub redemption_id: i64,
    /// The coupon, as an index of [`Journey::coupons`]; `None` when no campaign has it.
    pub coupon: Option<usize>,
    /// The basket's id in the files.
    pub basket_id: i64,
    /// False when the files hold no such basket of this household: nothing can be replayed.
    pub attached: bool,
    /// Whether the basket really held a product of the coupon; compared at the end, never used to
    /// choose.
    pub in_scope: bool,
}

/// Where the files had to be read with tolerance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Notes {
    /// Rows of `coupon_products` that repeat another.
    pub repeated_scope_rows: u64,
    /// Rows of `recipients` that repeat another.
    pub repeated_recipient_rows: u64,
    /// Basket lines whose quantity below 1 was read as 1, or whose total below 0 was read as 0.
    pub adjusted_lines: u64,
    /// Redemptions whose basket, or the household's basket of that id, is missing.
    pub orphan_redemptions: u64,
}
