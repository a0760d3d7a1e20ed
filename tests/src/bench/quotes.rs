//! M16 and QUOTE: pricing a cart against a whole wallet, in process: the search for the best
//! combination, proven optimal, beside the greedy one that a shop would write first.

use std::{cmp::Reverse, time::Instant};

use coupon_domain::{
    evaluate::{Candidate, Evaluator, SearchLimits, Usable},
    money::Minor,
};

use super::{
    Bench, Violation,
    report::{Bound, Row, Runs},
    stats::Latency,
    wallets::{Case, Kind},
};

/// As the server is configured.
const LIMITS: SearchLimits = SearchLimits { effort: 20_000, coupons_max: 100 };
/// Lines of every cart.
const LINES: usize = 50;
/// Different carts and wallets.
const CASES: u64 = 500;
/// Small cases that are compared with brute force.
const SMALL_CASES: u64 = 2_000;
const SMALL_LINES: usize = 6;
const SMALL_COUPONS: usize = 8;

/// What pricing all cases came to.
#[derive(Default)]
struct Priced {
    micros: Vec<f64>,
    discount: i64,
    optimal: u64,
}

/// M16: p99 of the search at 200 coupons and 50 lines, in microseconds.
pub(super) fn measure(bench: &Bench, name: &str) -> anyhow::Result<Row> {
    compare_with_brute_force()?;
    let mut runs = Runs::default();
    let mut optimal = 0;
    for run in 0..bench.plan.runs {
        let mut priced = price(cases(bench), 200, Kind::Marketplace, best)?;
        let latency = latency(&mut priced.micros);
        (bench.say)(&format!(
            "{name}: run {} of {}: p99 {:.0} µs",
            run + 1,
            bench.plan.runs,
            latency.p99_us
        ));
        runs.ours.push(latency.p99_us);
        runs.done.push(latency);
        optimal = priced.optimal;
    }
    let mut tangled = price(cases(bench), 200, Kind::Tangled, best)?;
    let tangled_p99 = latency(&mut tangled.micros).p99_us;
    let mut row = runs.row(name, "µs", Bound::AtMost, 1_000.0, 0);
    row.notes.push(format!(
        "p99 over {} different wallets of 200 coupons and carts of {LINES} lines, {optimal} of them \
         proven optimal within the default effort (of wallets whose coupons all stack and overlap \
         at random {}, p99 {tangled_p99:.0} µs); equal to brute force on {SMALL_CASES} cases of \
         {SMALL_COUPONS} coupons",
        cases(bench),
        tangled.optimal
    ));
    Ok(row)
}

/// QUOTE-n: the mean time of the search beside that of greedy, and the money that greedy leaves.
pub(super) fn measure_against_greedy(
    bench: &Bench,
    name: &str,
    coupons: usize,
) -> anyhow::Result<Row> {
    let mut runs = Runs::default();
    let (mut searched, mut picked) = (Priced::default(), Priced::default());
    for run in 0..bench.plan.runs {
        searched = price(cases(bench), coupons, Kind::Marketplace, best)?;
        picked = price(cases(bench), coupons, Kind::Marketplace, greedy)?;
        let (ours, baseline) = (mean(&searched.micros), mean(&picked.micros));
        bench.say_run(name, run, "µs", ours, baseline);
        runs.ours.push(ours);
        runs.baseline.push(baseline);
        runs.done.push(latency(&mut searched.micros));
    }
    if picked.discount > searched.discount {
        return Err(Violation("greedy saved more than the best combinations".to_owned()).into());
    }
    let mut row = runs.row(name, "µs", Bound::AtMost, 10.0, 0);
    let left = (searched.discount - picked.discount) as f64 / searched.discount.max(1) as f64;
    row.notes.push(format!(
        "mean time to price a cart of {LINES} lines against {coupons} coupons; greedy takes the \
         coupons worth most alone as far as they go together and leaves {:.1} % of the discount on \
         the table; {} of {} proven optimal",
        100.0 * left,
        searched.optimal,
        cases(bench)
    ));
    Ok(row)
}

fn cases(bench: &Bench) -> u64 {
    if bench.plan.runs > 1 { CASES } else { CASES / 5 }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn latency(micros: &mut [f64]) -> Latency {
    micros.sort_by(f64::total_cmp);
    let at = |share: f64| micros[((share * micros.len() as f64).ceil() as usize).max(1) - 1];
    Latency { p50_us: at(0.5), p99_us: at(0.99) }
}

type Pricing = fn(&Evaluator<'_>, &[Candidate<'_>]) -> (Minor, bool);

fn price(cases: u64, coupons: usize, kind: Kind, pricing: Pricing) -> anyhow::Result<Priced> {
    let mut priced = Priced::default();
    for seed in 0..cases {
        let case = Case::random(seed, LINES, coupons, kind)?;
        let candidates = case.candidates()?;
        let started = Instant::now();
        let (discount, optimal) = pricing(&Evaluator::new(&case.cart), &candidates);
        priced.micros.push(started.elapsed().as_secs_f64() * 1e6);
        priced.discount += discount.get();
        priced.optimal += u64::from(optimal);
    }
    Ok(priced)
}

fn best(evaluator: &Evaluator<'_>, wallet: &[Candidate<'_>]) -> (Minor, bool) {
    let best = evaluator.best(wallet, LIMITS);
    best.map_or((Minor::ZERO, true), |best| (best.evaluation.discount(), best.optimal))
}

/// The coupons worth most alone, as long as each may be with those before it; those that then take off
/// nothing are given up.
fn greedy(evaluator: &Evaluator<'_>, wallet: &[Candidate<'_>]) -> (Minor, bool) {
    let mut usable: Vec<Usable<'_>> =
        wallet.iter().filter_map(|one| evaluator.judge(one).ok()).collect();
    usable.sort_by_key(|one| (Reverse(one.alone()), one.candidate().coupon));
    let mut taken: Vec<Candidate<'_>> = Vec::new();
    for one in usable.iter().map(Usable::candidate) {
        if taken.len() < LIMITS.coupons_max && may_join(&taken, one) {
            taken.push(*one);
        }
    }
    loop {
        match evaluator.combine(&taken) {
            Ok(evaluation) => return (evaluation.discount(), false),
            Err(refusal) => {
                taken.retain(|one| refusal.faults.iter().all(|fault| fault.coupon != one.coupon));
            }
        }
    }
}

fn may_join(taken: &[Candidate<'_>], one: &Candidate<'_>) -> bool {
    use coupon_domain::rules::Stacking::{Exclusive, OneOf};
    let alone = |stacking| matches!(stacking, &Exclusive);
    let copies = taken.iter().filter(|other| other.template == one.template).count();
    let within = one.rules.per_order_limit.is_none_or(|limit| copies < limit as usize);
    let clash = taken.iter().any(|other| {
        alone(&one.rules.stacking)
            || alone(&other.rules.stacking)
            || (matches!(one.rules.stacking, OneOf(_))
                && one.rules.stacking == other.rules.stacking)
    });
    within && !clash
}

/// Tries every subset of many small wallets.
fn compare_with_brute_force() -> anyhow::Result<()> {
    for seed in 0..SMALL_CASES {
        let kind = if seed % 2 == 0 { Kind::Marketplace } else { Kind::Tangled };
        let case = Case::random(seed, SMALL_LINES, SMALL_COUPONS, kind)?;
        let candidates = case.candidates()?;
        let evaluator = Evaluator::new(&case.cart);
        let (found, optimal) = best(&evaluator, &candidates);
        let subsets = 1_u32..1 << candidates.len();
        let worth = subsets.filter_map(|subset| {
            let chosen = candidates.iter().enumerate().filter(|(at, _)| subset >> at & 1 == 1);
            let chosen: Vec<Candidate<'_>> = chosen.map(|(_, one)| *one).collect();
            evaluator.combine(&chosen).ok().map(|evaluation| evaluation.discount())
        });
        let most = worth.max().unwrap_or_default();
        if found != most || !optimal {
            let text = format!("case {seed}: the best found is {found}, brute force finds {most}");
            return Err(Violation(text).into());
        }
    }
    Ok(())
}
