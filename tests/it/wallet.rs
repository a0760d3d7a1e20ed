//! A user's coupons: pages, filters by the status effective now, what each one says (R2, R4, R5, R35).

use coupon_client::{tonic::Code, v1};
use v1::{CouponStatus, ErrorReason};

use crate::harness::{
    self, Harness, START_MS,
    given::{
        DAY, HOUR, MINUTE, confirm, fixed, instant, lock, reason, rules, small_cart, template_of,
    },
};

fn list(user_id: i64, statuses: &[CouponStatus]) -> v1::ListCouponsRequest {
    let statuses = statuses.iter().map(|status| i32::from(*status)).collect();
    v1::ListCouponsRequest { user_id, statuses, ..Default::default() }
}

async fn ids(harness: &Harness, request: v1::ListCouponsRequest) -> Vec<i64> {
    let page = harness.client.list_coupons(request).await.expect("a page");
    page.coupons.iter().map(|coupon| coupon.coupon_id).collect()
}

/// Walks all pages; answers the ids and the size of each page.
async fn walk(harness: &Harness, mut request: v1::ListCouponsRequest) -> (Vec<i64>, Vec<usize>) {
    let (mut found, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = harness.client.list_coupons(request.clone()).await.expect("a page");
        sizes.push(page.coupons.len());
        found.extend(page.coupons.iter().map(|coupon| coupon.coupon_id));
        if page.next_page_token.is_empty() {
            return (found, sizes);
        }
        request.page_token = page.next_page_token;
    }
}

/// Gives `count` coupons of one template; newest first.
async fn given(harness: &Harness, user: i64, count: i32) -> (i64, Vec<i64>) {
    let limited = v1::TemplateRules { per_user_limit: 1_000, ..rules() };
    let template_id = harness.publish(template_of(1_000, limited)).await;
    let users = vec![v1::IssueUser { user_id: user, count }];
    let request = v1::IssueRequest { template_id, users, ..Default::default() };
    let mut outcome = harness.client.issue(request).await.expect("issued").outcomes.remove(0);
    assert_eq!(outcome.error, None);
    outcome.coupon_ids.reverse();
    (template_id, outcome.coupon_ids)
}

// R5: newest first, in pages of the size asked for, each coupon once; other users' never.
#[tokio::test]
async fn a_wallet_is_paged_newest_first() {
    let harness = harness::start().await;
    let (first, older) = given(&harness, 1, 30).await;
    let (second, newer) = given(&harness, 1, 15).await;
    given(&harness, 10_001, 5).await;
    let all: Vec<i64> = newer.iter().chain(&older).copied().collect();
    let request = list(1, &[]);
    assert_eq!(walk(&harness, request.clone()).await, (all.clone(), vec![20, 20, 5]));
    for page_size in [1, 7, 15, 44, 45, 46, 200, 1_000] {
        let (found, sizes) =
            walk(&harness, v1::ListCouponsRequest { page_size, ..request.clone() }).await;
        assert_eq!(found, all, "{page_size}");
        let page = usize::try_from(page_size).expect("small");
        assert!(sizes.iter().all(|size| *size <= page.min(200)), "{page_size}: {sizes:?}");
    }
    let of = |template_id| v1::ListCouponsRequest { template_id, ..list(1, &[]) };
    assert_eq!(walk(&harness, of(first)).await.0, older);
    assert_eq!(walk(&harness, of(second)).await.0, newer);
    assert_eq!(ids(&harness, of(404)).await, [0; 0]);
    assert_eq!(ids(&harness, list(2, &[])).await, [0; 0]);
    let bad = v1::ListCouponsRequest { page_token: "?".to_owned(), ..list(1, &[]) };
    let error = harness.client.list_coupons(bad).await.expect_err("no token of ours");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.field_violations()[0].0, "page_token");
}

// R5: a page taken while new coupons arrive neither repeats nor skips the older ones.
#[tokio::test]
async fn pages_are_stable_while_coupons_arrive() {
    let harness = harness::start().await;
    let (_, coupons) = given(&harness, 1, 10).await;
    let request = v1::ListCouponsRequest { page_size: 4, ..list(1, &[]) };
    let page = harness.client.list_coupons(request.clone()).await.expect("a page");
    given(&harness, 1, 3).await;
    let rest = v1::ListCouponsRequest { page_token: page.next_page_token, ..request };
    assert_eq!(walk(&harness, rest).await.0, coupons[4..]);
}

// R5, R35: each status can be asked for, alone and together, with and without pages.
#[tokio::test]
async fn the_wallet_is_filtered_by_status() {
    let harness = harness::start().await;
    let (_, coupons) = given(&harness, 1, 40).await;
    let (void, free) = coupons.split_at(8);
    let (used, free) = free.split_at(8);
    let (held, free) = free.split_at(8);
    for coupon_id in void {
        let request =
            v1::VoidCouponRequest { user_id: 1, coupon_id: *coupon_id, ..Default::default() };
        harness.client.void_coupon(request).await.expect("voided");
    }
    harness.client.lock(lock(1, "paid", "", used)).await.expect("locked");
    harness.client.confirm(confirm(1, "paid", "")).await.expect("confirmed");
    harness.client.lock(lock(1, "open", "", held)).await.expect("locked");
    let by = [
        (CouponStatus::Available, free),
        (CouponStatus::Locked, held),
        (CouponStatus::Used, used),
        (CouponStatus::Voided, void),
        (CouponStatus::Expired, &[]),
    ];
    for (status, expected) in by {
        let request = v1::ListCouponsRequest { page_size: 3, ..list(1, &[status]) };
        assert_eq!(walk(&harness, request).await.0, expected, "{status:?}");
    }
    let both = list(1, &[CouponStatus::Used, CouponStatus::Available]);
    let expected: Vec<i64> = used.iter().chain(free).copied().collect();
    assert_eq!(walk(&harness, both).await.0, expected);
    for coupon in harness.wallet(1).await {
        let order = match coupon.status() {
            CouponStatus::Used => "paid",
            CouponStatus::Locked => "open",
            _ => "",
        };
        assert_eq!(coupon.order_id, order);
    }
}

// R5, R11: the filter goes by the status effective now, before any alarm has rung and after.
#[tokio::test]
async fn filters_go_by_the_time_and_not_by_the_alarm() {
    let harness = harness::start().await;
    // It ends half a minute before its alarm rings.
    let end = START_MS + 10 * DAY + 30_000;
    let short = v1::TemplateRules { use_window: fixed(START_MS, end), ..rules() };
    let expiring = harness.give(1, short).await;
    let lasting = harness.give(1, rules()).await;
    harness.advance(end - 10_000).await;
    harness.client.lock(lock(1, "o", "", &[lasting])).await.expect("locked");
    assert_eq!(ids(&harness, list(1, &[CouponStatus::Available])).await, [expiring]);
    assert_eq!(ids(&harness, list(1, &[CouponStatus::Expired])).await, [0; 0]);
    for now in [end, end + 29_999, end + 30_000, end + MINUTE] {
        harness.advance(now).await;
        let expired = ids(&harness, list(1, &[CouponStatus::Expired])).await;
        assert_eq!(expired, [expiring], "{now}");
        assert_eq!(ids(&harness, list(1, &[CouponStatus::Available])).await, [0; 0], "{now}");
        assert_eq!(harness.status(1, expiring).await, CouponStatus::Expired, "{now}");
        let refused = harness.client.lock(lock(1, "p", "", &[expiring])).await;
        assert_eq!(reason(refused), ErrorReason::CouponExpired, "{now}");
    }
    // The lock lapses ten seconds before its minute is full.
    harness.advance(end - 10_000 + 30 * MINUTE).await;
    assert_eq!(ids(&harness, list(1, &[CouponStatus::Available])).await, [lasting]);
    assert_eq!(ids(&harness, list(1, &[CouponStatus::Locked])).await, [0; 0]);
}

// R4, R34: before its first instant of use a coupon is AVAILABLE and cannot be used.
#[tokio::test]
async fn a_coupon_is_in_the_wallet_before_it_can_be_used() {
    let harness = harness::start().await;
    let from = START_MS + DAY;
    let window = fixed(from, START_MS + 20 * DAY);
    let coupon = harness.give(1, v1::TemplateRules { use_window: window, ..rules() }).await;
    let early = harness.coupon(1, coupon).await;
    assert_eq!(early.status(), CouponStatus::Available);
    assert_eq!(early.use_from, Some(instant(from)));
    assert_eq!(ids(&harness, list(1, &[CouponStatus::Available])).await, [coupon]);
    harness.advance(from - 1).await;
    let refused = harness.client.lock(lock(1, "o", "", &[coupon])).await;
    assert_eq!(reason(refused), ErrorReason::CouponNotYetValid);
    let quote = v1::QuoteRequest { user_id: 1, cart: small_cart(), coupon_ids: Vec::new() };
    let quoted = harness.client.quote(quote).await.expect("a quote");
    assert_eq!(quoted.unusable[0].reason(), ErrorReason::CouponNotYetValid);
    harness.advance(from).await;
    harness.client.lock(lock(1, "o", "", &[coupon])).await.expect("usable from now on");
}

// R5: a coupon is its owner's.
#[tokio::test]
async fn a_coupon_is_found_by_its_owner_alone() {
    let harness = harness::start().await;
    let coupon = harness.give(1, rules()).await;
    for (user_id, coupon_id) in [(2, coupon), (10_001, coupon), (1, coupon + 10_000)] {
        let request = v1::GetCouponRequest { user_id, coupon_id };
        let error = harness.client.get_coupon(request).await.expect_err("not theirs");
        assert_eq!(error.code(), Code::NotFound);
        assert_eq!(error.reason(), Some(ErrorReason::CouponNotFound));
    }
    harness.advance(START_MS + HOUR).await;
    assert_eq!(harness.status(1, coupon).await, CouponStatus::Available);
}

// R5: a page that reads more rows than it may is short and says where to go on.
#[tokio::test]
async fn a_filter_that_finds_little_still_ends() {
    let harness = harness::start_with(|config| config.pages.wallet_scan_rows_max = 200).await;
    let (_, mut coupons) = given(&harness, 1, 100).await;
    for _ in 0..5 {
        let (_, newer) = given(&harness, 1, 100).await;
        coupons.splice(0..0, newer);
    }
    let oldest = coupons[coupons.len() - 1];
    harness.client.lock(lock(1, "o", "", &[oldest])).await.expect("locked");
    harness.client.confirm(confirm(1, "o", "")).await.expect("confirmed");
    let (found, sizes) = walk(&harness, list(1, &[CouponStatus::Used])).await;
    assert_eq!(found, [oldest]);
    assert!(sizes.len() > 1, "600 rows are more than one page may read: {sizes:?}");
    let mut all = coupons;
    assert_eq!(all.pop(), Some(oldest));
    assert_eq!(walk(&harness, list(1, &[CouponStatus::Available])).await.0, all);
}
