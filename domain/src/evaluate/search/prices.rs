//! What the coupons not yet decided could still take off, from shadow prices that are worked out once
//! for each search.
//!
//! A unit that an early coupon takes is missing where a later percentage would have taken its share of
//! it. So every place has a price at every point of the order of application: what a unit left there is
//! worth to the coupons that follow. A coupon's net value is what it takes off less the price of what it
//! takes, and the coupons from some point on add at most
//!
//! ```text
//! the sum, over mutex groups, of the best net value in it
//! less the sum, over places, of price times units missing there
//! ```
//!
//! The prices are made from the last coupon to the first. Where the best member of a group takes no more
//! than a share of what is left, in every state that can be reached, each unit missing before the group's
//! first member costs it that share of what a unit nets. This goes into the prices, scaled down until no
//! other member can break the bound. All other effects of earlier coupons on later ones only lower what
//! is taken off, and are left out; thresholds that count what is left are taken as met. In other words,
//! the cost-to-go of the dynamic programme over the coupons is bounded from above by a linear function of
//! what is left (Bellman's recursion, with each stage's maximum replaced by a tangent that holds in the
//! reachable box).
//!
//! How shares are rounded to units is part of the net values; the margin covers the rounding of sums.

use super::items::Items;
use crate::{
    evaluate::{
        apply::{Left, Usable},
        basket::{Basket, Places},
    },
    money::Minor,
};

/// The prices, and what follows from them.
pub(super) struct Prices {
    /// Of every place, before any coupon.
    amounts: Vec<f64>,
    /// Lists of one price per place, one after the other.
    lists: Vec<f64>,
    /// The list that holds before each item and after the one before it; and at the end.
    list_at: Vec<usize>,
    worths: Vec<Worth>,
    /// What rounding may have lost.
    margin: f64,
}

/// What an item and those after it are worth, at most.
#[derive(Clone, Copy, Default)]
pub(super) struct Worth {
    /// Net value.
    pub(super) net: f64,
    /// Best net value in its mutex group, from it on.
    pub(super) best: f64,
    /// Best net value in its mutex group, after it.
    pub(super) later: f64,
    /// Sum of the best net values of all groups, from it on.
    pub(super) all: f64,
}

impl Prices {
    /// What working the prices out costs, in the unit of the effort.
    pub(super) fn effort(items: &Items<'_, '_>, basket: &Basket<'_>) -> usize {
        items.len() * basket.amounts.len() / 8
    }

    /// Works the prices out; or leaves them all at zero, which takes no time and bounds little.
    pub(super) fn new(items: &Items<'_, '_>, basket: &Basket<'_>, priced: bool) -> Self {
        let amounts: Vec<f64> = basket.amounts.iter().map(|amount| units(*amount)).collect();
        let mut prices = Self {
            margin: 0.0,
            lists: vec![0.0; amounts.len()],
            list_at: vec![0; items.len() + 1],
            worths: vec![Worth::default(); items.len() + 1],
            amounts,
        };
        let least = priced.then(|| least_left(items, &prices.amounts));
        let mut best = vec![0.0; items.groups().len()];
        for item in (0..items.len()).rev() {
            let least = least.as_ref().map(|all| &all[item * prices.amounts.len()..]);
            prices.enter(items, item, least, &mut best);
        }
        // Each addition is exact to 2^-53 of the whole.
        let additions = (items.len() + basket.amounts.len()) as f64;
        let whole = prices.amounts.iter().sum::<f64>() + prices.worths[0].all;
        prices.margin = 1e-15 * additions * whole + 1e-6;
        prices
    }

    /// Enters an item before those after it. `least` is what is left at its turn, and `best` the best net
    /// value of each mutex group so far.
    fn enter(
        &mut self,
        items: &Items<'_, '_>,
        item: usize,
        least: Option<&[f64]>,
        best: &mut [f64],
    ) {
        let coupon = items.coupon(item);
        let net = match least {
            Some(least) => net_value(coupon, &self.amounts, least, self.list(item + 1)),
            None => units(coupon.alone),
        };
        let mutex = items.mutex(item);
        let later = mutex.map_or(0.0, |mutex| best[mutex]);
        let more = (net - later).max(0.0);
        let all = self.worths[item + 1].all + more;
        self.worths[item] = Worth { net, best: later + more, later, all };
        mutex.into_iter().for_each(|mutex| best[mutex] = later + more);
        self.list_at[item] = self.list_at[item + 1];
        let alone = [item];
        let group = mutex.map_or(&alone[..], |mutex| &items.groups()[mutex]);
        if let Some(least) = least
            && group.first() == Some(&item)
        {
            self.charge(items, group, least);
        }
    }

    fn list(&self, item: usize) -> &[f64] {
        let places = self.amounts.len();
        &self.lists[self.list_at[item] * places..][..places]
    }

    /// Adds to the prices before a group what its best member loses there by what is missing.
    fn charge(&mut self, items: &Items<'_, '_>, group: &[usize], least: &[f64]) {
        let net = |item: &&usize| self.worths[**item].net;
        let best = group.iter().max_by(|one, other| net(one).total_cmp(&net(other)));
        let (Some(first), Some(best)) = (group.first(), best) else { return };
        let reach = &items.coupon(*best).reach;
        let losses = self.losses(items, *best);
        if losses.is_empty() {
            return;
        }
        let mut prices = self.list(*first).to_vec();
        // A unit is never worth more than itself.
        let charge: Vec<f64> =
            losses.iter().zip(&prices).map(|(loss, price)| loss.min(1.0 - price)).collect();
        let others = group.iter().filter(|item| *item != best);
        let room = |other: &usize| self.worths[*best].net - self.worths[*other].net;
        let scale = others
            .map(|other| {
                self.scale(&charge, reach, least, &self.losses(items, *other), room(other))
            })
            .fold(1.0, f64::min);
        reach.iter().for_each(|place| prices[place] += scale * charge[place]);
        self.list_at[*first] = self.lists.len() / self.amounts.len();
        self.lists.append(&mut prices);
    }

    /// How much of the charge another member of the group allows. With `missing` units at a place it nets
    /// what it nets on the full cart less `own * missing`, which must not be above the net value of the
    /// best less `scale * charge * missing`, whatever is missing; `room` lies between the two on the full
    /// cart.
    fn scale(&self, charge: &[f64], reach: &Places, least: &[f64], own: &[f64], room: f64) -> f64 {
        let beyond = |place: usize| {
            let own = own.get(place).copied().unwrap_or(0.0);
            (charge[place] - own).max(0.0) * (self.amounts[place] - least[place])
        };
        let beyond: f64 = reach.iter().map(beyond).sum();
        if beyond > room { room / beyond } else { 1.0 }
    }

    /// What an item's net value loses at least by each unit missing at each place; nothing for an item
    /// that takes no less then.
    fn losses(&self, items: &Items<'_, '_>, item: usize) -> Vec<f64> {
        let coupon = items.coupon(item);
        let share = share(coupon);
        if share == 0.0 {
            return Vec::new();
        }
        let prices = self.list(item + 1);
        let mut losses = vec![0.0; prices.len()];
        for place in coupon.reach.iter() {
            losses[place] = share * (1.0 - prices[place]);
        }
        losses
    }

    /// What holds of an item and those after it; nothing at the end.
    pub(super) fn worth(&self, item: usize) -> Worth {
        self.worths[item]
    }

    /// Which list of prices holds before an item.
    pub(super) fn list_before(&self, item: usize) -> usize {
        self.list_at[item]
    }

    /// The price of what is missing before an item, less a margin.
    pub(super) fn cost(&self, item: usize, left: &Left) -> f64 {
        let missing = self.amounts.iter().zip(&left.amounts).map(|(all, left)| all - units(*left));
        let cost: f64 =
            self.list(item).iter().zip(missing).map(|(price, units)| price * units).sum();
        cost - self.margin
    }
}

fn units(amount: Minor) -> f64 {
    amount.get() as f64
}

/// The share of what is left that a coupon takes off at most, whatever is left; zero when what it takes
/// off alone is the lower bound on the full cart.
fn share(coupon: &Usable<'_>) -> f64 {
    let (part, whole) = coupon.candidate.rules.benefit.share_max();
    if coupon.amount.scale(part, whole) == coupon.alone { part as f64 / whole as f64 } else { 0.0 }
}

/// What a coupon takes off less its price, at most, in any state with no less than `least` left.
fn net_value(coupon: &Usable<'_>, amounts: &[f64], least: &[f64], prices: &[f64]) -> f64 {
    let reach = &coupon.reach;
    let netted = |place: usize| 1.0 - prices[place];
    let (mut low, mut high) = (f64::MAX, f64::MIN);
    for value in reach.iter().map(netted) {
        (low, high) = (value.min(low), value.max(high));
    }
    // The largest remainders move at most a quarter of a unit for each place.
    let rounding = reach.count() as f64 / 4.0 * (high - low);
    let share = share(coupon);
    if share > 0.0 {
        let most: f64 = reach.iter().map(|place| netted(place) * amounts[place]).sum();
        share * most + rounding
    } else {
        units(coupon.alone) * highest_mean(reach, netted, amounts, least) + rounding
    }
}

/// The highest mean of the places' values, each weighted with some amount between `least` and `most`:
/// all that is above the mean has its highest weight and all else its lowest, so the mean is raised
/// until it rises no more, after one round for each place at most (Dinkelbach's method).
fn highest_mean(reach: &Places, value: impl Fn(usize) -> f64, most: &[f64], least: &[f64]) -> f64 {
    let mut mean = f64::MIN;
    loop {
        let (mut sum, mut weights) = (0.0, 0.0);
        for place in reach.iter() {
            let value = value(place);
            let weight = if value > mean { most[place] } else { least[place] };
            sum += value * weight;
            weights += weight;
        }
        if weights == 0.0 || sum / weights <= mean {
            return (mean + 1e-12).min(1.0);
        }
        mean = sum / weights;
    }
}

/// What is left of every place at least when it is an item's turn, item by item.
fn least_left(items: &Items<'_, '_>, amounts: &[f64]) -> Vec<f64> {
    let places = amounts.len();
    let mut all = Vec::with_capacity(items.len() * places);
    let mut left = amounts.to_vec();
    // What is kept of each place, and by how much each mutex group has a part in that.
    let mut kept = vec![1.0; places];
    let mut kept_by = vec![1.0; items.groups().len() * places];
    let mut touched = vec![0.0; places];
    for item in 0..items.len() {
        all.extend_from_slice(&left);
        let coupon = items.coupon(item);
        let mut share = share(coupon);
        if share == 0.0 {
            let base: f64 = coupon.reach.iter().map(|place| left[place]).sum();
            share = (units(coupon.alone) / base.max(1.0)).min(1.0);
        }
        for place in coupon.reach.iter() {
            let mut alone = 1.0;
            let mutex = items.mutex(item);
            let before = mutex.map_or(&mut alone, |mutex| &mut kept_by[mutex * places + place]);
            if 1.0 - share < *before {
                kept[place] *= (1.0 - share) / *before;
                *before = 1.0 - share;
            }
            // Rounding a share may take one unit more.
            touched[place] += 1.0;
            left[place] = (amounts[place] * kept[place] - touched[place]).max(0.0);
        }
    }
    all
}
