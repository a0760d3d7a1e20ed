//! What the gate learns from the ledger's outcomes.

use std::sync::Arc;

use coupon_domain::Rejection;
use coupon_server::{
    gate::{Recall, Verdict},
    ledger::{LedgerError, NotGiven},
};

use super::{GateWorld, replayed};
use crate::conformance::fixture::{Heard, Offer, refused};

fn unknown() -> NotGiven {
    LedgerError::Unknown("the commit was not answered".to_owned()).into()
}

// R10: a win is answered again without the ledger.
pub(crate) async fn a_win_is_replayed(at: &mut GateWorld) {
    let template = at.loaded(Offer { limit: 3, ..Offer::default() }).await;
    let won = [at.win(&template, 1, "a").await, at.win(&template, 1, "b").await];
    for (request, coupon, number) in [("a", won[0], 1), ("b", won[1], 2)] {
        let Verdict::Replay(holding) = at.admit(&template, 1, request).await else {
            panic!("not a replay")
        };
        assert_eq!((holding.coupon.id, holding.coupon.claim_no), (coupon, number));
        assert_eq!(holding.coupon.claimed_at, at.world.now);
        let Recall::Replay(recalled) = at.recall(&template, 1, request).await else {
            panic!("not recalled")
        };
        assert_eq!(recalled.coupon, holding.coupon);
    }
    at.knows_no_win(&template, 2, "a").await;
}

// R44: only the ledger's proof makes it "sold out"; until then an empty gate is merely dry.
pub(crate) async fn sold_out_is_said_only_when_proven(at: &mut GateWorld) {
    let template = at.loaded(Offer { total: 2, buckets: 1, ..Offer::default() }).await;
    at.win(&template, 1, "r").await;
    assert_eq!(at.admit(&template, 2, "r").await, Verdict::Admitted);
    assert_eq!(at.admit(&template, 3, "r").await, Verdict::Dry, "a unit is only set aside");
    at.give(&template, 2, "r", true).await.expect("won");
    assert_eq!(at.admit(&template, 3, "r").await, Verdict::Dry, "nobody has asked the ledger");
    assert_eq!(refused(&at.give(&template, 3, "r", false).await), Rejection::SoldOut);
    at.proven(&template).await;
    for user in 3..20 {
        assert_eq!(at.admit(&template, user, "r").await, Verdict::SoldOut);
    }
    assert!(matches!(at.admit(&template, 1, "r").await, Verdict::Replay(_)));
    assert_eq!(at.admit(&template, 2, "other").await, Verdict::Limit);
}

// The proof holds for exactly one total.
pub(crate) async fn a_raised_total_ends_sold_out(at: &mut GateWorld) {
    let template = at.loaded(Offer { total: 1, buckets: 1, ..Offer::default() }).await;
    at.win(&template, 1, "r").await;
    assert_eq!(refused(&at.give(&template, 2, "r", false).await), Rejection::SoldOut);
    at.proven(&template).await;
    assert_eq!(at.admit(&template, 2, "r").await, Verdict::SoldOut);
    let raised = at.world.raise(&template, 2).await;
    assert_eq!(at.admit(&raised, 2, "r").await, Verdict::Dry, "on to the ledger, which has one");
    at.gate.forget(template.id);
    at.load(&raised).await;
    at.win(&raised, 2, "r").await;
    assert_eq!(at.admit(&raised, 3, "r").await, Verdict::Dry);
}

// Unknown is not failed: nothing is given back, and nobody is told a guess.
pub(crate) async fn an_unknown_outcome_is_left_alone(at: &mut GateWorld) {
    let template = at.loaded(Offer { total: 1, buckets: 1, ..Offer::default() }).await;
    assert_eq!(at.admit(&template, 1, "r").await, Verdict::Admitted);
    at.pretend(&template, 1, "r", true, unknown());
    assert_eq!(at.admit(&template, 2, "r").await, Verdict::Dry, "its unit stays set aside");
    assert_eq!(at.admit(&template, 1, "r").await, Verdict::Pending);
    assert_eq!(at.admit(&template, 1, "other").await, Verdict::Pending);
    assert_eq!(at.recall(&template, 1, "r").await, Recall::Unknown);
}

// Replays come before stock: who may have won without the gate knowing is never "sold out".
pub(crate) async fn an_unknown_outcome_without_a_unit_is_never_sold_out(at: &mut GateWorld) {
    let template = at.loaded(Offer { total: 1, buckets: 1, ..Offer::default() }).await;
    // Two go on to the ledger past a dry gate; the first wins, and its answer is lost.
    assert_eq!(at.admit(&template, 9, "r").await, Verdict::Admitted);
    assert_eq!(at.admit(&template, 1, "r").await, Verdict::Dry);
    let settle = Arc::clone(&at.settle);
    at.world.restart_with_settle(Arc::new(Heard::default())).await;
    at.world.win(&template, 1, "r").await;
    at.pretend(&template, 1, "r", false, unknown());
    at.world.restart_with_settle(settle).await;
    assert_eq!(refused(&at.give(&template, 2, "r", false).await), Rejection::SoldOut);
    // The gate reads who has won in the ledger that it was loaded from.
    at.load(&template).await;
    at.proven(&template).await;
    assert_eq!(at.admit(&template, 3, "r").await, Verdict::SoldOut);
    assert_eq!(at.admit(&template, 1, "r").await, Verdict::Pending);
    assert_eq!(at.recall(&template, 1, "r").await, Recall::Unknown);
}

// A resend of the same request settles what was unknown, whichever way it went.
pub(crate) async fn a_resend_settles_an_unknown_outcome(at: &mut GateWorld) {
    let template = at.loaded(Offer { total: 3, buckets: 1, ..Offer::default() }).await;
    // It had been won.
    assert_eq!(at.admit(&template, 1, "r").await, Verdict::Admitted);
    let settle = Arc::clone(&at.settle);
    at.world.restart_with_settle(Arc::new(Heard::default())).await;
    let won = at.world.win(&template, 1, "r").await.id;
    at.pretend(&template, 1, "r", true, unknown());
    // It had been lost.
    assert_eq!(at.admit(&template, 2, "r").await, Verdict::Admitted);
    at.pretend(&template, 2, "r", true, unknown());
    at.world.restart_with_settle(settle).await;
    for user in [1, 2] {
        assert_eq!(at.admit(&template, user, "r").await, Verdict::Pending);
        let given = at.give(&template, user, "r", false).await.expect("settled");
        assert_eq!(given.replayed, user == 1);
        assert_eq!(replayed(at.admit(&template, user, "r").await), given.coupons[0].id);
        assert_eq!(at.admit(&template, user, "other").await, Verdict::Limit);
    }
    assert_eq!(at.world.held(1, template.id).await[0].id, won);
    assert_eq!(at.admitted(&template, 10..20).await, 1, "one of three is left");
}

// What is known to have come to nothing gives its unit back.
pub(crate) async fn a_definite_loss_returns_the_unit(at: &mut GateWorld) {
    let template = at.loaded(Offer { total: 1, buckets: 1, ..Offer::default() }).await;
    let losses: [NotGiven; 4] = [
        LedgerError::Late.into(),
        LedgerError::Overloaded("a queue").into(),
        LedgerError::Unavailable("down".to_owned()).into(),
        NotGiven::Closed,
    ];
    for (user, loss) in (1..).zip(losses) {
        assert_eq!(at.admit(&template, user, "r").await, Verdict::Admitted, "after {loss:?}");
        at.pretend(&template, user, "r", true, loss.clone());
        at.pretend(&template, user, "r", true, loss);
    }
    assert_eq!(at.admitted(&template, 10..20).await, 1, "given back once each");
}

// Claims that were not admitted and won all the same take from what the gate has.
pub(crate) async fn wins_past_the_gate_use_up_its_stock(at: &mut GateWorld) {
    let template = at.loaded(Offer { total: 4, buckets: 1, limit: 2, ..Offer::default() }).await;
    at.give(&template, 1, "r", false).await.expect("won");
    let issued = at.world.give(at.world.issue(&template, 2, "i", 2)).await.expect("issued");
    assert_eq!(at.admitted(&template, 10..20).await, 1);
    assert!(matches!(at.admit(&template, 1, "r").await, Verdict::Replay(_)));
    assert_eq!(at.admit(&template, 2, "r").await, Verdict::Limit);
    let again = at.world.give(at.world.issue(&template, 2, "i", 2)).await.expect("replayed");
    assert_eq!((again.replayed, again.coupons), (true, issued.coupons));
}

// Two are left and three were wanted: that says nothing to who wants one.
pub(crate) async fn a_large_issue_proves_nothing_for_one(at: &mut GateWorld) {
    let template = at.loaded(Offer { total: 2, limit: 3, ..Offer::default() }).await;
    let large = at.world.give(at.world.issue(&template, 1, "i", 3)).await;
    assert_eq!(refused(&large), Rejection::SoldOut);
    for user in [2, 3] {
        let verdict = at.admit(&template, user, "r").await;
        // A gate that saw the ledger move pieces may want to be loaded first.
        let goes_on = matches!(verdict, Verdict::Admitted | Verdict::Dry | Verdict::NotLoaded);
        assert!(goes_on, "{verdict:?}");
        let holds_unit = verdict == Verdict::Admitted;
        at.give(&template, user, "r", holds_unit).await.expect("won");
    }
    assert_eq!(at.world.stock(template.id).await, (2, 2));
}
