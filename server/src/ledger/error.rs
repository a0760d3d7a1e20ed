//! Ledger errors, and the translation of the drivers' errors into them.

use sea_orm::{DbErr, RuntimeErr};

use crate::mint::MintExhausted;

/// Why the ledger could not do it. What kind it is decides whether the caller may send again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Nothing was changed, and the store says it cannot: worth trying again later.
    #[error("{0}")]
    Unavailable(String),
    /// A queue is full; nothing was tried.
    #[error("{0} is full")]
    Overloaded(&'static str),
    /// The deadline passed before it began; nothing was tried.
    #[error("the deadline passed before the work began")]
    Late,
    /// The store may or may not have committed.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The store holds or said something that this version cannot understand. A defect.
    #[error("corrupt: {0}")]
    Corrupt(String),
}

impl From<MintExhausted> for LedgerError {
    fn from(error: MintExhausted) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<DbErr> for LedgerError {
    /// By SQLite's primary result codes (<https://www.sqlite.org/rescode.html>).
    fn from(error: DbErr) -> Self {
        let text = error.to_string();
        if matches!(error, DbErr::ConnectionAcquire(_)) {
            return Self::Unavailable("the database has no free connection; try again".to_owned());
        }
        match sqlite_code(&error) {
            Some(13) => Self::Unavailable("the disk is full; free some space".to_owned()),
            Some(5 | 6) => Self::Unavailable(
                "the database file is locked by another process; stop it".to_owned(),
            ),
            Some(8) => Self::Unavailable(
                "the database file is read-only; make the data folder writable".to_owned(),
            ),
            Some(10 | 14) => Self::Unavailable(format!("the database file cannot be used: {text}")),
            Some(_) => Self::Corrupt(text),
            None if matches!(error, DbErr::Conn(_)) => Self::Unavailable(text),
            None => Self::Corrupt(text),
        }
    }
}

/// Whether a COMMIT that was answered so has not happened and will not: the database was locked or
/// the disk is full. Whoever is told so may say that nothing was changed.
pub(super) fn is_definite_abort(error: &DbErr) -> bool {
    matches!(sqlite_code(error), Some(5 | 13))
}

fn sqlite_code(error: &DbErr) -> Option<i32> {
    let (DbErr::Exec(RuntimeErr::SqlxError(inner)) | DbErr::Query(RuntimeErr::SqlxError(inner))) =
        error
    else {
        return None;
    };
    let code: i32 = inner.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
