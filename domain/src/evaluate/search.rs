//! Which of the usable coupons to combine: branch and bound.
//!
//! Coupons are looked at in the order in which they apply, so that what a partial combination leaves
//! is exact. Each is taken or left, as far as mutex groups and limits allow, and a branch is cut when
//! a bound on what the rest could add (see [`bound`]) shows that it cannot beat the best combination
//! known. Three facts keep the tree small:
//!
//! - What a coupon is worth never grows as others take from its lines, so its present worth bounds its
//!   later worth, and of a mutex group only the best member counts.
//! - A stackable coupon whose later neighbours all cover its lines wholly is always taken: what it
//!   takes lowers only sums, and what is left of a sum never grows when the sum falls (see
//!   [`items::Items`]). Only coupons that partly overlap, or that could push a later one below its
//!   threshold, are worth leaving out.
//! - Coupons that share neither lines nor a mutex group, even through others, are solved apart.
//!
//! The effort is bounded: when it is used up, the best combination known is answered, not proven.

mod bound;
mod items;

use std::cmp::Reverse;

use self::{bound::Bounds, items::Items};
use super::{
    SearchLimits,
    apply::{Left, Usable},
    basket::Basket,
};
use crate::{money::Minor, rules::Stacking};

/// What taking one coupon costs, split over its lines and all, in the unit of the effort.
const TAKE_EFFORT: usize = 8;
/// For finding out which coupons of the best stack can be spared, in the same unit.
const TRIM_EFFORT: usize = 15_000;

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
        let items = Items::new(group, basket, rationed);
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
            let Some(left) = effort.checked_sub(TAKE_EFFORT * stack.len()) else { return };
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
    start: Left,
    limits: SearchLimits,
    complete: bool,
    picked: Vec<usize>,
    best: Vec<usize>,
    best_saved: Minor,
    /// One for each depth, used again and again.
    bounds: Vec<Bounds>,
}

impl<'i, 'u, 'a> Search<'i, 'u, 'a> {
    fn new(items: &'i Items<'u, 'a>, basket: &Basket<'_>, limits: SearchLimits) -> Self {
        Self {
            items,
            start: Left::of(basket),
            limits,
            complete: true,
            picked: Vec::new(),
            best: Vec::new(),
            best_saved: Minor::ZERO,
            bounds: Vec::new(),
        }
    }

    fn begin(&mut self) {
        self.greedily();
        let mut used = vec![false; self.items.mutexes()];
        let start = self.start.clone();
        self.explore(0, 0, &start, Minor::ZERO, &mut used);
    }

    /// A good combination to begin with: of each mutex group the member worth most alone, and all
    /// others; then the next best members of each group in turn.
    fn greedily(&mut self) {
        const TRIED: usize = 4;
        let mut chosen: Vec<bool> = vec![true; self.items.len()];
        let groups = self.items.by_mutex();
        for group in &groups {
            group.iter().skip(1).for_each(|item| chosen[*item] = false);
        }
        self.offer(&chosen);
        for group in &groups {
            let Some(first) = group.first() else { continue };
            let mut best = *first;
            chosen[best] = false;
            for other in group.iter().take(TRIED).skip(1) {
                chosen[*other] = true;
                if self.offer(&chosen) {
                    best = *other;
                }
                chosen[*other] = false;
            }
            chosen[best] = true;
        }
    }

    /// Tries a combination, of which those are left out that find nothing left; says whether it is
    /// the best so far.
    fn offer(&mut self, chosen: &[bool]) -> bool {
        let mut left = self.start.clone();
        let mut saved = Minor::ZERO;
        let mut taken = Vec::new();
        for item in (0..self.items.len()).filter(|item| chosen[*item]) {
            if taken.len() == self.limits.coupons_max {
                break;
            }
            let (off, _) = self.items.coupon(item).take(&mut left);
            if off > Minor::ZERO {
                saved = saved.plus(off);
                taken.push(item);
            }
        }
        self.limits.effort = self.limits.effort.saturating_sub(TAKE_EFFORT * taken.len());
        let better = saved > self.best_saved;
        if better {
            (self.best, self.best_saved) = (taken, saved);
        }
        better
    }

    /// Tries the items from `from` on, given what the picked ones left and saved.
    fn explore(
        &mut self,
        depth: usize,
        from: usize,
        left: &Left,
        saved: Minor,
        used: &mut Vec<bool>,
    ) {
        if saved > self.best_saved {
            self.best_saved = saved;
            self.best.clone_from(&self.picked);
        }
        let hopeless = saved.plus(self.items.at_most(from, used)) <= self.best_saved;
        if hopeless || self.picked.len() == self.limits.coupons_max {
            return;
        }
        let cost = self.items.cost_of_bounds(from) + TAKE_EFFORT;
        match self.limits.effort.checked_sub(cost) {
            Some(effort) => self.limits.effort = effort,
            None => {
                self.complete = false;
                return;
            }
        }
        if self.bounds.len() == depth {
            self.bounds.push(Bounds::default());
        }
        let mut bounds = std::mem::take(&mut self.bounds[depth]);
        bounds.compute(self.items, from, left, used);
        self.branch(depth, from, left, saved, used, &bounds);
        self.bounds[depth] = bounds;
    }

    /// Takes each of the items from `from` on as the next one, as long as the bounds give hope.
    fn branch(
        &mut self,
        depth: usize,
        from: usize,
        left: &Left,
        saved: Minor,
        used: &mut Vec<bool>,
        bounds: &Bounds,
    ) {
        for item in from..self.items.len() {
            if saved.plus(bounds.from(item)) <= self.best_saved || !self.complete {
                return;
            }
            let worth = bounds.worth(item);
            let skipped_copy = self.items.follows_copy(item) && item > from;
            if worth == Minor::ZERO || skipped_copy {
                continue;
            }
            let forced = self.items.always_taken(item);
            if !forced && saved.plus(bounds.taking(item)) <= self.best_saved {
                continue;
            }
            let mut next = left.clone();
            let (taken, _) = self.items.coupon(item).take(&mut next);
            let mutex = self.items.mutex(item);
            self.picked.push(item);
            if let Some(mutex) = mutex {
                used[mutex] = true;
            }
            self.explore(depth + 1, item + 1, &next, saved.plus(taken), used);
            if let Some(mutex) = mutex {
                used[mutex] = false;
            }
            self.picked.pop();
            if forced {
                return;
            }
        }
    }
}
