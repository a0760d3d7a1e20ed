//! Carts and wallets at random, as M16 and QUOTE price them.

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
/// What a wallet is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As on a marketplace: of the platform's coupons one may be used, of each shop's one, of those of
    /// each category one; coupons of single products join any of them; some stand alone.
    Marketplace,
    /// Whatever rules allow: mostly stackable without a group, scopes that overlap in every way. No
    /// bound is tight there, because each coupon takes from some lines of nearly every other one.
    Tangled,
}

/// One cart and one wallet.
pub(super) struct Case {
    pub(super) cart: Cart,
    templates: Vec<Rules>,
    /// Coupon `n` is of this template.
    coupons: Vec<usize>,
}

impl Case {
    /// A cart of `lines` lines and `coupons` coupons of about half as many templates.
    pub(super) fn random(
        seed: u64,
        lines: usize,
        coupons: usize,
        kind: Kind,
    ) -> anyhow::Result<Self> {
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
            .map(|_| {
                let plain = Rules::plain(benefit(&mut dice), currency, zone.clone());
                rules(&mut dice, count, kind, plain)
            })
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

fn rules(dice: &mut SmallRng, products: i64, kind: Kind, plain: Rules) -> Rules {
    let scope = match dice.random_range(0..10) {
        0..4 => {
            let few = dice.random_range(1..=5);
            Scope::Products((0..few).map(|_| dice.random_range(1..=products)).collect())
        }
        4..7 => Scope::categories([format!("category-{}", dice.random_range(1..=CATEGORIES))]),
        7..9 => Scope::Merchants([dice.random_range(1..=MERCHANTS)].into_iter().collect()),
        _ => Scope::All,
    };
    let stacking = match (kind, dice.random_range(0..10)) {
        (_, 9) => Stacking::Exclusive,
        (Kind::Marketplace, _) => group_of(&scope),
        (Kind::Tangled, 0..6) => Stacking::Stackable,
        (Kind::Tangled, group) => Stacking::OneOf(format!("group-{group}").into_boxed_str()),
    };
    let products = [dice.random_range(1..=products)];
    let excluded = Exclusions { products: products.into_iter().collect(), ..Exclusions::default() };
    let (after_earlier, tangled) = (dice.random_ratio(1, 20), kind == Kind::Tangled);
    Rules {
        scope,
        stacking,
        excluded: if dice.random_ratio(1, 10) { excluded } else { Exclusions::default() },
        threshold_base: if after_earlier && tangled {
            ThresholdBase::AfterEarlierCoupons
        } else {
            ThresholdBase::BeforeCoupons
        },
        with_shipping: dice.random_ratio(1, 10),
        per_order_limit: dice.random_ratio(1, 2).then_some(1),
        ..plain
    }
}

/// One coupon of the platform's, one of each shop's, one of each category.
fn group_of(scope: &Scope) -> Stacking {
    let group = match scope {
        Scope::All => "platform".to_owned(),
        Scope::Merchants(ids) => format!("shop-{:?}", ids.as_slice()),
        Scope::Categories(codes) => format!("category-{:?}", codes.as_slice()),
        Scope::Products(ids) => {
            let first = ids.as_slice().first().copied().unwrap_or_default();
            format!("item-of-shop-{}", first % MERCHANTS)
        }
    };
    Stacking::OneOf(group.into_boxed_str())
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
