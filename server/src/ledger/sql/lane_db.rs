//! How a lane reaches its shard's database.
//!
//! On MySQL every lane has connections of its own, opened and driven by the lane's own thread. A
//! statement that is not answered in time is given up together with its connection: what a driver
//! still expects on it is anybody's guess. On SQLite all share the one connection that writes.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, RuntimeErr, Statement, TransactionTrait,
};

use crate::ledger::LedgerError;

/// How often what gave way to others is tried again.
const RETRIES: u32 = 5;
/// How long a rollback may take; the server does it anyway once the connection is gone.
const ROLLBACK_MAX: Duration = Duration::from_millis(500);

/// Waits a moment, longer with each try and never the same: two that met must not meet again.
pub(super) async fn pause_before(tries: u32) {
    let most = 2_u64 << tries.min(5);
    tokio::time::sleep(Duration::from_millis(rand::random_range(0..most))).await;
}

/// Does what is safe to repeat until nobody else is in its way, or the server has stood still for too
/// long.
pub(super) async fn retried<T, F>(
    max: Option<Duration>,
    mut work: impl FnMut() -> F,
) -> Result<T, LedgerError>
where
    F: Future<Output = Result<T, LedgerError>>,
{
    let mut tries = 0;
    loop {
        let done = match max {
            None => work().await,
            Some(max) => tokio::time::timeout(max, work()).await.unwrap_or_else(|_| {
                let text = format!("the database does not answer within {} ms", max.as_millis());
                Err(LedgerError::Unavailable(text))
            }),
        };
        match done {
            Err(LedgerError::Aborted(_)) if tries < RETRIES => {
                tries += 1;
                pause_before(tries).await;
            }
            done => return done,
        }
    }
}

/// How the lanes of one shard reach its database.
#[derive(Clone)]
pub enum LaneConnections {
    /// One lane of each kind, which share a connection.
    Shared(DatabaseConnection),
    /// Several lanes of each kind, each with connections of its own.
    Own {
        /// Lanes of each kind, at least 1.
        lanes: usize,
        /// How long a statement may take.
        statement_max: Duration,
        /// Makes the connections of one lane, without opening them yet.
        open: Arc<dyn Fn() -> DatabaseConnection + Send + Sync>,
    },
}

impl fmt::Debug for LaneConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneConnections").field("lanes", &self.lanes()).finish()
    }
}

impl LaneConnections {
    /// Lanes of each kind.
    pub(super) fn lanes(&self) -> usize {
        match self {
            Self::Shared(_) => 1,
            Self::Own { lanes, .. } => (*lanes).max(1),
        }
    }

    /// How long whatever stands outside the lanes may take as a whole: it has a few statements.
    pub(super) fn call_max(&self) -> Option<Duration> {
        match self {
            Self::Shared(_) => None,
            Self::Own { statement_max, .. } => Some(*statement_max * 2),
        }
    }

    /// The connections of one more lane.
    pub(super) fn lane(&self) -> LaneDb {
        match self {
            Self::Shared(db) => {
                LaneDb { current: Mutex::new(db.clone()), statement_max: None, open: None }
            }
            Self::Own { statement_max, open, .. } => LaneDb {
                current: Mutex::new(open()),
                statement_max: Some(*statement_max),
                open: Some(Arc::clone(open)),
            },
        }
    }
}

/// The connections of one lane.
pub(crate) struct LaneDb {
    current: Mutex<DatabaseConnection>,
    statement_max: Option<Duration>,
    open: Option<Arc<dyn Fn() -> DatabaseConnection + Send + Sync>>,
}

impl LaneDb {
    /// Begins a transaction.
    pub(super) async fn begin(&self) -> Result<LaneTransaction<'_>, DbErr> {
        let db = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let tx = self.bounded(db.begin()).await?;
        Ok(LaneTransaction { lane: self, tx })
    }

    /// Waits for something else that a lane needs no longer than for a statement.
    pub(super) async fn patiently<T>(
        &self,
        work: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        let Some(max) = self.statement_max else { return work.await };
        let late =
            |_| Err(LedgerError::Unavailable("a template cannot be read in time".to_owned()));
        tokio::time::timeout(max, work).await.unwrap_or_else(late)
    }

    /// Waits for a statement no longer than it may take.
    async fn bounded<T>(&self, work: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        let Some(max) = self.statement_max else { return work.await };
        match tokio::time::timeout(max, work).await {
            Ok(done) => done,
            Err(_) => {
                self.give_up();
                let text = format!("no answer within {} ms", max.as_millis());
                Err(DbErr::Conn(RuntimeErr::Internal(text)))
            }
        }
    }

    /// Closes the connections as they come back, and makes others.
    fn give_up(&self) {
        let Some(open) = &self.open else { return };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, open());
        // Marked closed at once; waiting for the end of the closing would be waiting for the server.
        drop(old.get_mysql_connection_pool().close());
    }
}

/// A transaction of a lane.
pub(super) struct LaneTransaction<'a> {
    lane: &'a LaneDb,
    tx: DatabaseTransaction,
}

impl LaneTransaction<'_> {
    /// Commits.
    pub(super) async fn commit(self) -> Result<(), DbErr> {
        let committed = self.tx.commit();
        #[cfg(feature = "sabotage")]
        let committed = crate::faults::commit(committed, || {
            DbErr::Conn(RuntimeErr::Internal("the answer of the commit was lost".to_owned()))
        });
        self.lane.bounded(committed).await
    }

    /// Rolls back, explicitly: after a failed statement the transaction is still open, unless the
    /// database has ended it by itself. What is left in doubt is closed by the pool.
    pub(super) async fn rollback(self) -> Result<(), DbErr> {
        if self.lane.statement_max.is_none() {
            return self.tx.rollback().await;
        }
        match tokio::time::timeout(ROLLBACK_MAX, self.tx.rollback()).await {
            Ok(done) => done,
            Err(_) => {
                self.lane.give_up();
                Err(DbErr::Conn(RuntimeErr::Internal("a rollback was not answered".to_owned())))
            }
        }
    }
}

#[async_trait]
impl ConnectionTrait for LaneTransaction<'_> {
    fn get_database_backend(&self) -> DbBackend {
        self.tx.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.lane.bounded(self.tx.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.lane.bounded(self.tx.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.lane.bounded(self.tx.query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.lane.bounded(self.tx.query_all_raw(statement)).await
    }
}
