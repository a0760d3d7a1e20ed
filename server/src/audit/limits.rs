//! I2: no double claim.

use super::{Check, findings::Findings, snapshot::Snapshot};

/// `per_user(template_id, most)`: the limits, out of the rules' JSON.
macro_rules! per_user {
    () => {
        "WITH per_user (template_id, most) AS MATERIALIZED (
             SELECT t.template_id,
                    CASE WHEN json_valid(r.content)
                         THEN json_extract(r.content, '$.per_user_limit') END
             FROM template AS t LEFT JOIN rule AS r ON r.rule_id = t.rule_id) "
    };
}

const NO_LIMIT: &str = concat!(
    per_user!(),
    "SELECT printf('template %d: its rule says no per-user limit', template_id)
     FROM per_user WHERE typeof(most) <> 'integer' OR most < 1"
);

/// One run over the index of users, whose numbers per user and template are distinct: they are
/// dense when the highest is their count. The cross join keeps that run outermost.
const TOO_MANY_OR_GAPS: &str = concat!(
    per_user!(),
    "SELECT CASE WHEN h.held > p.most
                 THEN printf('user %d holds %d coupons of template %d, the limit is %d',
                             h.user_id, h.held, h.template_id, p.most)
                 ELSE printf('user %d holds %d coupons of template %d, numbered up to %d',
                             h.user_id, h.held, h.template_id, h.highest) END
     FROM (SELECT user_id, template_id, COUNT(*) AS held, MAX(claim_no) AS highest
           FROM coupon WHERE claim_no > 0 GROUP BY user_id, template_id
           HAVING MAX(claim_no) > 1) AS h
     CROSS JOIN per_user AS p ON p.template_id = h.template_id
     WHERE h.held > p.most OR h.held <> h.highest"
);

const NO_NUMBER: &str = "
    SELECT printf('coupon %d of user %d has the claim number %d and replaces %s: a number is '
                  || 'from 1 on, or minus the id of the coupon replaced',
                  coupon_id, user_id, claim_no, IFNULL('coupon ' || reissue_of, 'none'))
    FROM coupon WHERE CASE WHEN reissue_of IS NULL THEN claim_no < 1
                           ELSE claim_no <> -reissue_of END";

/// Nobody holds more of a template than its rule allows, numbered 1..n; reissued coupons take no
/// number.
pub(super) async fn check(snapshot: &mut Snapshot<'_>) -> anyhow::Result<Check> {
    let mut findings = Findings::default();
    snapshot.find(NO_LIMIT, &mut findings).await?;
    snapshot.find(TOO_MANY_OR_GAPS, &mut findings).await?;
    snapshot.find(NO_NUMBER, &mut findings).await?;
    Ok(Check {
        id: "I2",
        title: "nobody holds more of a template than its limit, numbered without gaps",
        examined: snapshot.count("SELECT COUNT(*) FROM coupon").await?,
        violations: findings.into_violations(),
    })
}
