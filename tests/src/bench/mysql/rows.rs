//! Coupons written straight into the table, a thousand rows in a statement: those that are there
//! before a measurement, and the baseline of M6.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use sqlx::{MySqlConnection, MySqlPool, Row as _};
use tokio::task::JoinSet;

use super::{super::workload::user, Primary};

/// Rows of one statement.
pub const ROWS_PER_INSERT: u64 = 1_000;
/// Statements in flight.
pub const INSERTS_IN_FLIGHT: u32 = 4;
/// Rows between two words about the progress.
const TOLD_EVERY: u64 = 1_000_000;
/// Slots of users; the last digits of every coupon id are its user's.
const SLOTS: i64 = 10_000;

static INSERT: LazyLock<String> = LazyLock::new(|| {
    let row = "(?,?,?,?,?,?,?,?,?,?)";
    let rows = vec![row; ROWS_PER_INSERT as usize].join(",");
    format!(
        "INSERT INTO coupon (coupon_id, user_id, template_id, claim_no, template_version, \
         request_id, fingerprint, source, claimed_at, valid_until) VALUES {rows}"
    )
});

/// A coupon of the template, to which every other is written alike.
#[derive(Clone, Copy, Debug)]
struct Model {
    template_id: i64,
    version: i32,
    claimed_at: i64,
    valid_until: i64,
}

/// Writes coupons of one template of a one-shard ledger, to users number 0, 1, 2 ...
#[derive(Clone, Debug)]
pub struct Rows {
    pool: MySqlPool,
    model: Model,
    next: Arc<AtomicU64>,
    buckets: u64,
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Rows.
    pub rows: u64,
    /// In this time.
    pub elapsed: Duration,
}

impl Written {
    /// Rows per second.
    pub fn rate(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Rows {
    /// For the template, of which one coupon has been won already: the others are like it, and its
    /// alarm serves them all.
    ///
    /// # Errors
    /// When there is no such coupon, or the database does not answer.
    pub async fn of(primary: &Primary, template_id: i64) -> anyhow::Result<Self> {
        let sql = "SELECT template_version, claimed_at, valid_until FROM coupon \
                   WHERE template_id = ? LIMIT 1";
        let row = sqlx::query(sql).bind(template_id).fetch_optional(&primary.pool).await?;
        let row = row.context("the template has no coupon to write others like it")?;
        // Widths differ between databases; the values do not.
        let version = match row.try_get::<i32, _>(0) {
            Ok(version) => version,
            Err(_) => i32::try_from(row.try_get::<i64, _>(0)?)?,
        };
        let model = Model {
            template_id,
            version,
            claimed_at: row.try_get(1)?,
            valid_until: row.try_get(2)?,
        };
        let sql = "SELECT COUNT(*) FROM stock_bucket WHERE template_id = ?";
        let buckets: i64 =
            sqlx::query_scalar(sql).bind(template_id).fetch_one(&primary.pool).await?;
        ensure!(buckets > 0, "template {template_id} has no buckets");
        let pool = primary.connections(INSERTS_IN_FLIGHT).await?;
        Ok(Self { pool, model, next: Arc::default(), buckets: buckets as u64 })
    }

    /// Writes so many rows, at speed: not into the binary log where that may be left out.
    ///
    /// # Errors
    /// When a row is refused.
    pub async fn fill(&self, rows: u64, say: fn(&str)) -> anyhow::Result<Written> {
        let end = self.next.load(Ordering::Relaxed) + rows;
        self.write(Until::Row(end), true, Some(say)).await
    }

    /// Writes durable statements for so long.
    ///
    /// # Errors
    /// When a row is refused.
    pub async fn write_for(&self, length: Duration) -> anyhow::Result<Written> {
        self.write(Until::Instant(Instant::now() + length), false, None).await
    }

    async fn write(
        &self,
        until: Until,
        unlogged: bool,
        say: Option<fn(&str)>,
    ) -> anyhow::Result<Written> {
        let (first, start) = (self.next.load(Ordering::Relaxed), Instant::now());
        let mut writers = JoinSet::new();
        for _ in 0..INSERTS_IN_FLIGHT {
            let (rows, mut conn) = (self.clone(), self.pool.acquire().await?);
            writers.spawn(async move {
                // Not every account may; the rows are then written into the log too.
                let quiet = if unlogged { "SET SESSION sql_log_bin = 0" } else { "DO 0" };
                let _ = sqlx::raw_sql(quiet).execute(&mut *conn).await;
                let written = rows.write_on(&mut conn, until, say).await;
                if unlogged {
                    let _ = sqlx::raw_sql("SET SESSION sql_log_bin = 1").execute(&mut *conn).await;
                }
                written
            });
        }
        let mut issued = vec![0_i64; self.buckets as usize];
        while let Some(written) = writers.join_next().await {
            for (sum, one) in issued.iter_mut().zip(written??) {
                *sum += one;
            }
        }
        let elapsed = start.elapsed();
        self.account(&issued).await?;
        Ok(Written { rows: self.next.load(Ordering::Relaxed) - first, elapsed })
    }

    /// Writes blocks until the end; answers the rows by bucket.
    async fn write_on(
        &self,
        conn: &mut MySqlConnection,
        until: Until,
        say: Option<fn(&str)>,
    ) -> anyhow::Result<Vec<i64>> {
        let mut issued = vec![0_i64; self.buckets as usize];
        while !until.reached(self.next.load(Ordering::Relaxed)) {
            let first = self.next.fetch_add(ROWS_PER_INSERT, Ordering::Relaxed);
            let mut query = sqlx::query(INSERT.as_str());
            for number in first..first + ROWS_PER_INSERT {
                let user = user(number);
                issued[bucket(user, self.buckets)] += 1;
                query = query
                    // Below every id that is minted today, and growing as those do.
                    .bind((number as i64 + 1) * SLOTS + user % SLOTS)
                    .bind(user)
                    .bind(self.model.template_id)
                    .bind(1_i64)
                    .bind(self.model.version)
                    .bind(format!("stored-{number:016x}"))
                    .bind(number as i64)
                    .bind("")
                    .bind(self.model.claimed_at)
                    .bind(self.model.valid_until);
            }
            query.execute(&mut *conn).await?;
            let end = first + ROWS_PER_INSERT;
            if let Some(say) = say.filter(|_| end.is_multiple_of(TOLD_EVERY)) {
                say(&format!("  {end} rows stored"));
            }
        }
        Ok(issued)
    }

    /// Counts the rows as given by their buckets.
    async fn account(&self, issued: &[i64]) -> anyhow::Result<()> {
        let sql =
            "UPDATE stock_bucket SET issued = issued + ? WHERE template_id = ? AND bucket = ?";
        for (bucket, issued) in issued.iter().enumerate() {
            let update = sqlx::query(sql)
                .bind(issued)
                .bind(self.model.template_id)
                .bind(i64::try_from(bucket)?);
            update.execute(&self.pool).await?;
        }
        Ok(())
    }
}

/// When writing ends.
#[derive(Clone, Copy, Debug)]
enum Until {
    Row(u64),
    Instant(Instant),
}

impl Until {
    fn reached(self, row: u64) -> bool {
        match self {
            Self::Row(end) => row >= end,
            Self::Instant(end) => Instant::now() >= end,
        }
    }
}

/// The bucket that a user draws from on the only shard there is: what the audit holds the buckets'
/// counts against.
fn bucket(user: i64, buckets: u64) -> usize {
    let slot = (user % SLOTS) as u64;
    ((mix64(slot) >> 32) % buckets) as usize
}

/// Finaliser of SplitMix64.
fn mix64(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_the_platform() {
        assert_eq!((mix64(0), mix64(1)), (0xe220_a839_7b1d_cdaf, 0x910a_2dec_8902_5cc1));
        assert_eq!(bucket(10_000, 16), (0xe220_a839_u64 % 16) as usize);
        assert_eq!(bucket(10_001, 16), (0x910a_2dec_u64 % 16) as usize);
    }

    #[test]
    fn the_statement_has_a_row_for_each() {
        assert_eq!(INSERT.matches('?').count() as u64, ROWS_PER_INSERT * 10);
    }
}
