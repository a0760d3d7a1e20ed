//! Ledger errors, and the translation of the drivers' errors into them.

use sea_orm::{DbErr, RuntimeErr};
use sqlx::mysql::MySqlDatabaseError;

use crate::mint::MintExhausted;

/// Why the ledger could not do it. What kind it is decides whether the caller may send again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Nothing was changed, and the store says it cannot: worth trying again later.
    #[error("{0}")]
    Unavailable(String),
    /// Nothing was changed: the store let somebody else go first. Worth trying again at once.
    #[error("others were faster: {0}; try again")]
    Aborted(String),
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
    /// What a statement inside a transaction says, or one that stands alone and may be repeated: no
    /// commit was asked for, or it does not matter.
    fn from(error: DbErr) -> Self {
        let text = error.to_string();
        if matches!(error, DbErr::ConnectionAcquire(_)) {
            return Self::Unavailable("the database has no free connection; try again".to_owned());
        }
        match cause(&error) {
            Cause::Sqlite(code) => of_sqlite(code, text),
            Cause::MySql(number) => of_mysql(number, text),
            Cause::Connection => {
                Self::Unavailable(format!("the database is not answering: {text}"))
            }
            Cause::Other if matches!(error, DbErr::Conn(_)) => Self::Unavailable(text),
            Cause::Other => Self::Corrupt(text),
        }
    }
}

/// Whether a COMMIT that was answered so has not happened and will not. Whoever is told so may say
/// that nothing was changed.
pub(super) fn is_definite_abort(error: &DbErr) -> bool {
    match cause(error) {
        // The database was locked, or the disk is full.
        Cause::Sqlite(code) => matches!(code, 5 | 13),
        // Deadlock, lock wait, row changed since read, rolled back by the servers' agreement.
        Cause::MySql(number) => matches!(number, 1213 | 1205 | 1020 | 3101),
        Cause::Connection | Cause::Other => false,
    }
}

/// By primary result code (<https://www.sqlite.org/rescode.html>).
fn of_sqlite(code: i32, text: String) -> LedgerError {
    match code {
        13 => LedgerError::Unavailable("the disk is full; free some space".to_owned()),
        5 | 6 => LedgerError::Unavailable(
            "the database file is locked by another process; stop it".to_owned(),
        ),
        8 => LedgerError::Unavailable(
            "the database file is read-only; make the data folder writable".to_owned(),
        ),
        10 | 14 => LedgerError::Unavailable(format!("the database file cannot be used: {text}")),
        _ => LedgerError::Corrupt(text),
    }
}

/// By error number
/// (<https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html>, and MariaDB's own
/// from 1900 on).
fn of_mysql(number: u16, text: String) -> LedgerError {
    match number {
        // Deadlock, lock wait, row changed since read, rolled back by the servers' agreement, and a key
        // that is there by now: whoever tries again finds it.
        1213 | 1205 | 1020 | 3101 | 1062 => LedgerError::Aborted(text),
        // Disk or table space is full, also as error 28 of the file system.
        1021 | 1114 | 1026 => {
            LedgerError::Unavailable("the database's disk is full; free some space".to_owned())
        }
        1290 | 1792 | 1836 => LedgerError::Unavailable(
            "the database is read-only; point [mysql] at the primary".to_owned(),
        ),
        1040 | 1203 | 1226 => LedgerError::Unavailable(
            "the database takes no more connections; raise its max_connections or lower \
             mysql.connections"
                .to_owned(),
        ),
        // Going down, killed, interrupted, broken packets, gone away, idle for too long.
        1053
        | 1077
        | 1079
        | 1927
        | 1317
        | 1969
        | 3024
        | 1152..=1161
        | 1184
        | 2006
        | 2013
        | 4031 => LedgerError::Unavailable(format!("the database ended the connection: {text}")),
        // No such account, database or right.
        1044 | 1045 | 1049 | 1129 | 1130 | 1142 | 1143 => {
            LedgerError::Unavailable(format!("the database refuses this server: {text}"))
        }
        1030 if text.contains(" 28 ") => {
            LedgerError::Unavailable("the database's disk is full; free some space".to_owned())
        }
        _ => LedgerError::Corrupt(text),
    }
}

/// Where a driver's error comes from.
enum Cause {
    /// SQLite's primary result code.
    Sqlite(i32),
    /// A MySQL server's error number.
    MySql(u16),
    /// The connection broke, or never came about.
    Connection,
    Other,
}

fn cause(error: &DbErr) -> Cause {
    let (DbErr::Exec(RuntimeErr::SqlxError(inner))
    | DbErr::Query(RuntimeErr::SqlxError(inner))
    | DbErr::Conn(RuntimeErr::SqlxError(inner))) = error
    else {
        return Cause::Other;
    };
    match &**inner {
        sqlx::Error::Database(error) => {
            if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
                return Cause::MySql(error.number());
            }
            let code = error.code().and_then(|code| code.parse::<i32>().ok());
            code.map_or(Cause::Other, |code| Cause::Sqlite(code & 0xff))
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => Cause::Connection,
        _ => Cause::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mysql_says_is_told_apart() {
        let of = |number| of_mysql(number, "text".to_owned());
        for aborted in [1213, 1205, 1020, 1062] {
            assert!(matches!(of(aborted), LedgerError::Aborted(_)), "{aborted}");
        }
        for unavailable in [1021, 1114, 1290, 1792, 1040, 1053, 1927, 1045] {
            assert!(matches!(of(unavailable), LedgerError::Unavailable(_)), "{unavailable}");
        }
        assert!(matches!(of(1064), LedgerError::Corrupt(_)), "a syntax error is a defect");
        let full = of_mysql(1030, "got error 28 from storage engine".to_owned());
        assert!(matches!(full, LedgerError::Unavailable(_)));
    }
}
