//! Writing what a redemption group has changed.

use std::sync::LazyLock;

use coupon_domain::{
    book::{AlarmKind, Changes, Entry, Operation, Refund},
    coupon::Coupon,
    ids::{CouponId, RedemptionId, UserId},
    redemption::Redemption,
    time::{Minute, Timestamp},
};
use sea_orm::{ConnectionTrait, Value};

use crate::{
    ledger::{
        LedgerError,
        sql::{
            alarms, rows,
            statement::{ROWS_MAX, Texts, execute, is_mysql, repeat},
        },
    },
    mint::Mint,
};

const OPERATION_COLUMNS: &str = "operation_id, coupon_id, user_id, template_id, order_id, \
                                 operation, from_status, to_status, coupons, at";

static LOG: LazyLock<Texts> = LazyLock::new(|| {
    let head = format!("INSERT INTO coupon_operation ({OPERATION_COLUMNS}) VALUES ");
    Texts::new(&head, "(?,?,?,?,?,?,?,?,?,?)", "")
});

/// A plain INSERT: somebody else's row of the same order must fail it.
static INSERT_REDEMPTIONS: LazyLock<Texts> = LazyLock::new(|| {
    let head = "INSERT INTO redemption (redemption_id, state, evaluation, first_locked_at, \
                locked_until, closed_at, locks, close_request_id, close_fingerprint, user_id, \
                order_id) VALUES ";
    Texts::new(head, "(?,?,?,?,?,?,?,?,?,?,?)", "")
});

/// On MySQL the rows are written over by primary key: see [`write_over`].
static UPDATE_REDEMPTIONS: LazyLock<Texts> = LazyLock::new(|| {
    let head = "WITH new (id, state, evaluation, first_locked_at, locked_until, closed_at, locks, \
                close_request_id, close_fingerprint, loaded_state) AS (VALUES ";
    let tail = ") UPDATE redemption SET state = new.state, evaluation = new.evaluation, \
                first_locked_at = new.first_locked_at, locked_until = new.locked_until, \
                closed_at = new.closed_at, locks = new.locks, \
                close_request_id = new.close_request_id, \
                close_fingerprint = new.close_fingerprint FROM new \
                WHERE redemption.redemption_id = new.id AND redemption.state = new.loaded_state";
    let mysql_head = "INSERT INTO redemption (redemption_id, state, evaluation, first_locked_at, \
                      locked_until, closed_at, locks, close_request_id, close_fingerprint, \
                      user_id, order_id) VALUES ";
    let mysql_tail = " ON DUPLICATE KEY UPDATE state = VALUES(state), \
                      evaluation = VALUES(evaluation), \
                      first_locked_at = VALUES(first_locked_at), \
                      locked_until = VALUES(locked_until), closed_at = VALUES(closed_at), \
                      locks = VALUES(locks), close_request_id = VALUES(close_request_id), \
                      close_fingerprint = VALUES(close_fingerprint)";
    Texts::per_backend(
        |rows| repeat(head, "(?,?,?,?,?,?,?,?,?,?)", rows, tail),
        |rows| repeat(mysql_head, "(?,?,?,?,?,?,?,?,?,?,?)", rows, mysql_tail),
    )
});

/// On MySQL the rows are written over by primary key: see [`write_over`]. The request id and the
/// fingerprint, which are not loaded and never change, stand there only because a row needs them.
static UPDATE_COUPONS: LazyLock<Texts> = LazyLock::new(|| {
    let head = "WITH new (id, status, redemption_id, locked_until, used_at, valid_until, \
                loaded_status, loaded_redemption) AS (VALUES ";
    let tail = ") UPDATE coupon SET status = new.status, redemption_id = new.redemption_id, \
                locked_until = new.locked_until, used_at = new.used_at, \
                valid_until = new.valid_until FROM new \
                WHERE coupon.coupon_id = new.id AND coupon.status = new.loaded_status \
                AND coupon.redemption_id IS new.loaded_redemption";
    let mysql_head = "INSERT INTO coupon (coupon_id, status, redemption_id, locked_until, used_at, \
                      valid_until, user_id, template_id, claim_no, template_version, claimed_at, \
                      request_id, fingerprint) VALUES ";
    let mysql_tail = " ON DUPLICATE KEY UPDATE status = VALUES(status), \
                      redemption_id = VALUES(redemption_id), \
                      locked_until = VALUES(locked_until), used_at = VALUES(used_at), \
                      valid_until = VALUES(valid_until)";
    Texts::per_backend(
        |rows| repeat(head, "(?,?,?,?,?,?,?,?)", rows, tail),
        |rows| repeat(mysql_head, "(?,?,?,?,?,?,?,?,?,?,?,'',0)", rows, mysql_tail),
    )
});

/// Writes the changes, redemptions before coupons; answers the alarms that now exist.
pub(super) async fn write(
    tx: &impl ConnectionTrait,
    changes: Changes,
    mint: &Mint,
    at: Timestamp,
) -> Result<Vec<(AlarmKind, Minute)>, LedgerError> {
    put_redemptions(tx, &changes.redemptions).await?;
    put_coupons(tx, &changes.coupons).await?;
    for entry in &changes.refunds {
        let redemption = changes.redemptions.iter().map(|entry| &entry.current);
        let owner = redemption.into_iter().find(|r| r.id == entry.current.redemption);
        put_refund(tx, &entry.current, owner, at).await?;
    }
    log(tx, &changes.operations, mint, at).await?;
    alarms::want(tx, &changes.alarms).await?;
    Ok(changes.alarms)
}

async fn put_redemptions(
    tx: &impl ConnectionTrait,
    entries: &[Entry<Redemption>],
) -> Result<(), LedgerError> {
    let (mut inserts, mut updates) = (Vec::new(), Vec::new());
    let over = is_mysql(tx);
    for Entry { loaded, current } in entries {
        let mut values = rows::redemption_values(current)?;
        match loaded {
            None => {
                values.extend([current.user.get().into(), current.order.as_str().into()]);
                inserts.push(values);
            }
            Some(_) if over => {
                values.extend([current.user.get().into(), current.order.as_str().into()]);
                updates.push(values);
            }
            Some(loaded) => {
                values.push(loaded.state.to_stored().into());
                updates.push(values);
            }
        }
    }
    write_rows(tx, &INSERT_REDEMPTIONS, inserts, "redemption").await?;
    if over {
        return write_over(tx, &UPDATE_REDEMPTIONS, &updates, "redemption").await;
    }
    write_rows(tx, &UPDATE_REDEMPTIONS, updates, "redemption").await
}

async fn put_coupons(
    tx: &impl ConnectionTrait,
    entries: &[Entry<Coupon>],
) -> Result<(), LedgerError> {
    let mut updates = Vec::with_capacity(entries.len());
    let over = is_mysql(tx);
    for Entry { loaded, current } in entries {
        let Some(loaded) = loaded else {
            insert_reissued(tx, current).await?;
            continue;
        };
        let mut values: Vec<Value> = vec![
            current.id.get().into(),
            current.status.to_stored().into(),
            current.redemption.map(RedemptionId::get).into(),
            current.locked_until.map(Timestamp::as_millis).into(),
            current.used_at.map(Timestamp::as_millis).into(),
            current.valid_until.as_millis().into(),
        ];
        if over {
            values.extend([
                current.user.get().into(),
                current.template.get().into(),
                current.claim_no.into(),
                current.template_version.into(),
                current.claimed_at.as_millis().into(),
            ]);
        } else {
            values.extend([
                loaded.status.to_stored().into(),
                loaded.redemption.map(RedemptionId::get).into(),
            ]);
        }
        updates.push(values);
    }
    if over {
        return write_over(tx, &UPDATE_COUPONS, &updates, "coupon").await;
    }
    write_rows(tx, &UPDATE_COUPONS, updates, "coupon").await
}

/// Writes rows in as few statements as there are; every row must touch exactly one. A row that does
/// not was changed by somebody else since it was loaded.
async fn write_rows(
    tx: &impl ConnectionTrait,
    texts: &Texts,
    rows: Vec<Vec<Value>>,
    what: &str,
) -> Result<(), LedgerError> {
    let mut left = rows.len();
    let mut rows = rows.into_iter();
    let lists = texts.on(tx);
    for size in lists.cuts(left) {
        let values = rows.by_ref().take(size).flatten().collect();
        let touched = execute(tx, lists.of(size), values).await?;
        if usize::try_from(touched).ok() != Some(size) {
            let text = format!("{touched} of {size} rows of {what} are as they were loaded");
            return Err(LedgerError::Corrupt(text));
        }
        left -= size;
    }
    debug_assert_eq!(left, 0, "every row has a size");
    Ok(())
}

/// Writes loaded rows over on MySQL, where one statement that updates many rows, each in its own way,
/// would have to join. `INSERT .. ON DUPLICATE KEY UPDATE` is safe here because each row exists, was
/// locked as it was read and stays so until the end of the transaction: it can only hit that row. The
/// count proves it: 2 for a row that was changed, 1 for one that was inserted, and 1 for a row given
/// once more to fill up the text, which is then as it should be (sqlx counts rows found).
async fn write_over(
    tx: &impl ConnectionTrait,
    texts: &Texts,
    rows: &[Vec<Value>],
    what: &str,
) -> Result<(), LedgerError> {
    for portion in rows.chunks(ROWS_MAX) {
        let Some(last) = portion.last() else { break };
        let (text, size) = texts.on(tx).padded(portion.len());
        let padded = portion.iter().chain(std::iter::repeat_n(last, size - portion.len()));
        let touched = execute(tx, text, padded.flatten().cloned().collect()).await?;
        if usize::try_from(touched).ok() != Some(size + portion.len()) {
            let text = format!(
                "{touched} of {} counted writing over {} rows of {what}",
                size + portion.len(),
                portion.len()
            );
            return Err(LedgerError::Corrupt(text));
        }
    }
    Ok(())
}

async fn insert_reissued(tx: &impl ConnectionTrait, coupon: &Coupon) -> Result<(), LedgerError> {
    let values = vec![
        coupon.id.get().into(),
        coupon.user.get().into(),
        coupon.template.get().into(),
        coupon.claim_no.into(),
        coupon.template_version.into(),
        coupon.status.to_stored().into(),
        coupon.source.as_str().into(),
        coupon.claimed_at.as_millis().into(),
        coupon.valid_until.as_millis().into(),
        coupon.reissue_of.map(CouponId::get).into(),
    ];
    let sql = "INSERT INTO coupon (coupon_id, user_id, template_id, claim_no, template_version, \
               status, source, claimed_at, valid_until, reissue_of, request_id, fingerprint) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0)";
    expect_one(execute(tx, sql, values).await?, "coupon", coupon.id.get())
}

async fn put_refund(
    tx: &impl ConnectionTrait,
    refund: &Refund,
    redemption: Option<&Redemption>,
    at: Timestamp,
) -> Result<(), LedgerError> {
    let Some(redemption) = redemption else {
        return Err(LedgerError::Corrupt("a refund changed no redemption".to_owned()));
    };
    let values = vec![
        redemption.user.get().into(),
        redemption.order.as_str().into(),
        refund.request.request_id.as_str().into(),
        redemption.id.get().into(),
        rows::refund_json(refund)?.into(),
        at.as_millis().into(),
    ];
    let sql = "INSERT INTO refund \
               (user_id, order_id, request_id, redemption_id, coupons, restored_at) \
               VALUES (?, ?, ?, ?, ?, ?)";
    expect_one(execute(tx, sql, values).await?, "refund of redemption", redemption.id.get())
}

/// Appends to the operation log, ids minted inside the transaction so that they grow in commit
/// order where there is one writer.
pub(in crate::ledger::sql) async fn log(
    tx: &impl ConnectionTrait,
    operations: &[Operation],
    mint: &Mint,
    at: Timestamp,
) -> Result<(), LedgerError> {
    let mut rest = operations;
    let texts = LOG.on(tx);
    for rows in texts.cuts(operations.len()) {
        let (portion, after) = rest.split_at(rows);
        rest = after;
        let ids: Vec<i64> = portion.iter().map(|_| mint.operation()).collect::<Result<_, _>>()?;
        let values = portion.iter().zip(ids).flat_map(|(operation, id)| {
            [
                id.into(),
                operation.coupon.map(CouponId::get).into(),
                operation.user.map(UserId::get).into(),
                operation.template.get().into(),
                operation.order.as_str().into(),
                operation.kind.to_stored().into(),
                operation.from.map(|status| status.to_stored()).into(),
                operation.to.to_stored().into(),
                operation.count.into(),
                at.as_millis().into(),
            ]
        });
        execute(tx, texts.of(rows), values.collect::<Vec<Value>>()).await?;
    }
    Ok(())
}

fn expect_one(rows: u64, what: &str, id: i64) -> Result<(), LedgerError> {
    match rows {
        1 => Ok(()),
        _ => Err(LedgerError::Corrupt(format!("{what} {id} was changed by somebody else"))),
    }
}
