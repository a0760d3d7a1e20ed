//! Recomputes, from the rows as they are, what must always hold (R63):
//!
//! - `I1` no bucket gives more than it was granted, no template more than its total
//! - `I2` nobody holds more of a template than its limit, numbered without gaps
//! - `I4` a request id stands for one body
//! - `I5` stock granted adds up to the totals, stock issued to the coupons, and every id lies in
//!   its owner's slot
//! - `I6` coupons, redemptions, refunds, stored splits and the operation log tell one legal story
//! - `ALARM` whatever falls due has its alarm
//! - `STATS` the folded counts are those of the log
//!
//! Everything is read from one snapshot, also beside a server that is writing; while it is held the
//! write-ahead log cannot be cut back, so it grows by what is written meanwhile. The checks know
//! the schema and the stored forms, and share no decision with the code that writes them.
//!
//! Memory does not grow with coupons, redemptions or operations: work is done in SQL, which sorts
//! in temporary files beyond its page cache, or on rows that stream by. Of templates and buckets a
//! few numbers each are held.

mod alarms;
mod buckets;
mod counts;
mod findings;
mod holds;
mod limits;
mod oplog;
mod requests;
mod shards;
mod snapshot;
mod splits;
mod stock;

pub use self::snapshot::AuditError;
use self::snapshot::Snapshot;
use sqlx::SqliteConnection;

use crate::config::{BackendKind, Config};

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Every check, clean ones too, in a fixed order.
    pub checks: Vec<Check>,
}

/// One invariant and how it fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Of the invariant, such as `I1`; each occurs once in a report.
    pub id: &'static str,
    /// What must hold.
    pub title: &'static str,
    /// How many rows were examined.
    pub examined: u64,
    /// Each violation in plain words; of those beyond a hundred only their number.
    pub violations: Vec<String>,
}

impl Report {
    /// Whether every invariant holds.
    pub fn is_clean(&self) -> bool {
        self.checks.iter().all(|check| check.violations.is_empty())
    }
}

/// Audits the embedded ledger in the configured data folder, or the distributed one in its databases.
///
/// # Errors
/// An [`AuditError`] when there is nothing to audit or the program does not know the schema;
/// anything else when the database cannot be read.
pub async fn run(config: &Config) -> anyhow::Result<Report> {
    match config.backend.kind {
        BackendKind::Embedded => {
            let mut connection = snapshot::connect(&config.storage).await?;
            check(&mut connection).await
        }
        BackendKind::Distributed => {
            let mut copy = Box::pin(shards::Copy::of(&config.mysql)).await?;
            let mut connection = shards::open(&copy.database(), config.storage.cache_kib).await?;
            let mut report = check(&mut connection).await?;
            for (id, found) in std::mem::take(&mut copy.findings) {
                let checks = report.checks.iter_mut().filter(|check| check.id == id);
                checks.for_each(|check| check.violations.extend(found.clone().into_violations()));
            }
            Ok(report)
        }
    }
}

async fn check(connection: &mut SqliteConnection) -> anyhow::Result<Report> {
    let mut snapshot = Snapshot::begin(connection).await?;
    let checks = vec![
        buckets::check(&mut snapshot).await?,
        limits::check(&mut snapshot).await?,
        requests::check(&mut snapshot).await?,
        stock::check(&mut snapshot).await?,
        holds::check(&mut snapshot).await?,
        alarms::check(&mut snapshot).await?,
        counts::check(&mut snapshot).await?,
    ];
    snapshot.end().await?;
    Ok(Report { checks })
}
