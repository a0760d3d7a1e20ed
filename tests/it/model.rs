//! The group engine against a simple sequential model: random commands in random groups, with
//! crashes between groups, come to the same outcomes as one by one (R9, R10, R44-R46, R49-R51, R58,
//! R59, R61, R62). `PROPTEST_CASES` raises the number of cases.

mod commands;
mod comparing;
mod giving;
mod outcomes;
mod redeeming;
mod runner;
mod sequential;
mod steps;

use proptest::{prelude::*, test_runner::TestCaseError};

use self::{
    runner::Runner,
    steps::{Step, steps},
};

/// Enough for every run; more are asked for by the environment.
const CASES: u32 = 200;

fn config() -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    let cases = if asked { default.cases } else { CASES };
    ProptestConfig { cases, max_shrink_iters: 400, ..default }
}

async fn run(group_max: usize, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut runner = Runner::start(group_max).await;
    for step in steps {
        runner.step(step).await?;
    }
    runner.finish().await
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn groups_decide_as_their_members_would_one_by_one(
        group_max in 1..=8_usize,
        steps in steps(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(run(group_max, &steps))?;
    }
}
