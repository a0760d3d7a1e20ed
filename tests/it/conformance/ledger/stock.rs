//! Stock: never oversold, never stranded.

use std::{collections::HashSet, sync::Arc};

use coupon_domain::{Rejection, stock::deal};
use coupon_server::ledger::{Granted, NotGiven};
use futures::future::join_all;

use crate::conformance::fixture::{Offer, World, refused, users_of_bucket};

// R17, R18, R44, I1: many at once, over many buckets: exactly the total is won, and who is told
// "sold out" is told so when it is true.
pub(crate) async fn the_last_piece_is_found_and_no_more(world: &mut World) {
    let offer = || Offer { total: 60, buckets: 8, ..Offer::default() };
    let templates = [world.publish(offer()).await, world.publish(offer()).await];
    let mut calls = Vec::new();
    for template in &templates {
        for user in 1..=150_i64 {
            let (ledger, command) =
                (Arc::clone(world.ledger()), world.claim(template, user * 7, "r"));
            calls.push(tokio::spawn(async move { ledger.give(vec![command]).await.remove(0) }));
        }
    }
    let outcomes: Vec<_> =
        join_all(calls).await.into_iter().map(|outcome| outcome.expect("ended")).collect();
    let mut ids = HashSet::new();
    for (template, outcomes) in templates.iter().zip(outcomes.chunks(150)) {
        let won: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
        assert_eq!(won.len(), 60);
        ids.extend(won.iter().map(|given| given.coupons[0].id));
        for lost in outcomes.iter().filter(|outcome| outcome.is_err()) {
            assert_eq!(refused(lost), Rejection::SoldOut);
        }
        assert_eq!(world.stock(template.id).await, (60, 60));
    }
    assert_eq!(ids.len(), 120, "no coupon is given twice");
}

// R18: a dry sub-stock is filled from the others, down to the last piece.
pub(crate) async fn one_bucket_draws_on_the_others(world: &mut World) {
    for total in [1, 37] {
        let template = world.publish(Offer { total, buckets: 4, ..Offer::default() }).await;
        let users = users_of_bucket(4, 3, usize::try_from(total).expect("few") + 1);
        let (last, first) = users.split_last().expect("at least two");
        for user in first {
            world.win(&template, *user, "r").await;
        }
        let beyond = world.give(world.claim(&template, *last, "r")).await;
        assert_eq!(refused(&beyond), Rejection::SoldOut);
        assert_eq!(world.stock(template.id).await, (total, total));
    }
}

// R18: the pieces of one call come together from several buckets, and what is left is still given.
pub(crate) async fn sold_out_means_fewer_left_than_wanted(world: &mut World) {
    let offer = Offer { total: 10, buckets: 5, limit: 10, ..Offer::default() };
    let template = world.publish(offer).await;
    let seven = world.give(world.issue(&template, 1, "r", 7)).await.expect("given");
    assert_eq!(seven.coupons.len(), 7);
    let beyond = world.give(world.issue(&template, 2, "r", 4)).await;
    assert_eq!(refused(&beyond), Rejection::SoldOut);
    let outcomes = world
        .ledger()
        .give(vec![
            world.issue(&template, 3, "r", 4),
            world.issue(&template, 4, "r", 2),
            world.issue(&template, 5, "r", 2),
            world.claim(&template, 6, "r"),
        ])
        .await;
    // Three are left: whichever of the two who want two is faster gets them.
    let mut won: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    won[1..=2].sort_unstable();
    assert_eq!(won, [false, false, true, true]);
    assert_eq!(world.stock(template.id).await, (10, 10));
}

// R10: a replay is judged first, whatever has happened since.
pub(crate) async fn a_replay_is_answered_when_sold_out_or_closed(world: &mut World) {
    let template = world.publish(Offer { total: 2, ..Offer::default() }).await;
    let won = [world.win(&template, 1, "r").await, world.win(&template, 2, "r").await];
    let sold_out = world.give(world.claim(&template, 3, "r")).await;
    assert_eq!(refused(&sold_out), Rejection::SoldOut);
    let limit = world.give(world.claim(&template, 1, "other")).await;
    assert_eq!(refused(&limit), Rejection::LimitReached, "the limit comes before the stock");
    for open in [true, false] {
        world.ledger().set_open(template.id, open).await.expect("set");
        let commands = (1..=2).map(|user| world.claim(&template, user, "r")).collect();
        for (outcome, won) in world.ledger().give(commands).await.into_iter().zip(&won) {
            let given = outcome.expect("replayed");
            assert_eq!((given.replayed, given.coupons), (true, vec![*won]));
        }
    }
}

// When closing answers, every later group obeys, and what is under way decides nothing after it.
pub(crate) async fn nothing_is_given_once_closed(world: &mut World) {
    let template = world.publish(Offer { total: 1_000, ..Offer::default() }).await;
    let calls: Vec<_> = (1..=300)
        .map(|user| {
            let (ledger, command) = (Arc::clone(world.ledger()), world.claim(&template, user, "r"));
            tokio::spawn(async move { ledger.give(vec![command]).await.remove(0) })
        })
        .collect();
    world.ledger().set_open(template.id, false).await.expect("closed");
    let issued = world.stock(template.id).await.1;
    let outcomes: Vec<_> =
        join_all(calls).await.into_iter().map(|outcome| outcome.expect("ended")).collect();
    let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(usize::try_from(issued), Ok(won), "nothing was won after the answer");
    for lost in outcomes.iter().filter(|outcome| outcome.is_err()) {
        assert_eq!(lost, &Err(NotGiven::Closed));
    }
    let later = world.give(world.claim(&template, 301, "r")).await;
    assert_eq!(later, Err(NotGiven::Closed));
    world.restart().await;
    let later = world.give(world.issue(&template, 301, "r", 1)).await;
    assert_eq!(later, Err(NotGiven::Closed));
    world.ledger().set_open(template.id, true).await.expect("opened");
    world.win(&template, 301, "r").await;
    assert_eq!(usize::try_from(world.stock(template.id).await.1), Ok(won + 1));
}

// R17: stock is dealt out evenly, closed at first, and a repeated grant changes nothing.
pub(crate) async fn a_grant_arrives_once(world: &mut World) {
    let template = world.publish(Offer { total: 10, buckets: 4, ..Offer::default() }).await;
    let dealt = |total: i64, shards: u16| {
        let shares = deal(total, usize::from(shards));
        shares.into_iter().flat_map(|share| deal(share, 4)).collect::<Vec<_>>()
    };
    let granted = |rows: Vec<(u16, coupon_domain::stock::Bucket)>| {
        rows.into_iter().map(|(_, row)| row.granted).collect::<Vec<_>>()
    };
    let rows = world.ledger().buckets(template.id).await.expect("buckets");
    assert!(rows.iter().all(|(_, row)| row.open && row.issued == 0));
    assert_eq!(granted(rows), dealt(10, world.ledger().shards()));
    for total in [10, 7] {
        let again = world.ledger().grant(template.id, 9, total).await;
        assert_eq!(again, Ok(Granted { buckets: 4, pieces: 0 }), "the first number stands");
        world.restart().await;
    }
    let rows = world.ledger().buckets(template.id).await.expect("buckets");
    assert_eq!(granted(rows), dealt(10, world.ledger().shards()));
    let raised = world.raise(&template, 15).await;
    assert_eq!(world.stock(template.id).await, (15, 0));
    let rows = world.ledger().buckets(template.id).await.expect("buckets");
    assert!(rows.iter().all(|(_, row)| row.open), "a raise leaves open what is open");
    let grants = (16..=40).map(|total| {
        let (ledger, id) = (Arc::clone(world.ledger()), template.id);
        tokio::spawn(async move { ledger.grant(id, 4, total).await.expect("granted").pieces })
    });
    let added: i64 = join_all(grants).await.into_iter().map(|added| added.expect("ended")).sum();
    assert_eq!(added, 25, "grants at once add up to the largest total");
    let raised = world.raise_in_catalog(&raised, 40).await;
    world.raise(&raised, 41).await;
    let rows = world.ledger().buckets(template.id).await.expect("buckets");
    assert_eq!(granted(rows), dealt(41, world.ledger().shards()), "raises leave it even");
}

// R44: "sold out" is true for one total alone.
pub(crate) async fn a_raised_total_sells_again(world: &mut World) {
    let template = world.publish(Offer { total: 1, ..Offer::default() }).await;
    world.win(&template, 1, "r").await;
    let sold_out = world.give(world.claim(&template, 2, "r")).await;
    assert_eq!(refused(&sold_out), Rejection::SoldOut);
    let raised = world.raise(&template, 3).await;
    world.win(&raised, 2, "r").await;
    world.win(&raised, 3, "r").await;
    let sold_out = world.give(world.claim(&raised, 4, "r")).await;
    assert_eq!(refused(&sold_out), Rejection::SoldOut);
    assert_eq!(world.stock(template.id).await, (3, 3));
}
