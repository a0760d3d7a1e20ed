//! The templates of one round, and how it all ends.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use anyhow::{Context as _, bail};
use coupon_client::{
    ClientConfig, ClientError, CouponClient,
    prost_types::Timestamp,
    tonic::Code,
    v1::{self, CouponStatus},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{Instant, sleep};

use super::{
    checker::{Ending, FinalCoupon, FinalOrder, FinalTemplate},
    load::{OrderKey, order_state},
};

/// 2100-01-01, in seconds.
const FAR: i64 = 4_102_444_800;
/// Pieces of a template that does not run out.
const PLENTY: i64 = 1_000_000;
/// Reads under way at once.
const READS: usize = 32;
const PAGE: i32 = 200;
/// How long counts may take to agree with the coupons.
const COUNTS: Duration = Duration::from_secs(10);

/// The templates of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Few pieces, one each.
    pub hot: i64,
    /// Many pieces, one each.
    pub ample: i64,
    /// Many pieces, three each.
    pub triple: i64,
    /// Pieces of the hot one.
    pub hot_total: i64,
}

/// A client that waits out what is not yet mended.
///
/// # Errors
/// When nobody is there.
pub async fn patient(endpoint: &str) -> anyhow::Result<CouponClient> {
    let config = ClientConfig {
        channels: 4,
        deadline: Duration::from_secs(30),
        max_attempts: 40,
        ..ClientConfig::new(endpoint)
    };
    CouponClient::connect(config).await.with_context(|| format!("no node at {endpoint}"))
}

impl Stage {
    /// Makes and publishes the templates.
    ///
    /// # Errors
    /// When the platform refuses.
    pub async fn set(client: &CouponClient, hot_total: i64) -> anyhow::Result<Self> {
        Ok(Self {
            hot: publish(client, hot_total, 1).await?,
            ample: publish(client, PLENTY, 1).await?,
            triple: publish(client, PLENTY, 3).await?,
            hot_total,
        })
    }

    fn templates(&self) -> [(i64, i64, i64); 3] {
        [(self.hot, self.hot_total, 1), (self.ample, PLENTY, 1), (self.triple, PLENTY, 3)]
    }

    /// Reads what these users and orders have come to.
    ///
    /// # Errors
    /// When something cannot be read.
    pub async fn ending(
        &self,
        client: &CouponClient,
        users: &[i64],
        orders: &BTreeSet<OrderKey>,
    ) -> anyhow::Result<Ending> {
        let wallets = stream::iter(users.iter().copied())
            .map(|user| async move { anyhow::Ok((user, wallet(client, user).await?)) })
            .buffer_unordered(READS)
            .try_collect::<HashMap<_, _>>()
            .await?;
        let orders = stream::iter(orders.iter().cloned())
            .map(|key| async move { anyhow::Ok((key.clone(), order(client, &key).await?)) })
            .buffer_unordered(READS)
            .try_collect::<Vec<_>>()
            .await?;
        let orders = orders.into_iter().filter_map(|(key, order)| Some((key, order?))).collect();
        let mut templates = HashMap::new();
        for (template, total, limit) in self.templates() {
            let given = wallets.values().flatten();
            let held = given.filter(|held| held.template == template && !held.reissued).count();
            let held = i64::try_from(held).unwrap_or(i64::MAX);
            let issued = counted(client, template, held).await?;
            templates.insert(template, FinalTemplate { total, issued, limit });
        }
        Ok(Ending { wallets, orders, templates })
    }
}

async fn publish(client: &CouponClient, total: i64, limit: i32) -> anyhow::Result<i64> {
    let off = v1::DirectOff { amount_minor: 500 };
    let days = v1::use_window::AfterClaim { days: 30 };
    let rules = v1::TemplateRules {
        benefit: Some(v1::template_rules::Benefit::DirectOff(off)),
        currency_code: "CNY".to_owned(),
        scope: Some(v1::Scope { kind: Some(v1::scope::Kind::All(v1::scope::All {})) }),
        stacking: v1::Stacking::Stackable.into(),
        use_window: Some(v1::UseWindow { kind: Some(v1::use_window::Kind::AfterClaim(days)) }),
        time_zone: "Asia/Shanghai".to_owned(),
        per_user_limit: limit,
        audience: v1::Audience::Everyone.into(),
        restore_policy: v1::RestorePolicy::IfUnexpired.into(),
        restore_days: 0,
        ..v1::TemplateRules::default()
    };
    let template = v1::Template {
        display_name: "chaos".to_owned(),
        rules: Some(rules),
        total_count: total,
        claim_from: Some(Timestamp::default()),
        claim_until: Some(Timestamp { seconds: FAR, nanos: 0 }),
        ..Default::default()
    };
    let create = v1::CreateTemplateRequest { template: Some(template), ..Default::default() };
    let draft = client.create_template(create).await?.template;
    let template_id = draft.context("the draft is not told")?.template_id;
    let publish = v1::PublishTemplateRequest { template_id, bucket_count: 4, ..Default::default() };
    client.publish_template(publish).await?;
    Ok(template_id)
}

async fn wallet(client: &CouponClient, user_id: i64) -> anyhow::Result<Vec<FinalCoupon>> {
    let mut held = Vec::new();
    let mut request = v1::ListCouponsRequest { user_id, page_size: PAGE, ..Default::default() };
    loop {
        let page = client.list_coupons(request.clone()).await?;
        held.extend(page.coupons.iter().map(|coupon| FinalCoupon {
            coupon: coupon.coupon_id,
            template: coupon.template_id,
            status: CouponStatus::try_from(coupon.status).unwrap_or_default(),
            reissued: coupon.reissue_of != 0,
        }));
        if page.next_page_token.is_empty() {
            return Ok(held);
        }
        request.page_token = page.next_page_token;
    }
}

async fn order(client: &CouponClient, key: &OrderKey) -> anyhow::Result<Option<FinalOrder>> {
    let (user_id, order_id) = (key.0, key.1.clone());
    let found = client.get_redemption(v1::GetRedemptionRequest { user_id, order_id }).await;
    let found = match found {
        Ok(found) => found.redemption.context("a redemption is not told")?,
        Err(error) if is_not_found(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(state) = order_state(&found) else { bail!("order {} has no state", key.1) };
    let coupons = found.coupons.iter().map(|used| used.coupon_id).collect();
    Ok(Some(FinalOrder { redemption: found.redemption_id, state, coupons }))
}

fn is_not_found(error: &ClientError) -> bool {
    error.code() == Code::NotFound
}

/// The platform's own count, once it is the expected one or has had its time.
async fn counted(client: &CouponClient, template_id: i64, expected: i64) -> anyhow::Result<i64> {
    let end = Instant::now() + COUNTS;
    loop {
        let request = v1::GetTemplateStatsRequest { template_id };
        let issued = client.get_template_stats(request).await?.issued_count;
        if issued == expected || Instant::now() >= end {
            return Ok(issued);
        }
        sleep(Duration::from_millis(100)).await;
    }
}
