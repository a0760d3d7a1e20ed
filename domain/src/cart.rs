//! What is being bought.

use crate::money::{Currency, Minor};

/// A cart, checked: at most 500 lines with distinct ids, amounts between 0 and 10^12 minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cart {
    /// Of every amount.
    pub currency: Currency,
    /// In the caller's order, which breaks ties of the split.
    pub lines: Vec<CartLine>,
    /// The shipping charge, which is no line: only coupons that say so reach it.
    pub shipping: Minor,
}

/// One line of a cart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CartLine {
    /// The caller's, distinct within the cart.
    pub line_id: String,
    /// Positive.
    pub product: i64,
    /// Seller; 0 = none.
    pub merchant: i64,
    /// Category code; empty = none.
    pub category: String,
    /// Pieces, at least 1.
    pub quantity: i64,
    /// Total of the line.
    pub amount: Minor,
}
