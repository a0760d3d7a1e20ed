//! Stock over several shards and nodes: what the ledger's suite cannot ask of one node.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use coupon_domain::{
    Rejection, fingerprint::Fingerprint, ids::TemplateId, stock::deal, template::Template,
};
use coupon_server::{
    backend::Databases,
    clock::ManualClock,
    config::Config,
    gate::{GateClaim, Verdict, embedded::EmbeddedGate, loader::GateLoader},
    ledger::{
        AlarmBell, GiveCommand, Given, GivenCoupon, Granted, LedgerError, NotGiven, Settle,
        router::Router,
    },
    usecase::UseCases,
    worker::transfers,
};
use futures::future::join_all;
use sea_orm::{ConnectionTrait as _, Statement};

use super::{
    embedded::{DEFAULT, Sqlite},
    fixture::{LedgerUnderTest, MINUTE, Offer, Opened, Shape, World, refused, user_id},
};

/// Databases that several nodes work on; each opening is one more node.
struct Store {
    sqlite: Sqlite,
    databases: Databases,
    nodes: AtomicU8,
}

#[async_trait]
impl LedgerUnderTest for Arc<Store> {
    async fn open(
        &self,
        shape: Shape,
        settle: Arc<dyn Settle>,
        bell: Arc<dyn AlarmBell>,
    ) -> Opened {
        let number = self.nodes.fetch_add(1, Ordering::Relaxed);
        self.sqlite.node(&self.databases, number, shape, settle, bell).await
    }

    async fn audit(&self) -> Vec<String> {
        self.sqlite.audit().await
    }
}

impl Store {
    async fn of(shards: usize) -> Arc<Self> {
        let sqlite = Sqlite::sharded(shards);
        let databases = sqlite.databases().await;
        Arc::new(Self { sqlite, databases, nodes: AtomicU8::new(0) })
    }

    async fn node(self: &Arc<Self>) -> World {
        World::start(Box::new(Arc::clone(self)), DEFAULT, None, None).await
    }

    async fn execute(&self, shard: usize, sql: &str) {
        let db = &self.databases.shards[shard].write;
        let statement = Statement::from_string(db.get_database_backend(), sql);
        db.execute_raw(statement).await.expect("executed");
    }

    async fn number(&self, shard: usize, sql: &str) -> i64 {
        let db = &self.databases.shards[shard].write;
        let statement = Statement::from_string(db.get_database_backend(), sql);
        let row = db.query_one_raw(statement).await.expect("readable").expect("one row");
        row.try_get_by_index(0).expect("a number")
    }

    /// The shard's database goes away.
    async fn lose(&self, shard: usize) {
        let connections = &self.databases.shards[shard];
        connections.write.close_by_ref().await.expect("closed");
        connections.read.close_by_ref().await.expect("closed");
    }

    /// A transfer that was cut off when it had left `from`: so many pieces of bucket 0.
    async fn cut_off(&self, id: i64, template: &Template, (from, to): (usize, u16), pieces: i64) {
        let template = template.id;
        let take = format!(
            "UPDATE stock_bucket SET granted = granted - {pieces} \
             WHERE template_id = {template} AND bucket = 0"
        );
        self.execute(from, &take).await;
        self.leave_behind(id, template, (from, to), pieces).await;
    }

    async fn leave_behind(
        &self,
        id: i64,
        template: TemplateId,
        (from, to): (usize, u16),
        pieces: i64,
    ) {
        let row = format!("INSERT INTO transfer_out VALUES ({id}, {template}, {to}, {pieces}, 0)");
        self.execute(from, &row).await;
    }
}

/// The first `count` users of a shard.
fn users_of(shards: u16, shard: u16, count: usize) -> Vec<i64> {
    let router = Router::dealt(shards);
    let here = |user: &i64| router.shard_of_user(user_id(*user)) == shard;
    (1..).filter(here).take(count).collect()
}

fn one_bucket(total: i64) -> Offer {
    Offer { total, buckets: 1, ..Offer::default() }
}

/// Sends until the ledger is not busy, as callers do.
async fn insist(world: &World, command: &GiveCommand) -> Result<Given, NotGiven> {
    loop {
        let outcome = world.give(command.clone()).await;
        if !matches!(outcome, Err(NotGiven::Failed(LedgerError::Unavailable(_)))) {
            return outcome;
        }
    }
}

// R18: all users live on one shard, all stock is sold, one at a time and many in one call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_shard_sells_the_stock_of_all() {
    let store = Store::of(3).await;
    let node = store.node().await;
    let template = node.publish(Offer { total: 101, ..Offer::default() }).await;
    let users = users_of(3, 1, 102);
    for user in &users[..101] {
        node.win(&template, *user, "r").await;
    }
    let beyond = node.give(node.claim(&template, users[101], "r")).await;
    assert_eq!(refused(&beyond), Rejection::SoldOut);
    assert_eq!(node.stock(template.id).await, (101, 101));

    let other = node.publish(Offer { total: 60, ..Offer::default() }).await;
    let parcel = users.iter().map(|user| node.claim(&other, *user, "r")).collect();
    let outcomes = node.ledger().give(parcel).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 60);
    for lost in outcomes.iter().filter(|outcome| outcome.is_err()) {
        assert_eq!(refused(lost), Rejection::SoldOut);
    }
    assert!(users.iter().all(|user| node.heard.outcomes(*user, "r") == 2), "one per template");
    node.finish().await;
}

// R18, R44: the pieces of one call come from several shards, and are not asked for in vain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_gathers_its_pieces_from_all_shards() {
    let store = Store::of(3).await;
    let node = store.node().await;
    let template = node.publish(Offer { total: 9, limit: 9, ..Offer::default() }).await;
    let users = users_of(3, 0, 3);
    let eight = node.give(node.issue(&template, users[0], "r", 8)).await.expect("gathered");
    assert_eq!(eight.coupons.len(), 8);
    let two = node.give(node.issue(&template, users[1], "r", 2)).await;
    assert_eq!(refused(&two), Rejection::SoldOut);
    node.win(&template, users[2], "r").await;
    assert_eq!(node.stock(template.id).await, (9, 9));
    node.finish().await;
}

/// Claims for users of its own until the stock is gone.
async fn drain(
    node: Arc<World>,
    template: Arc<Template>,
    first: i64,
    step: usize,
) -> Vec<GivenCoupon> {
    let mut won = Vec::new();
    for user in (first..).step_by(step) {
        match insist(&node, &node.claim(&template, user, "r")).await {
            Ok(given) => won.extend(given.coupons),
            lost => {
                assert_eq!(refused(&lost), Rejection::SoldOut);
                return won;
            }
        }
    }
    won
}

// R18, R44, I1, I5: 64 callers on two nodes over three shards: everything is sold, nothing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_sell_all_and_no_more() {
    let store = Store::of(3).await;
    let nodes = [Arc::new(store.node().await), Arc::new(store.node().await)];
    for (total, buckets) in [(700, 4), (40, 1)] {
        let template = nodes[0].publish(Offer { total, buckets, ..Offer::default() }).await;
        let callers = (0..64_i64).map(|caller| {
            let node = Arc::clone(&nodes[usize::from(caller % 2 == 1)]);
            tokio::spawn(drain(node, Arc::clone(&template), 1 + caller, 64))
        });
        let won = join_all(callers).await.into_iter().flat_map(|won| won.expect("ended"));
        let ids: Vec<_> = won.map(|coupon| coupon.id).collect();
        assert_eq!(i64::try_from(ids.len()), Ok(total));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        assert_eq!(nodes[1].stock(template.id).await, (total, total));
    }
    nodes[0].finish().await;
}

// I5, I9, F26: the giving shard has committed, then the node died. The worker finishes it, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_cut_off_is_finished_by_the_worker() {
    let store = Store::of(2).await;
    let node = store.node().await;
    let template = node.publish(one_bucket(20)).await;
    store.cut_off(77, &template, (1, 0), 6).await;
    assert_eq!(node.stock(template.id).await, (14, 0));
    node.finish().await;
    let clock = ManualClock::new(node.now.plus(MINUTE));
    // Whoever has found the row may come as late as it likes: it finds the transfer arrived.
    for _ in 0..3 {
        transfers::finish(node.ledger().as_ref(), &clock).await;
        let rows = node.ledger().buckets(template.id).await.expect("buckets");
        let granted: Vec<i64> = rows.iter().map(|(_, row)| row.granted).collect();
        assert_eq!(granted, [16, 4]);
        assert_eq!(store.number(1, "SELECT COUNT(*) FROM transfer_out").await, 0);
        node.finish().await;
        store.leave_behind(77, template.id, (1, 0), 6).await;
    }
    transfers::finish(node.ledger().as_ref(), &clock).await;
    assert_eq!(node.stock(template.id).await, (20, 0));
}

// What has only just left is somebody's who is at it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_leaves_young_transfers_alone() {
    let store = Store::of(2).await;
    let node = store.node().await;
    let template = node.publish(one_bucket(20)).await;
    store.cut_off(77, &template, (1, 0), 6).await;
    let sent = format!("UPDATE transfer_out SET sent_at = {}", node.now.as_millis());
    store.execute(1, &sent).await;
    transfers::finish(node.ledger().as_ref(), &ManualClock::new(node.now)).await;
    assert_eq!(node.stock(template.id).await, (14, 0));
    transfers::finish(node.ledger().as_ref(), &ManualClock::new(node.now.plus(MINUTE))).await;
    assert_eq!(node.stock(template.id).await, (20, 0));
}

// I5, F26: no stock is left anywhere but in a transfer that was cut off: a claim finishes it, once,
// wherever it was bound for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_cut_off_is_finished_by_a_claim() {
    for to in [0, 2] {
        let store = Store::of(3).await;
        let node = store.node().await;
        let template = node.publish(one_bucket(6)).await;
        store.cut_off(77, &template, (1, to), 2).await;
        let users = users_of(3, 0, 7);
        for user in &users[..6] {
            node.win(&template, *user, "r").await;
        }
        let beyond = node.give(node.claim(&template, users[6], "r")).await;
        assert_eq!(refused(&beyond), Rejection::SoldOut);
        assert_eq!(node.stock(template.id).await, (6, 6));
        store.leave_behind(77, template.id, (1, to), 2).await;
        let clock = ManualClock::new(node.now.plus(MINUTE));
        transfers::finish(node.ledger().as_ref(), &clock).await;
        assert_eq!(node.stock(template.id).await, (6, 6), "never twice");
        node.finish().await;
    }
}

// R44: pieces on their way are not sold out, even when nobody can bring them home.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_under_way_are_not_sold_out() {
    let store = Store::of(3).await;
    let node = store.node().await;
    let template = node.publish(one_bucket(6)).await;
    store.cut_off(77, &template, (1, 2), 2).await;
    let users = users_of(3, 0, 5);
    for user in &users[..4] {
        node.win(&template, *user, "r").await;
    }
    store.lose(2).await;
    let lost = node.give(node.claim(&template, users[4], "r")).await;
    assert!(matches!(lost, Err(NotGiven::Failed(LedgerError::Unavailable(_)))), "{lost:?}");
}

// R44: a shard that cannot be asked is no proof; what the others have is sold meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_away_is_never_sold_out() {
    let store = Store::of(3).await;
    let node = store.node().await;
    let template = node.publish(Offer { total: 30, ..Offer::default() }).await;
    let users = users_of(3, 0, 22);
    node.win(&template, users[0], "r").await;
    store.lose(2).await;
    for user in &users[1..20] {
        node.win(&template, *user, "r").await;
    }
    for user in &users[20..] {
        let lost = node.give(node.claim(&template, *user, "r")).await;
        assert!(matches!(lost, Err(NotGiven::Failed(LedgerError::Unavailable(_)))), "{lost:?}");
        assert_eq!(node.heard.outcomes(*user, "r"), 1);
    }
    let again = node.give(node.claim(&template, users[0], "r")).await.expect("replayed");
    assert!(again.replayed);
}

// R10, R44: what is proven needs no other shard; replays come first all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_is_remembered_for_its_total() {
    let store = Store::of(2).await;
    let node = store.node().await;
    let template = node.publish(one_bucket(4)).await;
    let users = users_of(2, 0, 8);
    let won = node.win(&template, users[0], "r").await;
    for user in &users[1..4] {
        node.win(&template, *user, "r").await;
    }
    let lost = node.give(node.claim(&template, users[4], "r")).await;
    assert_eq!(refused(&lost), Rejection::SoldOut);
    let raised = node.raise(&template, 5).await;
    node.win(&raised, users[5], "r").await;
    let lost = node.give(node.claim(&raised, users[6], "r")).await;
    assert_eq!(refused(&lost), Rejection::SoldOut);
    node.finish().await;
    store.lose(1).await;
    let lost = node.give(node.claim(&raised, users[7], "r")).await;
    assert_eq!(refused(&lost), Rejection::SoldOut);
    let again = node.give(node.claim(&raised, users[0], "r")).await.expect("replayed");
    assert_eq!(again, Given { coupons: vec![won], replayed: true });
    let limit = node.give(node.claim(&raised, users[0], "other")).await;
    assert_eq!(refused(&limit), Rejection::LimitReached);
}

// R17, I5, F24: two nodes raise at once while both sell: the larger total counts, and all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raises_during_a_sale_add_up() {
    let store = Store::of(3).await;
    let nodes = [Arc::new(store.node().await), Arc::new(store.node().await)];
    let template = nodes[0].publish(Offer { total: 50, ..Offer::default() }).await;
    let mut raised = Arc::clone(&template);
    let mut sales = Vec::new();
    for (turn, total) in [(0_i64, 80_i64), (1, 140), (2, 333)] {
        let callers = (0..8_i64).map(|caller| {
            let (node, template) =
                (Arc::clone(&nodes[usize::from(caller % 2 == 1)]), Arc::clone(&raised));
            tokio::spawn(drain(node, template, 1 + turn * 8 + caller, 24))
        });
        sales.extend(callers);
        raised = nodes[0].raise_in_catalog(&raised, total).await;
        let grants = (0..6).map(|call| {
            let (node, id) = (Arc::clone(&nodes[call % 2]), template.id);
            // One of them has not heard of the last raise.
            let known = if call == 3 { total - 20 } else { total };
            tokio::spawn(async move { node.ledger().grant(id, 4, known).await.expect("granted") })
        });
        for grant in join_all(grants).await {
            assert_eq!(grant.expect("ended").buckets, 4);
        }
    }
    let rest = drain(Arc::clone(&nodes[1]), Arc::clone(&raised), 100_000, 1).await;
    let won = join_all(sales).await.into_iter().flat_map(|won| won.expect("ended"));
    let ids: Vec<_> = won.chain(rest).map(|coupon| coupon.id).collect();
    assert_eq!(ids.len(), 333);
    assert_eq!(nodes[0].stock(template.id).await, (333, 333));
    nodes[0].finish().await;
}

// R17, I5: a grant that was cut off between two shards, on one that carries pieces away meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_cut_off_is_finished_by_the_next() {
    let store = Store::of(3).await;
    let node = store.node().await;
    let template = node.publish(Offer { total: 31, ..Offer::default() }).await;
    for table in ["stock_grant", "stock_bucket"] {
        let id = template.id;
        store.execute(2, &format!("DELETE FROM {table} WHERE template_id = {id}")).await;
    }
    store.cut_off(77, &template, (1, 0), 2).await;
    let usecases = usecases(&node);
    usecases.gate.load(node.ledger(), std::slice::from_ref(&template)).await.expect("loaded");
    for _ in 0..2 {
        usecases.settle_buckets(&template).await.expect("settled");
    }
    let claim =
        GateClaim { user: user_id(1), request_hash: 1, fingerprint: Fingerprint::from_stored(1) };
    let verdict = usecases.gate.admit(&template, claim).await;
    assert_eq!(verdict, Verdict::NotLoaded, "the gate forgets what it knew of the stock");
    let shares = deal(31, 3);
    assert_eq!(node.stock(template.id).await, (31 - 2, 0), "two are still under way");
    let rows = node.ledger().buckets(template.id).await.expect("buckets");
    assert!(rows.iter().all(|(_, row)| row.open), "opened like the others");
    let on_the_third: i64 =
        rows.iter().filter(|(shard, _)| *shard == 2).map(|(_, row)| row.granted).sum();
    assert_eq!(on_the_third, shares[2]);
    let again = node.ledger().grant(template.id, 4, 31).await;
    assert_eq!(again, Ok(Granted { buckets: 4, pieces: 0 }));
    let users = users_of(3, 2, 32);
    for user in &users[..31] {
        node.win(&template, *user, "r").await;
    }
    let lost = node.give(node.claim(&template, users[31], "r")).await;
    assert_eq!(refused(&lost), Rejection::SoldOut);
    node.finish().await;
}

fn usecases(node: &World) -> UseCases {
    let Opened { ledger, catalog, mint } = node.opened();
    UseCases {
        catalog: Arc::clone(catalog),
        ledger: Arc::clone(ledger),
        gate: Arc::new(EmbeddedGate::new(10)),
        clock: Arc::new(ManualClock::new(node.now)),
        mint: Arc::clone(mint),
        loader: GateLoader::new().0,
        metrics: Arc::default(),
        config: Arc::new(Config::default()),
    }
}

// The effect belongs to the ledger, also while stock is fetched from elsewhere: a caller that goes
// away loses the answer, and the gate still hears one outcome.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_during_a_refill_is_settled_once() {
    let store = Store::of(3).await;
    let node = store.node().await;
    let template = node.publish(one_bucket(9)).await;
    let users = users_of(3, 0, 12);
    for user in &users {
        let mut call = Box::pin(node.give(node.claim(&template, *user, "r")));
        let _ = futures::poll!(call.as_mut());
    }
    let all = async {
        while users.iter().any(|user| node.heard.outcomes(*user, "r") == 0) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("all are settled");
    assert_eq!(node.stock(template.id).await, (9, 9));
    assert!(users.iter().all(|user| node.heard.outcomes(*user, "r") == 1));
    node.finish().await;
}

// I10: nobody waits for a refill beyond its deadline, and nothing is given after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refill_is_not_waited_for_beyond_the_deadline() {
    let store = Store::of(2).await;
    let node = store.node().await;
    let template = node.publish(one_bucket(2)).await;
    let users = users_of(2, 0, 3);
    node.win(&template, users[0], "r").await;
    // The only connection that writes to the other shard is taken.
    let other = sea_orm::TransactionTrait::begin(&store.databases.shards[1].write).await;
    let other = other.expect("begun");
    let mut late = node.claim(&template, users[1], "r");
    late.deadline = std::time::Instant::now() + Duration::from_millis(300);
    assert_eq!(node.give(late).await, Err(LedgerError::Late.into()));
    assert_eq!(node.heard.outcomes(users[1], "r"), 1);
    other.rollback().await.expect("rolled back");
    node.win(&template, users[2], "r").await;
    assert_eq!(node.held(users[1], template.id).await, []);
    assert_eq!(node.stock(template.id).await, (2, 2));
    node.finish().await;
}
