//! On MariaDB, Redis and Pulsar of its own, which nobody else uses.

use super::{Fault, assert_borne, control::assert_caught};
use coupon_tests::chaos::control::Sabotage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_borne_alone() {
    assert_borne(true, &Fault::ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_forgets_commits_is_caught() {
    assert_caught(Sabotage::UnsafeDatabase).await;
}
