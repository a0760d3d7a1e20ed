//! Loading: the gate is what the ledger says.

use std::sync::Arc;

use coupon_server::gate::Verdict;
use futures::future::{join, join_all};

use super::{GateWorld, replayed};
use crate::conformance::fixture::Offer;

// R18: a restart in the middle of a sale oversells nothing and strands nothing.
pub(crate) async fn a_load_is_the_ledger_after_a_restart(at: &mut GateWorld) {
    let template = at.loaded(Offer { total: 20, limit: 2, buckets: 2, ..Offer::default() }).await;
    let other = at.loaded(Offer::default()).await;
    let mut won = Vec::new();
    for user in 1..=6 {
        won.push((user, "a", at.win(&template, user, "a").await));
        at.win(&other, user, "a").await;
    }
    won.push((1, "b", at.win(&template, 1, "b").await));
    let issued = at.world.give(at.world.issue(&template, 7, "i", 2)).await.expect("issued");
    // Set aside and never decided: gone with the process, and so is the claim upon it.
    for user in 30..35 {
        assert_eq!(at.admit(&template, user, "r").await, Verdict::Admitted);
    }
    at.restart().await;
    assert_eq!(at.admit(&template, 1, "a").await, Verdict::NotLoaded);
    let ledger = at.world.ledger();
    at.gate.load(ledger, &[Arc::clone(&template), Arc::clone(&other)]).await.expect("loaded");
    for (user, request, coupon) in won {
        assert_eq!(replayed(at.admit(&template, user, request).await), coupon);
    }
    assert!(matches!(at.admit(&template, 7, "i").await, Verdict::KeyReused), "an issue's id");
    assert_eq!(at.admit(&template, 1, "c").await, Verdict::Limit);
    assert_eq!(at.admit(&template, 7, "c").await, Verdict::Limit);
    assert_eq!(issued.coupons.len(), 2);
    assert_eq!(at.admitted(&template, 100..200).await, 20 - 9);
    assert_eq!(at.admitted(&other, 100..500).await, 100 - 6);
}

// What is loaded is not loaded again: units set aside meanwhile would come back.
pub(crate) async fn a_second_load_changes_nothing(at: &mut GateWorld) {
    let template = at.loaded(Offer { total: 3, buckets: 1, ..Offer::default() }).await;
    at.win(&template, 1, "r").await;
    assert_eq!(at.admit(&template, 2, "r").await, Verdict::Admitted);
    at.load(&template).await;
    assert_eq!(at.admit(&template, 2, "r").await, Verdict::Pending);
    assert_eq!(at.admitted(&template, 10..20).await, 1);
}

// More holders than one step of a load reads.
pub(crate) async fn many_holders_are_loaded(at: &mut GateWorld) {
    let template = at.world.publish(Offer { total: 11_000, ..Offer::default() }).await;
    for users in (1..=10_500).collect::<Vec<i64>>().chunks(1_500) {
        let claims = users.iter().map(|user| at.world.claim(&template, *user, "r")).collect();
        let outcomes = at.world.ledger().give(claims).await;
        assert!(outcomes.iter().all(Result::is_ok));
    }
    at.restart().await;
    at.load(&template).await;
    for user in [1, 5_000, 9_999, 10_000, 10_001, 10_500] {
        assert!(matches!(at.admit(&template, user, "r").await, Verdict::Replay(_)), "{user}");
    }
    assert_eq!(at.admitted(&template, 20_000..22_000).await, 500);
}

// Claims that pass while the template is being loaded are known afterwards, whichever came first;
// whatever the gate makes of the stock meanwhile, all of it is sold and no more.
pub(crate) async fn outcomes_during_a_load_are_kept(at: &mut GateWorld) {
    for round in 0..5 {
        let template = at.world.publish(Offer { total: 50, ..Offer::default() }).await;
        let give = |user: i64| at.give(&template, user, "r", false);
        let claims = join_all((1..=20).map(give));
        let (_, outcomes) = join(at.load(&template), claims).await;
        assert!(outcomes.iter().all(Result::is_ok), "round {round}");
        for user in 1..=20 {
            assert!(matches!(at.admit(&template, user, "r").await, Verdict::Replay(_)));
        }
        let mut won = 20;
        for user in 100..200 {
            let verdict = at.admit(&template, user, "r").await;
            if verdict != Verdict::SoldOut {
                let holds_unit = verdict == Verdict::Admitted;
                won += i64::from(at.give(&template, user, "r", holds_unit).await.is_ok());
            }
        }
        assert_eq!((won, at.world.stock(template.id).await), (50, (50, 50)), "round {round}");
    }
}
