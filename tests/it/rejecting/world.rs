//! What the requests of the table are about, and how to see whether anything has changed.

use coupon_proto::{
    dev::{GetClockRequest, clock_service_client::ClockServiceClient},
    v1::{
        self, coupon_service_client::CouponServiceClient,
        redemption_service_client::RedemptionServiceClient,
        template_service_client::TemplateServiceClient,
    },
};
use tonic::transport::Channel;

use super::valid;
use crate::harness::Harness;

/// A server with a template in each state and coupons in several, reached without the SDK, which
/// would mint empty request ids.
#[derive(Clone)]
pub(super) struct World {
    channel: Channel,
    /// The server's time at the beginning.
    pub(super) started: prost_types::Timestamp,
    /// Owner of every coupon.
    pub(super) user: i64,
    /// Templates: claimable, to be published, to be paused, to be resumed, to be ended, for named
    /// users.
    pub(super) active: i64,
    pub(super) draft: i64,
    pub(super) running: i64,
    pub(super) paused: i64,
    pub(super) ending: i64,
    pub(super) named: i64,
    /// Coupons: two in the wallet, and one in each order named by the constants.
    pub(super) free: i64,
    pub(super) to_void: i64,
    pub(super) to_confirm: i64,
    pub(super) to_cancel: i64,
    pub(super) confirmed: i64,
}

/// The order that an operator is to confirm.
pub(super) const ORDER_TO_FORCE_CONFIRM: &str = "order-to-force-confirm";
/// The order that an operator is to cancel.
pub(super) const ORDER_TO_FORCE_CANCEL: &str = "order-to-force-cancel";
/// The order that holds `to_confirm`.
pub(super) const ORDER_TO_CONFIRM: &str = "order-to-confirm";
/// The order that holds `to_cancel`.
pub(super) const ORDER_TO_CANCEL: &str = "order-to-cancel";
/// The order that has used `confirmed`.
pub(super) const ORDER_CONFIRMED: &str = "order-confirmed";
/// An order that nothing was locked for.
pub(super) const ORDER_NEW: &str = "order-new";

/// All that a malformed request could have changed.
#[derive(Debug, PartialEq)]
pub(super) struct Snapshot {
    now: prost_types::Timestamp,
    templates: Vec<v1::Template>,
    issued: Vec<i64>,
    coupons: Vec<v1::Coupon>,
    redemptions: Vec<Option<v1::Redemption>>,
}

impl World {
    pub(super) async fn create(harness: &Harness) -> Self {
        let endpoint = Channel::from_shared(harness.endpoint()).expect("an endpoint");
        let mut world = Self {
            channel: endpoint.connect().await.expect("a connection"),
            started: prost_types::Timestamp::default(),
            user: 420_042,
            active: 0,
            draft: 0,
            running: 0,
            paused: 0,
            ending: 0,
            named: 0,
            free: 0,
            to_void: 0,
            to_confirm: 0,
            to_cancel: 0,
            confirmed: 0,
        };
        world.started = world.now().await;
        world.draft = world.drafted("draft").await;
        for name in ["active", "running", "paused", "ending", "named"] {
            let template = world.published(name).await;
            match name {
                "active" => world.active = template,
                "running" => world.running = template,
                "paused" => world.paused = template,
                "ending" => world.ending = template,
                _ => world.named = template,
            }
        }
        let mut pause = valid::pause_template(&world);
        pause.template_id = world.paused;
        pause.request_id = "setup-pause".to_owned();
        world.templates().pause_template(pause).await.expect("paused");
        world.free = world.claimed("free").await;
        world.to_void = world.claimed("to-void").await;
        world.to_confirm = world.locked("to-confirm", ORDER_TO_CONFIRM).await;
        world.to_cancel = world.locked("to-cancel", ORDER_TO_CANCEL).await;
        world.locked("to-force-confirm", ORDER_TO_FORCE_CONFIRM).await;
        world.locked("to-force-cancel", ORDER_TO_FORCE_CANCEL).await;
        world.confirmed = world.locked("confirmed", ORDER_CONFIRMED).await;
        let confirm = v1::ConfirmRequest {
            order_id: ORDER_CONFIRMED.to_owned(),
            request_id: "setup-confirm".to_owned(),
            coupon_ids: Vec::new(),
            ..valid::confirm(&world)
        };
        world.redemptions().confirm(confirm).await.expect("confirmed");
        world
    }

    pub(super) fn templates(&self) -> TemplateServiceClient<Channel> {
        TemplateServiceClient::new(self.channel.clone())
    }

    pub(super) fn coupons(&self) -> CouponServiceClient<Channel> {
        CouponServiceClient::new(self.channel.clone())
    }

    pub(super) fn redemptions(&self) -> RedemptionServiceClient<Channel> {
        RedemptionServiceClient::new(self.channel.clone())
    }

    pub(super) fn clock(&self) -> ClockServiceClient<Channel> {
        ClockServiceClient::new(self.channel.clone())
    }

    async fn now(&self) -> prost_types::Timestamp {
        let clock = self.clock().get_clock(GetClockRequest {}).await.expect("a test clock");
        clock.into_inner().now.expect("a time")
    }

    async fn drafted(&self, name: &str) -> i64 {
        let mut request = valid::create_template(self);
        request.request_id = format!("setup-create-{name}");
        if let Some(rules) = request.template.as_mut().and_then(|t| t.rules.as_mut())
            && name == "named"
        {
            rules.audience = v1::Audience::Named.into();
        }
        let answer = self.templates().create_template(request).await.expect("created");
        answer.into_inner().template.expect("a template").template_id
    }

    async fn published(&self, name: &str) -> i64 {
        let request = v1::PublishTemplateRequest {
            request_id: format!("setup-publish-{name}"),
            template_id: self.drafted(name).await,
            bucket_count: 0,
        };
        let answer = self.templates().publish_template(request).await.expect("published");
        answer.into_inner().template.expect("a template").template_id
    }

    async fn claimed(&self, name: &str) -> i64 {
        let mut request = valid::claim(self);
        request.request_id = format!("setup-claim-{name}");
        let answer = self.coupons().claim(request).await.expect("claimed");
        answer.into_inner().coupon.expect("a coupon").coupon_id
    }

    async fn locked(&self, name: &str, order: &str) -> i64 {
        let coupon = self.claimed(name).await;
        let mut request = valid::lock(self);
        request.request_id = format!("setup-lock-{name}");
        request.order_id = order.to_owned();
        request.coupon_ids = vec![coupon];
        self.redemptions().lock(request).await.expect("locked");
        coupon
    }

    pub(super) async fn snapshot(&self) -> Snapshot {
        let list = v1::ListTemplatesRequest { page_size: 200, ..Default::default() };
        let listed = self.templates().list_templates(list).await.expect("templates");
        let templates = listed.into_inner().templates;
        let mut issued = Vec::new();
        for template in &templates {
            let request = v1::GetTemplateStatsRequest { template_id: template.template_id };
            let stats = self.templates().get_template_stats(request).await.expect("counts");
            issued.push(stats.into_inner().issued_count);
        }
        let mut coupons = Vec::new();
        for user_id in [self.user, self.user + 1] {
            let request = v1::ListCouponsRequest { user_id, page_size: 200, ..Default::default() };
            let wallet = self.coupons().list_coupons(request).await.expect("coupons");
            coupons.extend(wallet.into_inner().coupons);
        }
        let mut redemptions = Vec::new();
        for order in [
            ORDER_TO_CONFIRM,
            ORDER_TO_CANCEL,
            ORDER_TO_FORCE_CONFIRM,
            ORDER_TO_FORCE_CANCEL,
            ORDER_CONFIRMED,
            ORDER_NEW,
        ] {
            let request =
                v1::GetRedemptionRequest { user_id: self.user, order_id: order.to_owned() };
            let found = self.redemptions().get_redemption(request).await.ok();
            redemptions.push(found.and_then(|found| found.into_inner().redemption));
        }
        let now = self.now().await;
        Snapshot { now, templates, issued, coupons, redemptions }
    }
}
