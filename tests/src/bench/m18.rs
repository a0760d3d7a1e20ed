//! M18: the wallet list among many stored coupons, against the same among few.

use std::sync::{Arc, atomic::AtomicU64};

use bytes::Bytes;
use coupon_client::v1;
use http::uri::PathAndQuery;
use prost::Message as _;
use tempfile::TempDir;

use super::{
    Bench,
    load::{Budget, Connection, Operation, Verdict, closed, warm_up},
    open::{Schedule, open},
    report::{Bound, Row, Runs},
    server::{Server, check_load, in_order},
    stage::new_dir,
    workload::{judge_failed_call, request_id, template, user},
};

/// Coupons in every wallet, each of another template.
const WALLET: u64 = 20;
/// Load, as a share of what the smaller server can do: low enough for the latency to be that of
/// reading, not of waiting for a core.
const LOAD_SHARE: f64 = 0.25;
const USERS_PER_ISSUE: u64 = 1_000;

/// The part of a ListCouponsResponse that the checker needs.
#[derive(Clone, PartialEq, prost::Message)]
struct WalletAnswer {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    coupons: Vec<Bytes>,
}

/// Lists one wallet after the other, in an order that has nothing to do with that of storing.
#[derive(Clone)]
struct WalletLists {
    path: PathAndQuery,
    wallets: u64,
}

impl Operation for WalletLists {
    async fn run(&self, conn: &mut Connection, seq: u64) -> Verdict {
        let scattered = seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let user_id = user(scattered % self.wallets);
        let page_size = WALLET as i32;
        let request = v1::ListCouponsRequest { user_id, page_size, ..Default::default() };
        match conn.unary(&self.path, request.encode_to_vec().into()).await {
            Ok(bytes) => match WalletAnswer::decode(bytes) {
                Ok(answer) if answer.coupons.len() as u64 == WALLET => Verdict::Done,
                Ok(answer) => {
                    let found = answer.coupons.len();
                    Verdict::Violated(format!("{found} of {WALLET} coupons in a wallet"))
                }
                Err(error) => Verdict::Violated(format!("a wallet is malformed: {error}")),
            },
            Err(failure) => judge_failed_call(seq, &failure),
        }
    }
}

/// A running server with `rows` coupons, [`WALLET`] to each user.
struct Wallets {
    server: Server,
    lists: WalletLists,
    rows: u64,
    _dir: TempDir,
}

impl Wallets {
    /// Issues the coupons round by round, so that those of one user lie far apart, as in life.
    async fn prepare(bench: &Bench, rows: u64) -> anyhow::Result<Self> {
        (bench.say)(&format!("issuing {rows} coupons into wallets of {WALLET}"));
        let dir = new_dir(&bench.root)?;
        let server = Server::start(dir.path()).await?;
        let wallets = (rows / WALLET).max(1);
        for round in 0..WALLET {
            let template_id = server.node.publish(template("wallet", 1_000_000_000)).await?;
            let calls = wallets.div_ceil(USERS_PER_ISSUE);
            in_order(calls, |call| {
                let first = call * USERS_PER_ISSUE;
                let users = (first..wallets.min(first + USERS_PER_ISSUE))
                    .map(|seq| v1::IssueUser { user_id: user(seq), count: 1 })
                    .collect();
                let request_id = request_id(round << 32 | call);
                let source = String::new();
                issue(&server, v1::IssueRequest { template_id, request_id, users, source })
            })
            .await?;
        }
        let path = PathAndQuery::from_static("/coupon.v1.CouponService/ListCoupons");
        let lists = WalletLists { path, wallets };
        Ok(Self { server, lists, rows: wallets * WALLET, _dir: dir })
    }
}

async fn issue(server: &Server, request: v1::IssueRequest) -> anyhow::Result<()> {
    let answer = server.node.client.issue(request).await?;
    let failed = answer.outcomes.iter().find_map(|outcome| outcome.error.as_ref());
    anyhow::ensure!(failed.is_none(), "a wallet could not be filled: {failed:?}");
    Ok(())
}

pub(super) async fn measure(
    bench: &mut Bench,
    name: &str,
    rows: Option<u64>,
) -> anyhow::Result<Row> {
    let small = Wallets::prepare(bench, bench.plan.rows).await?;
    let large = Wallets::prepare(bench, rows.unwrap_or(bench.plan.rows_large)).await?;
    let plan = &bench.plan;
    let next = Arc::new(AtomicU64::new(0));
    for side in [&small, &large] {
        let target = &side.server.node.target;
        let load = warm_up(target, &side.lists, &next, plan.slice(), plan.warm_up_max).await?;
        check_load(&load)?;
    }
    let budget = Budget::time(&next, plan.length);
    let ceiling = closed(&small.server.node.target, &small.lists, &budget).await?;
    check_load(&ceiling)?;
    let schedule = Schedule {
        rate: ceiling.rate() * LOAD_SHARE,
        warm_up: plan.length / 5,
        length: plan.length,
    };

    let mut runs = Runs::default();
    for index in 0..plan.runs {
        let mut ours = open(&large.server.node.target, &large.lists, &next, schedule).await?;
        let mut baseline = open(&small.server.node.target, &small.lists, &next, schedule).await?;
        check_load(&ours)?;
        check_load(&baseline)?;
        let latency = ours.done().unwrap_or_default();
        let base_p99_us = baseline.done().unwrap_or_default().p99_us;
        bench.say_run(name, index, "µs", latency.p99_us, base_p99_us);
        runs.ours.push(latency.p99_us);
        runs.baseline.push(base_p99_us);
        runs.cpu_ours.push(ours.cpu_us());
        runs.cpu_baseline.push(baseline.cpu_us());
        runs.done.push(latency);
    }
    let mut row = runs.row(name, "µs", Bound::AtMost, 1.5, large.rows);
    row.notes.push(format!(
        "p99 with {} rows against {} rows (M18 asks for 10^7; see --rows), open loop at {:.0} \
         lists/s, a quarter of what the smaller server can do",
        large.rows, small.rows, schedule.rate
    ));
    small.server.stop().await?;
    large.server.stop_and_audit().await?;
    Ok(row)
}
