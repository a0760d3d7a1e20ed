//! Users named for a template (R27).

use std::sync::LazyLock;

use coupon_domain::ids::{TemplateId, UserId};
use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};

use super::statement::{Texts, cuts, execute, query};
use crate::ledger::LedgerError;

static ADD: LazyLock<Texts> = LazyLock::new(|| {
    Texts::new("INSERT OR IGNORE INTO audience (template_id, user_id) VALUES ", "(?,?)", "")
});

/// Names users; says how many were not named before.
pub(super) async fn add(
    db: &DatabaseConnection,
    template: TemplateId,
    users: &[UserId],
) -> Result<i64, LedgerError> {
    let tx = db.begin().await?;
    let (mut added, mut rest) = (0, users);
    for rows in cuts(users.len()) {
        let (portion, after) = rest.split_at(rows);
        rest = after;
        let values =
            portion.iter().flat_map(|user| [template.get().into(), user.get().into()]).collect();
        added += execute(&tx, ADD.of(rows), values).await?;
    }
    tx.commit().await?;
    Ok(i64::try_from(added).unwrap_or(i64::MAX))
}

/// Whether a user is named.
pub(super) async fn contains(
    db: &impl ConnectionTrait,
    template: TemplateId,
    user: UserId,
) -> Result<bool, LedgerError> {
    let sql = "SELECT 1 FROM audience WHERE user_id = ? AND template_id = ?";
    Ok(!query(db, sql, vec![user.get().into(), template.get().into()]).await?.is_empty())
}
