//! New ids: ordered by time, unique over nodes and restarts, carrying the slot that routes them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use coupon_domain::ids::{CouponId, MintedId, RedemptionId, SLOTS, Slot, TemplateId, UserId};

use crate::clock::wall_millis;

/// How far ahead the right to mint is taken, in seconds.
const LEASE_S: i64 = 600;
/// Where the counter of an operation id begins: node number below it.
const OPERATION_COUNTER_SHIFT: u32 = 8;
/// Where the milliseconds of an operation id begin: a 14-bit counter below them.
const OPERATION_MILLIS_SHIFT: u32 = 22;

/// The right to mint has run out and could not be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no ids can be minted: the node's lease could not be renewed; check the database")]
pub struct MintExhausted;

/// Mints ids of one node. An id's second never reaches `minted_until`, which the node has stored
/// before: whoever holds the node number next starts there.
pub struct Mint {
    node: u8,
    start: u32,
    minted_until: AtomicU64,
    /// Per slot: (second << 10) | counter of the last id.
    slots: Box<[AtomicU64]>,
    operation: AtomicI64,
}

impl Mint {
    /// A mint of `node` that starts no earlier than the second up to which the node number was used
    /// before. Nothing can be minted until [`Self::extend`].
    pub fn new(node: u8, used_until: i64, last_operation: i64) -> Self {
        let start = u32::try_from(used_until.max(Self::now_s())).unwrap_or(u32::MAX);
        Self {
            node,
            start,
            minted_until: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            operation: AtomicI64::new(last_operation),
        }
    }

    /// Seconds since 2020 by the wall clock.
    fn now_s() -> i64 {
        wall_millis() / 1_000 - MintedId::EPOCH_UNIX_S
    }

    /// The second and, in place of a counter, the 1024th of it: ids of all slots grow together
    /// within a second too, so that rows minted together lie together.
    fn now_stamp() -> u64 {
        let millis = wall_millis() - MintedId::EPOCH_UNIX_S * 1_000;
        let stamp = ((millis / 1_000) << 10) | (millis % 1_000 * 1_024 / 1_000);
        u64::try_from(stamp).unwrap_or(0)
    }

    /// The node number it mints under.
    pub fn node(&self) -> u8 {
        self.node
    }

    /// The second to store before calling [`Self::extend`] with it.
    pub fn next_lease(&self) -> i64 {
        Self::now_s().max(i64::from(self.start)) + LEASE_S
    }

    /// Allows ids below `minted_until` (seconds since 2020), which has been stored.
    pub fn extend(&self, minted_until: i64) {
        let until = u64::try_from(minted_until).unwrap_or(0);
        self.minted_until.fetch_max(until, Ordering::SeqCst);
    }

    /// A coupon id for a user.
    ///
    /// # Errors
    /// [`MintExhausted`].
    pub fn coupon(&self, user: UserId) -> Result<CouponId, MintExhausted> {
        CouponId::new(self.next(user.slot())?).map_err(|_| MintExhausted)
    }

    /// A redemption id for a user.
    ///
    /// # Errors
    /// [`MintExhausted`].
    pub fn redemption(&self, user: UserId) -> Result<RedemptionId, MintExhausted> {
        RedemptionId::new(self.next(user.slot())?).map_err(|_| MintExhausted)
    }

    /// A template id.
    ///
    /// # Errors
    /// [`MintExhausted`].
    pub fn template(&self) -> Result<TemplateId, MintExhausted> {
        let anywhere = UserId::new(SLOTS).map_err(|_| MintExhausted)?;
        TemplateId::new(self.next(anywhere.slot())?).map_err(|_| MintExhausted)
    }

    /// An id for the operation log: grows with every call on this node, whatever the slot.
    pub fn operation(&self) -> i64 {
        let millis = wall_millis() - MintedId::EPOCH_UNIX_S * 1_000;
        let floor = (millis << OPERATION_MILLIS_SHIFT) | i64::from(self.node);
        let step = 1 << OPERATION_COUNTER_SHIFT;
        let mut last = self.operation.load(Ordering::Relaxed);
        loop {
            let next = floor.max(last + step);
            match self.operation.compare_exchange_weak(
                last,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return next,
                Err(seen) => last = seen,
            }
        }
    }

    fn next(&self, slot: Slot) -> Result<i64, MintExhausted> {
        let now = Self::now_stamp().max(u64::from(self.start) << 10);
        let cell = &self.slots[usize::from(slot.get())];
        let mut last = cell.load(Ordering::Relaxed);
        let stamp = loop {
            // A full counter carries over into the next second: it is borrowed.
            let next = now.max(last + 1);
            match cell.compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break next,
                Err(seen) => last = seen,
            }
        };
        if stamp >> 10 >= self.minted_until.load(Ordering::Relaxed) {
            return Err(MintExhausted);
        }
        let second = u32::try_from(stamp >> 10).map_err(|_| MintExhausted)?;
        let counter = u16::try_from(stamp & 0x3ff).unwrap_or(0);
        Ok(MintedId { second, node: self.node, counter, slot }.compose())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_grow_past_a_full_counter() {
        let mint = Mint::new(3, 0, 0);
        mint.extend(mint.next_lease());
        let user = UserId::new(71_234).unwrap();
        let ids: Vec<i64> = (0..5_000).map(|_| mint.coupon(user).unwrap().get()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ids.iter().all(|id| id % SLOTS == 1_234));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }

    // Clustered tables append: what is minted a few milliseconds later lies behind, whatever the slot.
    #[test]
    fn ids_of_different_slots_grow_together() {
        let before = Mint::now_stamp();
        let mint = Mint::new(3, 0, 0);
        mint.extend(mint.next_lease());
        let first = mint.coupon(UserId::new(9_999).unwrap()).unwrap().get();
        while Mint::now_stamp() <= before + 2 {}
        let second = mint.coupon(UserId::new(10_000).unwrap()).unwrap().get();
        assert!(first < second, "{first} {second}");
    }

    #[test]
    fn nothing_is_minted_without_a_lease() {
        let mint = Mint::new(0, 0, 0);
        assert_eq!(mint.coupon(UserId::new(1).unwrap()), Err(MintExhausted));
    }

    #[test]
    fn a_restarted_node_starts_where_the_last_one_could_have_minted() {
        let ahead = Mint::now_s() + 5_000;
        let mint = Mint::new(0, ahead, 0);
        mint.extend(mint.next_lease());
        let floor = MintedId {
            second: u32::try_from(ahead).unwrap(),
            node: 0,
            counter: 0,
            slot: UserId::new(1).unwrap().slot(),
        };
        assert!(mint.coupon(UserId::new(1).unwrap()).unwrap().get() >= floor.compose());
    }

    #[test]
    fn operation_ids_grow() {
        let mint = Mint::new(9, 0, 0);
        let ids: Vec<i64> = (0..50_000).map(|_| mint.operation()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ids.iter().all(|id| id & 0xff == 9));
    }
}
