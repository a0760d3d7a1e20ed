//! Time is data: the loop timer, the sweeps, and the test clock that drives them (R7, R11).

use coupon_client::{
    dev,
    prost_types::Duration,
    tonic::{self, Code},
    v1,
};
use coupon_domain::time::Timestamp;
use coupon_server::app;
use dev::clock_service_client::ClockServiceClient;
use v1::{CouponStatus, ErrorReason, RedemptionState};

use crate::harness::{
    self, START_MS,
    given::{DAY, HOUR, MINUTE, after_claim, confirm, fixed, instant, lock, rules, template_of},
};

// R11: thirty days are too far for one message of at most two hours: it travels in hops, and the
// coupons of one minute share it.
#[tokio::test]
async fn a_thirty_day_coupon_expires_by_hops_of_two_hours() {
    let harness = harness::start().await;
    let id = harness.publish(template_of(1_000, rules())).await;
    let mut coupons = Vec::new();
    for user in 1..=50 {
        coupons.push((user, harness.win(user, id).await));
    }
    let almost = START_MS + 30 * DAY - 1;
    // One message every two hours: the first 359 arrive early and are sent on.
    assert_eq!(harness.advance(almost).await, 359);
    assert_eq!(harness.stats_when(id, |_| true).await.expired_count, 0);
    assert_eq!(harness.advance(almost + 1).await, 1);
    let stats = harness.stats_when(id, |stats| stats.expired_count > 0).await;
    assert_eq!(stats.expired_count, 50);
    for (user, coupon) in coupons {
        assert_eq!(harness.status(user, coupon).await, CouponStatus::Expired);
    }
    assert_eq!(harness.advance(START_MS + 60 * DAY).await, 0, "no alarm is left");
}

// R11: the longest delay is configured.
#[tokio::test]
async fn the_hop_is_configured() {
    let harness = harness::start_with(|config| config.alarms.hop_max_s = 600).await;
    let window = fixed(START_MS, START_MS + 10 * DAY);
    harness.give(1, v1::TemplateRules { use_window: window, ..rules() }).await;
    assert_eq!(harness.advance(START_MS + DAY).await, 144);
    let hour = harness.advance(START_MS + DAY + HOUR).await;
    assert_eq!(hour, 6);
    assert_eq!(harness.advance(START_MS + 10 * DAY).await, 10 * 144 - 144 - 6);
}

// R11: a restart on the way takes the alarm up where it stood, and hops go on to be counted.
#[tokio::test]
async fn a_restart_loses_no_alarm() {
    let mut harness = harness::start().await;
    let window = fixed(START_MS, START_MS + 10 * DAY + 90_000);
    let rules = v1::TemplateRules { use_window: window, ..rules() };
    let coupon = harness.give(1, rules).await;
    let template = harness.coupon(1, coupon).await.template_id;
    for day in 1..=9 {
        harness.advance(START_MS + day * DAY + 7).await;
        harness = harness.restart().await;
        assert_eq!(
            harness.now().await,
            START_MS + day * DAY + 7,
            "the clock stands where it stood"
        );
    }
    harness.advance(START_MS + 10 * DAY + 2 * MINUTE - 1).await;
    let stored = harness.stats_when(template, |_| true).await;
    assert_eq!(stored.expired_count, 0, "its alarm has not rung");
    assert_eq!(harness.status(1, coupon).await, CouponStatus::Expired, "which changes nothing");
    harness.advance(START_MS + 10 * DAY + 2 * MINUTE).await;
    harness.stats_when(template, |stats| stats.expired_count == 1).await;
}

// R11: a sweep goes in chunks, over every template that falls due in the minute.
#[tokio::test]
async fn a_sweep_of_several_chunks_expires_every_coupon() {
    let harness = harness::start_with(|config| config.alarms.sweep_chunk_rows = 7).await;
    let window = fixed(START_MS, START_MS + 10 * DAY);
    let mut templates = Vec::new();
    for _ in 0..3 {
        let rules = v1::TemplateRules { use_window: window, ..rules() };
        let template_id = harness.publish(template_of(40, rules)).await;
        let users = (1..=40).map(|user_id| v1::IssueUser { user_id, count: 1 }).collect();
        let request = v1::IssueRequest { template_id, users, ..Default::default() };
        harness.client.issue(request).await.expect("issued");
        templates.push(template_id);
    }
    let held = harness.wallet(1).await[0].coupon_id;
    harness.advance(START_MS + 10 * DAY - 1).await;
    harness.client.lock(lock(1, "o", "", &[held])).await.expect("locked");
    harness.advance(START_MS + 10 * DAY).await;
    for (template, expired) in templates.iter().zip([40, 40, 39]) {
        let stats = harness.stats_when(*template, |stats| stats.expired_count >= expired).await;
        assert_eq!(stats.expired_count, expired);
    }
    harness.advance(START_MS + 10 * DAY + HOUR).await;
    let stats = harness.stats_when(templates[2], |stats| stats.locked_count == 0).await;
    assert_eq!(stats.expired_count, 40, "released by its lapse");
}

// R11, R51: a lock lapses at its minute; one step may hold many alarms of both kinds.
#[tokio::test]
async fn locks_lapse_at_their_minute() {
    let harness = harness::start().await;
    let mut orders = Vec::new();
    for minutes in 1..=5 {
        let coupon = harness.give(minutes, rules()).await;
        let lock_ttl = Some(Duration { seconds: minutes * 60, nanos: 0 });
        let request = v1::LockRequest { lock_ttl, ..lock(minutes, "o", "", &[coupon]) };
        harness.client.lock(request).await.expect("locked");
        orders.push((minutes, coupon));
    }
    assert_eq!(harness.advance(START_MS + MINUTE - 1).await, 0);
    assert_eq!(harness.advance(START_MS + MINUTE).await, 1);
    let lapsed = harness.redemption(1, "o").await;
    assert_eq!(lapsed.state(), RedemptionState::Lapsed);
    assert_eq!(lapsed.closed_at, Some(instant(START_MS + MINUTE)), "stored by the alarm");
    assert_eq!(harness.redemption(2, "o").await.state(), RedemptionState::Locked);
    harness.client.confirm(confirm(2, "o", "")).await.expect("in time");
    assert_eq!(harness.advance(START_MS + 6 * MINUTE).await, 4);
    for (user, coupon) in orders {
        let (state, status) = match user {
            2 => (RedemptionState::Confirmed, CouponStatus::Used),
            _ => (RedemptionState::Lapsed, CouponStatus::Available),
        };
        assert_eq!(harness.redemption(user, "o").await.state(), state);
        assert_eq!(harness.status(user, coupon).await, status);
        let closed = harness.redemption(user, "o").await.closed_at;
        let at = if user == 2 { START_MS + MINUTE } else { START_MS + user * MINUTE };
        assert_eq!(closed, Some(instant(at)), "user {user}");
    }
}

// R3: "N days after claim" ends with a local day, on the day of a clock change too.
#[tokio::test]
async fn days_after_the_claim_are_local_days() {
    // 2026-03-28 12:00 in Berlin, a day before summer time begins.
    let noon = 1_774_695_600_000;
    let harness = harness::start_at(noon).await;
    let rules = v1::TemplateRules {
        use_window: after_claim(1),
        time_zone: "Europe/Berlin".to_owned(),
        ..rules()
    };
    let template = v1::Template {
        claim_from: Some(instant(noon)),
        claim_until: Some(instant(noon + DAY)),
        ..template_of(10, rules)
    };
    let id = harness.publish(template).await;
    let coupon = harness.win(1, id).await;
    let until = noon + 12 * HOUR + 23 * HOUR;
    assert_eq!(harness.coupon(1, coupon).await.valid_until, Some(instant(until)));
    assert_eq!(harness.coupon(1, coupon).await.use_from, Some(instant(noon)));
}

// R11: time does not go back, and a refused step changes nothing.
#[tokio::test]
async fn time_does_not_go_back() {
    let harness = harness::start().await;
    harness.advance(START_MS + HOUR).await;
    let back = dev::AdvanceClockRequest { to: Some(instant(START_MS + HOUR - 1)) };
    let error = harness.client.advance_clock(back).await.expect_err("back");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.field_violations()[0].0, "to");
    assert_eq!(harness.now().await, START_MS + HOUR);
    assert_eq!(harness.advance(START_MS + HOUR).await, 0, "standing still is no step back");
    // Started again with an earlier instant, the later one stands.
    let harness = harness.restart().await;
    assert_eq!(harness.now().await, START_MS + HOUR);
}

// R65: a folder that lived under a test clock is not served by the wall clock.
#[tokio::test]
async fn a_folder_of_a_test_clock_is_not_served_without_it() {
    let harness = harness::start().await;
    harness.advance(START_MS + HOUR).await;
    let folder = harness.stop().await;
    let refused = app::start(harness::config(folder.path()), None).await;
    let error = refused.err().expect("refused").to_string();
    assert!(error.contains("test clock, which stands at 2026-01-01T01:00:00Z"), "{error}");
    assert!(error.contains("--test-clock"), "{error}");
    assert!(error.contains("--data-dir"), "{error}");
    let later = Timestamp::from_millis(START_MS + 2 * HOUR);
    let running = app::start(harness::config(folder.path()), Some(later)).await;
    let running = running.expect("started later");
    let client = harness::connect(format!("http://{}", running.addr)).await;
    let now = client.get_clock(dev::GetClockRequest {}).await.expect("the clock").now;
    assert_eq!(now, Some(instant(START_MS + 2 * HOUR)));
    drop(client);
    running.stop().await.expect("it stops");
}

// R57: without a test clock there is no ClockService, and the wall clock serves.
#[tokio::test]
async fn the_clock_service_is_off_under_the_wall_clock() {
    let folder = tempfile::tempdir().expect("a folder");
    let running = app::start(harness::config(folder.path()), None).await.expect("started");
    let address = format!("http://{}", running.addr);
    let endpoint = tonic::transport::Endpoint::from_shared(address.clone()).expect("an address");
    let channel = endpoint.connect().await.expect("a connection");
    let mut clock = ClockServiceClient::new(channel);
    let get = clock.get_clock(dev::GetClockRequest {}).await.expect_err("off");
    assert_eq!(get.code(), Code::Unimplemented);
    let to = Some(instant(START_MS));
    let advance = clock.advance_clock(dev::AdvanceClockRequest { to }).await.expect_err("off");
    assert_eq!(advance.code(), Code::Unimplemented);
    let client = harness::connect(address).await;
    let unknown = client.get_template(v1::GetTemplateRequest { template_id: 1 }).await;
    let unknown = unknown.expect_err("an empty folder");
    assert_eq!(unknown.reason(), Some(ErrorReason::TemplateNotFound));
    drop((client, clock));
    running.stop().await.expect("it stops");
}
