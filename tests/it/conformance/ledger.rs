//! What every ledger keeps.

pub(super) mod give;
pub(super) mod reads;
pub(super) mod redeem;
pub(super) mod stock;
pub(super) mod time;
