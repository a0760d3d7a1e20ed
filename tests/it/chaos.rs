//! Broken days in short: every fault once, and sabotaged servers that the checker must catch (R10, R44,
//! R45, R49, R58, R61).

mod control;
mod distributed;

use std::{env, sync::Arc, time::Duration};

use coupon_tests::chaos::{
    self, Options,
    nemesis::{Fault, HOLD},
};

use crate::harness::programs::quick;

fn seed() -> u64 {
    let seed = env::var("COUPON_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    eprintln!("COUPON_TEST_SEED={seed} repeats these choices");
    seed
}

fn options(distributed: bool, faults: &[Fault], seed: u64) -> Options {
    Options {
        distributed,
        length: Duration::ZERO,
        seed,
        faults: faults.to_vec(),
        calm: Duration::from_secs(if quick() { 1 } else { 2 }),
        hold: HOLD,
        shoppers: 24,
        listener: Arc::new(|line| eprintln!("{line}")),
    }
}

/// Runs each fault once, and expects that every promise is kept.
async fn assert_borne(distributed: bool, faults: &[Fault]) {
    let seed = seed();
    let report = chaos::run(&options(distributed, faults, seed)).await;
    let report = report.unwrap_or_else(|error| panic!("seed {seed}: {error:#}"));
    eprintln!("{report}");
    assert!(report.is_clean(), "promises were broken with seed {seed}:\n{report}");
    assert_eq!(report.rounds.len(), faults.len());
    for round in &report.rounds {
        assert!(round.attempts > 100, "hardly anybody came: {}", round.line());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_embedded_server_bears_being_killed_and_frozen() {
    assert_borne(false, &Fault::EMBEDDED).await;
}
