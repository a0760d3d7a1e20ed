//! The pure rules of the coupon platform: no I/O, no clock, no randomness.
//!
//! Commands meet these state machines inside a ledger transaction; whatever they decide is returned
//! as data and written by the ledger. Every public function is total: bad input is a [`Rejection`]
//! or a typed error, never a panic.

pub mod book;
pub mod cart;
pub mod coupon;
pub mod evaluate;
pub mod fingerprint;
pub mod ids;
pub mod money;
pub mod redemption;
pub mod rejection;
pub mod rules;
pub mod stock;
pub mod template;
pub mod time;

pub use rejection::{CouponFault, Refusal, Rejection};
