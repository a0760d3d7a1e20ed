//! A ledger under test with what it stands between, and short words for commands.

mod commands;
mod heard;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use coupon_domain::{
    ids::{CouponId, TemplateId},
    money::{Currency, Minor},
    rules::{Benefit, KeptDiscount, RestorePolicy, Rules, Stacking, UseWindow},
    template::{Template, TemplateState},
    time::{TimeZone, Timestamp},
};
use coupon_server::{
    catalog::{Catalog, Recorded, TemplateChange},
    ledger::{AlarmBell, Fresh, GivenCoupon, Ledger, Settle, StoredCoupon},
    mint::Mint,
};

pub(crate) use self::{
    commands::{
        TTL, cart, deadline, force_command, issue_at, refund_command, refused, rejected, submitted,
        user_id,
    },
    heard::Heard,
};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3_600);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const MS: Duration = Duration::from_millis(1);

/// Where the time of every check begins: a full minute, the start of a day.
pub(crate) fn start() -> Timestamp {
    Timestamp::from_millis(crate::harness::START_MS)
}

/// Sizes of groups and queues.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) group_max: usize,
    pub(crate) queue_max: usize,
}

/// What a process holds once it has opened its ledger.
pub(crate) struct Opened {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) mint: Arc<Mint>,
}

/// A back end of the ledger. Implement it, and add a line to the suites.
#[async_trait]
pub(crate) trait LedgerUnderTest: Send + Sync {
    /// Opens the store as a starting process does: nothing is kept of an earlier opening but what is
    /// stored.
    async fn open(&self, shape: Shape, settle: Arc<dyn Settle>, bell: Arc<dyn AlarmBell>)
    -> Opened;

    /// Every invariant that the stored rows violate.
    async fn audit(&self) -> Vec<String>;
}

/// What a template offers.
pub(crate) struct Offer {
    pub(crate) total: i64,
    pub(crate) limit: i32,
    pub(crate) buckets: u16,
    pub(crate) window: UseWindow,
    pub(crate) restore: RestorePolicy,
    pub(crate) stacking: Stacking,
    pub(crate) benefit: Benefit,
    pub(crate) kept_discount: KeptDiscount,
}

impl Default for Offer {
    /// A hundred stackable coupons in four buckets, one for each user, 100 off, valid for 9 days.
    fn default() -> Self {
        Self {
            total: 100,
            limit: 1,
            buckets: 4,
            window: UseWindow::AfterClaim { days: 9 },
            restore: RestorePolicy::IfUnexpired,
            stacking: Stacking::Stackable,
            benefit: Benefit::DirectOff { amount: Minor::new(100) },
            kept_discount: KeptDiscount::Keep,
        }
    }
}

impl Offer {
    fn rules(&self) -> Rules {
        let currency = Currency::parse("CNY").expect("a currency");
        let time_zone = TimeZone::parse("UTC").expect("a time zone");
        Rules {
            stacking: self.stacking.clone(),
            use_window: self.window,
            per_user_limit: self.limit,
            restore: self.restore,
            kept_discount: self.kept_discount,
            ..Rules::plain(self.benefit, currency, time_zone)
        }
    }
}

/// A ledger under test, open.
pub(crate) struct World {
    under_test: Box<dyn LedgerUnderTest>,
    shape: Shape,
    settle: Arc<dyn Settle>,
    bell: Arc<dyn AlarmBell>,
    opened: Option<Opened>,
    /// The instant at which commands are given.
    pub(crate) now: Timestamp,
    /// What the ledger told its neighbours, where they are not a gate and a relay.
    pub(crate) heard: Arc<Heard>,
}

impl World {
    /// Opens the ledger; a neighbour that is not given only listens.
    pub(crate) async fn start(
        under_test: Box<dyn LedgerUnderTest>,
        shape: Shape,
        settle: Option<Arc<dyn Settle>>,
        bell: Option<Arc<dyn AlarmBell>>,
    ) -> Self {
        let heard = Arc::new(Heard::default());
        let settle = settle.unwrap_or_else(|| Arc::clone(&heard) as Arc<dyn Settle>);
        let bell = bell.unwrap_or_else(|| Arc::clone(&heard) as Arc<dyn AlarmBell>);
        let mut world = Self { under_test, shape, settle, bell, opened: None, now: start(), heard };
        world.restart().await;
        world
    }

    /// The process dies, without a word to the store, and comes again.
    pub(crate) async fn restart(&mut self) {
        self.opened = None;
        let (settle, bell) = (Arc::clone(&self.settle), Arc::clone(&self.bell));
        self.opened = Some(self.under_test.open(self.shape, settle, bell).await);
    }

    /// As [`Self::restart`], with other sizes.
    pub(crate) async fn restart_with(&mut self, shape: Shape) {
        self.shape = shape;
        self.restart().await;
    }

    /// As [`Self::restart`], with somebody else to learn the outcomes.
    pub(crate) async fn restart_with_settle(&mut self, settle: Arc<dyn Settle>) {
        self.settle = settle;
        self.restart().await;
    }

    /// The end: whatever was done, the rows tell one sound story.
    pub(crate) async fn finish(&self) {
        assert_eq!(self.under_test.audit().await, Vec::<String>::new());
    }

    /// What [`Self::finish`] would find.
    pub(crate) async fn violations(&self) -> Vec<String> {
        self.under_test.audit().await
    }

    /// What the process holds.
    pub(crate) fn opened(&self) -> &Opened {
        self.opened.as_ref().expect("the world is open between restarts")
    }

    pub(crate) fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.opened().ledger
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    /// Stores a template, hands its stock out and opens it.
    pub(crate) async fn publish(&self, offer: Offer) -> Arc<Template> {
        let Opened { ledger, catalog, mint } = self.opened();
        let id = mint.template().expect("the lease is fresh");
        let draft = Template {
            id,
            display_name: "conformance".to_owned(),
            merchant: 0,
            state: TemplateState::Draft,
            rules: Arc::new(offer.rules()),
            total: offer.total,
            claim_from: self.now,
            claim_until: self.now.plus(DAY),
            buckets: 0,
            version: 1,
            created_at: self.now,
            published_at: None,
        };
        let draft = catalog.create(draft, &self.record("create", id)).await.expect("stored");
        let granted = ledger.grant(id, offer.buckets, offer.total).await;
        assert_eq!(granted.expect("granted").pieces, offer.total);
        let change = TemplateChange {
            state: Some(TemplateState::Active),
            published: Some((offer.buckets, self.now)),
            ..TemplateChange::default()
        };
        let published = catalog.change(&draft, &change, &self.record("publish", id)).await;
        ledger.set_open(id, true).await.expect("opened");
        published.expect("published")
    }

    /// Raises a template's total.
    pub(crate) async fn raise(&self, template: &Template, total: i64) -> Arc<Template> {
        let raised = self.raise_in_catalog(template, total).await;
        let granted = self.ledger().grant(template.id, template.buckets, total).await;
        assert_eq!(granted.expect("granted").pieces, total - template.total);
        raised
    }

    /// Raises a template's total where it is written down; the stock is not handed out yet.
    pub(crate) async fn raise_in_catalog(&self, template: &Template, total: i64) -> Arc<Template> {
        let change = TemplateChange { total: Some(total), ..TemplateChange::default() };
        let record = self.record(&format!("raise to {total}"), template.id);
        self.opened().catalog.change(template, &change, &record).await.expect("raised")
    }

    fn record(&self, what: &str, id: TemplateId) -> Recorded {
        let request_id = format!("{what} {id}");
        let fingerprint = coupon_domain::fingerprint::Fingerprinter::new(&request_id).finish();
        Recorded { request_id, fingerprint, subject: id.get(), at: self.now }
    }

    /// Pieces granted and issued by all buckets together, each bucket within its bounds.
    pub(crate) async fn stock(&self, template: TemplateId) -> (i64, i64) {
        let rows = self.ledger().buckets(template).await.expect("buckets");
        for (_, row) in &rows {
            assert!((0..=row.granted).contains(&row.issued), "{row:?}");
        }
        let sum = |of: fn(&coupon_domain::stock::Bucket) -> i64| {
            rows.iter().map(|(_, row)| of(row)).sum()
        };
        (sum(|row| row.granted), sum(|row| row.issued))
    }

    /// A coupon as stored.
    pub(crate) async fn coupon(&self, user: i64, id: CouponId) -> StoredCoupon {
        let found = self.ledger().coupon(user_id(user), id, Fresh::Latest).await.expect("readable");
        found.unwrap_or_else(|| panic!("user {user} has no coupon {id}"))
    }

    /// What a user holds of a template.
    pub(crate) async fn held(&self, user: i64, template: TemplateId) -> Vec<GivenCoupon> {
        let held = self.ledger().held(user_id(user), template).await.expect("readable");
        held.into_iter().map(|holding| holding.coupon).collect()
    }
}

/// The first `count` users who draw from bucket `bucket` of `buckets`.
pub(crate) fn users_of_bucket(buckets: u16, bucket: u16, count: usize) -> Vec<i64> {
    let draws = |user: &i64| user_id(*user).slot().bucket(buckets) == bucket;
    (1..).filter(draws).take(count).collect()
}

/// A user's ids of coupons, in no order.
pub(crate) fn sorted(mut ids: Vec<CouponId>) -> Vec<CouponId> {
    ids.sort_unstable();
    ids
}

/// A fixed window that begins now or before.
pub(crate) fn until(valid_until: Timestamp) -> UseWindow {
    UseWindow::Fixed { from: start(), until: valid_until }
}
