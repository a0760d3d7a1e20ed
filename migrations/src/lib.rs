//! The schema, as append-only migrations: one set for every shard, one for the meta database.
//!
//! Each set keeps its own table of applied migrations, so that both can live in one database, as
//! they do on the embedded back end. A migration that has been released is never edited.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// The tables of one shard.
pub struct ShardMigrator;

impl MigratorTrait for ShardMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Script {
            name: "shard_0001_initial",
            sqlite: include_str!("sqlite/shard_0001.sql"),
        })]
    }

    fn migration_table_name() -> DynIden {
        "shard_migration".into_iden()
    }
}

/// The tables of the meta database.
pub struct MetaMigrator;

impl MigratorTrait for MetaMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Script {
            name: "meta_0001_initial",
            sqlite: include_str!("sqlite/meta_0001.sql"),
        })]
    }

    fn migration_table_name() -> DynIden {
        "meta_migration".into_iden()
    }
}

/// A migration written as SQL, one text per database.
struct Script {
    name: &'static str,
    sqlite: &'static str,
}

impl MigrationName for Script {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
#[allow(elided_lifetimes_in_paths, reason = "the trait's own signature elides it")]
impl MigrationTrait for Script {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let script = match manager.get_database_backend() {
            DbBackend::Sqlite => self.sqlite,
            other => {
                return Err(DbErr::Migration(format!(
                    "there is no schema for {other:?}; use the embedded SQLite file"
                )));
            }
        };
        manager.get_connection().execute_unprepared(script).await?;
        Ok(())
    }
}
