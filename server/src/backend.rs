//! The one place that knows which back end runs: embedded, on one SQLite file, or distributed, on
//! MySQL shards, a Redis Cluster and a Pulsar broker.

pub mod checkpoint;
pub mod mysql;
pub mod reach;
pub mod sqlite;

use std::sync::Arc;

use anyhow::{Context as _, bail};
use coupon_migrations::{MetaMigrator, ShardMigrator};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};
use sea_orm_migration::MigratorTrait;

use crate::{
    alarm::{AlarmQueue, clocked::ClockedAlarms, embedded::EmbeddedAlarms, pulsar::PulsarAlarms},
    catalog::{Catalog, MetaConnections, NamedShard, Primary, PrimaryClock},
    clock::{Clock, WallClock},
    config::{BackendKind, Config, redact},
    data_dir::database_path,
    gate::{Gate, embedded::EmbeddedGate, redis::RedisGate},
    ledger::{
        Ledger, Settle,
        router::Router,
        sql::{GroupLimits, Neighbours, ShardConnections, SqlLedger},
    },
};

/// Connections to the databases.
#[derive(Debug, Clone)]
pub struct Databases {
    /// One per shard.
    pub shards: Vec<ShardConnections>,
    /// Meta.
    pub meta: MetaConnections,
    /// For [`checkpoint`]; only the embedded database needs it.
    pub checkpoint: Option<DatabaseConnection>,
}

/// Opens the databases that the configuration names; the embedded one is made when it is missing.
///
/// # Errors
/// One plain sentence that names the database and the remedy.
pub async fn open(config: &Config) -> anyhow::Result<Databases> {
    match config.backend.kind {
        BackendKind::Embedded => {
            sqlite::open(&database_path(&config.storage.data_dir), &config.storage).await
        }
        BackendKind::Distributed => mysql::open(&config.mysql).await,
    }
}

/// Makes the databases ready to be served: the embedded one is brought up to date, the others must be,
/// and must be set to lose nothing.
///
/// # Errors
/// One plain sentence that names the database and the remedy.
pub async fn prepare(config: &Config, databases: &Databases) -> anyhow::Result<()> {
    match config.backend.kind {
        BackendKind::Embedded => migrate(databases).await.map(drop),
        BackendKind::Distributed => mysql::prepare(&config.mysql, databases).await,
    }
}

/// Brings the schema up to date; answers the names of the migrations applied.
///
/// # Errors
/// When the databases were written by a newer version, or cannot be written.
pub async fn migrate(databases: &Databases) -> anyhow::Result<Vec<String>> {
    let mut applied = migrate_one::<MetaMigrator>(&databases.meta.write).await?;
    for shard in &databases.shards {
        applied.extend(migrate_one::<ShardMigrator>(&shard.write).await?);
    }
    Ok(applied)
}

async fn migrate_one<M: MigratorTrait>(db: &DatabaseConnection) -> anyhow::Result<Vec<String>> {
    let lock = mysql::lock_migrations(db).await?;
    M::install(db).await.context("cannot write the table of migrations")?;
    refuse_newer::<M>(db).await?;
    let pending = M::get_pending_migrations(db).await?;
    let names = pending.iter().map(|migration| migration.name().to_owned()).collect();
    // Asked for only when there is something to do: it logs each time.
    if !pending.is_empty() {
        M::up(db, None).await.context("cannot bring the schema up to date")?;
    }
    lock.release().await?;
    Ok(names)
}

/// A database with a migration that this version does not know was written by a newer one.
async fn refuse_newer<M: MigratorTrait>(db: &DatabaseConnection) -> anyhow::Result<()> {
    let table = M::migration_table_name().to_string();
    let sql = format!("SELECT version FROM {table} ORDER BY version");
    let known: Vec<String> = M::migrations().iter().map(|m| m.name().to_owned()).collect();
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    for row in rows {
        let version: String = row.try_get_by_index(0)?;
        if !known.contains(&version) {
            bail!(
                "the database was written by a newer version (it has `{version}`); \
                 run that version or a later one, or choose another --data-dir"
            );
        }
    }
    Ok(())
}

/// The last id of the operation log on any shard; 0 when there is none.
///
/// # Errors
/// When a shard cannot be read.
pub async fn last_operation(databases: &Databases) -> anyhow::Result<i64> {
    let mut last = 0;
    for shard in &databases.shards {
        let sql = "SELECT COALESCE(MAX(operation_id), 0) FROM coupon_operation";
        let statement = Statement::from_string(shard.read.get_database_backend(), sql);
        if let Some(row) = shard.read.query_one_raw(statement).await? {
            last = last.max(row.try_get_by_index::<i64>(0)?);
        }
    }
    Ok(last)
}

/// A gate, as the use cases and as the ledger see it.
pub type GatePorts = (Arc<dyn Gate>, Arc<dyn Settle>);

/// The gate. One that cannot be reached is no reason not to start: claims go to the ledger meanwhile.
///
/// # Errors
/// A configuration that the client refuses.
pub async fn gate(config: &Config, router: &Router) -> anyhow::Result<GatePorts> {
    let templates_max = config.claims.gate_templates_max;
    match config.backend.kind {
        BackendKind::Embedded => {
            let gate = Arc::new(EmbeddedGate::new(templates_max));
            Ok((Arc::clone(&gate) as Arc<dyn Gate>, gate as Arc<dyn Settle>))
        }
        BackendKind::Distributed => {
            let gate = RedisGate::connect(&config.redis, templates_max, router.clone()).await?;
            Ok((Arc::clone(&gate) as Arc<dyn Gate>, gate as Arc<dyn Settle>))
        }
    }
}

/// Which shard every slot lives on: as dealt on the embedded back end, as stored on the distributed
/// one, where the first start stores it.
///
/// # Errors
/// One plain sentence: the configuration and the databases disagree.
pub async fn router(
    config: &Config,
    databases: &Databases,
    catalog: &Catalog,
) -> anyhow::Result<Router> {
    match config.backend.kind {
        BackendKind::Embedded => Ok(dealt(databases)),
        BackendKind::Distributed => Ok(catalog.slot_map(&named_shards(config, databases)).await?),
    }
}

/// The default map.
pub fn dealt(databases: &Databases) -> Router {
    Router::dealt(u16::try_from(databases.shards.len()).unwrap_or(u16::MAX))
}

fn named_shards(config: &Config, databases: &Databases) -> Vec<NamedShard> {
    let shards = config.mysql.shard_urls.iter().zip(&databases.shards).enumerate();
    let named = |(number, (url, shard)): (usize, (&String, &ShardConnections))| NamedShard {
        name: format!("shard {number} at {}", redact::url(url)),
        db: shard.write.clone(),
    };
    shards.map(named).collect()
}

/// The clocks that this node's is compared with; none on the embedded back end, whose is the same.
pub fn primaries(config: &Config, databases: &Databases) -> Vec<Arc<dyn Primary>> {
    if config.backend.kind == BackendKind::Embedded {
        return Vec::new();
    }
    let meta = NamedShard {
        name: format!("meta at {}", redact::url(&config.mysql.meta_url)),
        db: databases.meta.write.clone(),
    };
    let all = named_shards(config, databases).into_iter().chain([meta]);
    all.map(|NamedShard { name, db }| Arc::new(PrimaryClock::new(name, db)) as Arc<dyn Primary>)
        .collect()
}

/// The ledger over the shards.
pub fn ledger(
    config: &Config,
    router: Router,
    shards: Vec<ShardConnections>,
    neighbours: &Neighbours,
) -> Arc<dyn Ledger> {
    let limits = GroupLimits {
        give_group_max: config.claims.group_max,
        give_queue_max: config.claims.queue_max,
        redeem_group_max: config.redemptions.group_max,
        redeem_queue_max: config.redemptions.queue_max,
        attempts_max: config.claims.attempts_max,
    };
    let fold_lag = config.stats.fold_lag(config.backend.kind);
    Arc::new(SqlLedger::start(router, shards, limits, neighbours).with_fold_lag(fold_lag))
}

/// The alarm queue. On a test clock the broker carries what that clock says.
pub fn alarms(config: &Config, clock: &Arc<dyn Clock>, test_clock: bool) -> Arc<dyn AlarmQueue> {
    match config.backend.kind {
        BackendKind::Embedded => Arc::new(EmbeddedAlarms::new(Arc::clone(clock))),
        BackendKind::Distributed => {
            let wall: Arc<dyn Clock> = Arc::new(WallClock::default());
            let consume = config.backend.role.works();
            let broker = PulsarAlarms::connect(&config.pulsar, wall, consume);
            if test_clock {
                return Arc::new(ClockedAlarms::new(Arc::clone(clock), broker));
            }
            broker
        }
    }
}
