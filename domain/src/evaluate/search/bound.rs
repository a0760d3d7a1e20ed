//! What the coupons not yet decided could still take off, given what is left.

use super::items::Items;
use crate::{evaluate::apply::Left, money::Minor};

/// Bounds at one node of the search, for each item from the node's first on.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    from: usize,
    /// What each would take off now.
    worth: Vec<Minor>,
    /// What the items from each one on take off at most, without those always taken: the best of each
    /// mutex group, and the sum of all others.
    rest: Vec<Minor>,
    /// The best of an item's mutex group after it.
    best_after: Vec<Minor>,
    /// What the items that are always taken take off together, one after the other.
    chain: Minor,
    /// What is left where any of the items reaches.
    cap: Minor,
    sums: Vec<Minor>,
    best_of: Vec<Minor>,
}

impl Bounds {
    /// Computes the bounds for the items from `from` on.
    pub(super) fn compute(
        &mut self,
        items: &Items<'_, '_>,
        from: usize,
        left: &Left,
        used: &[bool],
    ) {
        self.from = from;
        self.cap = left.sum(items.reach_from(from));
        self.sums.clear();
        self.sums.extend(items.classes().iter().map(|places| left.sum(places)));
        let open = |item| items.mutex(item).is_none_or(|mutex| !used[mutex]);
        let worth = |item| {
            let eligible = self.sums[items.class(item)];
            let open = open(item);
            if open {
                items.coupon(item).worth(eligible, left.total, left.floor)
            } else {
                Minor::ZERO
            }
        };
        self.worth.clear();
        self.worth.extend((from..items.len()).map(worth));
        self.look_ahead(items);
        self.chain = self.chained(items, left);
    }

    fn look_ahead(&mut self, items: &Items<'_, '_>) {
        let count = self.worth.len();
        self.rest.clear();
        self.rest.resize(count + 1, Minor::ZERO);
        self.best_after.clear();
        self.best_after.resize(count, Minor::ZERO);
        self.best_of.clear();
        self.best_of.resize(items.mutexes(), Minor::ZERO);
        for index in (0..count).rev() {
            let (item, worth) = (self.from + index, self.worth[index]);
            let more = match items.mutex(item) {
                Some(mutex) => {
                    let best = &mut self.best_of[mutex];
                    self.best_after[index] = *best;
                    let more = worth.less(*best);
                    *best = worth.max(*best);
                    more
                }
                None if items.always_taken(item) => Minor::ZERO,
                None => worth,
            };
            self.rest[index] = self.rest[index + 1].plus(more);
        }
    }

    /// The items always taken see each other only through sums: whichever meets an earlier one covers
    /// it. What others take besides can only lower what they take.
    fn chained(&mut self, items: &Items<'_, '_>, left: &Left) -> Minor {
        let mut total = Minor::ZERO;
        for item in (self.from..items.len()).filter(|item| items.always_taken(*item)) {
            let class = items.class(item);
            let eligible = self.sums[class];
            let off = items.coupon(item).worth(eligible, left.total, left.floor);
            for cover in items.covers(class) {
                self.sums[*cover] = self.sums[*cover].less(off);
            }
            total = total.plus(off);
        }
        total
    }

    /// What an item takes off now; nothing when its mutex group is used.
    pub(super) fn worth(&self, item: usize) -> Minor {
        self.worth[item - self.from]
    }

    /// What the items from this one on take off at most.
    pub(super) fn from(&self, item: usize) -> Minor {
        self.rest[item - self.from].plus(self.chain).min(self.cap)
    }

    /// The same when this one is taken.
    pub(super) fn taking(&self, item: usize) -> Minor {
        let index = item - self.from;
        let others = self.rest[index + 1].less(self.best_after[index]);
        self.worth[index].plus(others).plus(self.chain).min(self.cap)
    }
}
