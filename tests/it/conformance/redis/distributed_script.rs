//! `admit.lua` and `load.lua` themselves: a call that is run again changes nothing.

use coupon_tests::services::Addresses;

use super::nodes::{Answer, Node, Nodes};

const ADMIT: &str = include_str!("../../../../server/src/gate/scripts/admit.lua");
const LOAD: &str = include_str!("../../../../server/src/gate/scripts/load.lua");
const STOCK: &[u8] = b"{b}:stock";
const USERS: &[u8] = b"{b}:users";
const TOKEN: &[u8] = b"{b}:load";

/// A bucket of its own node.
struct Bucket {
    nodes: Nodes,
}

type Entry = [u8; 32];

fn entry(request: u64, number: u32, coupon: i64, last: u64) -> Entry {
    let mut entry = [0; 32];
    entry[..8].copy_from_slice(&request.to_be_bytes());
    entry[8..12].copy_from_slice(&7_u32.to_be_bytes());
    entry[12..16].copy_from_slice(&number.to_be_bytes());
    entry[16..24].copy_from_slice(&coupon.to_be_bytes());
    entry[24..].copy_from_slice(&last.to_be_bytes());
    entry
}

fn claim(user: i64, request: u64, attempt: u64) -> Vec<u8> {
    [&user.to_be_bytes()[..], &entry(request, 1, 0, attempt)].concat()
}

fn win(user: i64, request: u64, coupon: i64) -> Vec<u8> {
    let under_way = entry(request, 1, 0, 0);
    [&user.to_be_bytes()[..], &under_way[..24], &entry(request, 1, coupon, 99)].concat()
}

fn op(letter: char, request: u64, rest: &[u8]) -> Vec<u8> {
    [&[u8::try_from(letter).expect("a letter")][..], &request.to_be_bytes(), rest].concat()
}

fn gave(request: u64, flags: &str, pieces: u32, coupons: &[Entry]) -> Vec<u8> {
    let rest = [format!("{flags}{pieces:010}").into_bytes(), coupons.concat()].concat();
    op('G', request, &rest)
}

impl Bucket {
    async fn with_stock(stock: i64) -> Self {
        let nodes = Nodes::start(false).await;
        let bucket = Self { nodes };
        bucket.node().ask(&[b"SET", TOKEN, b"t"]).await;
        assert_eq!(bucket.load("t", stock, "0").await, Answer::Number(1));
        bucket
    }

    /// `{b}` is slot 3300.
    fn node(&self) -> &Node {
        &self.nodes.0[0]
    }

    async fn load(&self, token: &str, left: i64, replace: &str) -> Answer {
        let left = left.to_string();
        let keys: [&[u8]; 3] = [STOCK, USERS, TOKEN];
        let args: [&[u8]; 4] = [token.as_bytes(), left.as_bytes(), replace.as_bytes(), b"600000"];
        self.node().ask(&[&[b"EVAL", LOAD.as_bytes(), b"3"], &keys[..], &args[..]].concat()).await
    }

    /// Runs the same call twice, and answers what both said.
    async fn twice(
        &self,
        limit: u8,
        wins: &[Vec<u8>],
        claims: &[Vec<u8>],
        others: &[(i64, Vec<u8>)],
    ) -> Answer {
        let first = self.run(limit, wins, claims, others).await;
        let stock = self.stock().await;
        let again = self.run(limit, wins, claims, others).await;
        assert_eq!((&again, self.stock().await), (&first, stock), "a second run changes nothing");
        first
    }

    async fn run(
        &self,
        limit: u8,
        wins: &[Vec<u8>],
        claims: &[Vec<u8>],
        others: &[(i64, Vec<u8>)],
    ) -> Answer {
        let (limit, wins, claims) = (limit.to_string(), wins.concat(), claims.concat());
        let users: Vec<[u8; 8]> = others.iter().map(|(user, _)| user.to_be_bytes()).collect();
        let mut words: Vec<&[u8]> = vec![
            b"EVAL",
            ADMIT.as_bytes(),
            b"2",
            STOCK,
            USERS,
            limit.as_bytes(),
            b"600000",
            &wins,
            &claims,
            b"",
        ];
        for (user, (_, op)) in users.iter().zip(others) {
            words.extend([&user[..], op]);
        }
        self.node().ask(&words).await
    }

    async fn stock(&self) -> i64 {
        match self.node().ask(&[b"GET", STOCK]).await {
            Answer::Text(text) => String::from_utf8_lossy(&text).parse().expect("a number"),
            other => panic!("no stock: {other:?}"),
        }
    }

    async fn value(&self, user: i64) -> Answer {
        self.node().ask(&[b"HGET", USERS, &user.to_be_bytes()]).await
    }
}

fn letters(answer: &Answer) -> String {
    match answer {
        Answer::List(parts) => match &parts[0] {
            Answer::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => panic!("not letters: {other:?}"),
        },
        other => panic!("not a list: {other:?}"),
    }
}

// A client that sends a call again takes no second unit, whatever the call says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_runs_again_changes_nothing() {
    let bucket = Bucket::with_stock(4).await;
    let two = bucket.run(1, &[], &[claim(1, 10, 5), claim(2, 20, 6)], &[]).await;
    assert_eq!((two, bucket.stock().await), (Answer::Number(2), 2));
    let again = bucket.run(1, &[], &[claim(1, 10, 5), claim(2, 20, 6)], &[]).await;
    assert_eq!((letters(&again), bucket.stock().await), ("AA".to_owned(), 2));
    // Another claim with the same request id, another request, strangers until it is dry.
    let more =
        [claim(1, 10, 7), claim(2, 21, 8), claim(3, 30, 9), claim(4, 40, 10), claim(5, 50, 11)];
    let said = bucket.twice(1, &[], &more, &[]).await;
    assert_eq!((letters(&said), bucket.stock().await), ("PPAAD".to_owned(), 0));
    let wins = [win(1, 10, 1_001), win(2, 20, 1_002)];
    bucket
        .twice(1, &wins, &[], &[(3, op('B', 30, b"")), (4, op('U', 40, &entry(40, 0, 0, 0)))])
        .await;
    assert_eq!(bucket.stock().await, 1, "one was given back, wins cost what they had set aside");
    let after =
        [claim(1, 10, 12), claim(1, 10, 12)[..].to_vec(), claim(2, 21, 13), claim(4, 40, 14)];
    let said =
        bucket.run(1, &[], &[after[0].clone(), after[2].clone(), after[3].clone()], &[]).await;
    assert_eq!(letters(&said), "WLP");
    let Answer::List(parts) = said else { panic!("not a list") };
    assert_eq!(parts[2], Answer::List(vec![Answer::Text(entry(10, 1, 1_001, 99).to_vec())]));
}

// What the ledger gave without a unit set aside uses up the bucket's, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coupons_past_the_gate_are_counted_once() {
    let bucket = Bucket::with_stock(5).await;
    let coupons = [entry(10, 1, 501, 99), entry(10, 2, 502, 99)];
    bucket.twice(3, &[], &[], &[(1, gave(10, "00", 2, &coupons))]).await;
    assert_eq!(bucket.stock().await, 3);
    assert_eq!(bucket.value(1).await, Answer::Text(coupons.concat()));
    // A win of which Redis has lost the claim.
    bucket.twice(3, &[win(2, 20, 601)], &[], &[]).await;
    assert_eq!(bucket.stock().await, 2);
    // A replay that had set a unit aside gives it back.
    bucket.run(3, &[], &[claim(3, 30, 1)], &[]).await;
    bucket.twice(3, &[], &[], &[(3, gave(30, "11", 1, &[entry(30, 1, 701, 99)]))]).await;
    assert_eq!(bucket.stock().await, 2);
    // Holders that a load has found cost nothing.
    bucket
        .twice(
            3,
            &[],
            &[],
            &[(4, [op('H', 40, b"000000000001"), entry(40, 1, 801, 9).to_vec()].concat())],
        )
        .await;
    assert_eq!(bucket.stock().await, 2);
    // The ledger gave more than there was: it says so, and the stock stops at nothing.
    let said = bucket.run(9, &[], &[], &[(5, gave(50, "00", 3, &[entry(50, 1, 901, 9)]))]).await;
    assert_eq!(
        (said, bucket.stock().await),
        (
            Answer::List(vec![
                Answer::text(""),
                Answer::Number(1),
                Answer::List(vec![]),
                Answer::List(vec![])
            ]),
            0,
        )
    );
    bucket.run(3, &[], &[], &[(6, op('S', 60, b""))]).await;
    assert_eq!(bucket.value(6).await, Answer::Nothing);
}

// Attempts that were not answered give back what they had set aside, and nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unanswered_attempt_is_undone() {
    let bucket = Bucket::with_stock(2).await;
    bucket.run(1, &[], &[claim(1, 10, 5)], &[]).await;
    bucket.twice(1, &[], &[], &[(1, op('A', 10, &6_u64.to_be_bytes()))]).await;
    assert_eq!(bucket.stock().await, 1, "another attempt's");
    bucket.twice(1, &[], &[], &[(1, op('A', 10, &5_u64.to_be_bytes()))]).await;
    assert_eq!((bucket.stock().await, bucket.value(1).await), (2, Answer::Nothing));
}

// R18, trap 29: stock is set by the load alone, by the latest one, and not over what is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_latest_load_sets_the_stock() {
    let bucket = Bucket::with_stock(5).await;
    let node = bucket.node();
    assert_eq!(bucket.load("t", 9, "1").await, Answer::Number(0), "its token is used up");
    node.ask(&[b"SET", TOKEN, b"old"]).await;
    node.ask(&[b"SET", TOKEN, b"new"]).await;
    assert_eq!(bucket.load("old", 9, "1").await, Answer::Number(0));
    assert_eq!(bucket.load("new", 9, "0").await, Answer::Number(2), "it is loaded");
    assert_eq!(bucket.stock().await, 5);
    node.ask(&[b"SET", TOKEN, b"new"]).await;
    assert_eq!(bucket.load("new", 9, "1").await, Answer::Number(1));
    assert_eq!(bucket.stock().await, 9);
    // All is lost: nothing is admitted, outcomes are kept, and no script makes stock.
    node.say("FLUSHALL").await;
    let said = bucket.run(1, &[win(1, 10, 77)], &[claim(2, 20, 1)], &[(3, op('B', 30, b""))]).await;
    assert_eq!(letters(&said), "N");
    assert_eq!(node.ask(&[b"GET", STOCK]).await, Answer::Nothing);
    assert_eq!(bucket.value(1).await, Answer::Text(entry(10, 1, 77, 99).to_vec()));
    assert!(matches!(node.ask(&[b"PTTL", USERS]).await, Answer::Number(1..)), "not for ever");
    assert_eq!(bucket.load("new", 9, "1").await, Answer::Number(0), "its token is lost too");
}

// The services' own cluster is one that the gate could use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_of_the_services_answers() {
    let nodes = Addresses::from_env().expect("addresses of the services").redis_nodes;
    super::connect(&super::config(nodes)).await.health().await.expect("it answers");
}
