//! The schema, as append-only migrations: one set for every shard, one for the meta database.
//!
//! Each set keeps its own table of applied migrations, so that both can live in one database, as
//! they do on the embedded back end. A migration that has been released is never edited.
//!
//! MySQL commits each definition by itself, so a migration that is cut off stays half done: every
//! statement there can be run again. Nothing here keeps two runners apart; whoever runs migrations
//! on MySQL takes a lock first.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// The tables of one shard.
pub struct ShardMigrator;

impl MigratorTrait for ShardMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Script {
            name: "shard_0001_initial",
            sqlite: include_str!("sqlite/shard_0001.sql"),
            mysql: include_str!("mysql/shard_0001.sql"),
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
            mysql: include_str!("mysql/meta_0001.sql"),
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
    mysql: &'static str,
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
        let db = manager.get_connection();
        match manager.get_database_backend() {
            DbBackend::Sqlite => {
                db.execute_unprepared(self.sqlite).await?;
            }
            DbBackend::MySql => {
                for statement in statements(self.mysql) {
                    db.execute_unprepared(&statement).await?;
                }
            }
            other => {
                return Err(DbErr::Migration(format!(
                    "there is no schema for {other:?}; use the embedded SQLite file or MySQL"
                )));
            }
        }
        Ok(())
    }
}

/// The statements of a script: split at semicolons, without the lines that are comments.
fn statements(script: &str) -> Vec<String> {
    let kept: Vec<&str> =
        script.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let text = kept.join("\n");
    let statements = text.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    statements.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_split_into_statements() {
        let script = "-- One; two.\nCREATE TABLE a (\n    b INT\n);\n\n-- Three.\nINSERT x;\n";
        assert_eq!(statements(script), ["CREATE TABLE a (\n    b INT\n)", "INSERT x"]);
    }

    #[test]
    fn both_databases_have_the_same_tables() {
        let scripts = [
            (include_str!("sqlite/shard_0001.sql"), include_str!("mysql/shard_0001.sql")),
            (include_str!("sqlite/meta_0001.sql"), include_str!("mysql/meta_0001.sql")),
        ];
        for (sqlite, mysql) in scripts {
            assert_eq!(tables(sqlite), tables(mysql));
        }
    }

    /// (table, its columns) of a script, in order.
    fn tables(script: &str) -> Vec<(String, Vec<String>)> {
        let mut tables: Vec<(String, Vec<String>)> = Vec::new();
        for statement in statements(script) {
            let statement = statement.replace("IF NOT EXISTS ", "");
            let Some(rest) = statement.strip_prefix("CREATE TABLE ") else { continue };
            let (name, body) = rest.split_once('(').expect("columns");
            let columns = body.lines().filter_map(|line| line.split_whitespace().next());
            let columns =
                columns.filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
            tables.push((name.trim().to_owned(), columns.map(str::to_owned).collect()));
        }
        tables
    }
}
