//! What a sweep costs the server.

use std::sync::Arc;

use coupon_domain::book::AlarmKind;
use coupon_server::ledger::AlarmRow;
use futures::future::join_all;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};

use super::rivals::Shared;
use crate::conformance::fixture::{DAY, Offer, start, until};

const COUPONS: i64 = 1_000;
const CHUNK: u32 = 50;

/// Rows of the coupon table that the server has read; `None` when it does not count.
async fn rows_read(db: &DatabaseConnection) -> Option<i64> {
    let sql = "SELECT CAST(ROWS_READ AS SIGNED) FROM information_schema.TABLE_STATISTICS \
               WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'coupon'";
    let statement = Statement::from_string(db.get_database_backend(), sql);
    db.query_one_raw(statement).await.ok()??.try_get_by_index(0).ok()
}

// R7: chunks do not read again what earlier ones have done, even where everything ends at one instant
// that is the last of its minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_reads_what_it_changes() {
    let shared = Shared::of(1).await;
    let mut node = shared.node().await;
    let databases = shared.mysql.databases().await.expect("opened");
    let db = &databases.shards[0].write;
    // Left on: others may be counting too, and it costs next to nothing.
    let counted = db.execute_unprepared("SET GLOBAL userstat = 1").await;
    let due = start().plus(DAY);
    assert_eq!(due.due_minute().range().1, due, "the last instant of its minute");
    let window = until(due);
    let template = node.publish(Offer { total: COUPONS, window, ..Offer::default() }).await;
    let ledger = Arc::clone(node.ledger());
    let given =
        join_all((1..=COUPONS).map(|user| ledger.give(vec![node.claim(&template, user, "r")])));
    assert!(given.await.iter().flatten().all(Result::is_ok));
    node.pass(DAY);
    let before = rows_read(db).await;
    let alarm =
        AlarmRow { shard: 0, kind: AlarmKind::CouponExpiry, minute: due.due_minute(), hop: 0 };
    let (mut after, mut changed) = (None, 0);
    loop {
        let swept = ledger.expire_chunk(alarm, after, CHUNK, node.now).await.expect("swept");
        changed += swept.changed;
        after = swept.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(i64::try_from(changed), Ok(COUPONS));
    let after = rows_read(db).await;
    if let (Ok(_), Some(before), Some(after)) = (&counted, before, after) {
        // Once to find it and once to change it, and a look behind the end of each chunk.
        let read = after - before;
        assert!(read <= 3 * COUPONS, "{read} rows read to change {COUPONS}");
    } else {
        // MySQL has no such counter; MariaDB has, where the account may turn it on.
        assert!(counted.is_err(), "rows read are counted, but not told: {before:?}, {after:?}");
        eprintln!("this server does not count the rows that it reads, only the outcome was tested");
    }
    node.finish().await;
}
