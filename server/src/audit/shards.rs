//! The distributed databases as one: rows of meta and of every shard, copied from one snapshot each
//! into a temporary SQLite file, over which the same checks run as over an embedded one. What a sum
//! over shards would hide is looked for on each shard first.
//!
//! The snapshots of two servers are not of one instant: stock that is on its way between shards just
//! then may be seen twice or not at all. Quiet databases are audited exactly.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use coupon_migrations::{MetaMigrator, ShardMigrator};
use futures::TryStreamExt as _;
use sea_orm::{Database, DatabaseConnection};
use sea_orm_migration::MigratorTrait as _;
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Executor as _, Row as _,
    Sqlite, SqliteConnection, TypeInfo as _,
    mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow},
    query::Query,
    sqlite::{SqliteArguments, SqliteConnectOptions},
};

use super::findings::Findings;
use crate::config::{MysqlConfig, redact};

/// Tables of meta that the checks read.
const META_TABLES: [&str; 2] = ["rule", "template"];
/// Tables of a shard whose rows are of that shard alone.
const SHARD_TABLES: [&str; 7] = [
    "coupon",
    "redemption",
    "refund",
    "coupon_operation",
    "transfer_out",
    "transfer_applied",
    "audience",
];
/// Tables of a shard that are added up: with what follows a clash.
const SUMMED_TABLES: [(&str, &str); 3] = [
    ("alarm", "ON CONFLICT (kind, minute) DO NOTHING"),
    (
        "stock_bucket",
        "ON CONFLICT (template_id, bucket) DO UPDATE \
         SET granted = granted + excluded.granted, issued = issued + excluded.issued",
    ),
    ("stock_grant", "ON CONFLICT (template_id) DO UPDATE SET handed = handed + excluded.handed"),
];

/// What a shard must say by itself: (invariant, query that answers one text for each violation).
const BY_SHARD: [(&str, &str); 5] = [
    (
        "I1",
        "SELECT CONCAT('template ', template_id, ', bucket ', bucket, ': issued ', issued, ' of ', \
                       granted, ' granted') \
         FROM stock_bucket WHERE NOT (0 <= issued AND issued <= granted)",
    ),
    (
        "I5",
        "SELECT CONCAT('template ', template_id, ': issued ', CAST(SUM(issued) AS SIGNED), ', but ', \
                       CAST(SUM(held) AS SIGNED), ' coupons are stored') \
         FROM (SELECT template_id, issued, 0 AS held FROM stock_bucket \
               UNION ALL SELECT template_id, 0, COUNT(*) FROM coupon WHERE claim_no > 0 \
               GROUP BY template_id) AS pieces \
         GROUP BY template_id HAVING SUM(issued) <> SUM(held)",
    ),
    (
        "ALARM",
        "SELECT CONCAT('alarm of kind 0 (coupon expiry) at minute ', minute, ' is missing: ', \
                       COUNT(*), ' AVAILABLE coupons fall due, the first is coupon ', \
                       MIN(coupon_id)) \
         FROM (SELECT coupon_id, valid_until DIV 60000 + (valid_until MOD 60000 > 0) AS minute \
               FROM coupon WHERE status = 0) AS due \
         WHERE NOT EXISTS (SELECT 1 FROM alarm AS a WHERE a.kind = 0 AND a.minute = due.minute) \
         GROUP BY minute",
    ),
    (
        "ALARM",
        "SELECT CONCAT('alarm of kind 1 (lock lapse) at minute ', minute, ' is missing: ', \
                       COUNT(*), ' LOCKED redemptions fall due, the first is redemption ', \
                       MIN(redemption_id)) \
         FROM (SELECT redemption_id, \
                      locked_until DIV 60000 + (locked_until MOD 60000 > 0) AS minute \
               FROM redemption WHERE locked_until IS NOT NULL AND state = 0) AS due \
         WHERE NOT EXISTS (SELECT 1 FROM alarm AS a WHERE a.kind = 1 AND a.minute = due.minute) \
         GROUP BY minute",
    ),
    (
        "STATS",
        "SELECT CONCAT('template ', template_id, ': folded counts are not those of the log') \
         FROM (SELECT template_id, locked, used, expired, voided, reissued FROM template_stat \
               UNION ALL \
               SELECT template_id, coupons * ((from_status <=> 3) - (to_status = 3)), \
                      coupons * ((from_status <=> 1) - (to_status = 1)), \
                      coupons * ((from_status <=> 2) - (to_status = 2)), \
                      coupons * ((from_status <=> 4) - (to_status = 4)), \
                      -coupons * (from_status IS NULL) \
               FROM coupon_operation \
               WHERE operation_id <= (SELECT folded_up_to FROM stat_fold WHERE fold_id = 1)) AS f \
         GROUP BY template_id \
         HAVING SUM(locked) <> 0 OR SUM(used) <> 0 OR SUM(expired) <> 0 OR SUM(voided) <> 0 \
             OR SUM(reissued) <> 0",
    ),
];

/// A copy of all databases, removed in the end.
pub(super) struct Copy {
    folder: PathBuf,
    /// What was found on the way, by invariant.
    pub(super) findings: Vec<(&'static str, Findings)>,
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Nothing can be done about a folder that stays.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Copy {
    /// The SQLite file.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.join("audited.db")
    }

    /// Copies everything.
    pub(super) async fn of(config: &MysqlConfig) -> anyhow::Result<Self> {
        let name = format!("coupon-audit-{}-{:016x}", std::process::id(), rand::random::<u64>());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder)
            .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
        let mut copy = Self { folder, findings: Vec::new() };
        let mut into = copy.prepare().await?;
        let mut meta = begin(&config.meta_url).await?;
        refuse_other_schema::<MetaMigrator>(&mut meta, &config.meta_url).await?;
        for table in META_TABLES {
            copy.add(table, "", &mut meta, &mut into, 0).await?;
        }
        for (shard, url) in config.shard_urls.iter().enumerate() {
            let mut from = begin(url).await?;
            refuse_other_schema::<ShardMigrator>(&mut from, url).await?;
            copy.look(&mut from, shard).await.with_context(|| failed(url))?;
            for table in SHARD_TABLES {
                copy.add(table, "ON CONFLICT DO NOTHING", &mut from, &mut into, shard)
                    .await
                    .with_context(|| failed(url))?;
            }
            for (table, clash) in SUMMED_TABLES {
                copy.add(table, clash, &mut from, &mut into, shard)
                    .await
                    .with_context(|| failed(url))?;
            }
        }
        into.close().await?;
        Ok(copy)
    }

    /// An empty database with the schema, open for writing.
    async fn prepare(&self) -> anyhow::Result<SqliteConnection> {
        let url = format!("sqlite://{}?mode=rwc", self.database().display());
        let schema: DatabaseConnection = Database::connect(url).await?;
        MetaMigrator::up(&schema, None).await?;
        ShardMigrator::up(&schema, None).await?;
        schema.close().await?;
        let options = SqliteConnectOptions::new()
            .filename(self.database())
            .pragma("synchronous", "OFF")
            // Buckets that violate their bounds are copied as they are.
            .pragma("ignore_check_constraints", "ON")
            .disable_statement_logging();
        Ok(options.connect().await?)
    }

    /// Asks a shard what it must say by itself.
    async fn look(&mut self, from: &mut MySqlConnection, shard: usize) -> anyhow::Result<()> {
        for (id, sql) in BY_SHARD {
            let mut rows = sqlx::query_scalar::<_, String>(sql).fetch(&mut *from);
            while let Some(text) = rows.try_next().await? {
                note(&mut self.findings, id, format!("shard {shard}: {text}"));
            }
        }
        Ok(())
    }

    /// Copies a table. A row that clashes with one of another shard, where rows are of one shard alone,
    /// is a violation.
    async fn add(
        &mut self,
        table: &str,
        clash: &str,
        from: &mut MySqlConnection,
        into: &mut SqliteConnection,
        shard: usize,
    ) -> anyhow::Result<()> {
        let columns = columns_of(into, table).await?;
        let list = columns.join(", ");
        let places = vec!["?"; columns.len()].join(", ");
        let select = format!("SELECT {list} FROM {table}");
        let insert = format!("INSERT INTO {table} ({list}) VALUES ({places}) {clash}");
        let mut tx = into.begin().await?;
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(from);
        while let Some(row) = rows.try_next().await? {
            let mut query = sqlx::query(AssertSqlSafe(insert.clone()));
            for column in 0..columns.len() {
                query = bind(query, &row, column)?;
            }
            let copied = query.execute(&mut *tx).await?.rows_affected();
            if copied == 0 && SHARD_TABLES.contains(&table) {
                let first: String = described(&row, &columns)?;
                let text = format!("shard {shard}: {table} {first} clashes with another shard's");
                note(&mut self.findings, "I5", text);
            }
        }
        drop(rows);
        Ok(tx.commit().await?)
    }
}

fn note(findings: &mut Vec<(&'static str, Findings)>, id: &'static str, text: String) {
    match findings.iter_mut().find(|(known, _)| *known == id) {
        Some((_, found)) => found.add(text),
        None => {
            let mut found = Findings::default();
            found.add(text);
            findings.push((id, found));
        }
    }
}

fn failed(url: &str) -> String {
    format!("the database {} could not be read", redact::url(url))
}

/// A connection with a snapshot of its database that nothing changes.
async fn begin(url: &str) -> anyhow::Result<MySqlConnection> {
    let options: MySqlConnectOptions = url.parse().with_context(|| failed(url))?;
    let options = options.disable_statement_logging();
    let mut connection = options.connect().await.with_context(|| failed(url))?;
    connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
    connection.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
    Ok(connection)
}

async fn refuse_other_schema<M: sea_orm_migration::MigratorTrait>(
    from: &mut MySqlConnection,
    url: &str,
) -> anyhow::Result<()> {
    let table = M::migration_table_name().to_string();
    let sql = AssertSqlSafe(format!("SELECT version FROM {table}"));
    let applied: Vec<String> =
        sqlx::query_scalar(sql).fetch_all(from).await.with_context(|| failed(url))?;
    let known: Vec<String> = M::migrations().iter().map(|m| m.name().to_owned()).collect();
    let shown = redact::url(url);
    if let Some(unknown) = applied.iter().find(|name| !known.contains(name)) {
        bail!(
            "the schema of {shown} is newer than this program (it has {unknown}), audit with the \
             newer program"
        );
    }
    if let Some(missing) = known.iter().find(|name| !applied.contains(name)) {
        bail!(
            "the schema of {shown} is older than this program (it lacks {missing}), run \
             `coupon-server migrate` or audit with the program that wrote it"
        );
    }
    Ok(())
}

async fn columns_of(into: &mut SqliteConnection, table: &str) -> anyhow::Result<Vec<String>> {
    let sql = format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid");
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(into).await?)
}

type Insert<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Columns are whole numbers or texts.
fn bind<'q>(query: Insert<'q>, row: &MySqlRow, column: usize) -> anyhow::Result<Insert<'q>> {
    let kind = row.column(column).type_info().name();
    if kind.contains("INT") {
        Ok(query.bind(row.try_get::<Option<i64>, _>(column)?))
    } else {
        Ok(query.bind(row.try_get::<Option<String>, _>(column)?))
    }
}

/// The row's first column, which is or begins its key.
fn described(row: &MySqlRow, columns: &[String]) -> anyhow::Result<String> {
    let key: i64 = row.try_get(0)?;
    Ok(format!("with {} {key}", columns.first().map_or("key", String::as_str)))
}

/// Opens the copy for reading only.
pub(super) async fn open(path: &Path, cache_kib: u32) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .pragma("cache_size", format!("-{cache_kib}"))
        .pragma("temp_store", "FILE");
    Ok(options.connect().await?)
}
