//! On MariaDB, Redis and Pulsar of its own, which nobody else uses.

use coupon_tests::chaos::{control::Sabotage, nemesis::Fault};
use tokio::sync::Mutex;

use super::{assert_borne, control::assert_caught};

/// One set of services after the other: two at once need more memory than a small machine has.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_borne_alone() {
    let _alone = ALONE.lock().await;
    assert_borne(true, &Fault::ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_forgets_commits_is_caught() {
    let _alone = ALONE.lock().await;
    assert_caught(Sabotage::UnsafeDatabase).await;
}
