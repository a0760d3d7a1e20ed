//! Which shard a slot belongs to.

use coupon_domain::ids::{Slot, UserId, deal_slots};

use super::ShardId;

/// The slot map: every user, coupon and redemption id finds its shard through its last four digits.
#[derive(Debug, Clone)]
pub struct Router {
    shards: u16,
    map: Vec<ShardId>,
}

impl Router {
    /// The default map of `shards` shards (at least 1).
    pub fn dealt(shards: u16) -> Self {
        let shards = shards.max(1);
        Self { shards, map: deal_slots(shards) }
    }

    /// How many shards there are.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// Where a slot lives.
    pub fn shard_of(&self, slot: Slot) -> ShardId {
        self.map[usize::from(slot.get())]
    }

    /// Where a user lives.
    pub fn shard_of_user(&self, user: UserId) -> ShardId {
        self.shard_of(user.slot())
    }
}
