//! M14: lock + confirm pairs with fence, evaluation and group commit, against the textbook.

use std::sync::{Arc, atomic::AtomicU64};

use super::{
    Bench,
    load::{Budget, closed},
    orders::{COUPONS, LINES, Orders},
    report::{Bound, Row, Runs},
    server::{Server, check_load},
    stage::new_dir,
    textbook::Textbook,
};

pub(super) async fn measure(bench: &mut Bench, name: &str) -> anyhow::Result<Row> {
    let plan = &bench.plan;
    let warm_up_pairs = plan.pairs / 3;
    let orders_total = warm_up_pairs + plan.pairs * plan.runs as u64;
    (bench.say)(&format!("{name}: issuing {} coupons", orders_total * COUPONS));
    let dir = new_dir(&bench.root)?;
    let server = Server::start(dir.path()).await?;
    let orders = Orders::prepare(&server, orders_total).await?;
    let mut textbook = Textbook::prepare(&bench.root, orders_total).await?;

    let next = Arc::new(AtomicU64::new(0));
    let warm_up =
        closed(&server.node.target, &orders, &Budget::count(&next, warm_up_pairs)).await?;
    check_load(&warm_up)?;
    textbook.write(plan.slice()).await?;
    let mut runs = Runs::default();
    let mut unsettled = warm_up.unsettled.len();
    for index in 0..plan.runs {
        let mut ours =
            closed(&server.node.target, &orders, &Budget::count(&next, plan.pairs)).await?;
        check_load(&ours)?;
        let baseline = textbook.write(plan.length / 2).await?;
        bench.say_run(name, index, "pairs/s", ours.rate(), baseline.pairs_per_second);
        runs.ours.push(ours.rate());
        runs.baseline.push(baseline.pairs_per_second);
        runs.cpu_ours.push(ours.cpu_us());
        runs.cpu_baseline.push(baseline.cpu_us);
        runs.done.extend(ours.done());
        unsettled += ours.unsettled.len();
    }
    server.stop_and_audit().await?;
    let rows = orders_total * COUPONS;
    let mut row = runs.row(name, "pairs/s", Bound::AtLeast, 5.0, rows);
    row.notes.push(format!(
        "carts of {LINES} lines, {COUPONS} stackable coupons; a latency is that of a pair; the \
         baseline writes straight into its file, with no call over the network"
    ));
    if unsettled > 0 {
        row.notes.push(format!("{unsettled} pairs were shed or timed out and are not counted"));
    }
    Ok(row)
}
