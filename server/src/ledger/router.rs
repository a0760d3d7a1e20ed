//! Which shard a slot belongs to.

use coupon_domain::ids::{SLOTS, Slot, UserId, deal_slots};

use super::ShardId;

/// The slot map: every user, coupon and redemption id finds its shard through its last four digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    shards: u16,
    map: Vec<ShardId>,
}

/// A map that does not give every slot a shard and every shard a slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSlotMap {
    /// Not a list of numbers.
    #[error("it is no list of numbers ({0})")]
    Text(String),
    /// Too few or too many.
    #[error("it has {0} slots, not 10000")]
    Slots(usize),
    /// A slot of a shard that is none.
    #[error("slot {slot} is on shard {shard}, of {shards}")]
    Shard {
        /// The slot.
        slot: usize,
        /// Where it is said to be.
        shard: ShardId,
        /// How many there are.
        shards: u16,
    },
    /// A shard that nobody lives on.
    #[error("shard {0} has no slot")]
    Empty(ShardId),
}

impl Router {
    /// The default map of `shards` shards (at least 1).
    pub fn dealt(shards: u16) -> Self {
        let shards = shards.max(1);
        Self { shards, map: deal_slots(shards) }
    }

    /// A map as it was stored: the shard of each slot, in the order of the slots.
    ///
    /// # Errors
    /// When a slot has no shard or a shard no slot.
    pub fn from_map(shards: u16, map: Vec<ShardId>) -> Result<Self, BadSlotMap> {
        if i64::try_from(map.len()) != Ok(SLOTS) {
            return Err(BadSlotMap::Slots(map.len()));
        }
        if let Some((slot, shard)) = map.iter().enumerate().find(|(_, shard)| **shard >= shards) {
            return Err(BadSlotMap::Shard { slot, shard: *shard, shards });
        }
        if let Some(empty) = (0..shards).find(|shard| !map.contains(shard)) {
            return Err(BadSlotMap::Empty(empty));
        }
        Ok(Self { shards, map })
    }

    /// Reads what [`Self::to_text`] has written.
    ///
    /// # Errors
    /// When the text is no map.
    pub fn from_text(shards: u16, text: &str) -> Result<Self, BadSlotMap> {
        let map =
            serde_json::from_str(text).map_err(|error| BadSlotMap::Text(error.to_string()))?;
        Self::from_map(shards, map)
    }

    /// The map as text: the shard of each slot, as a JSON list.
    pub fn to_text(&self) -> String {
        let shards: Vec<String> = self.map.iter().map(ToString::to_string).collect();
        format!("[{}]", shards.join(","))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // R16: every slot has a shard, and shard sizes differ by at most one.
        #[test]
        fn dealt_maps_are_even_and_survive_their_text(shards in 1_u16..=200) {
            let router = Router::dealt(shards);
            let mut sizes = vec![0; usize::from(shards)];
            for user in 1..=SLOTS {
                sizes[usize::from(router.shard_of_user(UserId::new(user).unwrap()))] += 1;
            }
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{sizes:?}");
            prop_assert_eq!(Router::from_text(shards, &router.to_text()), Ok(router));
        }
    }

    #[test]
    fn a_map_with_a_hole_is_none() {
        let good = Router::dealt(2).map;
        assert_eq!(Router::from_map(2, good[1..].to_vec()), Err(BadSlotMap::Slots(9_999)));
        assert_eq!(Router::from_map(3, good.clone()), Err(BadSlotMap::Empty(2)));
        let mut strange = good;
        strange[7] = 2;
        let refused = Router::from_map(2, strange);
        assert_eq!(refused, Err(BadSlotMap::Shard { slot: 7, shard: 2, shards: 2 }));
        assert!(matches!(Router::from_text(2, "0,1"), Err(BadSlotMap::Text(_))));
    }
}
