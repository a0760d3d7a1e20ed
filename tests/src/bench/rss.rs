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

/// The largest seen: after storing the coupons, after a restart with calls from their owners, and at
/// the end of this run's M1 of the same size, where there was one.
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
    check_load(&closed(&server.node.target, &Refusals::new(&stage), &budget).await?)?;
    let called = server.resident_bytes()? as f64 / MB;
    server.stop().await?;

    let filled = stage.filled_resident_bytes as f64 / MB;
    let m1 = bench.resident_bytes.get(&stage.rows).map(|&bytes| bytes as f64 / MB);
    let largest = filled.max(called).max(m1.unwrap_or_default());
    let runs = Runs { ours: vec![largest], ..Runs::default() };
    let mut row = runs.row(name, "MB", Bound::AtMost, TARGET_MB, stage.rows);
    row.notes.push(format!(
        "resident with {} rows: {filled:.0} MB after storing them, {started:.0} MB after a restart, \
         {called:.0} MB after calls from their owners",
        stage.rows
    ));
    if let Some(m1) = m1 {
        row.notes.push(format!("{m1:.0} MB at the end of M1 of this size"));
    }
    Ok(row)
}
