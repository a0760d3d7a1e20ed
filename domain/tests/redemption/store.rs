//! A small store around the book: every command is loaded, decided, and written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use coupon_domain::{
    CouponFault, Refusal, Rejection,
    book::{AlarmKind, Book, Changes, Operation, OperationKind, Refund},
    cart::{Cart, CartLine},
    coupon::{Coupon, CouponStatus},
    fingerprint::{Fingerprint, Fingerprinter},
    ids::{CouponId, MintedId, RedemptionId, UserId},
    money::{Currency, Minor},
    redemption::{
        CloseCommand, ForceCommand, ForceVerb, LockCommand, Redemption, RefundOf, RequestMark,
        RestoreCommand, Restored, VoidCommand, cancel, confirm, force, lapse, lock, restore, void,
    },
    rules::{Benefit, RestorePolicy, Rules, UseWindow},
    time::{Minute, TimeZone, Timestamp},
};

use crate::shelf::{self, DAY, LIMITS, Shelf};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const TTL: Duration = Duration::from_secs(30 * 60);

pub(crate) fn coupon_id(number: i64) -> CouponId {
    CouponId::new(number).unwrap()
}

/// The order of the store's only user.
pub(crate) fn user() -> UserId {
    UserId::new(42).unwrap()
}

pub(crate) fn start() -> Timestamp {
    Timestamp::parse("2026-03-01T12:00:00Z").unwrap()
}

/// What is stored, and the time.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) now: Timestamp,
    pub(crate) templates: Shelf,
    pub(crate) coupons: BTreeMap<CouponId, Coupon>,
    pub(crate) redemptions: BTreeMap<RedemptionId, Redemption>,
    pub(crate) refunds: Vec<Refund>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) alarms: BTreeSet<(AlarmKind, Minute)>,
    minted: u16,
}

impl Store {
    /// Direct-off coupons 1 to `count` of as many templates, each 100 off, valid for 10 days from
    /// the start.
    pub(crate) fn with_coupons(count: i64) -> Self {
        let mut store = Self {
            now: start(),
            templates: Shelf::default(),
            coupons: BTreeMap::new(),
            redemptions: BTreeMap::new(),
            refunds: Vec::new(),
            operations: Vec::new(),
            alarms: BTreeSet::new(),
            minted: 0,
        };
        for number in 1..=count {
            store.add(number);
        }
        store
    }

    fn add(&mut self, number: i64) {
        let benefit = Benefit::DirectOff { amount: Minor::new(100) };
        let (currency, zone) = (Currency::parse("CNY").unwrap(), TimeZone::parse("UTC").unwrap());
        let rules = Rules {
            use_window: UseWindow::AfterClaim { days: 9 },
            restore: RestorePolicy::IfUnexpired,
            ..Rules::plain(benefit, currency, zone)
        };
        let template = shelf::template(number, rules, start());
        let until = start().plus(10 * DAY);
        let coupon = shelf::coupon(coupon_id(number), user(), number, start(), until);
        self.templates.0.insert(number, template);
        self.coupons.insert(coupon.id, coupon);
    }

    /// Changes a coupon's rules.
    pub(crate) fn with_rules(mut self, number: i64, change: impl FnOnce(&mut Rules)) -> Self {
        let template = self.templates.0.get_mut(&number).unwrap();
        change(Arc::make_mut(&mut template.rules));
        self
    }

    /// Changes a coupon behind the commands' back.
    pub(crate) fn with_coupon(mut self, number: i64, change: impl FnOnce(&mut Coupon)) -> Self {
        change(self.coupons.get_mut(&coupon_id(number)).unwrap());
        self
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    pub(crate) fn coupon(&self, number: i64) -> &Coupon {
        &self.coupons[&coupon_id(number)]
    }

    pub(crate) fn statuses(&self) -> Vec<CouponStatus> {
        self.coupons.values().map(|coupon| coupon.status).collect()
    }

    pub(crate) fn redemption(&self, order: &str) -> Option<&Redemption> {
        self.redemptions.values().find(|redemption| redemption.order == order)
    }

    /// Kinds of the operations logged, with the coupon: `(Lock, 1)`.
    pub(crate) fn log(&self) -> Vec<(OperationKind, i64)> {
        let entry = |one: &Operation| (one.kind, one.coupon.map_or(0, CouponId::get));
        self.operations.iter().map(entry).collect()
    }

    pub(crate) fn mint(&mut self) -> i64 {
        self.minted += 1;
        MintedId { second: 1, node: 0, counter: self.minted, slot: user().slot() }.compose()
    }

    /// Runs one command on all that is stored and writes what it changed, refused or not.
    pub(crate) fn run<T>(
        &mut self,
        command: impl FnOnce(&mut Book, &Shelf, Timestamp) -> T,
    ) -> (T, Changes) {
        let mut book = Book::default();
        self.coupons.values().for_each(|coupon| book.load_coupon(coupon.clone()));
        self.redemptions.values().for_each(|one| book.load_redemption(one.clone()));
        self.refunds.iter().for_each(|refund| book.load_refund(refund.clone()));
        let answer = command(&mut book, &self.templates, self.now);
        let changes = book.into_changes();
        for entry in &changes.coupons {
            assert_eq!(entry.loaded.as_ref(), self.coupons.get(&entry.current.id));
            self.coupons.insert(entry.current.id, entry.current.clone());
        }
        for entry in &changes.redemptions {
            assert_eq!(entry.loaded.as_ref(), self.redemptions.get(&entry.current.id));
            self.redemptions.insert(entry.current.id, entry.current.clone());
        }
        self.refunds.extend(changes.refunds.iter().map(|entry| entry.current.clone()));
        self.operations.extend(changes.operations.iter().cloned());
        self.alarms.extend(&changes.alarms);
        (answer, changes)
    }

    pub(crate) fn lock_with(&mut self, command: &LockCommand) -> Result<Redemption, Refusal> {
        let fresh = RedemptionId::new(self.mint()).unwrap();
        self.run(|book, templates, now| lock(book, command, templates, LIMITS, fresh, now)).0
    }

    pub(crate) fn lock(
        &mut self,
        order: &str,
        id: &str,
        coupons: &[i64],
    ) -> Result<Redemption, Rejection> {
        self.lock_with(&lock_command(order, id, coupons)).map_err(|refusal| refusal.reason)
    }

    pub(crate) fn confirm(
        &mut self,
        order: &str,
        coupons: &[i64],
    ) -> Result<Redemption, Rejection> {
        let command = close_command("confirm", order, coupons);
        self.run(|book, _, now| confirm(book, &command, now)).0.map_err(|refusal| refusal.reason)
    }

    pub(crate) fn cancel(&mut self, order: &str, coupons: &[i64]) -> Result<Redemption, Rejection> {
        let command = close_command("cancel", order, coupons);
        let fresh = RedemptionId::new(self.mint()).unwrap();
        let run = self.run(|book, _, now| cancel(book, &command, fresh, now));
        run.0.map_err(|refusal| refusal.reason)
    }

    /// The alarm of every lock rings.
    pub(crate) fn lapse(&mut self) -> usize {
        let ids: Vec<_> = self.redemptions.keys().copied().collect();
        let rings = |book: &mut Book, _: &Shelf, now| {
            ids.iter().filter(|id| lapse(book, **id, now)).count()
        };
        self.run(rings).0
    }

    pub(crate) fn force(&mut self, order: &str, verb: ForceVerb) -> Result<Redemption, Refusal> {
        self.force_for(order, verb, "the coordinator is gone")
    }

    pub(crate) fn force_for(
        &mut self,
        order: &str,
        verb: ForceVerb,
        reason: &str,
    ) -> Result<Redemption, Refusal> {
        let command = ForceCommand {
            user: user(),
            order: order.to_owned(),
            request: RequestMark {
                request_id: "force".to_owned(),
                fingerprint: Fingerprinter::new("force").text(reason).finish(),
            },
            verb,
            operator: "ann".to_owned(),
            reason: reason.to_owned(),
        };
        self.run(|book, _, now| force(book, &command, now)).0
    }

    pub(crate) fn restore(&mut self, order: &str, id: &str) -> Result<Restored, Rejection> {
        self.refund(order, id, RefundOf::Everything)
    }

    pub(crate) fn refund(
        &mut self,
        order: &str,
        id: &str,
        of: RefundOf,
    ) -> Result<Restored, Rejection> {
        let parts: Vec<i64> = match &of {
            RefundOf::Everything => vec![-1],
            RefundOf::Parts { lines, shipping } => {
                lines.iter().map(|line| line.quantity).chain([i64::from(*shipping)]).collect()
            }
        };
        let request =
            RequestMark { request_id: id.to_owned(), fingerprint: fingerprint("restore", &parts) };
        let command = RestoreCommand { user: user(), order: order.to_owned(), request, of };
        let mut fresh: Vec<_> = (0..10).map(|_| coupon_id(self.mint())).collect();
        let run = self.run(|book, templates, now| {
            restore(book, &command, templates, || fresh.pop().unwrap(), now)
        });
        run.0.map_err(|refusal| refusal.reason)
    }

    pub(crate) fn void(&mut self, number: i64) -> Result<Coupon, Rejection> {
        let command = VoidCommand { user: user(), coupon: coupon_id(number) };
        self.run(|book, _, now| void(book, command, now)).0.map_err(|refusal| refusal.reason)
    }
}

/// One line of 1,000.
pub(crate) fn cart() -> Cart {
    let line = CartLine {
        line_id: "a".to_owned(),
        product: 1,
        merchant: 0,
        category: String::new(),
        quantity: 1,
        amount: Minor::new(1_000),
    };
    let currency = Currency::parse("CNY").unwrap();
    Cart { currency, lines: vec![line], shipping: Minor::ZERO }
}

fn fingerprint(kind: &str, coupons: &[i64]) -> Fingerprint {
    Fingerprinter::new(kind).numbers(coupons.iter().copied()).finish()
}

pub(crate) fn lock_command(order: &str, id: &str, coupons: &[i64]) -> LockCommand {
    LockCommand {
        user: user(),
        order: order.to_owned(),
        request: RequestMark {
            request_id: id.to_owned(),
            fingerprint: fingerprint("lock", coupons),
        },
        coupons: coupons.iter().copied().map(coupon_id).collect(),
        cart: cart(),
        ttl: TTL,
        expected_discount: None,
    }
}

pub(crate) fn close_command(kind: &str, order: &str, coupons: &[i64]) -> CloseCommand {
    CloseCommand {
        user: user(),
        order: order.to_owned(),
        request: RequestMark {
            request_id: kind.to_owned(),
            fingerprint: fingerprint(kind, coupons),
        },
        coupons: coupons.iter().copied().map(coupon_id).collect(),
    }
}

/// Coupons and reasons of a refusal.
pub(crate) fn faults(refusal: &Refusal) -> Vec<(i64, Rejection)> {
    let pair = |fault: &CouponFault| (fault.coupon.get(), fault.reason);
    refusal.faults.iter().map(pair).collect()
}
