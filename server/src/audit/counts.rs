//! STATS: what template statistics show is what the log says.

use super::{Check, findings::Findings, snapshot::Snapshot};

/// The fold, done again over the operations it has read.
const FOLDED_DIFFER: &str = "
    SELECT printf('template %d: folded counts exceed the log by %d LOCKED, %d USED, %d EXPIRED, '
                  || '%d VOIDED, %d reissued',
                  template_id, SUM(locked), SUM(used), SUM(expired), SUM(voided), SUM(reissued))
    FROM (SELECT template_id, locked, used, expired, voided, reissued FROM template_stat
          UNION ALL
          SELECT template_id,
                 coupons * ((from_status IS 3) - (to_status = 3)),
                 coupons * ((from_status IS 1) - (to_status = 1)),
                 coupons * ((from_status IS 2) - (to_status = 2)),
                 coupons * ((from_status IS 4) - (to_status = 4)),
                 -coupons * (from_status IS NULL)
          FROM coupon_operation
          WHERE operation_id <= (SELECT folded_up_to FROM stat_fold WHERE fold_id = 1))
    GROUP BY template_id
    HAVING SUM(locked) <> 0 OR SUM(used) <> 0 OR SUM(expired) <> 0 OR SUM(voided) <> 0
        OR SUM(reissued) <> 0";

/// The counts per template are those of the operations up to the fold's mark.
pub(super) async fn check(snapshot: &mut Snapshot<'_>) -> anyhow::Result<Check> {
    let mut findings = Findings::default();
    snapshot.find(FOLDED_DIFFER, &mut findings).await?;
    let examined = "SELECT (SELECT COUNT(*) FROM template_stat) \
                    + (SELECT COUNT(*) FROM coupon_operation WHERE operation_id <= \
                       (SELECT folded_up_to FROM stat_fold WHERE fold_id = 1))";
    Ok(Check {
        id: "STATS",
        title: "the counts of template statistics are those of the operation log",
        examined: snapshot.count(examined).await?,
        violations: findings.into_violations(),
    })
}
