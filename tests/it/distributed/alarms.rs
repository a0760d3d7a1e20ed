//! What falls due on the wall clock: the worker hears of it through the broker (R11, R28).

use std::time::{Duration, Instant};

use coupon_client::v1;
use coupon_domain::{
    coupon::CouponStatus,
    redemption::RedemptionState,
    time::{MINUTE_MS, Timestamp},
};
use coupon_server::clock::wall_millis;
use sqlx::Row as _;

use super::{Stage, connect, give, kill, offer_of, publish, usable, win};
use crate::harness::{
    eventually,
    given::{HOUR, MINUTE, SECOND, fixed, instant, lock, millis},
};

/// How long the coupon lives and the lock holds, in milliseconds. Both share the next alarm.
const LIFE: i64 = 6 * SECOND;

/// What the shards hold of a row, whatever an answer would make of it by the time.
async fn stored(stage: &Stage, sql: &'static str, user: i64) -> Option<i32> {
    for url in &stage.cluster.databases.shard_urls {
        let row = sqlx::query(sql).bind(user).fetch_optional(&mut connect(url).await).await;
        if let Some(row) = row.expect("the shard can be read") {
            return Some(row.get(0));
        }
    }
    None
}

async fn coupon(stage: &Stage, user: i64) -> Option<CouponStatus> {
    let found = stored(stage, "SELECT status FROM coupon WHERE user_id = ?", user).await;
    CouponStatus::from_stored(found?)
}

async fn order(stage: &Stage, user: i64) -> Option<RedemptionState> {
    let found = stored(stage, "SELECT state FROM redemption WHERE user_id = ?", user).await;
    RedemptionState::from_stored(found?)
}

async fn wall_reaches(at: i64) {
    // In steps, because it may take a minute.
    for until in [at - MINUTE / 2, at] {
        eventually("the time has come", async || (wall_millis() >= until).then_some(())).await;
    }
}

// R11, R28: alarms ring at whole minutes, so this takes between a few seconds and a good minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_lets_coupons_expire_and_locks_lapse() {
    let mut stage = Stage::start().await;
    // The worker has subscribed, and is away when the messages are published and fall due.
    kill(&mut stage.cluster.workers[0]).await;
    let held = give(&stage.a, 2, usable()).await;
    let now = wall_millis();
    let until = now + LIFE;
    let short = v1::TemplateRules { use_window: fixed(until - HOUR, until), ..usable() };
    let short = v1::Template { claim_until: Some(instant(until)), ..offer_of(1, short) };
    let template = publish(&stage.a, short).await;
    win(&stage.b, 1, template).await;
    let seconds = LIFE / SECOND;
    let lock_ttl = Some(prost_types::Duration { seconds, nanos: 0 });
    let request = v1::LockRequest { lock_ttl, ..lock(2, "slow", "try", &[held]) };
    let locked = stage.b.lock(request).await.expect("locked").redemption.expect("the redemption");
    let lapses = millis(locked.locked_until);
    let due = Timestamp::from_millis(until.max(lapses)).due_minute().due_at().as_millis();
    assert!(due - now <= MINUTE_MS + 3 * LIFE, "the calls took long");

    wall_reaches(due).await;
    assert_eq!(coupon(&stage, 1).await, Some(CouponStatus::Available), "nobody has swept");
    assert_eq!(coupon(&stage, 2).await, Some(CouponStatus::Locked), "nobody has swept");
    assert_eq!(order(&stage, 2).await, Some(RedemptionState::Locked), "nobody has swept");

    let since = Instant::now();
    Box::pin(stage.cluster.workers[0].restart()).await.expect("the worker starts");
    eventually("the worker has swept", async || {
        let swept = coupon(&stage, 1).await == Some(CouponStatus::Expired)
            && coupon(&stage, 2).await == Some(CouponStatus::Available)
            && order(&stage, 2).await == Some(RedemptionState::Lapsed);
        swept.then_some(())
    })
    .await;
    eprintln!("swept {:?} after the worker's start", since.elapsed());
    // The sweeper, which would find them without any message, has not had its first round yet.
    assert!(since.elapsed() < Duration::from_secs(60));
    stage.finish().await;
}
