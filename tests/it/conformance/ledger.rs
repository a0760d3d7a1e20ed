//! What every ledger keeps.

pub(super) mod force;
pub(super) mod give;
pub(super) mod reads;
pub(super) mod redeem;
pub(super) mod refund;
pub(super) mod stock;
pub(super) mod time;
