//! Which of the usable coupons to combine: branch and bound.
//!
//! Coupons are looked at in the order in which they apply, so that what a partial combination leaves
//! is exact. Each is taken or left, as far as mutex groups and limits allow, and a branch is cut when
//! a bound on what the rest could add (see [`prices`]) shows that it cannot beat the best combination
//! known. The search begins with the members of the highest net value, which is seldom far from the
//! best, and coupons that share neither lines nor a mutex group, even through others, are solved apart.
//!
//! The effort is bounded: when it is used up, the best combination known is answered, not proven.

mod items;
mod prices;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use self::{items::Items, prices::Prices};
use super::{
    SearchLimits,
    apply::{Left, Usable},
    basket::Basket,
};
use crate::{money::Minor, rules::Stacking};

/// For finding out which coupons of the best stack can be spared, in the unit of the effort, which is what
/// looking at one coupon's bounds costs.
const TRIM_EFFORT: usize = 15_000;

/// What taking a coupon costs, split over its lines and all, in the same unit.
fn take_effort(coupon: &Usable<'_>) -> usize {
    6 + coupon.reach.count() / 2
}

/// The best combination found, in the order to apply, and whether it is proven that no legal one
/// saves more. Of equal ones a single coupon is preferred, and coupons that add nothing are left out.
pub(super) fn best<'u, 'a>(
    usable: &'u [Usable<'a>],
    basket: &Basket<'_>,
    limits: SearchLimits,
) -> Option<(Vec<&'u Usable<'a>>, bool)> {
    let rank = |one: &&Usable<'_>| {
        let candidate = &one.candidate;
        (one.alone, Reverse((candidate.valid_until, candidate.coupon)))
    };
    let single = usable.iter().max_by_key(rank)?;
    let stackable = usable.iter().filter(|one| one.candidate.rules.stacking != Stacking::Exclusive);
    let stackable = items::in_order(stackable);
    let rationed = stackable.len() > limits.coupons_max;
    let groups = if rationed { vec![stackable] } else { items::apart(stackable, basket) };
    let (mut effort, mut proven) = (limits.effort, true);
    let mut stack = Vec::new();
    for group in groups {
        let items = Items::new(group, basket);
        let limits = SearchLimits { effort, ..limits };
        let mut search = Search::new(&items, basket, limits);
        search.begin();
        (effort, proven) = (search.limits.effort, proven && search.complete);
        stack.extend(search.best.iter().map(|item| items.coupon(*item)));
    }
    stack.sort_by_key(|one| one.order_applied());
    let saved = saved(&stack, basket).unwrap_or_default();
    if saved <= single.alone {
        return Some((vec![single], proven));
    }
    trim(&mut stack, saved, basket);
    Some((stack, proven))
}

/// What the coupons take off together; `None` when one of them finds nothing left.
fn saved(coupons: &[&Usable<'_>], basket: &Basket<'_>) -> Option<Minor> {
    let mut left = Left::of(basket);
    let taken = coupons.iter().map(|one| Some(one.take(&mut left).0).filter(|t| *t > Minor::ZERO));
    taken.sum()
}

/// Drops coupons without which the rest saves as much as all, the least valuable and last to expire
/// first, within an effort of its own that is plenty for stacks of some dozens.
fn trim(stack: &mut Vec<&Usable<'_>>, mut total: Minor, basket: &Basket<'_>) {
    let mut effort = TRIM_EFFORT;
    // With no coupon cut short by others, none can be spared.
    let uncut: Minor = stack.iter().map(|one| one.alone).sum();
    if uncut == total {
        return;
    }
    // Sparing one coupon can make another one idle: again, until none is.
    loop {
        let before = stack.len();
        let mut cheapest = stack.clone();
        cheapest.sort_by_key(|one| {
            (one.alone, Reverse((one.candidate.valid_until, one.candidate.coupon)))
        });
        for spared in cheapest {
            let cost = stack.iter().map(|one| take_effort(one)).sum();
            let Some(left) = effort.checked_sub(cost) else { return };
            effort = left;
            let coupon = spared.candidate.coupon;
            let others: Vec<_> =
                stack.iter().copied().filter(|one| one.candidate.coupon != coupon).collect();
            if let Some(without) = saved(&others, basket).filter(|without| *without >= total) {
                (*stack, total) = (others, without);
            }
        }
        if stack.len() == before {
            return;
        }
    }
}

/// The search among the items of one group.
struct Search<'i, 'u, 'a> {
    items: &'i Items<'u, 'a>,
    prices: Prices,
    start: Left,
    limits: SearchLimits,
    complete: bool,
    picked: Vec<usize>,
    /// Of each mutex group, whether one of its members is picked.
    used: Vec<bool>,
    best: Vec<usize>,
    best_saved: Minor,
}

impl<'i, 'u, 'a> Search<'i, 'u, 'a> {
    fn new(items: &'i Items<'u, 'a>, basket: &Basket<'_>, mut limits: SearchLimits) -> Self {
        // Prices that leave no effort for a search are of no use.
        let cost = Prices::effort(items, basket);
        let priced = cost <= limits.effort / 2;
        limits.effort -= if priced { cost } else { 0 };
        Self {
            items,
            prices: Prices::new(items, basket, priced),
            start: Left::of(basket),
            limits,
            complete: true,
            picked: Vec::new(),
            used: vec![false; items.groups().len()],
            best: Vec::new(),
            best_saved: Minor::ZERO,
        }
    }

    fn begin(&mut self) {
        self.greedily();
        let start = self.start.clone();
        self.explore(0, &start, Minor::ZERO, 0.0);
    }

    /// A good combination to begin with: of each mutex group the member of the highest net value, and
    /// all others, as far as they find something left and may be used.
    fn greedily(&mut self) {
        let items = self.items;
        let net = |item: &&usize| self.prices.worth(**item).net;
        let best = |group: &Vec<usize>| {
            group.iter().max_by(|one, other| net(one).total_cmp(&net(other))).copied()
        };
        let best: Vec<Option<usize>> = items.groups().iter().map(best).collect();
        let chosen = (0..items.len())
            .filter(|item| items.mutex(*item).is_none_or(|mutex| best[mutex] == Some(*item)));
        let mut left = self.start.clone();
        for item in chosen {
            if self.best.len() == self.limits.coupons_max {
                break;
            }
            let coupon = items.coupon(item);
            let (taken, _) = coupon.take(&mut left);
            self.limits.effort = self.limits.effort.saturating_sub(take_effort(coupon));
            if taken > Minor::ZERO {
                self.best_saved = self.best_saved.plus(taken);
                self.best.push(item);
            }
        }
    }

    fn spend(&mut self, effort: usize) {
        match self.limits.effort.checked_sub(effort) {
            Some(left) => self.limits.effort = left,
            None => self.complete = false,
        }
    }

    /// Whether at most `more` on top of `saved` cannot be one unit above the best.
    fn hopeless(&self, saved: Minor, more: f64) -> bool {
        more < self.best_saved.less(saved).get() as f64 + 1.0
    }

    /// Tries each of the items from `from` on as the next one, as long as the bounds give hope, given
    /// what the picked ones left and saved. `idle` is the sum of the best net values, from `from` on, of
    /// the mutex groups that are used.
    fn explore(&mut self, from: usize, left: &Left, saved: Minor, mut idle: f64) {
        if saved > self.best_saved {
            self.best_saved = saved;
            self.best.clone_from(&self.picked);
        }
        if self.picked.len() == self.limits.coupons_max {
            return;
        }
        let reach = self.items.reach_from(from);
        self.spend(reach.count() / 16);
        let reached = left.sum(reach).get() as f64;
        let mut known = Cost::default();
        for item in from..self.items.len() {
            self.spend(1);
            self.find_cost(&mut known, item, left);
            let worth = self.prices.worth(item);
            let more = worth.all - idle;
            if !self.complete || self.hopeless(saved, (more - known.cost).min(reached)) {
                return;
            }
            if self.items.mutex(item).is_some_and(|mutex| self.used[mutex]) {
                idle -= worth.best - worth.later;
                continue;
            }
            if self.items.follows_copy(item) && item > from {
                continue;
            }
            let mut taking = known;
            if worth.net < worth.best {
                // The list before the item may count on the group's best.
                self.find_cost(&mut taking, item + 1, left);
            }
            if !self.hopeless(saved, more - (worth.best - worth.net) - taking.cost) {
                self.take(item, left, saved, idle + worth.later);
            }
        }
    }

    /// Tries the item as the next one, unless it finds nothing left.
    fn take(&mut self, item: usize, left: &Left, saved: Minor, idle: f64) {
        let mut next = left.clone();
        let (taken, _) = self.items.coupon(item).take(&mut next);
        self.spend(take_effort(self.items.coupon(item)));
        if taken == Minor::ZERO {
            return;
        }
        let mutex = self.items.mutex(item);
        self.picked.push(item);
        mutex.into_iter().for_each(|mutex| self.used[mutex] = true);
        self.explore(item + 1, &next, saved.plus(taken), idle);
        mutex.into_iter().for_each(|mutex| self.used[mutex] = false);
        self.picked.pop();
    }

    /// Works out the cost before an item, unless it is known.
    fn find_cost(&mut self, known: &mut Cost, item: usize, left: &Left) {
        let list = Some(self.prices.list_before(item));
        if known.list != list {
            self.spend(1 + left.amounts.len() / 32);
            *known = Cost { list, cost: self.prices.cost(item, left) };
        }
    }
}

/// What is missing costs this much by a list of prices.
#[derive(Clone, Copy, Default)]
struct Cost {
    list: Option<usize>,
    cost: f64,
}
