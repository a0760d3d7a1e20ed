//! One round: a scarce and an ample template, a storm on both, a kill, and what must hold after it.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use coupon_client::{ClientConfig, CouponClient, v1};
use futures::{StreamExt as _, stream};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use tokio::{sync::Notify, task::JoinHandle};

use super::shopper::{Plan, Shopper};
use crate::harness::given::{after_claim, instant, rules, template_of};

/// Users of each template.
const USERS: i64 = 150;
/// Pieces of the scarce one.
const SCARCE: i64 = 60;
/// Shoppers who act at once.
const AT_ONCE: usize = 24;
/// Checks under way at once.
const CHECKS: usize = 32;
/// 2100-01-01, in milliseconds.
const FAR: i64 = 4_102_444_800_000;

/// What a round knows.
pub(super) struct Round {
    scarce: i64,
    shoppers: Vec<Shopper>,
    storm: Vec<JoinHandle<Vec<Shopper>>>,
}

async fn publish(client: &CouponClient, total: i64) -> i64 {
    let template = v1::Template {
        claim_from: Some(instant(0)),
        claim_until: Some(instant(FAR)),
        ..template_of(total, v1::TemplateRules { use_window: after_claim(30), ..rules() })
    };
    let create = v1::CreateTemplateRequest { template: Some(template), ..Default::default() };
    let draft = client.create_template(create).await.expect("a draft").template;
    let template_id = draft.expect("the draft").template_id;
    let publish = v1::PublishTemplateRequest { template_id, bucket_count: 8, ..Default::default() };
    client.publish_template(publish).await.expect("published");
    template_id
}

/// Runs one check for each shopper, several at once.
async fn each<F: Future<Output = ()>>(checks: impl Iterator<Item = F>) {
    stream::iter(checks).buffer_unordered(CHECKS).collect::<Vec<()>>().await;
}

impl Round {
    /// Publishes the templates and draws the shoppers, in an order and with plans of their own.
    pub(super) async fn prepare(client: &CouponClient, number: u64, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let scarce = publish(client, SCARCE).await;
        let ample = publish(client, 10 * USERS).await;
        let first = i64::try_from(number).expect("small") * 1_000;
        let mut shoppers = Vec::new();
        for template in [scarce, ample] {
            for user in first + 1..=first + USERS {
                let plan = [Plan::Keep, Plan::Pay, Plan::GiveUp][random.random_range(0..3)];
                shoppers.push(Shopper::new(user, template, plan));
            }
        }
        shoppers.shuffle(&mut random);
        Self { scarce, shoppers, storm: Vec::new() }
    }

    /// Lets the shoppers loose; returns when `until` answers have arrived or all are through, while
    /// the others go on.
    pub(super) async fn storm(&mut self, endpoint: &str, until: u64) {
        let config = ClientConfig { max_attempts: 1, ..ClientConfig::new(endpoint) };
        let client = CouponClient::connect(config).await.expect("connected");
        let (answers, enough) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let shoppers = std::mem::take(&mut self.shoppers);
        let share = shoppers.len().div_ceil(AT_ONCE);
        for crowd in shoppers.chunks(share) {
            let (client, mut crowd) = (client.clone(), crowd.to_vec());
            let (answers, enough) = (Arc::clone(&answers), Arc::clone(&enough));
            self.storm.push(tokio::spawn(async move {
                for shopper in &mut crowd {
                    while shopper.step(&client).await {
                        if answers.fetch_add(1, Ordering::SeqCst) + 1 == until {
                            enough.notify_one();
                        }
                    }
                }
                crowd
            }));
        }
        let all_through = async {
            crate::harness::eventually("the storm is over", async || {
                self.storm.iter().all(JoinHandle::is_finished).then_some(())
            })
            .await;
        };
        tokio::select! {
            () = enough.notified() => {}
            () = all_through => {}
        }
    }

    /// Collects what was acknowledged before the kill.
    pub(super) async fn crashed(&mut self) {
        for crowd in std::mem::take(&mut self.storm) {
            self.shoppers.extend(crowd.await.expect("no shopper was told something wrong"));
        }
        let answers: u64 = self.shoppers.iter().map(|shopper| shopper.answers).sum();
        let won = self.shoppers.iter().filter(|shopper| shopper.won.is_some()).count();
        eprintln!("killed after {answers} answers, {won} wins among them");
    }

    /// Everything acknowledged is there, and answers the same again.
    pub(super) async fn assert_kept(&self, client: &CouponClient) {
        each(self.shoppers.iter().map(|shopper| async move {
            shopper.assert_kept(client).await;
            shopper.assert_replayed(client).await;
        }))
        .await;
    }

    /// Everybody goes the way to its end; then exactly what there was is given.
    pub(super) async fn settle(&mut self, client: &CouponClient) {
        each(self.shoppers.iter_mut().map(|shopper| shopper.finish(client))).await;
        self.assert_settled(client).await;
    }

    /// Every shopper is where the way ends, each template has given what it had, and no coupon is
    /// two shoppers'.
    pub(super) async fn assert_settled(&self, client: &CouponClient) {
        each(self.shoppers.iter().map(|shopper| shopper.assert_ended(client))).await;
        let mut coupons: Vec<i64> = Vec::new();
        for (template_id, expected) in self.templates() {
            let of = self.shoppers.iter().filter(|shopper| shopper.template == template_id);
            let won = of.filter_map(|shopper| shopper.won.as_ref()).map(|won| won.coupon_id);
            let before = coupons.len();
            coupons.extend(won);
            let given = i64::try_from(coupons.len() - before).expect("small");
            assert_eq!(given, expected, "template {template_id}");
            let request = v1::GetTemplateStatsRequest { template_id };
            let stats = client.get_template_stats(request).await.expect("counts");
            assert_eq!(stats.issued_count, expected, "template {template_id}");
        }
        let count = coupons.len();
        coupons.sort_unstable();
        coupons.dedup();
        assert_eq!(coupons.len(), count, "a coupon is two shoppers'");
    }

    /// The templates, and how many pieces of each are given in the end.
    fn templates(&self) -> [(i64, i64); 2] {
        let ample = self.shoppers.iter().map(|shopper| shopper.template);
        let ample = ample.into_iter().find(|template| *template != self.scarce);
        [(self.scarce, SCARCE), (ample.expect("both have shoppers"), USERS)]
    }
}
