//! Reads of coupons (R5, R48): by user, through the one index that begins with the user.

use std::sync::LazyLock;

use coupon_domain::{
    coupon::Coupon,
    ids::{CouponId, TemplateId, UserId},
    time::Timestamp,
};
use sea_orm::{ConnectionTrait, QueryResult, Value};

use super::{
    rows::{self, COUPON_COLUMNS, HOLDING_COLUMNS, get},
    statement::{Texts, dialect, query, query_by_keys},
};
use crate::ledger::{Holding, HoldingCursor, LedgerError, StoredCoupon};

static NAMED: LazyLock<Texts> = LazyLock::new(|| {
    let head = format!("SELECT {COUPON_COLUMNS} FROM coupon AS c WHERE c.coupon_id IN (");
    Texts::new(&head, "?", ")")
});

/// A query that names the user's index, for SQLite and for MySQL: ordered by id, the planner would
/// rather walk the whole table.
struct ByUser {
    sqlite: String,
    mysql: String,
}

impl ByUser {
    fn new(text: impl Fn(&str) -> String) -> Self {
        Self { sqlite: text("INDEXED BY coupon_user"), mysql: text("FORCE INDEX (coupon_user)") }
    }

    fn on(&self, db: &impl ConnectionTrait) -> &str {
        dialect(db, &self.sqlite, &self.mysql)
    }
}

static PAGE: LazyLock<ByUser> = LazyLock::new(|| page_sql(""));
static PAGE_OF_TEMPLATE: LazyLock<ByUser> = LazyLock::new(|| page_sql("AND c.template_id = ? "));

fn page_sql(filter: &str) -> ByUser {
    ByUser::new(|index| {
        format!(
            "SELECT {COUPON_COLUMNS}, r.order_id FROM coupon AS c {index} \
             LEFT JOIN redemption AS r ON r.redemption_id = c.redemption_id \
             WHERE c.user_id = ? {filter}AND c.coupon_id < ? ORDER BY c.coupon_id DESC LIMIT ?"
        )
    })
}

fn stored(row: &QueryResult) -> Result<StoredCoupon, LedgerError> {
    Ok(StoredCoupon { coupon: rows::coupon(row)?, order: get(row, 13)? })
}

/// A page of a user's coupons, newest first.
pub(super) async fn page(
    db: &impl ConnectionTrait,
    user: UserId,
    template: Option<TemplateId>,
    before: Option<CouponId>,
    limit: usize,
) -> Result<Vec<StoredCoupon>, LedgerError> {
    let mut values: Vec<Value> = vec![user.get().into()];
    values.extend(template.map(|template| Value::from(template.get())));
    values.push(before.map_or(i64::MAX, CouponId::get).into());
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    let sql = if template.is_some() { &PAGE_OF_TEMPLATE } else { &PAGE };
    query(db, sql.on(db), values).await?.iter().map(stored).collect()
}

/// One coupon of a user.
pub(super) async fn coupon(
    db: &impl ConnectionTrait,
    user: UserId,
    coupon: CouponId,
) -> Result<Option<StoredCoupon>, LedgerError> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {COUPON_COLUMNS}, r.order_id FROM coupon AS c \
             LEFT JOIN redemption AS r ON r.redemption_id = c.redemption_id \
             WHERE c.coupon_id = ? AND c.user_id = ?"
        )
    });
    let found = query(db, &SQL, vec![coupon.get().into(), user.get().into()]).await?;
    found.first().map(stored).transpose()
}

/// The user's coupons that are held or free and not expired, newest first.
pub(super) async fn live(
    db: &impl ConnectionTrait,
    user: UserId,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Coupon>, LedgerError> {
    static SQL: LazyLock<ByUser> = LazyLock::new(|| {
        ByUser::new(|index| {
            format!(
                "SELECT {COUPON_COLUMNS} FROM coupon AS c {index} \
                 WHERE c.user_id = ? AND c.valid_until > ? AND c.status IN (0, 3) \
                 ORDER BY c.coupon_id DESC LIMIT ?"
            )
        })
    });
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = vec![user.get().into(), now.as_millis().into(), limit.into()];
    query(db, SQL.on(db), values).await?.iter().map(rows::coupon).collect()
}

/// The user's coupons among those named.
pub(super) async fn named(
    db: &impl ConnectionTrait,
    user: UserId,
    coupons: &[CouponId],
) -> Result<Vec<Coupon>, LedgerError> {
    let found = query_by_keys(db, &NAMED, coupons, |id, values| values.push(id.get().into()));
    let found: Result<Vec<Coupon>, LedgerError> = found.await?.iter().map(rows::coupon).collect();
    Ok(found?.into_iter().filter(|coupon| coupon.user == user).collect())
}

/// What one user holds of one template.
pub(super) async fn held(
    db: &impl ConnectionTrait,
    user: UserId,
    template: TemplateId,
) -> Result<Vec<Holding>, LedgerError> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {HOLDING_COLUMNS} FROM coupon \
             WHERE user_id = ? AND template_id = ? AND claim_no > 0 ORDER BY claim_no"
        )
    });
    let found = query(db, &SQL, vec![user.get().into(), template.get().into()]).await?;
    found.iter().map(|row| Ok(rows::holding(row)?.1)).collect()
}

/// Holdings of some templates, in the order of ids: a walk over the whole table, for many at once.
pub(super) async fn holdings(
    db: &impl ConnectionTrait,
    templates: &[TemplateId],
    after: HoldingCursor,
    limit: u32,
) -> Result<(Vec<(TemplateId, Holding)>, Option<HoldingCursor>), LedgerError> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {HOLDING_COLUMNS} FROM coupon \
             WHERE coupon_id > ? ORDER BY coupon_id LIMIT ?"
        )
    });
    let found = query(db, &SQL, vec![after.into(), limit.into()]).await?;
    let full = found.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let last = found.last().map(|row| get::<i64>(row, 0)).transpose()?;
    let mut holdings = Vec::new();
    for row in &found {
        let wanted = templates.contains(&rows::template_id(row, 2)?);
        if wanted && get::<i64>(row, 3)? > 0 {
            holdings.push(rows::holding(row)?);
        }
    }
    Ok((holdings, last.filter(|_| full)))
}
