//! Migrations of shared databases.

use coupon_server::backend;
use sea_orm::ConnectionTrait as _;

use crate::conformance::mysql::MySql;

// Two runners at once: each answers without an error, one of them does it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_may_migrate_at_once() {
    let mysql = MySql::sharded(2).await.expect("databases");
    let databases = backend::mysql::open(&mysql.config.mysql).await.expect("opened");
    let again = backend::mysql::open(&mysql.config.mysql).await.expect("opened");
    let (one, other) = tokio::join!(backend::migrate(&databases), backend::migrate(&again));
    let applied = one.expect("migrated").len() + other.expect("migrated").len();
    assert_eq!(applied, 3, "meta and two shards, each once");
    let pending = backend::mysql::pending(&mysql.config.mysql, &databases).await;
    assert_eq!(pending.expect("readable"), [] as [&str; 0]);
}

// A runner that was killed leaves some tables and no word of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_cut_off_is_finished_by_the_next() {
    let mysql = MySql::sharded(1).await.expect("databases");
    let databases = mysql.databases().await.expect("migrated");
    let shard = &databases.shards[0].write;
    for sql in ["DELETE FROM shard_migration", "DROP TABLE heartbeat", "DROP TABLE stat_fold"] {
        shard.execute_unprepared(sql).await.expect("executed");
    }
    let pending = backend::mysql::pending(&mysql.config.mysql, &databases).await.expect("readable");
    assert_eq!(pending.len(), 1, "{pending:?}");
    assert_eq!(backend::migrate(&databases).await.expect("migrated"), ["shard_0001_initial"]);
    let rows = shard.execute_unprepared("UPDATE stat_fold SET as_of = 0").await.expect("there");
    assert_eq!(rows.rows_affected(), 1);
    shard.execute_unprepared("SELECT 1 FROM heartbeat").await.expect("there");
}

// Who serves refuses a schema that is behind, in plain words and without the password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_behind_is_refused() {
    let mysql = MySql::sharded(1).await.expect("databases");
    let databases = backend::mysql::open(&mysql.config.mysql).await.expect("opened");
    let refused = backend::mysql::prepare(&mysql.config.mysql, &databases).await;
    let refused = format!("{:#}", refused.expect_err("behind"));
    assert!(refused.contains("`meta_0001_initial`"), "{refused}");
    assert!(refused.contains("run `coupon-server migrate`"), "{refused}");
    backend::migrate(&databases).await.expect("migrated");
    backend::mysql::prepare(&mysql.config.mysql, &databases).await.expect("ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_does_not_answer_is_named() {
    let mysql = MySql::sharded(1).await.expect("databases");
    let mut config = mysql.config.mysql.clone();
    config.connect_timeout_ms = 2_000;
    config.shard_urls = vec!["mysql://coupon:secret@127.0.0.1:1/nowhere".to_owned()];
    let refused = backend::mysql::open(&config).await.expect_err("nobody is there");
    let refused = format!("{refused:#}");
    assert!(refused.contains("mysql://coupon:***@127.0.0.1:1/nowhere"), "{refused}");
    assert!(!refused.contains("secret"), "{refused}");
    config.shard_urls.clone_from(&mysql.config.mysql.shard_urls);
    config.meta_url.push_str("_not_made");
    let refused =
        format!("{:#}", backend::mysql::open(&config).await.expect_err("no such database"));
    assert!(refused.contains("_not_made"), "{refused}");
}
