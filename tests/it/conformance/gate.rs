//! What every gate keeps: live stock and holders in hot memory, in front of the ledger (R6).

pub(super) mod admission;
pub(super) mod loading;
pub(super) mod settlement;

use std::sync::Arc;

use async_trait::async_trait;
use coupon_domain::{Rejection, fingerprint::hash_request_id, ids::CouponId, template::Template};
use coupon_server::{
    gate::{Gate, GateClaim, Recall, Verdict},
    ledger::{GiveCommand, Given, NotGiven, Settle, Settlement},
};

use super::fixture::{LedgerUnderTest, Offer, Shape, World, refused};
use crate::harness::eventually;

/// A back end of the gate. Implement it, and add a line to the suites.
#[async_trait]
pub(crate) trait GateUnderTest: Send + Sync {
    /// An empty gate, and itself as the one who learns outcomes.
    async fn open(&self) -> (Arc<dyn Gate>, Arc<dyn Settle>);

    /// What is true of it beyond the contract.
    fn traits(&self) -> Traits;
}

/// Promises that not every gate can make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traits {
    /// It cannot lose what it has known: who is not known to it has not won.
    pub(crate) remembers: bool,
    /// An empty bucket takes from the others before it is dry; otherwise the ledger's does.
    pub(crate) shares_stock: bool,
}

/// A gate before a ledger.
pub(crate) struct GateWorld {
    under_test: Box<dyn GateUnderTest>,
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) settle: Arc<dyn Settle>,
    pub(crate) world: World,
}

impl GateWorld {
    pub(crate) async fn start(
        under_test: Box<dyn GateUnderTest>,
        ledger: Box<dyn LedgerUnderTest>,
        shape: Shape,
    ) -> Self {
        let (gate, settle) = under_test.open().await;
        let world = World::start(ledger, shape, Some(Arc::clone(&settle)), None).await;
        Self { under_test, gate, settle, world }
    }

    pub(crate) async fn finish(&self) {
        self.world.finish().await;
    }

    /// The process dies: what the gate knew is gone.
    pub(crate) async fn restart(&mut self) {
        let (gate, settle) = self.under_test.open().await;
        (self.gate, self.settle) = (gate, Arc::clone(&settle));
        self.world.restart_with_settle(settle).await;
    }

    /// A published template that the gate has loaded.
    pub(crate) async fn loaded(&self, offer: Offer) -> Arc<Template> {
        let template = self.world.publish(offer).await;
        self.load(&template).await;
        template
    }

    pub(crate) async fn load(&self, template: &Arc<Template>) {
        let ledger = self.world.ledger();
        self.gate.load(ledger, &[Arc::clone(template)]).await.expect("loaded");
    }

    pub(crate) async fn admit(&self, template: &Arc<Template>, user: i64, id: &str) -> Verdict {
        let command = self.world.claim(template, user, id);
        self.gate.admit(template, gate_claim(&command)).await
    }

    pub(crate) async fn recall(&self, template: &Arc<Template>, user: i64, id: &str) -> Recall {
        let command = self.world.claim(template, user, id);
        self.gate.recall(template, gate_claim(&command)).await
    }

    pub(crate) fn traits(&self) -> Traits {
        self.under_test.traits()
    }

    /// The gate knows of no win of this request, and says no more than it can.
    pub(crate) async fn knows_no_win(&self, template: &Arc<Template>, user: i64, id: &str) {
        match self.recall(template, user, id).await {
            Recall::Nothing => {}
            Recall::Unknown => assert!(!self.traits().remembers, "it remembers every win"),
            other => panic!("user {user} has not won {id}, but {other:?}"),
        }
    }

    /// Why a claim is refused, by the gate from what is proven or by the ledger that it goes on to.
    pub(crate) async fn refusal(&self, template: &Arc<Template>, user: i64, id: &str) -> Rejection {
        match self.admit(template, user, id).await {
            Verdict::SoldOut => Rejection::SoldOut,
            Verdict::Limit => Rejection::LimitReached,
            Verdict::Replay(_) | Verdict::KeyReused => panic!("{id} of {user} is no win"),
            on => refused(&self.give(template, user, id, on == Verdict::Admitted).await),
        }
    }

    /// The ledger has proven "sold out": from now on the gate answers it to strangers, as soon as it
    /// knows who is none.
    pub(crate) async fn proven(&self, template: &Arc<Template>) {
        eventually("strangers are told that it is sold out", async || {
            let stranger = self.admit(template, 7_777_777, "stranger").await;
            if stranger == Verdict::NotLoaded {
                self.load(template).await;
            }
            (stranger == Verdict::SoldOut).then_some(())
        })
        .await;
    }

    /// To the ledger, with or without a unit set aside.
    pub(crate) async fn give(
        &self,
        template: &Arc<Template>,
        user: i64,
        id: &str,
        holds_unit: bool,
    ) -> Result<Given, NotGiven> {
        let command = GiveCommand { holds_unit, ..self.world.claim(template, user, id) };
        self.world.give(command).await
    }

    /// Through the gate and the ledger, as a claim that wins.
    pub(crate) async fn win(&self, template: &Arc<Template>, user: i64, id: &str) -> CouponId {
        assert_eq!(self.admit(template, user, id).await, Verdict::Admitted);
        self.give(template, user, id, true).await.expect("won").coupons[0].id
    }

    /// Tells the gate an outcome that the ledger did not come to.
    pub(crate) fn pretend(
        &self,
        template: &Arc<Template>,
        user: i64,
        id: &str,
        holds_unit: bool,
        outcome: NotGiven,
    ) {
        let command = GiveCommand { holds_unit, ..self.world.claim(template, user, id) };
        self.settle.settle(&[Settlement { command: &command, outcome: &Err(outcome) }]);
    }

    /// How many of `users`, who hold nothing, are admitted.
    pub(crate) async fn admitted(
        &self,
        template: &Arc<Template>,
        users: std::ops::Range<i64>,
    ) -> usize {
        let mut admitted = 0;
        for user in users {
            match self.admit(template, user, "probe").await {
                Verdict::Admitted => admitted += 1,
                Verdict::Dry | Verdict::SoldOut => {}
                other => panic!("user {user} holds nothing, but {other:?}"),
            }
        }
        admitted
    }
}

pub(crate) fn gate_claim(command: &GiveCommand) -> GateClaim {
    GateClaim {
        user: command.user,
        request_hash: hash_request_id(&command.request_id),
        fingerprint: command.fingerprint,
    }
}

/// The coupon of a replay.
pub(crate) fn replayed(verdict: Verdict) -> CouponId {
    match verdict {
        Verdict::Replay(holding) => holding.coupon.id,
        other => panic!("not a replay: {other:?}"),
    }
}
