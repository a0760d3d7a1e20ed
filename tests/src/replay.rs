//! A year of real coupon campaigns, replayed in time order through the public API.

mod check;
mod checkout;
pub mod data;
pub mod drive;
mod ending;
mod issue;
mod read;
pub mod report;
mod table;
mod tally;
pub mod timeline;
