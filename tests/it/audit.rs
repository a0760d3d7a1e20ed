//! The audit finds nothing in a sound database and every planted defect in an unsound one (R63).

mod claims;
mod fixture;
mod oplog;
mod redemptions;

use std::path::Path;

use coupon_server::audit;
use sqlx::Connection;

use fixture::{audit_with, caught, config, execute, folder_with, open, sound};

// R63: a sound database is clean, and everything in it was looked at.
#[tokio::test]
async fn a_sound_database_is_clean() -> anyhow::Result<()> {
    let folder = folder_with(&sound()).await?;
    let report = audit::run(&config(folder.path())).await?;
    assert!(report.is_clean(), "{report:#?}");
    let examined: Vec<_> = report.checks.iter().map(|check| (check.id, check.examined)).collect();
    let expected =
        [("I1", 2), ("I2", 11), ("I4", 17), ("I5", 19), ("I6", 34), ("ALARM", 5), ("STATS", 16)];
    assert_eq!(examined, expected);
    let empty = folder_with("").await?;
    assert!(audit::run(&config(empty.path())).await?.is_clean());
    Ok(())
}

#[tokio::test]
async fn a_flood_of_violations_is_counted() -> anyhow::Result<()> {
    let folder = folder_with(&sound()).await?;
    let flood = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 150) \
                 INSERT INTO stock_bucket SELECT 5 + n, 0, 1, 2, 0 FROM n;
                 INSERT INTO stock_grant SELECT template_id, 1 \
                 FROM stock_bucket WHERE template_id < 1000";
    let report = audit_with(folder.path(), flood).await?;
    assert_eq!(caught(&report), ["I1", "I5"]);
    let told = &report.checks[0].violations;
    assert_eq!(told.len(), 101);
    assert_eq!(told[0], "template 6, bucket 0: issued 2 of 1 granted");
    assert_eq!(told[100], "... and 50 more");
    Ok(())
}

// R63: on demand beside a server that writes; what is not committed is not seen.
#[tokio::test]
async fn a_writer_does_not_stop_the_audit() -> anyhow::Result<()> {
    let folder = folder_with(&sound()).await?;
    let mut writer = open(folder.path()).await?;
    let mut tx = writer.begin().await?;
    execute(&mut tx, "DELETE FROM alarm").await?;
    let report = audit::run(&config(folder.path())).await?;
    assert!(report.is_clean(), "{report:#?}");
    tx.commit().await?;
    let report = audit::run(&config(folder.path())).await?;
    assert_eq!(caught(&report), ["ALARM"]);
    // The writer can go on: the audit has left no lock.
    execute(&mut writer, "DELETE FROM refund").await?;
    writer.close().await?;
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_audited_is_said_in_one_sentence() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let refused = async |folder: &Path| {
        audit::run(&config(folder))
            .await
            .map_or_else(|error| error.to_string(), |_| "clean".to_owned())
    };

    let missing = refused(&root.path().join("none")).await;
    assert!(missing.contains("does not exist, start `coupon-server serve` once"), "{missing}");
    let empty = refused(root.path()).await;
    assert!(empty.starts_with("there is no database "), "{empty}");
    assert!(empty.ends_with("start `coupon-server serve` once or correct --data-dir"), "{empty}");
    assert!(!root.path().join("coupon.db").exists());

    std::fs::write(
        root.path().join("coupon.db"),
        "not a database, but long enough to be read".repeat(30),
    )?;
    let garbage = refused(root.path()).await;
    assert!(garbage.contains("cannot be opened"), "{garbage}");
    assert!(garbage.contains("check that it is a coupon server's"), "{garbage}");

    let folder = folder_with("").await?;
    let mut connection = open(folder.path()).await?;
    execute(
        &mut connection,
        "INSERT INTO shard_migration (version, applied_at) VALUES ('shard_9999', 0)",
    )
    .await?;
    let newer = refused(folder.path()).await;
    assert!(newer.contains("newer than this program (it has shard_9999)"), "{newer}");
    execute(&mut connection, "DELETE FROM shard_migration").await?;
    let older = refused(folder.path()).await;
    assert!(older.contains("older than this program (it lacks shard_0001_initial)"), "{older}");
    assert!(older.contains("run `coupon-server migrate`"), "{older}");
    execute(&mut connection, "DROP TABLE shard_migration").await?;
    assert_eq!(refused(folder.path()).await, older);
    Ok(())
}
