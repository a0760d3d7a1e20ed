//! A cart, indexed: which of its lines a scope reaches is asked for every coupon of a wallet, so what
//! lines have in common is looked up once.

use crate::{
    cart::Cart,
    money::Minor,
    rules::{Rules, Scope},
};

/// A set of places: cart lines by their position, and the shipping charge after the last.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Places(Box<[u64]>);

impl Places {
    pub(super) fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)].into_boxed_slice())
    }

    fn add(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    fn remove_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The places, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let within = |(index, word): (usize, &u64)| {
            let mut word = *word;
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(index * 64 + bit)
            })
        };
        self.0.iter().enumerate().flat_map(within)
    }
}

/// Values of lines, each with the places that have it.
type Index<K> = Vec<(K, Places)>;

/// The index.
#[derive(Debug)]
pub(super) struct Basket<'c> {
    pub(super) cart: &'c Cart,
    /// Of every place before coupons.
    pub(super) amounts: Vec<Minor>,
    /// Of all places before coupons.
    pub(super) total: Minor,
    lines: Places,
    merchants: Index<i64>,
    categories: Index<&'c str>,
    products: Index<i64>,
}

impl<'c> Basket<'c> {
    pub(super) fn new(cart: &'c Cart) -> Self {
        let amounts = cart.lines.iter().map(|line| line.amount).chain([cart.shipping]);
        let amounts: Vec<Minor> = amounts.collect();
        let mut basket = Self {
            cart,
            total: amounts.iter().copied().sum(),
            amounts,
            lines: Places::none(cart.lines.len() + 1),
            merchants: Index::new(),
            categories: Index::new(),
            products: Index::new(),
        };
        let none = basket.lines.clone();
        for (place, line) in cart.lines.iter().enumerate() {
            basket.lines.add(place);
            enter(&mut basket.merchants, line.merchant, place, &none);
            enter(&mut basket.categories, line.category.as_str(), place, &none);
            enter(&mut basket.products, line.product, place, &none);
        }
        basket
    }

    /// No places.
    pub(super) fn nowhere(&self) -> Places {
        Places::none(self.amounts.len())
    }

    /// The place of the shipping charge.
    pub(super) const fn shipping(&self) -> usize {
        self.cart.lines.len()
    }

    /// The eligible places; none when no line is eligible.
    pub(super) fn eligible(&self, rules: &Rules) -> Option<Places> {
        let mut places = match &rules.scope {
            Scope::All => self.lines.clone(),
            Scope::Merchants(ids) => self.those(&self.merchants, |id| ids.contains(*id)),
            Scope::Categories(codes) => self.those(&self.categories, |code| codes.contains(code)),
            Scope::Products(ids) => self.those(&self.products, |id| ids.contains(*id)),
        };
        let excluded = &rules.excluded;
        if !excluded.merchants.as_slice().is_empty() {
            places.remove_all(&self.those(&self.merchants, |id| excluded.merchants.contains(*id)));
        }
        if !excluded.categories.as_slice().is_empty() {
            let held = |code: &&str| excluded.categories.contains(code);
            places.remove_all(&self.those(&self.categories, held));
        }
        if !excluded.products.as_slice().is_empty() {
            places.remove_all(&self.those(&self.products, |id| excluded.products.contains(*id)));
        }
        if places.is_empty() {
            return None;
        }
        if rules.with_shipping {
            places.add(self.shipping());
        }
        Some(places)
    }

    fn those<K>(&self, index: &Index<K>, wanted: impl Fn(&K) -> bool) -> Places {
        let mut places = Places::none(self.amounts.len());
        for (_, with) in index.iter().filter(|(value, _)| wanted(value)) {
            places.add_all(with);
        }
        places
    }
}

/// A cart has at most as many distinct values as lines: a list is quick enough.
fn enter<K: PartialEq>(index: &mut Index<K>, value: K, place: usize, none: &Places) {
    match index.iter_mut().find(|(known, _)| *known == value) {
        Some((_, places)) => places.add(place),
        None => {
            let mut places = none.clone();
            places.add(place);
            index.push((value, places));
        }
    }
}
