//! The same of meta and shards on real MySQL or MariaDB servers.

use std::{collections::HashSet, sync::Arc, time::Duration};

use coupon_domain::template::TemplateState;
use coupon_server::{
    backend::Databases,
    catalog::{Catalog, NamedShard, Primary as _, PrimaryClock, Renewal, SlotMapError},
    clock::wall_millis,
    mint::Mint,
    worker::lease::new_holder,
};

use super::templates::{draft, into_state, recorded};
use crate::conformance::mysql::MySql;

const LEASE: Duration = Duration::from_secs(10);

/// Another node's catalog.
fn catalog(databases: &Databases) -> Arc<Catalog> {
    Arc::new(Catalog::new(databases.meta.clone(), 100, Duration::from_secs(60)))
}

fn named(databases: &Databases) -> Vec<NamedShard> {
    let shard = |(number, shard): (usize, &coupon_server::ledger::sql::ShardConnections)| {
        NamedShard { name: format!("shard {number}"), db: shard.write.clone() }
    };
    databases.shards.iter().enumerate().map(shard).collect()
}

#[tokio::test]
async fn numbers_and_loops_have_one_holder() {
    let mysql = MySql::sharded(1).await.expect("databases on the servers under test");
    let databases = mysql.databases().await.expect("opened");
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let catalog = catalog(&databases);
        starts.spawn(async move { catalog.lease_node(&new_holder(), LEASE).await });
    }
    let taken: Vec<_> = starts.join_all().await.into_iter().map(|t| t.expect("a number")).collect();
    assert_eq!(taken.iter().map(|t| t.node).collect::<HashSet<_>>(), (0..8).collect());

    let node = catalog(&databases);
    let taken = node.lease_node("a", LEASE).await.expect("a number");
    let mint = Mint::new(taken.node, taken.used_until, 0);
    assert_eq!(node.renew_node("a", &mint, LEASE).await, Ok(Renewal::Held));
    assert_eq!(node.renew_node("a", &mint, LEASE).await, Ok(Renewal::Held));
    assert_eq!(node.renew_node("b", &mint, LEASE).await, Ok(Renewal::Lost));
    node.release_node("a", &mint).await.expect("given back");
    assert_eq!(node.renew_node("a", &mint, LEASE).await, Ok(Renewal::Lost));

    let mut tries = tokio::task::JoinSet::new();
    for holder in 0..8 {
        let catalog = catalog(&databases);
        tries.spawn(
            async move { catalog.lease_loop("sweeper", &holder.to_string(), LEASE, 7).await },
        );
    }
    let won = tries.join_all().await.into_iter().filter(|held| *held == Ok(true)).count();
    assert_eq!(won, 1);
    assert_eq!(node.lease_loop("sweeper", "z", LEASE, 10_007).await, Ok(false));
    assert_eq!(node.lease_loop("sweeper", "z", LEASE, 10_008).await, Ok(true));
    assert_eq!(node.lease_loop("sweeper", "z", LEASE, 10_008).await, Ok(true));
    node.release_loop("sweeper", "z").await.expect("given back");
    assert_eq!(node.lease_loop("sweeper", "y", LEASE, 10_008).await, Ok(true));
}

#[tokio::test]
async fn the_slot_map_is_dealt_once_and_guards_the_addresses() {
    let mysql = MySql::sharded(2).await.expect("databases on the servers under test");
    let databases = mysql.databases().await.expect("opened");
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (catalog, named) = (catalog(&databases), named(&databases));
        starts.spawn(async move { catalog.slot_map(&named).await });
    }
    for found in starts.join_all().await {
        assert_eq!(found.expect("dealt or found").shards(), 2);
    }
    let mut crossed = named(&databases);
    crossed.reverse();
    let refused = catalog(&databases).slot_map(&crossed).await.expect_err("they are swapped");
    assert!(matches!(refused, SlotMapError::Swapped { says: 1, .. }), "{refused}");
}

#[tokio::test]
async fn changes_are_seen_by_other_nodes() {
    let mysql = MySql::sharded(1).await.expect("databases on the servers under test");
    let databases = mysql.databases().await.expect("opened");
    let (ours, theirs) = (catalog(&databases), catalog(&databases));
    let stored = theirs.create(draft(7), &recorded("create")).await.expect("stored");
    assert_eq!(ours.get(stored.id).await, Ok(Some(Arc::clone(&stored))));
    let change = into_state(TemplateState::Ended);
    let ended = theirs.change(&stored, &change, &recorded("end")).await.expect("changed");
    assert!(ours.change(&stored, &change, &recorded("again")).await.is_err());
    assert_eq!(ours.see_changes().await, Ok(1));
    assert_eq!(ours.get(stored.id).await, Ok(Some(ended)));
    assert_eq!(ours.see_changes().await, Ok(0));
}

// The servers under test run on this machine.
#[tokio::test]
async fn a_primary_tells_its_wall_time() {
    let mysql = MySql::sharded(1).await.expect("databases on the servers under test");
    let databases = mysql.databases().await.expect("opened");
    let primary = PrimaryClock::new("shard 0", databases.shards[0].write.clone());
    let before = wall_millis();
    let told = primary.wall_millis().await.expect("asked").expect("it has a clock");
    assert!((before..=wall_millis()).contains(&told), "{before} {told}");
}
