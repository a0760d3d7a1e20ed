//! M1: claims refused, half of them sold out, half repeated, against the bare echo.

use std::sync::{Arc, atomic::AtomicU64};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use coupon_client::v1;
use http::uri::PathAndQuery;
use prost::Message as _;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{
    Bench, confirm,
    echo::EchoCalls,
    load::{Budget, Connection, Operation, Target, Verdict, closed, warm_up},
    report::{Bound, Row, Runs},
    server::{Server, check_load},
    stage::Stage,
    workload::{WonClaim, claim, claim_path, judge_failed_call},
};

const USERS_MAX: u64 = 100_000;

/// Claims that win nothing: even operations repeat a win, odd ones ask for what is sold out.
#[derive(Clone)]
pub(super) struct Refusals {
    path: PathAndQuery,
    repeated: Arc<[Bytes]>,
    sold_out: Arc<[Bytes]>,
}

impl Refusals {
    pub(super) fn new(stage: &Stage) -> Self {
        let users = stage.rows.min(USERS_MAX);
        let prepare = |template_id: i64| -> Arc<[Bytes]> {
            (0..users).map(|seq| claim(seq, template_id).encode_to_vec().into()).collect()
        };
        Self {
            path: claim_path(),
            repeated: prepare(stage.stored),
            sold_out: prepare(stage.sold_out),
        }
    }
}

impl Operation for Refusals {
    async fn run(&self, conn: &mut Connection, seq: u64) -> Verdict {
        let repeats = seq.is_multiple_of(2);
        let bodies = if repeats { &self.repeated } else { &self.sold_out };
        let body = bodies[(seq / 2 % bodies.len() as u64) as usize].clone();
        let answer = conn.unary(&self.path, body).await;
        match (repeats, answer) {
            (true, Ok(bytes)) => match WonClaim::decode(bytes) {
                Ok(won) if won.replayed => Verdict::Done,
                _ => Verdict::Violated(format!("repeated claim {seq} was not called a replay")),
            },
            (false, Err(failure)) if failure.code == Code::FailedPrecondition => Verdict::Refused,
            (false, Ok(_)) => Verdict::Violated(format!("claim {seq} won what is sold out")),
            (_, Err(failure)) => judge_failed_call(seq, &failure),
        }
    }
}

/// What the two kinds of answers weigh.
struct Sizes {
    request: usize,
    replay: usize,
    refusal: usize,
}

/// Sees both kinds of answers once, with everything that they carry.
async fn sizes(refusals: &Refusals, target: &Target) -> anyhow::Result<Sizes> {
    let mut conn = target.connection();
    let body = refusals.repeated[0].clone();
    let request = body.len();
    let replay = conn.unary(&refusals.path, body).await;
    let replay = replay.map_err(|failure| failure.status()).context("the replay was refused")?;
    let answer = v1::ClaimResponse::decode(replay.clone())?;
    ensure!(answer.replayed && answer.coupon.is_some(), "the replay answered {answer:?}");
    let Err(failure) = conn.unary(&refusals.path, refusals.sold_out[0].clone()).await else {
        anyhow::bail!("a template without a piece left gave one");
    };
    let status = failure.status();
    let info = status.get_details_error_info().context("the refusal has no ErrorInfo")?;
    ensure!(info.reason == "SOLD_OUT", "the refusal's reason is {}", info.reason);
    Ok(Sizes { request, replay: replay.len(), refusal: status.details().len() })
}

pub(super) async fn measure(
    bench: &mut Bench,
    name: &str,
    rows: Option<u64>,
) -> anyhow::Result<Row> {
    let stage = bench.stage(rows.unwrap_or(bench.plan.rows)).await?;
    let server = stage.serve().await?;
    let refusals = Refusals::new(&stage);
    let sizes = sizes(&refusals, &server.node.target).await?;
    let echo =
        EchoCalls::prepared(&[(sizes.request, sizes.replay), (sizes.request, sizes.refusal)]);
    let mut row = run(bench, name, &stage, &server, &refusals, &echo).await?;
    row.notes.push(format!(
        "request {} bytes; answers: replay {}, sold out {} of details",
        sizes.request, sizes.replay, sizes.refusal
    ));
    let resident = server.resident_bytes()?;
    bench.resident_bytes.insert(stage.rows, resident);
    row.notes.push(format!("server's resident memory {} MB at the end", resident / 1_000_000));
    let headline = row.ratio.unwrap_or_default();
    let bodies = [&refusals.repeated[0], &refusals.sold_out[0]];
    let ours = confirm::H2Load::new(server.addr(), &refusals.path, bodies);
    let baseline = confirm::echo_h2load(bench.echo_process.addr(), &echo);
    row.notes.push(confirm::h2load(&ours, &baseline, headline, &bench.root).await);

    ensure_nothing_won(&server, &stage).await?;
    server.stop().await?;
    Ok(row)
}

async fn run(
    bench: &Bench,
    name: &str,
    stage: &Stage,
    server: &Server,
    refusals: &Refusals,
    echo: &EchoCalls,
) -> anyhow::Result<Row> {
    let plan = &bench.plan;
    let next = Arc::new(AtomicU64::new(0));
    let (slice, longest) = (plan.slice(), plan.warm_up_max);
    check_load(&warm_up(&server.node.target, refusals, &next, slice, longest).await?)?;
    check_load(&warm_up(&bench.echo, echo, &next, slice, longest).await?)?;
    let mut runs = Runs::default();
    let (mut unsettled, mut generator) = (0, [0.0; 2]);
    for index in 0..plan.runs {
        let mut ours =
            closed(&server.node.target, refusals, &Budget::time(&next, plan.length)).await?;
        check_load(&ours)?;
        let baseline = closed(&bench.echo, echo, &Budget::time(&next, plan.length)).await?;
        check_load(&baseline)?;
        bench.say_run(name, index, "ops/s", ours.rate(), baseline.rate());
        runs.add(&mut ours, &baseline);
        unsettled += ours.unsettled.len();
        generator = [ours.generator_cpu_us(), baseline.generator_cpu_us()];
    }
    let mut row = runs.row(name, "ops/s", Bound::AtLeast, 0.88, stage.rows);
    let [beside_ours, beside_echo] = generator;
    row.notes.push(format!(
        "the generator takes {beside_ours:.1} CPU-µs per operation, {beside_echo:.1} with the echo"
    ));
    if unsettled > 0 {
        row.notes.push(format!("{unsettled} calls were shed or timed out and are not counted"));
    }
    Ok(row)
}

async fn ensure_nothing_won(server: &Server, stage: &Stage) -> anyhow::Result<()> {
    let stored = server.node.issued(stage.stored).await?;
    let sold_out = server.node.issued(stage.sold_out).await?;
    if (stored, sold_out) == (stage.rows, 1) {
        return Ok(());
    }
    let rows = stage.rows;
    Err(super::Violation(format!(
        "{rows} and 1 coupons were given before, {stored} and {sold_out} after"
    ))
    .into())
}
