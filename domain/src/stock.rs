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

/// Deals `total` pieces out to `parts`, as evenly as integers allow, the earlier parts first.
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

#[cfg(test)]
mod tests {
    use super::*;

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
