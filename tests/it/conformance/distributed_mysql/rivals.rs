//! Others who hold or write the same rows.

use std::{collections::HashSet, sync::Arc, time::Duration};

use coupon_domain::Rejection;
use coupon_server::ledger::{AlarmBell, LedgerError, NotGiven, Settle};
use futures::future::join_all;
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};

use super::insist;
use crate::conformance::{
    fixture::{LedgerUnderTest, Offer, Opened, Shape, World, refused},
    mysql::{DEFAULT, MySql},
};

/// Databases that several nodes work on; each opening is one more node.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) mysql: Arc<MySql>,
    nodes: Arc<std::sync::atomic::AtomicU8>,
}

#[async_trait::async_trait]
impl LedgerUnderTest for Shared {
    async fn open(
        &self,
        shape: Shape,
        settle: Arc<dyn Settle>,
        bell: Arc<dyn AlarmBell>,
    ) -> Opened {
        let number = self.nodes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.mysql.node(number, shape, settle, bell).await.expect("opened")
    }

    async fn audit(&self) -> Vec<String> {
        self.mysql.violations().await.expect("audited")
    }
}

impl Shared {
    pub(super) async fn of(shards: usize) -> Self {
        let mut mysql = MySql::sharded(shards).await.expect("databases");
        mysql.config.mysql.lock_wait_s = 1;
        Self { mysql: Arc::new(mysql), nodes: Arc::default() }
    }

    pub(super) async fn node(&self) -> World {
        World::start(Box::new(self.clone()), DEFAULT, None, None).await
    }
}

// F12: a row that somebody holds for longer than a lock is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_bucket_is_waited_for() {
    let shared = Shared::of(1).await;
    let node = shared.node().await;
    let template = node.publish(Offer { buckets: 1, ..Offer::default() }).await;
    let databases = shared.mysql.databases().await.expect("opened");
    let holder = databases.shards[0].write.begin().await.expect("begun");
    let hold = format!("SELECT 1 FROM stock_bucket WHERE template_id = {} FOR UPDATE", template.id);
    holder.execute_unprepared(&hold).await.expect("held");
    let claim = node.claim(&template, 7, "r");
    let ledger = Arc::clone(node.ledger());
    let mut won = tokio::spawn(async move { ledger.give(vec![claim]).await.remove(0) });
    // Longer than one lock wait, so that the group has been rolled back at least once.
    let early = tokio::time::timeout(Duration::from_millis(1_600), &mut won).await;
    assert!(early.is_err(), "the bucket is held");
    holder.rollback().await.expect("let go");
    assert!(!won.await.expect("ended").expect("won").replayed);
    assert_eq!(node.stock(template.id).await, (100, 1));
    node.finish().await;
}

// F12: a row that is never let go is an answer, not a hang: nothing was changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_held_past_the_deadline_is_unavailable() {
    let shared = Shared::of(1).await;
    let node = shared.node().await;
    let template = node.publish(Offer { buckets: 1, ..Offer::default() }).await;
    let databases = shared.mysql.databases().await.expect("opened");
    let holder = databases.shards[0].write.begin().await.expect("begun");
    let hold = format!("SELECT 1 FROM stock_bucket WHERE template_id = {} FOR UPDATE", template.id);
    holder.execute_unprepared(&hold).await.expect("held");
    let mut claim = node.claim(&template, 7, "r");
    claim.deadline = std::time::Instant::now() + Duration::from_millis(500);
    let lost = node.give(claim).await;
    let aborted = matches!(
        lost,
        Err(NotGiven::Failed(LedgerError::Aborted(_) | LedgerError::Unavailable(_)))
    );
    assert!(aborted, "{lost:?}");
    holder.rollback().await.expect("let go");
    node.win(&template, 7, "r").await;
    node.finish().await;
}

// R18, R44, I1, I5: two nodes sell all there is over two shards, and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_sell_all_and_no_more() {
    let shared = Shared::of(2).await;
    let nodes = [Arc::new(shared.node().await), Arc::new(shared.node().await)];
    for (total, buckets) in [(300, 4), (40, 1)] {
        let template = nodes[0].publish(Offer { total, buckets, ..Offer::default() }).await;
        let callers = (0..16_i64).map(|caller| {
            let node = Arc::clone(&nodes[usize::from(caller % 2 == 1)]);
            let template = Arc::clone(&template);
            tokio::spawn(async move {
                let mut won = Vec::new();
                for user in (1 + caller..).step_by(16) {
                    match insist(&node, &node.claim(&template, user, "r")).await {
                        Ok(given) => won.extend(given.coupons),
                        lost => {
                            assert_eq!(refused(&lost), Rejection::SoldOut);
                            return won;
                        }
                    }
                }
                won
            })
        });
        let won = join_all(callers).await.into_iter().flat_map(|won| won.expect("ended"));
        let ids: Vec<_> = won.map(|coupon| coupon.id).collect();
        assert_eq!(i64::try_from(ids.len()), Ok(total));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        assert_eq!(nodes[1].stock(template.id).await, (total, total));
    }
    nodes[0].finish().await;
}

// R10, R46, F21: the same request at two nodes at once wins once; two requests of one user too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_give_to_one_user_agree() {
    let shared = Shared::of(1).await;
    let nodes = [Arc::new(shared.node().await), Arc::new(shared.node().await)];
    let template = nodes[0].publish(Offer::default()).await;
    for user in 1..=25 {
        let calls = ["same", "same", "other"].into_iter().enumerate().map(|(index, request)| {
            let node = Arc::clone(&nodes[index % 2]);
            let claim = node.claim(&template, user, request);
            tokio::spawn(async move { insist(&node, &claim).await })
        });
        let outcomes: Vec<_> =
            join_all(calls).await.into_iter().map(|outcome| outcome.expect("ended")).collect();
        let fresh = outcomes.iter().flatten().filter(|given| !given.replayed).count();
        assert_eq!(fresh, 1, "{outcomes:?}");
        for lost in outcomes.iter().filter(|outcome| outcome.is_err()) {
            assert_eq!(refused(lost), Rejection::LimitReached);
        }
    }
    assert_eq!(nodes[0].stock(template.id).await.1, 25);
    nodes[0].finish().await;
}

// I6, F12: two nodes lock one order, and two orders one coupon, at once: the first wins, the other
// decides again on what it finds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_lock_one_coupon_agree() {
    let shared = Shared::of(1).await;
    let nodes = [Arc::new(shared.node().await), Arc::new(shared.node().await)];
    let template = nodes[0].publish(Offer::default()).await;
    for user in 1..=25 {
        let coupon = nodes[0].win(&template, user, "r").await.id;
        let calls = ["one", "one", "two", "two"].into_iter().enumerate().map(|(index, order)| {
            let node = Arc::clone(&nodes[index % 2]);
            tokio::spawn(async move { node.lock(user, order, "lock", &[coupon]).await })
        });
        let outcomes: Vec<_> =
            join_all(calls).await.into_iter().map(|outcome| outcome.expect("ended")).collect();
        let locked: HashSet<String> =
            outcomes.iter().flatten().map(|redemption| redemption.order.clone()).collect();
        assert_eq!(locked.len(), 1, "{outcomes:?}");
        assert_eq!(
            outcomes.iter().flatten().count(),
            2,
            "the other of its order repeats it: {outcomes:?}"
        );
    }
    nodes[0].finish().await;
}
