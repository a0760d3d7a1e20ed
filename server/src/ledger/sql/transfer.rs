//! Transfers of stock from one shard to another (R18), in steps that anybody may repeat.
//!
//! 1. [`send`], one transaction on the giving shard: pieces leave its buckets for a row of
//!    `transfer_out`.
//! 2. [`arrive`], one transaction on the receiving shard: a row of `transfer_applied` and the pieces
//!    in its buckets. A clash means that they have arrived before.
//! 3. [`close`], on the giving shard: the row of `transfer_out` goes.
//!
//! At every instant the pieces of a transfer are counted once (I5): in the giving buckets, in a row of
//! `transfer_out` that has not been applied, or in the receiving buckets. Rows of `transfer_applied`
//! stay: whoever found the row of `transfer_out` before it went may come as late as it likes.

use coupon_domain::{
    ids::TemplateId,
    stock::{Bucket, chunk, deal},
    time::Timestamp,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait};

use super::{
    lane_db::pause_before,
    rows::{get, template_id},
    statement::{dialect, execute, query},
    stock::{TRIES, buckets, end},
};
use crate::ledger::{LedgerError, ShardId};

/// Pieces under way from one shard to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transfer {
    pub(super) id: i64,
    pub(super) template: TemplateId,
    pub(super) to: ShardId,
    pub(super) pieces: i64,
}

/// Takes pieces for another shard: as many as are wanted there and a part of what is left beyond
/// them. `None` when there are none, or others keep being faster. `id` must be new.
pub(super) async fn send(
    from: &DatabaseConnection,
    id: i64,
    (template, to): (TemplateId, ShardId),
    wanted: i64,
    at: Timestamp,
) -> Result<Option<Transfer>, LedgerError> {
    for tries in 0..TRIES {
        let tx = from.begin().await?;
        let sent = send_in(&tx, id, (template, to), wanted, at).await;
        let more = matches!(sent, Ok(Sent::Overtaken));
        let sent = sent.map(|sent| match sent {
            Sent::Away(transfer) => Some(transfer),
            Sent::Nothing | Sent::Overtaken => None,
        });
        match end(tx, sent).await {
            Ok(None) if more => {}
            Err(LedgerError::Aborted(_)) => {}
            ended => return ended,
        }
        pause_before(tries).await;
    }
    Ok(None)
}

/// What a transaction on the giving shard came to.
enum Sent {
    Away(Transfer),
    /// There is nothing to send.
    Nothing,
    /// Claims took from the same buckets meanwhile.
    Overtaken,
}

async fn send_in(
    tx: &DatabaseTransaction,
    id: i64,
    (template, to): (TemplateId, ShardId),
    wanted: i64,
    at: Timestamp,
) -> Result<Sent, LedgerError> {
    let found = buckets(tx, &[template]).await?;
    let left = found.iter().map(Bucket::left).sum();
    let transfer = Transfer { id, template, to, pieces: chunk(left, wanted) };
    if transfer.pieces == 0 {
        return Ok(Sent::Nothing);
    }
    if !take(tx, &found, transfer.pieces).await? {
        return Ok(Sent::Overtaken);
    }
    let sql = "INSERT INTO transfer_out \
               (transfer_id, template_id, to_shard, pieces, sent_at) VALUES (?, ?, ?, ?, ?)";
    let values = vec![
        id.into(),
        template.get().into(),
        i64::from(to).into(),
        transfer.pieces.into(),
        at.as_millis().into(),
    ];
    execute(tx, sql, values).await?;
    Ok(Sent::Away(transfer))
}

/// Takes from the fullest buckets first, each guarded; false when a guard failed.
async fn take(tx: &impl ConnectionTrait, found: &[Bucket], pieces: i64) -> Result<bool, DbErr> {
    let mut fullest: Vec<&Bucket> = found.iter().collect();
    fullest.sort_by_key(|bucket| std::cmp::Reverse(bucket.left()));
    let mut rest = pieces;
    let mut takings = Vec::new();
    for bucket in fullest {
        let share = rest.min(bucket.left());
        if share > 0 {
            takings.push((bucket.key, share));
            rest -= share;
        }
    }
    // Rows are locked in the order in which claims lock them.
    takings.sort_unstable_by_key(|(key, _)| *key);
    for (key, share) in takings {
        let sql = "UPDATE stock_bucket SET granted = granted - ? \
                   WHERE template_id = ? AND bucket = ? AND granted - ? >= issued";
        let values = vec![
            share.into(),
            key.template.get().into(),
            i64::from(key.bucket).into(),
            share.into(),
        ];
        if execute(tx, sql, values).await? != 1 {
            return Ok(false);
        }
    }
    Ok(rest == 0)
}

/// Puts the pieces into the receiving shard's buckets, the emptiest first, once. False when they had
/// arrived before.
pub(super) async fn arrive(
    to: &DatabaseConnection,
    transfer: Transfer,
    at: Timestamp,
) -> Result<bool, LedgerError> {
    let mut aborted = None;
    for tries in 0..TRIES {
        let tx = to.begin().await?;
        let arrived = arrive_in(&tx, transfer, at).await;
        let arrived = arrived.map(|arrived| arrived.then_some(()));
        match end(tx, arrived).await {
            Err(LedgerError::Aborted(text)) => aborted = Some(text),
            ended => return ended.map(|arrived| arrived.is_some()),
        }
        pause_before(tries).await;
    }
    Err(LedgerError::Aborted(aborted.unwrap_or_default()))
}

async fn arrive_in(
    tx: &DatabaseTransaction,
    transfer: Transfer,
    at: Timestamp,
) -> Result<bool, LedgerError> {
    let sql = dialect(
        tx,
        "INSERT OR IGNORE INTO transfer_applied \
         (transfer_id, template_id, pieces, applied_at) VALUES (?, ?, ?, ?)",
        "INSERT IGNORE INTO transfer_applied \
         (transfer_id, template_id, pieces, applied_at) VALUES (?, ?, ?, ?)",
    );
    let values = vec![
        transfer.id.into(),
        transfer.template.get().into(),
        transfer.pieces.into(),
        at.as_millis().into(),
    ];
    if execute(tx, sql, values).await? != 1 {
        return Ok(false);
    }
    let mut found = buckets(tx, &[transfer.template]).await?;
    found.sort_by_key(Bucket::left);
    let shares = deal(transfer.pieces, found.len());
    let mut puts: Vec<_> = found.iter().map(|bucket| bucket.key).zip(shares).collect();
    puts.sort_unstable_by_key(|(key, _)| *key);
    let mut put = 0;
    for (key, share) in puts.into_iter().filter(|(_, share)| *share > 0) {
        let sql =
            "UPDATE stock_bucket SET granted = granted + ? WHERE template_id = ? AND bucket = ?";
        let values = vec![share.into(), key.template.get().into(), i64::from(key.bucket).into()];
        if execute(tx, sql, values).await? == 1 {
            put += share;
        }
    }
    if put == transfer.pieces {
        return Ok(true);
    }
    let Transfer { to, template, .. } = transfer;
    let homeless = format!("shard {to} has no buckets of template {template} for a transfer");
    Err(LedgerError::Unavailable(homeless))
}

/// Forgets a transfer that has arrived.
pub(super) async fn close(from: &DatabaseConnection, id: i64) -> Result<(), LedgerError> {
    execute(from, "DELETE FROM transfer_out WHERE transfer_id = ?", vec![id.into()]).await?;
    Ok(())
}

/// Transfers that have left a shard before `before`, oldest first, up to `limit`: those of one
/// template, or all.
pub(super) async fn under_way(
    from: &DatabaseConnection,
    template: Option<TemplateId>,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<Transfer>, LedgerError> {
    // The table holds what is under way just now: a few rows.
    let sql = "SELECT transfer_id, template_id, to_shard, pieces FROM transfer_out \
               WHERE sent_at < ? AND (? = 0 OR template_id = ?) ORDER BY transfer_id LIMIT ?";
    let wanted = template.map_or(0, TemplateId::get);
    let values = vec![before.as_millis().into(), wanted.into(), wanted.into(), limit.into()];
    let transfer = |row: &sea_orm::QueryResult| {
        let to: i64 = get(row, 2)?;
        let to = ShardId::try_from(to)
            .map_err(|_| LedgerError::Corrupt(format!("a transfer to shard {to} is stored")))?;
        Ok(Transfer { id: get(row, 0)?, template: template_id(row, 1)?, to, pieces: get(row, 3)? })
    };
    query(from, sql, values).await?.iter().map(transfer).collect()
}
