//! Pages: sizes and tokens. A token is the place where the page before it ended, in hexadecimal;
//! callers hand it back as it is.

use coupon_domain::{
    ids::{InvalidId, RedemptionId},
    time::Timestamp,
};

use super::field::Violations;

/// The token of the page that starts after the entry with this id.
pub(crate) fn token(last: i64) -> String {
    format!("{last:016x}")
}

/// The token of the page that starts after this redemption, by `locked_until` and id.
pub(crate) fn redemption_token(last: (Timestamp, RedemptionId)) -> String {
    format!("{:016x}{:016x}", last.0.as_millis(), last.1.get())
}

impl Violations {
    /// Entries of a page: 0 is `default`, more than `max` is `max`.
    pub(super) fn page_size(&mut self, value: i32, default: u32, max: u32) -> Option<usize> {
        let Ok(asked) = u32::try_from(value) else {
            self.note("page_size", "must not be negative");
            return None;
        };
        let size = if asked == 0 { default } else { asked.min(max) };
        usize::try_from(size).ok()
    }

    /// Where the page starts; `Some(None)` for the first.
    pub(super) fn page_token<T>(
        &mut self,
        value: &str,
        take: impl FnOnce(i64) -> Result<T, InvalidId>,
    ) -> Option<Option<T>> {
        self.place(value, || take(number(value)?).ok())
    }

    /// As [`Self::page_token`], for pages of redemptions.
    pub(super) fn redemption_page_token(
        &mut self,
        value: &str,
    ) -> Option<Option<(Timestamp, RedemptionId)>> {
        self.place(value, || {
            let (until, id) = value.split_at_checked(16)?;
            let id = RedemptionId::new(number(id)?).ok()?;
            Some((Timestamp::from_millis(number(until)?), id))
        })
    }

    fn place<T>(&mut self, value: &str, read: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
        if value.is_empty() {
            return Some(None);
        }
        let place = read();
        if place.is_none() {
            self.note("page_token", "must be empty or the next_page_token of the page before");
        }
        place.map(Some)
    }
}

/// Sixteen hexadecimal digits.
fn number(text: &str) -> Option<i64> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bits = u64::from_str_radix(text, 16).ok().filter(|_| digits)?;
    Some(bits.cast_signed())
}

#[cfg(test)]
mod tests {
    use coupon_domain::ids::CouponId;

    use super::*;

    #[test]
    fn tokens_come_back_as_they_went() {
        let id = CouponId::new(9_876_543_210_001).unwrap();
        let read = Violations::default().page_token(&token(id.get()), CouponId::new);
        assert_eq!(read, Some(Some(id)));
        let last = (Timestamp::from_millis(-5), RedemptionId::new(77).unwrap());
        let read = Violations::default().redemption_page_token(&redemption_token(last));
        assert_eq!(read, Some(Some(last)));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["x", "0000000000000000", "ffffffffffffffff", "+000000000000001", "\u{4e2d}"] {
            assert_eq!(Violations::default().page_token(text, CouponId::new), None, "{text}");
            assert_eq!(Violations::default().redemption_page_token(text), None, "{text}");
        }
    }

    #[test]
    fn page_sizes_default_and_are_capped() {
        let size = |value| Violations::default().page_size(value, 50, 200);
        assert_eq!([size(0), size(7), size(1_000), size(-1)], [Some(50), Some(7), Some(200), None]);
    }
}
