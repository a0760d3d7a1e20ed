//! Sub-stock: how a template's stock is dealt out to buckets, and moved between them (R17, R18).

use crate::ids::TemplateId;

/// A template's sub-stock bucket on one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketKey {
    /// Whose stock.
    pub template: TemplateId,
    /// 0..buckets.
    pub bucket: u16,
}

/// A bucket as stored: `0 <= issued <= granted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Which.
    pub key: BucketKey,
    /// Pieces it may give over its life.
    pub granted: i64,
    /// Pieces it has given; never falls.
    pub issued: i64,
    /// Whether it gives anything now: written by publish, pause, resume and end.
    pub open: bool,
}

impl Bucket {
    /// What it can still give.
    pub const fn left(&self) -> i64 {
        self.granted - self.issued
    }
}

/// Deals `total` pieces out to `parts`, as evenly as integers allow, the earlier parts first. No
/// part falls when the total rises, so that a larger deal can be made of a smaller one by adding.
pub fn deal(total: i64, parts: usize) -> Vec<i64> {
    let count = i64::try_from(parts.max(1)).unwrap_or(i64::MAX);
    (0..count).map(|part| total / count + i64::from(part < total % count)).collect()
}

/// A move of granted pieces between two buckets of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Index of the bucket that gives.
    pub from: usize,
    /// Index of the bucket that takes.
    pub to: usize,
    /// Pieces.
    pub pieces: i64,
}

/// Plans the moves that let bucket `to` give `wanted` pieces out of `left` (what each bucket can
/// still give). Takes from the fullest first and carries along half of what that one has beyond the
/// need, so that a dry bucket does not ask again at once; near zero a move shrinks to the need.
/// What cannot be had is left out: the caller sees how far the moves reach.
pub fn plan_moves(left: &[i64], to: usize, wanted: i64) -> Vec<Move> {
    let mut left = left.to_vec();
    let mut moves = Vec::new();
    while let Some(lacking) = left.get(to).map(|have| wanted - have).filter(|lack| *lack > 0) {
        let richest = (0..left.len()).filter(|bucket| *bucket != to).max_by_key(|b| left[*b]);
        let Some(from) = richest.filter(|bucket| left[*bucket] > 0) else { break };
        let need = lacking.min(left[from]);
        let pieces = need + (left[from] - need) / 2;
        left[from] -= pieces;
        left[to] += pieces;
        moves.push(Move { from, to, pieces });
    }
    moves
}

/// Pieces that one transfer carries beyond what is waited for, at most: a shard that has been lent a
/// large part of the stock and then sees no buyers makes all others ask it for it.
pub const CARRY_MAX: i64 = 10_000;

/// How many pieces a transfer takes from a shard that can still give `left`, when `wanted` are waited
/// for elsewhere: what is wanted and half of the rest, so that the dry shard does not ask again at
/// once; near zero it shrinks to what is wanted, and never more than there is.
pub fn chunk(left: i64, wanted: i64) -> i64 {
    let need = wanted.min(left).max(0);
    let beyond = ((left - need) / 2).clamp(0, CARRY_MAX);
    // The last pieces go one by one to whoever asks.
    if need == 0 { 0 } else { need + beyond }
}

/// What the waiting claims of a dry shard want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The total of their template, as they know it.
    pub total: i64,
    /// Pieces wanted by all of them.
    pub pieces: i64,
    /// Pieces wanted by the one that wants fewest, at least 1.
    pub fewest: i64,
}

/// A template's stock on all shards, as seen from one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Survey {
    /// What the shard itself can give.
    pub here: i64,
    /// What the other shards that answered can give.
    pub elsewhere: i64,
    /// Pieces given by all shards that answered.
    pub issued: i64,
    /// Whether all shards answered.
    pub complete: bool,
}

/// What a dry shard does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supply {
    /// There is stock on the shard: try again.
    Ready,
    /// Fetch this many pieces from the others.
    Fetch(i64),
    /// Proven: fewer pieces are left of the total than anybody waiting wants.
    SoldOut,
    /// Nothing is proven as long as a shard does not answer.
    Blind,
    /// All shards are dry, but not everything is given: pieces are on their way.
    Search,
}

impl Survey {
    /// Decides for the waiting claims. "Sold out" is said of pieces given, which only grow, never of
    /// buckets that are empty.
    pub fn decide(self, demand: Demand) -> Supply {
        let lacking = demand.pieces - self.here;
        if lacking <= 0 {
            Supply::Ready
        } else if self.elsewhere > 0 && self.here + self.elsewhere >= demand.fewest {
            Supply::Fetch(lacking.min(self.elsewhere))
        } else if self.here >= demand.fewest {
            Supply::Ready
        } else if self.issued + demand.fewest > demand.total {
            Supply::SoldOut
        } else if self.complete {
            Supply::Search
        } else {
            Supply::Blind
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // R17: a deal adds up, is even, and no part of it falls when the total rises: what a part has
        // been given can always be brought up to a larger total by adding.
        #[test]
        fn a_deal_is_even_and_grows_with_the_total(
            total in 0_i64..1_000_000, more in 0_i64..1_000_000, parts in 1_usize..64,
        ) {
            let (before, after) = (deal(total, parts), deal(total + more, parts));
            prop_assert_eq!(before.iter().sum::<i64>(), total);
            prop_assert!(before.iter().zip(&after).all(|(before, after)| before <= after));
            let (least, most) = (before.iter().min(), before.iter().max());
            prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1));
        }

        // R18: a transfer takes no more than there is, what is wanted if there is so much, and leaves
        // half of the rest.
        #[test]
        fn a_chunk_covers_the_need_and_leaves_half_of_the_rest(
            left in -5_i64..5_000_000, wanted in 0_i64..100_000,
        ) {
            let pieces = chunk(left, wanted);
            prop_assert!((0..=left.max(0)).contains(&pieces));
            prop_assert!(pieces >= wanted.min(left));
            prop_assert!(pieces <= wanted + CARRY_MAX);
            prop_assert!(wanted == 0 || left - pieces >= (left - wanted) / 2);
            prop_assert_eq!(pieces == 0, wanted == 0 || left <= 0);
        }

        // R18: one shard that keeps asking the fullest of the others empties them all, to the piece.
        #[test]
        fn chunks_find_every_piece(shards in prop::collection::vec(0_i64..100_000, 1..8)) {
            let (mut shards, mut sold) = (shards, 0);
            let total: i64 = shards.iter().sum();
            let mut here = 0;
            while let Some(source) = shards.iter_mut().max().filter(|left| **left > 0 || here > 0) {
                if here == 0 {
                    let pieces = chunk(*source, 1);
                    prop_assert!(pieces > 0);
                    *source -= pieces;
                    here += pieces;
                }
                sold += here;
                here = 0;
            }
            prop_assert_eq!(sold, total);
        }

        // R44: "sold out" is never said while anybody waiting could be served from what was seen.
        #[test]
        fn nobody_is_told_sold_out_who_could_be_served(
            here in 0_i64..20, elsewhere in 0_i64..20, moving in 0_i64..5, issued in 0_i64..20,
            complete: bool, fewest in 1_i64..5, others in 0_i64..30,
        ) {
            let total = here + elsewhere + moving + issued;
            let survey = Survey { here, elsewhere, issued, complete };
            let demand = Demand { total, pieces: fewest + others, fewest };
            match survey.decide(demand) {
                Supply::Ready => prop_assert!(here >= fewest),
                Supply::Fetch(pieces) => {
                    prop_assert!((1..=elsewhere).contains(&pieces));
                    prop_assert!(here + elsewhere >= fewest);
                }
                Supply::SoldOut => prop_assert!(here + elsewhere + moving < fewest),
                Supply::Search => prop_assert!(complete && here + elsewhere < fewest),
                Supply::Blind => prop_assert!(!complete && here + elsewhere < fewest),
            }
        }
    }

    #[test]
    fn dealing_is_even_and_complete() {
        assert_eq!(deal(10, 3), [4, 3, 3]);
        assert_eq!(deal(2, 4), [1, 1, 0, 0]);
    }

    // R18: an emptied sub-stock is filled from the others, and the last piece is found.
    #[test]
    fn a_dry_bucket_is_filled_from_the_fullest() {
        let moves = plan_moves(&[0, 5, 9], 0, 1);
        assert_eq!(moves, [Move { from: 2, to: 0, pieces: 5 }]);
        assert_eq!(plan_moves(&[0, 1, 0], 0, 1), [Move { from: 1, to: 0, pieces: 1 }]);
        assert_eq!(plan_moves(&[0, 0, 0], 0, 1), []);
        let reach: i64 = plan_moves(&[0, 2, 3], 0, 9).iter().map(|m| m.pieces).sum();
        assert_eq!(reach, 5);
    }
}
