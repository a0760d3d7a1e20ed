//! The coupons of one search, in the order in which they apply.

use std::collections::HashMap;

use crate::{
    evaluate::{
        apply::Usable,
        basket::{Basket, Places},
    },
    ids::TemplateId,
    money::Minor,
    rules::Stacking,
};

/// The coupons in the order in which they apply, those of one template by expiry and no more than it and
/// its mutex group allow in one order.
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
        let rules = one.candidate.rules;
        match rules.stacking {
            Stacking::Stackable => rules.per_order_limit.is_none_or(|limit| *count <= limit),
            Stacking::OneOf(_) | Stacking::Exclusive => *count == 1,
        }
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
}

/// The coupons of one search.
pub(super) struct Items<'u, 'a> {
    items: Vec<Item<'u, 'a>>,
    /// Of each mutex group, its items.
    groups: Vec<Vec<usize>>,
    /// From each item on: all places that are reached.
    reach_from: Vec<Places>,
}

impl<'u, 'a> Items<'u, 'a> {
    pub(super) fn new(coupons: Vec<&'u Usable<'a>>, basket: &Basket<'_>) -> Self {
        let mut numbers = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut items: Vec<Item<'_, '_>> = Vec::with_capacity(coupons.len());
        for coupon in coupons {
            let mutex = match &coupon.candidate.rules.stacking {
                Stacking::OneOf(name) => Some(*numbers.entry(name).or_insert(groups.len())),
                _ => None,
            };
            if let Some(mutex) = mutex {
                groups.resize(groups.len().max(mutex + 1), Vec::new());
                groups[mutex].push(items.len());
            }
            let template = coupon.candidate.template;
            let follows_copy =
                items.last().is_some_and(|last| last.coupon.candidate.template == template);
            items.push(Item { coupon, mutex, follows_copy });
        }
        let mut reach = basket.nowhere();
        let mut reach_from = vec![reach.clone()];
        for item in items.iter().rev() {
            reach.add_all(&item.coupon.reach);
            reach_from.push(reach.clone());
        }
        reach_from.reverse();
        Self { items, groups, reach_from }
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

    /// The items of each mutex group, in the order in which they apply.
    pub(super) fn groups(&self) -> &[Vec<usize>] {
        &self.groups
    }

    /// Whether the item before it is a coupon of the same template. Those are worth the same, so the
    /// first of them are taken first.
    pub(super) fn follows_copy(&self, item: usize) -> bool {
        self.items[item].follows_copy
    }

    /// All places that items from `from` on reach.
    pub(super) fn reach_from(&self, from: usize) -> &Places {
        &self.reach_from[from]
    }
}
