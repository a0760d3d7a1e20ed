//! Which of the usable coupons to combine.
//!
//! But for rounding, one coupon more never leaves more to pay: what a coupon leaves of each line
//! grows with what it finds, so taking all is best up to a few units. The rest is about those.
//!
//! Coupons that share no line, even through others, do not touch each other: each such group is
//! solved by itself. Within a group, a last coupon that reaches every line of it takes off what
//! depends only on the sum that the others leave, and the more they take, the less is left after it:
//! so the others are solved first, as if it were not there, and it comes on top. What remains after
//! both steps is a core of partly overlapping scopes, where the rounding of splits can make leaving a
//! coupon out better: there every choice is tried, cut off by what the rest could take at most.

use std::cmp::Reverse;

use crate::{
    cart::Cart,
    evaluate::apply::{Usable, in_order_applied},
    money::Minor,
    template::Stacking,
};

/// Lines looked at before the search for a proof gives up: keeps a quote well under a millisecond.
const FUEL: usize = 20_000;
/// Largest core that is searched; also bounds the depth of the recursion.
const CORE_MAX: usize = 64;

/// The best combination found, in the order to apply, and whether it is proven that no legal one
/// saves more. Of equal ones a single coupon is preferred, and coupons that add nothing are left out.
pub(super) fn best<'u, 'a>(
    usable: &'u [Usable<'a>],
    cart: &Cart,
) -> Option<(Vec<&'u Usable<'a>>, bool)> {
    let rank = |one: &&Usable<'_>| (one.alone, Reverse(one.candidate.coupon));
    let single = usable.iter().max_by_key(rank)?;
    let mut stackable = in_order_applied(usable);
    stackable.retain(|one| one.candidate.rules.stacking == Stacking::Stackable);
    let amounts: Vec<Minor> = cart.lines.iter().map(|line| line.amount).collect();
    let mut search = Search { left: amounts.clone(), fuel: FUEL, chosen: Vec::new(), proven: true };
    search.solve(&stackable);
    let Search { left, chosen: mut stack, proven, .. } = search;
    let saved = sum(&amounts).less(sum(&left));
    if saved <= single.alone {
        return Some((vec![single], proven));
    }
    stack.sort_by_key(|one| one.order_applied());
    trim(&mut stack, saved, &amounts);
    Some((stack, proven))
}

fn sum(amounts: &[Minor]) -> Minor {
    amounts.iter().copied().sum()
}

/// What the coupons take off together; `None` when one of them finds nothing left.
fn saved(coupons: &[&Usable<'_>], amounts: &[Minor]) -> Option<Minor> {
    let mut left = amounts.to_vec();
    let taken = coupons.iter().map(|one| Some(one.take(&mut left).0).filter(|t| *t > Minor::ZERO));
    taken.sum()
}

/// Drops coupons without which the rest saves as much as all, the least valuable first.
fn trim(stack: &mut Vec<&Usable<'_>>, mut total: Minor, amounts: &[Minor]) {
    // With no coupon cut short by others, none can be spared; trying it for many costs too much.
    let uncut: Minor = stack.iter().map(|one| one.alone).sum();
    if uncut == total || stack.len() > CORE_MAX {
        return;
    }
    let mut cheapest = stack.clone();
    cheapest.sort_by_key(|one| (one.alone, Reverse(one.candidate.coupon)));
    for spared in cheapest {
        let coupon = spared.candidate.coupon;
        let others: Vec<_> =
            stack.iter().copied().filter(|one| one.candidate.coupon != coupon).collect();
        if let Some(without) = saved(&others, amounts).filter(|without| *without >= total) {
            (*stack, total) = (others, without);
        }
    }
}

struct Search<'u, 'a> {
    /// Of every line of the cart, after the coupons chosen.
    left: Vec<Minor>,
    fuel: usize,
    chosen: Vec<&'u Usable<'a>>,
    proven: bool,
}

impl<'u, 'a> Search<'u, 'a> {
    /// Chooses among coupons in the order applied, none of whose lines was touched before.
    fn solve(&mut self, coupons: &[&'u Usable<'a>]) {
        for group in groups(coupons, self.left.len()) {
            let reach = reach(&group, self.left.len());
            let covering = |k: &usize| *k > 0 && group[*k - 1].lines.len() == reach[*k - 1];
            let mut head = group.len();
            while covering(&head) {
                head -= 1;
            }
            let (rest, covers) = group.split_at(head);
            // Fewer lines than the group reach each coupon of a smaller group: the recursion ends.
            match groups(rest, self.left.len()).len() {
                0 => {}
                1 => self.solve_core(rest),
                _ => self.solve(rest),
            }
            for cover in covers {
                if cover.take(&mut self.left).0 > Minor::ZERO {
                    self.chosen.push(cover);
                }
            }
        }
    }

    /// Chooses among coupons that partly overlap: all of them that find something left, unless the
    /// search finds better.
    fn solve_core(&mut self, coupons: &[&'u Usable<'a>]) {
        let at_most: Minor = coupons.iter().map(|one| one.discount(&self.left)).sum();
        let before = self.left.clone();
        let mut all: Vec<usize> = (0..coupons.len()).collect();
        let mut all_saved = Minor::ZERO;
        all.retain(|index| {
            let (taken, _) = coupons[*index].take(&mut self.left);
            all_saved = all_saved.plus(taken);
            taken > Minor::ZERO
        });
        let lines = coupons.iter().flat_map(|one| &one.lines);
        let paid_up = lines.map(|index| self.left[*index]).max() == Some(Minor::ZERO);
        let mut best = all;
        if all_saved < at_most && !paid_up {
            let mut core = Core {
                coupons,
                left: before.clone(),
                fuel: self.fuel,
                picked: Vec::new(),
                best,
                best_saved: all_saved,
                complete: coupons.len() <= CORE_MAX,
            };
            if core.complete {
                core.explore(0, Minor::ZERO);
            }
            (self.fuel, best) = (core.fuel, core.best);
            self.proven &= core.complete;
            if core.best_saved > all_saved {
                self.left = before;
                for index in &best {
                    coupons[*index].take(&mut self.left);
                }
            }
        }
        self.chosen.extend(best.into_iter().map(|index| coupons[index]));
    }
}

/// A core under search.
struct Core<'c, 'u, 'a> {
    coupons: &'c [&'u Usable<'a>],
    left: Vec<Minor>,
    fuel: usize,
    picked: Vec<usize>,
    best: Vec<usize>,
    best_saved: Minor,
    complete: bool,
}

impl Core<'_, '_, '_> {
    /// Tries coupon `next` taken and left out, and so on, given what the picked ones saved.
    fn explore(&mut self, next: usize, saved: Minor) {
        let Some(coupon) = self.coupons.get(next) else {
            if saved > self.best_saved {
                self.best_saved = saved;
                self.best.clone_from(&self.picked);
            }
            return;
        };
        if !self.may_improve(next, saved) {
            return;
        }
        let (taken, shares) = coupon.take(&mut self.left);
        if taken > Minor::ZERO {
            self.picked.push(next);
            self.explore(next + 1, saved.plus(taken));
            self.picked.pop();
            for (index, share) in coupon.lines.iter().zip(shares) {
                self.left[*index] = self.left[*index].plus(share);
            }
        }
        self.explore(next + 1, saved);
    }

    /// Whether coupons from `next` on could save enough: each at most what it would take now. False
    /// also when the fuel is used up, and then nothing is proven.
    fn may_improve(&mut self, next: usize, saved: Minor) -> bool {
        let rest = &self.coupons[next..];
        let cost: usize = rest.iter().map(|one| one.lines.len()).sum();
        let Some(fuel) = self.fuel.checked_sub(cost) else {
            self.complete = false;
            return false;
        };
        self.fuel = fuel;
        let at_most: Minor = rest.iter().map(|one| one.discount(&self.left)).sum();
        saved.plus(at_most) > self.best_saved
    }
}

/// Splits coupons into groups that share no line, each in the order given.
fn groups<'u, 'a>(coupons: &[&'u Usable<'a>], lines: usize) -> Vec<Vec<&'u Usable<'a>>> {
    fn root(parents: &mut [usize], mut of: usize) -> usize {
        while parents[of] != of {
            parents[of] = parents[parents[of]];
            of = parents[of];
        }
        of
    }
    let mut parents: Vec<usize> = (0..coupons.len()).collect();
    let mut first_on_line = vec![None; lines];
    for (index, coupon) in coupons.iter().enumerate() {
        for line in &coupon.lines {
            let first = *first_on_line[*line].get_or_insert(index);
            let (a, b) = (root(&mut parents, first), root(&mut parents, index));
            parents[a.max(b)] = a.min(b);
        }
    }
    let mut groups: Vec<Vec<&Usable<'_>>> = vec![Vec::new(); coupons.len()];
    for (index, coupon) in coupons.iter().enumerate() {
        groups[root(&mut parents, index)].push(coupon);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// How many lines the first 1, 2, ... coupons reach together.
fn reach(coupons: &[&Usable<'_>], lines: usize) -> Vec<usize> {
    let mut seen = vec![false; lines];
    let mut count = 0;
    let counts = coupons.iter().map(|coupon| {
        for line in &coupon.lines {
            count += usize::from(!std::mem::replace(&mut seen[*line], true));
        }
        count
    });
    counts.collect()
}
