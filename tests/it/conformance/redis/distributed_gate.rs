//! F3-F7: a Redis that is flushed, full, frozen, killed and moved about while claims go on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use coupon_domain::template::Template;
use coupon_server::{
    config::RedisConfig,
    gate::{Gate as _, Verdict},
};
use futures::future::join_all;

use super::{
    config, connect, gate_with,
    nodes::{Answer, Nodes},
};
use crate::{
    conformance::{
        fixture::{Offer, users_of_bucket},
        gate::{GateWorld, gate_claim, replayed},
    },
    harness::eventually,
};

/// Buckets enough that every primary has some.
const BUCKETS: u16 = 16;

fn wide(total: i64) -> Offer {
    Offer { total, buckets: BUCKETS, ..Offer::default() }
}

fn key(config: &RedisConfig, template: &Template, bucket: u16, last: &str) -> String {
    format!("{}:{{{}:0.{bucket}}}:{last}", config.key_prefix, template.id)
}

/// The index of the primary that each bucket of a template began at.
async fn owners(nodes: &Nodes, config: &RedisConfig, template: &Template) -> Vec<usize> {
    let mut owners = Vec::new();
    for bucket in 0..BUCKETS {
        let key = key(config, template, bucket, "stock");
        match nodes.0[2].say(&format!("CLUSTER KEYSLOT {key}")).await {
            Answer::Number(slot) => owners.push(Nodes::owner(slot)),
            other => panic!("no slot: {other:?}"),
        }
    }
    owners
}

/// A bucket of primary 0, and one of another.
fn two_buckets(owners: &[usize]) -> (u16, u16) {
    let of = |wanted: &dyn Fn(usize) -> bool| {
        let found = owners.iter().position(|owner| wanted(*owner)).expect("of 16 buckets");
        u16::try_from(found).expect("small")
    };
    (of(&|owner| owner == 0), of(&|owner| owner != 0))
}

// F7: a script that is gone is brought along by the call that misses it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_script_is_brought_along() {
    let nodes = Nodes::start(false).await;
    let at = gate_with(&config(nodes.addresses())).await;
    let template = at.loaded(wide(400)).await;
    for round in 0..3 {
        nodes.on_all("SCRIPT FLUSH").await;
        for user in 1..=20 {
            at.win(&template, round * 20 + user, "r").await;
        }
    }
    at.finish().await;
}

// F6: whatever Redis has lost is in the ledger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_redis_is_loaded_again() {
    let nodes = Nodes::start(false).await;
    let at = gate_with(&config(nodes.addresses())).await;
    let template = at.loaded(Offer { total: 30, buckets: 1, limit: 2, ..Offer::default() }).await;
    let mut won = Vec::new();
    for user in 1..=9 {
        won.push((user, at.win(&template, user, "r").await));
    }
    assert_eq!(at.admit(&template, 10, "r").await, Verdict::Admitted);
    nodes.on_all("FLUSHALL").await;
    assert_eq!(at.admit(&template, 11, "r").await, Verdict::NotLoaded);
    // An outcome that comes in between is kept.
    won.push((10, at.give(&template, 10, "r", true).await.expect("won").coupons[0].id));
    at.load(&template).await;
    for (user, coupon) in won {
        assert_eq!(replayed(at.admit(&template, user, "r").await), coupon, "{user}");
    }
    assert_eq!(at.admitted(&template, 100..200).await, 20);
    at.finish().await;
}

// R44: two nodes in front of one Redis set aside what there is, and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_share_the_stock() {
    let nodes = Nodes::start(false).await;
    let config = config(nodes.addresses());
    let at = gate_with(&config).await;
    let template = at.loaded(wide(64)).await;
    let other = connect(&config).await;
    let calls = (1..=1_000).map(|user| {
        let claim = gate_claim(&at.world.claim(&template, user, "r"));
        let (one, other, template) =
            (Arc::clone(&at.gate), Arc::clone(&other), Arc::clone(&template));
        tokio::spawn(async move {
            if user % 2 == 0 {
                one.admit(&template, claim).await
            } else {
                other.admit(&template, claim).await
            }
        })
    });
    let verdicts = join_all(calls).await;
    let admitted = verdicts.iter().filter(|one| matches!(one, Ok(Verdict::Admitted))).count();
    let dry = verdicts.iter().filter(|one| matches!(one, Ok(Verdict::Dry))).count();
    assert_eq!((admitted, dry), (64, 936));
    // What one node has learned, the other knows.
    let won = at.give(&template, 1, "s", false).await;
    assert!(won.is_ok());
    let claim = gate_claim(&at.world.claim(&template, 1, "s"));
    eventually("it is told to redis", async || {
        matches!(other.admit(&template, claim).await, Verdict::Replay(_)).then_some(())
    })
    .await;
}

/// Script calls that the nodes have carried out.
async fn script_calls(nodes: &Nodes) -> u64 {
    let mut calls = 0;
    for node in &nodes.0 {
        let Answer::Text(said) = node.say("INFO commandstats").await else { continue };
        let said = String::from_utf8_lossy(&said);
        let of = said.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        let count = of.and_then(|rest| rest.split(',').next()?.parse::<u64>().ok());
        calls += count.unwrap_or_default();
    }
    calls
}

// What waits for its turn at a primary travels together, and nobody is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_share_calls() {
    let nodes = Nodes::start(false).await;
    let at = gate_with(&RedisConfig { calls_max: 1, ..config(nodes.addresses()) }).await;
    let template = at.loaded(wide(2_000)).await;
    let before = script_calls(&nodes).await;
    let claims = (1..=1_500).map(|user| at.admit(&template, user, "r"));
    let verdicts = join_all(claims).await;
    let admitted = verdicts.iter().filter(|verdict| **verdict == Verdict::Admitted).count();
    assert_eq!(admitted, 1_500);
    let calls = script_calls(&nodes).await - before;
    assert!(calls < 500, "{calls} calls for 1500 claims at once");
}

// Buckets that wait behind a call that is not answered wait no longer than that call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_long_for_a_turn() {
    let nodes = Nodes::start(false).await;
    let settings = RedisConfig {
        command_timeout_ms: 300,
        breaker_failures: 1_000,
        calls_max: 1,
        ..config(nodes.addresses())
    };
    let at = gate_with(&settings).await;
    let template = at.loaded(wide(4_000)).await;
    let owners = owners(&nodes, &settings, &template).await;
    let frozen = (0_u16..).zip(&owners).filter(|(_, owner)| **owner == 0).map(|(bucket, _)| bucket);
    let users: Vec<i64> = frozen.flat_map(|bucket| users_of_bucket(BUCKETS, bucket, 5)).collect();
    nodes.0[0].signal("-STOP");
    let began = Instant::now();
    let claims = users.iter().map(|user| at.admit(&template, *user, "r"));
    for verdict in join_all(claims).await {
        assert_eq!(verdict, Verdict::Dry);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    nodes.0[0].signal("-CONT");
}

// A unit may be set aside for a claim whose call was not answered; it is found again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_primary_loses_no_unit() {
    let nodes = Nodes::start(false).await;
    let impatient = RedisConfig {
        command_timeout_ms: 400,
        breaker_failures: 2,
        breaker_open_ms: 300,
        ..config(nodes.addresses())
    };
    let at = gate_with(&impatient).await;
    let template = at.loaded(wide(160)).await;
    let (frozen, _) = two_buckets(&owners(&nodes, &impatient, &template).await);
    let users = users_of_bucket(BUCKETS, frozen, 60);
    nodes.0[0].signal("-STOP");
    for user in &users[..5] {
        assert_eq!(at.admit(&template, *user, "r").await, Verdict::Dry);
    }
    nodes.0[0].signal("-CONT");
    // It executes what it was sent, which nobody waits for any more, and what is to be undone.
    let mut admitted = 0;
    eventually("ten units, and no more, are found", async || {
        for user in &users[5..] {
            let verdict = at.admit(&template, *user, "r").await;
            admitted += u32::from(verdict == Verdict::Admitted);
        }
        (admitted >= 10).then_some(())
    })
    .await;
    assert_eq!(admitted, 10);
}

// F3: one dead primary opens its breaker within the time-out and slows nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_primary_slows_nobody_else() {
    let mut nodes = Nodes::start(false).await;
    let impatient =
        RedisConfig { command_timeout_ms: 500, breaker_failures: 1, ..config(nodes.addresses()) };
    let at = gate_with(&impatient).await;
    let template = at.loaded(wide(4_000)).await;
    let owners = owners(&nodes, &impatient, &template).await;
    let (dead, alive) = two_buckets(&owners);
    nodes.0[0].kill();
    let (lost, others) =
        (users_of_bucket(BUCKETS, dead, 200), users_of_bucket(BUCKETS, alive, 100));
    let began = Instant::now();
    assert_eq!(at.admit(&template, lost[0], "r").await, Verdict::Dry);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let began = Instant::now();
    for user in &lost {
        assert_eq!(at.admit(&template, *user, "r").await, Verdict::Dry, "to the ledger at once");
    }
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    let began = Instant::now();
    for user in &others {
        assert_eq!(at.admit(&template, *user, "r").await, Verdict::Admitted);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let health = connect(&impatient).await.health().await.expect_err("one is dead");
    assert!(health.contains(&nodes.0[0].address()), "{health}");
}

// F3: what the replica did not get is extra work for the ledger, nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_goes_on() {
    let mut nodes = Nodes::start(true).await;
    let impatient =
        RedisConfig { command_timeout_ms: 500, breaker_failures: 2, ..config(nodes.addresses()) };
    let at = gate_with(&impatient).await;
    let template = at.loaded(wide(1_600)).await;
    let (bucket, _) = two_buckets(&owners(&nodes, &impatient, &template).await);
    let mut users = users_of_bucket(BUCKETS, bucket, 5_000).into_iter();
    let won = users.next().expect("a user");
    at.win(&template, won, "r").await;
    nodes.0[0].kill();
    eventually("the replica is asked", async || {
        let verdict = at.admit(&template, users.next().expect("a user"), "r").await;
        if verdict == Verdict::NotLoaded {
            at.load(&template).await;
        }
        (verdict == Verdict::Admitted).then_some(())
    })
    .await;
    at.finish().await;
}

async fn say_ok(nodes: &Nodes, node: usize, line: String) {
    assert_eq!(nodes.0[node].say(&line).await, Answer::text("OK"), "{line}");
}

// F7: a slot on its way to another node is served by whoever has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moving_slot_is_followed() {
    let nodes = Nodes::start(false).await;
    let config = config(nodes.addresses());
    let at = gate_with(&config).await;
    let template = at.loaded(wide(1_600)).await;
    let (bucket, _) = two_buckets(&owners(&nodes, &config, &template).await);
    let mut users = users_of_bucket(BUCKETS, bucket, 100).into_iter();
    let mut claim = async || {
        let user = users.next().expect("a user");
        assert_eq!(at.admit(&template, user, "r").await, Verdict::Admitted);
    };
    let (stock, holders) =
        (key(&config, &template, bucket, "stock"), key(&config, &template, bucket, "users"));
    let Answer::Number(slot) = nodes.0[0].say(&format!("CLUSTER KEYSLOT {stock}")).await else {
        panic!("no slot")
    };
    let (from, to) = (nodes.0[0].id().await, nodes.0[1].id().await);
    say_ok(&nodes, 1, format!("CLUSTER SETSLOT {slot} IMPORTING {from}")).await;
    say_ok(&nodes, 0, format!("CLUSTER SETSLOT {slot} MIGRATING {to}")).await;
    claim().await;
    let port = nodes.0[1].port.to_string();
    let moved: [&[u8]; 9] = [
        b"MIGRATE",
        b"127.0.0.1",
        port.as_bytes(),
        b"",
        b"0",
        b"5000",
        b"KEYS",
        stock.as_bytes(),
        holders.as_bytes(),
    ];
    assert_eq!(nodes.0[0].ask(&moved).await, Answer::text("OK"));
    // ASK, and the script is unknown there.
    nodes.0[1].say("SCRIPT FLUSH").await;
    claim().await;
    claim().await;
    for node in [1, 0, 2] {
        say_ok(&nodes, node, format!("CLUSTER SETSLOT {slot} NODE {to}")).await;
    }
    // MOVED.
    claim().await;
    claim().await;
    let left = nodes.0[1].say(&format!("GET {stock}")).await;
    assert_eq!(left, Answer::text("95"), "five of a hundred were set aside, each once");
}

// A Redis that is full refuses scripts: claims go on to the ledger, and come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_sends_claims_to_the_ledger() {
    let nodes = Nodes::start(false).await;
    let config = RedisConfig { breaker_open_ms: 50, ..config(nodes.addresses()) };
    let at = gate_with(&config).await;
    let template = at.loaded(wide(160)).await;
    nodes.on_all("CONFIG SET maxmemory 1").await;
    for user in 1..=20 {
        assert_eq!(at.admit(&template, user, "r").await, Verdict::Dry);
        at.give(&template, user, "r", false).await.expect("won");
    }
    nodes.on_all("CONFIG SET maxmemory 64mb").await;
    let mut users = 100..;
    eventually("it admits again", async || {
        let verdict = at.admit(&template, users.next().expect("endless"), "r").await;
        (verdict == Verdict::Admitted).then_some(())
    })
    .await;
    for user in 1..=20 {
        eventually("what was won meanwhile is told", async || {
            matches!(at.admit(&template, user, "r").await, Verdict::Replay(_)).then_some(())
        })
        .await;
    }
    at.finish().await;
}

// A gate whose Redis is not there yet does not keep a node from starting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_at_the_address_is_no_reason_not_to_start() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = free.local_addr().expect("bound").to_string();
    drop(free);
    let nowhere = RedisConfig {
        connect_timeout_ms: 200,
        command_timeout_ms: 200,
        ..config(vec![address.clone()])
    };
    let at = gate_with(&nowhere).await;
    let template = at.world.publish(wide(160)).await;
    let began = Instant::now();
    for user in 1..=50 {
        assert_eq!(at.admit(&template, user, "r").await, Verdict::Dry);
        at.give(&template, user, "r", false).await.expect("won");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(at.gate.load(at.world.ledger(), &[Arc::clone(&template)]).await.is_err());
    let health = connect(&nowhere).await.health().await.expect_err("nobody is there");
    assert!(health.contains(&address), "{health}");
    at.finish().await;
}

// A claim that is under way for ever keeps nobody from the ledger, which decides and teaches the gate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_under_way_for_ever_goes_to_the_ledger() {
    let nodes = Nodes::start(false).await;
    let at: GateWorld = gate_with(&config(nodes.addresses())).await;
    let template = at.loaded(Offer { total: 2, buckets: 1, ..Offer::default() }).await;
    // Its node died.
    assert_eq!(at.admit(&template, 1, "r").await, Verdict::Admitted);
    assert_eq!(at.admit(&template, 1, "r").await, Verdict::Pending);
    let won = at.give(&template, 1, "r", false).await.expect("the ledger decides").coupons[0].id;
    assert_eq!(replayed(at.admit(&template, 1, "r").await), won);
    assert_eq!(at.admitted(&template, 2..9).await, 1, "the unit was spent once");
}
