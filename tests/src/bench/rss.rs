//! Memory of a server that holds many coupons.

use std::sync::{Arc, atomic::AtomicU64};

use super::{
    Bench,
    load::{Budget, closed},
    m1::Refusals,
    report::{Bound, Row, Runs},
    server::check_load,
};

const MB: f64 = 1e6;
const TARGET_MB: f64 = 300.0;

/// The larger of two: after storing the coupons, and after a restart with calls from their owners.
pub(super) async fn measure(
    bench: &mut Bench,
    name: &str,
    rows: Option<u64>,
) -> anyhow::Result<Row> {
    let stage = bench.stage(rows.unwrap_or(bench.plan.rows_large)).await?;
    let server = stage.serve().await?;
    let started = server.resident_bytes()? as f64 / MB;
    let next = Arc::new(AtomicU64::new(0));
    let budget = Budget::time(&next, bench.plan.length);
    check_load(&closed(&server.target, &Refusals::new(&stage), &budget).await?)?;
    let called = server.resident_bytes()? as f64 / MB;
    server.stop().await?;

    let filled = stage.filled_resident_bytes as f64 / MB;
    let runs = Runs { ours: vec![filled.max(called)], ..Runs::default() };
    let mut row = runs.row(name, "MB", Bound::AtMost, TARGET_MB, stage.rows);
    row.notes.push(format!(
        "resident with {} rows: {filled:.0} MB after storing them, {started:.0} MB after a restart, \
         {called:.0} MB after calls from their owners",
        stage.rows
    ));
    Ok(row)
}
