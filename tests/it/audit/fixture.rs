//! A sound database, and copies of it with a defect.

use std::path::Path;

use anyhow::{Context, ensure};
use coupon_domain::ids::UserId;
use coupon_domain::time::Timestamp;
use coupon_server::audit::{self, Report};
use coupon_server::config::Config;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use tempfile::TempDir;

/// When everything is claimed, locked and closed.
pub(super) const NOW: i64 = 1_700_000_000_000;
/// When validity ends: a full minute.
pub(super) const VALID: i64 = 1_800_000_000_000;
/// When the live lock ends: just after a full minute.
pub(super) const LOCKED: i64 = 1_700_000_040_001;

pub(super) const T: i64 = 700_000;
pub(super) const DRAFT: i64 = 800_000;
pub(super) const BUCKETS: u16 = 2;

/// The id with stem `n` of a user.
pub(super) fn id(n: i64, user: i64) -> i64 {
    n * 10_000 + user % 10_000
}

/// A row of `coupon` that nobody holds, ready for `with`.
pub(super) fn coupon(
    n: i64,
    user: i64,
    claim_no: i64,
    status: i64,
    held: &str,
    reissue_of: &str,
) -> String {
    let (coupon, request) = (id(n, user), if claim_no > 0 { "q" } else { "" });
    let request = if user == 10_009 { request.to_owned() } else { format!("{request}{n}") };
    format!(
        "INSERT INTO coupon (coupon_id, user_id, template_id, claim_no, template_version, status, \
         request_id, fingerprint, claimed_at, valid_until, redemption_id, locked_until, used_at, \
         reissue_of) VALUES ({coupon}, {user}, {T}, {claim_no}, 1, {status}, '{request}', 5, \
         {NOW}, {VALID}, {held}, {reissue_of});"
    )
}

/// A row of `redemption` whose evaluation names coupons of 30 each, split over two lines.
pub(super) fn redemption(n: i64, user: i64, state: i64, coupons: &[i64]) -> String {
    let uses: Vec<String> =
        coupons.iter().map(|coupon| format!(r#"[{coupon},{T},30,[["a",10],["b",20]]]"#)).collect();
    let (a, b, uses) = (10 * coupons.len(), 20 * coupons.len(), uses.join(","));
    let evaluation = match coupons {
        [] => "NULL, NULL".to_owned(),
        _ => format!(
            r#"'{{"currency":"CNY","uses":[{uses}],"lines":[["a",100,{a}],["b",200,{b}]]}}', {NOW}"#
        ),
    };
    let locks = if coupons.is_empty() { "[]" } else { r#"[["l1",7],["l2",7]]"# };
    let end = match state {
        0 => format!("{LOCKED}, NULL, NULL, NULL"),
        3 => format!("NULL, {NOW}, NULL, NULL"),
        _ => format!("NULL, {NOW}, 'c', 9"),
    };
    format!(
        "INSERT INTO redemption (redemption_id, user_id, order_id, state, locks, evaluation, \
         first_locked_at, locked_until, closed_at, close_request_id, close_fingerprint) \
         VALUES ({}, {user}, 'o{n}', {state}, '{locks}', {evaluation}, {end});",
        id(n, user)
    )
}

/// The refund of all that [`redemption`] took for one coupon, which another replaces.
fn refunded(n: i64, user: i64, coupon: i64, reissued: i64) -> String {
    let order = id(n, user);
    format!(
        r#"UPDATE redemption SET evaluation = json_set(evaluation, '$.refunded', json(
               '{{"quantities":[1,1],"shipping":true,"amount":270,"coupons":[{coupon}]}}'))
        WHERE redemption_id = {order};
        INSERT INTO refund VALUES ({user}, 'o{n}', 'f1', {order},
            '{{"fingerprint":9,"amount":270,"lines":[["a",1,90],["b",1,180]],"shipping":0,
               "clawed_back":0,"coupons":[[{coupon},1,{reissued},{VALID}]]}}', {NOW});"#
    )
}

/// Rows of `coupon_operation`: (number, coupon, user, order, operation, from, to).
pub(super) fn operations(rows: &[(i64, i64, i64, &str, i64, &str, i64)]) -> String {
    let row = |(n, coupon, user, order, operation, from, to): &(_, i64, i64, _, _, _, _)| {
        format!(
            "INSERT INTO coupon_operation (operation_id, coupon_id, user_id, template_id, \
             order_id, operation, from_status, to_status, at) \
             VALUES ({n}, {}, {user}, {T}, '{order}', \
             {operation}, {from}, {to}, {NOW});",
            id(*coupon, *user)
        )
    };
    rows.iter().map(row).collect()
}

/// A sound database with a coupon and a redemption in every state.
pub(super) fn sound() -> String {
    let mut sql = format!(
        r#"INSERT INTO rule VALUES (1, '{{"per_user_limit":2,"mutex":false}}');
        INSERT INTO template VALUES ({T}, 1, 'T', 0, 1, 20, 0, {VALID}, {BUCKETS}, 1, {NOW}, {NOW}, {NOW});
        INSERT INTO template VALUES ({DRAFT}, 1, 'D', 0, 0, 9, 0, {VALID}, 0, 1, {NOW}, NULL, {NOW});
        INSERT INTO stock_grant VALUES ({T}, 20);
        INSERT INTO transfer_out VALUES (7, {T}, 1, 2, {NOW});
        INSERT INTO transfer_applied VALUES (7, {T}, 2, {NOW});
        INSERT INTO alarm VALUES (0, {}, 0), (1, {}, 0);"#,
        Timestamp::from_millis(VALID).due_minute().as_minutes(),
        Timestamp::from_millis(LOCKED).due_minute().as_minutes(),
    );
    let free = "NULL, NULL, NULL";
    let used = |n: i64, user: i64| format!("{}, NULL, {NOW}", id(n, user));
    let locked = format!("{}, {LOCKED}, NULL", id(51, 10_001));
    for row in [
        coupon(1, 10_001, 1, 0, free, "NULL"),
        coupon(2, 10_001, 2, 3, &locked, "NULL"),
        coupon(3, 10_002, 1, 1, &used(52, 10_002), "NULL"),
        coupon(4, 10_003, 1, 2, free, "NULL"),
        coupon(5, 10_004, 1, 4, free, "NULL"),
        coupon(6, 10_005, 1, 1, &used(53, 10_005), "NULL"),
        coupon(7, 10_005, -id(6, 10_005), 0, free, &id(6, 10_005).to_string()),
        coupon(8, 10_006, 1, 2, free, "NULL"),
        // Used so long ago that its redemption is no longer kept.
        coupon(9, 10_007, 1, 1, &used(59, 10_007), "NULL"),
        // One request for two pieces.
        coupon(10, 10_009, 1, 0, free, "NULL"),
        coupon(11, 10_009, 2, 0, free, "NULL"),
    ] {
        sql += &row;
    }
    sql += &redemption(51, 10_001, 0, &[id(2, 10_001)]);
    sql += &redemption(52, 10_002, 1, &[id(3, 10_002)]);
    sql += &redemption(53, 10_005, 4, &[id(6, 10_005)]);
    sql += &refunded(53, 10_005, id(6, 10_005), id(7, 10_005));
    sql += &redemption(54, 10_006, 2, &[id(8, 10_006)]);
    sql += &redemption(55, 10_008, 2, &[]);
    sql += &redemption(56, 10_001, 3, &[id(1, 10_001)]);
    sql += &operations(&[
        (1, 1, 10_001, "o56", 0, "0", 3),
        (2, 1, 10_001, "o56", 6, "3", 0),
        (3, 2, 10_001, "o51", 0, "0", 3),
        (4, 3, 10_002, "o52", 0, "0", 3),
        (5, 3, 10_002, "o52", 2, "3", 0),
        (6, 3, 10_002, "o52", 0, "0", 3),
        (7, 3, 10_002, "o52", 1, "3", 1),
        (8, 5, 10_004, "", 5, "0", 4),
        (9, 6, 10_005, "o53", 0, "0", 3),
        (10, 6, 10_005, "o53", 1, "3", 1),
        (11, 7, 10_005, "o53", 4, "NULL", 0),
        (12, 8, 10_006, "o54", 0, "0", 3),
        (13, 8, 10_006, "o54", 8, "3", 2),
        (14, 9, 10_007, "o59", 0, "0", 3),
        (15, 9, 10_007, "o59", 7, "3", 1),
    ]);
    sql += &format!(
        "INSERT INTO coupon_operation (operation_id, template_id, operation, from_status, \
         to_status, at) VALUES (16, {T}, 3, 0, 2, {NOW});
         UPDATE stat_fold SET folded_up_to = 15;
         INSERT INTO template_stat VALUES ({T}, 1, 3, 1, 1, 1);"
    );
    sql + &stock()
}

/// The buckets: ten each, moved so that they hold what their users took.
fn stock() -> String {
    let holders = [10_001, 10_001, 10_002, 10_003, 10_004, 10_005, 10_006, 10_007, 10_009, 10_009];
    let in_bucket = |bucket: u16| holders.iter().filter(|user| bucket_of(**user) == bucket).count();
    let row = |bucket: u16| {
        format!("INSERT INTO stock_bucket VALUES ({T}, {bucket}, 10, {}, 1);", in_bucket(bucket))
    };
    (0..BUCKETS).map(row).collect()
}

pub(super) fn bucket_of(user: i64) -> u16 {
    UserId::new(user).map_or(u16::MAX, |user| user.slot().bucket(BUCKETS))
}

pub(super) fn config(folder: &Path) -> Config {
    let mut config = Config::default();
    config.storage.data_dir = folder.to_owned();
    config
}

pub(super) async fn open(folder: &Path) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(folder.join("coupon.db"));
    Ok(options.journal_mode(SqliteJournalMode::Wal).connect().await?)
}

pub(super) async fn execute(connection: &mut SqliteConnection, sql: &str) -> anyhow::Result<()> {
    let script = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    script.execute(connection).await.with_context(|| sql.to_owned())?;
    Ok(())
}

/// A data folder as the server makes it, with these rows, closed.
pub(super) async fn folder_with(sql: &str) -> anyhow::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    Box::pin(coupon_server::app::migrate(&config(folder.path()))).await?;
    let mut connection = open(folder.path()).await?;
    execute(&mut connection, sql).await?;
    connection.close().await?;
    Ok(folder)
}

/// Audits a copy of the folder with one defect planted.
pub(super) async fn audit_with(sound: &Path, defect: &str) -> anyhow::Result<Report> {
    let copy = tempfile::tempdir()?;
    std::fs::copy(sound.join("coupon.db"), copy.path().join("coupon.db"))?;
    let mut connection = open(copy.path()).await?;
    execute(&mut connection, "PRAGMA ignore_check_constraints = ON").await?;
    execute(&mut connection, defect).await?;
    connection.close().await?;
    audit::run(&config(copy.path())).await
}

/// The ids of the checks that found something.
pub(super) fn caught(report: &Report) -> Vec<&'static str> {
    let unclean = report.checks.iter().filter(|check| !check.violations.is_empty());
    unclean.map(|check| check.id).collect()
}

/// What a violation says, the defect that makes it, the checks that find it.
pub(super) type Defect<'a> = (&'a str, String, &'a [&'a str]);

/// Plants each defect alone, and sees it found by exactly its checks.
pub(super) async fn check_defects(defects: &[Defect<'_>]) -> anyhow::Result<()> {
    let folder = folder_with(&sound()).await?;
    for (says, defect, ids) in defects {
        let report = audit_with(folder.path(), defect).await?;
        let told = report.checks.iter().flat_map(|check| &check.violations);
        let told: Vec<&String> = told.collect();
        ensure!(&caught(&report) == ids, "{defect}\n{:?}\n{told:#?}", caught(&report));
        ensure!(told.iter().any(|text| text.contains(says)), "{defect}\n{says}\n{told:#?}");
    }
    Ok(())
}
