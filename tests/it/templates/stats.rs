//! Counts of a template (R32): issued exactly, the others folded from the operation log.

use coupon_client::v1;

use crate::harness::{
    self, START_MS,
    given::{DAY, HOUR, cancel, confirm, fixed, lock, rules, template_of},
};

// R32, R50: every status is counted, and together they are what was given.
#[tokio::test]
async fn the_counts_add_up_to_what_was_given() {
    let harness = harness::start().await;
    let client = &harness.client;
    let rules = v1::TemplateRules {
        use_window: fixed(START_MS, START_MS + 20 * DAY),
        restore_policy: v1::RestorePolicy::Reissue.into(),
        restore_days: 5,
        ..rules()
    };
    let id = harness.publish(template_of(100, rules)).await;
    let mut coupons = Vec::new();
    for user in 1..=10 {
        coupons.push(harness.win(user, id).await);
    }
    let order = |user: i64| format!("order-{user}");
    for user in 1..=6 {
        let coupon = coupons[usize::try_from(user).expect("small") - 1];
        client.lock(lock(user, &order(user), "lock", &[coupon])).await.expect("locked");
    }
    for user in 1..=3 {
        client.confirm(confirm(user, &order(user), "confirm")).await.expect("confirmed");
    }
    client.cancel(cancel(4, &order(4), "cancel")).await.expect("cancelled");
    let restore = v1::RestoreRequest { user_id: 3, order_id: order(3), ..Default::default() };
    client.restore(restore).await.expect("restored");
    let void = v1::VoidCouponRequest { user_id: 7, coupon_id: coupons[6], ..Default::default() };
    client.void_coupon(void).await.expect("voided");

    let stats = harness.stats_when(id, |stats| stats.voided_count == 1).await;
    let expected = v1::GetTemplateStatsResponse {
        template_id: id,
        total_count: 100,
        issued_count: 10,
        locked_count: 2,
        used_count: 3,
        expired_count: 0,
        voided_count: 1,
        reissued_count: 1,
        as_of: stats.as_of,
    };
    assert_eq!(stats, expected);

    // The two locks lapse after half an hour, and everything unused expires, the reissued one too.
    harness.advance(START_MS + HOUR).await;
    let stats = harness.stats_when(id, |stats| stats.locked_count == 0).await;
    assert_eq!((stats.used_count, stats.expired_count), (3, 0));
    harness.advance(START_MS + 21 * DAY).await;
    let stats = harness.stats_when(id, |stats| stats.expired_count > 0).await;
    // Ten given and one reissued: 3 used, 1 voided, the rest expired.
    let settled = harness.stats_when(id, |stats| stats.expired_count == 7).await;
    let expected = v1::GetTemplateStatsResponse {
        locked_count: 0,
        expired_count: 7,
        as_of: settled.as_of,
        ..stats
    };
    assert_eq!(settled, expected);
}

// R32: counts survive a restart and are not folded twice.
#[tokio::test]
async fn the_counts_survive_a_restart() {
    let harness = harness::start().await;
    let id = harness.publish(template_of(10, rules())).await;
    let coupon = harness.win(1, id).await;
    harness.client.lock(lock(1, "o", "l", &[coupon])).await.expect("locked");
    harness.stats_when(id, |stats| stats.locked_count == 1).await;
    let harness = harness.restart().await;
    harness.client.confirm(confirm(1, "o", "c")).await.expect("confirmed");
    let stats = harness.stats_when(id, |stats| stats.used_count > 0).await;
    assert_eq!((stats.issued_count, stats.locked_count, stats.used_count), (1, 0, 1));
    let unknown = harness.client.get_template_stats(v1::GetTemplateStatsRequest { template_id: 4 });
    let unknown = unknown.await.expect_err("no such template");
    assert_eq!(unknown.reason(), Some(v1::ErrorReason::TemplateNotFound));
}
