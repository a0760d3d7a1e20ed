//! Time: alarms of whatever falls due, and sweeps (R7, R11).

use coupon_domain::{
    book::AlarmKind,
    coupon::CouponStatus,
    ids::CouponId,
    redemption::RedemptionState,
    rules::RestorePolicy,
    time::{Minute, Timestamp},
};
use coupon_server::ledger::{AlarmRow, Fresh, Swept};

use crate::conformance::fixture::{DAY, MINUTE, MS, Offer, TTL, World, start, until, user_id};

const EXPIRY: AlarmKind = AlarmKind::CouponExpiry;
const LAPSE: AlarmKind = AlarmKind::LockLapse;

async fn alarms(world: &World) -> Vec<AlarmRow> {
    world.ledger().alarms(0, Timestamp::MAX, 1_000).await.expect("readable")
}

async fn has(world: &World, kind: AlarmKind, minute: Minute) -> bool {
    alarms(world).await.iter().any(|row| (row.kind, row.minute) == (kind, minute))
}

fn row(kind: AlarmKind, at: Timestamp) -> AlarmRow {
    AlarmRow { shard: 0, kind, minute: at.due_minute(), hop: 0 }
}

/// Sweeps a minute to the end; what each chunk changed.
async fn sweep(world: &World, alarm: AlarmRow, limit: u32) -> Vec<u64> {
    let (mut after, mut changed) = (None, Vec::new());
    loop {
        let swept = world.ledger().expire_chunk(alarm, after, limit, world.now).await;
        let Swept { changed: rows, next } = swept.expect("swept");
        changed.push(rows);
        match next {
            Some(next) => after = Some(next),
            None => return changed,
        }
    }
}

async fn status(world: &World, user: i64, coupon: CouponId) -> CouponStatus {
    world.coupon(user, coupon).await.coupon.status
}

// R11: coupons of one minute share one alarm; a lock has its own; all of it outlives the process.
pub(crate) async fn whatever_falls_due_has_its_alarm(world: &mut World) {
    let first = world.publish(Offer { window: until(start().plus(DAY)), ..Offer::default() }).await;
    let window = until(start().plus(DAY).minus(MS));
    let second = world.publish(Offer { window, ..Offer::default() }).await;
    let third = world.publish(Offer::default()).await;
    let coupon = world.win(&first, 7, "r").await.id;
    world.win(&second, 7, "r").await;
    world.win(&second, 8, "r").await;
    let expiry = start().plus(DAY).due_minute();
    assert_eq!(alarms(world).await, [row(EXPIRY, start().plus(DAY))]);
    assert!(world.heard.alarm(EXPIRY, expiry));
    world.win(&third, 7, "r").await;
    world.lock(7, "o", "lock", &[coupon]).await.expect("locked");
    world.restart().await;
    let all = [
        row(LAPSE, start().plus(TTL)),
        row(EXPIRY, start().plus(DAY)),
        row(EXPIRY, start().plus(10 * DAY)),
    ];
    assert_eq!(alarms(world).await, all, "earliest first");
    assert!(world.heard.alarm(LAPSE, start().plus(TTL).due_minute()));
    let due = world.ledger().alarms(0, start().plus(DAY), 1_000).await.expect("readable");
    assert_eq!(due, all[..1], "due before an instant");
    let one = world.ledger().alarms(0, Timestamp::MAX, 1).await.expect("readable");
    assert_eq!(one, all[..1], "no more than asked for");
}

// I7: what comes back AVAILABLE gets an alarm in its own transaction, whatever was there before.
pub(crate) async fn a_restored_coupon_has_its_alarm_again(world: &mut World) {
    let valid_until = start().plus(DAY);
    let restore = RestorePolicy::Extend { days: 2 };
    let offer = Offer { window: until(valid_until), restore, ..Offer::default() };
    let template = world.publish(offer).await;
    let coupon = world.win(&template, 7, "r").await.id;
    world.pass(DAY - MINUTE);
    world.lock(7, "o", "lock", &[coupon]).await.expect("locked");
    world.pass(MINUTE);
    assert_eq!(sweep(world, row(EXPIRY, valid_until), 10).await, [0], "a live lock outlives it");
    assert_eq!(world.ledger().close_alarm(row(EXPIRY, valid_until)).await, Ok(true));
    world.confirm(7, "o", "paid").await.expect("confirmed");
    world.restore(7, "o", "refund").await.expect("restored");
    let extended = world.coupon(7, coupon).await.coupon.valid_until;
    assert_eq!(extended, start().plus(4 * DAY));
    assert!(has(world, EXPIRY, extended.due_minute()).await);

    // Freed by Cancel while its alarm is gone.
    world.lock(7, "p", "lock", &[coupon]).await.expect("locked");
    assert_eq!(world.ledger().close_alarm(row(EXPIRY, extended)).await, Ok(true));
    world.cancel(7, "p", "c").await.expect("cancelled");
    assert!(has(world, EXPIRY, extended.due_minute()).await);
}

// R11: a message's hop counts once, however often the message comes.
pub(crate) async fn a_hop_counts_once(world: &mut World) {
    let template = world.publish(Offer::default()).await;
    world.win(&template, 7, "r").await;
    let alarm = alarms(world).await[0];
    let ledger = world.ledger();
    let hop = |hop| AlarmRow { hop, ..alarm };
    assert_eq!(ledger.hop(hop(0)).await, Ok(true));
    assert_eq!(ledger.hop(hop(0)).await, Ok(false), "a second copy of the message");
    assert_eq!(ledger.hop(hop(2)).await, Ok(false), "ahead of the row");
    assert_eq!(ledger.hop(hop(1)).await, Ok(true));
    assert_eq!(ledger.alarm_hop(0, alarm.kind, alarm.minute).await, Ok(Some(2)));
    // Another coupon of the minute does not set it back.
    world.win(&template, 8, "r").await;
    assert_eq!(alarms(world).await, [hop(2)]);
    let missing = AlarmRow { kind: LAPSE, ..hop(0) };
    assert_eq!(ledger.hop(missing).await, Ok(false));
    assert_eq!(ledger.alarm_hop(0, LAPSE, alarm.minute).await, Ok(None));
}

// R7, R11: sweeps change bounded chunks and are safe to repeat.
pub(crate) async fn expiry_goes_in_bounded_chunks(world: &mut World) {
    let due = start().plus(DAY);
    let mut coupons = Vec::new();
    for early in 0..5 {
        let window = until(due.minus(early * 10 * 1_000 * MS));
        let template = world.publish(Offer { window, ..Offer::default() }).await;
        for user in 1..=5 {
            coupons.push((user, world.win(&template, user, "r").await.id));
        }
    }
    let (holder, held) = coupons[12];
    world.pass(DAY - MINUTE);
    world.lock(holder, "o", "lock", &[held]).await.expect("locked");
    world.pass(MINUTE);
    let mut changed = Vec::new();
    for shard in 0..world.ledger().shards() {
        let alarm = AlarmRow { shard, ..row(EXPIRY, due) };
        changed.extend(sweep(world, alarm, 7).await);
        assert_eq!(sweep(world, alarm, 7).await, [0], "repeated");
    }
    assert!(changed.iter().all(|rows| *rows <= 7), "{changed:?}");
    assert_eq!(changed.iter().sum::<u64>(), 24);
    for (user, coupon) in coupons {
        let expected = if coupon == held { CouponStatus::Locked } else { CouponStatus::Expired };
        assert_eq!(status(world, user, coupon).await, expected);
    }
    // Cancelled past its validity, it goes straight to EXPIRED.
    world.cancel(holder, "o", "c").await.expect("cancelled");
    assert_eq!(status(world, holder, held).await, CouponStatus::Expired);
}

// A sweep expires its own minute, and nothing before its instant.
pub(crate) async fn expiry_leaves_what_is_not_due(world: &mut World) {
    let due = start().plus(DAY);
    let ends = [due.minus(MINUTE), due.minus(MINUTE).plus(MS), due, due.plus(MS)];
    let mut coupons = Vec::new();
    for end in ends {
        let template = world.publish(Offer { window: until(end), ..Offer::default() }).await;
        coupons.push(world.win(&template, 7, "r").await.id);
    }
    use CouponStatus::{Available as A, Expired as E};
    world.now = due.minus(MS);
    for (now, expected) in [(due.minus(MS), [A, E, A, A]), (due, [A, E, E, A])] {
        world.now = now;
        sweep(world, row(EXPIRY, due), 10).await;
        let mut found = Vec::new();
        for coupon in &coupons {
            found.push(status(world, 7, *coupon).await);
        }
        assert_eq!(found, expected, "at {now}");
    }
}

// An alarm is closed only when nothing of its minute is live.
pub(crate) async fn an_alarm_stays_while_a_coupon_is_live(world: &mut World) {
    let due = start().plus(DAY);
    let template = world.publish(Offer { window: until(due), ..Offer::default() }).await;
    world.win(&template, 7, "r").await;
    let alarm = row(EXPIRY, due);
    assert_eq!(world.ledger().close_alarm(alarm).await, Ok(false));
    assert!(has(world, EXPIRY, alarm.minute).await);
    world.now = due;
    sweep(world, alarm, 10).await;
    assert_eq!(world.ledger().close_alarm(alarm).await, Ok(true));
    assert_eq!(alarms(world).await, []);
    assert_eq!(world.ledger().close_alarm(alarm).await, Ok(true), "closing again");
}

// R51: a lock whose time is over lapses once; its alarm stays until then.
pub(crate) async fn locks_lapse_once(world: &mut World) {
    let template = world.publish(Offer { limit: 3, ..Offer::default() }).await;
    let mut locks = Vec::new();
    for order in ["a", "b", "c"] {
        let coupon = world.win(&template, 7, order).await.id;
        let locked = world.lock(7, order, "lock", &[coupon]).await.expect("locked");
        locks.push((coupon, locked.id));
    }
    let due = world.now.plus(TTL);
    let alarm = row(LAPSE, due);
    assert!(!world.lapse(7, locks[0].1).await, "its time is not over");
    assert_eq!(world.ledger().close_alarm(alarm).await, Ok(false));
    world.confirm(7, "a", "paid").await.expect("confirmed");
    world.pass(TTL);
    let some = world.ledger().lapsing(alarm, 1).await.expect("readable");
    assert_eq!(some, [(user_id(7), locks[1].1)], "no more than asked for");
    let lapsing = world.ledger().lapsing(alarm, 10).await.expect("readable");
    assert_eq!(lapsing, [(user_id(7), locks[1].1), (user_id(7), locks[2].1)]);
    for (user, id) in lapsing {
        assert!(world.lapse(user.get(), id).await);
        assert!(!world.lapse(user.get(), id).await, "safe to repeat");
    }
    assert_eq!(world.ledger().lapsing(alarm, 10).await, Ok(Vec::new()));
    assert_eq!(world.ledger().close_alarm(alarm).await, Ok(true));
    assert_eq!(status(world, 7, locks[0].0).await, CouponStatus::Used);
    assert_eq!(status(world, 7, locks[1].0).await, CouponStatus::Available);
    let lapsed = world.ledger().redemption(user_id(7), "c", Fresh::Latest).await.expect("readable");
    assert_eq!(lapsed.map(|found| found.state), Some(RedemptionState::Lapsed));
}
