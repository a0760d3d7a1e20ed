//! The bound holds: whatever is chosen, what it adds from some point on is no more than the prices say.

use proptest::prelude::*;

use super::*;
use crate::{
    cart::{Cart, CartLine},
    evaluate::{Candidate, Evaluator},
    ids::{CouponId, TemplateId},
    money::Currency,
    rules::{Benefit, IdSet, Rules, Scope, ThresholdBase},
    time::{TimeZone, Timestamp},
};

const LINES: i64 = 6;

fn cart(amounts: &[i64], shipping: i64) -> Cart {
    let line = |(product, amount): (i64, &i64)| CartLine {
        line_id: format!("line-{product}"),
        product,
        merchant: product % 2 + 1,
        category: format!("category-{}", product % 3),
        quantity: 1,
        amount: Minor::new(*amount),
    };
    Cart {
        currency: Currency::parse("CNY").unwrap(),
        lines: (1..).zip(amounts).map(line).collect(),
        shipping: Minor::new(shipping),
    }
}

fn benefit(most: i64) -> impl Strategy<Value = Benefit> {
    let amount = move || (1..=most).prop_map(Minor::new);
    let cap = proptest::option::of(amount());
    prop_oneof![
        amount().prop_map(|amount| Benefit::DirectOff { amount }),
        (amount(), amount(), any::<bool>()).prop_map(|(threshold, amount, every)| {
            Benefit::ThresholdOff { threshold, amount, every, max_discount: None }
        }),
        (1..10_000_i32, cap).prop_map(|(pay_bps, max_discount)| Benefit::Percentage {
            pay_bps,
            max_discount,
            threshold: Minor::ZERO,
        }),
    ]
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        Just(Scope::All),
        (1..=2_i64).prop_map(|id| Scope::Merchants([id].into_iter().collect())),
        (0..3).prop_map(|code| Scope::categories([format!("category-{code}")])),
        prop::collection::vec(1..=LINES, 1..4)
            .prop_map(|ids| Scope::Products(ids.into_iter().collect::<IdSet>())),
    ]
}

fn rules(most: i64) -> impl Strategy<Value = Rules> {
    let flags = (any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    (benefit(most), scope(), 0..6_u8, flags).prop_map(
        |(benefit, scope, group, (with_shipping, after, least))| {
            let zone = TimeZone::parse("UTC").unwrap();
            let after = after.then_some(ThresholdBase::AfterEarlierCoupons);
            Rules {
                scope,
                with_shipping,
                stacking: match group {
                    0..4 => Stacking::OneOf(format!("group-{group}").into_boxed_str()),
                    _ => Stacking::Stackable,
                },
                threshold_base: after.unwrap_or(ThresholdBase::BeforeCoupons),
                min_payable: Minor::new(i64::from(least)),
                ..Rules::plain(benefit, Currency::parse("CNY").unwrap(), zone)
            }
        },
    )
}

fn priced() -> impl Strategy<Value = (Cart, Vec<Rules>)> {
    prop_oneof![Just(20_i64), Just(1_000), Just(100_000), Just(1_000_000_000_000)].prop_flat_map(
        |most| {
            let amounts = prop::collection::vec(1..=most, LINES as usize);
            let carts =
                (amounts, 0..=most).prop_map(|(amounts, shipping)| cart(&amounts, shipping));
            (carts, prop::collection::vec(rules(most), 1..14))
        },
    )
}

/// The only coupon of its template.
fn candidate((number, rules): (i64, &Rules)) -> Candidate<'_> {
    Candidate {
        coupon: CouponId::new(number).unwrap(),
        template: TemplateId::new(number).unwrap(),
        valid_until: Timestamp::default(),
        rules,
    }
}

/// Takes the wanted items one after the other, as far as they go together, and holds what each point
/// of the order says against what came after it.
fn check(items: &Items<'_, '_>, prices: &Prices, mut left: Left, wanted: u32) {
    let mut used = vec![false; items.groups().len()];
    let (mut saved, mut idle) = (Minor::ZERO, 0.0);
    let mut said = Vec::new();
    for item in 0..items.len() {
        let worth = prices.worth(item);
        said.push((saved, worth.all - idle - prices.cost(item, &left)));
        let mutex = items.mutex(item);
        if mutex.is_some_and(|mutex| used[mutex]) {
            idle -= worth.best - worth.later;
        } else if wanted >> item & 1 == 1 {
            mutex.into_iter().for_each(|mutex| used[mutex] = true);
            idle += worth.later;
            saved = saved.plus(items.coupon(item).take(&mut left).0);
        }
    }
    for (item, (before, more)) in said.into_iter().enumerate() {
        let added = saved.less(before).get() as f64;
        assert!(added <= more, "{added} are added from item {item} on, at most {more} were said");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_adds_more_than_the_prices_say(
        (cart, rules) in priced(),
        choices in prop::collection::vec(any::<u32>(), 40),
    ) {
        let basket = Basket::new(&cart);
        let candidates = (1..).zip(&rules).map(candidate);
        let usable: Vec<Usable<'_>> =
            candidates.filter_map(|one| Usable::of(&one, &basket).ok()).collect();
        let items = Items::new(items::in_order(usable.iter()), &basket);
        for priced in [true, false] {
            let prices = Prices::new(&items, &basket, priced);
            for wanted in choices.iter().copied().chain([u32::MAX]) {
                check(&items, &prices, Left::of(&basket), wanted);
            }
        }
    }
}

/// Ten small pairs beside a line of 10^12: what a coupon nets there hangs on whether the large line is
/// gone, by which the highest mean moves in its twelfth decimal place alone.
#[test]
fn a_large_line_that_is_used_up_hides_no_small_one() {
    const LARGE: i64 = 1_000_000_000_000;
    let pairs = 0..10;
    let line = |product, merchant, amount| CartLine {
        line_id: format!("line-{product}"),
        product,
        merchant,
        category: String::new(),
        quantity: 1,
        amount: Minor::new(amount),
    };
    let mut lines = vec![line(1, 1, LARGE), line(2, 2, 100)];
    lines.extend(pairs.clone().flat_map(|k| [line(10 + k, 2, 98), line(20 + k, 3, 99)]));
    let currency = Currency::parse("CNY").unwrap();
    let cart = Cart { currency, lines, shipping: Minor::ZERO };
    let off = |amount| Benefit::DirectOff { amount: Minor::new(amount) };
    let pay = |pay_bps| Benefit::Percentage { pay_bps, max_discount: None, threshold: Minor::ZERO };
    let all_small = Benefit::ThresholdOff {
        threshold: Minor::new(100),
        amount: Minor::new(10),
        every: false,
        max_discount: None,
    };
    let products = |ids: Vec<i64>| Scope::Products(ids.into_iter().collect());
    let merchant = |id: i64| Scope::Merchants([id].into_iter().collect());
    let mut given =
        vec![(off(LARGE), products(vec![1])), (off(LARGE), products((20..30).collect()))];
    given.extend(pairs.map(|k| (off(98), products(vec![1, 10 + k, 20 + k]))));
    given.extend([(off(1), products(vec![2])), (all_small, products(vec![2]))]);
    given.extend([(4_900, 1), (5_000, 2), (4_800, 3)].map(|(paid, id)| (pay(paid), merchant(id))));
    let after = ThresholdBase::AfterEarlierCoupons;
    let zone = TimeZone::parse("UTC").unwrap();
    let rules = given.into_iter().map(|(benefit, scope)| Rules {
        scope,
        threshold_base: after,
        stacking: Stacking::Stackable,
        ..Rules::plain(benefit, currency, zone.clone())
    });
    let rules: Vec<Rules> = rules.collect();
    let candidates: Vec<Candidate<'_>> = (1..).zip(&rules).map(candidate).collect();
    let limits = SearchLimits { effort: 1_000_000, coupons_max: 100 };
    let best = Evaluator::new(&cart).best(&candidates, limits).unwrap();
    assert!(best.optimal);
    assert_eq!(best.evaluation.discount(), Minor::new(LARGE + 2_025));
}
