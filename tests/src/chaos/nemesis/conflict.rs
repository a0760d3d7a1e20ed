//! A writer that gets in the way of everybody who takes stock.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::{Connection as _, MySqlConnection};
use tokio::time::{Instant, sleep};

use crate::chaos::{ground::Field, stage::Stage};

/// Longer than a claim waits for a row.
const LONG: Duration = Duration::from_millis(1_300);
const SHORT: Duration = Duration::from_millis(40);
/// How often the long wait comes.
const EVERY: u64 = 8;

/// Locks bucket rows of every shard against the usual order, for a while each. Answers how often.
///
/// # Errors
/// When a shard does not answer.
pub(super) async fn storm(field: &Field, stage: &Stage, length: Duration) -> anyhow::Result<u64> {
    let shards = (0..field.shard_urls.len()).map(|shard| async move {
        let mut connection = field.shard(shard).await?;
        let end = Instant::now() + length;
        let mut rounds = 0;
        while Instant::now() < end {
            rounds += 1;
            let hold = if rounds % EVERY == 0 { LONG } else { SHORT };
            // It may be the one who is rolled back; that is the point.
            let _ = conflict(&mut connection, stage, hold).await;
        }
        connection.close().await?;
        anyhow::Ok(rounds)
    });
    let rounds = futures::future::try_join_all(shards).await;
    Ok(rounds.context("the conflicting writer failed")?.into_iter().sum())
}

async fn conflict(
    connection: &mut MySqlConnection,
    stage: &Stage,
    hold: Duration,
) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    for template in [stage.triple, stage.ample, stage.hot] {
        for bucket in (0..4).rev() {
            sqlx::query(
                "UPDATE stock_bucket SET issued = issued WHERE template_id = ? AND bucket = ?",
            )
            .bind(template)
            .bind(bucket)
            .execute(&mut *transaction)
            .await?;
            sqlx::query(
                "SELECT issued FROM stock_bucket WHERE template_id = ? AND bucket = ? FOR UPDATE",
            )
            .bind(template)
            .bind(bucket)
            .fetch_optional(&mut *transaction)
            .await?;
        }
        sleep(hold / 3).await;
    }
    transaction.rollback().await
}
