//! A checker that finds nothing proves nothing: here it must find something.

use std::time::Duration;

use coupon_tests::chaos::{
    control::{self, ControlOptions, Sabotage, expect_caught},
    sabotaged_binary,
};

use super::seed;

pub(super) async fn assert_caught(sabotage: Sabotage) {
    let program = sabotaged_binary().expect(
        "coupon-server-sabotaged is not built: run the tests with `cargo xtask test`, or `cargo build \
         -p coupon-server --features sabotage --bin coupon-server-sabotaged` first",
    );
    let seed = seed();
    let options = ControlOptions { sabotage, program, seed, length: Duration::from_secs(3) };
    let verdict = control::run(&options).await;
    let verdict = verdict.unwrap_or_else(|error| panic!("seed {seed}: {error:#}"));
    eprintln!("{sabotage:?}: {:?} in {} attempts", verdict.counts(), verdict.attempts);
    expect_caught(sabotage, &verdict).unwrap_or_else(|error| panic!("seed {seed}: {error:#}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledging_before_the_commit_is_caught() {
    assert_caught(Sabotage::AckBeforeCommit).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_at_stock_before_replays_is_caught() {
    assert_caught(Sabotage::StockBeforeReplay).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn returning_stock_on_a_time_out_is_caught() {
    assert_caught(Sabotage::ReturnOnTimeout).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_beside_random_buckets_is_caught() {
    assert_caught(Sabotage::SeparateLimit).await;
}
