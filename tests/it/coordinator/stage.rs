//! A coordinator, a platform and an order service, each on its own.

use coupon_client::{CouponClient, tonic::Status, v1};
use coupon_tests::{
    dtm::{
        Coordinator, DtmClient, OrderRequest, OrderState, Orders, Participant, Tcc, TransOptions,
        TransactionState, dtm_binary,
    },
    process::{ServerOptions, ServerProcess},
};
use tempfile::TempDir;
use v1::{CouponStatus, RedemptionState};

use crate::harness::{
    connect, eventually,
    given::{claim, lock, template},
    programs::{server, skipped},
};

/// Where the test clock stands; locks lapse only when a test moves it.
const CLOCK: &str = "2026-01-01T00:00:00Z";
/// The shortest interval that dtm has.
const RETRY_S: i64 = 1;
/// Longer than any test prepares its transactions.
const PATIENCE_S: i64 = 600;

/// What a transaction of these tests runs on.
pub(super) struct Stage {
    pub(super) coordinator: Coordinator,
    pub(super) dtm: DtmClient,
    pub(super) orders: Orders,
    pub(super) client: CouponClient,
    pub(super) process: ServerProcess,
    options: ServerOptions,
    folder: TempDir,
    template: i64,
}

impl Stage {
    /// Starts all three; `None` when dtm has not been built, which is told as a skipped test.
    pub(super) async fn start() -> Option<Self> {
        let Some(program) = dtm_binary().expect("a program, or none") else {
            skipped(
                "needs dtm, which `cargo xtask test` builds where Go 1.18 or later is installed",
            );
            return None;
        };
        let coordinator = Coordinator::start(&program).await;
        let coordinator = coordinator.unwrap_or_else(|error| panic!("{error:#}"));
        let dtm = coordinator.client().expect("an address");
        let orders = Orders::start().await.expect("the order service listens");
        let folder = tempfile::tempdir().expect("a folder");
        let options = ServerOptions {
            test_clock: Some(CLOCK.to_owned()),
            ..ServerOptions::new(folder.path())
        };
        let process = start_server(&options).await;
        // It is restarted where the coordinator looks for it.
        let options = ServerOptions { listen: Some(process.addr().to_string()), ..options };
        let client = connect(process.endpoint()).await;
        let template = publish(&client).await;
        Some(Self { coordinator, dtm, orders, client, process, options, folder, template })
    }

    /// Where the platform's methods are.
    pub(super) fn coupons(&self) -> Participant {
        let address = self.process.addr().to_string();
        Participant::new(&address, "coupon.v1.RedemptionService", "Lock")
    }

    /// Gives the user a coupon of 5.00; answers its id. Each user has one.
    pub(super) async fn give(&self, user: i64) -> i64 {
        let won = self.client.claim(claim(user, self.template, "")).await.expect("a win");
        won.coupon.expect("the coupon").coupon_id
    }

    /// Registers the platform's branch and locks a coupon.
    pub(super) async fn lock(&self, tcc: &mut Tcc, user: i64, coupon: i64) -> Result<(), Status> {
        let request = lock(user, &order(user), "try", &[coupon]);
        let locked: v1::LockResponse = tcc.call(&self.coupons(), request).await?;
        let redemption = locked.redemption.expect("the redemption");
        assert_eq!(redemption.state(), RedemptionState::Locked);
        Ok(())
    }

    /// Registers the order service's branch and reserves the order.
    pub(super) async fn reserve(&self, tcc: &mut Tcc, user: i64) -> Result<(), Status> {
        tcc.call(&self.orders.participant(), OrderRequest { order_id: order(user) }).await
    }

    /// Begins a transaction and calls every Try, the order's first: dtm ends the last branch first, so
    /// that the coupons are confirmed before the order is sold.
    pub(super) async fn tried(&self, user: i64, coupon: i64) -> Tcc {
        let mut tcc = Tcc::begin(&self.dtm, options()).await.expect("a transaction");
        self.reserve(&mut tcc, user).await.expect("reserved");
        self.lock(&mut tcc, user, coupon).await.expect("locked");
        tcc
    }

    /// The same with the order last, so that the coupons are confirmed only when the order is sold.
    pub(super) async fn tried_order_last(&self, user: i64, coupon: i64) -> Tcc {
        let mut tcc = Tcc::begin(&self.dtm, options()).await.expect("a transaction");
        self.lock(&mut tcc, user, coupon).await.expect("locked");
        self.reserve(&mut tcc, user).await.expect("reserved");
        tcc
    }

    /// Waits until a transaction has ended so.
    pub(super) async fn ends(&self, gid: &str, state: TransactionState) {
        eventually(&format!("transaction {gid} is {state:?}"), async || {
            // It may be down at the moment.
            let now = self.coordinator.state(gid).await.ok()?;
            let over = matches!(now, TransactionState::Succeed | TransactionState::Failed);
            assert!(now == state || !over, "transaction {gid} is {now:?}");
            (now == state).then_some(())
        })
        .await;
    }

    /// The user's coupon and the order, as both participants see them now.
    pub(super) async fn seen(&self, user: i64, coupon: i64) -> (CouponStatus, Option<OrderState>) {
        let request = v1::GetCouponRequest { user_id: user, coupon_id: coupon };
        let found = self.client.get_coupon(request).await.expect("the coupon");
        (found.coupon.expect("the coupon").status(), self.orders.state(&order(user)))
    }

    /// The redemption of the user's order now.
    pub(super) async fn redemption(&self, user: i64) -> v1::Redemption {
        let request = v1::GetRedemptionRequest { user_id: user, order_id: order(user) };
        let found = self.client.get_redemption(request).await.expect("the redemption");
        found.redemption.expect("the redemption")
    }

    /// Starts the platform's server again, after it was killed, with its address and data.
    pub(super) async fn revive(&mut self) {
        self.process = start_server(&self.options).await;
    }

    /// Ends the platform's server and audits what it leaves.
    pub(super) async fn finish(self) {
        let Self { client, process, folder, .. } = self;
        drop(client);
        process.stop().await.expect("it stops");
        let data_dir = folder.path().to_str().expect("a path in UTF-8");
        let audit = server(&["audit", "--data-dir", data_dir]).await;
        assert_eq!(audit.code, Some(0), "{audit:?}");
    }
}

/// The order of a user of these tests.
pub(super) fn order(user: i64) -> String {
    format!("order-{user}")
}

/// A failed branch is soon called again, and nothing is timed out.
pub(super) fn options() -> TransOptions {
    TransOptions {
        retry_interval_s: RETRY_S,
        timeout_to_fail_s: PATIENCE_S,
        ..TransOptions::default()
    }
}

async fn start_server(options: &ServerOptions) -> ServerProcess {
    let started = ServerProcess::start(options.clone()).await;
    started.unwrap_or_else(|error| panic!("{error:#}"))
}

async fn publish(client: &CouponClient) -> i64 {
    let create =
        v1::CreateTemplateRequest { template: Some(template(1_000)), ..Default::default() };
    let draft = client.create_template(create).await.expect("a draft").template;
    let template_id = draft.expect("the draft").template_id;
    let publish = v1::PublishTemplateRequest { template_id, ..Default::default() };
    client.publish_template(publish).await.expect("published");
    template_id
}
