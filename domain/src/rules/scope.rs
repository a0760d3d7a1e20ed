//! Which lines of a cart a coupon reaches (R28, R34).

use crate::cart::CartLine;

/// A sorted set of ids, compact and quick to search.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdSet(Box<[i64]>);

impl IdSet {
    /// Whether the set holds the id.
    pub fn contains(&self, id: i64) -> bool {
        self.0.binary_search(&id).is_ok()
    }

    /// The ids in ascending order.
    pub fn as_slice(&self) -> &[i64] {
        &self.0
    }
}

impl FromIterator<i64> for IdSet {
    fn from_iter<I: IntoIterator<Item = i64>>(ids: I) -> Self {
        let mut ids: Vec<i64> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self(ids.into_boxed_slice())
    }
}

/// A sorted set of category codes, compared exactly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CodeSet(Box<[String]>);

impl CodeSet {
    /// Whether the set holds the code.
    pub fn contains(&self, code: &str) -> bool {
        self.0.binary_search_by(|held| held.as_str().cmp(code)).is_ok()
    }

    /// The codes in ascending order.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl FromIterator<String> for CodeSet {
    fn from_iter<I: IntoIterator<Item = String>>(codes: I) -> Self {
        let mut codes: Vec<String> = codes.into_iter().collect();
        codes.sort_unstable();
        codes.dedup();
        Self(codes.into_boxed_slice())
    }
}

/// Which cart lines a coupon applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every line.
    All,
    /// Lines of these merchants.
    Merchants(IdSet),
    /// Lines of these categories.
    Categories(CodeSet),
    /// Lines of these products.
    Products(IdSet),
}

impl Scope {
    /// Lines of these categories.
    pub fn categories(codes: impl IntoIterator<Item = String>) -> Self {
        Self::Categories(codes.into_iter().collect())
    }

    /// Whether the line is in it.
    pub fn covers(&self, line: &CartLine) -> bool {
        match self {
            Self::All => true,
            Self::Merchants(ids) => ids.contains(line.merchant),
            Self::Categories(codes) => codes.contains(&line.category),
            Self::Products(ids) => ids.contains(line.product),
        }
    }

    /// Order of application when stacked: narrowest first.
    pub const fn breadth(&self) -> u8 {
        match self {
            Self::Products(_) => 0,
            Self::Categories(_) => 1,
            Self::Merchants(_) => 2,
            Self::All => 3,
        }
    }
}

/// Lines that are not eligible although the scope covers them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exclusions {
    /// Lines of these merchants.
    pub merchants: IdSet,
    /// Lines of these categories.
    pub categories: CodeSet,
    /// Lines of these products.
    pub products: IdSet,
}

impl Exclusions {
    /// Whether the line is excluded.
    pub fn cover(&self, line: &CartLine) -> bool {
        self.merchants.contains(line.merchant)
            || self.categories.contains(&line.category)
            || self.products.contains(line.product)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Minor;

    fn line() -> CartLine {
        CartLine {
            line_id: "a".to_owned(),
            product: 10,
            merchant: 7,
            category: "digital".to_owned(),
            quantity: 1,
            amount: Minor::new(1),
        }
    }

    fn ids(ids: &[i64]) -> IdSet {
        ids.iter().copied().collect()
    }

    fn codes(codes: &[&str]) -> CodeSet {
        codes.iter().map(|code| (*code).to_owned()).collect()
    }

    // R28: which lines each kind of scope reaches, the narrowest first.
    #[test]
    fn a_scope_covers_its_lines_only() {
        let line = line();
        let categories = |list: &[&str]| Scope::Categories(codes(list));
        assert!(Scope::All.covers(&line));
        assert!(Scope::Products(ids(&[12, 10, 10])).covers(&line));
        assert!(!Scope::Products(ids(&[7, 9, 11])).covers(&line));
        assert!(Scope::Merchants(ids(&[9, 7, 1])).covers(&line));
        assert!(!Scope::Merchants(ids(&[10, 8, 6])).covers(&line));
        assert!(categories(&["food", "digital"]).covers(&line));
        assert!(!categories(&["digit", "digitals"]).covers(&line));
        let unmarked = CartLine { merchant: 0, category: String::new(), ..line };
        assert!(!Scope::Merchants(ids(&[9, 7, 1])).covers(&unmarked));
        assert!(!categories(&["food", "digital"]).covers(&unmarked));
        assert_eq!(ids(&[12, 10, 10]).as_slice(), [10, 12]);
        assert_eq!(codes(&["b", "a", "b"]).as_slice(), ["a", "b"]);
        let scopes = [
            Scope::Products(ids(&[1])),
            categories(&["a"]),
            Scope::Merchants(ids(&[1])),
            Scope::All,
        ];
        assert!(scopes.iter().map(Scope::breadth).is_sorted_by(|a, b| a < b));
    }

    // R28: an exclusion is enough to keep a line out.
    #[test]
    fn any_exclusion_covers_its_lines() {
        let none = Exclusions::default();
        assert!(!none.cover(&line()));
        assert!(Exclusions { merchants: ids(&[7]), ..none.clone() }.cover(&line()));
        assert!(Exclusions { categories: codes(&["digital"]), ..none.clone() }.cover(&line()));
        assert!(Exclusions { products: ids(&[10]), ..none }.cover(&line()));
        let others =
            Exclusions { merchants: ids(&[10]), categories: codes(&["7"]), products: ids(&[7]) };
        assert!(!others.cover(&line()));
    }
}
