//! The model's redemptions, from the comments of `redemption.proto`.

use coupon_domain::{Rejection, ids::CouponId};

use super::{
    outcomes::{Back, Came},
    sequential::{DAY_MS, Fate, Model, Order, Phase, Piece, Refund, Standing, Window, end_of_day},
};

/// How often an order may be locked.
pub(super) const LOCKS_MAX: usize = 2;
/// How far after the first a lock may reach.
pub(super) const HORIZON_MS: i64 = 2 * DAY_MS;

/// A command with real coupon ids.
#[derive(Debug, Clone)]
pub(super) enum Use {
    Lock {
        request: &'static str,
        coupons: Vec<CouponId>,
        ttl: i64,
        amount: i64,
        quoted: Option<i64>,
    },
    Confirm {
        request: &'static str,
        named: Vec<CouponId>,
    },
    Cancel {
        request: &'static str,
        named: Vec<CouponId>,
    },
    Restore {
        request: &'static str,
    },
}

fn refused(reason: Rejection) -> Came {
    Came::Refused(reason, Vec::new())
}

impl Model {
    fn answer(&self, order: &Order) -> Came {
        let ids = order.set.iter().filter_map(|index| self.pieces[*index].id).collect();
        let until = (order.phase == Phase::Locked).then_some(order.until);
        Came::Order(order.phase, ids, order.discount, until)
    }

    pub(super) fn run(&mut self, user: i64, order: &'static str, what: &Use, at: i64) -> Came {
        self.pass(at);
        let key = (user, order);
        match what {
            Use::Lock { request, coupons, ttl, amount, quoted } => {
                let body = format!("{coupons:?} {ttl} {amount} {quoted:?}");
                let before = self.orders.get(&key);
                if let Some(answer) = before.and_then(|one| self.locked_before(one, request, &body))
                {
                    return answer;
                }
                self.lock(key, (*request, body), coupons, (*ttl, *amount, *quoted), at)
            }
            Use::Confirm { request, named } => self.confirm(key, request, named),
            Use::Cancel { request, named } => self.cancel(key, request, named),
            Use::Restore { request } => self.restore(key, request, at),
        }
    }

    /// The end of a Lock that repeats, or comes too late.
    fn locked_before(&self, found: &Order, request: &str, body: &str) -> Option<Came> {
        let gone = match found.phase {
            Phase::Cancelled => Some(Rejection::OrderCancelled),
            Phase::Restored => Some(Rejection::OrderRestored),
            _ => None,
        };
        if let Some((_, known)) = found.locks.iter().find(|(id, _)| *id == request) {
            if known != body {
                return Some(refused(Rejection::IdempotencyKeyReused));
            }
            return Some(match (gone, found.phase) {
                (Some(gone), _) => refused(gone),
                (None, Phase::Lapsed) => refused(Rejection::LockLapsed),
                (None, _) => self.answer(found),
            });
        }
        match (gone, found.phase) {
            (Some(gone), _) => Some(refused(gone)),
            (None, Phase::Confirmed) => Some(refused(Rejection::OrderConfirmed)),
            _ if found.locks.len() >= LOCKS_MAX => Some(refused(Rejection::TooManyLocks)),
            _ => None,
        }
    }

    fn lock(
        &mut self,
        key: (i64, &'static str),
        mark: (&'static str, String),
        coupons: &[CouponId],
        (ttl, amount, quoted): (i64, i64, Option<i64>),
        at: i64,
    ) -> Came {
        let mut faults = Vec::new();
        let mut set = Vec::new();
        for id in coupons {
            let index = self.find(key.0, *id);
            match index
                .map_or(Some(Rejection::CouponNotFound), |one| self.fault(one, key.1, amount, at))
            {
                Some(reason) => faults.push((*id, reason)),
                None => set.extend(index),
            }
        }
        if faults.is_empty() && set.len() > 1 {
            let alone = |index: &&usize| self.shelves[self.pieces[**index].template].alone;
            let id = |index: &usize| self.pieces[*index].id.expect("named by its id");
            faults =
                set.iter().filter(alone).map(|one| (id(one), Rejection::CouponMutex)).collect();
        }
        if let Some(reason) = faults.iter().map(|(_, reason)| *reason).min() {
            return Came::Refused(reason, faults);
        }
        // All reach the same lines, so they apply by template, then by coupon.
        set.sort_unstable_by_key(|index| (self.pieces[*index].template, self.pieces[*index].id));
        let discount = set.iter().map(|index| self.shelves[self.pieces[*index].template].off).sum();
        if quoted.is_some_and(|quoted| quoted != discount) {
            return refused(Rejection::QuoteChanged);
        }
        let before = self.orders.get(&key);
        let first = before.map_or(at, |order| order.first);
        let until = (at + ttl).min(first + HORIZON_MS);
        if until <= at {
            return refused(Rejection::LockLapsed);
        }
        let mut locks = before.map(|order| order.locks.clone()).unwrap_or_default();
        locks.push(mark);
        if before.is_some() {
            self.release(key, &set);
        }
        for index in &set {
            let piece = &mut self.pieces[*index];
            (piece.standing, piece.order) = (Standing::Held, Some(key.1));
        }
        let (phase, closed_by, refunds) = (Phase::Locked, None, Default::default());
        let order = Order { phase, set, discount, locks, closed_by, first, until, refunds };
        let answer = self.answer(&order);
        self.orders.insert(key, order);
        answer
    }

    /// Why the order cannot lock a coupon, in order of precedence.
    fn fault(&self, index: usize, order: &str, amount: i64, at: i64) -> Option<Rejection> {
        let piece = &self.pieces[index];
        let shelf = &self.shelves[piece.template];
        match piece.standing {
            Standing::Voided => return Some(Rejection::CouponVoided),
            Standing::Used => return Some(Rejection::CouponUsed),
            Standing::Held if piece.order != Some(order) => return Some(Rejection::CouponLocked),
            Standing::Held | Standing::Free => {}
        }
        if at < piece.use_from {
            return Some(Rejection::CouponNotYetValid);
        }
        if at >= piece.until {
            return Some(Rejection::CouponExpired);
        }
        (amount < shelf.threshold).then_some(Rejection::BelowThreshold)
    }

    /// Whether the coupons named are the set of the order.
    fn is_set(&self, order: &Order, named: &[CouponId]) -> bool {
        let mut held: Vec<_> =
            order.set.iter().filter_map(|index| self.pieces[*index].id).collect();
        let mut named = named.to_vec();
        held.sort_unstable();
        named.sort_unstable();
        named.is_empty() || named == held
    }

    fn confirm(
        &mut self,
        key: (i64, &'static str),
        request: &'static str,
        named: &[CouponId],
    ) -> Came {
        let Some(found) = self.orders.get(&key).cloned() else {
            return refused(Rejection::RedemptionNotFound);
        };
        let body = format!("{named:?}");
        let reused =
            found.closed_by.as_ref().is_some_and(|(id, known)| *id == request && *known != body);
        match found.phase {
            Phase::Cancelled => return refused(Rejection::OrderCancelled),
            Phase::Lapsed => return refused(Rejection::LockLapsed),
            Phase::Confirmed | Phase::Restored if reused => {
                return refused(Rejection::IdempotencyKeyReused);
            }
            _ if !self.is_set(&found, named) => return refused(Rejection::LockMismatch),
            Phase::Confirmed | Phase::Restored => return self.answer(&found),
            Phase::Locked => {}
        }
        for index in &found.set {
            self.pieces[*index].standing = Standing::Used;
        }
        let closed_by = Some((request, body));
        let order = Order { phase: Phase::Confirmed, closed_by, ..found };
        let answer = self.answer(&order);
        self.orders.insert(key, order);
        answer
    }

    fn cancel(
        &mut self,
        key: (i64, &'static str),
        request: &'static str,
        named: &[CouponId],
    ) -> Came {
        let body = format!("{named:?}");
        let Some(found) = self.orders.get(&key).cloned() else {
            let order = Order {
                phase: Phase::Cancelled,
                set: Vec::new(),
                discount: 0,
                locks: Vec::new(),
                closed_by: Some((request, body)),
                first: 0,
                until: 0,
                refunds: Default::default(),
            };
            let answer = self.answer(&order);
            self.orders.insert(key, order);
            return answer;
        };
        let reused =
            found.closed_by.as_ref().is_some_and(|(id, known)| *id == request && *known != body);
        match found.phase {
            Phase::Confirmed => return refused(Rejection::OrderConfirmed),
            Phase::Restored => return refused(Rejection::OrderRestored),
            Phase::Cancelled if reused => return refused(Rejection::IdempotencyKeyReused),
            Phase::Cancelled => return self.answer(&found),
            _ if !self.is_set(&found, named) => return refused(Rejection::LockMismatch),
            Phase::Locked | Phase::Lapsed => {}
        }
        self.release(key, &[]);
        let closed_by = Some((request, body));
        let order = Order { phase: Phase::Cancelled, closed_by, ..found };
        let answer = self.answer(&order);
        self.orders.insert(key, order);
        answer
    }

    fn restore(&mut self, key: (i64, &'static str), request: &'static str, at: i64) -> Came {
        let Some(found) = self.orders.get(&key).cloned() else {
            return refused(Rejection::RedemptionNotFound);
        };
        let fates = match (found.refunds.get(request), found.phase) {
            (Some(fates), _) => fates.clone(),
            (None, Phase::Restored) => return refused(Rejection::OrderRestored),
            (None, Phase::Confirmed) => {
                let fates = found.set.iter().map(|one| (*one, self.refund(*one, at))).collect();
                let order = self.orders.get_mut(&key).expect("found");
                order.phase = Phase::Restored;
                order.refunds.entry(request).or_insert(fates).clone()
            }
            (None, _) => return refused(Rejection::OrderNotConfirmed),
        };
        let backs = fates.into_iter().map(|(index, fate)| {
            let back = match fate {
                Fate::Back { until } => Back::Given(until),
                Fate::New { until, .. } => Back::New(until),
                Fate::Kept => Back::Kept,
            };
            (self.pieces[index].id.expect("it was locked by its id"), back)
        });
        Came::Restored(backs.collect())
    }

    fn refund(&mut self, index: usize, at: i64) -> Fate {
        let piece = self.pieces[index].clone();
        let back = |model: &mut Self, until| {
            let piece = &mut model.pieces[index];
            (piece.standing, piece.order, piece.until) = (Standing::Free, None, until);
            Fate::Back { until }
        };
        match self.shelves[piece.template].refund {
            Refund::IfUnexpired if at < piece.until => back(self, piece.until),
            Refund::Extend(days) => back(self, piece.until.max(end_of_day(at, days))),
            Refund::Reissue(days) => {
                let until = end_of_day(at, days);
                let use_from = match self.shelves[piece.template].window {
                    Window::Days(_) => at,
                    Window::Fixed { from, .. } => from,
                };
                let new = self.pieces.len();
                self.pieces.push(Piece {
                    id: None,
                    number: -piece.id.expect("it was locked by its id").get(),
                    standing: Standing::Free,
                    order: None,
                    use_from,
                    until,
                    replaces: Some(index),
                    ..piece
                });
                Fate::New { piece: new, until }
            }
            Refund::Never | Refund::IfUnexpired => Fate::Kept,
        }
    }

    pub(super) fn void(&mut self, user: i64, id: CouponId, at: i64) -> Came {
        self.pass(at);
        let Some(index) = self.find(user, id) else { return refused(Rejection::CouponNotFound) };
        let piece = &mut self.pieces[index];
        match piece.standing {
            Standing::Voided => Came::Voided,
            Standing::Used => refused(Rejection::CouponUsed),
            Standing::Held => refused(Rejection::CouponLocked),
            Standing::Free if at >= piece.until => refused(Rejection::CouponExpired),
            Standing::Free => {
                piece.standing = Standing::Voided;
                Came::Voided
            }
        }
    }
}
