//! What the users hash of a bucket holds: 32 bytes for each coupon and each claim under way, as
//! `admit.lua` describes them.

use coupon_domain::{
    fingerprint::Fingerprint,
    ids::{CouponId, UserId},
    time::Timestamp,
};

use crate::{
    gate::{GateClaim, Recall},
    ledger::{GivenCoupon, Holding},
};

/// Bytes of an entry.
pub(super) const ENTRY: usize = 32;
/// An entry.
pub(super) type Entry = [u8; ENTRY];
/// The field of a user.
pub(super) type UserKey = [u8; 8];

/// The field of a user.
pub(super) fn user_key(user: UserId) -> UserKey {
    user.get().to_be_bytes()
}

fn pack(request_hash: u64, fingerprint: Fingerprint, number: u32, coupon: i64, last: u64) -> Entry {
    let mut entry = [0; ENTRY];
    entry[..8].copy_from_slice(&request_hash.to_be_bytes());
    entry[8..12].copy_from_slice(&short(fingerprint));
    entry[12..16].copy_from_slice(&number.to_be_bytes());
    entry[16..24].copy_from_slice(&coupon.to_be_bytes());
    entry[24..].copy_from_slice(&last.to_be_bytes());
    entry
}

/// The low half of a fingerprint: enough to tell two bodies of one request id apart.
fn short(fingerprint: Fingerprint) -> [u8; 4] {
    let [.., a, b, c, d] = fingerprint.to_stored().to_be_bytes();
    [a, b, c, d]
}

/// A claim under way; `attempt` is what tells a call that is run again from another claim with the same
/// request id, and 0 where there is no call.
pub(super) fn under_way(
    request_hash: u64,
    fingerprint: Fingerprint,
    units: u32,
    attempt: u64,
) -> Entry {
    pack(request_hash, fingerprint, units, 0, attempt)
}

/// A coupon.
pub(super) fn coupon(holding: &Holding) -> Entry {
    let coupon = &holding.coupon;
    let number = u32::try_from(coupon.claim_no).unwrap_or(u32::MAX);
    let claimed_at = coupon.claimed_at.as_millis().cast_unsigned();
    pack(holding.request_hash, holding.fingerprint, number, coupon.id.get(), claimed_at)
}

fn number<const N: usize>(entry: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    if let Some(found) = entry.get(at..at + N) {
        bytes.copy_from_slice(found);
    }
    bytes
}

fn coupon_of(entry: &[u8]) -> i64 {
    i64::from_be_bytes(number(entry, 16))
}

/// The coupon that an entry stands for; `None` for a claim under way.
pub(super) fn replay(entry: &[u8], claim: GateClaim) -> Option<Holding> {
    let id = CouponId::new(coupon_of(entry)).ok()?;
    let claimed_at = Timestamp::from_millis(i64::from_be_bytes(number(entry, 24)));
    let coupon = GivenCoupon {
        id,
        claim_no: i64::from(u32::from_be_bytes(number(entry, 12))),
        claimed_at,
        // Follows from the template's rules and the time of claim; not kept.
        valid_until: claimed_at,
    };
    let GateClaim { user, request_hash, fingerprint } = claim;
    Some(Holding { user, coupon, request_hash, fingerprint })
}

/// What a user's value tells of a claim.
pub(super) struct Told {
    /// Of the same request. [`Recall::Nothing`] proves nothing here: what was written may be lost.
    pub(super) same: Recall,
    /// Coupons of other requests.
    pub(super) coupons: i32,
}

/// Reads a user's value.
pub(super) fn tell(value: &[u8], claim: GateClaim) -> Told {
    let mut told = Told { same: Recall::Nothing, coupons: 0 };
    for entry in value.chunks_exact(ENTRY) {
        let request_hash = u64::from_be_bytes(number(entry, 0));
        if request_hash != claim.request_hash {
            told.coupons += i32::from(coupon_of(entry) != 0);
            continue;
        }
        told.same = match replay(entry, claim) {
            Some(_) if number(entry, 8) != short(claim.fingerprint) => Recall::KeyReused,
            Some(holding) => Recall::Replay(holding),
            None => Recall::Unknown,
        };
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(request_hash: u64) -> GateClaim {
        let user = UserId::new(77).unwrap();
        GateClaim { user, request_hash, fingerprint: Fingerprint::from_stored(-5) }
    }

    fn holding(request_hash: u64) -> Holding {
        let claimed_at = Timestamp::from_millis(1_700_000_000_123);
        let id = CouponId::new(9_000_000_000_000_077).unwrap();
        let coupon = GivenCoupon { id, claim_no: 3, claimed_at, valid_until: claimed_at };
        let GateClaim { user, fingerprint, .. } = claim(request_hash);
        Holding { user, coupon, request_hash, fingerprint }
    }

    #[test]
    fn a_coupon_is_read_as_it_was_written() {
        let value = [coupon(&holding(1)), coupon(&holding(u64::MAX))].concat();
        let told = tell(&value, claim(u64::MAX));
        assert_eq!((told.same, told.coupons), (Recall::Replay(holding(u64::MAX)), 1));
        let other_body = GateClaim { fingerprint: Fingerprint::from_stored(-6), ..claim(1) };
        assert_eq!(tell(&value, other_body).same, Recall::KeyReused);
        let told = tell(&value, claim(2));
        assert_eq!((told.same, told.coupons), (Recall::Nothing, 2));
    }

    #[test]
    fn a_claim_under_way_is_no_coupon() {
        let value = under_way(4, claim(4).fingerprint, 1, 99);
        assert_eq!(tell(&value, claim(4)).same, Recall::Unknown);
        assert_eq!(tell(&value, claim(5)).coupons, 0);
        assert_eq!(tell(b"", claim(4)).same, Recall::Nothing);
    }
}
