//! Loading the rows that a redemption group needs.

use std::{
    collections::{BTreeSet, HashSet},
    sync::LazyLock,
};

use coupon_domain::{
    book::Book,
    ids::{CouponId, RedemptionId, TemplateId, UserId},
    redemption::{Redemption, RestoreCommand},
    time::Timestamp,
};
use sea_orm::ConnectionTrait;

use super::RedeemItem;
use crate::ledger::{
    LedgerError, RedeemCommand,
    sql::{
        rows::{self, COUPON_COLUMNS, REDEMPTION_COLUMNS, REFUND_COLUMNS},
        statement::{Texts, is_mysql, query, query_by_keys, repeat},
    },
};

// On MySQL every row that a group may change is locked as it is read, and stays as it was read until
// the group is written; on SQLite there is one writer. Orders are locked in the order of their index,
// which is the same for all.

static BY_ORDER: LazyLock<Texts> = LazyLock::new(|| {
    let sqlite = |rows| {
        let tail = format!(
            ") SELECT DISTINCT {REDEMPTION_COLUMNS} FROM wanted CROSS JOIN redemption AS r \
             ON r.user_id = wanted.user_id AND r.order_id = wanted.order_id \
             ORDER BY r.redemption_id"
        );
        repeat("WITH wanted (user_id, order_id) AS (VALUES ", "(?,?)", rows, &tail)
    };
    let mysql = |rows| {
        let head = format!(
            "SELECT {REDEMPTION_COLUMNS} FROM redemption AS r FORCE INDEX (redemption_order) \
             WHERE (r.user_id, r.order_id) IN ("
        );
        repeat(&head, "(?,?)", rows, ") FOR UPDATE")
    };
    Texts::per_backend(sqlite, mysql)
});

static BY_ID: LazyLock<Texts> = LazyLock::new(|| {
    let head =
        format!("SELECT {REDEMPTION_COLUMNS} FROM redemption AS r WHERE r.redemption_id IN (");
    locking(head, "ORDER BY r.redemption_id")
});

static COUPONS: LazyLock<Texts> = LazyLock::new(|| {
    let head = format!("SELECT {COUPON_COLUMNS} FROM coupon AS c WHERE c.coupon_id IN (");
    locking(head, "ORDER BY c.coupon_id")
});

fn locking(head: String, order: &str) -> Texts {
    let (sqlite, mysql) = (format!(") {order}"), format!(") {order} FOR UPDATE"));
    Texts::per_backend(
        |rows| repeat(&head, "?", rows, &sqlite),
        |rows| repeat(&head, "?", rows, &mysql),
    )
}

static REFUNDS: LazyLock<Texts> = LazyLock::new(|| {
    let sqlite = |rows| {
        let tail = format!(
            ") SELECT DISTINCT {REFUND_COLUMNS} FROM wanted CROSS JOIN refund AS f \
             ON f.user_id = wanted.user_id AND f.order_id = wanted.order_id \
             AND f.request_id = wanted.request_id"
        );
        repeat("WITH wanted (user_id, order_id, request_id) AS (VALUES ", "(?,?,?)", rows, &tail)
    };
    let mysql = |rows| {
        let head = format!(
            "SELECT {REFUND_COLUMNS} FROM refund AS f FORCE INDEX (PRIMARY) \
             WHERE (f.user_id, f.order_id, f.request_id) IN ("
        );
        repeat(&head, "(?,?,?)", rows, ")")
    };
    Texts::per_backend(sqlite, mysql)
});

/// Enters into a book every row that the group's commands may read or change, and says which
/// templates they need.
pub(super) async fn load(
    tx: &impl ConnectionTrait,
    items: &[&RedeemItem],
) -> Result<(Book, BTreeSet<TemplateId>), LedgerError> {
    let mut loader = Loader { tx, book: Book::default(), redemptions: HashSet::new() };
    let mut coupons: BTreeSet<CouponId> = BTreeSet::new();
    let (mut orders, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for item in items {
        match &item.command {
            RedeemCommand::Lock(command, _) => {
                orders.insert((command.user, command.order.as_str()));
                coupons.extend(&command.coupons);
            }
            RedeemCommand::Confirm(command) | RedeemCommand::Cancel(command) => {
                orders.insert((command.user, command.order.as_str()));
            }
            RedeemCommand::Restore(command) => {
                orders.insert((command.user, command.order.as_str()));
            }
            RedeemCommand::Force(command) => {
                orders.insert((command.user, command.order.as_str()));
            }
            RedeemCommand::Void(command) => {
                coupons.insert(command.coupon);
            }
            RedeemCommand::Lapse(_, id) => {
                ids.insert(*id);
            }
        }
    }
    coupons.extend(loader.by_orders(&orders.into_iter().collect::<Vec<_>>()).await?);
    coupons.extend(loader.by_ids(&ids.into_iter().collect::<Vec<_>>()).await?);
    let at = items.iter().map(|item| item.at).max().unwrap_or_default();
    let mut templates = BTreeSet::new();
    let holders = loader.coupons(&coupons, at, &mut templates).await?;
    let more: BTreeSet<CouponId> =
        loader.by_ids(&holders).await?.into_iter().filter(|id| !coupons.contains(id)).collect();
    loader.coupons(&more, at, &mut templates).await?;
    loader.refunds(items).await?;
    Ok((loader.book, templates))
}

struct Loader<'a, C> {
    tx: &'a C,
    book: Book,
    redemptions: HashSet<RedemptionId>,
}

impl<C: ConnectionTrait> Loader<'_, C> {
    /// Loads the redemptions of orders; answers their coupons.
    async fn by_orders(&mut self, orders: &[(UserId, &str)]) -> Result<Vec<CouponId>, LedgerError> {
        let found = query_by_keys(self.tx, &BY_ORDER, orders, |(user, order), values| {
            values.extend([user.get().into(), (*order).into()]);
        });
        let found = found.await?;
        self.enter(&found)
    }

    /// Loads redemptions that are not there yet; answers their coupons.
    async fn by_ids(&mut self, ids: &[RedemptionId]) -> Result<Vec<CouponId>, LedgerError> {
        let missing: Vec<RedemptionId> =
            ids.iter().filter(|id| !self.redemptions.contains(id)).copied().collect();
        let found = query_by_keys(self.tx, &BY_ID, &missing, |id, values| {
            values.push(id.get().into());
        });
        let found = found.await?;
        self.enter(&found)
    }

    fn enter(&mut self, found: &[sea_orm::QueryResult]) -> Result<Vec<CouponId>, LedgerError> {
        let mut coupons = Vec::new();
        for row in found {
            let redemption = rows::redemption(row)?;
            coupons.extend(redemption.coupons());
            self.redemptions.insert(redemption.id);
            self.book.load_redemption(redemption);
        }
        Ok(coupons)
    }

    /// Loads coupons; answers the redemptions whose lapsed locks hold some of them. On MySQL all that
    /// hold some: the order of a command may have been locked by somebody else after it was looked up,
    /// and before its coupons were.
    async fn coupons(
        &mut self,
        ids: &BTreeSet<CouponId>,
        at: Timestamp,
        templates: &mut BTreeSet<TemplateId>,
    ) -> Result<Vec<RedemptionId>, LedgerError> {
        let ids: Vec<CouponId> = ids.iter().copied().collect();
        let found = query_by_keys(self.tx, &COUPONS, &ids, |id, values| {
            values.push(id.get().into());
        });
        let (all, mut holders) = (is_mysql(self.tx), BTreeSet::new());
        for row in found.await? {
            let coupon = rows::coupon(&row)?;
            templates.insert(coupon.template);
            holders.extend(coupon.redemption.filter(|_| all || coupon.lock_has_lapsed(at)));
            self.book.load_coupon(coupon);
        }
        Ok(holders.into_iter().collect())
    }

    async fn refunds(&mut self, items: &[&RedeemItem]) -> Result<(), LedgerError> {
        let keys: Vec<&RestoreCommand> = items
            .iter()
            .filter_map(|item| match &item.command {
                RedeemCommand::Restore(command) => Some(command),
                _ => None,
            })
            .collect();
        let found = query_by_keys(self.tx, &REFUNDS, &keys, |command, values| {
            values.extend([
                command.user.get().into(),
                command.order.as_str().into(),
                command.request.request_id.as_str().into(),
            ]);
        });
        for row in found.await? {
            self.book.load_refund(rows::refund(&row)?);
        }
        Ok(())
    }
}

/// How many coupons a refund may have to reissue.
pub(super) fn coupons_to_restore(book: &Book, command: &RestoreCommand) -> usize {
    let found = book.redemption_of(command.user, &command.order);
    found.map_or(0, |redemption| redemption.coupons().count())
}

/// The redemption of one order.
pub(in crate::ledger::sql) async fn by_order(
    db: &impl ConnectionTrait,
    user: UserId,
    order: &str,
) -> Result<Option<Redemption>, LedgerError> {
    let sql = format!(
        "SELECT {REDEMPTION_COLUMNS} FROM redemption AS r WHERE r.user_id = ? AND r.order_id = ?"
    );
    let found = query(db, &sql, vec![user.get().into(), order.into()]).await?;
    found.first().map(rows::redemption).transpose()
}

/// Redemptions stored LOCKED with `locked_until <= until`, by (locked_until, id), after a cursor.
pub(in crate::ledger::sql) async fn overdue(
    db: &impl ConnectionTrait,
    until: Timestamp,
    after: Option<(Timestamp, RedemptionId)>,
    limit: usize,
) -> Result<Vec<Redemption>, LedgerError> {
    let sql = format!(
        "SELECT {REDEMPTION_COLUMNS} FROM redemption AS r \
         WHERE r.locked_until IS NOT NULL AND r.locked_until <= ? \
         AND r.locked_until >= ? AND (r.locked_until, r.redemption_id) > (?, ?) \
         ORDER BY r.locked_until, r.redemption_id LIMIT ?"
    );
    let (at, id) = after.map_or((i64::MIN, 0), |(at, id)| (at.as_millis(), id.get()));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    // The cursor's instant stands there twice: MySQL enters an index by columns, not by rows of them.
    let values = vec![until.as_millis().into(), at.into(), at.into(), id.into(), limit.into()];
    query(db, &sql, values).await?.iter().map(rows::redemption).collect()
}
