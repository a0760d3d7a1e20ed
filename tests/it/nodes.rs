//! What several nodes need of meta: numbers, leased loops, the slot map, each other's templates.

mod distributed;
mod leases;
mod slots;
mod templates;

use std::{path::Path, sync::Arc};

use coupon_server::{
    backend::{self, Databases},
    catalog::Catalog,
    config::{StorageConfig, Synchronous},
};
use tempfile::TempDir;

/// A database file that several nodes open.
struct File {
    folder: TempDir,
}

impl File {
    async fn new() -> Self {
        let file = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let databases = file.open().await;
        backend::migrate(&databases).await.expect("migrated");
        file
    }

    async fn open(&self) -> Databases {
        open(&self.folder.path().join("coupon.db")).await
    }

    /// The catalog of another node.
    async fn catalog(&self) -> Arc<Catalog> {
        let meta = self.open().await.meta;
        Arc::new(Catalog::new(meta, 1_000, std::time::Duration::from_secs(60)))
    }
}

async fn open(path: &Path) -> Databases {
    // No power is lost in a test.
    let storage = StorageConfig { synchronous: Synchronous::Normal, ..StorageConfig::default() };
    backend::sqlite::open(path, &storage).await.expect("opened")
}
