//! M13: stock that is still unsold when the first "sold out" is answered, against keys picked at
//! random, and how long the rest takes.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use http::uri::PathAndQuery;
use prost::Message as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::sync::Notify;
use tonic::Code;

use super::{
    super::{
        Violation,
        load::{Budget, Connection, Load, Operation, Verdict, closed, warm_up},
        report::{Bound, Row, Runs},
        server::check_load,
        stats::{median, range},
        workload::{
            FreshClaims, WonClaim, claim, claim_path, judge_failed_call, judge_fresh_claim,
            template,
        },
    },
    Distributed, PLENTY,
    stand::Stand,
};

/// Shards over which the stock is spread.
const SHARDS: usize = 2;
/// Claims beyond the stock, so that everybody meets the end.
const BEYOND: u64 = 4_000;
const ISSUED: &str =
    "SELECT CAST(COALESCE(SUM(issued), 0) AS SIGNED) FROM stock_bucket WHERE template_id = ?";
const BUCKETS: &str = "SELECT COUNT(*) FROM stock_bucket WHERE template_id = ?";

/// What happened around the end of the stock.
#[derive(Default)]
struct Ending {
    begun: Mutex<Option<Instant>>,
    first_sold_out: Mutex<Option<Instant>>,
    last_win: Mutex<Option<Instant>>,
    wins: AtomicU64,
    /// Wins answered when the first "sold out" was.
    wins_then: AtomicU64,
    sold_out: Notify,
}

fn at(instant: &Mutex<Option<Instant>>) -> Option<Instant> {
    *instant.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Claims of a template that runs out.
#[derive(Clone)]
struct RunningOut {
    path: PathAndQuery,
    template_id: i64,
    ending: Arc<Ending>,
}

impl Operation for RunningOut {
    async fn run(&self, conn: &mut Connection, seq: u64) -> Verdict {
        let ending = &self.ending;
        let body = claim(seq, self.template_id).encode_to_vec().into();
        match conn.unary(&self.path, body).await {
            Ok(bytes) => match WonClaim::decode(bytes) {
                Ok(won) => {
                    ending.wins.fetch_add(1, Ordering::Relaxed);
                    let now = Some(Instant::now());
                    *ending.last_win.lock().unwrap_or_else(PoisonError::into_inner) = now;
                    judge_fresh_claim(seq, &won)
                }
                Err(error) => Verdict::Violated(format!("answer {seq} is malformed: {error}")),
            },
            // The only refusal that these claims can meet.
            Err(failure) if failure.code == Code::FailedPrecondition => {
                let mut first =
                    ending.first_sold_out.lock().unwrap_or_else(PoisonError::into_inner);
                if first.is_none() {
                    *first = Some(Instant::now());
                    ending.wins_then.store(ending.wins.load(Ordering::Relaxed), Ordering::Relaxed);
                    ending.sold_out.notify_one();
                }
                Verdict::Refused
            }
            Err(failure) => judge_failed_call(seq, &failure),
        }
    }
}

/// One sale to its end.
struct Sale {
    unsold_percent: f64,
    unanswered_percent: f64,
    drained: Duration,
    whole: Duration,
    refused_in_vain: u64,
    load: Load,
}

pub(super) async fn measure(bench: &Distributed, name: &str) -> anyhow::Result<Vec<Row>> {
    let stand = Stand::start(&bench.addresses, SHARDS, &[]).await?;
    let outcome = run(bench, &stand, name).await;
    stand.conclude(outcome).await
}

async fn run(bench: &Distributed, stand: &Stand, name: &str) -> anyhow::Result<Vec<Row>> {
    let (frame, plan) = (&bench.frame, &bench.frame.plan);
    let stock = i64::try_from(plan.rows)?;
    let warm = stand.node.publish(template("warm-up", PLENTY)).await?;
    let (claims, next) = (FreshClaims::new(warm), Arc::new(AtomicU64::new(0)));
    let load = warm_up(&stand.node.target, &claims, &next, plan.slice(), plan.warm_up_max).await?;
    check_load(&load)?;

    let (mut unsold, mut drained) = (Runs::default(), Runs::default());
    let (mut random, mut unanswered, mut sales) = (Vec::new(), Vec::new(), Vec::new());
    let mut keys = 0;
    let mut in_vain = 0;
    for index in 0..plan.runs {
        let template_id = stand.node.publish(template("running out", stock)).await?;
        keys = u64::try_from(stand.sum(BUCKETS, template_id).await?)?;
        let mut sale = sell_out(stand, template_id, stock).await?;
        let simulated = random_keys(stock as u64, keys, index as u64);
        frame.say_run(name, index, "% unsold", sale.unsold_percent, simulated);
        unsold.ours.push(sale.unsold_percent);
        unsold.cpu_ours.push(sale.load.cpu_us());
        unsold.done.extend(sale.load.done());
        unsold.refused.extend(sale.load.refused());
        drained.ours.push(sale.drained.as_secs_f64() * 1e3);
        unanswered.push(sale.unanswered_percent);
        sales.push(sale.whole.as_secs_f64());
        in_vain += sale.refused_in_vain;
        random.push(simulated);
    }
    let rows = plan.rows;
    let mut row = unsold.row(name, "% unsold", Bound::AtMost, 0.1, rows);
    row.baseline = Some(median(&random));
    row.notes.push(format!(
        "{stock} pieces in {keys} sub-stock keys on {SHARDS} shards, sold in {:.1} s; ours is what \
         the ledger had not issued when the first \"sold out\" arrived; the baseline simulates one \
         key picked at random for each claim: {:.3} to {:.3} %",
        median(&sales),
        range(&random)[0],
        range(&random)[1]
    ));
    row.notes.push(format!(
        "{:.3} % were not yet answered as won then, those in flight included",
        median(&unanswered)
    ));
    if in_vain > 0 {
        row.notes.push(format!("{in_vain} claims were shed or timed out on the way"));
    }
    let name = format!("{name}-DRAIN");
    let mut drain = drained.row(&name, "ms", Bound::AtMost, 1_000.0, rows);
    drain.notes.push("from the first \"sold out\" to the last win that was answered".to_owned());
    Ok(vec![row, drain])
}

async fn sell_out(stand: &Stand, template_id: i64, stock: i64) -> anyhow::Result<Sale> {
    let ending = Arc::new(Ending::default());
    let claims = RunningOut { path: claim_path(), template_id, ending: Arc::clone(&ending) };
    *ending.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    let next = Arc::new(AtomicU64::new(0));
    let budget = Budget::count(&next, stock as u64 + BEYOND);
    let look = async {
        ending.sold_out.notified().await;
        stand.sum(ISSUED, template_id).await
    };
    let (load, issued) = tokio::time::timeout(Duration::from_secs(300), async {
        tokio::join!(closed(&stand.node.target, &claims, &budget), look)
    })
    .await
    .context("the stock did not run out within five minutes")?;
    let (mut load, issued) = (load?, issued?);
    check_load(&load)?;
    // Whoever was shed on the way may hold a piece: asked again until there is an answer.
    let refused_in_vain = load.unsettled.len() as u64;
    settle(stand, &claims, &mut load).await?;
    let last = stand.sum(ISSUED, template_id).await?;
    ensure!(
        last == stock && load.won.len() as i64 == stock,
        Violation(format!(
            "{stock} pieces, {last} issued and {} won when all was sold out",
            load.won.len()
        ))
    );
    stand.node.check_wins(template_id, &load.won).await?;
    let (begun, sold_out) = (at(&ending.begun), at(&ending.first_sold_out));
    let (begun, sold_out) =
        begun.zip(sold_out).context("the stock did not run out before the claims")?;
    let last_win = at(&ending.last_win).unwrap_or(sold_out);
    let percent = |pieces: i64| 100.0 * pieces as f64 / stock as f64;
    Ok(Sale {
        unsold_percent: percent(stock - issued),
        unanswered_percent: percent(stock - ending.wins_then.load(Ordering::Relaxed) as i64),
        drained: last_win.saturating_duration_since(sold_out),
        whole: last_win.saturating_duration_since(begun),
        refused_in_vain,
        load,
    })
}

/// Sends claims without an outcome again, under their own request ids.
async fn settle(stand: &Stand, claims: &RunningOut, load: &mut Load) -> anyhow::Result<()> {
    for seq in std::mem::take(&mut load.unsettled) {
        match stand.node.client.claim(claim(seq, claims.template_id)).await {
            Ok(answer) => load.won.extend(answer.coupon.map(|coupon| coupon.coupon_id)),
            Err(error) if error.reason() == Some(coupon_client::v1::ErrorReason::SoldOut) => {}
            Err(error) => return Err(error).context("a claim cannot be settled"),
        }
    }
    Ok(())
}

/// Percent left when the first claim meets an empty key, with each claim at a key picked at random.
fn random_keys(stock: u64, keys: u64, seed: u64) -> f64 {
    let mut random = StdRng::seed_from_u64(seed);
    let mut left: Vec<u64> =
        (0..keys).map(|key| stock / keys + u64::from(key < stock % keys)).collect();
    let mut sold = 0;
    loop {
        let key = random.random_range(0..left.len());
        if left[key] == 0 {
            return 100.0 * (stock - sold) as f64 / stock as f64;
        }
        left[key] -= 1;
        sold += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_keys_strand_stock_and_a_single_key_strands_none() {
        assert_eq!(random_keys(1_000, 1, 7), 0.0);
        let stranded = random_keys(100_000, 32, 7);
        assert!((0.5..20.0).contains(&stranded), "{stranded} %");
    }
}
