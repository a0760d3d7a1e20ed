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
