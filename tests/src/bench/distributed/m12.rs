//! M12: messages for coupons that expire, coupons expired per second while claims run, and what the
//! claims feel of it.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use prost_types::Timestamp;

use super::{
    super::{
        Violation,
        load::{Budget, Load, warm_up},
        open::Schedule,
        report::{Bound, Row, Runs},
        server::check_load,
        stream::{Packing, claim_in_batches},
        workload::{FreshClaims, template},
    },
    Distributed, PLENTY,
    m4::keep,
    stand::Stand,
    topic,
};
use coupon_client::v1;

/// Coupons that the messages are scaled to.
const SCALED_TO: f64 = 1e7;
/// Coupons expired per second that a sweep coupon by coupon does.
const ROW_BY_ROW: f64 = 5_000.0;
/// Longest single delay of an alarm, so that alarms travel in several hops before they ring.
const HOP_MAX: &str = "alarms.hop_max_s=20";
const FILLING: Packing = Packing { batch: 500, depth: 4 };
/// Stored per second before anything is known.
const FILL_RATE_ASSUMED: f64 = 5_000.0;
/// Longest wait for a sweep.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);
const EXPIRED: &str = "SELECT CAST(COALESCE(SUM(coupons), 0) AS SIGNED) FROM coupon_operation \
                       WHERE template_id = ? AND operation = 3";

/// One minute in which coupons expire.
struct Minute {
    expired_per_second: f64,
    /// From the instant of expiry to the first coupon that says so.
    delay: Duration,
    sweep: Duration,
    calm: Load,
    busy: Load,
}

pub(super) async fn measure(bench: &Distributed, name: &str) -> anyhow::Result<Vec<Row>> {
    let stand = Stand::start(&bench.addresses, 1, &[HOP_MAX]).await?;
    let outcome = run(bench, &stand, name).await;
    stand.conclude(outcome).await
}

async fn run(bench: &Distributed, stand: &Stand, name: &str) -> anyhow::Result<Vec<Row>> {
    let (frame, plan) = (&bench.frame, &bench.frame.plan);
    let topic = alarm_topic(stand)?;
    let admin = &bench.addresses.pulsar_admin_url;
    let hot = stand.node.publish(template("hot", PLENTY)).await?;
    let (claims, next) = (FreshClaims::new(hot), Arc::new(AtomicU64::new(0)));
    let mut all =
        warm_up(&stand.node.target, &claims, &next, plan.slice(), plan.warm_up_max).await?;
    check_load(&all)?;
    let (mut full, _) = stand.closed(&claims, &Budget::time(&next, plan.length)).await?;
    let rate = full.rate() / 2.0;
    keep(&mut all, &mut full);

    // The hot template's own alarm, which lies years ahead, hops too: counted with the others.
    let before = topic::messages(admin, &topic).await?;
    let (mut speed, mut delays, mut sweeps, mut p99) =
        (Runs::default(), Vec::new(), Vec::new(), Runs::default());
    let mut fill_rate = FILL_RATE_ASSUMED;
    for index in 0..plan.runs {
        let expires = next_minute(plan.expiring, fill_rate, plan.length);
        let (template_id, filled) = fill(stand, expires, plan.expiring).await?;
        fill_rate = filled;
        let lead = plan.length + Duration::from_secs(2);
        ensure!(
            until(expires) > lead,
            "{} coupons were stored too slowly, at {filled:.0} per second: the minute is over",
            plan.expiring
        );
        let schedule = Schedule { rate, warm_up: Duration::ZERO, length: plan.length };
        let mut minute =
            live_through(stand, &claims, &next, schedule, (template_id, expires), plan.expiring)
                .await?;
        let calm = minute.calm.done().context("no claim was won")?;
        let busy = minute.busy.done().context("no claim was won")?;
        frame.say_run(name, index, "expired/s", minute.expired_per_second, ROW_BY_ROW);
        speed.ours.push(minute.expired_per_second);
        speed.baseline.push(ROW_BY_ROW);
        p99.ours.push(busy.p99_us);
        p99.baseline.push(calm.p99_us);
        p99.done.push(busy);
        delays.push(minute.delay.as_secs_f64());
        sweeps.push(minute.sweep.as_secs_f64());
        keep(&mut all, &mut minute.calm);
        keep(&mut all, &mut minute.busy);
    }
    let messages = topic::messages(admin, &topic).await?.saturating_sub(before);
    stand.node.settle(hot, &mut all).await?;
    stand.node.check_wins(hot, &all.won).await?;
    let expired = plan.expiring * plan.runs as u64;
    Ok(rows(name, plan.expiring, rate, &speed, &p99, (messages, expired), (&delays, &sweeps)))
}

fn rows(
    name: &str,
    coupons: u64,
    rate: f64,
    speed: &Runs,
    p99: &Runs,
    (messages, expired): (u64, u64),
    (delays, sweeps): (&[f64], &[f64]),
) -> Vec<Row> {
    let median = super::super::stats::median;
    // The count goes with shards and minutes, so a larger number of coupons has as many messages.
    let counted =
        Runs { ours: vec![messages as f64], baseline: vec![SCALED_TO], ..Runs::default() };
    let mut messages_row =
        counted.row(&format!("{name}-MESSAGES"), "messages", Bound::AtMost, 1e-5, expired);
    messages_row.notes.push(format!(
        "the broker was given {messages} messages, hops of at most 20 s included, while {expired} \
         coupons fell due in {} minutes: {:.1e} a coupon; they go with shards and minutes, not with \
         coupons, so 10 M coupons of these minutes have as many; the baseline is one a coupon, no \
         hops counted",
        speed.ours.len(),
        messages as f64 / expired.max(1) as f64
    ));
    let mut speed_row = speed.row(name, "expired/s", Bound::AtLeast, 8.0, coupons);
    speed_row.notes.push(format!(
        "{coupons} coupons fall due at once on one shard while {rate:.0} claims/s run, half of what \
         it can; swept in {:.2} s, the first {:.2} s after they were due; the baseline is a figure",
        median(sweeps),
        median(delays)
    ));
    let mut p99_row = p99.row(&format!("{name}-P99"), "µs", Bound::AtMost, 1.5, coupons);
    p99_row
        .notes
        .push("p99 of a won claim during the sweep, against the seconds before it".to_owned());
    vec![messages_row, speed_row, p99_row]
}

fn alarm_topic(stand: &Stand) -> anyhow::Result<String> {
    let table = stand.configuration()?;
    let topic = table.get("pulsar").and_then(|section| section.get("alarm_topic"));
    let topic = topic.and_then(toml::Value::as_str).context("the node names no alarm topic")?;
    Ok(topic.to_owned())
}

/// The first full minute (Unix seconds) by which everything is stored and a calm run is over.
fn next_minute(coupons: u64, fill_rate: f64, length: Duration) -> i64 {
    let needed = coupons as f64 / fill_rate * 1.3 + length.as_secs_f64() + 5.0;
    let now = since_1970().as_secs_f64();
    ((now + needed) / 60.0).ceil() as i64 * 60
}

/// Time until the Unix second.
fn until(second: i64) -> Duration {
    Duration::from_secs(second.unsigned_abs()).saturating_sub(since_1970())
}

#[allow(clippy::disallowed_methods, reason = "the server under load runs on the wall clock")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A template of which `coupons` coupons exist that expire at that second; its id, and coupons stored
/// per second.
async fn fill(stand: &Stand, expires: i64, coupons: u64) -> anyhow::Result<(i64, f64)> {
    let mut form = template("expiring", PLENTY);
    let end = Some(Timestamp { seconds: expires, nanos: 0 });
    form.claim_until = end;
    if let Some(rules) = form.rules.as_mut()
        && let Some(v1::use_window::Kind::Fixed(fixed)) =
            rules.use_window.as_mut().and_then(|window| window.kind.as_mut())
    {
        fixed.valid_until = end;
    }
    let template_id = stand.node.publish(form).await?;
    let budget = Budget::count(&Arc::new(AtomicU64::new(0)), coupons);
    let mut load = claim_in_batches(&stand.node.target, template_id, &budget, FILLING).await?;
    check_load(&load)?;
    let rate = load.rate();
    stand.node.settle(template_id, &mut load).await?;
    stand.node.check_wins(template_id, &load.won).await?;
    Ok((template_id, rate))
}

/// Claims in the calm before the second, and during the sweep after it.
async fn live_through(
    stand: &Stand,
    claims: &FreshClaims,
    next: &Arc<AtomicU64>,
    schedule: Schedule,
    (template_id, expires): (i64, i64),
    coupons: u64,
) -> anyhow::Result<Minute> {
    tokio::time::sleep(until(expires).saturating_sub(schedule.length + Duration::from_secs(1)))
        .await;
    let calm = stand.open(claims, next, schedule).await?;
    tokio::time::sleep(until(expires)).await;
    let due = Instant::now();
    let (busy, swept) =
        tokio::join!(stand.open(claims, next, schedule), watch(stand, template_id, coupons, due));
    let (delay, end) = swept?;
    let sweep = end.saturating_sub(delay);
    let expired = stand.sum(EXPIRED, template_id).await?;
    ensure!(
        expired.unsigned_abs() == coupons,
        Violation(format!("{coupons} coupons were to expire, {expired} did"))
    );
    let expired_per_second = coupons as f64 / end.as_secs_f64().max(f64::MIN_POSITIVE);
    Ok(Minute { expired_per_second, delay, sweep, calm, busy: busy? })
}

/// When the first and the last coupon were stored as expired, counted from `due`.
async fn watch(
    stand: &Stand,
    template_id: i64,
    coupons: u64,
    due: Instant,
) -> anyhow::Result<(Duration, Duration)> {
    let mut first = None;
    while due.elapsed() < SWEEP_TIMEOUT {
        let expired = stand.sum(EXPIRED, template_id).await?.unsigned_abs();
        if expired > 0 {
            first.get_or_insert_with(|| due.elapsed());
        }
        if expired >= coupons {
            let end = due.elapsed();
            return Ok((first.unwrap_or(end), end));
        }
        tokio::time::sleep(POLL).await;
    }
    anyhow::bail!("the coupons were not swept within {SWEEP_TIMEOUT:?}")
}
