//! Rows of the meta database.
#![allow(unreachable_pub, reason = "the entity macros ask for public items")]

/// `template`.
pub(super) mod template {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "template")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub template_id: i64,
        pub rule_id: i64,
        pub display_name: String,
        pub merchant_id: i64,
        pub state: i32,
        pub total_count: i64,
        pub claim_from: i64,
        pub claim_until: i64,
        pub buckets: i32,
        pub version: i32,
        pub created_at: i64,
        pub published_at: Option<i64>,
        pub changed_at: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// `rule`: what is frozen at publish, as JSON (R33, R34).
pub(super) mod rule {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "rule")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub rule_id: i64,
        pub content: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// `request_log`.
pub(super) mod request_log {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "request_log")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub caller: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub request_id: String,
        pub fingerprint: i64,
        pub subject_id: i64,
        pub at: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// `node`.
pub(super) mod node {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "node")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub node_id: i64,
        pub minted_until: i64,
        pub holder: String,
        pub leased_until: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// `loop_lease`.
pub(super) mod loop_lease {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "loop_lease")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        pub holder: String,
        pub leased_until: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// `slot_map`, in meta.
pub(super) mod slot_map {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "slot_map")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub map_version: i64,
        pub shards: i64,
        pub slots: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// `shard_slot_map`, on every shard.
pub(super) mod shard_slot_map {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "shard_slot_map")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub map_version: i64,
        pub shard: i64,
        pub shards: i64,
        pub slots: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// `test_clock`.
pub(super) mod test_clock {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "test_clock")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub clock_id: i64,
        pub now: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}
