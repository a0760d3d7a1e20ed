//! Runs steps through the ledger and the model side by side.

use std::{future::Future, pin::Pin, sync::Arc};

use coupon_domain::{
    ids::CouponId,
    redemption::{RefundOf, VoidCommand},
    template::Template,
    time::Timestamp,
};
use coupon_server::{
    alarm::embedded::EmbeddedAlarms,
    clock::{Clock, ManualClock},
    ledger::{Fresh, Given, NotGiven, NotRedeemed, RedeemCommand, Redeemed},
    worker::{alarms::AlarmHandler, relay::Relay},
};
use proptest::prelude::*;

use super::{
    commands::{close, lock, offer},
    giving::{Giving, Observed, explain},
    outcomes::{Came, came},
    redeeming::Use,
    sequential::{Fate, Model, Piece},
    steps::{NOT_OWN, Named, Quoted, Step},
};
use crate::conformance::{
    fixture::{
        DAY, MINUTE, MS, Shape, World, deadline, issue_at, refund_command, submitted, user_id,
    },
    sqlite_shaped,
};

/// Whether ledger and model agree.
pub(super) type Verdict = Result<(), TestCaseError>;
type Gives = Pin<Box<dyn Future<Output = Vec<Result<Given, NotGiven>>> + Send>>;
type Redeems = Pin<Box<dyn Future<Output = Result<Redeemed, NotRedeemed>> + Send>>;

/// Commands to give that may be under way together: the search for their order is exponential.
const GIVES_MAX: usize = 12;

/// A command on redemptions under way, and what the model came to.
struct Redeeming {
    user: i64,
    order: &'static str,
    what: String,
    at: i64,
    expected: Option<Came>,
    call: Redeems,
}

/// Ledger and model.
pub(super) struct Runner {
    pub(super) world: World,
    pub(super) model: Model,
    pub(super) templates: Vec<Arc<Template>>,
    parcel: Vec<Giving>,
    gives: Vec<(Vec<Giving>, Gives)>,
    redeems: Vec<Redeeming>,
}

impl Runner {
    pub(super) async fn start(group_max: usize) -> Self {
        let mut world = sqlite_shaped(Shape { group_max, queue_max: 1_000 }).await;
        let model = Model::new(world.now.as_millis());
        let mut templates = Vec::new();
        for shelf in &model.shelves {
            templates.push(world.publish(offer(shelf)).await);
        }
        // Not at the border of a minute or a day.
        world.pass(30 * MINUTE + 7 * MS);
        Self { world, model, templates, parcel: Vec::new(), gives: Vec::new(), redeems: Vec::new() }
    }

    pub(super) fn at(&self) -> i64 {
        self.world.now.as_millis()
    }

    pub(super) async fn step(&mut self, step: &Step) -> Verdict {
        match step {
            Step::Give { user, template, request, pieces } => {
                let (who, at) = ((*user, *template), self.at());
                self.parcel.push(Giving { who, request, pieces: *pieces, at });
                let under_way: usize = self.gives.iter().map(|(parcel, _)| parcel.len()).sum();
                if under_way + self.parcel.len() >= GIVES_MAX {
                    self.wait().await?;
                }
            }
            Step::Cut => self.cut().await,
            Step::Wait => self.wait().await?,
            Step::Pass { time } => self.world.pass(*time),
            Step::Ring => {
                self.wait().await?;
                self.ring().await;
                self.compare().await?;
            }
            Step::Crash => {
                self.wait().await?;
                self.world.restart().await;
            }
            Step::Open { template, open } => {
                self.wait().await?;
                self.model.shelves[*template].open = *open;
                let id = self.templates[*template].id;
                self.world.ledger().set_open(id, *open).await.expect("set");
            }
            Step::Raise { template, by } => {
                self.wait().await?;
                let shelf = &mut self.model.shelves[*template];
                shelf.total += by;
                let raised = self.world.raise(&self.templates[*template], shelf.total).await;
                self.templates[*template] = raised;
            }
            redeem => self.redeem(redeem).await,
        }
        Ok(())
    }

    /// Hands the parcel over.
    async fn cut(&mut self) {
        let parcel = std::mem::take(&mut self.parcel);
        if parcel.is_empty() {
            return;
        }
        let commands = parcel.iter().map(|giving| {
            let template = &self.templates[giving.who.1];
            let at = Timestamp::from_millis(giving.at);
            issue_at(template, giving.who.0, giving.request, giving.pieces, at)
        });
        let (ledger, commands) = (Arc::clone(self.world.ledger()), commands.collect());
        let call = submitted(async move { ledger.give(commands).await }).await;
        self.gives.push((parcel, call));
    }

    /// Waits for everything under way and compares it with the model.
    async fn wait(&mut self) -> Verdict {
        self.cut().await;
        let mut observed = Vec::new();
        for (parcel, call) in std::mem::take(&mut self.gives) {
            let outcomes = call.await;
            prop_assert_eq!(outcomes.len(), parcel.len());
            let pairs = parcel.into_iter().zip(outcomes);
            observed.extend(pairs.map(|(giving, outcome)| Observed::of(giving, outcome)));
        }
        if let Err(misfit) = explain(&mut self.model, &observed) {
            return Err(TestCaseError::fail(misfit));
        }
        for redeeming in std::mem::take(&mut self.redeems) {
            let Redeeming { user, order, what, at, expected, call } = redeeming;
            let outcome = call.await;
            let Some(expected) = expected else { continue };
            prop_assert_eq!(came(&outcome, at), expected, "{} of user {} at {}", what, user, at);
            self.bind(user, order, &outcome)?;
        }
        Ok(())
    }

    /// Learns the ids of reissued coupons, and checks those that are known.
    fn bind(
        &mut self,
        user: i64,
        order: &'static str,
        outcome: &Result<Redeemed, NotRedeemed>,
    ) -> Verdict {
        let Ok(Redeemed::Restored(restored)) = outcome else { return Ok(()) };
        let fates = self.model.orders[&(user, order)].refunds.values().next().cloned();
        for (index, fate) in fates.unwrap_or_default() {
            let Fate::New { piece, .. } = fate else { continue };
            let used = self.model.pieces[index].id;
            let one = restored.coupons.iter().find(|one| Some(one.coupon) == used);
            let reissued = one.and_then(|one| one.reissued);
            prop_assert!(reissued.is_some());
            let known = &mut self.model.pieces[piece].id;
            prop_assert_eq!(
                *known.get_or_insert(reissued.expect("checked")),
                reissued.expect("checked")
            );
        }
        Ok(())
    }

    /// The coupons at some places: the user's own that are known by their ids, somebody else's, and
    /// nobody's.
    fn coupons(&self, user: i64, places: &[usize]) -> Vec<CouponId> {
        let known = |own: bool| {
            let pieces = self.model.pieces.iter().filter(move |piece| (piece.user == user) == own);
            pieces.filter_map(|piece| piece.id).collect::<Vec<_>>()
        };
        let (own, foreign) = (known(true), known(false));
        let nobody = CouponId::new(99_990_000 + user % 10_000).expect("positive");
        let mut coupons = Vec::new();
        for place in places {
            let one = match *place {
                place if place < NOT_OWN && !own.is_empty() => own[place % own.len()],
                NOT_OWN => foreign.first().copied().unwrap_or(nobody),
                _ => nobody,
            };
            if !coupons.contains(&one) {
                coupons.push(one);
            }
        }
        coupons
    }

    fn named(&self, user: i64, order: &'static str, named: &Named) -> Vec<CouponId> {
        match named {
            Named::None => Vec::new(),
            Named::Other(places) => self.coupons(user, places),
            Named::Held => {
                let order = self.model.orders.get(&(user, order));
                let set = order.into_iter().flat_map(|order| &order.set);
                set.filter_map(|index| self.model.pieces[*index].id).rev().collect()
            }
        }
    }

    fn discount(&self, coupons: &[CouponId]) -> i64 {
        let known = |id: &CouponId| self.model.pieces.iter().find(|piece| piece.id == Some(*id));
        let off = |piece: &Piece| self.model.shelves[piece.template].off;
        coupons.iter().filter_map(known).map(off).sum()
    }

    /// Submits a command on redemptions, and runs it in the model: they are decided in the order in
    /// which they come.
    async fn redeem(&mut self, step: &Step) {
        let at = self.at();
        let what = format!("{step:?}");
        let (user, order, command, expected) = match step {
            Step::Lock { user, order, request, coupons, ttl, amount, quoted } => {
                let coupons = self.coupons(*user, coupons);
                let quoted = match quoted {
                    Quoted::No => None,
                    Quoted::Right => Some(self.discount(&coupons)),
                    Quoted::Wrong => Some(self.discount(&coupons) + 1),
                };
                let ttl_ms = i64::try_from(ttl.as_millis()).expect("short");
                let (command, limits) =
                    lock(*user, order, request, &coupons, *ttl, *amount, quoted);
                let what = Use::Lock { request, coupons, ttl: ttl_ms, amount: *amount, quoted };
                let expected = self.model.run(*user, order, &what, at);
                (*user, *order, RedeemCommand::Lock(command, limits), Some(expected))
            }
            Step::Confirm { user, order, request, named } => {
                let named = self.named(*user, order, named);
                let command = close("confirm", *user, order, request, &named);
                let expected = self.model.run(*user, order, &Use::Confirm { request, named }, at);
                (*user, *order, RedeemCommand::Confirm(command), Some(expected))
            }
            Step::Cancel { user, order, request, named } => {
                let named = self.named(*user, order, named);
                let command = close("cancel", *user, order, request, &named);
                let expected = self.model.run(*user, order, &Use::Cancel { request, named }, at);
                (*user, *order, RedeemCommand::Cancel(command), Some(expected))
            }
            Step::Restore { user, order, request } => {
                let expected = self.model.run(*user, order, &Use::Restore { request }, at);
                let command = refund_command(*user, order, request, RefundOf::Everything);
                (*user, *order, RedeemCommand::Restore(command), Some(expected))
            }
            Step::Void { user, coupon } => {
                let coupon = self.coupons(*user, &[*coupon])[0];
                let expected = self.model.void(*user, coupon, at);
                let command = VoidCommand { user: user_id(*user), coupon };
                (*user, "", RedeemCommand::Void(command), Some(expected))
            }
            Step::Lapse { user, order } => {
                let found =
                    self.world.ledger().redemption(user_id(*user), order, Fresh::Latest).await;
                let Some(found) = found.expect("readable") else { return };
                (*user, *order, RedeemCommand::Lapse(user_id(*user), found.id), None)
            }
            other => unreachable!("{other:?} is no command on redemptions"),
        };
        let (ledger, now) = (Arc::clone(self.world.ledger()), self.world.now);
        let call = submitted(async move { ledger.redeem(command, now, deadline()).await }).await;
        self.redeems.push(Redeeming { user, order, what, at, expected, call });
    }

    /// Rings every alarm that is due.
    async fn ring(&self) {
        let clock = Arc::new(ManualClock::new(self.world.now)) as Arc<dyn Clock>;
        let handler = AlarmHandler {
            ledger: Arc::clone(self.world.ledger()),
            queue: Arc::new(EmbeddedAlarms::new(Arc::clone(&clock))),
            relay: Arc::new(Relay::new(Arc::clone(&clock), DAY)),
            clock,
            chunk_rows: 2,
        };
        let alarms = self.world.ledger().alarms(0, Timestamp::MAX, 10_000).await.expect("readable");
        for alarm in alarms.into_iter().filter(|alarm| alarm.minute.due_at() <= self.world.now) {
            handler.ring(alarm).await.expect("rung");
        }
    }

    /// The end: all that is due has rung, and nothing is live once everything is over.
    pub(super) async fn finish(mut self) -> Verdict {
        self.wait().await?;
        self.compare().await?;
        self.ring().await;
        self.compare().await?;
        prop_assert_eq!(self.world.violations().await, Vec::<String>::new());
        self.world.pass(400 * DAY);
        self.ring().await;
        self.compare().await?;
        let alarms = self.world.ledger().alarms(0, Timestamp::MAX, 10_000).await.expect("readable");
        prop_assert_eq!(alarms, vec![], "everything is over");
        self.check_stored().await?;
        prop_assert_eq!(self.world.violations().await, Vec::<String>::new());
        Ok(())
    }
}
