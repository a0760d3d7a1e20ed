//! New ids: ordered by time, unique over nodes and restarts, carrying the slot that routes them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use coupon_domain::ids::{CouponId, MintedId, RedemptionId, SLOTS, Slot, TemplateId, UserId};

use crate::clock::wall_millis;

/// How far ahead the right to mint is taken, in seconds: so long may meta be away.
const LEASE_S: i64 = 600;
/// Where the tick of an operation id begins: the node number below it.
const OPERATION_TICK_SHIFT: u32 = 8;
/// Where the milliseconds of a tick begin: a 14-bit counter below them.
const TICK_MILLIS_SHIFT: u32 = 14;

/// The right to mint has run out and could not be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no ids can be minted: the node's lease could not be renewed; check the database")]
pub struct MintExhausted;

/// What a mint may do, in one word so that it changes at once: (second up to which it may mint, which
/// term of the process, node number). A term is one lease of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Right {
    until: u64,
    term: u16,
    node: u8,
}

impl Right {
    fn pack(self) -> u64 {
        (self.until << 24) | (u64::from(self.term) << 8) | u64::from(self.node)
    }

    fn unpack(word: u64) -> Self {
        let [node, low, high, ..] = word.to_le_bytes();
        Self { until: word >> 24, term: u16::from_le_bytes([low, high]), node }
    }

    fn same_term(self, other: Self) -> bool {
        (self.term, self.node) == (other.term, other.node)
    }
}

/// Mints ids of one node. An id's second never reaches `minted_until`, which the node has stored
/// before: whoever holds the node number next starts there.
pub struct Mint {
    right: AtomicU64,
    /// The second at which the present term begins.
    start: AtomicU64,
    /// Per slot: (second << 10) | counter of the last id, over all terms.
    slots: Box<[AtomicU64]>,
    /// (millisecond << 14) | counter of the last operation id, over all terms.
    tick: AtomicI64,
}

impl Mint {
    /// A mint of `node` that starts no earlier than the second up to which the node number was used
    /// before, with operation ids above `last_operation`, whoever minted that. Nothing can be minted
    /// until [`Self::extend`].
    pub fn new(node: u8, used_until: i64, last_operation: i64) -> Self {
        Self {
            right: AtomicU64::new(Right { until: 0, term: 0, node }.pack()),
            start: AtomicU64::new(Self::start_of(used_until)),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            tick: AtomicI64::new(last_operation >> OPERATION_TICK_SHIFT),
        }
    }

    /// Goes on under another node number, or under the same one leased anew. Nothing can be minted
    /// until [`Self::extend`].
    pub fn adopt(&self, node: u8, used_until: i64) {
        let term = self.right().term.wrapping_add(1);
        // In this order, and never lower: whoever sees the new term sees where it begins, and whoever
        // still sees the old one begins no earlier than before.
        self.start.fetch_max(Self::start_of(used_until), Ordering::SeqCst);
        self.right.store(Right { until: 0, term, node }.pack(), Ordering::SeqCst);
    }

    /// Ends minting. Answers the second that no id of this node number has reached.
    pub fn close(&self) -> i64 {
        let Right { term, node, .. } = self.right();
        self.right.store(Right { until: 0, term, node }.pack(), Ordering::SeqCst);
        let slots = self.slots.iter().map(|slot| slot.load(Ordering::SeqCst) >> 10);
        let operations = (self.tick.load(Ordering::SeqCst) >> TICK_MILLIS_SHIFT) / 1_000;
        let start = self.start.load(Ordering::SeqCst);
        let last = slots.max().unwrap_or(0).max(u64::try_from(operations).unwrap_or(0));
        i64::try_from((last + 1).max(start)).unwrap_or(i64::MAX)
    }

    fn start_of(used_until: i64) -> u64 {
        u64::try_from(used_until.max(Self::now_s())).unwrap_or(0)
    }

    fn right(&self) -> Right {
        Right::unpack(self.right.load(Ordering::SeqCst))
    }

    /// Milliseconds since 2020 by the wall clock.
    fn now_millis() -> i64 {
        wall_millis() - MintedId::EPOCH_UNIX_S * 1_000
    }

    /// Seconds since 2020 by the wall clock.
    pub(crate) fn now_s() -> i64 {
        Self::now_millis() / 1_000
    }

    /// The second and, in place of a counter, the 1024th of it: ids of all slots grow together
    /// within a second too, so that rows minted together lie together.
    fn now_stamp() -> u64 {
        let millis = Self::now_millis();
        let stamp = ((millis / 1_000) << 10) | (millis % 1_000 * 1_024 / 1_000);
        u64::try_from(stamp).unwrap_or(0)
    }

    /// The node number it mints under.
    pub fn node(&self) -> u8 {
        self.right().node
    }

    /// The second to store before calling [`Self::extend`] with it.
    pub fn next_lease(&self) -> i64 {
        let start = i64::try_from(self.start.load(Ordering::SeqCst)).unwrap_or(i64::MAX);
        Self::now_s().max(start).saturating_add(LEASE_S)
    }

    /// Allows ids below `minted_until` (seconds since 2020), which has been stored for the node
    /// number of the present term.
    pub fn extend(&self, minted_until: i64) {
        let wanted = u64::try_from(minted_until).unwrap_or(0);
        let raise = |word| {
            let right = Right::unpack(word);
            Some(Right { until: right.until.max(wanted), ..right }.pack())
        };
        // It never refuses.
        let _ = self.right.fetch_update(Ordering::SeqCst, Ordering::SeqCst, raise);
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

    /// An id for the operation log: (milliseconds since 2020, 14 bits of counter, 8 bits of node).
    /// Grows with every call on this node, whatever the slot; see [`Self::operations_before`].
    ///
    /// # Errors
    /// [`MintExhausted`].
    pub fn operation(&self) -> Result<i64, MintExhausted> {
        let term = self.right();
        let start = i64::try_from(self.start.load(Ordering::SeqCst)).unwrap_or(i64::MAX / 1_000);
        let floor = Self::now_millis().max(start.saturating_mul(1_000)) << TICK_MILLIS_SHIFT;
        let mut last = self.tick.load(Ordering::SeqCst);
        let tick = loop {
            let next = floor.max(last + 1);
            let swap =
                self.tick.compare_exchange_weak(last, next, Ordering::SeqCst, Ordering::SeqCst);
            match swap {
                Ok(_) => break next,
                Err(seen) => last = seen,
            }
        };
        let second = u64::try_from((tick >> TICK_MILLIS_SHIFT) / 1_000).unwrap_or(u64::MAX);
        self.allow(term, second)?;
        Ok((tick << OPERATION_TICK_SHIFT) | i64::from(term.node))
    }

    /// The least operation id that a node can have minted at a wall time (Unix milliseconds) or
    /// later: every id minted before lies below, but those of a number that was taken over from a
    /// node whose `minted_until` still lies ahead.
    pub fn operations_before(wall_millis: i64) -> i64 {
        let millis = wall_millis.saturating_sub(MintedId::EPOCH_UNIX_S * 1_000).max(0);
        millis << (TICK_MILLIS_SHIFT + OPERATION_TICK_SHIFT)
    }

    /// A stamp taken in `term` may be used if the term still stands and reaches that far. Read after
    /// the stamp was taken: the stamps of a term that has ended may be somebody else's.
    fn allow(&self, term: Right, second: u64) -> Result<(), MintExhausted> {
        let right = self.right();
        if right.same_term(term) && second < right.until { Ok(()) } else { Err(MintExhausted) }
    }

    fn next(&self, slot: Slot) -> Result<i64, MintExhausted> {
        let term = self.right();
        let now = Self::now_stamp().max(self.start.load(Ordering::SeqCst) << 10);
        let cell = &self.slots[usize::from(slot.get())];
        let mut last = cell.load(Ordering::SeqCst);
        let stamp = loop {
            // A full counter carries over into the next second: it is borrowed.
            let next = now.max(last + 1);
            match cell.compare_exchange_weak(last, next, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => break next,
                Err(seen) => last = seen,
            }
        };
        self.allow(term, stamp >> 10)?;
        let second = u32::try_from(stamp >> 10).map_err(|_| MintExhausted)?;
        let counter = u16::try_from(stamp & 0x3ff).unwrap_or(0);
        Ok(MintedId { second, node: term.node, counter, slot }.compose())
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
        mint.extend(mint.next_lease());
        let from = Mint::operations_before(wall_millis());
        let ids: Vec<i64> = (0..50_000).map(|_| mint.operation().unwrap()).collect();
        assert!(from <= ids[0], "{from} {}", ids[0]);
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ids.iter().all(|id| id & 0xff == 9));
    }

    // Whoever minted the last one: its tick is used up for every node.
    #[test]
    fn operation_ids_start_above_the_last_and_where_the_number_was_used() {
        let ahead = Mint::operations_before(wall_millis() + 60_000) | 7;
        let mint = Mint::new(9, 0, ahead);
        mint.extend(mint.next_lease());
        let next = mint.operation().unwrap();
        assert!(next > ahead && next & 0xff == 9, "{next} {ahead}");
        let used = Mint::now_s() + 5_000;
        mint.adopt(4, used);
        mint.extend(mint.next_lease());
        let next = mint.operation().unwrap();
        let floor = Mint::operations_before((used + MintedId::EPOCH_UNIX_S) * 1_000);
        assert!(next >= floor && next & 0xff == 4, "{next} {floor}");
    }

    #[test]
    fn operations_need_the_lease_too() {
        assert_eq!(Mint::new(0, 0, 0).operation(), Err(MintExhausted));
        let mint = Mint::new(0, 0, 0);
        mint.extend(Mint::now_s() - 1);
        assert_eq!(mint.operation(), Err(MintExhausted));
    }

    #[test]
    fn a_new_number_begins_where_it_was_used_and_needs_its_own_lease() {
        let user = UserId::new(1).unwrap();
        let mint = Mint::new(0, 0, 0);
        mint.extend(mint.next_lease());
        let first = mint.coupon(user).unwrap().get();
        let used = Mint::now_s() + 5_000;
        mint.adopt(200, used);
        assert_eq!(mint.coupon(user), Err(MintExhausted));
        mint.extend(mint.next_lease());
        assert_eq!(mint.node(), 200);
        let second = mint.coupon(user).unwrap().get();
        let stem = second / SLOTS;
        assert_eq!((stem >> 10) & 0xff, 200);
        assert!(stem >> 18 >= used && second > first, "{stem} {used}");
    }

    #[test]
    fn a_closed_mint_tells_how_far_it_came() {
        let mint = Mint::new(0, 0, 0);
        mint.extend(mint.next_lease());
        let user = UserId::new(5).unwrap();
        // More than a second holds: the next seconds are borrowed.
        let last = (0..3_000).map(|_| mint.coupon(user).unwrap().get()).last().unwrap();
        let second = (last / SLOTS) >> 18;
        let used = mint.close();
        assert_eq!(used, second + 1);
        assert_eq!(mint.coupon(user), Err(MintExhausted));
        assert_eq!(mint.operation(), Err(MintExhausted));
    }

    #[test]
    fn rights_survive_packing() {
        for right in [
            Right { until: 0, term: 0, node: 0 },
            Right { until: 0x7fff_ffff, term: u16::MAX, node: 255 },
            Right { until: 217_000_123, term: 0x1234, node: 9 },
        ] {
            assert_eq!(Right::unpack(right.pack()), right);
        }
    }
}
