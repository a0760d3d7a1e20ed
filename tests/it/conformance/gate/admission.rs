//! Admission: idempotency, limit, stock, in that order (R9, R46).

use std::sync::Arc;

use coupon_domain::{Rejection, fingerprint::Fingerprint, template::Template};
use coupon_server::gate::{GateClaim, Recall, Verdict};
use futures::future::join_all;

use super::{GateWorld, gate_claim, replayed};
use crate::conformance::fixture::{Offer, refused, users_of_bucket};

// Before the load every claim goes on to the ledger.
pub(crate) async fn nothing_is_known_before_the_load(at: &mut GateWorld) {
    let template = at.world.publish(Offer::default()).await;
    assert_eq!(at.admit(&template, 1, "r").await, Verdict::NotLoaded);
    assert_eq!(at.recall(&template, 1, "r").await, Recall::Unknown);
    at.load(&template).await;
    at.knows_no_win(&template, 1, "r").await;
    assert_eq!(at.admit(&template, 1, "r").await, Verdict::Admitted);
}

// R9: what comes first decides, although the rest applies too.
pub(crate) async fn idempotency_then_limit_then_stock(at: &mut GateWorld) {
    let template = at.loaded(Offer { total: 3, limit: 2, buckets: 1, ..Offer::default() }).await;
    let first = at.win(&template, 1, "a").await;
    let second = at.win(&template, 1, "b").await;
    at.win(&template, 2, "a").await;
    let sold_out = at.give(&template, 9, "r", false).await;
    assert_eq!(refused(&sold_out), Rejection::SoldOut);
    at.proven(&template).await;
    assert_eq!(replayed(at.admit(&template, 1, "a").await), first);
    assert_eq!(replayed(at.admit(&template, 1, "b").await), second);
    let claim = gate_claim(&at.world.claim(&template, 1, "a"));
    let fingerprint = Fingerprint::from_stored(claim.fingerprint.to_stored() ^ 1);
    let other_body = GateClaim { fingerprint, ..claim };
    assert_eq!(at.gate.admit(&template, other_body).await, Verdict::KeyReused);
    assert_eq!(at.gate.recall(&template, other_body).await, Recall::KeyReused);
    assert_eq!(at.admit(&template, 1, "c").await, Verdict::Limit, "before the stock");
    assert_eq!(at.refusal(&template, 2, "c").await, Rejection::SoldOut, "within the limit");
    assert_eq!(at.admit(&template, 3, "a").await, Verdict::SoldOut);
}

// A unit is one claim's, until it is given back.
pub(crate) async fn a_unit_is_set_aside_and_given_back(at: &mut GateWorld) {
    let template = at.loaded(Offer { total: 1, buckets: 1, ..Offer::default() }).await;
    assert_eq!(at.admit(&template, 1, "r").await, Verdict::Admitted);
    assert_eq!(at.admit(&template, 2, "r").await, Verdict::Dry);
    let claim = gate_claim(&at.world.claim(&template, 1, "r"));
    at.gate.give_back(template.id, claim);
    at.gate.give_back(template.id, claim);
    assert_eq!(at.admit(&template, 2, "r").await, Verdict::Admitted);
    assert_eq!(at.admit(&template, 1, "r").await, Verdict::Dry, "given back once");
    assert!(at.give(&template, 2, "r", true).await.is_ok());
}

// R17, R18: the last unit is found, whichever bucket it is in and whoever asks.
pub(crate) async fn the_last_unit_is_found_in_any_bucket(at: &mut GateWorld) {
    for bucket in 0..8 {
        let template = at.loaded(Offer { total: 1, buckets: 8, ..Offer::default() }).await;
        let users = users_of_bucket(8, bucket, 2);
        take(at, &template, users[0]).await;
        if at.traits().shares_stock {
            assert_eq!(at.admit(&template, users[1], "r").await, Verdict::Dry);
        }
        assert_eq!(at.refusal(&template, users[1], "r").await, Rejection::SoldOut);
    }
    let template = at.loaded(Offer { total: 20, buckets: 8, ..Offer::default() }).await;
    for user in users_of_bucket(8, 5, 20) {
        take(at, &template, user).await;
    }
    assert_eq!(at.refusal(&template, 100_000, "r").await, Rejection::SoldOut);
}

/// A claim that wins, whoever finds its unit.
async fn take(at: &GateWorld, template: &Arc<Template>, user: i64) {
    let verdict = at.admit(template, user, "r").await;
    let admitted = verdict == Verdict::Admitted;
    // Pieces that the ledger has moved make a gate whose buckets do not share load itself again.
    let sent_on = matches!(verdict, Verdict::Dry | Verdict::NotLoaded);
    assert!(admitted || (sent_on && !at.traits().shares_stock), "{verdict:?}");
    at.give(template, user, "r", admitted).await.expect("there is a unit");
}

// R18: many at once, over many buckets: exactly the stock is set aside.
pub(crate) async fn no_more_is_admitted_than_there_is(at: &mut GateWorld) {
    let template = at.loaded(Offer { total: 30, buckets: 8, ..Offer::default() }).await;
    let calls = (1..=200).map(|user| {
        let (gate, template) = (Arc::clone(&at.gate), Arc::clone(&template));
        let claim = gate_claim(&at.world.claim(&template, user, "r"));
        tokio::spawn(async move { gate.admit(&template, claim).await })
    });
    let verdicts: Vec<Verdict> =
        join_all(calls).await.into_iter().map(|verdict| verdict.expect("ended")).collect();
    let admitted = verdicts.iter().filter(|verdict| **verdict == Verdict::Admitted).count();
    // A claim that met a bucket while its units were being carried may be sent on as dry.
    assert!(admitted <= 30, "{admitted} of 30");
    assert!(verdicts.iter().all(|one| matches!(one, Verdict::Admitted | Verdict::Dry)));
    let rest = at.admitted(&template, 100_000..100_300).await;
    assert_eq!(admitted + rest, 30, "none is stranded");
}

// "Limit" is said only of coupons that the ledger has.
pub(crate) async fn a_claim_under_way_is_never_a_limit(at: &mut GateWorld) {
    let template = at.loaded(Offer::default()).await;
    assert_eq!(at.admit(&template, 1, "a").await, Verdict::Admitted);
    assert_eq!(at.admit(&template, 1, "a").await, Verdict::Pending);
    assert_eq!(at.admit(&template, 1, "b").await, Verdict::Pending);
    assert_eq!(at.recall(&template, 1, "a").await, Recall::Unknown);
    at.knows_no_win(&template, 1, "b").await;
    assert!(at.give(&template, 1, "a", true).await.is_ok());
    assert_eq!(at.admit(&template, 1, "b").await, Verdict::Limit);
    // The ledger decides between two that went on together.
    assert_eq!(at.admit(&template, 2, "a").await, Verdict::Admitted);
    assert_eq!(at.admit(&template, 2, "b").await, Verdict::Pending);
    let other = at.give(&template, 2, "b", false).await.expect("the ledger knows nothing of it");
    let late = at.give(&template, 2, "a", true).await;
    assert_eq!(refused(&late), Rejection::LimitReached);
    assert_eq!(replayed(at.admit(&template, 2, "b").await), other.coupons[0].id);
    assert_eq!(at.admit(&template, 2, "a").await, Verdict::Limit);
    assert_eq!(at.admitted(&template, 1_000..1_400).await, 98, "the unit of the loser is back");
}

// What is forgotten is asked of the ledger again.
pub(crate) async fn a_forgotten_template_is_loaded_anew(at: &mut GateWorld) {
    let template = at.loaded(Offer { total: 2, buckets: 1, ..Offer::default() }).await;
    let won = at.win(&template, 1, "r").await;
    at.gate.forget(template.id);
    assert_eq!(at.admit(&template, 1, "r").await, Verdict::NotLoaded);
    at.load(&template).await;
    assert_eq!(replayed(at.admit(&template, 1, "r").await), won);
    assert_eq!(at.admitted(&template, 2..9).await, 1);
}
