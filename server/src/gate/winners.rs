//! Who holds a template, compactly: so that "sold out" can be answered from memory to everybody else.

use coupon_domain::ids::{SLOTS, TemplateId, UserId, mix64};
use rustc_hash::FxHashMap;

use crate::ledger::{Holding, HoldingCursor, Ledger, LedgerError};

/// Rows of one step of a walk.
const WALK_ROWS: u32 = 10_000;
/// No coupon of a template was minted longer before the template itself: far more than clocks differ.
const MARGIN_S: i64 = 3_600;

/// The holders of a template; who is not among them has won nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Winners(Box<[u32]>);

fn hash(user: UserId) -> u32 {
    u32::try_from(mix64(user.get().cast_unsigned()) >> 32).unwrap_or(0)
}

impl Winners {
    /// These users.
    pub fn of(users: impl IntoIterator<Item = UserId>) -> Self {
        Self::from_hashes(users.into_iter().map(hash).collect())
    }

    fn from_hashes(mut hashes: Vec<u32>) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        Self(hashes.into_boxed_slice())
    }

    /// False: the user is not among them. True: perhaps, wrong for one in four thousand strangers of a
    /// template with a million winners.
    pub fn may_hold(&self, user: UserId) -> bool {
        self.0.binary_search(&hash(user)).is_ok()
    }

    /// How much room it takes: entries of 4 bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is among them.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where coupons of templates begin on every shard: ids grow with time.
pub fn first_cursor(templates: impl IntoIterator<Item = TemplateId>) -> HoldingCursor {
    let per_second = (1_i64 << 18).saturating_mul(SLOTS);
    let first = templates.into_iter().map(TemplateId::get).min().unwrap_or(0);
    (first - MARGIN_S * per_second).max(0)
}

/// What a walk over the ledger has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// Every coupon.
    Whole,
    /// It was broken off.
    Part,
}

/// Reads the holdings of templates on every shard, and hands them on; `hear` may end the walk by
/// answering false.
///
/// # Errors
/// When a shard cannot be read.
pub async fn walk(
    ledger: &dyn Ledger,
    templates: &[TemplateId],
    mut hear: impl FnMut(&[(TemplateId, Holding)]) -> bool + Send,
) -> Result<Walk, LedgerError> {
    let from = first_cursor(templates.iter().copied());
    for shard in 0..ledger.shards() {
        let mut after = Some(from);
        while let Some(cursor) = after {
            let (rows, next) = ledger.holdings(shard, templates, cursor, WALK_ROWS).await?;
            if !hear(&rows) {
                return Ok(Walk::Part);
            }
            after = next;
        }
    }
    Ok(Walk::Whole)
}

/// The winners of templates that are proven to be sold out, each with the total of the proof; no more
/// than `room` of them. Templates of which fewer coupons are found than the proof says are left out:
/// what was read lagged behind it.
///
/// # Errors
/// When a shard cannot be read.
pub async fn load(
    ledger: &dyn Ledger,
    sold_out: &FxHashMap<TemplateId, i64>,
    room: usize,
) -> Result<Vec<(TemplateId, Winners)>, LedgerError> {
    let templates: Vec<TemplateId> = sold_out.keys().copied().collect();
    let mut found: FxHashMap<TemplateId, Vec<u32>> = FxHashMap::default();
    let mut count = 0;
    let walked = walk(ledger, &templates, |rows| {
        for (template, holding) in rows {
            found.entry(*template).or_default().push(hash(holding.user));
        }
        count += rows.len();
        count <= room
    });
    if walked.await? == Walk::Part {
        tracing::warn!(templates = templates.len(), room, "too many winners to keep in memory");
        return Ok(Vec::new());
    }
    let complete = |(template, hashes): (TemplateId, Vec<u32>)| {
        let coupons = i64::try_from(hashes.len()).unwrap_or(i64::MAX);
        let expected = sold_out.get(&template).copied().unwrap_or(i64::MAX);
        (coupons >= expected).then(|| (template, Winners::from_hashes(hashes)))
    };
    Ok(found.into_iter().filter_map(complete).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: i64) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn nobody_who_won_is_missing_and_few_others_are_among_them() {
        let winners = Winners::of((1..=100_000).map(user));
        assert!((1..=100_000).all(|id| winners.may_hold(user(id))));
        let wrong = (200_000..300_000).filter(|id| winners.may_hold(user(*id))).count();
        assert!(wrong < 20, "{wrong}");
        assert!(!Winners::of([]).may_hold(user(1)));
    }

    #[test]
    fn a_walk_begins_an_hour_before_the_oldest_template() {
        let minted = |second| {
            let slot = user(1).slot();
            coupon_domain::ids::MintedId { second, node: 9, counter: 700, slot }.compose()
        };
        let template = |second| TemplateId::new(minted(second)).unwrap();
        let first = first_cursor([template(100_000), template(50_000)]);
        assert!(minted(46_399) < first && first < minted(46_401));
        assert_eq!(first_cursor([template(12)]), 0);
    }
}
