//! M4's baseline: the textbook transaction, one per claim: INSERT the coupon, UPDATE the hot row of
//! its batch, COMMIT.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use sqlx::{Connection as _, MySqlConnection, MySqlPool, pool::PoolConnection};
use tokio::task::JoinSet;

use super::{
    super::{Violation, stats::Latency, workload::user},
    Primary,
    rows::Written,
};

/// Connections, each with one transaction at a time.
pub const CONNECTIONS: u32 = 64;
/// Ids of its coupons begin here: above the stored ones, below every one that is minted today.
const FIRST: i64 = 1 << 40;
/// A template that no server ever minted.
const TEMPLATE: i64 = 1;
const SLOTS: i64 = 10_000;

const INSERT: &str = "
    INSERT INTO coupon (coupon_id, user_id, template_id, claim_no, template_version, request_id,
                        fingerprint, source, claimed_at, valid_until)
    VALUES (?, ?, ?, 1, 1, ?, ?, '', 1700000000000, 3950000000000)";
const UPDATE: &str = "
    UPDATE textbook_batch SET issued = issued + 1 WHERE batch_id = ? AND issued < total";

/// The textbook at work, in the very table of the ledger.
#[derive(Debug)]
pub struct Textbook {
    pool: MySqlPool,
    next: Arc<AtomicI64>,
    committed: i64,
    /// Latencies of its last run.
    pub latency: Option<Latency>,
}

impl Textbook {
    /// Makes the batch.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn prepare(primary: &Primary) -> anyhow::Result<Self> {
        let pool = primary.connections(CONNECTIONS).await?;
        let create = "CREATE TABLE IF NOT EXISTS textbook_batch (batch_id BIGINT PRIMARY KEY, \
                      issued BIGINT NOT NULL, total BIGINT NOT NULL) ENGINE = InnoDB";
        sqlx::raw_sql(create).execute(&pool).await.context("cannot make the textbook's table")?;
        let fill = "REPLACE INTO textbook_batch (batch_id, issued, total) VALUES (?, 0, ?)";
        sqlx::query(fill).bind(TEMPLATE).bind(1_000_000_000_i64).execute(&pool).await?;
        Ok(Self { pool, next: Arc::default(), committed: 0, latency: None })
    }

    /// Writes for so long.
    ///
    /// # Errors
    /// When a transaction fails.
    pub async fn write(&mut self, length: Duration) -> anyhow::Result<Written> {
        let mut conns = Vec::new();
        for _ in 0..CONNECTIONS {
            conns.push(self.pool.acquire().await?);
        }
        let start = Instant::now();
        let end = start + length;
        let mut writers = JoinSet::new();
        for conn in conns {
            writers.spawn(write_until(conn, Arc::clone(&self.next), end));
        }
        let mut samples = Vec::new();
        while let Some(written) = writers.join_next().await {
            samples.extend(written??);
        }
        let (rows, elapsed) = (samples.len() as u64, start.elapsed());
        self.committed += i64::try_from(rows)?;
        self.latency = Latency::of(&mut samples);
        Ok(Written { rows, elapsed })
    }

    /// Holds what was committed against what is stored, and takes it out of the table again.
    ///
    /// # Errors
    /// A [`Violation`] when the counts differ; anything else when the database does not answer.
    pub async fn remove(self) -> anyhow::Result<()> {
        let sql = "DELETE FROM coupon WHERE coupon_id BETWEEN ? AND ?";
        let (first, end) = (FIRST * SLOTS, (FIRST + self.next.load(Ordering::Relaxed)) * SLOTS);
        let mut deleted = 0;
        // In portions: one huge transaction would be undone for minutes if it were cut off.
        const STEP: i64 = 20_000 * SLOTS;
        let mut at = first;
        while at <= end {
            let done = sqlx::query(sql).bind(at).bind(at + STEP - 1).execute(&self.pool).await?;
            deleted += i64::try_from(done.rows_affected())?;
            at += STEP;
        }
        let issued = "SELECT issued FROM textbook_batch WHERE batch_id = ?";
        let issued: i64 = sqlx::query_scalar(issued).bind(TEMPLATE).fetch_one(&self.pool).await?;
        sqlx::raw_sql("DROP TABLE textbook_batch").execute(&self.pool).await?;
        ensure!(
            deleted == self.committed && issued == self.committed,
            Violation(format!(
                "the textbook committed {}, stored {deleted} and counted {issued}",
                self.committed
            ))
        );
        Ok(())
    }
}

async fn write_until(
    mut conn: PoolConnection<sqlx::MySql>,
    next: Arc<AtomicI64>,
    end: Instant,
) -> anyhow::Result<Vec<u32>> {
    let mut samples = Vec::new();
    while Instant::now() < end {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        write_one(&mut conn, number).await?;
        samples.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(samples)
}

async fn write_one(conn: &mut MySqlConnection, number: i64) -> anyhow::Result<()> {
    let user = user(u64::try_from(number)?);
    let mut tx = conn.begin().await?;
    sqlx::query(INSERT)
        .bind((FIRST + number) * SLOTS + user % SLOTS)
        .bind(user)
        .bind(TEMPLATE)
        .bind(format!("textbook-{number:010x}"))
        .bind(number)
        .execute(&mut *tx)
        .await?;
    let updated = sqlx::query(UPDATE).bind(TEMPLATE).execute(&mut *tx).await?;
    ensure!(updated.rows_affected() == 1, "the textbook's batch is used up");
    tx.commit().await?;
    Ok(())
}
