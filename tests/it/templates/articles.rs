//! The example templates of the two articles, as tests/data/articles.json tells them (R31-R36).

use coupon_client::v1;
use serde::Deserialize;
use v1::{CouponStatus, ErrorReason};

use crate::harness::{
    self,
    given::{
        DAY, SECOND, after_claim, all, cart, categories, claim, confirm, direct_off, fixed,
        instant, line, lock, merchants, millis, percentage, products, reason, threshold_off,
    },
};

/// A template in the words of the articles.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    name: String,
    kind: String,
    total_count: i64,
    use_range: u8,
    rule_id: Option<i64>,
    #[serde(default)]
    threshold_minor: i64,
    #[serde(default)]
    amount_minor: i64,
    #[serde(default)]
    pay_bps: i32,
    #[serde(default)]
    max_discount_minor: i64,
    #[serde(default)]
    categories: Vec<String>,
    #[serde(default)]
    commodity_ids: Vec<i64>,
    #[serde(default)]
    merchant_ids: Vec<i64>,
    #[serde(default)]
    is_mutex: bool,
    receive_count: Option<i32>,
    valid_days_after_claim: Option<i32>,
    use_started_at: Option<String>,
    use_ended_at: Option<String>,
    receive_started_at: Option<String>,
    receive_ended_at: Option<String>,
}

fn examples() -> Vec<Example> {
    let text = include_str!("../../data/articles.json");
    serde_json::from_str(text).expect("the examples")
}

fn parse(text: &str) -> i64 {
    let parsed = coupon_domain::time::Timestamp::parse(text);
    parsed.unwrap_or_else(|| panic!("no instant: {text}")).as_millis()
}

impl Example {
    /// As a template of the platform. Their ends are the last second inclusive, ours the first
    /// instant after it.
    fn template(&self, now: i64) -> v1::Template {
        let benefit = match self.kind.as_str() {
            "threshold_off" => threshold_off(self.threshold_minor, self.amount_minor),
            "direct_off" => direct_off(self.amount_minor),
            "percentage" => percentage(self.pay_bps, self.max_discount_minor),
            other => panic!("no kind {other}"),
        };
        let scope = match self.use_range {
            0 => all(),
            1 => merchants(self.merchant_ids.iter().copied()),
            2 => categories(self.categories.iter().map(String::as_str)),
            3 => products(self.commodity_ids.iter().copied()),
            other => panic!("no range {other}"),
        };
        let use_window = match (&self.use_started_at, &self.use_ended_at) {
            (Some(from), Some(until)) => fixed(parse(from), parse(until) + SECOND),
            _ => after_claim(self.valid_days_after_claim.unwrap_or(7)),
        };
        let stacking =
            if self.is_mutex { v1::Stacking::Mutex } else { v1::Stacking::Stackable }.into();
        let rules = v1::TemplateRules {
            benefit: Some(benefit),
            currency_code: "CNY".to_owned(),
            scope,
            stacking,
            use_window,
            time_zone: "Asia/Shanghai".to_owned(),
            per_user_limit: self.receive_count.unwrap_or(1),
            ..v1::TemplateRules::default()
        };
        let from = self.receive_started_at.as_deref().map_or(now, parse);
        let ended = self.receive_ended_at.as_deref().or(self.use_ended_at.as_deref());
        let until = ended.map_or(now + DAY, |ended| parse(ended) + SECOND);
        v1::Template {
            display_name: self.name.clone(),
            rules: Some(rules),
            total_count: self.total_count,
            claim_from: Some(instant(from)),
            claim_until: Some(instant(until)),
            ..v1::Template::default()
        }
    }
}

fn example(name: &str) -> Example {
    let found = examples().into_iter().find(|example| example.name == name);
    found.unwrap_or_else(|| panic!("no example {name}"))
}

fn quote(user_id: i64, lines: impl IntoIterator<Item = v1::CartLine>) -> v1::QuoteRequest {
    v1::QuoteRequest { user_id, cart: cart(lines), coupon_ids: Vec::new() }
}

// R31: 1,000 coupons, 100 minus 50, digital goods alone, on 2022-11-11 from 00:00:00 to 23:59:59.
#[tokio::test]
async fn a_hundred_minus_fifty_on_digital_goods_on_singles_day() {
    let eve = parse("2022-11-10T20:00:00+08:00");
    let harness = harness::start_at(eve).await;
    let id = harness.publish(example("满100减50 数码券").template(eve)).await;
    let coupon = harness.win(1, id).await;
    let digital = |amount| v1::CartLine { category: "digital".to_owned(), ..line("d", 1, amount) };
    let food = |amount| v1::CartLine { category: "food".to_owned(), ..line("f", 2, amount) };
    let refused = async |lines: Vec<v1::CartLine>| {
        let quoted = harness.client.quote(quote(1, lines)).await.expect("a quote");
        assert_eq!(quoted.best, None);
        (quoted.unusable[0].reason(), quoted.unusable[0].missing_minor)
    };
    let full = vec![digital(10_000), food(5_000)];
    assert_eq!(refused(full.clone()).await, (ErrorReason::CouponNotYetValid, 0));
    harness.advance(parse("2022-11-11T00:00:00+08:00")).await;
    assert_eq!(refused(vec![food(20_000)]).await, (ErrorReason::OutOfScope, 0));
    let short = vec![digital(9_999), food(20_000)];
    assert_eq!(refused(short).await, (ErrorReason::BelowThreshold, 1));
    let best = harness.client.quote(quote(1, full.clone())).await.expect("a quote").best;
    let best = best.expect("usable");
    assert_eq!((best.discount_minor, best.payable_minor), (5_000, 10_000));
    assert_eq!(best.lines.iter().map(|line| line.discount_minor).collect::<Vec<_>>(), [5_000, 0]);

    harness.advance(parse("2022-11-11T23:59:59+08:00") + 999).await;
    let hold = v1::LockRequest { cart: cart(full.clone()), ..lock(1, "o", "l", &[coupon]) };
    harness.client.lock(hold).await.expect("locked in the last millisecond");
    harness.client.confirm(confirm(1, "o", "c")).await.expect("confirmed");
    assert_eq!(harness.status(1, coupon).await, CouponStatus::Used);
    harness.advance(parse("2022-11-12T00:00:00+08:00")).await;
    let over = harness.client.claim(claim(2, id, "late")).await;
    assert_eq!(reason(over), ErrorReason::ClaimEnded);
}

// R34, R36: rule 1010: from 5.01 on 5.00 off product 10, one each, alone, 10,000 pieces, claimable
// from 2020-11-01 00:08 on.
#[tokio::test]
async fn rule_1010_five_yuan_off_one_product() {
    let example = example("劳斯莱斯5元代金券");
    assert_eq!(example.rule_id, Some(1010));
    let start = parse("2020-11-01T00:00:00+08:00");
    let harness = harness::start_at(start).await;
    let id = harness.publish(example.template(start)).await;
    let early = harness.client.claim(claim(1, id, "first")).await;
    assert_eq!(reason(early), ErrorReason::ClaimNotStarted);
    harness.advance(parse("2020-11-01T00:08:00+08:00")).await;
    harness.client.claim(claim(1, id, "first")).await.expect("a win");
    let second = harness.client.claim(claim(1, id, "second")).await;
    assert_eq!(reason(second), ErrorReason::LimitReached);
    assert_eq!(harness.issued(id).await, 1);

    let cents = async |product, amount| {
        let quoted = harness.client.quote(quote(1, [line("1", product, amount)])).await;
        let quoted = quoted.expect("a quote");
        let refused = quoted.unusable.first().map(|unusable| unusable.reason());
        quoted.best.map(|best| best.payable_minor).ok_or(refused)
    };
    assert_eq!(cents(10, 501).await, Ok(1));
    assert_eq!(cents(10, 500).await, Err(Some(ErrorReason::BelowThreshold)));
    assert_eq!(cents(11, 501).await, Err(Some(ErrorReason::OutOfScope)));
    harness.advance(parse("2020-11-11T12:00:00+08:00")).await;
    assert_eq!(harness.wallet(1).await[0].status(), CouponStatus::Expired);
}

// R26, R31: direct-off on everything, for 30 days after the claim, to the end of the local day.
#[tokio::test]
async fn a_red_packet_lasts_thirty_days_after_the_claim() {
    let claimed = parse("2022-01-31T23:30:00+08:00");
    let harness = harness::start_at(claimed).await;
    let id = harness.publish(example("新年红包券").template(claimed)).await;
    let coupon = harness.win(1, id).await;
    let until = millis(harness.coupon(1, coupon).await.valid_until);
    assert_eq!(until, parse("2022-03-03T00:00:00+08:00"));
    let capped = harness.client.quote(quote(1, [line("1", 1, 600)])).await.expect("a quote");
    assert_eq!(capped.best.expect("usable").discount_minor, 600, "capped at what there is");
    harness.advance(until - 1).await;
    assert_eq!(harness.status(1, coupon).await, CouponStatus::Available);
    harness.advance(until).await;
    assert_eq!(harness.status(1, coupon).await, CouponStatus::Expired);
}

// R26, R31: 8折 = pay 80 %, at most 50.00 off, merchant 7 alone; 满100减10 on everything.
#[tokio::test]
async fn eighty_per_cent_of_merchant_seven_and_ten_off_a_hundred() {
    let now = parse("2022-06-01T12:00:00+08:00");
    let harness = harness::start_at(now).await;
    for name in ["八折券", "满减规则 100-10"] {
        let id = harness.publish(example(name).template(now)).await;
        harness.win(1, id).await;
    }
    let of = |merchant_id, amount| v1::CartLine { merchant_id, ..line("1", 1, amount) };
    let saved = async |cart_line| {
        let quoted = harness.client.quote(quote(1, [cart_line])).await.expect("a quote");
        let alone: Vec<_> = quoted.usable.iter().map(|usable| usable.discount_minor).collect();
        (alone, quoted.best.map_or(0, |best| best.discount_minor))
    };
    // The percentage is exclusive: the better of the two is taken.
    assert_eq!(saved(of(7, 10_000)).await, (vec![2_000, 1_000], 2_000));
    assert_eq!(saved(of(7, 30_000)).await, (vec![5_000, 1_000], 5_000));
    assert_eq!(saved(of(8, 10_000)).await, (vec![1_000], 1_000));
    assert_eq!(saved(of(7, 4_000)).await, (vec![800], 800));
    assert_eq!(saved(of(8, 9_999)).await, (vec![], 0));
}

// R31-R36: all of them can be published as they are told.
#[tokio::test]
async fn every_example_is_a_template() {
    let now = parse("2020-10-01T00:00:00+08:00");
    let harness = harness::start_at(now).await;
    let examples = examples();
    assert_eq!(examples.len(), 5);
    for example in &examples {
        let id = harness.publish(example.template(now)).await;
        let stored = super::get(&harness, id).await;
        assert_eq!(stored.total_count, example.total_count, "{}", example.name);
        assert_eq!(stored.display_name, example.name);
    }
}
