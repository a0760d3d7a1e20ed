//! Commands at random, and what must hold after each of them (R62, I4 to I7).

use std::{collections::HashMap, time::Duration};

use coupon_domain::{
    Rejection,
    book::{AlarmKind, Operation, OperationKind},
    coupon::{Coupon, CouponStatus},
    ids::RedemptionId,
    redemption::{LockCommand, Redemption, RedemptionState, lock},
    rules::RestorePolicy,
};
use proptest::{prelude::*, sample::select};

use crate::shelf::{DAY, LIMITS};
use crate::store::{MINUTE, MS, Store, TTL, coupon_id, lock_command};

const COUPONS: i64 = 4;

#[derive(Debug, Clone)]
enum Step {
    Lock { order: &'static str, id: &'static str, coupons: Vec<i64>, ttl: Duration },
    Confirm { order: &'static str, coupons: Vec<i64> },
    Cancel { order: &'static str, coupons: Vec<i64> },
    Restore { order: &'static str, id: &'static str },
    Void { coupon: i64 },
    Alarms,
    Pass { time: Duration },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let order = || select(vec!["a", "b", "c"]);
    let id = || select(vec!["1", "2", "3", "4"]);
    let coupons = |least: usize| {
        let ids: Vec<i64> = (1..=COUPONS).collect();
        prop::sample::subsequence(ids, least..=3).prop_shuffle()
    };
    let named = || prop_oneof![3 => Just(Vec::new()), 1 => coupons(1)];
    let ttl = select(vec![MINUTE, TTL, 7 * DAY]);
    let time = select(vec![MS, MINUTE, MINUTE + MS, TTL, DAY, 6 * DAY]);
    let step = prop_oneof![
        6 => (order(), id(), coupons(1), ttl)
            .prop_map(|(order, id, coupons, ttl)| Step::Lock { order, id, coupons, ttl }),
        3 => (order(), named()).prop_map(|(order, coupons)| Step::Confirm { order, coupons }),
        2 => (order(), named()).prop_map(|(order, coupons)| Step::Cancel { order, coupons }),
        2 => (order(), id()).prop_map(|(order, id)| Step::Restore { order, id }),
        1 => (1..=COUPONS).prop_map(|coupon| Step::Void { coupon }),
        1 => Just(Step::Alarms),
        4 => time.prop_map(|time| Step::Pass { time }),
    ];
    prop::collection::vec(step, 1..60)
}

/// Runs a step; whether it was accepted.
fn run(store: &mut Store, step: &Step) -> Result<(), Rejection> {
    match step {
        Step::Lock { order, id, coupons, ttl } => {
            let command = LockCommand { ttl: *ttl, ..lock_command(order, id, coupons) };
            store.lock_with(&command).map(drop).map_err(|refusal| refusal.reason)
        }
        Step::Confirm { order, coupons } => store.confirm(order, coupons).map(drop),
        Step::Cancel { order, coupons } => store.cancel(order, coupons).map(drop),
        Step::Restore { order, id } => store.restore(order, id).map(drop),
        Step::Void { coupon } => store.void(*coupon).map(drop),
        Step::Alarms => {
            store.lapse();
            expire(store);
            Ok(())
        }
        Step::Pass { time } => {
            store.pass(*time);
            Ok(())
        }
    }
}

/// What the sweep of the ledger does to coupons that nobody holds.
fn expire(store: &mut Store) {
    let now = store.now;
    let due = |coupon: &&mut Coupon| {
        coupon.status == CouponStatus::Available && now >= coupon.valid_until
    };
    for coupon in store.coupons.values_mut().filter(due) {
        coupon.status = CouponStatus::Expired;
        let (kind, from) = (OperationKind::Expire, CouponStatus::Available);
        store.operations.push(Operation::of(coupon, String::new(), kind, from));
    }
}

/// I6: the edges that are drawn.
fn may_change(from: Option<RedemptionState>, to: RedemptionState) -> bool {
    use RedemptionState::{Cancelled, Confirmed, Lapsed, Locked, Restored};
    match (from, to) {
        (None, Locked | Cancelled)
        | (Some(Locked), Confirmed | Cancelled | Lapsed)
        | (Some(Confirmed), Restored)
        | (Some(Lapsed), Cancelled | Locked) => true,
        (from, to) => from == Some(to),
    }
}

fn may_become(from: CouponStatus, kind: OperationKind, to: CouponStatus) -> bool {
    use CouponStatus::{Available, Expired, Locked, Used, Voided};
    matches!(
        (from, kind, to),
        (Available, OperationKind::Lock, Locked)
            | (Available, OperationKind::Expire, Expired)
            | (Available, OperationKind::Void, Voided)
            | (Locked, OperationKind::Confirm, Used)
            | (Locked, OperationKind::Cancel | OperationKind::Lapse, Available | Expired)
            | (Used, OperationKind::Restore, Available)
    )
}

/// The log, replayed from the start, ends in what is stored, by legal steps only (R50).
fn check_log(store: &Store) -> Result<(), TestCaseError> {
    let mut replayed: HashMap<_, CouponStatus> =
        (1..=COUPONS).map(|number| (coupon_id(number), CouponStatus::Available)).collect();
    for one in &store.operations {
        let before = one.coupon.and_then(|coupon| replayed.insert(coupon, one.to));
        prop_assert_eq!(one.from, before, "{:?}", one);
        let legal = one.from.is_none_or(|from| may_become(from, one.kind, one.to));
        prop_assert!(legal, "{one:?}");
    }
    let stored: HashMap<_, _> =
        store.coupons.values().map(|coupon| (coupon.id, coupon.status)).collect();
    prop_assert_eq!(replayed, stored);
    Ok(())
}

/// A coupon belongs to at most one live redemption, and that one holds all its coupons.
fn check_holders(store: &Store) -> Result<(), TestCaseError> {
    for coupon in store.coupons.values() {
        let holders = store.redemptions.values().filter(|redemption| {
            redemption.state == RedemptionState::Locked
                && redemption.coupons().any(|id| id == coupon.id)
        });
        let holders: Vec<RedemptionId> = holders.map(|redemption| redemption.id).collect();
        let locked = coupon.status == CouponStatus::Locked;
        prop_assert_eq!(coupon.locked_until.is_some(), locked);
        prop_assert_eq!(coupon.used_at.is_some(), coupon.status == CouponStatus::Used);
        let owned = locked || coupon.status == CouponStatus::Used;
        prop_assert_eq!(coupon.redemption.is_some(), owned);
        let expected: Vec<_> = coupon.redemption.into_iter().filter(|_| locked).collect();
        prop_assert_eq!(holders, expected, "{:?}", coupon);
    }
    for redemption in store.redemptions.values() {
        check_redemption(store, redemption)?;
    }
    Ok(())
}

fn check_redemption(store: &Store, redemption: &Redemption) -> Result<(), TestCaseError> {
    let locked = redemption.state == RedemptionState::Locked;
    prop_assert_eq!(redemption.locked_until.is_some(), locked);
    prop_assert_eq!(redemption.closed_at.is_some(), !locked);
    prop_assert_eq!(redemption.evaluation.is_some(), redemption.first_locked_at.is_some());
    if let (Some(until), Some(first)) = (redemption.locked_until, redemption.first_locked_at) {
        prop_assert!(until <= first.plus(LIMITS.horizon));
        let alarm = (AlarmKind::LockLapse, until.due_minute());
        prop_assert!(store.alarms.contains(&alarm), "no alarm for {:?}", redemption);
    }
    for id in redemption.coupons() {
        let coupon = &store.coupons[&id];
        let held = coupon.redemption == Some(redemption.id);
        match redemption.state {
            RedemptionState::Locked => {
                prop_assert!(held && coupon.locked_until == redemption.locked_until);
            }
            RedemptionState::Confirmed => {
                prop_assert!(held && coupon.status == CouponStatus::Used);
            }
            RedemptionState::Restored => {
                prop_assert!(!held || coupon.status == CouponStatus::Used);
            }
            RedemptionState::Cancelled | RedemptionState::Lapsed => prop_assert!(!held),
        }
    }
    Ok(())
}

/// The step changed states along drawn edges; refused, it only let lapsed locks be lapsed.
fn check_step(
    before: &HashMap<RedemptionId, RedemptionState>,
    logged: usize,
    store: &Store,
    outcome: Result<(), Rejection>,
) -> Result<(), TestCaseError> {
    for (id, redemption) in &store.redemptions {
        let from = before.get(id).copied();
        // A Lock that finds its own order lapsed but stored LOCKED lapses it on the way.
        prop_assert!(may_change(from, redemption.state), "{from:?} -> {redemption:?}");
        if outcome.is_err() {
            let untouched = from == Some(redemption.state);
            prop_assert!(untouched || redemption.state == RedemptionState::Lapsed);
        }
    }
    for operation in &store.operations[logged..] {
        let freed = operation.kind == OperationKind::Lapse;
        prop_assert!(outcome.is_ok() || freed, "{outcome:?} but {operation:?}");
    }
    Ok(())
}

/// I7: what was freed can expire because its alarm exists; what is expired is not locked anew.
fn check_time(store: &Store, logged: usize) -> Result<(), TestCaseError> {
    for operation in &store.operations[logged..] {
        let coupon = operation.coupon.map(|id| &store.coupons[&id]);
        let Some(coupon) = coupon else { continue };
        if operation.kind == OperationKind::Lock {
            prop_assert!(store.now < coupon.valid_until, "{coupon:?}");
        }
        if operation.to == CouponStatus::Available {
            let alarm = (AlarmKind::CouponExpiry, coupon.valid_until.due_minute());
            prop_assert!(store.alarms.contains(&alarm), "no alarm for {coupon:?}");
        }
    }
    Ok(())
}

/// I4: an accepted Lock, Confirm, Cancel or Restore sent again at once writes nothing.
fn check_repeat(store: &mut Store, step: &Step) -> Result<(), TestCaseError> {
    let before = (store.coupons.clone(), store.redemptions.clone());
    let logged = store.operations.len();
    prop_assert_eq!(run(store, step), Ok(()));
    prop_assert_eq!((&store.coupons, &store.redemptions), (&before.0, &before.1));
    prop_assert_eq!(store.operations.len(), logged);
    Ok(())
}

fn policies() -> impl Strategy<Value = RestorePolicy> {
    select(vec![
        RestorePolicy::Never,
        RestorePolicy::IfUnexpired,
        RestorePolicy::Extend { days: 2 },
        RestorePolicy::Reissue { days: 2 },
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    // R58, R62: whatever comes in whatever order.
    #[test]
    fn invariants_hold_after_every_step(steps in steps(), policy in policies()) {
        let mut store = Store::with_coupons(COUPONS).with_rules(1, |rules| rules.restore = policy);
        for step in &steps {
            let before = store.redemptions.values().map(|one| (one.id, one.state)).collect();
            let logged = store.operations.len();
            let outcome = run(&mut store, step);
            check_step(&before, logged, &store, outcome)?;
            check_time(&store, logged)?;
            check_holders(&store)?;
            check_log(&store)?;
            if outcome.is_ok() && !matches!(step, Step::Pass { .. }) {
                check_repeat(&mut store, step)?;
            }
        }
    }

    // Commands of one group see each other's effects as if they had come one by one.
    #[test]
    fn a_group_decides_as_its_members_would_alone(
        locks in prop::collection::vec(
            (select(vec!["a", "b"]), select(vec!["1", "2"]), 1..=COUPONS, 1..=COUPONS), 1..6),
    ) {
        let commands: Vec<_> = locks
            .iter()
            .map(|(order, id, one, other)| {
                let coupons = if one == other { vec![*one] } else { vec![*one, *other] };
                lock_command(order, id, &coupons)
            })
            .collect();
        let mut apart = Store::with_coupons(COUPONS);
        let mut grouped = Store::with_coupons(COUPONS);
        let ids: Vec<_> = commands.iter().map(|_| grouped.mint()).collect();
        let one_by_one: Vec<_> = commands.iter().map(|command| apart.lock_with(command)).collect();
        let (together, _) = grouped.run(|book, templates, now| {
            let decide = |(command, id)| {
                let fresh = RedemptionId::new(id).unwrap();
                lock(book, command, templates, LIMITS, fresh, now)
            };
            commands.iter().zip(ids).map(decide).collect::<Vec<_>>()
        });
        prop_assert_eq!(together, one_by_one);
        prop_assert_eq!(&grouped.coupons, &apart.coupons);
        prop_assert_eq!(&grouped.redemptions, &apart.redemptions);
        prop_assert_eq!(&grouped.operations, &apart.operations);
    }
}
