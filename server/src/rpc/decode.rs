//! Requests as commands: every field is checked, and every malformed one is named.
//!
//! One file per family of messages. Each function takes a message by value, collects the violations
//! of all its fields, and answers a command only if there are none. Paths are written out only for
//! fields that are wrong, so that a well-formed request pays nothing for them.

mod cart;
mod clock;
mod coupon;
mod field;
mod page;
mod redemption;
mod rules;
mod template;
mod time;

pub(super) use clock::advance_clock;
pub(super) use coupon::{claim, claim_batch, get_coupon, issue, list_coupons, quote, void_coupon};
pub(super) use page::{redemption_token, token};
pub(super) use redemption::{
    Stuck, cancel, confirm, force_cancel, force_confirm, get_redemption, list_stuck_redemptions,
    lock, restore,
};
pub(super) use template::{
    add_audience_users, create_template, get_template, list_templates, publish_template,
    state_change, update_template,
};

#[cfg(test)]
mod tests;
