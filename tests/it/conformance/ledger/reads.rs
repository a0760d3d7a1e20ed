//! Reading, counting and purging.

use std::collections::BTreeSet;

use coupon_domain::{
    book::AlarmKind,
    coupon::CouponStatus,
    ids::{CouponId, TemplateId},
    redemption::RedemptionState,
    rules::RestorePolicy,
    time::Timestamp,
};
use coupon_server::ledger::{AlarmRow, Counts, Fresh};

use crate::conformance::fixture::{DAY, MINUTE, Offer, TTL, World, start, until, user_id};

async fn all_of(world: &World, user: i64) -> Vec<coupon_domain::coupon::Coupon> {
    let page = world
        .ledger()
        .wallet(user_id(user), None, None, 1_000, Fresh::Latest)
        .await
        .expect("readable");
    page.into_iter().map(|stored| stored.coupon).collect()
}

// R5, R48: a user's coupons, newest first, page by page, of one template or of all.
pub(crate) async fn wallets_are_paged_newest_first(world: &mut World) {
    let one = world.publish(Offer { limit: 9, ..Offer::default() }).await;
    let other = world.publish(Offer { limit: 9, ..Offer::default() }).await;
    let mut won: Vec<(CouponId, TemplateId)> = Vec::new();
    for turn in 0..7 {
        let template = if turn % 3 == 0 { &other } else { &one };
        won.push((world.win(template, 7, &format!("r{turn}")).await.id, template.id));
        world.win(template, 10_007, &format!("r{turn}")).await;
    }
    won.reverse();
    world.lock(7, "o", "lock", &[won[0].0]).await.expect("locked");
    for (template, limit) in [(None, 3), (Some(one.id), 2), (Some(other.id), 100)] {
        let (mut before, mut pages) = (None, Vec::new());
        loop {
            let page =
                world.ledger().wallet(user_id(7), template, before, limit, Fresh::Latest).await;
            let page = page.expect("readable");
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            before = Some(last.coupon.id);
            pages.extend(page.iter().map(|stored| (stored.coupon.id, stored.coupon.template)));
        }
        let wanted = won.iter().filter(|(_, of)| template.is_none_or(|wanted| wanted == *of));
        assert_eq!(pages, wanted.copied().collect::<Vec<_>>());
    }
    let first =
        world.ledger().wallet(user_id(7), None, None, 1, Fresh::Latest).await.expect("readable");
    assert_eq!(first[0].order.as_deref(), Some("o"));
    assert_eq!(all_of(world, 8).await, [], "somebody with no coupon");
    let foreign = world.ledger().coupon(user_id(10_007), won[0].0, Fresh::Latest).await;
    assert_eq!(foreign, Ok(None), "of the same slot, but not the owner");
    let ids = [won[0].0, won[6].0, CouponId::new(77).expect("positive")];
    let named = world.ledger().coupons(user_id(7), &ids).await.expect("readable");
    let named: BTreeSet<_> = named.into_iter().map(|coupon| coupon.id).collect();
    assert_eq!(named, BTreeSet::from([won[0].0, won[6].0]));
    assert_eq!(world.ledger().coupons(user_id(10_007), &ids).await, Ok(Vec::new()));
}

// R48: what Quote looks at: free or held, and not expired.
pub(crate) async fn live_coupons_are_those_that_could_be_used(world: &mut World) {
    let short = Offer { window: until(start().plus(DAY)), ..Offer::default() };
    let short = world.publish(short).await;
    let long = world.publish(Offer { limit: 4, ..Offer::default() }).await;
    world.win(&short, 7, "r").await;
    let mut ids = Vec::new();
    for request in ["a", "b", "c", "d"] {
        ids.push(world.win(&long, 7, request).await.id);
    }
    world.lock(7, "held", "lock", &ids[..1]).await.expect("locked");
    world.void(7, ids[1]).await.expect("voided");
    world.lock(7, "used", "lock", &ids[2..3]).await.expect("locked");
    world.confirm(7, "used", "paid").await.expect("confirmed");
    let live = |now, limit| world.ledger().live_coupons(user_id(7), now, limit);
    let ids_of = |coupons: Vec<coupon_domain::coupon::Coupon>| {
        coupons.into_iter().map(|coupon| coupon.id).collect::<Vec<_>>()
    };
    let early = ids_of(live(start(), 10).await.expect("readable"));
    assert_eq!((early.len(), &early[..2]), (3, &[ids[3], ids[0]][..]));
    let later = ids_of(live(start().plus(DAY), 10).await.expect("readable"));
    assert_eq!(later, [ids[3], ids[0]], "from valid_until on it is expired, swept or not");
    assert_eq!(ids_of(live(start(), 1).await.expect("readable")), [ids[3]]);
}

// R46: what a gate is loaded from: every coupon that counts for a limit, and no other.
pub(crate) async fn holdings_cover_every_holder(world: &mut World) {
    let restore = RestorePolicy::Reissue { days: 1 };
    let wanted = world.publish(Offer { limit: 2, restore, ..Offer::default() }).await;
    let other = world.publish(Offer::default()).await;
    let mut expected = BTreeSet::new();
    for user in 1..=20 {
        expected.insert((user, world.win(&wanted, user, "r").await.id));
        if user % 3 == 0 {
            expected.insert((user, world.win(&wanted, user, "second").await.id));
        }
        world.win(&other, user, "r").await;
    }
    let (_, used) = expected.first().copied().expect("some");
    world.lock(1, "o", "lock", &[used]).await.expect("locked");
    world.confirm(1, "o", "paid").await.expect("confirmed");
    world.restore(1, "o", "refund").await.expect("restored");
    for limit in [1, 7, 1_000] {
        let mut found = Vec::new();
        for shard in 0..world.ledger().shards() {
            let mut after = Some(0);
            while let Some(cursor) = after {
                let holdings = world.ledger().holdings(shard, &[wanted.id], cursor, limit).await;
                let (rows, next) = holdings.expect("readable");
                assert!(rows.iter().all(|(template, _)| *template == wanted.id));
                found.extend(rows.iter().map(|(_, row)| (row.user.get(), row.coupon.id)));
                after = next;
            }
        }
        assert_eq!(found.len(), expected.len(), "each once");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    }
}

// R32: the folded counts are those of the rows, however the fold is cut.
pub(crate) async fn counts_equal_a_recount(world: &mut World) {
    let restore = RestorePolicy::Reissue { days: 30 };
    let due = start().plus(DAY);
    let offer = Offer { limit: 9, window: until(due), restore, ..Offer::default() };
    let template = world.publish(offer).await;
    let mut coupons = Vec::new();
    for request in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        coupons.push(world.win(&template, 7, request).await.id);
    }
    world.lock(7, "used", "lock", &coupons[..2]).await.expect("locked");
    world.confirm(7, "used", "paid").await.expect("confirmed");
    world.lock(7, "back", "lock", &coupons[2..3]).await.expect("locked");
    world.cancel(7, "back", "c").await.expect("cancelled");
    world.lock(7, "refunded", "lock", &coupons[3..4]).await.expect("locked");
    world.confirm(7, "refunded", "paid").await.expect("confirmed");
    world.restore(7, "refunded", "refund").await.expect("restored");
    world.void(7, coupons[4]).await.expect("voided");
    world.now = due.minus(MINUTE);
    world.lock(7, "held", "lock", &coupons[5..6]).await.expect("locked");
    world.now = due;
    let (shard, kind, minute) = (0, AlarmKind::CouponExpiry, due.due_minute());
    let alarm = AlarmRow { shard, kind, minute, hop: 0 };
    world.ledger().expire_chunk(alarm, None, 100, due).await.expect("swept");
    while world.ledger().fold_stats(3, due).await.expect("folded") > 0 {}
    let folded = world.ledger().counts(template.id).await.expect("readable");
    let stored = all_of(world, 7).await;
    let count = |status| {
        let of = stored.iter().filter(|coupon| coupon.status == status).count();
        i64::try_from(of).expect("few")
    };
    let recounted = Counts {
        locked: count(CouponStatus::Locked),
        used: count(CouponStatus::Used),
        expired: count(CouponStatus::Expired),
        voided: count(CouponStatus::Voided),
        reissued: 1,
        as_of: due,
    };
    assert_eq!(folded, recounted);
    assert_eq!((folded.locked, folded.used, folded.expired, folded.voided), (1, 3, 3, 1));
    world.restart().await;
    assert_eq!(world.ledger().fold_stats(100, due).await, Ok(0), "nothing is folded twice");
    assert_eq!(world.ledger().counts(template.id).await, Ok(recounted));
}

// Fences are kept as long as any coordinator may retry; what is locked for ever.
pub(crate) async fn purging_keeps_locks_and_what_is_young(world: &mut World) {
    let template = world.publish(Offer { limit: 9, ..Offer::default() }).await;
    let mut coupons = Vec::new();
    for request in ["1", "2", "3"] {
        coupons.push(world.win(&template, 7, request).await.id);
    }
    world.cancel(7, "old fence", "c").await.expect("stored");
    world.lock(7, "old use", "lock", &coupons[..1]).await.expect("locked");
    world.confirm(7, "old use", "paid").await.expect("confirmed");
    world.lock(7, "locked", "lock", &coupons[1..2]).await.expect("locked");
    let old = world.now;
    world.pass(DAY);
    world.cancel(7, "young fence", "c").await.expect("stored");
    world.lock(7, "young use", "lock", &coupons[2..]).await.expect("locked");
    world.confirm(7, "young use", "paid").await.expect("confirmed");
    let cut = old.plus(MINUTE);
    let orders = ["old fence", "old use", "locked", "young fence", "young use"];
    for (fences, uses, gone) in [(old, old, 0), (cut, old, 1), (cut, cut, 2)] {
        let (mut after, mut deleted) = (Some(0), 0);
        while let Some(cursor) = after {
            let purged = world.ledger().purge_redemptions(0, cursor, fences, uses, 2).await;
            let purged = purged.expect("purged");
            assert!(purged.deleted <= 2, "a bounded step");
            deleted += purged.deleted;
            after = purged.next;
        }
        let found: Vec<bool> = found(world, &orders).await;
        assert_eq!(found, (0..5).map(|order| order >= gone).collect::<Vec<_>>(), "{deleted}");
    }
    let used = world.coupon(7, coupons[0]).await;
    assert_eq!((used.coupon.status, used.order), (CouponStatus::Used, None));
}

async fn found(world: &World, orders: &[&str]) -> Vec<bool> {
    let mut found = Vec::new();
    for order in orders {
        let stored =
            world.ledger().redemption(user_id(7), order, Fresh::Latest).await.expect("readable");
        found.push(stored.is_some());
    }
    found
}

// R58: what a coordinator forgot, longest overdue first.
pub(crate) async fn overdue_locks_are_listed_oldest_first(world: &mut World) {
    let template = world.publish(Offer { limit: 9, ..Offer::default() }).await;
    for order in ["a", "b", "c", "d"] {
        let coupon = world.win(&template, 7, order).await.id;
        world.lock(7, order, "lock", &[coupon]).await.expect("locked");
        world.pass(MINUTE);
    }
    world.confirm(7, "b", "paid").await.expect("confirmed");
    let until = start().plus(TTL).plus(2 * MINUTE);
    let (mut after, mut orders) = (None, Vec::new());
    loop {
        let page = world.ledger().overdue(until, after, 1).await.expect("readable");
        let Some(last) = page.last() else { break };
        assert_eq!((page.len(), last.state), (1, RedemptionState::Locked));
        after = last.locked_until.map(|at| (at, last.id));
        orders.push(last.order.clone());
    }
    assert_eq!(orders, ["a", "c"]);
    let none = world.ledger().overdue(Timestamp::from_millis(0), None, 9).await;
    assert_eq!(none, Ok(Vec::new()));
}

// R27: naming a user again changes nothing.
pub(crate) async fn an_audience_is_named_once(world: &mut World) {
    let template = world.publish(Offer::default()).await;
    let users: Vec<_> = (1..=1_500).map(user_id).collect();
    let ledger = world.ledger();
    assert_eq!(ledger.add_audience(template.id, &users[..1_000]).await, Ok(1_000));
    assert_eq!(ledger.add_audience(template.id, &users[500..]).await, Ok(500));
    assert_eq!(ledger.is_named(users[0], template.id).await, Ok(true));
    assert_eq!(ledger.is_named(user_id(1_501), template.id).await, Ok(false));
    let other = world.publish(Offer::default()).await;
    assert_eq!(world.ledger().is_named(users[0], other.id).await, Ok(false));
}
