//! I4: one key, one outcome.

use super::{Check, findings::Findings, snapshot::Snapshot};

/// Only who holds several coupons of a template can disagree with himself; each such holding is
/// small and looked at by itself.
const TWO_BODIES: &str = "
    SELECT printf('user %d, template %d: request `%s` gave coupons under %d fingerprints, '
                  || 'one is coupon %d',
                  c.user_id, c.template_id, c.request_id, COUNT(DISTINCT c.fingerprint),
                  MIN(c.coupon_id))
    FROM (SELECT user_id, template_id FROM coupon WHERE claim_no > 0
          GROUP BY user_id, template_id HAVING COUNT(*) > 1) AS h
    CROSS JOIN coupon AS c ON c.user_id = h.user_id AND c.template_id = h.template_id
                          AND c.claim_no > 0
    GROUP BY c.user_id, c.template_id, c.request_id
    HAVING COUNT(DISTINCT c.fingerprint) > 1";

const LOCKED_TWICE: &str = "
    SELECT printf('redemption %d of user %d, order `%s`: a lock request id is stored twice, or '
                  || 'they cannot be read',
                  redemption_id, user_id, order_id)
    FROM redemption AS r
    WHERE CASE WHEN json_valid(r.locks)
               THEN (SELECT COUNT(DISTINCT json_extract(l.value, '$[0]'))
                     FROM json_each(r.locks) AS l) <> json_array_length(r.locks)
               ELSE 1 END";

/// Per scope, a request id was recorded with one fingerprint.
pub(super) async fn check(snapshot: &mut Snapshot<'_>) -> anyhow::Result<Check> {
    let mut findings = Findings::default();
    snapshot.find(TWO_BODIES, &mut findings).await?;
    snapshot.find(LOCKED_TWICE, &mut findings).await?;
    let examined = "SELECT (SELECT COUNT(*) FROM coupon) + (SELECT COUNT(*) FROM redemption)";
    Ok(Check {
        id: "I4",
        title: "a request id stands for one body",
        examined: snapshot.count(examined).await?,
        violations: findings.into_violations(),
    })
}
