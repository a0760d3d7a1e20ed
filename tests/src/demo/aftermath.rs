//! What becomes of the coupons that were won: looked up, locked, confirmed, cancelled, lapsed,
//! expired.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use coupon_client::{CouponClient, v1};

use super::{
    Options,
    campaign::Campaign,
    sale::Sale,
    stage::{Fate, Stage},
    sweep::Sweep,
};

/// What was seen on the way.
#[derive(Debug)]
pub(super) struct Aftermath {
    /// Every acknowledged win read back, by id and from the wallet.
    pub(super) wins_found: Sweep,
    /// Losers' wallets found empty.
    pub(super) losers_empty: Sweep,
    /// Answer to a claim of a new user after the sale; `None` when pieces were left.
    pub(super) late_claim: Option<Result<(), String>>,
    pub(super) locks: Sweep,
    pub(super) confirms: Sweep,
    pub(super) cancels: Sweep,
    /// Lapsed locks that gave their coupon back.
    pub(super) lapses: Sweep,
    pub(super) used: Sweep,
    pub(super) expired: Sweep,
    /// Coupons by status at the end.
    pub(super) statuses: BTreeMap<String, u64>,
    /// Counts after the sale.
    pub(super) stats_after_sale: v1::GetTemplateStatsResponse,
    /// Counts at the end: the last read ones when they never came right.
    pub(super) stats_at_end: v1::GetTemplateStatsResponse,
}

impl Aftermath {
    /// How many coupons were meant to be used.
    pub(super) fn confirmed(&self) -> usize {
        self.confirms.done + self.confirms.failed
    }
}

/// Uses, cancels, lapses and expires everything that was won.
pub(super) async fn run(
    client: &CouponClient,
    campaign: &Campaign,
    sale: &Sale,
    options: &Options,
) -> anyhow::Result<Aftermath> {
    let stage = Stage {
        client,
        campaign,
        sale,
        in_flight: options.calls_in_flight(),
        bar: options.bar("aftermath", 0)?,
    };
    let stats_after_sale = stage.stats().await?;
    let wins_found = stage.sweep(|_| true, |winner, _| stage.find(winner)).await;
    let losers_empty = stage.losers_empty(options.users).await;
    let sold_out = options.users >= options.stock.unsigned_abs();
    let late_claim = if sold_out { Some(stage.late_claim(options.users).await) } else { None };

    let lock = |winner, fate| stage.lock(winner, fate);
    let locks = stage.sweep(|fate| fate != Fate::Untouched, lock).await;
    let confirms =
        stage.sweep(|fate| fate == Fate::Confirmed, |winner, _| stage.confirm(winner)).await;
    let cancels =
        stage.sweep(|fate| fate == Fate::Cancelled, |winner, _| stage.cancel(winner)).await;

    stage.advance(campaign.lapsed).await?;
    let lapses =
        stage.sweep(|fate| fate == Fate::Lapsed, |winner, _| stage.find_lapsed(winner)).await;

    stage.advance(campaign.swept).await?;
    let statuses = Mutex::new(BTreeMap::new());
    let end = |winner, fate| stage.find_final(winner, fate, &statuses);
    let used = stage.sweep(|fate| fate == Fate::Confirmed, end).await;
    let expired = stage.sweep(|fate| fate != Fate::Confirmed, end).await;
    let stats_at_end = stage.settled_stats(confirms.done as i64).await?;
    stage.bar.finish();
    Ok(Aftermath {
        wins_found,
        losers_empty,
        late_claim,
        locks,
        confirms,
        cancels,
        lapses,
        used,
        expired,
        statuses: statuses.into_inner().unwrap_or_else(PoisonError::into_inner),
        stats_after_sale,
        stats_at_end,
    })
}
