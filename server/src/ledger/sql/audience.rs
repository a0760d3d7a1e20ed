//! Users named for a template (R27).

use std::sync::LazyLock;

use coupon_domain::ids::{TemplateId, UserId};
use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};

use super::statement::{Texts, execute, query, repeat};
use crate::ledger::LedgerError;

static ADD: LazyLock<Texts> = LazyLock::new(|| {
    let insert = |verb: &'static str| {
        let head = format!("{verb} INTO audience (template_id, user_id) VALUES ");
        move |rows| repeat(&head, "(?,?)", rows, "")
    };
    Texts::per_backend(insert("INSERT OR IGNORE"), insert("INSERT IGNORE"))
});

/// Names users; says how many were not named before.
pub(super) async fn add(
    db: &DatabaseConnection,
    template: TemplateId,
    users: &[UserId],
) -> Result<i64, LedgerError> {
    let tx = db.begin().await?;
    // In one order, so that two calls at once wait for each other instead of blocking each other.
    let mut users = users.to_vec();
    users.sort_unstable();
    let (mut added, mut rest) = (0, users.as_slice());
    let texts = ADD.on(db);
    for rows in texts.cuts(users.len()) {
        let (portion, after) = rest.split_at(rows);
        rest = after;
        let values =
            portion.iter().flat_map(|user| [template.get().into(), user.get().into()]).collect();
        added += execute(&tx, texts.of(rows), values).await?;
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
