//! Node numbers and leased loops.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use coupon_domain::ids::{SLOTS, UserId};
use coupon_server::{
    catalog::Renewal,
    mint::Mint,
    serving::{Cause, Serving},
    worker::{
        leader::Leadership,
        lease::{NodeNumber, new_holder},
    },
};
use tokio_util::sync::CancellationToken;

use super::File;

const LEASE: Duration = Duration::from_secs(10);
/// Some wall time.
const NOW: i64 = 1_900_000_000_000;
/// Just after a lease taken at [`NOW`] has ended.
const LAPSED: i64 = NOW + 10_001;

fn user() -> UserId {
    UserId::new(71_234).expect("positive")
}

fn node_of(id: i64) -> i64 {
    ((id / SLOTS) >> 10) & 0xff
}

#[tokio::test]
async fn nodes_that_start_at_once_get_different_numbers() {
    let file = File::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let catalog = file.catalog().await;
        tasks.spawn(async move {
            let taken = catalog.lease_node(&new_holder(), LEASE).await.expect("a number");
            taken.node
        });
    }
    let numbers: HashSet<u8> = tasks.join_all().await.into_iter().collect();
    assert_eq!(numbers, (0..8).collect());
}

#[tokio::test]
async fn a_lapsed_number_goes_to_another_who_starts_where_it_was_used() {
    let file = File::new().await;
    let (ours, theirs) = (file.catalog().await, file.catalog().await);
    let taken = ours.lease_node_at("a", LEASE, NOW).await.expect("a number");
    let mint = Mint::new(taken.node, taken.used_until, 0);
    assert_eq!(ours.renew_node_at("a", &mint, LEASE, NOW).await, Ok(Renewal::Held));
    let used_until = mint.next_lease();
    let first = mint.coupon(user()).expect("leased").get();

    // Others are free, so it takes the rest of them to be left with this one.
    for holder in 1..256 {
        let other = theirs.lease_node_at(&holder.to_string(), 2 * LEASE, NOW).await;
        assert_ne!(other.expect("a number").node, taken.node);
    }
    let none = theirs.lease_node_at("z", LEASE, NOW + 10_000).await.expect_err("none is free");
    assert!(none.to_string().contains("all 256 node numbers are held"), "{none}");
    let again = theirs.lease_node_at("z", LEASE, LAPSED).await.expect("it has lapsed");
    assert_eq!(again.node, taken.node);
    assert!(again.used_until >= used_until - 1, "{} {used_until}", again.used_until);
    let other = Mint::new(again.node, again.used_until, 0);
    assert_eq!(theirs.renew_node_at("z", &other, LEASE, LAPSED).await, Ok(Renewal::Held));

    // The first node wakes up: it cannot raise its right, and what it has clashes with nothing.
    assert_eq!(ours.renew_node_at("a", &mint, LEASE, LAPSED).await, Ok(Renewal::Lost));
    let late = mint.coupon(user()).expect("below its minted_until").get();
    let theirs_first = other.coupon(user()).expect("leased").get();
    assert!(first < late && late < theirs_first, "{first} {late} {theirs_first}");
    assert!(mint.operation().expect("leased") < other.operation().expect("leased"));
}

#[tokio::test]
async fn a_node_that_lost_its_number_says_so_and_goes_on_under_another() {
    let file = File::new().await;
    let catalog = file.catalog().await;
    let lease = Duration::from_millis(20);
    let number = NodeNumber::take(Arc::clone(&catalog), new_holder(), lease, 0).await;
    let number = number.expect("a number");
    let mint = number.mint();
    assert_eq!(node_of(mint.coupon(user()).expect("leased").get()), 0);
    // Others wait for every number that there is, until the first one has lapsed.
    let others = file.catalog().await;
    let mut numbers = HashSet::new();
    while numbers.len() < 256 {
        if let Ok(taken) = others.lease_node("other", 1_000 * LEASE).await {
            numbers.insert(taken.node);
        }
    }
    let serving = Serving::default();
    number.look(&serving).await;
    assert!(!serving.serves());
    assert!(serving.reason().contains("node number 0 was lost"), "{}", serving.reason());
    assert!(mint.coupon(user()).is_err());
    assert!(mint.operation().is_err());

    let freed = Mint::new(77, 0, 0);
    others.release_node("other", &freed).await.expect("given back");
    number.look(&serving).await;
    assert!(serving.serves(), "{}", serving.reason());
    assert_eq!(node_of(mint.coupon(user()).expect("leased").get()), 77);
    serving.object(Cause::Clock, "kept apart".to_owned());
    number.look(&serving).await;
    assert_eq!(serving.reason(), "kept apart");
}

#[tokio::test]
async fn a_number_given_back_begins_where_its_ids_ended() {
    let file = File::new().await;
    let catalog = file.catalog().await;
    let number = NodeNumber::take(Arc::clone(&catalog), new_holder(), LEASE, 0).await;
    let number = number.expect("a number");
    let mint = number.mint();
    let last = mint.coupon(user()).expect("leased").get();
    let stop = CancellationToken::new();
    stop.cancel();
    number.keep(Arc::new(Serving::default()), stop).await;
    assert!(mint.coupon(user()).is_err());
    let used_until = catalog.minted_until(0).await.expect("readable");
    assert_eq!(used_until, ((last / SLOTS) >> 18) + 1);
    // The others are as free, but this is the lowest that has no ids ahead once its second is over.
    let later = (used_until + coupon_domain::ids::MintedId::EPOCH_UNIX_S) * 1_000;
    while coupon_server::clock::wall_millis() < later {
        tokio::task::yield_now().await;
    }
    assert_eq!(catalog.lease_node("next", LEASE).await.expect("a number").node, 0);
}

/// A node's part in a loop, by a clock that the test moves.
struct Runner {
    runs: Arc<AtomicU32>,
    ends: Arc<AtomicU32>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Runner {
    async fn start(file: &File, holder: &str, clock: &Arc<AtomicI64>, lease: Duration) -> Self {
        let clock = Arc::clone(clock);
        let now = Arc::new(move || clock.load(Ordering::SeqCst));
        let leadership = Leadership::with_now(file.catalog().await, holder, lease, now);
        let (runs, ends) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let stop = CancellationToken::new();
        let counted = (Arc::clone(&runs), Arc::clone(&ends));
        let task = tokio::spawn(leadership.run("sweeper", stop.clone(), move |leading| {
            let (runs, ends) = counted.clone();
            async move {
                runs.fetch_add(1, Ordering::SeqCst);
                leading.cancelled().await;
                ends.fetch_add(1, Ordering::SeqCst);
            }
        }));
        Self { runs, ends, stop, task }
    }

    fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }

    async fn until_run(&self, times: u32) {
        reaches(&self.runs, times).await;
    }
}

async fn reaches(count: &AtomicU32, times: u32) {
    let wait = async {
        while count.load(Ordering::SeqCst) < times {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the loop comes that far");
}

#[tokio::test]
async fn one_node_runs_a_loop_and_another_takes_over_when_it_dies_or_stops() {
    let file = File::new().await;
    let clock = Arc::new(AtomicI64::new(NOW));
    let lease = Duration::from_millis(60);
    let first = Runner::start(&file, "a", &clock, lease).await;
    first.until_run(1).await;
    let second = Runner::start(&file, "b", &clock, lease).await;
    let watcher = file.catalog().await;
    assert_eq!(watcher.lease_loop("sweeper", "c", lease, NOW + 60).await, Ok(false));
    // Killed: nothing is given back. By the clock its lease has not ended yet.
    first.task.abort();
    assert!(first.task.await.is_err());
    assert_eq!(watcher.lease_loop("sweeper", "c", lease, NOW + 60).await, Ok(false));
    assert_eq!(second.runs(), 0);
    clock.store(NOW + 61, Ordering::SeqCst);
    second.until_run(1).await;
    assert_eq!(first.runs.load(Ordering::SeqCst), 1);

    // Stopped: it is given back, and had by the next at the same instant.
    let third = Runner::start(&file, "c", &clock, lease).await;
    second.stop.cancel();
    second.task.await.expect("it ends");
    third.until_run(1).await;
    third.stop.cancel();
    third.task.await.expect("it ends");
}

#[tokio::test]
async fn a_frozen_node_ends_its_loop_when_it_learns_that_another_has_it() {
    let file = File::new().await;
    let clock = Arc::new(AtomicI64::new(NOW));
    let lease = Duration::from_millis(60);
    let frozen = Runner::start(&file, "a", &clock, lease).await;
    frozen.until_run(1).await;
    let other = file.catalog().await;
    // By the other's clock the lease has long ended.
    let far = NOW + 1_000_000;
    assert_eq!(other.lease_loop("sweeper", "b", lease, far).await, Ok(true));
    reaches(&frozen.ends, 1).await;
    assert_eq!(frozen.runs(), 1);
    // It runs again when the lease is free.
    clock.store(far + 61, Ordering::SeqCst);
    frozen.until_run(2).await;
    frozen.stop.cancel();
    frozen.task.await.expect("it ends");
    assert_eq!(other.lease_loop("sweeper", "c", lease, far).await, Ok(true));
}
