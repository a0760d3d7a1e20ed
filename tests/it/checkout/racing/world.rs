//! A platform behind an unruly network, and what can be seen of it past that network.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    thread,
};

use coupon_client::{ClientConfig, CouponClient, v1};
use coupon_domain::book::OperationKind;
use coupon_server::{audit, clock::wall_millis};
use coupon_tests::{
    cluster::ClusterOptions,
    services::Addresses,
    unruly::{Faults, Unruly},
};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use sqlx::{ConnectOptions as _, Row as _, sqlite::SqliteConnectOptions};
use tokio::sync::Barrier;
use v1::{CouponStatus, ErrorReason, RedemptionState};

use super::call::{Call, Order, Told};
use crate::{
    distributed::{self, Stage},
    harness::{
        self, Harness, PATIENCE, START_MS, eventually,
        given::{DAY, HOUR, claim, fixed, instant, reason, rules, template_of},
    },
};

/// [`START_MS`] as the command line takes it.
const START: &str = "2026-01-01T00:00:00Z";
const OPERATIONS: &str = "SELECT operation FROM coupon_operation WHERE coupon_id = ?";

/// See the module.
pub(super) struct World {
    /// Reaches the platform past the proxy.
    pub(super) client: CouponClient,
    /// Reaches it through the proxy, and asks once.
    caller: CouponClient,
    proxy: Unruly,
    platform: Platform,
    clocked: bool,
    orders: AtomicI64,
    seed: Seed,
}

enum Platform {
    Embedded(Box<Harness>),
    Distributed(Box<Stage>),
}

/// Says how to repeat a run that failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("COUPON_TEST_SEED={} repeats the network's choices", self.0);
        }
    }
}

/// How often each operation stands in the log of one coupon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    pub(super) locks: u32,
    pub(super) confirms: u32,
    pub(super) cancels: u32,
    pub(super) lapses: u32,
    pub(super) others: u32,
}

impl Effects {
    /// This many locks and nothing else.
    pub(super) const fn locked(locks: u32) -> Self {
        Self { locks, confirms: 0, cancels: 0, lapses: 0, others: 0 }
    }

    fn count(&mut self, operation: i32) {
        let kinds = [
            (OperationKind::Lock, &mut self.locks),
            (OperationKind::Confirm, &mut self.confirms),
            (OperationKind::Cancel, &mut self.cancels),
            (OperationKind::Lapse, &mut self.lapses),
        ];
        let kind = kinds.into_iter().find(|(kind, _)| kind.to_stored() == operation);
        *kind.map_or(&mut self.others, |(_, count)| count) += 1;
    }
}

impl World {
    /// One node with its own database, on a test clock.
    pub(super) async fn embedded() -> Self {
        let harness = harness::start().await;
        let (client, server) = (harness.client.clone(), harness.endpoint());
        let platform = Platform::Embedded(Box::new(harness));
        Self::behind(&[server], client, platform, true).await
    }

    /// Two nodes over real stores, on the wall's time.
    pub(super) async fn two_nodes() -> Self {
        Self::over(ClusterOptions::new(addresses()), false).await
    }

    /// One node over real stores, on a test clock.
    pub(super) async fn on_a_clock() -> Self {
        Self::over(ClusterOptions::on_test_clock(addresses(), START), true).await
    }

    async fn over(options: ClusterOptions, clocked: bool) -> Self {
        let stage = Box::pin(Stage::start_with(options)).await;
        let (client, servers) = (stage.a.clone(), stage.cluster.endpoints());
        Self::behind(&servers, client, Platform::Distributed(Box::new(stage)), clocked).await
    }

    async fn behind(
        servers: &[String],
        client: CouponClient,
        platform: Platform,
        clocked: bool,
    ) -> Self {
        let seed = std::env::var("COUPON_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = Seed(seed.unwrap_or_else(rand::random));
        let proxy = Unruly::start(servers, Faults::rough(), seed.0).await;
        let proxy = proxy.unwrap_or_else(|error| panic!("{error:#}"));
        // The tests ask again by themselves: what an answer means is what they are about.
        let config = ClientConfig {
            deadline: PATIENCE,
            max_attempts: 1,
            ..ClientConfig::new(proxy.endpoint())
        };
        let caller = CouponClient::connect(config).await.expect("the proxy answers");
        Self { client, caller, proxy, platform, clocked, orders: AtomicI64::new(0), seed }
    }

    /// The platform's time in milliseconds.
    pub(super) async fn now(&self) -> i64 {
        if !self.clocked {
            return wall_millis();
        }
        let clock = self.client.get_clock(coupon_client::dev::GetClockRequest {}).await;
        harness::given::millis(clock.expect("the clock").now)
    }

    /// Comes back at `at`: moves the clock where there is one, and waits for the wall's elsewhere.
    pub(super) async fn reach(&self, at: i64) {
        if self.clocked {
            let request = coupon_client::dev::AdvanceClockRequest { to: Some(instant(at)) };
            self.client.advance_clock(request).await.expect("the clock moves");
        } else {
            eventually("the time has come", async || (wall_millis() >= at).then_some(())).await;
        }
    }

    /// Lets a moment pass, so that what is done again would not be done at the same time.
    async fn tick(&self) {
        self.reach(self.now().await + 1).await;
    }

    /// An order of a new user with a coupon that is valid for thirty days.
    pub(super) async fn order(&self) -> Order {
        self.order_until(self.now().await + 30 * DAY).await
    }

    /// An order of a new user with a coupon that is valid until then.
    pub(super) async fn order_until(&self, valid_until: i64) -> Order {
        let number = self.orders.fetch_add(1, Ordering::Relaxed) + 1;
        // On either shard in turn, where there are two.
        let user = number + 5_000 * (number % 2);
        let coupon = self.give(user, valid_until).await;
        Order { user, id: format!("order-{number}"), coupon }
    }

    async fn give(&self, user_id: i64, valid_until: i64) -> i64 {
        let from = self.now().await - HOUR;
        let rules = v1::TemplateRules { use_window: fixed(from, valid_until), ..rules() };
        let template = v1::Template {
            claim_from: Some(instant(from)),
            claim_until: Some(instant(valid_until.min(from + DAY))),
            ..template_of(10, rules)
        };
        let request = v1::CreateTemplateRequest { template: Some(template), ..Default::default() };
        let draft = self.client.create_template(request).await.expect("a draft").template;
        let template_id = draft.expect("the draft").template_id;
        let request = v1::PublishTemplateRequest { template_id, ..Default::default() };
        self.client.publish_template(request).await.expect("published");
        let won = self.client.claim(claim(user_id, template_id, "")).await.expect("a win");
        won.coupon.expect("the coupon").coupon_id
    }

    /// One call through the proxy, until its outcome is known.
    pub(super) async fn settle(&self, call: Call) -> Told {
        let told = call.settle(self.caller.clone()).await;
        self.tick().await;
        told
    }

    /// All of them at once, in an order drawn from the seed. Comes back when everybody knows its
    /// outcome and no copy is under way any more; answers in the order given.
    pub(super) async fn race(&self, calls: impl IntoIterator<Item = Call>) -> Vec<Told> {
        let mut calls: Vec<_> = calls.into_iter().enumerate().collect();
        calls.shuffle(&mut StdRng::seed_from_u64(self.seed.0));
        let start = Arc::new(Barrier::new(calls.len()));
        let racing: Vec<_> = calls
            .into_iter()
            .map(|(place, call)| {
                let (client, start) = (self.caller.clone(), Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait().await;
                    (place, call.settle(client).await)
                })
            })
            .collect();
        let mut told = Vec::with_capacity(racing.len());
        for one in racing {
            told.push(one.await.expect("no panic"));
        }
        self.proxy.settled().await;
        self.tick().await;
        told.sort_by_key(|(place, _)| *place);
        told.into_iter().map(|(_, told)| told).collect()
    }

    /// A redemption as it is now.
    pub(super) async fn redemption(&self, order: &Order) -> v1::Redemption {
        let order_id = order.id.clone();
        let request = v1::GetRedemptionRequest { user_id: order.user, order_id };
        let found = self.client.get_redemption(request).await.expect("the redemption");
        found.redemption.expect("the redemption")
    }

    /// Nothing was ever stored of this order.
    pub(super) async fn never_stored(&self, order: &Order) {
        let order_id = order.id.clone();
        let request = v1::GetRedemptionRequest { user_id: order.user, order_id };
        let found = self.client.get_redemption(request).await;
        assert_eq!(reason(found), ErrorReason::RedemptionNotFound);
    }

    /// The order's coupon as it is now, on which both of its reads agree.
    pub(super) async fn coupon(&self, order: &Order) -> v1::Coupon {
        let request = v1::GetCouponRequest { user_id: order.user, coupon_id: order.coupon };
        let coupon = self.client.get_coupon(request).await.expect("the coupon").coupon;
        let coupon = coupon.expect("the coupon");
        let request = v1::ListCouponsRequest { user_id: order.user, ..Default::default() };
        let wallet = self.client.list_coupons(request).await.expect("the wallet").coupons;
        let listed = wallet.iter().find(|listed| listed.coupon_id == order.coupon);
        assert_eq!(listed, Some(&coupon), "the wallet says what the coupon says");
        coupon
    }

    /// What the log holds of the order's coupon.
    pub(super) async fn effects(&self, order: &Order) -> Effects {
        let mut effects = Effects::default();
        match &self.platform {
            Platform::Embedded(harness) => {
                let path = harness.folder().join("coupon.db");
                let options = SqliteConnectOptions::new().filename(path).read_only(true);
                let mut database = options.connect().await.expect("the database can be read");
                let rows = sqlx::query(OPERATIONS).bind(order.coupon).fetch_all(&mut database);
                rows.await.expect("the log").iter().for_each(|row| effects.count(row.get(0)));
            }
            Platform::Distributed(stage) => {
                for url in &stage.cluster.databases.shard_urls {
                    let mut shard = distributed::connect(url).await;
                    let rows = sqlx::query(OPERATIONS).bind(order.coupon).fetch_all(&mut shard);
                    rows.await.expect("the log").iter().for_each(|row| effects.count(row.get(0)));
                }
            }
        }
        effects
    }

    /// The redemption, the wallet and the log tell this story.
    pub(super) async fn ends(
        &self,
        order: &Order,
        state: RedemptionState,
        status: CouponStatus,
        effects: Effects,
    ) {
        assert_eq!(self.redemption(order).await.state(), state, "{order:?}");
        let coupon = self.coupon(order).await;
        assert_eq!(coupon.status(), status, "{order:?}");
        let held = matches!(status, CouponStatus::Locked | CouponStatus::Used);
        assert_eq!(coupon.order_id, if held { order.id.as_str() } else { "" });
        assert_eq!(self.effects(order).await, effects, "{order:?}");
    }

    /// The network has done its worst, nobody is left waiting, and the rows are as they must be.
    pub(super) async fn finish(self) {
        let Self { client, caller, proxy, platform, seed, .. } = self;
        proxy.settled().await;
        let counts = proxy.counts();
        eprintln!("seed {}: {counts:?}", seed.0);
        let sent = [counts.copies, counts.late, counts.delayed, counts.overtaken];
        assert!(sent.iter().all(|count| *count > 0), "{counts:?}");
        assert!(counts.lost + counts.abandoned > 0, "{counts:?}");
        assert_eq!(counts.unanswered, 0, "{counts:?}");
        drop((client, caller, proxy));
        match platform {
            Platform::Embedded(harness) => {
                let folder = harness.stop().await;
                let report = audit::run(&harness::config(folder.path())).await;
                let report = report.expect("the audit runs");
                assert!(report.is_clean(), "{report:#?}");
            }
            Platform::Distributed(stage) => Box::pin(stage.finish()).await,
        }
    }
}

/// The stores without their replicas, so that what is read past the proxy is what has been decided,
/// whoever was told of it.
fn addresses() -> Addresses {
    let found = Addresses::from_env().unwrap_or_else(|error| panic!("{error:#}"));
    let mysql_replicas = vec![String::new(); found.mysql_shards.len()];
    Addresses { mysql_replicas, ..found }
}

/// The test clock of both back ends starts together with the harness's.
#[test]
fn the_clocks_start_together() {
    let start = coupon_domain::time::Timestamp::parse(START).expect("an instant");
    assert_eq!(start.as_millis(), START_MS);
}
