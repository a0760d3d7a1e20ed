//! Kill -9 at random points of a storm of claims, locks, confirms and cancels, again and again on one
//! folder: what was acknowledged is there, nothing is oversold or doubled, and every request that is
//! sent again answers its first outcome (R10, R44, R45, R49, R58, R61, R62).

mod round;
mod shopper;

use std::env;

use coupon_tests::process::{ServerOptions, ServerProcess};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::harness::{
    connect,
    programs::{quick, server},
};
use round::Round;

/// Kills in all; two when the tests are to be quick.
const KILLS: u64 = 20;
/// Acknowledged answers up to which a round may be let run: a little less than it has in all.
const ANSWERS_MAX: u64 = 540;

// R62: the whole of it, with the audit at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nine_loses_nothing_and_doubles_nothing() {
    let seed = env::var("COUPON_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    println!("COUPON_TEST_SEED={seed} repeats these kills");
    let mut random = StdRng::seed_from_u64(seed);
    let kills = if quick() { 2 } else { KILLS };
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = start(folder.path()).await;
    let mut rounds: Vec<Round> = Vec::new();
    for number in 0..kills {
        let client = connect(process.endpoint()).await;
        let mut round = Round::prepare(&client, number, random.random()).await;
        drop(client);
        let until = random.random_range(1..ANSWERS_MAX);
        round.storm(&process.endpoint(), until).await;
        process.kill().await;
        round.crashed().await;

        process = start(folder.path()).await;
        let client = connect(process.endpoint()).await;
        round.assert_kept(&client).await;
        round.settle(&client).await;
        rounds.push(round);
    }
    let client = connect(process.endpoint()).await;
    for round in &rounds {
        round.assert_settled(&client).await;
    }
    drop(client);
    process.stop().await.expect("it stops");
    let data_dir = folder.path().to_str().expect("a path in UTF-8");
    let audit = server(&["audit", "--data-dir", data_dir]).await;
    assert_eq!(audit.code, Some(0), "{audit:?}");
}

async fn start(folder: &std::path::Path) -> ServerProcess {
    let started = ServerProcess::start(ServerOptions::new(folder)).await;
    started.unwrap_or_else(|error| panic!("{error:#}"))
}
