//! The coupons of one search, in the order in which they apply, and what can be said of them before
//! anything is chosen.

use std::{cmp::Reverse, collections::HashMap};

use crate::{
    evaluate::{
        apply::Usable,
        basket::{Basket, Places},
    },
    ids::TemplateId,
    money::Minor,
    rules::{Stacking, ThresholdBase},
};

/// The coupons in the order in which they apply, those of one template by expiry and no more than it
/// allows in one order.
pub(super) fn in_order<'u, 'a>(
    usable: impl Iterator<Item = &'u Usable<'a>>,
) -> Vec<&'u Usable<'a>> {
    let mut ordered: Vec<&Usable<'_>> = usable.collect();
    ordered.sort_by_key(|one| {
        let (breadth, template, coupon) = one.order_applied();
        (breadth, template, one.candidate.valid_until, coupon)
    });
    let mut counts: HashMap<TemplateId, u32> = HashMap::new();
    ordered.retain(|one| {
        let count = counts.entry(one.candidate.template).or_default();
        *count += 1;
        one.candidate.rules.per_order_limit.is_none_or(|limit| *count <= limit)
    });
    ordered
}

/// Splits coupons into groups that share neither lines nor a mutex group, each in the order given. A
/// least payable amount is about the whole order, so with one of those nothing is apart.
pub(super) fn apart<'u, 'a>(
    coupons: Vec<&'u Usable<'a>>,
    basket: &Basket<'_>,
) -> Vec<Vec<&'u Usable<'a>>> {
    if coupons.iter().any(|one| one.candidate.rules.min_payable > Minor::ZERO) {
        return vec![coupons];
    }
    let mut sets = DisjointSets((0..coupons.len()).collect());
    let mut first_at = vec![None; basket.amounts.len()];
    let mut first_of = HashMap::new();
    for (index, coupon) in coupons.iter().enumerate() {
        for place in coupon.reach.iter() {
            sets.join(*first_at[place].get_or_insert(index), index);
        }
        if let Stacking::OneOf(mutex) = &coupon.candidate.rules.stacking {
            sets.join(*first_of.entry(mutex).or_insert(index), index);
        }
    }
    let mut groups: Vec<Vec<&Usable<'_>>> = vec![Vec::new(); coupons.len()];
    for (index, coupon) in coupons.iter().enumerate() {
        groups[sets.root(index)].push(coupon);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// Sets of numbers, each known by its smallest.
struct DisjointSets(Vec<usize>);

impl DisjointSets {
    fn root(&mut self, mut of: usize) -> usize {
        while self.0[of] != of {
            self.0[of] = self.0[self.0[of]];
            of = self.0[of];
        }
        of
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        self.0[one.max(other)] = one.min(other);
    }
}

/// A coupon under search.
struct Item<'u, 'a> {
    coupon: &'u Usable<'a>,
    /// Its mutex group, by number.
    mutex: Option<usize>,
    /// The one before it is of the same template.
    follows_copy: bool,
    always_taken: bool,
    class: usize,
}

/// The coupons of one search.
pub(super) struct Items<'u, 'a> {
    items: Vec<Item<'u, 'a>>,
    /// Coupons with the same places share a class.
    classes: Vec<Places>,
    /// Of each class, those that cover it, itself among them.
    covers: Vec<Vec<usize>>,
    mutexes: usize,
    /// From each item on: the worth alone of all outside mutex groups.
    free_from: Vec<Minor>,
    /// From each item on, by mutex group: the highest worth alone.
    best_from: Vec<Vec<Minor>>,
    /// From each item on: all places that are reached.
    reach_from: Vec<Places>,
}

impl<'u, 'a> Items<'u, 'a> {
    /// When they are `rationed`, there are more than may be used together, so that each takes the
    /// place of another and none is always taken.
    pub(super) fn new(coupons: Vec<&'u Usable<'a>>, basket: &Basket<'_>, rationed: bool) -> Self {
        let (mut classes, mut mutexes) = (HashMap::new(), HashMap::new());
        let mut items: Vec<Item<'_, '_>> = Vec::with_capacity(coupons.len());
        for coupon in coupons {
            let count = classes.len();
            let class = *classes.entry(&coupon.reach).or_insert(count);
            let count = mutexes.len();
            let mutex = match &coupon.candidate.rules.stacking {
                Stacking::OneOf(name) => Some(*mutexes.entry(name).or_insert(count)),
                _ => None,
            };
            let template = coupon.candidate.template;
            let follows_copy =
                items.last().is_some_and(|last| last.coupon.candidate.template == template);
            items.push(Item { coupon, mutex, follows_copy, always_taken: false, class });
        }
        let mut by_number: Vec<(usize, &Places)> =
            classes.into_iter().map(|(places, class)| (class, places)).collect();
        by_number.sort_by_key(|(class, _)| *class);
        let classes: Vec<Places> =
            by_number.into_iter().map(|(_, places)| places.clone()).collect();
        if !rationed {
            mark_always_taken(&mut items, &classes);
        }
        let covering = |class: &Places| {
            let numbered = classes.iter().enumerate();
            numbered.filter(|(_, cover)| cover.includes(class)).map(|(number, _)| number).collect()
        };
        let covers = classes.iter().map(covering).collect();
        let mut all = Self {
            items,
            classes,
            covers,
            mutexes: mutexes.len(),
            free_from: Vec::new(),
            best_from: Vec::new(),
            reach_from: Vec::new(),
        };
        all.look_ahead(basket);
        all
    }

    /// Works out what is known of all items from each one on.
    fn look_ahead(&mut self, basket: &Basket<'_>) {
        let mut free = Minor::ZERO;
        let mut best = vec![Minor::ZERO; self.mutexes];
        let mut reach = basket.nowhere();
        self.free_from.push(free);
        self.best_from.push(best.clone());
        self.reach_from.push(reach.clone());
        for item in self.items.iter().rev() {
            match item.mutex {
                Some(mutex) => best[mutex] = best[mutex].max(item.coupon.alone),
                None => free = free.plus(item.coupon.alone),
            }
            reach.add_all(&item.coupon.reach);
            self.free_from.push(free);
            self.best_from.push(best.clone());
            self.reach_from.push(reach.clone());
        }
        self.free_from.reverse();
        self.best_from.reverse();
        self.reach_from.reverse();
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn coupon(&self, item: usize) -> &'u Usable<'a> {
        self.items[item].coupon
    }

    /// Its mutex group, by number.
    pub(super) fn mutex(&self, item: usize) -> Option<usize> {
        self.items[item].mutex
    }

    /// How many mutex groups there are.
    pub(super) const fn mutexes(&self) -> usize {
        self.mutexes
    }

    /// Whether the item before it is a coupon of the same template. Those are worth the same, so the
    /// first of them are taken first.
    pub(super) fn follows_copy(&self, item: usize) -> bool {
        self.items[item].follows_copy
    }

    /// Whether leaving it is never better, once it takes off anything.
    pub(super) fn always_taken(&self, item: usize) -> bool {
        self.items[item].always_taken
    }

    /// What working out the bounds of the items from `from` on costs.
    pub(super) fn cost_of_bounds(&self, from: usize) -> usize {
        self.items.len() - from + 2 * self.classes.len()
    }

    /// The number of its class.
    pub(super) fn class(&self, item: usize) -> usize {
        self.items[item].class
    }

    /// The places of every class.
    pub(super) fn classes(&self) -> &[Places] {
        &self.classes
    }

    /// The classes whose places include those of a class, itself among them.
    pub(super) fn covers(&self, class: usize) -> &[usize] {
        &self.covers[class]
    }

    /// All places that items from `from` on reach.
    pub(super) fn reach_from(&self, from: usize) -> &Places {
        &self.reach_from[from]
    }

    /// What items from `from` on take off at most, whatever was chosen before.
    pub(super) fn at_most(&self, from: usize, used: &[bool]) -> Minor {
        let best = self.best_from[from].iter().zip(used);
        let best: Minor = best.filter(|(_, used)| !**used).map(|(best, _)| *best).sum();
        best.plus(self.free_from[from])
    }

    /// The items of each mutex group, worth most alone first; of equal ones the first to expire.
    pub(super) fn by_mutex(&self) -> Vec<Vec<usize>> {
        let mut groups = vec![Vec::new(); self.mutexes];
        for (index, item) in self.items.iter().enumerate() {
            if let Some(mutex) = item.mutex {
                groups[mutex].push(index);
            }
        }
        for group in &mut groups {
            group.sort_by_key(|item| {
                let coupon = self.items[*item].coupon;
                (Reverse(coupon.alone), coupon.candidate.valid_until)
            });
        }
        groups
    }
}

/// Finds the coupons that leaving out never makes better.
///
/// Let x be what is left of a coupon's places, and d(x) what it takes off. For every benefit whose
/// threshold looks at the amounts before coupons, d never falls and x - d(x) never falls when x grows
/// (a fixed amount leaves max(x - a, 0); a percentage rounded down takes at most one unit more for one
/// unit more). So if every later coupon that meets the coupon's places covers them wholly, looks at
/// amounts before coupons, and has only such neighbours later itself, what the coupon takes lowers
/// nothing but sums, and every sum after it ends no higher: how the splits are rounded does not matter.
/// A least payable amount breaks this, because it looks at the whole order; a mutex group, because
/// taking one coupon excludes others.
fn mark_always_taken(items: &mut [Item<'_, '_>], classes: &[Places]) {
    let candidates = items.iter().map(|item| item.coupon.candidate);
    if candidates.into_iter().any(|candidate| candidate.rules.min_payable > Minor::ZERO) {
        return;
    }
    // Of each class: whether a later item has it, and whether one of those spoils earlier ones.
    let mut later = vec![false; classes.len()];
    let mut spoils = vec![false; classes.len()];
    for index in (0..items.len()).rev() {
        let class = items[index].class;
        let places = &classes[class];
        let calm = (0..classes.len()).filter(|other| later[*other]).all(|other| {
            !classes[other].meets(places) || (classes[other].includes(places) && !spoils[other])
        });
        items[index].always_taken = calm && items[index].mutex.is_none();
        let before = ThresholdBase::BeforeCoupons;
        let looks_before = items[index].coupon.candidate.rules.threshold_base == before;
        later[class] = true;
        spoils[class] |= !calm || !looks_before;
    }
}
