//! Broken days: real processes are killed, frozen and cut off while shoppers go on, and a checker
//! judges every answer against what is stored in the end.

pub mod checker;
pub mod control;
pub mod ground;
pub mod load;
pub mod log;
pub mod nemesis;
pub mod proxy;
pub mod report;
pub mod round;
pub mod stage;

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::time::Instant;

pub use self::report::Report;
use self::{
    checker::{Rule, Violation},
    ground::{FieldOptions, Ground, Start},
    load::Pace,
    nemesis::{Fault, Nemesis, schedule},
    round::{Round, RoundOptions},
};
use crate::process::sibling_binary;

/// The server with failpoints and planted faults.
const SABOTAGED: &str = "coupon-server-sabotaged";
/// Room for the users of one round.
const USERS_PER_ROUND: i64 = 1_000_000;

/// What a broken day is made of.
#[derive(Clone)]
pub struct Options {
    /// Whether on stores of its own, or one embedded server.
    pub distributed: bool,
    /// How long it lasts at least; every fault comes once in any case.
    pub length: Duration,
    /// Decides everything but how fast the machine is.
    pub seed: u64,
    /// Kinds of faults.
    pub faults: Vec<Fault>,
    /// Of the calm before and after each fault.
    pub calm: Duration,
    /// How long something stays broken that has no time of its own.
    pub hold: Duration,
    /// Shoppers at once, in rounds with a closed loop.
    pub shoppers: usize,
    /// Told about every step.
    pub listener: Arc<dyn Fn(&str) + Send + Sync>,
}

/// Path of the server with failpoints: `COUPON_SABOTAGED_BIN`, else beside the running program or one
/// folder up; `None` when it is not built.
pub fn sabotaged_binary() -> Option<PathBuf> {
    let named = env::var_os("COUPON_SABOTAGED_BIN").map(PathBuf::from);
    named.or_else(|| sibling_binary(SABOTAGED).ok())
}

/// Runs a broken day.
///
/// # Errors
/// When something could not be started, broken or mended. A promise that is broken is no error but a
/// violation in the report.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let began = Instant::now();
    (options.listener)("starting the platform");
    let mut ground = if options.distributed {
        Box::pin(Ground::distributed(&FieldOptions::default())).await?
    } else {
        Ground::embedded(&Start::default()).await?
    };
    let mut random = StdRng::seed_from_u64(options.seed);
    let choices = StdRng::seed_from_u64(random.random());
    let mut nemesis = Nemesis::new(choices, sabotaged_binary(), options.hold);
    let mut report = Report::new(options.seed, options.distributed);
    let mut waiting: Vec<Fault> = Vec::new();
    loop {
        if waiting.is_empty() {
            if !report.rounds.is_empty() && began.elapsed() >= options.length {
                break;
            }
            waiting = schedule(&options.faults, &mut random);
        }
        let Some(fault) = waiting.pop() else { break };
        let number = i64::try_from(report.rounds.len()).unwrap_or(0);
        let round = RoundOptions {
            fault,
            seed: random.random(),
            first_user: 1 + number * USERS_PER_ROUND,
            calm: options.calm,
            // Who is stuck at one shard must not keep others from coming.
            pace: if fault != Fault::F13 && random.random_bool(0.7) {
                Pace::Closed(options.shoppers)
            } else {
                Pace::Open(u32::try_from(options.shoppers).unwrap_or(u32::MAX))
            },
            hot_total: random.random_range(100..400),
        };
        (options.listener)(&format!("{fault}: {}", fault.what()));
        let round = Box::pin(Round::run(&mut ground, &mut nemesis, &round)).await?;
        (options.listener)(&round.line());
        report.rounds.push(round);
    }
    (options.listener)("waiting until every lapsed lock is swept");
    if let Some(field) = ground.field()
        && let Err(error) = field.swept().await
    {
        report.aftermath.push(Violation { rule: Rule::Settled, what: format!("{error:#}") });
    }
    (options.listener)("auditing");
    let (clean, words) = Box::pin(ground.finish()).await?;
    if !clean {
        report.aftermath.push(Violation { rule: Rule::Audit, what: words });
    }
    report.length_s = began.elapsed().as_secs_f64();
    Ok(report)
}
