//! M7: what the object-relational layer costs on the hot path: the claim's INSERT through sea-orm
//! against the same prepared statement through sqlx, on one connection each.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use coupon_tests::bench::{
    frame::Frame,
    report::{Bound, Row, Runs},
    stats::median,
    stores::{Usage, micros_each},
    workload::{request_id, user},
};
use sea_orm::{ConnectionTrait as _, Statement, TransactionTrait as _, Value};
use sqlx::Connection as _;

use crate::deck::Deck;

/// Rows of one statement, which is one transaction.
const ROWS: u64 = 64;
const SLOTS: i64 = 10_000;
const VALID_UNTIL: i64 = 3_950_000_000_000;

/// One side's run.
struct Inserted {
    rows: u64,
    used: Usage,
    elapsed: Duration,
}

impl Inserted {
    /// CPU of client and database together, in microseconds per row.
    fn cpu_us(&self) -> f64 {
        micros_each(self.used.generator + self.used.mysql, self.rows)
    }

    fn client_us(&self) -> f64 {
        micros_each(self.used.generator, self.rows)
    }

    fn rate(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// The columns of a coupon that a claim writes.
struct Coupon {
    id: i64,
    user: i64,
    request_id: String,
    number: i64,
}

impl Coupon {
    fn new(number: u64) -> Self {
        let user = user(number);
        let signed = number.cast_signed();
        Self {
            id: (signed + 1) * SLOTS + user % SLOTS,
            user,
            request_id: request_id(number),
            number: signed,
        }
    }
}

fn text() -> String {
    let rows = vec!["(?,?,?,?,?,?,?,?,?,?)"; ROWS as usize].join(",");
    format!(
        "INSERT IGNORE INTO coupon (coupon_id, user_id, template_id, claim_no, template_version, \
         request_id, fingerprint, source, claimed_at, valid_until) VALUES {rows}"
    )
}

pub(crate) async fn measure(frame: &Frame, deck: &Deck, name: &str) -> anyhow::Result<Row> {
    let plan = &frame.plan;
    let sql: &'static str = text().leak();
    let mut next = 0;
    through_sea_orm(deck, sql, plan.slice(), &mut next).await?;
    through_sqlx(deck, sql, plan.slice(), &mut next).await?;
    let mut runs = Runs::default();
    let (mut rates, mut clients) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for index in 0..plan.runs {
        let ours = through_sea_orm(deck, sql, plan.length, &mut next).await?;
        let baseline = through_sqlx(deck, sql, plan.length, &mut next).await?;
        frame.say_run(name, index, "CPU-ns/row", ours.cpu_us() * 1e3, baseline.cpu_us() * 1e3);
        runs.ours.push(ours.cpu_us());
        runs.baseline.push(baseline.cpu_us());
        runs.cpu_ours.push(ours.client_us());
        runs.cpu_baseline.push(baseline.client_us());
        for (side, inserted) in [&ours, &baseline].into_iter().enumerate() {
            rates[side].push(inserted.rate());
            clients[side].push(inserted.client_us());
        }
    }
    let mut row = runs.row(name, "CPU-µs/row", Bound::AtMost, 1.10, 0);
    let [ours, baseline] = rates.map(|rates| median(&rates));
    let [ours_client, base_client] = clients.map(|clients| median(&clients));
    row.notes.push(format!(
        "{ROWS} rows in a transaction, one connection; client and mysql together; the client alone \
         {ours_client:.2} against {base_client:.2} µs a row; {ours:.0} against {baseline:.0} rows/s"
    ));
    Ok(row)
}

async fn through_sea_orm(
    deck: &Deck,
    sql: &'static str,
    length: Duration,
    next: &mut u64,
) -> anyhow::Result<Inserted> {
    let db = &deck.databases.shards.first().context("there is no shard")?.write;
    let backend = db.get_database_backend();
    let (before, start, first) = (deck.stores.usage(&[])?, Instant::now(), *next);
    while start.elapsed() < length {
        let mut values: Vec<Value> = Vec::with_capacity(ROWS as usize * 10);
        for coupon in coupons(next) {
            values.extend([
                coupon.id.into(),
                coupon.user.into(),
                2_i64.into(),
                1_i64.into(),
                1_i32.into(),
                coupon.request_id.into(),
                coupon.number.into(),
                "".into(),
                coupon.number.into(),
                VALID_UNTIL.into(),
            ]);
        }
        let tx = db.begin().await?;
        let done = tx.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
        ensure!(done.rows_affected() == ROWS, "a row clashed with another");
        tx.commit().await?;
    }
    let used = deck.stores.usage(&[])?.since(before);
    Ok(Inserted { rows: *next - first, used, elapsed: start.elapsed() })
}

async fn through_sqlx(
    deck: &Deck,
    sql: &'static str,
    length: Duration,
    next: &mut u64,
) -> anyhow::Result<Inserted> {
    let mut conn = deck.primary.pool.acquire().await?;
    let (before, start, first) = (deck.stores.usage(&[])?, Instant::now(), *next);
    while start.elapsed() < length {
        let mut query = sqlx::query(sql);
        for coupon in coupons(next) {
            query = query
                .bind(coupon.id)
                .bind(coupon.user)
                .bind(2_i64)
                .bind(1_i64)
                .bind(1_i32)
                .bind(coupon.request_id)
                .bind(coupon.number)
                .bind("")
                .bind(coupon.number)
                .bind(VALID_UNTIL);
        }
        let mut tx = conn.begin().await?;
        let done = query.execute(&mut *tx).await?;
        ensure!(done.rows_affected() == ROWS, "a row clashed with another");
        tx.commit().await?;
    }
    let used = deck.stores.usage(&[])?.since(before);
    Ok(Inserted { rows: *next - first, used, elapsed: start.elapsed() })
}

/// The coupons of the next statement.
fn coupons(next: &mut u64) -> impl Iterator<Item = Coupon> + use<> {
    let numbers: Range<u64> = *next..*next + ROWS;
    *next = numbers.end;
    numbers.map(Coupon::new)
}
