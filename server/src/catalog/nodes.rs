//! Node numbers: each process leases one in meta, so that the ids it mints are its own.
//!
//! Whoever takes a number reads its `minted_until` in the same comparison that makes it the holder,
//! and starts there; the holder before may go on below it without harm.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, DatabaseConnection, EntityTrait, QueryFilter,
    sea_query::Expr,
};

use super::{Catalog, CatalogError, entity::node, store::is_duplicate};
use crate::{clock::wall_millis, ledger::LedgerError, mint::Mint};

/// How many numbers there are.
const NUMBERS: i64 = 256;

/// A node number that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeLease {
    /// The number.
    pub node: u8,
    /// Second since 2020 up to which ids may have been minted under it.
    pub used_until: i64,
}

/// What a renewal came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The number is held, and the mint may go on.
    Held,
    /// Somebody else holds the number. The mint ends where it was allowed to before.
    Lost,
}

impl Catalog {
    /// Leases the lowest number that is free or lapsed, those whose `minted_until` has passed before
    /// the others. `holder` is a text that no other process has.
    ///
    /// # Errors
    /// When all numbers are held, or the database cannot be written.
    pub async fn lease_node(
        &self,
        holder: &str,
        lease: Duration,
    ) -> Result<NodeLease, CatalogError> {
        self.lease_node_at(holder, lease, wall_millis()).await
    }

    /// [`Self::lease_node`] at a time of one's own.
    ///
    /// # Errors
    /// As there.
    pub async fn lease_node_at(
        &self,
        holder: &str,
        lease: Duration,
        now: i64,
    ) -> Result<NodeLease, CatalogError> {
        let until = plus(now, lease);
        let known = node::Entity::find().all(&self.db.write).await?;
        for candidate in candidates(&known, now, Mint::now_s()) {
            let taken = match candidate {
                Candidate::New(id) => insert(&self.db.write, id, holder, until).await?,
                Candidate::Known(row) => take(&self.db.write, row, holder, until).await?,
            };
            if let Some(lease) = taken {
                return Ok(lease);
            }
        }
        let text = "all 256 node numbers are held; stop nodes that are not needed, or wait until \
                    those of nodes that are gone lapse";
        Err(LedgerError::Unavailable(text.to_owned()).into())
    }

    /// Holds the mint's number for another `lease` and lets the mint go on.
    ///
    /// # Errors
    /// When the database cannot be written; the mint keeps what it has.
    pub async fn renew_node(
        &self,
        holder: &str,
        mint: &Mint,
        lease: Duration,
    ) -> Result<Renewal, CatalogError> {
        self.renew_node_at(holder, mint, lease, wall_millis()).await
    }

    /// [`Self::renew_node`] at a time of one's own.
    ///
    /// # Errors
    /// As there.
    pub async fn renew_node_at(
        &self,
        holder: &str,
        mint: &Mint,
        lease: Duration,
        now: i64,
    ) -> Result<Renewal, CatalogError> {
        let minted_until = mint.next_lease();
        let done = node::Entity::update_many()
            .col_expr(node::Column::MintedUntil, Expr::value(minted_until))
            .col_expr(node::Column::LeasedUntil, Expr::value(plus(now, lease)))
            .filter(held(mint.node(), holder))
            // Never lowered; a clock that was set back waits where it was.
            .filter(node::Column::MintedUntil.lte(minted_until))
            .exec(&self.db.write)
            .await?;
        if done.rows_affected == 1 {
            mint.extend(minted_until);
            return Ok(Renewal::Held);
        }
        self.renew_behind(holder, mint, plus(now, lease)).await
    }

    /// Renews the lease alone, for a node whose clock was set back.
    async fn renew_behind(
        &self,
        holder: &str,
        mint: &Mint,
        leased_until: i64,
    ) -> Result<Renewal, CatalogError> {
        let done = node::Entity::update_many()
            .col_expr(node::Column::LeasedUntil, Expr::value(leased_until))
            .filter(held(mint.node(), holder))
            .exec(&self.db.write)
            .await?;
        Ok(if done.rows_affected == 1 { Renewal::Held } else { Renewal::Lost })
    }

    /// Ends the mint and gives its number back, to be used from the next second on.
    ///
    /// # Errors
    /// When the database cannot be written: the lease lapses then.
    pub async fn release_node(&self, holder: &str, mint: &Mint) -> Result<(), CatalogError> {
        let used_until = mint.close();
        node::Entity::update_many()
            .col_expr(node::Column::MintedUntil, Expr::value(used_until))
            .col_expr(node::Column::Holder, Expr::value(""))
            .col_expr(node::Column::LeasedUntil, Expr::value(0_i64))
            .filter(held(mint.node(), holder))
            .exec(&self.db.write)
            .await?;
        Ok(())
    }
}

/// `now` and a duration, in milliseconds.
pub(super) fn plus(now: i64, more: Duration) -> i64 {
    now.saturating_add(i64::try_from(more.as_millis()).unwrap_or(i64::MAX))
}

fn held(node: u8, holder: &str) -> Condition {
    Condition::all()
        .add(node::Column::NodeId.eq(i64::from(node)))
        .add(node::Column::Holder.eq(holder))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Candidate<'a> {
    /// Nobody has ever held it.
    New(u8),
    /// Its last lease has ended.
    Known(&'a node::Model),
}

/// The numbers that can be had at `now` (Unix milliseconds), best first: those at whose
/// `minted_until` the clock (`now_s`, seconds since 2020) has arrived, because their ids begin now.
fn candidates(known: &[node::Model], now: i64, now_s: i64) -> Vec<Candidate<'_>> {
    let mut free: Vec<(bool, i64, Candidate<'_>)> = (0..NUMBERS)
        .filter_map(|id| {
            let row = known.iter().find(|row| row.node_id == id);
            let candidate = match row {
                None => Candidate::New(u8::try_from(id).ok()?),
                Some(row) if row.holder.is_empty() || row.leased_until < now => {
                    Candidate::Known(row)
                }
                Some(_) => return None,
            };
            Some((row.is_some_and(|row| row.minted_until > now_s), id, candidate))
        })
        .collect();
    free.sort_by_key(|(ahead, id, _)| (*ahead, *id));
    free.into_iter().map(|(.., candidate)| candidate).collect()
}

/// `None` when somebody else was faster.
async fn insert(
    db: &DatabaseConnection,
    node: u8,
    holder: &str,
    until: i64,
) -> Result<Option<NodeLease>, CatalogError> {
    let row = node::ActiveModel {
        node_id: Set(i64::from(node)),
        minted_until: Set(0),
        holder: Set(holder.to_owned()),
        leased_until: Set(until),
    };
    match node::Entity::insert(row).exec_without_returning(db).await {
        Ok(_) => Ok(Some(NodeLease { node, used_until: 0 })),
        Err(error) if is_duplicate(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// `None` when the row is no longer as it was read.
async fn take(
    db: &DatabaseConnection,
    row: &node::Model,
    holder: &str,
    until: i64,
) -> Result<Option<NodeLease>, CatalogError> {
    let done = node::Entity::update_many()
        .col_expr(node::Column::Holder, Expr::value(holder))
        .col_expr(node::Column::LeasedUntil, Expr::value(until))
        .filter(node::Column::NodeId.eq(row.node_id))
        .filter(node::Column::Holder.eq(row.holder.as_str()))
        .filter(node::Column::LeasedUntil.eq(row.leased_until))
        .filter(node::Column::MintedUntil.eq(row.minted_until))
        .exec(db)
        .await?;
    let node = u8::try_from(row.node_id).ok().filter(|_| done.rows_affected == 1);
    Ok(node.map(|node| NodeLease { node, used_until: row.minted_until }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(node_id: i64, minted_until: i64, holder: &str, leased_until: i64) -> node::Model {
        node::Model { node_id, minted_until, holder: holder.to_owned(), leased_until }
    }

    #[test]
    fn the_lowest_free_number_comes_first_and_those_with_ids_ahead_last() {
        let known = [
            row(0, 50, "a", 2_000),
            row(1, 90, "b", 900),
            row(2, 40, "c", 999),
            row(3, 0, "", 0),
            row(4, 70, "d", 1_000),
        ];
        let found = candidates(&known, 1_000, 60);
        assert_eq!(found[0], Candidate::Known(&known[2]));
        assert_eq!(found[1], Candidate::Known(&known[3]));
        assert_eq!(found[2], Candidate::New(5));
        assert_eq!(found.last(), Some(&Candidate::Known(&known[1])));
        // Two are held: 0 until later, 4 to the very instant.
        assert_eq!(found.len(), 254);
    }

    #[test]
    fn when_all_are_held_there_is_none() {
        let known: Vec<_> = (0..NUMBERS).map(|id| row(id, 0, "x", 10)).collect();
        assert!(candidates(&known, 5, 0).is_empty());
        assert_eq!(candidates(&known, 11, 0).len(), 256);
    }
}
