//! Control experiments: sabotaged platforms, which a checker worth its name must catch.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail, ensure};
use tokio::time::{sleep, timeout};

use super::{
    checker::{self, Rule, Verdict, Violation},
    ground::{FieldOptions, Ground, Start},
    load::{Load, LoadOptions, Pace, connect},
    round::orders,
    stage::{Stage, patient},
};

/// How often it is struck.
const STRIKES: usize = 3;

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Wins are acknowledged before their commit.
    AckBeforeCommit,
    /// "Sold out" is looked at before an earlier win of the same request.
    StockBeforeReplay,
    /// Stock is returned when a commit was not answered.
    ReturnOnTimeout,
    /// Buckets have nothing to do with users, and the limit is checked somewhere else.
    SeparateLimit,
    /// The database writes commits to its disk when it finds the time.
    UnsafeDatabase,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::AckBeforeCommit,
        Self::StockBeforeReplay,
        Self::ReturnOnTimeout,
        Self::SeparateLimit,
        Self::UnsafeDatabase,
    ];

    /// The name that a sabotaged server knows it by; `None` = the server is the real one.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::AckBeforeCommit => Some("ack-before-commit"),
            Self::StockBeforeReplay => Some("stock-before-replay"),
            Self::ReturnOnTimeout => Some("return-on-timeout"),
            Self::SeparateLimit => Some("separate-limit"),
            Self::UnsafeDatabase => None,
        }
    }

    /// The promises of which a checker must find one broken.
    pub fn breaks(self) -> &'static [Rule] {
        match self {
            // What is lost is missing, or is given again when it is asked for again.
            Self::AckBeforeCommit | Self::UnsafeDatabase => {
                &[Rule::Durable, Rule::OneOutcome, Rule::Path]
            }
            Self::StockBeforeReplay => &[Rule::ReplayFirst],
            Self::ReturnOnTimeout => &[Rule::Stock],
            Self::SeparateLimit => &[Rule::Limit],
        }
    }
}

/// How a control experiment is made.
#[derive(Clone, Debug)]
pub struct ControlOptions {
    /// What is wrong.
    pub sabotage: Sabotage,
    /// The server with planted faults.
    pub program: PathBuf,
    /// Decides what the shoppers do.
    pub seed: u64,
    /// How long they come before each strike.
    pub length: Duration,
}

impl ControlOptions {
    /// How a node is started.
    fn start(&self) -> Start {
        let Some(name) = self.sabotage.name() else { return Start::default() };
        let envs = vec![("COUPON_FAULT".to_owned(), name.to_owned())];
        Start { program: Some(self.program.clone()), envs }
    }
}

/// Runs a sabotaged platform and answers what the checker says of it. The unsafe database needs the
/// distributed platform, the others run embedded.
///
/// # Errors
/// When something could not be started, broken or read.
pub async fn run(options: &ControlOptions) -> anyhow::Result<Verdict> {
    let sabotage = options.sabotage;
    let mut ground = match sabotage.name() {
        Some(_) => Ground::embedded(&options.start()).await?,
        None => Box::pin(Ground::distributed(&FieldOptions::default())).await?,
    };
    let endpoints = ground.endpoints().to_vec();
    let first = endpoints.first().context("there is no node")?;
    let client = patient(first).await?;
    let stage = Stage::set(&client, 60).await?;
    if let Some(field) = ground.field() {
        for shard in 0..field.shard_urls.len() {
            field.execute(shard, "SET GLOBAL innodb_flush_log_at_trx_commit = 0").await?;
        }
    }
    let load_options = LoadOptions {
        seed: options.seed,
        pace: Pace::Closed(24),
        first_user: 1,
        patience: Duration::from_secs(60),
        // A group with doubles answers when their turn has come, and by then it is committed.
        doubles: sabotage != Sabotage::AckBeforeCommit,
    };
    let load = Load::start(connect(&endpoints).await?, stage, &load_options);
    for _ in 0..STRIKES {
        sleep(options.length).await;
        // What was acknowledged just now is most easily lost.
        let _ = timeout(options.length, load.shop().log.next_win()).await;
        strike(sabotage, &mut ground, &options.start()).await?;
    }
    let (shop, users) = load.stop().await?;
    let ops = shop.log.take();
    let ending = Box::pin(stage.ending(&client, &users, &orders(&ops))).await?;
    let mut verdict = checker::check(&ops, &ending);
    // A database that has lost commits may have left the server with something to complain about.
    match Box::pin(ground.finish()).await {
        Ok((true, _)) => {}
        Ok((false, what)) => verdict.violations.push(Violation { rule: Rule::Audit, what }),
        Err(error) => bail!(error.context("a sabotaged server cannot be stopped")),
    }
    Ok(verdict)
}

/// What brings the sabotage to light, where it does not come by itself.
async fn strike(sabotage: Sabotage, ground: &mut Ground, start: &Start) -> anyhow::Result<()> {
    match sabotage {
        Sabotage::AckBeforeCommit => {
            ground.kill(0).await?;
            ground.restart(0, start).await
        }
        Sabotage::UnsafeDatabase => {
            let field = ground.field().context("an embedded server has no such database")?;
            let primary = field.services.mysql(1);
            primary.kill().await?;
            Box::pin(primary.restart()).await
        }
        Sabotage::StockBeforeReplay | Sabotage::ReturnOnTimeout | Sabotage::SeparateLimit => Ok(()),
    }
}

/// Fails unless the checker has caught it.
///
/// # Errors
/// When it has not; says what it has found instead.
pub fn expect_caught(sabotage: Sabotage, verdict: &Verdict) -> anyhow::Result<()> {
    let caught = sabotage.breaks().iter().any(|rule| verdict.broke(*rule));
    ensure!(caught, "{sabotage:?} was not caught: {:?}", verdict.counts());
    Ok(())
}
