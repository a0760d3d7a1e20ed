//! Locks that are overdue and not yet released (R51, R58).

use std::path::Path;

use coupon_client::{prost_types::Duration, v1};
use coupon_server::config::Config;
use coupon_tests::http;
use serde_json::{Value, json};
use v1::RedemptionState;

use super::{confirmed, locked};
use crate::harness::{
    self, Harness, START_MS, eventually,
    given::{MINUTE, SECOND, lock, rules},
};

async fn stuck(harness: &Harness, request: v1::ListStuckRedemptionsRequest) -> Vec<String> {
    let page = harness.client.list_stuck_redemptions(request).await.expect("a page");
    page.redemptions.into_iter().map(|stuck| stuck.order_id).collect()
}

fn overdue(seconds: i64) -> v1::ListStuckRedemptionsRequest {
    let min_overdue = Some(Duration { seconds, nanos: 0 });
    v1::ListStuckRedemptionsRequest { min_overdue, ..Default::default() }
}

// R51: longest overdue first, in pages, until the alarm releases them.
#[tokio::test]
async fn overdue_locks_are_listed_until_they_are_released() {
    let harness = harness::start().await;
    // They lapse at 61, 65, 70, 80 and 90 seconds; the alarm of all of them rings at two minutes.
    for (user, seconds) in (1..).zip([80, 61, 70, 90, 65]) {
        let coupon = harness.give(user, rules()).await;
        let lock_ttl = Some(Duration { seconds, nanos: 0 });
        let order = format!("order-{seconds}");
        locked(&harness, v1::LockRequest { lock_ttl, ..lock(user, &order, "", &[coupon]) }).await;
    }
    let paid = harness.give(9, rules()).await;
    let lock_ttl = Some(Duration { seconds: 62, nanos: 0 });
    locked(&harness, v1::LockRequest { lock_ttl, ..lock(9, "paid", "", &[paid]) }).await;
    confirmed(&harness, 9, "paid").await;
    assert_eq!(stuck(&harness, overdue(0)).await, [""; 0]);
    harness.advance(START_MS + 85 * SECOND).await;
    let all = ["order-61", "order-65", "order-70", "order-80"];
    assert_eq!(stuck(&harness, overdue(0)).await, all);
    assert_eq!(stuck(&harness, overdue(15)).await, all[..3]);
    assert_eq!(stuck(&harness, overdue(20)).await, all[..2]);
    assert_eq!(stuck(&harness, overdue(25)).await, [""; 0]);

    let mut request = v1::ListStuckRedemptionsRequest { page_size: 3, ..Default::default() };
    let page = harness.client.list_stuck_redemptions(request.clone()).await.expect("a page");
    assert_eq!(page.redemptions.len(), 3);
    assert!(page.redemptions.iter().all(|stuck| stuck.state() == RedemptionState::Locked));
    request.page_token = page.next_page_token;
    assert_eq!(stuck(&harness, request).await, all[3..]);

    harness.advance(START_MS + 2 * MINUTE).await;
    assert_eq!(stuck(&harness, overdue(0)).await, [""; 0]);
    assert_eq!(harness.redemption(2, "order-61").await.state(), RedemptionState::Lapsed);
}

/// A server that looks for stuck locks every second, serves its metrics, and runs `script` with `file`
/// for its first argument.
fn watching(config: &mut Config, script: &str, file: &Path) {
    config.metrics.listen = Some(([127, 0, 0, 1], 0).into());
    config.stuck.check_interval_s = 1;
    config.stuck.min_overdue_s = 0;
    config.stuck.command_timeout_s = 1;
    let file = file.to_str().expect("a path in UTF-8");
    config.stuck.command = ["sh", "-c", script, "sh", file].map(str::to_owned).to_vec();
}

/// Locks one coupon of each user for so many seconds; the ids of the redemptions.
async fn lock_for(harness: &Harness, seconds: &[i64]) -> Vec<i64> {
    let mut ids = Vec::new();
    for (user, seconds) in (1..).zip(seconds) {
        let coupon = harness.give(user, rules()).await;
        let lock_ttl = Some(Duration { seconds: *seconds, nanos: 0 });
        let request = v1::LockRequest { lock_ttl, ..lock(user, "o", "", &[coupon]) };
        ids.push(locked(harness, request).await.redemption_id);
    }
    ids
}

/// Waits until the gauges say how many locks are stuck and how long the first has been.
async fn shown(harness: &Harness, count: i64, oldest_s: i64) {
    let count = format!("\ncoupon_redemptions_stuck {count}\n");
    let oldest = format!("\ncoupon_redemptions_stuck_oldest_seconds {oldest_s}\n");
    eventually(&count, async || {
        let text = http::get_text(&harness.metrics(), "/metrics").await.expect("metrics");
        (text.contains(&count) && text.contains(&oldest)).then_some(())
    })
    .await;
}

/// Waits until the command has been told so often; what it was told.
async fn told(file: &Path, times: usize) -> Vec<Value> {
    eventually("the command is told", async || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        // A line is whole once it is ended.
        (text.ends_with('\n') && text.lines().count() >= times).then(|| lines.collect())
    })
    .await
}

// R58: the gauges and the operator's command tell when locks are stuck, and when none is any more.
#[tokio::test]
async fn stuck_locks_are_shown_and_told_until_they_are_released() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("told");
    let adjust = |config: &mut Config| watching(config, "cat >> \"$1\"", &file);
    let harness = harness::start_with(adjust).await;
    let ids = lock_for(&harness, &[70, 61, 600]).await;
    shown(&harness, 0, 0).await;
    harness.advance(START_MS + 85 * SECOND).await;
    shown(&harness, 2, 24).await;
    let named = |index: usize, seconds: i64| {
        json!({
            "user_id": index + 1,
            "order_id": "o",
            "redemption_id": ids[index],
            "locked_until_ms": START_MS + seconds * SECOND,
        })
    };
    let stuck = json!({
        "event": "stuck",
        "count": 2,
        "more": false,
        "oldest_overdue_s": 24,
        "redemptions": [named(1, 61), named(0, 70)],
    });
    assert_eq!(told(&file, 1).await, std::slice::from_ref(&stuck));
    harness.advance(START_MS + 2 * MINUTE).await;
    shown(&harness, 0, 0).await;
    let cleared = json!({
        "event": "cleared",
        "count": 0,
        "more": false,
        "oldest_overdue_s": 0,
        "redemptions": [],
    });
    assert_eq!(told(&file, 2).await, [stuck, cleared], "once while it lasts");
}

// R58: what an operator closes by force is stuck no more; a command that hangs is killed, and the
// watch goes on.
#[tokio::test]
async fn a_command_that_hangs_does_not_stop_the_watch() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("told");
    let adjust = |config: &mut Config| watching(config, "cat >> \"$1\"; exec sleep 600", &file);
    let harness = harness::start_with(adjust).await;
    lock_for(&harness, &[70]).await;
    harness.advance(START_MS + 85 * SECOND).await;
    shown(&harness, 1, 15).await;
    let request = v1::ForceCancelRequest {
        user_id: 1,
        order_id: "o".to_owned(),
        operator: "ann".to_owned(),
        reason: "never paid".to_owned(),
        ..v1::ForceCancelRequest::default()
    };
    harness.client.force_cancel(request).await.expect("cancelled");
    shown(&harness, 0, 0).await;
    let events: Vec<_> =
        told(&file, 2).await.iter().map(|notice| notice["event"].clone()).collect();
    assert_eq!(events, ["stuck", "cleared"]);
    harness.stop().await;
}
