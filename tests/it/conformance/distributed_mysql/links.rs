//! Links to a shard that break or go silent.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use coupon_domain::ids::CouponId;
use coupon_server::ledger::{Given, LedgerError, NotGiven, NotRedeemed};
use coupon_tests::chaos::proxy::{Mode, Proxy};

use super::insist;
use crate::conformance::{
    fixture::{Offer, World},
    mysql::{DEFAULT, MySql},
};

/// A ledger whose only shard is behind a proxy.
async fn behind_a_proxy(statement_timeout_ms: u64) -> (World, Proxy) {
    let mut mysql = MySql::sharded(1).await.expect("databases");
    let shard = &mut mysql.config.mysql.shard_urls[0];
    let url: String = shard.split('?').next().unwrap_or_default().to_owned();
    let (head, rest) = url.split_once('@').expect("an account");
    let (server, database) = rest.split_once('/').expect("a database");
    let proxy = Proxy::start(server).await.expect("a proxy");
    *shard = format!("{head}@{}/{database}", proxy.addr());
    mysql.config.mysql.statement_timeout_ms = statement_timeout_ms;
    mysql.config.mysql.acquire_timeout_ms = 5_000;
    mysql.config.mysql.idle_transaction_s = 2;
    (World::start(Box::new(mysql), DEFAULT, None, None).await, proxy)
}

/// Whether the answer says that nobody knows.
fn is_unknown(outcome: &Result<Given, NotGiven>) -> bool {
    matches!(outcome, Err(NotGiven::Failed(LedgerError::Unknown(_))))
}

// F11: links that break when COMMIT was sent, before it is answered: whoever is told that he has won
// has, nobody is told that he has lost, and a resend settles the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_not_answered_is_settled() {
    let (world, proxy) = behind_a_proxy(10_000).await;
    let template = world.publish(Offer { total: 1_000, limit: 2, ..Offer::default() }).await;
    proxy.set(Mode::CutAfterCommit(500));
    let mut first = Vec::new();
    for user in 1..=40 {
        first.push(world.give(world.claim(&template, user, "r")).await);
    }
    assert!(proxy.cuts() > 0, "some commits were cut");
    proxy.set(Mode::Pass);
    assert!(first.iter().all(|outcome| outcome.is_ok() || is_unknown(outcome)), "{first:?}");
    for (user, outcome) in (1..).zip(&first) {
        let again = world.give(world.claim(&template, user, "r")).await.expect("settled");
        if let Ok(won) = outcome {
            assert_eq!(again.coupons, won.coupons);
            assert!(again.replayed);
        }
        assert_eq!(
            world.held(user, template.id).await,
            again.coupons,
            "one coupon for one request"
        );
    }
    assert_eq!(world.stock(template.id).await.1, 40);
    world.finish().await;
}

// F11 for orders: each command repeats by request id or state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_whose_commits_are_not_answered_are_settled() {
    let (world, proxy) = behind_a_proxy(10_000).await;
    let template = world.publish(Offer::default()).await;
    let mut coupons: Vec<(i64, CouponId)> = Vec::new();
    for user in 1..=20 {
        coupons.push((user, world.win(&template, user, "r").await.id));
    }
    proxy.set(Mode::CutAfterCommit(400));
    let unknown =
        |error: &NotRedeemed| matches!(error, NotRedeemed::Failed(LedgerError::Unknown(_)));
    for (user, coupon) in &coupons {
        let locked = world.lock(*user, "o", "lock", &[*coupon]).await;
        assert!(locked.is_ok() || locked.as_ref().is_err_and(unknown), "{locked:?}");
    }
    assert!(proxy.cuts() > 0, "some commits were cut");
    proxy.set(Mode::Pass);
    for (user, coupon) in &coupons {
        world.lock(*user, "o", "lock", &[*coupon]).await.expect("locked by now");
        world.confirm(*user, "o", "paid").await.expect("confirmed");
    }
    world.finish().await;
}

// F10, F13: a server that does not answer holds nobody for ever, and when it does again, so do we.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_is_given_up() {
    let (world, proxy) = behind_a_proxy(300).await;
    let template = world.publish(Offer { limit: 5, ..Offer::default() }).await;
    world.win(&template, 7, "before").await;
    proxy.set(Mode::BlackHole);
    let began = Instant::now();
    let calls = (1..=8).map(|user| {
        let (ledger, mut claim) = (Arc::clone(world.ledger()), world.claim(&template, user, "r"));
        claim.deadline = Instant::now() + Duration::from_secs(3);
        tokio::spawn(async move { ledger.give(vec![claim]).await.remove(0) })
    });
    for outcome in futures::future::join_all(calls).await {
        let outcome = outcome.expect("ended");
        let unavailable = matches!(outcome, Err(NotGiven::Failed(LedgerError::Unavailable(_))));
        assert!(unavailable || is_unknown(&outcome), "{outcome:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    proxy.set(Mode::Pass);
    for user in 1..=8 {
        insist(&world, &world.claim(&template, user, "r")).await.expect("given");
        assert_eq!(world.held(user, template.id).await.len(), if user == 7 { 2 } else { 1 });
    }
    world.finish().await;
}
