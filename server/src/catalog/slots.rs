//! The slot map (R14, R16): written to meta and to every shard at the first start, compared at every
//! other. Meta is written last: its row says that every shard has the map.

use sea_orm::{ActiveValue::Set, DatabaseConnection, EntityTrait, QueryOrder};

use super::{
    Catalog, CatalogError,
    entity::{shard_slot_map, slot_map},
    store::is_duplicate,
};
use crate::ledger::{
    LedgerError, ShardId,
    router::{BadSlotMap, Router},
};

/// The version of the map that is dealt at the first start.
const FIRST_VERSION: i64 = 1;

/// A shard's primary, in the order of the configuration.
#[derive(Debug, Clone)]
pub struct NamedShard {
    /// For people, such as `shard 1 at db-1:3306/coupon_1`; must not hold a password.
    pub name: String,
    /// Its primary.
    pub db: DatabaseConnection,
}

/// Why the slot map keeps the server from serving.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotMapError {
    /// More or fewer shards than the map knows.
    #[error(
        "{of} has a slot map of {map} shards, the configuration names {configured}: name exactly \
         those in mysql.shard_urls, in their order (another number is the move of \
         docs/operations.md)"
    )]
    ShardCount {
        /// Which database.
        of: String,
        /// In its map.
        map: i64,
        /// In the configuration.
        configured: u16,
    },
    /// A database answers that is another shard.
    #[error(
        "{name} says that it is shard {says}: put the addresses of mysql.shard_urls in the order of \
         the shards' numbers"
    )]
    Swapped {
        /// Which database was asked.
        name: String,
        /// The number it was given.
        says: i64,
    },
    /// The map is being moved.
    #[error(
        "{name} has slot map version {version}, meta has {meta}: finish the move of \
         docs/operations.md"
    )]
    Version {
        /// Which shard.
        name: String,
        /// Its version.
        version: i64,
        /// That of meta.
        meta: i64,
    },
    /// A shard that the platform has never served from, though it has served.
    #[error(
        "{name} has no slot map although meta has one: it is not the database that the platform was \
         started with; correct its address in mysql.shard_urls, or restore it from its backup"
    )]
    Missing {
        /// Which shard.
        name: String,
    },
    /// Same version, other content.
    #[error(
        "{name} and meta have different slot maps of version {version}: one of them belongs to \
         another platform; correct mysql.meta_url or mysql.shard_urls"
    )]
    Differs {
        /// Which shard.
        name: String,
        /// Of both.
        version: i64,
    },
    /// A shard has a later map, and meta none at all.
    #[error(
        "{name} has slot map version {version}, meta has none: mysql.meta_url is not the database \
         that the platform was started with; correct it, or restore it from its backup"
    )]
    NoMeta {
        /// Which shard.
        name: String,
        /// Its version.
        version: i64,
    },
    /// A stored map that is none.
    #[error("the slot map of {of} is broken, {error}: restore it from a backup or a shard")]
    Broken {
        /// Which database.
        of: String,
        /// What is wrong.
        error: BadSlotMap,
    },
    /// A database could not be asked or written.
    #[error("the slot map of {of} cannot be read or written: {error}")]
    Store {
        /// Which database.
        of: String,
        /// Why.
        error: CatalogError,
    },
}

/// A map as a database holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    version: i64,
    shards: i64,
    slots: String,
}

/// A shard's own map, with the number it was given.
type OfShard = (i64, Stored);

impl Catalog {
    /// The slot map that meta and all shards agree on; at the first start it is dealt out and written
    /// to them. Safe when several nodes start at once.
    ///
    /// # Errors
    /// In plain words why the databases and the configuration do not belong together.
    pub async fn slot_map(&self, shards: &[NamedShard]) -> Result<Router, SlotMapError> {
        let configured = u16::try_from(shards.len()).unwrap_or(u16::MAX);
        if let Some(meta) = self.meta_map().await? {
            return self.compare(&meta, shards, configured).await;
        }
        let dealt = Stored {
            version: FIRST_VERSION,
            shards: i64::from(configured),
            slots: Router::dealt(configured).to_text(),
        };
        for (number, shard) in (0..).zip(shards) {
            let found = match shard_map(shard).await? {
                Some(found) => found,
                None => write_shard(shard, number, &dealt).await?,
            };
            judge_first(shard, number, &found, &dealt)?;
        }
        let row = slot_map::ActiveModel {
            map_version: Set(dealt.version),
            shards: Set(dealt.shards),
            slots: Set(dealt.slots.clone()),
        };
        match slot_map::Entity::insert(row).exec_without_returning(&self.db.write).await {
            Ok(_) => tracing::info!(shards = configured, "slot map dealt"),
            // Another node was faster: see what it has written.
            Err(error) if is_duplicate(&error) => {}
            Err(error) => return Err(store("meta", error)),
        }
        let meta = self.meta_map().await?.unwrap_or(dealt);
        self.compare(&meta, shards, configured).await
    }

    async fn compare(
        &self,
        meta: &Stored,
        shards: &[NamedShard],
        configured: u16,
    ) -> Result<Router, SlotMapError> {
        let router = judge_meta(meta, configured)?;
        for (number, shard) in (0..).zip(shards) {
            let found = shard_map(shard).await?;
            judge_shard(&shard.name, number, found.as_ref(), meta)?;
        }
        Ok(router)
    }

    async fn meta_map(&self) -> Result<Option<Stored>, SlotMapError> {
        let row = slot_map::Entity::find()
            .order_by_desc(slot_map::Column::MapVersion)
            .one(&self.db.write)
            .await
            .map_err(|error| store("meta", error))?;
        let stored = |row: slot_map::Model| Stored {
            version: row.map_version,
            shards: row.shards,
            slots: row.slots,
        };
        Ok(row.map(stored))
    }
}

fn store(of: &str, error: impl Into<CatalogError>) -> SlotMapError {
    SlotMapError::Store { of: of.to_owned(), error: error.into() }
}

async fn shard_map(shard: &NamedShard) -> Result<Option<OfShard>, SlotMapError> {
    let row = shard_slot_map::Entity::find()
        .order_by_desc(shard_slot_map::Column::MapVersion)
        .one(&shard.db)
        .await
        .map_err(|error| store(&shard.name, error))?;
    Ok(row.map(|row| {
        let stored = Stored { version: row.map_version, shards: row.shards, slots: row.slots };
        (row.shard, stored)
    }))
}

/// Writes the first map; answers what is there now, which is another node's if that was faster.
async fn write_shard(
    shard: &NamedShard,
    number: ShardId,
    map: &Stored,
) -> Result<OfShard, SlotMapError> {
    let row = shard_slot_map::ActiveModel {
        map_version: Set(map.version),
        shard: Set(i64::from(number)),
        shards: Set(map.shards),
        slots: Set(map.slots.clone()),
    };
    match shard_slot_map::Entity::insert(row).exec_without_returning(&shard.db).await {
        Ok(_) => Ok((i64::from(number), map.clone())),
        Err(error) if is_duplicate(&error) => match shard_map(shard).await? {
            Some(found) => Ok(found),
            None => {
                let text = "its slot map came and went; start again".to_owned();
                Err(store(&shard.name, LedgerError::Unavailable(text)))
            }
        },
        Err(error) => Err(store(&shard.name, error)),
    }
}

/// At a first start: a shard that has a map has the one that is being dealt, from a start that was cut
/// off or is under way.
fn judge_first(
    shard: &NamedShard,
    number: ShardId,
    found: &OfShard,
    dealt: &Stored,
) -> Result<(), SlotMapError> {
    let (_, map) = found;
    if map.version != dealt.version {
        return Err(SlotMapError::NoMeta { name: shard.name.clone(), version: map.version });
    }
    if map.shards != dealt.shards {
        return Err(SlotMapError::ShardCount {
            of: shard.name.clone(),
            map: map.shards,
            configured: u16::try_from(dealt.shards).unwrap_or(u16::MAX),
        });
    }
    judge_shard(&shard.name, number, Some(found), dealt)
}

/// Meta's map is one, and of as many shards as are configured.
fn judge_meta(meta: &Stored, configured: u16) -> Result<Router, SlotMapError> {
    if meta.shards != i64::from(configured) {
        let (of, map) = ("meta".to_owned(), meta.shards);
        return Err(SlotMapError::ShardCount { of, map, configured });
    }
    Router::from_text(configured, &meta.slots)
        .map_err(|error| SlotMapError::Broken { of: "meta".to_owned(), error })
}

/// A shard has meta's map, and is the one that the configuration takes it for.
fn judge_shard(
    name: &str,
    number: ShardId,
    found: Option<&OfShard>,
    meta: &Stored,
) -> Result<(), SlotMapError> {
    let name = name.to_owned();
    let Some((says, map)) = found else { return Err(SlotMapError::Missing { name }) };
    if *says != i64::from(number) {
        return Err(SlotMapError::Swapped { name, says: *says });
    }
    if map.version != meta.version {
        return Err(SlotMapError::Version { name, version: map.version, meta: meta.version });
    }
    if map != meta {
        return Err(SlotMapError::Differs { name, version: map.version });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(version: i64, shards: u16) -> Stored {
        let slots = Router::dealt(shards).to_text();
        Stored { version, shards: i64::from(shards), slots }
    }

    fn say(found: Option<&OfShard>, meta: &Stored) -> String {
        judge_shard("shard 1 at HOST", 1, found, meta).unwrap_err().to_string()
    }

    #[test]
    fn a_shard_with_the_same_map_is_taken() {
        assert_eq!(judge_shard("s", 1, Some(&(1, map(1, 2))), &map(1, 2)), Ok(()));
        assert_eq!(judge_meta(&map(1, 2), 2).unwrap().shards(), 2);
    }

    #[test]
    fn whatever_does_not_belong_together_is_refused_in_plain_words() {
        let meta = map(1, 2);
        assert_eq!(
            say(Some(&(1, map(2, 2))), &meta),
            "shard 1 at HOST has slot map version 2, meta has 1: finish the move of \
             docs/operations.md"
        );
        assert!(say(Some(&(0, map(1, 2))), &meta).contains("says that it is shard 0"));
        assert!(say(None, &meta).contains("has no slot map although meta has one"));
        let other = Stored { slots: map(1, 3).slots, ..map(1, 2) };
        assert!(say(Some(&(1, other)), &meta).contains("different slot maps of version 1"));
        let refused = judge_meta(&meta, 3).unwrap_err().to_string();
        assert!(refused.starts_with("meta has a slot map of 2 shards, the configuration names 3"));
        let broken = Stored { slots: "[0,1]".to_owned(), ..map(1, 2) };
        assert!(matches!(judge_meta(&broken, 2), Err(SlotMapError::Broken { .. })));
    }
}
