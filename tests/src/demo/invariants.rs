//! What must hold whatever the storm did.

use serde::Serialize;

use super::{Options, aftermath::Aftermath, sale::Sale, stage::adds_up, sweep::Sweep};
use crate::platform::Audit;

/// One promise of the platform and whether it was kept.
#[derive(Clone, Debug, Serialize)]
pub struct Invariant {
    /// The promise.
    pub name: &'static str,
    /// Whether it was kept.
    pub ok: bool,
    /// The figures behind it.
    pub detail: String,
}

impl Invariant {
    fn new(name: &'static str, ok: bool, detail: String) -> Self {
        Self { name, ok, detail }
    }

    fn swept(name: &'static str, sweep: &Sweep) -> Self {
        Self::new(name, sweep.is_clean(), sweep.describe())
    }
}

/// Judges every promise by what was seen.
pub(super) fn check(
    options: &Options,
    sale: &Sale,
    aftermath: &Aftermath,
    stopped: &anyhow::Result<()>,
    audit: &Audit,
) -> Vec<Invariant> {
    let mut invariants = of_sale(options, sale, aftermath);
    invariants.extend(of_aftermath(aftermath));
    invariants.push(Invariant::new(
        "the server drains and stops when asked",
        stopped.is_ok(),
        stopped.as_ref().map_or_else(|error| format!("{error:#}"), |()| "exit 0".to_owned()),
    ));
    invariants.push(Invariant::new("the audit of the data finds nothing", audit.success, {
        if audit.success { "exit 0".to_owned() } else { audit.output.clone() }
    }));
    invariants
}

fn of_sale(options: &Options, sale: &Sale, aftermath: &Aftermath) -> Vec<Invariant> {
    let tally = &sale.tally;
    let won = distinct_coupons(sale);
    let due = options.users.min(options.stock.unsigned_abs());
    let issued = aftermath.stats_after_sale.issued_count;
    let mut invariants = vec![
        Invariant::new(
            "every claim gets a definite answer",
            tally.unsettled_users == 0,
            format!("{} users without", tally.unsettled_users),
        ),
        Invariant::new(
            "no oversell, no piece lost: coupons won = min(stock, users)",
            won == due,
            format!("{won} distinct coupons, {due} due"),
        ),
        Invariant::new(
            "issued count = coupons won",
            issued.unsigned_abs() == won,
            format!("{issued} issued, {won} won"),
        ),
        Invariant::new(
            "no double win: at most one coupon per user",
            tally.double_winners == 0,
            format!("{} users with more", tally.double_winners),
        ),
        Invariant::new(
            "R10: one claim and three resends, one coupon and one result",
            tally.torn_users == 0,
            format!("{} users with different results", tally.torn_users),
        ),
        Invariant::new(
            "a second claim of a winner is refused: LIMIT_REACHED",
            tally.greedy_refused == tally.greedy,
            format!("{} of {}", tally.greedy_refused, tally.greedy),
        ),
        Invariant::swept("every acknowledged win is there", &aftermath.wins_found),
        Invariant::swept("losers' wallets are empty", &aftermath.losers_empty),
    ];
    if let Some(late) = &aftermath.late_claim {
        invariants.push(Invariant::new(
            "all stock is gone, a late claim is refused: SOLD_OUT",
            late.is_ok() && issued == aftermath.stats_after_sale.total_count,
            match late {
                Ok(()) => format!("{issued} of {}", aftermath.stats_after_sale.total_count),
                Err(error) => error.clone(),
            },
        ));
    }
    invariants
}

fn of_aftermath(aftermath: &Aftermath) -> Vec<Invariant> {
    let live: u64 =
        ["LOCKED", "AVAILABLE"].iter().filter_map(|status| aftermath.statuses.get(*status)).sum();
    let stats = &aftermath.stats_at_end;
    let used = aftermath.confirmed() as i64;
    vec![
        Invariant::swept("a lock gives the discount that was quoted", &aftermath.locks),
        Invariant::swept("a live lock can be confirmed", &aftermath.confirms),
        Invariant::swept("a cancelled lock gives its coupon back", &aftermath.cancels),
        Invariant::swept("a lapsed lock gives its coupon back", &aftermath.lapses),
        Invariant::swept("confirmed coupons are USED at the end", &aftermath.used),
        Invariant::swept(
            "cancelled, lapsed and untouched coupons are EXPIRED at the end",
            &aftermath.expired,
        ),
        Invariant::new(
            "nothing is LOCKED or AVAILABLE at the end",
            live == 0,
            format!("{live} coupons"),
        ),
        Invariant::new(
            "the counts add up: issued = used + expired",
            adds_up(stats, used),
            format!(
                "{} issued, {} used ({used} confirmed), {} expired, {} locked, {} voided",
                stats.issued_count,
                stats.used_count,
                stats.expired_count,
                stats.locked_count,
                stats.voided_count
            ),
        ),
    ]
}

/// Two users who were told to hold the same coupon count once.
fn distinct_coupons(sale: &Sale) -> u64 {
    let mut coupons: Vec<i64> = sale.winners.iter().map(|winner| winner.coupon_id).collect();
    coupons.sort_unstable();
    coupons.dedup();
    coupons.len() as u64
}
