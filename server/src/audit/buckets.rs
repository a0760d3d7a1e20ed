//! I1: no oversell.

use super::{Check, findings::Findings, snapshot::Snapshot};

const OUT_OF_BOUNDS: &str = "
    SELECT printf('template %d, bucket %d: issued %d of %d granted',
                  template_id, bucket, issued, granted)
    FROM stock_bucket WHERE NOT (0 <= issued AND issued <= granted)
    ORDER BY template_id, bucket";

const BEYOND_TOTAL: &str = "
    SELECT printf('template %d: issued %d of a total of %d',
                  t.template_id, SUM(b.issued), t.total_count)
    FROM template AS t JOIN stock_bucket AS b ON b.template_id = t.template_id
    GROUP BY t.template_id HAVING SUM(b.issued) > t.total_count";

/// Every bucket gives between nothing and what it was granted, all buckets at most the total.
pub(super) async fn check(snapshot: &mut Snapshot<'_>) -> anyhow::Result<Check> {
    let mut findings = Findings::default();
    snapshot.find(OUT_OF_BOUNDS, &mut findings).await?;
    snapshot.find(BEYOND_TOTAL, &mut findings).await?;
    Ok(Check {
        id: "I1",
        title: "no bucket gives more than it was granted, no template more than its total",
        examined: snapshot.count("SELECT COUNT(*) FROM stock_bucket").await?,
        violations: findings.into_violations(),
    })
}
