//! The model: maps, one command after the other. No SQL, no groups, no cleverness.

use std::collections::HashMap;

use coupon_domain::{Rejection, ids::CouponId};

/// Milliseconds of a day, whose borders are those of UTC.
pub(super) const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// The end of the `days`-th day after an instant's.
pub(super) fn end_of_day(at: i64, days: i64) -> i64 {
    (at / DAY_MS + days + 1) * DAY_MS
}

/// When coupons of a template can be used.
#[derive(Debug, Clone, Copy)]
pub(super) enum Window {
    Days(i64),
    Fixed { from: i64, until: i64 },
}

/// What a refund does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refund {
    Never,
    IfUnexpired,
    Extend(i64),
    Reissue(i64),
}

/// A template.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    pub(super) total: i64,
    pub(super) limit: usize,
    pub(super) buckets: u16,
    pub(super) open: bool,
    pub(super) window: Window,
    pub(super) refund: Refund,
    pub(super) alone: bool,
    pub(super) threshold: i64,
    pub(super) off: i64,
}

impl Shelf {
    /// Few pieces, so that stock, limits and buckets run out all the time.
    pub(super) fn all(start: i64) -> [Self; super::steps::TEMPLATES] {
        let fixed = Window::Fixed { from: start + 3_600_000, until: start + 2 * DAY_MS + 12_345 };
        let shelf = |total, limit, buckets, window, refund, off| Self {
            total,
            limit,
            buckets,
            open: true,
            window,
            refund,
            alone: false,
            threshold: 0,
            off,
        };
        [
            shelf(3, 1, 3, Window::Days(1), Refund::IfUnexpired, 100),
            Self { alone: true, ..shelf(6, 3, 2, fixed, Refund::Extend(1), 200) },
            Self { threshold: 10_000, ..shelf(4, 2, 1, Window::Days(0), Refund::Reissue(1), 300) },
            shelf(5, 2, 4, Window::Days(3), Refund::Never, 50),
        ]
    }
}

/// Where a coupon stands; that its validity is over follows from the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Free,
    Held,
    Used,
    Voided,
}

/// A coupon.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) user: i64,
    pub(super) template: usize,
    /// The real one, as soon as it is known.
    pub(super) id: Option<CouponId>,
    pub(super) number: i64,
    pub(super) standing: Standing,
    pub(super) order: Option<&'static str>,
    pub(super) use_from: i64,
    pub(super) until: i64,
    pub(super) replaces: Option<usize>,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Locked,
    Confirmed,
    Cancelled,
    Lapsed,
    Restored,
}

/// A body: what a request says beside its id.
pub(super) type Body = String;

/// What a refund did with a coupon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Back { until: i64 },
    New { piece: usize, until: i64 },
    Kept,
}

/// An order.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) phase: Phase,
    pub(super) set: Vec<usize>,
    pub(super) discount: i64,
    pub(super) locks: Vec<(&'static str, Body)>,
    pub(super) closed_by: Option<(&'static str, Body)>,
    pub(super) first: i64,
    pub(super) until: i64,
    pub(super) refunds: HashMap<&'static str, Vec<(usize, Fate)>>,
}

/// What a request was given: its id, its body, the coupons.
type Grant = (&'static str, u32, Vec<usize>);

/// Everything there is.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) shelves: Vec<Shelf>,
    pub(super) pieces: Vec<Piece>,
    /// What each user's requests were given of each template.
    pub(super) given: HashMap<(i64, usize), Vec<Grant>>,
    pub(super) orders: HashMap<(i64, &'static str), Order>,
}

/// What a command to give comes to; coupons by their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gave {
    Won(Vec<i64>),
    Again(Vec<i64>),
    Closed,
    Refused(Rejection),
}

impl Model {
    pub(super) fn new(start: i64) -> Self {
        Self {
            shelves: Shelf::all(start).to_vec(),
            pieces: Vec::new(),
            given: HashMap::new(),
            orders: HashMap::new(),
        }
    }

    /// Coupons of a template that took a piece of its stock.
    pub(super) fn issued(&self, template: usize) -> i64 {
        let taken = |piece: &&Piece| piece.template == template && piece.replaces.is_none();
        i64::try_from(self.pieces.iter().filter(taken).count()).expect("few")
    }

    /// The replay first, then the limit, the closed door, the stock. That a template is paused is
    /// judged before the ledger; the door decides between two that come together.
    pub(super) fn give(
        &mut self,
        (user, template): (i64, usize),
        request: &'static str,
        pieces: u32,
        at: i64,
    ) -> Gave {
        let given = self.given.entry((user, template)).or_default();
        if let Some((_, body, coupons)) = given.iter().find(|(id, ..)| *id == request) {
            if *body != pieces {
                return Gave::Refused(Rejection::IdempotencyKeyReused);
            }
            return Gave::Again(coupons.iter().map(|index| self.pieces[*index].number).collect());
        }
        let held: usize = given.iter().map(|(_, _, coupons)| coupons.len()).sum();
        let wanted = usize::try_from(pieces).expect("few");
        let shelf = &self.shelves[template];
        if held + wanted > shelf.limit {
            return Gave::Refused(Rejection::LimitReached);
        }
        if !shelf.open {
            return Gave::Closed;
        }
        if self.issued(template) + i64::from(pieces) > shelf.total {
            return Gave::Refused(Rejection::SoldOut);
        }
        let (use_from, until) = match self.shelves[template].window {
            Window::Days(days) => (at, end_of_day(at, days)),
            Window::Fixed { from, until } => (from, until),
        };
        let first = i64::try_from(held).expect("few") + 1;
        let numbers: Vec<i64> = (first..first + i64::from(pieces)).collect();
        let mut coupons = Vec::new();
        for number in &numbers {
            coupons.push(self.pieces.len());
            self.pieces.push(Piece {
                user,
                template,
                id: None,
                number: *number,
                standing: Standing::Free,
                order: None,
                use_from,
                until,
                replaces: None,
            });
        }
        self.given.entry((user, template)).or_default().push((request, pieces, coupons));
        Gave::Won(numbers)
    }

    /// Locks whose time is over hold nothing.
    pub(super) fn pass(&mut self, at: i64) {
        let over: Vec<_> = self
            .orders
            .iter()
            .filter(|(_, order)| order.phase == Phase::Locked && at >= order.until)
            .map(|(key, _)| *key)
            .collect();
        for key in over {
            self.release(key, &[]);
            self.orders.get_mut(&key).expect("found").phase = Phase::Lapsed;
        }
    }

    /// Frees what an order holds, but for some.
    pub(super) fn release(&mut self, key: (i64, &'static str), but: &[usize]) {
        for index in self.orders[&key].set.clone() {
            let piece = &mut self.pieces[index];
            let holds = piece.standing == Standing::Held && piece.order == Some(key.1);
            if holds && !but.contains(&index) {
                (piece.standing, piece.order) = (Standing::Free, None);
            }
        }
    }

    /// The user's coupon with a real id.
    pub(super) fn find(&self, user: i64, id: CouponId) -> Option<usize> {
        self.pieces.iter().position(|piece| piece.id == Some(id) && piece.user == user)
    }
}
