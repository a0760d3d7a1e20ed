//! The storm: every user sends the same claim four times, as a caller with three automatic resends
//! does, and every winner tries to win once more.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use coupon_client::{CouponClient, new_request_id, v1};
use futures::future::join_all;
use indicatif::ProgressBar;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    Options,
    campaign::Campaign,
    tally::{Answer, Kind, Tally, Visit},
};

/// The first send and three automatic resends (R10).
const SENDS: usize = 4;
/// How often a claim without a definite answer is asked again before it counts as unsettled.
const SETTLE_ATTEMPTS: usize = 10;

/// A user and the coupon that the platform says they have won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Winner {
    pub(super) user_id: i64,
    pub(super) coupon_id: i64,
}

/// What the storm brought.
#[derive(Debug)]
pub(super) struct Sale {
    /// Every coupon that was won, by user. A user who is there twice has won twice.
    pub(super) winners: Vec<Winner>,
    pub(super) tally: Tally,
    pub(super) elapsed: Duration,
}

/// The user who comes `index`-th. The stride is coprime with 10,000, so the last four digits, by
/// which users are spread over shards and buckets, run through all values.
pub(super) fn user_id(index: u64) -> i64 {
    const STRIDE: i64 = 12_347;
    1 + STRIDE * i64::try_from(index).unwrap_or(i64::MAX / STRIDE - 1)
}

/// Lets all users loose and waits until each has an answer.
pub(super) async fn run(
    client: &CouponClient,
    campaign: &Campaign,
    options: &Options,
) -> anyhow::Result<Sale> {
    let storm = Arc::new(Storm {
        client: client.clone(),
        template_id: campaign.template_id,
        users: options.users,
        next: AtomicU64::new(0),
        in_flight: Semaphore::new(options.calls_in_flight()),
        score: Mutex::new(Score { winners: Vec::new(), tally: Tally::new()? }),
        bar: options.bar("sale", options.users)?,
    });
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..options.calls_in_flight() {
        let storm = Arc::clone(&storm);
        workers.spawn(async move { storm.work().await });
    }
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker of the sale panicked")??;
    }
    let elapsed = begun.elapsed();
    storm.bar.finish();
    let storm = Arc::into_inner(storm).context("a worker of the sale outlived it")?;
    let score = storm.score.into_inner().unwrap_or_else(PoisonError::into_inner);
    let Score { mut winners, tally } = score;
    winners.sort_unstable_by_key(|winner| winner.user_id);
    Ok(Sale { winners, tally, elapsed })
}

struct Storm {
    client: CouponClient,
    template_id: i64,
    users: u64,
    next: AtomicU64,
    in_flight: Semaphore,
    score: Mutex<Score>,
    bar: ProgressBar,
}

struct Score {
    winners: Vec<Winner>,
    tally: Tally,
}

impl Storm {
    async fn work(&self) -> anyhow::Result<()> {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.users {
                return Ok(());
            }
            let visit = self.visit(index).await?;
            self.count(&visit);
        }
    }

    /// One user's whole part.
    async fn visit(&self, index: u64) -> anyhow::Result<Visit> {
        let user_id = user_id(index);
        let request_id = new_request_id();
        // Every other user is impatient: their resends do not wait for the first answer.
        let mut answers = if index.is_multiple_of(2) {
            let sends = (0..SENDS).map(|_| self.send(user_id, &request_id));
            join_all(sends).await.into_iter().collect::<anyhow::Result<Vec<_>>>()?
        } else {
            let mut answers = Vec::with_capacity(SENDS);
            for _ in 0..SENDS {
                answers.push(self.send(user_id, &request_id).await?);
            }
            answers
        };
        self.settle(user_id, &request_id, &mut answers).await?;
        let mut greedy = Vec::new();
        if answers.iter().any(|answer| matches!(answer.kind, Kind::Won { .. })) {
            let request_id = new_request_id();
            greedy.push(self.send(user_id, &request_id).await?);
            self.settle(user_id, &request_id, &mut greedy).await?;
        }
        Ok(Visit { user_id, answers, greedy })
    }

    /// Asks again while there is no definite answer. Unknown is not failed: a piece may have been
    /// given, and would be missing at the end.
    async fn settle(
        &self,
        user_id: i64,
        request_id: &str,
        answers: &mut Vec<Answer>,
    ) -> anyhow::Result<()> {
        for _ in 0..SETTLE_ATTEMPTS {
            if answers.iter().any(|answer| !matches!(answer.kind, Kind::Unknown(_))) {
                break;
            }
            answers.push(self.send(user_id, request_id).await?);
        }
        Ok(())
    }

    async fn send(&self, user_id: i64, request_id: &str) -> anyhow::Result<Answer> {
        let _permit = self.in_flight.acquire().await.context("the sale is over")?;
        let request = v1::ClaimRequest {
            user_id,
            template_id: self.template_id,
            request_id: request_id.to_owned(),
            source: "demo".to_owned(),
        };
        let begun = Instant::now();
        let kind = match self.client.claim(request).await {
            Ok(won) => Kind::Won {
                coupon_id: won.coupon.context("a won claim without coupon")?.coupon_id,
                replayed: won.replayed,
            },
            Err(error) => Kind::from_error(&error),
        };
        Ok(Answer { kind, elapsed: begun.elapsed() })
    }

    fn count(&self, visit: &Visit) {
        let mut score = self.score.lock().unwrap_or_else(PoisonError::into_inner);
        score.tally.count(visit);
        for coupon_id in visit.coupons() {
            score.winners.push(Winner { user_id: visit.user_id, coupon_id });
        }
        let won = score.tally.won;
        drop(score);
        self.bar.inc(1);
        if !visit.greedy.is_empty() {
            self.bar.set_message(format!("{won} won"));
        }
    }
}
