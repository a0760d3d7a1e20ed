//! How a replay ended, seen from both sides: the users' lists and the templates' statistics.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use coupon_client::CouponClient;
use coupon_client::v1::{
    Coupon, CouponStatus, GetTemplateStatsRequest, GetTemplateStatsResponse, ListCouponsRequest,
};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::data::Journey;
use super::report::StatusCounts;
use super::tally::Tally;

/// Largest page of ListCoupons.
const PAGE_SIZE: i32 = 200;
/// How long the statistics, which are folded behind the writes, may take to catch up.
const FOLD_PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks at them.
const FOLD_PAUSE: Duration = Duration::from_millis(200);

/// Counts all coupons by stored status (from the statistics) and by effective status (from the
/// users' lists), in this order, and notes in the tally whatever does not fit.
pub(crate) async fn audit(
    client: &CouponClient,
    journey: &Journey,
    template_ids: &[i64],
    in_flight: usize,
    tally: &mut Tally,
) -> Result<(StatusCounts, StatusCounts)> {
    let templates: Vec<i64> = template_ids.iter().copied().filter(|id| *id > 0).collect();
    let ours: HashSet<i64> = templates.iter().copied().collect();
    let users: BTreeSet<i64> =
        journey.campaigns.iter().flat_map(|campaign| campaign.recipients.iter().copied()).collect();
    let walked: Vec<StatusCounts> = stream::iter(users)
        .map(|user_id| walk(client, user_id, &ours))
        .buffer_unordered(in_flight)
        .try_collect()
        .await?;
    let listed = walked.into_iter().fold(StatusCounts::default(), StatusCounts::plus);
    let stats = settled_stats(client, &templates, in_flight, tally.used).await?;
    let stored = stats.iter().map(stored_counts).fold(StatusCounts::default(), StatusCounts::plus);
    let issued: i64 = stats.iter().map(|stats| stats.issued_count).sum();

    check_stock(journey, template_ids, &stats, tally);
    tally.expect_equal("issued by the statistics", issued.unsigned_abs(), tally.issued);
    tally.expect_equal("coupons in the lists", listed.total(), tally.issued);
    for (name, counts) in [("statistics", stored), ("lists", listed)] {
        tally.expect_equal(&format!("used by the {name}"), counts.used, tally.used);
        tally.expect_equal(&format!("available by the {name}"), counts.available, 0);
        tally.expect_equal(&format!("locked by the {name}"), counts.locked, 0);
        tally.expect_equal(&format!("voided by the {name}"), counts.voided, 0);
        let rest = tally.issued.saturating_sub(tally.used);
        tally.expect_equal(&format!("expired by the {name}"), counts.expired, rest);
    }
    let judged = tally.verdicts.iter().flatten().count() as u64;
    let attached = journey.redemptions.iter().filter(|row| row.attached).count() as u64;
    tally.expect_equal("redemptions judged", judged, attached);
    Ok((stored, listed))
}

/// Every template must have given exactly its stock.
fn check_stock(
    journey: &Journey,
    template_ids: &[i64],
    stats: &[GetTemplateStatsResponse],
    tally: &mut Tally,
) {
    let by_id: HashMap<i64, &GetTemplateStatsResponse> =
        stats.iter().map(|stats| (stats.template_id, stats)).collect();
    for (coupon, template_id) in journey.coupons.iter().zip(template_ids) {
        let Some(stats) = by_id.get(template_id) else {
            continue;
        };
        let recipients = journey.campaigns[coupon.campaign].recipients.len() as u64;
        let stock = recipients * u64::from(coupon.per_household.unsigned_abs());
        let what = format!("issued of template {template_id}");
        tally.expect_equal(&what, stats.issued_count.unsigned_abs(), stock);
    }
}

/// Counts one user's coupons of our templates, page by page.
async fn walk(client: &CouponClient, user_id: i64, ours: &HashSet<i64>) -> Result<StatusCounts> {
    let mut counts = StatusCounts::default();
    let mut page_token = String::new();
    loop {
        let request = ListCouponsRequest {
            user_id,
            page_size: PAGE_SIZE,
            page_token,
            ..ListCouponsRequest::default()
        };
        let page = client.list_coupons(request).await;
        let page = page.with_context(|| format!("cannot list the coupons of user {user_id}"))?;
        let coupons = page.coupons.iter().filter(|coupon| ours.contains(&coupon.template_id));
        for coupon in coupons {
            counts.add(coupon)?;
        }
        if page.next_page_token.is_empty() {
            return Ok(counts);
        }
        page_token = page.next_page_token;
    }
}

/// The statistics of all templates, once they know of as many used coupons as there are and of
/// nothing left in wallets, or as they stand when patience ends.
async fn settled_stats(
    client: &CouponClient,
    templates: &[i64],
    in_flight: usize,
    used: u64,
) -> Result<Vec<GetTemplateStatsResponse>> {
    let started = Instant::now();
    loop {
        let stats: Vec<GetTemplateStatsResponse> = stream::iter(templates)
            .map(|&template_id| async move {
                let answer =
                    client.get_template_stats(GetTemplateStatsRequest { template_id }).await;
                answer.with_context(|| format!("cannot read the statistics of {template_id}"))
            })
            .buffer_unordered(in_flight)
            .try_collect()
            .await?;
        let counts =
            stats.iter().map(stored_counts).fold(StatusCounts::default(), StatusCounts::plus);
        let settled = counts.used == used && counts.available == 0 && counts.locked == 0;
        if settled || started.elapsed() > FOLD_PATIENCE {
            return Ok(stats);
        }
        tokio::time::sleep(FOLD_PAUSE).await;
    }
}

fn stored_counts(stats: &GetTemplateStatsResponse) -> StatusCounts {
    let gone = stats.locked_count + stats.used_count + stats.expired_count + stats.voided_count;
    let available = stats.issued_count + stats.reissued_count - gone;
    StatusCounts {
        // Below zero would be a miscount of the server: kept visible as an absurd figure.
        available: available.unsigned_abs(),
        locked: stats.locked_count.unsigned_abs(),
        used: stats.used_count.unsigned_abs(),
        expired: stats.expired_count.unsigned_abs(),
        voided: stats.voided_count.unsigned_abs(),
    }
}

impl StatusCounts {
    fn add(&mut self, coupon: &Coupon) -> Result<()> {
        let count = match coupon.status() {
            CouponStatus::Available => &mut self.available,
            CouponStatus::Locked => &mut self.locked,
            CouponStatus::Used => &mut self.used,
            CouponStatus::Expired => &mut self.expired,
            CouponStatus::Voided => &mut self.voided,
            CouponStatus::Unspecified => {
                anyhow::bail!("coupon {} has status {}", coupon.coupon_id, coupon.status)
            }
        };
        *count += 1;
        Ok(())
    }

    fn plus(self, other: Self) -> Self {
        Self {
            available: self.available + other.available,
            locked: self.locked + other.locked,
            used: self.used + other.used,
            expired: self.expired + other.expired,
            voided: self.voided + other.voided,
        }
    }

    fn total(self) -> u64 {
        self.available + self.locked + self.used + self.expired + self.voided
    }
}
