//! Identifiers, and the slot that routes each of them.

use std::fmt;

/// How many slots users are spread over: the last four decimal digits of a user id (R14).
pub const SLOTS: i64 = 10_000;

/// An identifier that is not a positive 64-bit integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a positive integer")]
pub struct InvalidId(pub i64);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// Takes a positive integer.
            ///
            /// # Errors
            /// [`InvalidId`] for zero and below.
            pub fn new(value: i64) -> Result<Self, InvalidId> {
                if value > 0 { Ok(Self(value)) } else { Err(InvalidId(value)) }
            }

            /// The integer.
            pub fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A user, as the caller numbers them.
    UserId
);
id!(
    /// A template (券模板), minted by the server.
    TemplateId
);
id!(
    /// One coupon (券), minted by the server; ordered by minting, last four digits = the owner's slot.
    CouponId
);
id!(
    /// The use of coupons in one order; minted like a coupon id.
    RedemptionId
);

/// One of the [`SLOTS`] that users are spread over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot of any id that carries one in its last four digits.
    fn of(id: i64) -> Self {
        // In range: the remainder is 0..=9_999.
        Self(u16::try_from(id.rem_euclid(SLOTS)).unwrap_or(0))
    }

    /// 0..=9,999.
    pub fn get(self) -> u16 {
        self.0
    }

    /// Which of a template's `buckets` (at least 1) on the slot's shard its users draw from:
    /// `(mix64(slot) >> 32) % buckets`, fixed at publish (R17, R18).
    pub fn bucket(self, buckets: u16) -> u16 {
        let spread = mix64(u64::from(self.0)) >> 32;
        u16::try_from(spread % u64::from(buckets.max(1))).unwrap_or(0)
    }
}

impl UserId {
    /// The last four digits.
    pub fn slot(self) -> Slot {
        Slot::of(self.0)
    }
}

impl CouponId {
    /// The owner's slot.
    pub fn slot(self) -> Slot {
        Slot::of(self.0)
    }
}

impl RedemptionId {
    /// The buyer's slot.
    pub fn slot(self) -> Slot {
        Slot::of(self.0)
    }
}

/// The parts of a minted id: (31 bits of seconds since 2020, 8 bits of node, 10 bits of counter per
/// slot and second) x 10,000 + slot. The counter begins at the 1024th of the second in which the id is
/// minted, so that ids of all slots grow together. Nobody reads time out of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MintedId {
    /// Wall-clock seconds since 2020-01-01T00:00:00Z; 31 bits.
    pub second: u32,
    /// The minting node; 8 bits.
    pub node: u8,
    /// Counter within slot and second; 10 bits.
    pub counter: u16,
    /// Routes the id.
    pub slot: Slot,
}

impl MintedId {
    /// Ids one node can mint for one slot in one second.
    pub const COUNTERS: u16 = 1 << 10;
    /// 2020-01-01T00:00:00Z as Unix seconds.
    pub const EPOCH_UNIX_S: i64 = 1_577_836_800;

    /// The id as a positive integer. Bits beyond the fields' widths are cut off.
    pub fn compose(self) -> i64 {
        let second = i64::from(self.second & 0x7fff_ffff);
        let stem = (second << 18) | (i64::from(self.node) << 10) | i64::from(self.counter & 0x3ff);
        stem * SLOTS + i64::from(self.slot.0)
    }
}

/// Finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
/// 2014): a bijection of 64-bit integers in which every input bit moves every output bit.
pub fn mix64(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Deals the slots out to `shards` in turn, in the order of `mix64(slot)`: every shard gets the same
/// number of slots or one more, whatever arithmetic pattern user ids follow (R14, R16).
pub fn deal_slots(shards: u16) -> Vec<u16> {
    let mut order: Vec<u16> = (0..10_000).collect();
    order.sort_by_key(|slot| mix64(u64::from(*slot)));
    let mut map = vec![0; order.len()];
    for (turn, slot) in order.into_iter().enumerate() {
        let shard = turn % usize::from(shards.max(1));
        map[usize::from(slot)] = u16::try_from(shard).unwrap_or(0);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    // R14: the last four digits route.
    #[test]
    fn slot_is_the_last_four_digits() {
        let user = UserId::new(98_765_432_101).unwrap();
        assert_eq!(user.slot().get(), 2_101);
        let id = MintedId { second: 217_000_000, node: 7, counter: 1023, slot: user.slot() };
        let coupon = CouponId::new(id.compose()).unwrap();
        assert_eq!(coupon.slot(), user.slot());
    }

    #[test]
    fn minted_ids_grow_with_time_and_stay_positive() {
        let slot = UserId::new(9_999).unwrap().slot();
        let last = MintedId { second: 0x7fff_ffff, node: 255, counter: 1023, slot };
        assert!(last.compose() > 0);
        let early = MintedId { second: 1, node: 255, counter: 1023, slot };
        let later = MintedId { second: 2, node: 0, counter: 0, slot };
        assert!(early.compose() < later.compose());
    }

    // The vectors of SplitMix64 seeded with 0 and 1: stored buckets depend on them.
    #[test]
    fn mix64_is_fixed() {
        assert_eq!(mix64(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix64(1), 0x910a_2dec_8902_5cc1);
    }

    // R16: 10,000 slots over 30 shards are 20 shards of 333 and 10 of 334.
    #[test]
    fn slots_are_dealt_evenly() {
        let map = deal_slots(30);
        let mut counts = [0; 30];
        for shard in &map {
            counts[usize::from(*shard)] += 1;
        }
        assert_eq!(counts.iter().filter(|c| **c == 333).count(), 20);
        assert_eq!(counts.iter().filter(|c| **c == 334).count(), 10);
        let young: std::collections::HashSet<u16> =
            (1..=2_500).step_by(2).map(|user: i64| map[usize::try_from(user).unwrap()]).collect();
        assert_eq!(young.len(), 30);
    }

    // R17: buckets of even-numbered users are used evenly too.
    #[test]
    fn buckets_are_spread() {
        let mut counts = [0; 8];
        for user in (2..20_000).step_by(2) {
            counts[usize::from(UserId::new(user).unwrap().slot().bucket(8))] += 1;
        }
        assert!(counts.iter().all(|c| (1_100..1_400).contains(c)), "{counts:?}");
    }

    #[test]
    fn zero_and_below_are_no_ids() {
        assert_eq!(UserId::new(0), Err(InvalidId(0)));
        assert_eq!(CouponId::new(-4), Err(InvalidId(-4)));
    }
}
