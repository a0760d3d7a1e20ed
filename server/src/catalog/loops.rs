//! Leases of background loops: of any number of nodes one runs each.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter, sea_query::Expr,
};

use super::{Catalog, CatalogError, entity::loop_lease, nodes::plus, store::is_duplicate};

impl Catalog {
    /// Takes or renews the lease of the loop `name` at `now` (Unix milliseconds); says whether
    /// `holder` has it.
    ///
    /// # Errors
    /// When the database cannot be written; whether the lease is held is unknown then.
    pub async fn lease_loop(
        &self,
        name: &str,
        holder: &str,
        lease: Duration,
        now: i64,
    ) -> Result<bool, CatalogError> {
        let until = plus(now, lease);
        let ours = Condition::any()
            .add(loop_lease::Column::Holder.eq(holder))
            .add(loop_lease::Column::LeasedUntil.lt(now));
        let done = loop_lease::Entity::update_many()
            .col_expr(loop_lease::Column::Holder, Expr::value(holder))
            .col_expr(loop_lease::Column::LeasedUntil, Expr::value(until))
            .filter(loop_lease::Column::Name.eq(name))
            .filter(ours)
            .exec(&self.db.write)
            .await?;
        if done.rows_affected == 1 {
            return Ok(true);
        }
        let known = loop_lease::Entity::find_by_id(name).one(&self.db.write).await?;
        if known.is_some() {
            return Ok(false);
        }
        let row = loop_lease::ActiveModel {
            name: Set(name.to_owned()),
            holder: Set(holder.to_owned()),
            leased_until: Set(until),
        };
        match loop_lease::Entity::insert(row).exec_without_returning(&self.db.write).await {
            Ok(_) => Ok(true),
            Err(error) if is_duplicate(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the lease of a loop back, if `holder` has it.
    ///
    /// # Errors
    /// When the database cannot be written: the lease lapses then.
    pub async fn release_loop(&self, name: &str, holder: &str) -> Result<(), CatalogError> {
        loop_lease::Entity::update_many()
            .col_expr(loop_lease::Column::Holder, Expr::value(""))
            .col_expr(loop_lease::Column::LeasedUntil, Expr::value(0_i64))
            .filter(loop_lease::Column::Name.eq(name))
            .filter(loop_lease::Column::Holder.eq(holder))
            .exec(&self.db.write)
            .await?;
        Ok(())
    }
}
