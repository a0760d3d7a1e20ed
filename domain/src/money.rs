//! Money in integer minor units, currencies, and rates in basis points.

use std::fmt;

/// The largest amount the platform handles, in minor units; sums of 500 lines stay far below
/// `i64::MAX`.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000;

/// An amount in minor units (cents, 分) of some currency. Zero or more in every use here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Minor(i64);

impl Minor {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Takes minor units.
    pub const fn new(units: i64) -> Self {
        Self(units)
    }

    /// Minor units.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Sum; saturates at the ends of `i64`, which checked inputs never reach.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Difference, but never below zero.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }

    /// `self * numerator / denominator`, rounded down, computed in 128 bits.
    /// Zero when the denominator is not positive.
    #[must_use]
    pub fn scale(self, numerator: i64, denominator: i64) -> Self {
        if denominator <= 0 {
            return Self::ZERO;
        }
        let exact = i128::from(self.0) * i128::from(numerator) / i128::from(denominator);
        Self(i64::try_from(exact).unwrap_or(i64::MAX))
    }
}

impl std::iter::Sum for Minor {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Self::plus)
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not three capital letters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an ISO 4217 code of three capital letters, for example `CNY`")]
pub struct InvalidCurrency(pub String);

/// An ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Takes three capital letters.
    ///
    /// # Errors
    /// [`InvalidCurrency`].
    pub fn parse(code: &str) -> Result<Self, InvalidCurrency> {
        match <[u8; 3]>::try_from(code.as_bytes()) {
            Ok(letters) if letters.iter().all(u8::is_ascii_uppercase) => Ok(Self(letters)),
            _ => Err(InvalidCurrency(code.to_owned())),
        }
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Basis points: hundredths of a percent.
pub const WHOLE_BPS: i64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_rounds_down_and_does_not_overflow() {
        assert_eq!(Minor::new(999).scale(8_000, WHOLE_BPS), Minor::new(799));
        assert_eq!(Minor::new(AMOUNT_MAX).scale(AMOUNT_MAX, AMOUNT_MAX), Minor::new(AMOUNT_MAX));
        assert_eq!(Minor::new(5).scale(1, 0), Minor::ZERO);
    }

    #[test]
    fn currency_is_three_capitals() {
        assert_eq!(Currency::parse("CNY").unwrap().as_str(), "CNY");
        for bad in ["cny", "CN", "CNYX", "C\u{e9}", ""] {
            assert_eq!(Currency::parse(bad), Err(InvalidCurrency(bad.to_owned())));
        }
    }
}
