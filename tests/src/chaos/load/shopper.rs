//! One user's visit: what they take, what they buy, and what they do twice.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{Ask, Shop, until_definite};
use crate::chaos::log::{Outcome, Verb};

/// How an order is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Keep,
    Pay,
    PayAndReturn,
    GiveUp,
    /// Locked for a moment and left.
    Forget,
    /// Confirm and Cancel at once.
    Both,
}

/// How long a lock holds that nobody comes back to.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(2);

/// A user with dice of their own.
pub(super) struct Shopper<'a> {
    shop: &'a Shop,
    user: i64,
    random: StdRng,
}

impl<'a> Shopper<'a> {
    pub(super) fn new(shop: &'a Shop, user: i64, random: StdRng) -> Self {
        Self { shop, user, random }
    }

    /// The whole visit.
    pub(super) async fn go(mut self) {
        let stage = self.shop.stage;
        match self.random.random_range(0..100) {
            0..45 => self.take(stage.hot, 1).await,
            45..68 => self.take(stage.ample, 1).await,
            68..73 if self.shop.doubles => self.rush(stage.ample).await,
            68..90 => {
                // Sometimes one more than is allowed.
                let claims = self.random.random_range(1..=4);
                self.take(stage.triple, claims).await;
            }
            _ => self.be_given(stage.ample).await,
        }
    }

    fn give(&self, verb: Verb, template: i64, request_id: String) -> Ask {
        Ask {
            verb,
            user: self.user,
            template,
            order: String::new(),
            request_id,
            coupons: Vec::new(),
            source: String::new(),
            lock_ttl: None,
        }
    }

    async fn take(&mut self, template: i64, claims: u32) {
        for number in 0..claims {
            let ask = self.give(Verb::Claim, template, format!("claim-{number}"));
            self.give_and_use(&ask).await;
        }
    }

    async fn be_given(&mut self, template: i64) {
        let ask = self.give(Verb::Issue, template, "issue".to_owned());
        self.give_and_use(&ask).await;
    }

    /// Two claims under ids of their own at once, where one coupon is allowed.
    async fn rush(&mut self, template: i64) {
        let [one, other] = ["rush-0", "rush-1"]
            .map(|request_id| self.give(Verb::Claim, template, request_id.to_owned()));
        self.twice_at_once(&one, &other).await;
    }

    /// Gets a coupon, uses it as the dice say, and asks for it again.
    async fn give_and_use(&mut self, ask: &Ask) {
        let outcome = if self.random.random_bool(0.15) && self.shop.doubles {
            self.twice_at_once(ask, ask).await.0
        } else {
            until_definite(self.shop, ask, &mut self.random).await
        };
        if self.random.random_bool(0.05) && ask.verb == Verb::Claim {
            let other = Ask { source: "other".to_owned(), ..ask.clone() };
            // Refused for good, it leaves its id free for another body; that one would then win.
            if outcome.is_done() {
                until_definite(self.shop, &other, &mut self.random).await;
            }
        }
        if let Outcome::Given { coupons, .. } = &outcome {
            for coupon in coupons.clone() {
                self.order(ask.template, coupon).await;
            }
        }
        if outcome.is_done() && ask.template == self.shop.stage.hot {
            self.shop.note_winner(ask);
        }
        if outcome.is_done() && self.random.random_bool(0.5) {
            until_definite(self.shop, ask, &mut self.random).await;
        }
    }

    /// Two requests at once, to nodes of their own.
    async fn twice_at_once(&mut self, one: &Ask, other: &Ask) -> (Outcome, Outcome) {
        let (mut dice, mut more) = (self.fork(), self.fork());
        futures::join!(
            until_definite(self.shop, one, &mut dice),
            until_definite(self.shop, other, &mut more)
        )
    }

    fn fork(&mut self) -> StdRng {
        StdRng::seed_from_u64(self.random.random())
    }

    fn plan(&mut self) -> Plan {
        match self.random.random_range(0..100) {
            0..35 => Plan::Keep,
            35..55 => Plan::Pay,
            55..65 => Plan::PayAndReturn,
            65..80 => Plan::GiveUp,
            80..87 => Plan::Forget,
            _ => Plan::Both,
        }
    }

    async fn order(&mut self, template: i64, coupon: i64) {
        let plan = self.plan();
        if plan == Plan::Keep {
            return;
        }
        let step = |verb: Verb, request_id: &str| Ask {
            verb,
            user: self.user,
            template,
            order: format!("order-{coupon}"),
            request_id: request_id.to_owned(),
            coupons: if verb == Verb::Lock { vec![coupon] } else { Vec::new() },
            source: String::new(),
            lock_ttl: (plan == Plan::Forget).then_some(FORGOTTEN),
        };
        let (lock, confirm) = (step(Verb::Lock, "lock"), step(Verb::Confirm, "confirm"));
        let (cancel, restore) = (step(Verb::Cancel, "cancel"), step(Verb::Restore, "restore"));
        until_definite(self.shop, &lock, &mut self.random).await;
        match plan {
            Plan::Keep | Plan::Forget => {}
            Plan::Pay => drop(until_definite(self.shop, &confirm, &mut self.random).await),
            Plan::PayAndReturn => {
                until_definite(self.shop, &confirm, &mut self.random).await;
                until_definite(self.shop, &restore, &mut self.random).await;
            }
            Plan::GiveUp => drop(until_definite(self.shop, &cancel, &mut self.random).await),
            Plan::Both => drop(self.twice_at_once(&confirm, &cancel).await),
        }
        if self.random.random_bool(0.2) {
            until_definite(self.shop, &lock, &mut self.random).await;
        }
    }
}
