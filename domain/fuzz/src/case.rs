//! A case: a cart, templates, coupons, an order, and its refunds.

mod rules;

use std::{sync::Arc, time::Duration};

use coupon_domain::{
    cart::{Cart, CartLine},
    coupon::{Coupon, CouponStatus},
    evaluate::{Candidate, SearchLimits},
    ids::{CouponId, TemplateId, UserId},
    money::{AMOUNT_MAX, Currency, Minor},
    redemption::{LineQuantity, RefundOf, Templates},
    rules::Rules,
    template::{Template, TemplateState},
    time::Timestamp,
};

use crate::bytes::Bytes;

/// Of the command that locks; coupons lie around it.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_772_366_400_000);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
/// Few of each, so that scopes meet lines and each other often.
const CATEGORIES: [&str; 4] = ["", "a", "b", "c"];
const MERCHANTS: i64 = 4;
const PRODUCTS: i64 = 6;
/// Ids are numbered on within steps of this, so that they are distinct.
const ID_STEP: i64 = 64;

/// Templates by id.
#[derive(Debug, Default)]
pub struct Shelf(Vec<Template>);

impl Templates for Shelf {
    fn template(&self, id: TemplateId) -> Option<&Template> {
        self.0.iter().find(|template| template.id == id)
    }
}

/// What bytes decode to.
#[derive(Debug)]
pub struct Case {
    /// What is bought.
    pub cart: Cart,
    /// Whether the cart is one that the checks before the domain let through.
    pub cart_is_checked: bool,
    /// Of the coupons.
    pub templates: Shelf,
    /// Whether the rules are ones that could have been published.
    pub rules_are_checked: bool,
    /// The wallet.
    pub coupons: Vec<Coupon>,
    /// Of the search.
    pub limits: SearchLimits,
    /// The places in the wallet of the coupons that the buyer asks for first.
    pub wanted: Vec<usize>,
    /// The refunds, with the hours that pass before each.
    pub refunds: Vec<(u32, RefundOf)>,
}

impl Case {
    /// Reads a case off the bytes; `None` only when the domain refuses a fixed text of this crate.
    pub fn decode(data: &[u8]) -> Option<Self> {
        decode(&mut Bytes::new(data))
    }

    /// The wallet as the evaluator takes it.
    pub fn candidates(&self) -> Vec<Candidate<'_>> {
        let candidate = |coupon: &Coupon| {
            let template = self.templates.template(coupon.template)?;
            Some(Candidate {
                coupon: coupon.id,
                template: coupon.template,
                valid_until: coupon.valid_until,
                rules: template.rules.as_ref(),
            })
        };
        self.coupons.iter().filter_map(candidate).collect()
    }

    /// Whether both cart and rules are what the domain is promised.
    pub const fn is_checked(&self) -> bool {
        self.cart_is_checked && self.rules_are_checked
    }
}

fn decode(bytes: &mut Bytes<'_>) -> Option<Case> {
    let most = bytes.pick(&[300, 12, 5_000, 1_000_000, AMOUNT_MAX]);
    let (cart_is_checked, rules_are_checked) = (!bytes.one_in(12), !bytes.one_in(12));
    let (wide, rich) = (bytes.one_in(10), bytes.one_in(8));
    let limits = limits(bytes, rich, rules_are_checked);
    let cart = cart(bytes, most, wide, cart_is_checked)?;
    let count = 1 + bytes.below(if rich { 24 } else { 6 });
    let mut templates = Shelf::default();
    for index in 0..count {
        let rules = rules::decode(bytes, most, rules_are_checked)?;
        templates.0.push(template(bytes, index, rules)?);
    }
    let mut coupons = Vec::new();
    for index in 0..1 + bytes.below(if rich { 32 } else { 8 }) {
        // Past the end of the bytes, each coupon is of another template.
        let of = (index + bytes.below(count)) % count;
        coupons.push(coupon(bytes, index, templates.0[of].id)?);
    }
    let wanted = bytes.byte();
    let wanted = (0..coupons.len().min(8)).filter(|place| wanted & (1 << place) != 0).collect();
    let refunds = (0..bytes.below(8)).map(|_| refund(bytes, &cart, cart_is_checked)).collect();
    Some(Case {
        cart,
        cart_is_checked,
        templates,
        rules_are_checked,
        coupons,
        limits,
        wanted,
        refunds,
    })
}

fn limits(bytes: &mut Bytes<'_>, rich: bool, checked: bool) -> SearchLimits {
    let effort = match bytes.below(8) {
        5 => 0,
        6 => bytes.below(64),
        7 => bytes.below(256) * 8,
        _ if rich => 20_000,
        _ => crate::EFFORT_FULL,
    };
    let coupons_max = if bytes.one_in(4) { bytes.below(4) } else { 100 };
    SearchLimits { effort, coupons_max: coupons_max.max(usize::from(checked)) }
}

fn cart(bytes: &mut Bytes<'_>, most: i64, wide: bool, checked: bool) -> Option<Cart> {
    let amount = |bytes: &mut Bytes<'_>| if checked { bytes.amount(most) } else { bytes.hostile() };
    let mut lines = Vec::new();
    for index in 0..1 + bytes.below(8) {
        let quantity = match bytes.byte() {
            few @ 0..=199 => 1 + i64::from(few % 12),
            _ => 1 + bytes.amount(i64::MAX / 2),
        };
        lines.push(CartLine {
            line_id: format!("line-{index}"),
            product: 1 + bytes.amount(PRODUCTS - 1),
            merchant: bytes.amount(MERCHANTS),
            category: bytes.pick(&CATEGORIES).to_owned(),
            quantity,
            amount: Minor::new(amount(bytes)),
        });
    }
    let shipping = if bytes.one_in(2) { amount(bytes) } else { 0 };
    if wide {
        // More places than one word of a set has bits, from as few bytes.
        let known = lines.len();
        for index in known..56 + bytes.below(84) {
            let line: CartLine = lines[index % known].clone();
            lines.push(CartLine { line_id: format!("line-{index}"), ..line });
        }
    }
    Some(Cart { currency: Currency::parse("CNY").ok()?, lines, shipping: Minor::new(shipping) })
}

/// A positive id whose order among others is up to the bytes.
fn id(bytes: &mut Bytes<'_>, index: usize) -> i64 {
    let number = i64::try_from(index).unwrap_or(0);
    ID_STEP * i64::from(bytes.byte() % 16) + number + 1
}

fn template(bytes: &mut Bytes<'_>, index: usize, rules: Rules) -> Option<Template> {
    Some(Template {
        id: TemplateId::new(id(bytes, index)).ok()?,
        display_name: format!("template {index}"),
        merchant: 0,
        state: TemplateState::Active,
        rules: Arc::new(rules),
        total: 1,
        claim_from: NOW,
        claim_until: NOW.plus(HOUR),
        buckets: 1,
        version: 1,
        created_at: NOW,
        published_at: Some(NOW),
    })
}

/// Whose everything is.
pub(crate) fn user() -> Option<UserId> {
    UserId::new(42).ok()
}

fn coupon(bytes: &mut Bytes<'_>, index: usize, template: TemplateId) -> Option<Coupon> {
    let hours = u32::try_from(bytes.below(12)).unwrap_or(0);
    let (early, late) = (bytes.one_in(48), bytes.one_in(48));
    Some(Coupon {
        id: CouponId::new(id(bytes, index)).ok()?,
        user: user()?,
        template,
        template_version: 1,
        claim_no: 1,
        status: CouponStatus::Available,
        source: String::new(),
        claimed_at: if early { NOW.plus(HOUR) } else { NOW },
        valid_until: if late { NOW } else { NOW.plus(HOUR * (1 + hours)) },
        redemption: None,
        locked_until: None,
        used_at: None,
        reissue_of: None,
    })
}

fn refund(bytes: &mut Bytes<'_>, cart: &Cart, checked: bool) -> (u32, RefundOf) {
    let hours = u32::try_from(bytes.below(6)).unwrap_or(0);
    let shipping = bytes.one_in(4);
    let mut lines: Vec<LineQuantity> = Vec::new();
    for _ in 0..1 + bytes.below(4) {
        let stray = bytes.one_in(40);
        let place = bytes.below(cart.lines.len());
        let line = &cart.lines[place];
        let line_id = if stray { "no such line".to_owned() } else { line.line_id.clone() };
        let quantity = match checked {
            true if bytes.one_in(6) => line.quantity,
            true => 1 + bytes.amount(line.quantity.min(12)),
            // At least 1 even here: the money of less than no pieces means nothing.
            false => bytes.hostile().max(1),
        };
        if !checked || lines.iter().all(|earlier| earlier.line_id != line_id) {
            lines.push(LineQuantity { line_id, quantity });
        }
    }
    let everything = bytes.one_in(12);
    (hours, if everything { RefundOf::Everything } else { RefundOf::Parts { lines, shipping } })
}
