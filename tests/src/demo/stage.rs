//! The calls that are made for every winner, each with what it must bring.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use coupon_client::{
    CouponClient, dev,
    v1::{self, CouponStatus, RedemptionState},
};
use indicatif::ProgressBar;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{
    campaign::Campaign,
    sale::{Sale, Winner, user_id},
    sweep::Sweep,
};

/// Losers whose wallets are looked into.
const LOSERS_CHECKED: usize = 2_000;
/// Counts are folded from the operation log about once a second.
const STATS_TIMEOUT: Duration = Duration::from_secs(30);
const STATS_POLL: Duration = Duration::from_millis(200);
/// The locks that are left to lapse; the others hold for the default 30 minutes.
const SHORT_LOCK_SECONDS: i64 = 600;

/// What is done with a coupon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Confirmed,
    Cancelled,
    Lapsed,
    Untouched,
}

impl Fate {
    /// Of ten coupons four are used, two cancelled, two left to lapse and two never touched.
    fn of(index: usize) -> Self {
        match index % 10 {
            0..=3 => Self::Confirmed,
            4 | 5 => Self::Cancelled,
            6 | 7 => Self::Lapsed,
            _ => Self::Untouched,
        }
    }

    /// Status of the coupon once its validity is over.
    fn final_status(self) -> CouponStatus {
        match self {
            Self::Confirmed => CouponStatus::Used,
            Self::Cancelled | Self::Lapsed | Self::Untouched => CouponStatus::Expired,
        }
    }
}

/// The winners and what can be done for them.
pub(super) struct Stage<'a> {
    pub(super) client: &'a CouponClient,
    pub(super) campaign: &'a Campaign,
    pub(super) sale: &'a Sale,
    pub(super) in_flight: usize,
    pub(super) bar: ProgressBar,
}

impl Stage<'_> {
    /// Does `step` for every winner whose coupon has a fate that is `chosen`.
    pub(super) async fn sweep<S, F>(&self, chosen: impl Fn(Fate) -> bool, step: S) -> Sweep
    where
        S: Fn(Winner, Fate) -> F,
        F: Future<Output = anyhow::Result<()>>,
    {
        let winners = self.sale.winners.iter().enumerate();
        let chosen: Vec<_> = winners
            .map(|(index, winner)| (*winner, Fate::of(index)))
            .filter(|(_, fate)| chosen(*fate))
            .collect();
        self.bar.inc_length(chosen.len() as u64);
        let step = |(winner, fate)| step(winner, fate);
        Sweep::over(chosen, self.in_flight, &self.bar, step).await
    }

    async fn coupon(&self, winner: Winner) -> anyhow::Result<v1::Coupon> {
        let Winner { user_id, coupon_id } = winner;
        let answer = self.client.get_coupon(v1::GetCouponRequest { user_id, coupon_id }).await?;
        answer.coupon.context("an answer without coupon")
    }

    async fn wallet(&self, user_id: i64) -> anyhow::Result<Vec<i64>> {
        let request = v1::ListCouponsRequest {
            user_id,
            template_id: self.campaign.template_id,
            ..Default::default()
        };
        let coupons = self.client.list_coupons(request).await?.coupons;
        Ok(coupons.into_iter().map(|coupon| coupon.coupon_id).collect())
    }

    /// Reads an acknowledged win back, by id and from the wallet.
    pub(super) async fn find(&self, winner: Winner) -> anyhow::Result<()> {
        let coupon = self.coupon(winner).await?;
        ensure!(
            coupon.user_id == winner.user_id && coupon.template_id == self.campaign.template_id,
            "{} is of user {} and template {}",
            coupon.name,
            coupon.user_id,
            coupon.template_id
        );
        expect_status(&coupon, CouponStatus::Available)?;
        let wallet = self.wallet(winner.user_id).await?;
        ensure!(
            wallet == [winner.coupon_id],
            "user {} won {} and holds {wallet:?}",
            winner.user_id,
            winner.coupon_id
        );
        Ok(())
    }

    /// Looks into the wallets of users who won nothing.
    pub(super) async fn losers_empty(&self, users: u64) -> Sweep {
        let won = |user: &i64| {
            self.sale.winners.binary_search_by_key(user, |winner| winner.user_id).is_ok()
        };
        let losers = (0..users).map(user_id).filter(|user| !won(user)).take(LOSERS_CHECKED);
        let look = |user| async move {
            let wallet = self.wallet(user).await?;
            ensure!(wallet.is_empty(), "user {user} won nothing and holds {wallet:?}");
            Ok(())
        };
        Sweep::over(losers, self.in_flight, &ProgressBar::hidden(), look).await
    }

    /// The claim of a user who comes after all pieces were given.
    pub(super) async fn late_claim(&self, users: u64) -> Result<(), String> {
        let user_id = user_id(users);
        let template_id = self.campaign.template_id;
        let request = v1::ClaimRequest { user_id, template_id, ..Default::default() };
        match self.client.claim(request).await {
            Ok(_) => Err(format!("user {user_id} won after all pieces were given")),
            Err(error) if error.reason() == Some(v1::ErrorReason::SoldOut) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Locks the coupon for an order of its own, for a short time when it is to lapse.
    pub(super) async fn lock(&self, winner: Winner, fate: Fate) -> anyhow::Result<()> {
        let short = prost_types::Duration { seconds: SHORT_LOCK_SECONDS, nanos: 0 };
        let request = v1::LockRequest {
            user_id: winner.user_id,
            order_id: order_id(winner),
            coupon_ids: vec![winner.coupon_id],
            cart: Some(self.campaign.cart()),
            lock_ttl: (fate == Fate::Lapsed).then_some(short),
            expected_discount_minor: Some(self.campaign.discount_minor()),
            ..Default::default()
        };
        let redemption = self.client.lock(request).await?.redemption;
        expect_redemption(redemption, RedemptionState::Locked, self.campaign.discount_minor())
    }

    /// The order is paid.
    pub(super) async fn confirm(&self, winner: Winner) -> anyhow::Result<()> {
        let request = v1::ConfirmRequest {
            user_id: winner.user_id,
            order_id: order_id(winner),
            ..Default::default()
        };
        let redemption = self.client.confirm(request).await?.redemption;
        expect_redemption(redemption, RedemptionState::Confirmed, self.campaign.discount_minor())
    }

    /// The order is not paid.
    pub(super) async fn cancel(&self, winner: Winner) -> anyhow::Result<()> {
        let request = v1::CancelRequest {
            user_id: winner.user_id,
            order_id: order_id(winner),
            ..Default::default()
        };
        let redemption = self.client.cancel(request).await?.redemption;
        expect_redemption(redemption, RedemptionState::Cancelled, self.campaign.discount_minor())?;
        expect_status(&self.coupon(winner).await?, CouponStatus::Available)
    }

    /// The lock's time is over: the coupon is free again.
    pub(super) async fn find_lapsed(&self, winner: Winner) -> anyhow::Result<()> {
        let request =
            v1::GetRedemptionRequest { user_id: winner.user_id, order_id: order_id(winner) };
        let redemption = self.client.get_redemption(request).await?.redemption;
        expect_redemption(redemption, RedemptionState::Lapsed, self.campaign.discount_minor())?;
        expect_status(&self.coupon(winner).await?, CouponStatus::Available)
    }

    /// Counts the status at the end and compares it with the fate.
    pub(super) async fn find_final(
        &self,
        winner: Winner,
        fate: Fate,
        statuses: &Mutex<BTreeMap<String, u64>>,
    ) -> anyhow::Result<()> {
        let coupon = self.coupon(winner).await?;
        {
            let mut statuses = statuses.lock().unwrap_or_else(PoisonError::into_inner);
            *statuses.entry(status_name(coupon.status())).or_default() += 1;
        }
        expect_status(&coupon, fate.final_status())
            .with_context(|| format!("the coupon was {fate:?}"))
    }

    /// Moves the server's clock.
    pub(super) async fn advance(&self, to: prost_types::Timestamp) -> anyhow::Result<()> {
        let request = dev::AdvanceClockRequest { to: Some(to) };
        let answer = self.client.advance_clock(request).await?;
        self.bar.set_message(format!("{} alarms rang", answer.alarms_handled));
        Ok(())
    }

    /// The template's counts as they are.
    pub(super) async fn stats(&self) -> anyhow::Result<v1::GetTemplateStatsResponse> {
        let template_id = self.campaign.template_id;
        Ok(self.client.get_template_stats(v1::GetTemplateStatsRequest { template_id }).await?)
    }

    /// The counts once they say that all is used or expired, or the last ones read in time.
    pub(super) async fn settled_stats(
        &self,
        used: i64,
    ) -> anyhow::Result<v1::GetTemplateStatsResponse> {
        let mut last = self.stats().await?;
        let settle = async {
            let mut poll = interval(STATS_POLL);
            poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !adds_up(&last, used) {
                poll.tick().await;
                last = self.stats().await?;
            }
            anyhow::Ok(())
        };
        if let Ok(settled) = timeout(STATS_TIMEOUT, settle).await {
            settled?;
        }
        Ok(last)
    }
}

/// Whether the counts say that of everything issued `used` is used and the rest expired.
pub(super) fn adds_up(stats: &v1::GetTemplateStatsResponse, used: i64) -> bool {
    stats.used_count == used
        && stats.expired_count == stats.issued_count - used
        && stats.locked_count == 0
        && stats.voided_count == 0
        && stats.reissued_count == 0
}

fn order_id(winner: Winner) -> String {
    format!("demo-{}-{}", winner.user_id, winner.coupon_id)
}

fn status_name(status: CouponStatus) -> String {
    status.as_str_name().trim_start_matches("COUPON_STATUS_").to_owned()
}

fn expect_status(coupon: &v1::Coupon, expected: CouponStatus) -> anyhow::Result<()> {
    ensure!(
        coupon.status() == expected,
        "{} is {}, not {}",
        coupon.name,
        status_name(coupon.status()),
        status_name(expected)
    );
    Ok(())
}

fn expect_redemption(
    redemption: Option<v1::Redemption>,
    state: RedemptionState,
    discount_minor: i64,
) -> anyhow::Result<()> {
    let redemption = redemption.context("an answer without redemption")?;
    ensure!(
        redemption.state() == state,
        "{} is {:?}, not {state:?}",
        redemption.name,
        redemption.state()
    );
    ensure!(
        redemption.discount_minor == discount_minor,
        "{} takes {} off, not {discount_minor}",
        redemption.name,
        redemption.discount_minor
    );
    Ok(())
}
