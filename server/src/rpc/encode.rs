//! Domain types as messages. One file per family of messages.

mod coupon;
mod evaluation;
mod redemption;
mod template;

use coupon_domain::time::Timestamp;

pub(super) use coupon::{claim_outcome, claimed, coupon, issued, quoted, wallet};
pub(super) use redemption::{redemption, restored, stuck_redemptions};
pub(super) use template::{stats, template, templates};

/// An instant.
pub(super) fn instant(at: Timestamp) -> prost_types::Timestamp {
    let millis = at.as_millis();
    // In range: the remainder is below 1,000.
    let nanos = i32::try_from(millis.rem_euclid(1_000)).unwrap_or(0) * 1_000_000;
    prost_types::Timestamp { seconds: millis.div_euclid(1_000), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_before_the_epoch_have_nanos_that_count_up() {
        let at = instant(Timestamp::from_millis(-1));
        assert_eq!((at.seconds, at.nanos), (-1, 999_000_000));
        let at = instant(Timestamp::from_millis(2_005));
        assert_eq!((at.seconds, at.nanos), (2, 5_000_000));
    }
}
