//! Giving: wins, replays, limits, groups.

use std::{sync::Arc, time::Instant};

use coupon_domain::{Rejection, fingerprint::Fingerprint};
use coupon_server::ledger::{Given, LedgerError, NotGiven};
use futures::future::join_all;

use crate::conformance::fixture::{Offer, Shape, World, refused, user_id};

fn numbers(given: &Given) -> Vec<i64> {
    given.coupons.iter().map(|coupon| coupon.claim_no).collect()
}

// R10, I3: what was answered as won is there, as answered, in the next process.
pub(crate) async fn a_win_outlives_the_process(world: &mut World) {
    let template = world.publish(Offer::default()).await;
    let won = world.win(&template, 7, "r").await;
    world.restart().await;
    assert_eq!(world.held(7, template.id).await, [won]);
    let stored = world.coupon(7, won.id).await.coupon;
    assert_eq!((stored.user, stored.template), (user_id(7), template.id));
    assert_eq!((stored.claim_no, stored.claimed_at), (1, world.now));
    assert_eq!(stored.valid_until, template.validity(world.now).valid_until);
    let again = world.give(world.claim(&template, 7, "r")).await.expect("replayed");
    assert_eq!(again, Given { coupons: vec![won], replayed: true });
    let later = world.win(&template, 10_007, "r").await;
    assert!(later.id > won.id, "ids of one slot grow over restarts");
}

// R10, R61: a resend is answered the first outcome, another body is not.
pub(crate) async fn a_request_is_answered_once(world: &mut World) {
    let template = world.publish(Offer { limit: 3, ..Offer::default() }).await;
    let won = world.win(&template, 7, "r").await;
    for _ in 0..3 {
        let again = world.give(world.claim(&template, 7, "r")).await.expect("replayed");
        assert_eq!(again, Given { coupons: vec![won], replayed: true });
    }
    let mut other = world.claim(&template, 7, "r");
    other.fingerprint = Fingerprint::from_stored(other.fingerprint.to_stored() ^ 1);
    assert_eq!(refused(&world.give(other).await), Rejection::IdempotencyKeyReused);
    // The id is scoped to user and template.
    assert_ne!(world.win(&template, 8, "r").await.id, won.id);
    let sibling = world.publish(Offer::default()).await;
    assert_ne!(world.win(&sibling, 7, "r").await.id, won.id);
    assert_eq!(world.stock(template.id).await.1, 2);
}

// R46: no second claim where one is allowed.
pub(crate) async fn a_user_gets_no_more_than_the_limit(world: &mut World) {
    let template = world.publish(Offer::default()).await;
    let won = world.win(&template, 7, "r1").await;
    for request in ["r2", "r3"] {
        let second = world.give(world.claim(&template, 7, request)).await;
        assert_eq!(refused(&second), Rejection::LimitReached);
    }
    world.restart().await;
    assert_eq!(
        refused(&world.give(world.claim(&template, 7, "r4")).await),
        Rejection::LimitReached
    );
    assert_eq!(world.held(7, template.id).await, [won]);
    assert_eq!(world.stock(template.id).await, (100, 1));
}

// R45: a user's coupons of a template are numbered without gaps, claims and issues together.
pub(crate) async fn claim_numbers_are_dense_up_to_the_limit(world: &mut World) {
    let template = world.publish(Offer { limit: 5, ..Offer::default() }).await;
    assert_eq!(world.win(&template, 7, "r1").await.claim_no, 1);
    let two = world.give(world.issue(&template, 7, "r2", 2)).await.expect("given");
    assert_eq!(numbers(&two), [2, 3]);
    world.restart().await;
    assert_eq!(world.win(&template, 7, "r3").await.claim_no, 4);
    assert_eq!(world.win(&template, 7, "r4").await.claim_no, 5);
    let beyond = world.give(world.claim(&template, 7, "r5")).await;
    assert_eq!(refused(&beyond), Rejection::LimitReached);
    let again = world.give(world.issue(&template, 7, "r2", 2)).await.expect("replayed");
    assert_eq!(again, Given { replayed: true, ..two });
    assert_eq!(world.stock(template.id).await.1, 5);
}

// R44: the pieces of one user are given all or none.
pub(crate) async fn pieces_come_all_or_none(world: &mut World) {
    let template = world.publish(Offer { limit: 4, total: 6, ..Offer::default() }).await;
    let three = world.give(world.issue(&template, 7, "r1", 3)).await.expect("given");
    assert_eq!(numbers(&three), [1, 2, 3]);
    let beyond = world.give(world.issue(&template, 7, "r2", 2)).await;
    assert_eq!(refused(&beyond), Rejection::LimitReached);
    let scarce = world.give(world.issue(&template, 8, "r1", 4)).await;
    assert_eq!(refused(&scarce), Rejection::SoldOut);
    assert_eq!(world.held(8, template.id).await, []);
    assert_eq!(world.stock(template.id).await, (6, 3));
    let exact = world.give(world.issue(&template, 8, "r1", 3)).await.expect("a refusal is no win");
    assert_eq!((numbers(&exact), exact.replayed), (vec![1, 2, 3], false));
    assert_eq!(world.stock(template.id).await, (6, 6));
}

// R10: a request that came several times in one call.
pub(crate) async fn duplicates_in_one_call_win_once(world: &mut World) {
    for limit in [1, 3] {
        let template = world.publish(Offer { limit, ..Offer::default() }).await;
        let commands = vec![world.claim(&template, 7, "r"); 5];
        let outcomes = world.ledger().give(commands).await;
        let given: Vec<&Given> =
            outcomes.iter().map(|outcome| outcome.as_ref().expect("won or replayed")).collect();
        assert_eq!(given.iter().filter(|given| !given.replayed).count(), 1);
        assert!(given.iter().all(|one| one.coupons == given[0].coupons));
        assert_eq!(world.stock(template.id).await.1, 1);
    }
}

// R10, R61, F21: one win, 99 replays.
pub(crate) async fn a_hundred_calls_with_one_id_win_once(world: &mut World) {
    let template = world.publish(Offer { limit: 2, ..Offer::default() }).await;
    let command = world.claim(&template, 7, "r");
    let calls = (0..100).map(|_| {
        let (ledger, command) = (Arc::clone(world.ledger()), command.clone());
        tokio::spawn(async move { ledger.give(vec![command]).await.remove(0) })
    });
    let outcomes = join_all(calls).await;
    let given: Vec<Given> =
        outcomes.into_iter().map(|outcome| outcome.expect("ended").expect("given")).collect();
    assert_eq!(given.iter().filter(|given| !given.replayed).count(), 1);
    assert!(given.iter().all(|one| one.coupons == given[0].coupons));
    assert_eq!(world.held(7, template.id).await, given[0].coupons);
}

// R46: the limit holds inside one group too.
pub(crate) async fn two_requests_of_one_user_share_a_call(world: &mut World) {
    for limit in [1, 2] {
        let template = world.publish(Offer { limit, ..Offer::default() }).await;
        let claim = |request| world.claim(&template, 7, request);
        let outcomes = world.ledger().give(vec![claim("a"), claim("b"), claim("c")]).await;
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(i32::try_from(won), Ok(limit));
        for lost in outcomes.iter().filter(|outcome| outcome.is_err()) {
            assert_eq!(refused(lost), Rejection::LimitReached);
        }
        let held = world.held(7, template.id).await;
        let dense: Vec<i64> = (1..=i64::from(limit)).collect();
        assert_eq!(held.iter().map(|coupon| coupon.claim_no).collect::<Vec<_>>(), dense);
    }
}

// R9: every member of a call has its own outcome, in the order of the call.
pub(crate) async fn neighbours_are_judged_each_by_itself(world: &mut World) {
    let open = world.publish(Offer::default()).await;
    let scarce = world.publish(Offer { total: 1, ..Offer::default() }).await;
    let closed = world.publish(Offer::default()).await;
    world.ledger().set_open(closed.id, false).await.expect("closed");
    world.win(&open, 1, "first").await;
    let mut late = world.claim(&open, 5, "r");
    late.deadline = Instant::now();
    let commands = vec![
        world.claim(&open, 1, "second"),
        world.claim(&scarce, 2, "r"),
        world.claim(&open, 1, "first"),
        world.claim(&closed, 4, "r"),
        late,
        world.claim(&scarce, 3, "r"),
        world.claim(&open, 6, "r"),
    ];
    let outcomes = world.ledger().give(commands).await;
    assert_eq!(refused(&outcomes[0]), Rejection::LimitReached);
    // Which of the two is faster is the ledger's own affair.
    let scarce = [&outcomes[1], &outcomes[5]];
    assert_eq!(scarce.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let lost = scarce.into_iter().find(|outcome| outcome.is_err()).expect("one lost");
    assert_eq!(refused(lost), Rejection::SoldOut);
    assert!(outcomes[2].as_ref().is_ok_and(|given| given.replayed));
    assert_eq!(outcomes[3], Err(NotGiven::Closed));
    assert_eq!(outcomes[4], Err(LedgerError::Late.into()));
    assert!(outcomes[6].as_ref().is_ok_and(|given| !given.replayed));
}

// I10: nothing starts after its caller's deadline.
pub(crate) async fn what_comes_too_late_is_not_begun(world: &mut World) {
    let template = world.publish(Offer::default()).await;
    let mut late = world.claim(&template, 7, "r");
    late.deadline = Instant::now();
    assert_eq!(world.give(late).await, Err(LedgerError::Late.into()));
    assert_eq!(world.held(7, template.id).await, []);
    assert_eq!(world.stock(template.id).await, (100, 0));
    assert_eq!(world.win(&template, 7, "r").await.claim_no, 1);
}

// R21: a full queue says so at once, and what it refused was not tried.
pub(crate) async fn a_full_queue_refuses_at_once(world: &mut World) {
    world.restart_with(Shape { group_max: 1, queue_max: 1 }).await;
    let template = world.publish(Offer { total: 1_000, ..Offer::default() }).await;
    let calls = (1..=200).map(|user| world.give(world.claim(&template, user, "r")));
    let outcomes = join_all(calls).await;
    let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(won > 0, "the queue takes as many as it holds");
    assert!(won < 200, "200 calls at once do not fit into a queue of one");
    for (user, outcome) in (1..).zip(&outcomes) {
        let held = world.held(user, template.id).await;
        assert_eq!(held.len(), usize::from(outcome.is_ok()), "{outcome:?}");
        if let Err(error) = outcome {
            let overloaded = matches!(error, NotGiven::Failed(LedgerError::Overloaded(_)));
            assert!(overloaded, "{error:?}");
        }
    }
    assert_eq!(usize::try_from(world.stock(template.id).await.1), Ok(won));
}

// The effect belongs to the ledger: a caller that goes away loses the answer, nothing else.
pub(crate) async fn a_caller_that_leaves_loses_only_the_answer(world: &mut World) {
    let template = world.publish(Offer::default()).await;
    let mut call = Box::pin(world.give(world.claim(&template, 7, "r")));
    let _ = futures::poll!(call.as_mut());
    drop(call);
    let again = world.give(world.claim(&template, 7, "r")).await.expect("replayed");
    assert!(again.replayed, "the first call was accepted and carried out");
    assert_eq!(world.stock(template.id).await.1, 1);
}

// The gate learns every outcome, before the callers do.
pub(crate) async fn every_outcome_is_settled_once(world: &mut World) {
    let template = world.publish(Offer { total: 2, ..Offer::default() }).await;
    let commands: Vec<_> = (1..=4).map(|user| world.claim(&template, user, "r")).collect();
    let outcomes = world.ledger().give(commands).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2);
    assert!((1..=4).all(|user| world.heard.outcomes(user, "r") == 1));
    let winner = (1..).zip(&outcomes).find(|(_, outcome)| outcome.is_ok()).expect("two won").0;
    let again = world.give(world.claim(&template, winner, "r")).await;
    assert!(again.is_ok());
    assert_eq!(world.heard.outcomes(winner, "r"), 2);
}
