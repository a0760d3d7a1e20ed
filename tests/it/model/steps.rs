//! What happens, at random.

use std::time::Duration;

use proptest::{prelude::*, sample::select};

use crate::conformance::fixture::{DAY, MINUTE, MS};

/// Users; the first two share a slot, hence a bucket and ids of one series.
pub(super) const USERS: [i64; 4] = [7, 10_007, 12, 345];
/// Templates, see [`super::sequential::Shelf::all`].
pub(super) const TEMPLATES: usize = 4;

/// Places from here on are of coupons that are not the user's.
pub(super) const NOT_OWN: usize = 6;

/// Which coupons a command names: places among those the user holds, in a circle.
pub(super) type Places = Vec<usize>;

/// Which coupons a Confirm or Cancel names.
#[derive(Debug, Clone)]
pub(super) enum Named {
    None,
    /// Those that the order holds.
    Held,
    Other(Places),
}

/// The discount that a Lock insists on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Quoted {
    No,
    Right,
    Wrong,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Give {
        user: i64,
        template: usize,
        request: &'static str,
        pieces: u32,
    },
    Lock {
        user: i64,
        order: &'static str,
        request: &'static str,
        coupons: Places,
        ttl: Duration,
        amount: i64,
        quoted: Quoted,
    },
    Confirm {
        user: i64,
        order: &'static str,
        request: &'static str,
        named: Named,
    },
    Cancel {
        user: i64,
        order: &'static str,
        request: &'static str,
        named: Named,
    },
    Restore {
        user: i64,
        order: &'static str,
        request: &'static str,
    },
    Void {
        user: i64,
        coupon: usize,
    },
    Lapse {
        user: i64,
        order: &'static str,
    },
    /// What has been given so far is handed over; what follows goes in another call.
    Cut,
    /// Everything under way is waited for.
    Wait,
    Pass {
        time: Duration,
    },
    /// Every alarm that is due rings.
    Ring,
    /// The process dies and comes again.
    Crash,
    Open {
        template: usize,
        open: bool,
    },
    Raise {
        template: usize,
        by: i64,
    },
}

/// Most things happen to the first users, so that they meet each other.
fn user() -> impl Strategy<Value = i64> {
    prop_oneof![5 => Just(USERS[0]), 3 => Just(USERS[1]), 1 => Just(USERS[2]), 1 => Just(USERS[3])]
}

fn order() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "c", "d"])
}

fn request() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just("1"), 3 => Just("2"), 1 => Just("3"), 1 => Just("4")]
}

fn place() -> impl Strategy<Value = usize> {
    prop_oneof![12 => 0..NOT_OWN, 1 => NOT_OWN..NOT_OWN + 2]
}

fn places() -> impl Strategy<Value = Places> {
    prop_oneof![3 => prop::collection::vec(place(), 1), 2 => prop::collection::vec(place(), 2..=3)]
}

fn named() -> impl Strategy<Value = Named> {
    prop_oneof![
        4 => Just(Named::None),
        2 => Just(Named::Held),
        1 => places().prop_map(Named::Other),
    ]
}

fn give() -> impl Strategy<Value = Step> {
    let request = select(vec!["1", "2", "3", "4"]);
    let pieces = prop_oneof![4 => Just(1_u32), 1 => 2..=3_u32];
    (user(), 0..TEMPLATES, request, pieces).prop_map(|(user, template, request, pieces)| {
        Step::Give { user, template, request, pieces }
    })
}

fn lock(user: i64, order: &'static str) -> impl Strategy<Value = Step> {
    let ttl = select(vec![MINUTE, 30 * MINUTE, DAY]);
    let amount = prop_oneof![1 => Just(5_000_i64), 6 => Just(30_000)];
    let quoted =
        prop_oneof![6 => Just(Quoted::No), 1 => Just(Quoted::Right), 1 => Just(Quoted::Wrong)];
    (request(), places(), ttl, amount, quoted).prop_map(
        move |(request, coupons, ttl, amount, quoted)| Step::Lock {
            user,
            order,
            request,
            coupons,
            ttl,
            amount,
            quoted,
        },
    )
}

/// What may follow a Lock of the same order.
fn next(user: i64, order: &'static str) -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (request(), named())
            .prop_map(move |(request, named)| Step::Confirm { user, order, request, named }),
        2 => (request(), named())
            .prop_map(move |(request, named)| Step::Cancel { user, order, request, named }),
        3 => request().prop_map(move |request| Step::Restore { user, order, request }),
        2 => lock(user, order),
        1 => Just(Step::Lapse { user, order }),
        1 => Just(Step::Wait),
        2 => world(),
    ]
}

/// An order's life, or a piece of it: at first a Lock, as a rule.
fn life() -> impl Strategy<Value = Vec<Step>> {
    (user(), order()).prop_flat_map(|(user, order)| {
        let first = prop_oneof![9 => lock(user, order).boxed(), 1 => next(user, order).boxed()];
        (first, prop::collection::vec(next(user, order), 0..4)).prop_map(|(first, mut rest)| {
            rest.insert(0, first);
            rest
        })
    })
}

fn void() -> impl Strategy<Value = Step> {
    (user(), place()).prop_map(|(user, coupon)| Step::Void { user, coupon })
}

fn world() -> impl Strategy<Value = Step> {
    let time = select(vec![MS, MINUTE - MS, MINUTE, 29 * MINUTE, 30 * MINUTE, 360 * MINUTE, DAY]);
    prop_oneof![
        6 => time.prop_map(|time| Step::Pass { time }),
        2 => Just(Step::Ring),
        2 => Just(Step::Crash),
        1 => (0..TEMPLATES, prop::bool::weighted(0.7))
            .prop_map(|(template, open)| Step::Open { template, open }),
        1 => (0..TEMPLATES, 1..=3_i64).prop_map(|(template, by)| Step::Raise { template, by }),
    ]
}

/// Mostly commands, now and then a border between groups, now and then the world.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = |step: BoxedStrategy<Step>| step.prop_map(|step| vec![step]);
    let several = prop_oneof![
        16 => one(give().boxed()),
        12 => life(),
        1 => one(void().boxed()),
        2 => one(Just(Step::Cut).boxed()),
        6 => one(Just(Step::Wait).boxed()),
        4 => one(world().boxed()),
    ];
    let first = prop::collection::vec(give(), 3..10);
    (first, prop::collection::vec(several, 1..50)).prop_map(|(mut steps, rest)| {
        steps.push(Step::Wait);
        steps.extend(rest.into_iter().flatten());
        steps
    })
}
