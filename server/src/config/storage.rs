//! `[storage]`: the embedded ledger's files and connections.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Checks;

/// When a commit counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// Every commit reaches the disk before it is answered.
    Full,
    /// The last commits before a power loss may be gone although they were answered; a crash of the
    /// process alone loses nothing.
    Normal,
}

impl Synchronous {
    /// The value of SQLite's `PRAGMA synchronous`.
    pub fn as_pragma(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
        }
    }
}

/// `[storage]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Folder of the database and its lock; created when missing. Default `data`.
    pub data_dir: PathBuf,
    /// Connections for reading, beside the one that writes. Default 4.
    pub read_connections: u32,
    /// Size of the write-ahead log at which it is copied back, in pages. Default 65536.
    pub wal_autocheckpoint_pages: u32,
    /// Time between two copies of the write-ahead log in the background, in milliseconds. Default 1000.
    pub checkpoint_interval_ms: u64,
    /// Page cache of the connection that writes, in KiB. Default 65536 (64 MiB).
    pub cache_kib: u32,
    /// Page cache of each connection that reads, in KiB. Default 8192 (8 MiB).
    pub read_cache_kib: u32,
    /// When a commit counts as written: `full` or `normal`; `normal` can lose the last commits on a
    /// power loss. Default `full`.
    pub synchronous: Synchronous,
    /// How long a statement waits for another process's lock, in milliseconds. Default 5000.
    pub busy_timeout_ms: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            read_connections: 4,
            wal_autocheckpoint_pages: 65_536,
            checkpoint_interval_ms: 1_000,
            cache_kib: 65_536,
            read_cache_kib: 8_192,
            synchronous: Synchronous::Full,
            busy_timeout_ms: 5_000,
        }
    }
}

impl StorageConfig {
    /// How long a statement waits for another process's lock.
    pub fn busy_timeout(&self) -> Duration {
        Duration::from_millis(self.busy_timeout_ms)
    }

    /// Time between two copies of the write-ahead log in the background.
    pub fn checkpoint_interval(&self) -> Duration {
        Duration::from_millis(self.checkpoint_interval_ms)
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        if self.data_dir.as_os_str().is_empty() {
            checks.refuse("storage.data_dir is empty, name a folder".to_owned());
        }
        checks.within("storage.read_connections", self.read_connections, 1, 256);
        // SQLite reads these as signed 32-bit numbers.
        let pragma_max = i32::MAX.unsigned_abs();
        checks.within(
            "storage.wal_autocheckpoint_pages",
            self.wal_autocheckpoint_pages,
            1,
            pragma_max,
        );
        checks.within("storage.checkpoint_interval_ms", self.checkpoint_interval_ms, 10, 3_600_000);
        checks.within("storage.cache_kib", self.cache_kib, 64, pragma_max);
        checks.within("storage.read_cache_kib", self.read_cache_kib, 64, pragma_max);
        checks.within("storage.busy_timeout_ms", self.busy_timeout_ms, 0, 3_600_000);
    }
}
