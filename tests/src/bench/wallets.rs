//! Carts and wallets at random, as M16 and QUOTE price them: every kind of rule, the rarer ones rarer.

use coupon_domain::{
    cart::{Cart, CartLine},
    evaluate::Candidate,
    ids::{CouponId, TemplateId},
    money::{Currency, Minor},
    rules::{Benefit, Exclusions, Rules, Scope, Stacking, ThresholdBase},
    time::{TimeZone, Timestamp},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

/// Coupons of one template in a wallet, on average.
const COPIES: usize = 2;
/// Categories and merchants that a shop has.
const CATEGORIES: i64 = 12;
const MERCHANTS: i64 = 8;
/// Mutex groups of a shop.
const MUTEX_GROUPS: usize = 6;

/// One cart and one wallet.
pub(super) struct Case {
    pub(super) cart: Cart,
    templates: Vec<Rules>,
    /// Coupon `n` is of this template.
    coupons: Vec<usize>,
}

impl Case {
    /// A cart of `lines` lines and `coupons` coupons of about half as many templates.
    pub(super) fn random(seed: u64, lines: usize, coupons: usize) -> anyhow::Result<Self> {
        let mut dice = SmallRng::seed_from_u64(seed);
        let currency = Currency::parse("CNY")?;
        let zone = TimeZone::parse("Asia/Shanghai")?;
        let count = i64::try_from(lines)?;
        let lines = (1..=count).map(|product| CartLine {
            line_id: format!("line-{product}"),
            product,
            merchant: dice.random_range(1..=MERCHANTS),
            category: format!("category-{}", dice.random_range(1..=CATEGORIES)),
            quantity: dice.random_range(1..=3),
            amount: Minor::new(dice.random_range(500..=30_000)),
        });
        let lines: Vec<CartLine> = lines.collect();
        let cart = Cart { currency, lines, shipping: Minor::new(800) };
        let templates = (0..(coupons / COPIES).max(1))
            .map(|_| rules(&mut dice, count, currency, &zone))
            .collect::<Vec<_>>();
        let coupons = (0..coupons).map(|_| dice.random_range(0..templates.len())).collect();
        Ok(Self { cart, templates, coupons })
    }

    /// The wallet.
    pub(super) fn candidates(&self) -> anyhow::Result<Vec<Candidate<'_>>> {
        let numbered = (1..).zip(&self.coupons);
        let candidate = |(number, template): (i64, &usize)| {
            anyhow::Ok(Candidate {
                coupon: CouponId::new(number)?,
                template: TemplateId::new(i64::try_from(*template)? + 1)?,
                valid_until: Timestamp::from_millis(number % 7),
                rules: &self.templates[*template],
            })
        };
        numbered.map(candidate).collect()
    }
}

fn rules(dice: &mut SmallRng, products: i64, currency: Currency, zone: &TimeZone) -> Rules {
    let scope = match dice.random_range(0..10) {
        0..4 => {
            let few = dice.random_range(1..=5);
            Scope::Products((0..few).map(|_| dice.random_range(1..=products)).collect())
        }
        4..7 => Scope::categories([format!("category-{}", dice.random_range(1..=CATEGORIES))]),
        7..9 => Scope::Merchants([dice.random_range(1..=MERCHANTS)].into_iter().collect()),
        _ => Scope::All,
    };
    let stacking = match dice.random_range(0..10) {
        0..6 => Stacking::Stackable,
        6..9 => {
            let group = dice.random_range(0..MUTEX_GROUPS);
            Stacking::OneOf(format!("group-{group}").into_boxed_str())
        }
        _ => Stacking::Exclusive,
    };
    let excluded = if dice.random_ratio(1, 10) {
        let products = [dice.random_range(1..=products)].into_iter().collect();
        Exclusions { products, ..Exclusions::default() }
    } else {
        Exclusions::default()
    };
    let after_earlier = dice.random_ratio(1, 20);
    Rules {
        scope,
        stacking,
        excluded,
        threshold_base: if after_earlier {
            ThresholdBase::AfterEarlierCoupons
        } else {
            ThresholdBase::BeforeCoupons
        },
        with_shipping: dice.random_ratio(1, 10),
        per_order_limit: dice.random_ratio(1, 2).then_some(1),
        ..Rules::plain(benefit(dice), currency, zone.clone())
    }
}

fn benefit(dice: &mut SmallRng) -> Benefit {
    let minor = |units| Minor::new(units);
    match dice.random_range(0..10) {
        0..5 => {
            let amount = dice.random_range(200..=4_000);
            let threshold = minor(amount * dice.random_range(3..=10));
            let every = dice.random_ratio(1, 4);
            let max_discount = every.then(|| minor(amount * 3));
            Benefit::ThresholdOff { threshold, amount: minor(amount), every, max_discount }
        }
        5..8 => Benefit::DirectOff { amount: minor(dice.random_range(100..=2_000)) },
        _ => Benefit::Percentage {
            pay_bps: dice.random_range(70..=98) * 100,
            max_discount: dice.random_ratio(1, 2).then(|| minor(3_000)),
            threshold: minor(dice.random_range(0..=10_000)),
        },
    }
}
