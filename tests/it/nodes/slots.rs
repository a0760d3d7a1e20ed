//! The slot map at first and later starts.

use std::sync::Arc;

use coupon_domain::ids::UserId;
use coupon_server::{
    backend,
    catalog::{Catalog, NamedShard, SlotMapError},
};
use sea_orm::ConnectionTrait as _;

use super::{File, open};

/// Meta and some shards, each a file of its own.
struct Cluster {
    meta: File,
    shards: Vec<File>,
}

impl Cluster {
    async fn new(shards: usize) -> Self {
        let mut files = Vec::new();
        for _ in 0..shards {
            files.push(File::new().await);
        }
        Self { meta: File::new().await, shards: files }
    }

    async fn catalog(&self) -> Arc<Catalog> {
        self.meta.catalog().await
    }

    async fn named(&self) -> Vec<NamedShard> {
        let mut named = Vec::new();
        for (number, file) in self.shards.iter().enumerate() {
            let db = file.open().await.shards[0].write.clone();
            named.push(NamedShard { name: format!("shard {number} at HOST"), db });
        }
        named
    }
}

#[tokio::test]
async fn the_first_start_deals_the_map_and_later_ones_find_it() {
    let cluster = Cluster::new(3).await;
    let named = cluster.named().await;
    let first = cluster.catalog().await.slot_map(&named).await.expect("dealt");
    let again = cluster.catalog().await.slot_map(&named).await.expect("found");
    assert_eq!(first, again);
    assert_eq!(first.shards(), 3);
    let shards: std::collections::HashSet<u16> =
        (1..100).map(|user| first.shard_of_user(UserId::new(user).expect("positive"))).collect();
    assert_eq!(shards.len(), 3);
}

#[tokio::test]
async fn nodes_that_start_at_once_agree() {
    let cluster = Cluster::new(2).await;
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (catalog, named) = (cluster.catalog().await, cluster.named().await);
        starts.spawn(async move { catalog.slot_map(&named).await });
    }
    for found in starts.join_all().await {
        assert_eq!(found.expect("dealt or found").shards(), 2);
    }
}

#[tokio::test]
async fn a_start_that_was_cut_off_is_finished() {
    let cluster = Cluster::new(2).await;
    let named = cluster.named().await;
    cluster.catalog().await.slot_map(&named).await.expect("dealt");
    let meta = cluster.meta.open().await.meta.write;
    meta.execute_unprepared("DELETE FROM slot_map").await.expect("undone");
    named[1].db.execute_unprepared("DELETE FROM shard_slot_map").await.expect("undone");
    cluster.catalog().await.slot_map(&named).await.expect("finished");
    cluster.catalog().await.slot_map(&named).await.expect("found");
}

#[tokio::test]
async fn databases_that_do_not_belong_together_are_refused() {
    let cluster = Cluster::new(2).await;
    let named = cluster.named().await;
    let catalog = cluster.catalog().await;
    catalog.slot_map(&named).await.expect("dealt");
    let refused = async |shards: Vec<NamedShard>| catalog.slot_map(&shards).await.unwrap_err();

    let fewer = refused(vec![named[0].clone()]).await;
    assert!(matches!(fewer, SlotMapError::ShardCount { map: 2, configured: 1, .. }), "{fewer}");

    let swapped = |name: &NamedShard, db: &NamedShard| NamedShard {
        name: name.name.clone(),
        db: db.db.clone(),
    };
    let crossed = vec![swapped(&named[0], &named[1]), swapped(&named[1], &named[0])];
    let text = refused(crossed).await.to_string();
    assert!(text.starts_with("shard 0 at HOST says that it is shard 1"), "{text}");

    // An empty database in the place of a shard.
    let empty = File::new().await;
    let db = empty.open().await.shards[0].write.clone();
    let text = refused(vec![named[0].clone(), NamedShard { name: "shard 1 at NEW".into(), db }]);
    let text = text.await.to_string();
    assert!(text.starts_with("shard 1 at NEW has no slot map although meta has one"), "{text}");

    let moved = "INSERT INTO shard_slot_map SELECT 2, shard, shards, slots FROM shard_slot_map";
    named[1].db.execute_unprepared(moved).await.expect("moved");
    assert_eq!(
        refused(named.clone()).await.to_string(),
        "shard 1 at HOST has slot map version 2, meta has 1: finish the move of docs/operations.md"
    );

    // The shards of one platform, the meta of none.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let databases = open(&folder.path().join("other.db")).await;
    backend::migrate(&databases).await.expect("migrated");
    let other = Catalog::new(databases.meta, 10, std::time::Duration::from_secs(60));
    let lost = other.slot_map(&named).await.unwrap_err();
    assert!(matches!(lost, SlotMapError::NoMeta { version: 2, .. }), "{lost}");
}
