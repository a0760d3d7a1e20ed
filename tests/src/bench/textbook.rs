//! M14's baseline: the same rows in the same tables, written the textbook way, one transaction per
//! lock and one per confirm, with no fence, no evaluation and no call over the network.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tempfile::TempDir;

use super::{cpu, orders::LINES, stage::new_dir};

// The server's own tables, so that both sides keep the same indexes up to date.
const TABLES: &str = include_str!("../../../migrations/src/sqlite/shard_0001.sql");

/// Spreads the users as [`workload::user`](super::workload::user) does.
const FILL: &str = "
    WITH RECURSIVE pair (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM pair WHERE n + 1 < ?1)
    INSERT INTO coupon (coupon_id, user_id, template_id, claim_no, template_version, request_id,
                        fingerprint, claimed_at, valid_until)
    SELECT 2 * n + k, (n * 618033988749) % 1099511627776 + 1099511627776, k, 1, 1,
           printf('bench-%016x', n), n, 1700000000000, 3950000000000
    FROM pair, (SELECT 1 AS k UNION ALL SELECT 2)
    ORDER BY n, k";

const INSERT_REDEMPTION: &str = "
    INSERT INTO redemption (redemption_id, user_id, order_id, state, evaluation, first_locked_at,
                            locked_until, locks)
    VALUES (?, ?, ?, 1, ?, ?, ?, ?)";
const LOCK_COUPON: &str = "
    UPDATE coupon SET status = 3, redemption_id = ?, locked_until = ?
    WHERE coupon_id = ? AND status = 0";
const CONFIRM_REDEMPTION: &str = "
    UPDATE redemption SET state = 2, locked_until = NULL, closed_at = ?, close_request_id = ?
    WHERE redemption_id = ? AND state = 1";
const CONFIRM_COUPON: &str = "
    UPDATE coupon SET status = 1, locked_until = NULL, used_at = ?
    WHERE coupon_id = ? AND status = 3 AND redemption_id = ?";
const INSERT_OPERATION: &str = "
    INSERT INTO coupon_operation (coupon_id, user_id, template_id, order_id, operation,
                                  from_status, to_status, at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)";

/// A database of its own, and how far its orders have come.
pub(super) struct Textbook {
    conn: SqliteConnection,
    next: i64,
    end: i64,
    evaluation: String,
    _dir: TempDir,
}

/// Figures of one run.
pub(super) struct Written {
    pub(super) pairs_per_second: f64,
    /// CPU time of the whole process, which does nothing else meanwhile, per pair.
    pub(super) cpu_us: f64,
}

/// One order and its two coupons.
struct Order {
    id: i64,
    user_id: i64,
    order_id: String,
    now: i64,
}

impl Order {
    fn new(n: i64) -> Self {
        let user_id = (n * 618_033_988_749) % 1_099_511_627_776 + 1_099_511_627_776;
        let now = 1_700_000_000_000 + n;
        Self { id: n + 1, user_id, order_id: format!("order-{n:012}"), now }
    }

    /// (coupon, template) of both.
    fn coupons(&self) -> [(i64, i64); 2] {
        [1, 2].map(|k| (2 * (self.id - 1) + k, k))
    }
}

impl Textbook {
    /// Fills a new file below `root` with the coupons of so many orders.
    pub(super) async fn prepare(root: &Path, orders: u64) -> anyhow::Result<Self> {
        let dir = new_dir(root)?;
        let end = i64::try_from(orders)?;
        let mut conn = SqliteConnectOptions::new()
            .filename(dir.path().join("textbook.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", "32768")
            .connect()
            .await?;
        sqlx::raw_sql(TABLES).execute(&mut conn).await?;
        sqlx::query(FILL).bind(end).execute(&mut conn).await?;
        Ok(Self { conn, next: 0, end, evaluation: evaluation(), _dir: dir })
    }

    /// Writes orders one after the other for so long, or until the coupons are used up.
    pub(super) async fn write(&mut self, length: Duration) -> anyhow::Result<Written> {
        let pid = std::process::id();
        let cpu_before = cpu::cpu_time(pid)?;
        let (start, first) = (Instant::now(), self.next);
        while start.elapsed() < length && self.next < self.end {
            let order = Order::new(self.next);
            self.lock(&order).await?;
            self.confirm(&order).await?;
            self.next += 1;
        }
        let pairs = (self.next - first) as f64;
        anyhow::ensure!(pairs > 0.0, "the textbook has no coupon left");
        let used = cpu::cpu_time(pid)?.saturating_sub(cpu_before);
        Ok(Written {
            pairs_per_second: pairs / start.elapsed().as_secs_f64(),
            cpu_us: used.as_secs_f64() * 1e6 / pairs,
        })
    }

    /// Coupons that are used and free of any lock.
    #[cfg(test)]
    pub(super) async fn used_coupons(&mut self) -> anyhow::Result<i64> {
        let sql = "SELECT count(*) FROM coupon WHERE status = 1 AND locked_until IS NULL";
        Ok(sqlx::query_scalar(sql).fetch_one(&mut self.conn).await?)
    }

    async fn lock(&mut self, order: &Order) -> anyhow::Result<()> {
        let locked_until = order.now + 1_800_000;
        let mut tx = self.conn.begin().await?;
        sqlx::query(INSERT_REDEMPTION)
            .bind(order.id)
            .bind(order.user_id)
            .bind(&order.order_id)
            .bind(&self.evaluation)
            .bind(order.now)
            .bind(locked_until)
            .bind(format!("[\"bench-{:016x}\"]", order.id))
            .execute(&mut *tx)
            .await?;
        for (coupon_id, _) in order.coupons() {
            let update = sqlx::query(LOCK_COUPON).bind(order.id).bind(locked_until).bind(coupon_id);
            let done = update.execute(&mut *tx).await?;
            anyhow::ensure!(done.rows_affected() == 1, "coupon {coupon_id} was not free");
        }
        log(&mut tx, order, [0, 0, 3]).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn confirm(&mut self, order: &Order) -> anyhow::Result<()> {
        let mut tx = self.conn.begin().await?;
        let update = sqlx::query(CONFIRM_REDEMPTION)
            .bind(order.now)
            .bind(format!("bench-{:016x}", order.id))
            .bind(order.id);
        let done = update.execute(&mut *tx).await?;
        anyhow::ensure!(done.rows_affected() == 1, "order {} was not locked", order.id);
        for (coupon_id, _) in order.coupons() {
            let update = sqlx::query(CONFIRM_COUPON).bind(order.now).bind(coupon_id).bind(order.id);
            let done = update.execute(&mut *tx).await?;
            anyhow::ensure!(done.rows_affected() == 1, "coupon {coupon_id} was not locked");
        }
        log(&mut tx, order, [1, 3, 1]).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Appends one row per coupon: `[operation, from status, to status]`.
async fn log(
    conn: &mut SqliteConnection,
    order: &Order,
    [operation, from, to]: [i64; 3],
) -> anyhow::Result<()> {
    for (coupon_id, template_id) in order.coupons() {
        sqlx::query(INSERT_OPERATION)
            .bind(coupon_id)
            .bind(order.user_id)
            .bind(template_id)
            .bind(&order.order_id)
            .bind(operation)
            .bind(from)
            .bind(to)
            .bind(order.now)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// About as much text as an order of [`LINES`] lines and two coupons leaves behind.
fn evaluation() -> String {
    let lines = (1..=LINES).map(|line| {
        serde_json::json!({
            "line_id": format!("line-{line}"), "amount": 1_000 + 137 * line, "discount": 100 + line,
        })
    });
    serde_json::Value::from_iter(lines).to_string()
}
