//! Data folders with a known number of stored coupons, prepared once and copied where a
//! measurement writes.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use anyhow::Context as _;
use tempfile::TempDir;

use super::{
    load::Budget,
    server::{Server, check_load},
    stream::{Packing, claim_in_batches},
    workload::{claim, template},
};

/// A user whom [`workload::user`](super::workload::user) gives to no operation that is measured.
const OUTSIDER: u64 = 1 << 39;
/// Stock that no run can use up.
const PLENTY: i64 = 1_000_000_000;
const FILLING: Packing = Packing { batch: 500, depth: 4 };

/// A stopped server's folder: `rows` coupons of `stored`, won by the users of operations
/// `0..rows` under their request ids.
#[derive(Debug)]
pub struct Stage {
    dir: TempDir,
    root: PathBuf,
    /// Coupons in it.
    pub rows: u64,
    /// The template that they belong to.
    pub stored: i64,
    /// A template without a piece left.
    pub sold_out: i64,
    /// A template of which nobody has claimed yet, with stock for all.
    pub hot: i64,
    /// Resident memory of the server that had just stored them, in bytes.
    pub filled_resident_bytes: u64,
    /// Coupons stored per second while filling.
    pub fill_rate: f64,
}

impl Stage {
    /// Fills a new folder below `root`.
    pub async fn prepare(root: &Path, rows: u64) -> anyhow::Result<Self> {
        let dir = new_dir(root)?;
        let server = Server::start(dir.path()).await?;
        let stored = server.node.publish(template("stored", PLENTY)).await?;
        let sold_out = server.node.publish(template("sold out", 1)).await?;
        let hot = server.node.publish(template("hot", PLENTY)).await?;
        server.node.client.claim(claim(OUTSIDER, sold_out)).await?;

        let budget = Budget::count(&Arc::new(AtomicU64::new(0)), rows);
        let mut load = claim_in_batches(&server.node.target, stored, &budget, FILLING).await?;
        check_load(&load)?;
        let fill_rate = load.rate();
        server.node.settle(stored, &mut load).await?;
        server.node.check_wins(stored, &load.won).await?;
        let filled_resident_bytes = server.resident_bytes()?;
        server.stop().await?;
        let root = root.to_owned();
        Ok(Self { dir, root, rows, stored, sold_out, hot, filled_resident_bytes, fill_rate })
    }

    /// Starts a server on the folder itself; for measurements that store no coupon.
    pub async fn serve(&self) -> anyhow::Result<Server> {
        Server::start(self.dir.path()).await
    }

    /// Starts a server on a copy of the folder, which lives as long as the answer's second half.
    pub async fn serve_copy(&self) -> anyhow::Result<(Server, TempDir)> {
        let copy = new_dir(&self.root)?;
        let (from, to) = (self.dir.path().to_owned(), copy.path().to_owned());
        tokio::task::spawn_blocking(move || copy_files(&from, &to)).await??;
        Ok((Server::start(copy.path()).await?, copy))
    }
}

/// A folder of our own below `root`, removed when dropped.
pub fn new_dir(root: &Path) -> anyhow::Result<TempDir> {
    let made = tempfile::Builder::new().prefix("coupon-bench-").tempdir_in(root);
    made.with_context(|| format!("cannot make a folder below {}", root.display()))
}

fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy_files(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            // Written now, so that the copy's way to the disk is not part of what is measured.
            fs::File::open(&target)?.sync_all()?;
        }
    }
    Ok(())
}
