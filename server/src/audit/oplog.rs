//! I6: the operation log, replayed per coupon and per order.

use super::{findings::Findings, snapshot::Snapshot};

/// Names of stored operations.
macro_rules! operation {
    ($column:literal) => {
        concat!(
            "CASE ",
            $column,
            " WHEN 0 THEN 'lock' WHEN 1 THEN 'confirm' WHEN 2 THEN 'cancel' WHEN 3 THEN 'expire' \
             WHEN 4 THEN 'restore' WHEN 5 THEN 'void' WHEN 6 THEN 'lapse' \
             WHEN 7 THEN 'force confirm' WHEN 8 THEN 'force cancel' ELSE 'unknown' END"
        )
    };
}

/// Each coupon's entries in order: a legal edge each, starting where the one before ended, a lock
/// ended by the order that took it, and the last ending in the stored status. Claims write no
/// entry; expiry by the clock writes none for the coupon, so AVAILABLE may be stored EXPIRED, from
/// where only a forced confirm leads on.
const ILLEGAL_PATH: &str = concat!(
    "SELECT printf('coupon %d, operation %d (%s): %s', coupon_id, operation_id, ",
    operation!("operation"),
    ", fault)
     FROM (
       SELECT p.coupon_id, p.operation_id, p.operation,
         CASE
           WHEN c.coupon_id IS NULL THEN 'the coupon does not exist'
           WHEN p.user_id IS NOT c.user_id OR p.template_id <> c.template_id OR p.coupons <> 1
           THEN 'it is logged for another user, another template or several coupons'
           WHEN (p.operation, IFNULL(p.from_status, -1), p.to_status) NOT IN (
             VALUES (0, 0, 3), (1, 3, 1), (2, 3, 0), (2, 3, 2), (4, 1, 0), (4, -1, 0), (5, 0, 4),
                    (6, 3, 0), (6, 3, 2), (7, 3, 1), (7, 0, 1), (7, 2, 1), (8, 3, 0), (8, 3, 2))
           THEN printf('it leads from status %s to %d', IFNULL(p.from_status, 'none'), p.to_status)
           WHEN p.step > 1 AND p.from_status IS NOT p.before
                AND NOT (p.operation = 7 AND p.before = 0 AND p.from_status = 2)
           THEN printf('it starts from status %s, the one before ended in %d',
                       IFNULL(p.from_status, 'none'), p.before)
           WHEN p.step = 1 AND p.from_status IS NOT CASE WHEN c.reissue_of IS NULL THEN 0 END
           THEN printf('it is the first and starts from status %s', IFNULL(p.from_status, 'none'))
           WHEN p.step > 1 AND p.order_id <> p.order_before
                AND (p.operation IN (1, 2, 4, 6, 8) OR (p.operation = 7 AND p.from_status = 3))
           THEN printf('it is of order `%s`, the one before of order `%s`',
                       p.order_id, p.order_before)
           WHEN p.is_last AND p.to_status <> c.status AND NOT (p.to_status = 0 AND c.status = 2)
           THEN printf('it is the last and ended in status %d, stored is %d',
                       p.to_status, c.status)
           WHEN p.is_last AND c.status IN (1, 3) AND EXISTS (
             SELECT 1 FROM redemption AS r
             WHERE r.redemption_id = c.redemption_id AND r.order_id <> p.order_id)
           THEN printf('it is the last and of order `%s`, not of the redemption that holds it',
                       p.order_id)
         END AS fault
       FROM (
         SELECT operation_id, coupon_id, user_id, template_id, order_id, operation, from_status,
                to_status, coupons,
                LAG(to_status) OVER path AS before, LAG(order_id) OVER path AS order_before,
                ROW_NUMBER() OVER path AS step, LEAD(1) OVER path IS NULL AS is_last
         FROM coupon_operation WHERE coupon_id IS NOT NULL
         WINDOW path AS (PARTITION BY coupon_id ORDER BY operation_id)) AS p
       LEFT JOIN coupon AS c ON c.coupon_id = p.coupon_id)
     WHERE fault IS NOT NULL"
);

/// Statuses that no coupon reaches without an entry of its own. The order makes it a merge.
const NO_PATH: &str = "
    SELECT printf('coupon %d is USED, LOCKED, VOIDED or reissued and has no operation', coupon_id)
    FROM (SELECT coupon_id FROM coupon WHERE status IN (1, 3, 4) OR reissue_of IS NOT NULL
          EXCEPT SELECT coupon_id FROM coupon_operation WHERE coupon_id IS NOT NULL
          ORDER BY 1)";

/// What expiry by the clock logs.
const ODD_CHUNK: &str = concat!(
    "SELECT printf('operation %d (%s) of template %d names no coupon, leads from status %s to %d '
                   || 'and counts %d coupons',
                   operation_id, ",
    operation!("operation"),
    ", template_id, IFNULL(from_status, 'none'), to_status, coupons)
     FROM coupon_operation
     WHERE coupon_id IS NULL
       AND NOT (operation = 3 AND from_status IS 0 AND to_status = 2 AND coupons > 0)"
);

/// Each order's entries in order: after a confirm nothing but restores, and one confirm and one
/// restore each of a coupon; entries older than the stored redemption belong to one whose retention
/// has ended.
const CLOSED_TWICE: &str = concat!(
    "SELECT printf('user %d, order `%s`: operation %d (%s) of coupon %d follows a %s', o.user_id,
                   o.order_id, o.operation_id, ",
    operation!("o.operation"),
    ", o.coupon_id, ",
    operation!("o.before"),
    ")
     FROM (SELECT operation_id, coupon_id, user_id, order_id, operation,
                  LAG(operation) OVER story AS before, LAG(at) OVER story AS at_before
           FROM coupon_operation WHERE coupon_id IS NOT NULL AND order_id <> ''
           WINDOW story AS (PARTITION BY user_id, order_id ORDER BY operation_id)) AS o
     CROSS JOIN redemption AS r ON r.user_id = o.user_id AND r.order_id = o.order_id
     WHERE ((o.before IN (1, 7) AND o.operation NOT IN (1, 7, 4)) OR (o.before = 4 AND o.operation <> 4))
       AND o.at_before >= IFNULL(r.first_locked_at, r.closed_at)"
);

const CONFIRMED_AND_NOT: &str = "
    SELECT printf('user %d, order `%s`: operation %d confirmed coupon %d, but redemption %d has '
                  || 'state %d',
                  o.user_id, o.order_id, o.operation_id, o.coupon_id, r.redemption_id, r.state)
    FROM coupon_operation AS o
    CROSS JOIN redemption AS r ON r.user_id = o.user_id AND r.order_id = o.order_id
    WHERE o.operation IN (1, 7) AND r.state NOT IN (1, 4)
      AND o.at >= IFNULL(r.first_locked_at, r.closed_at)";

/// Also finds expiries that were logged too often or not at all, which no coupon's own path shows.
const COUNTS_DIFFER: &str = "
    SELECT printf('template %d: stored coupons exceed the log by %d LOCKED, %d USED, %d EXPIRED, '
                  || '%d VOIDED, %d reissued',
                  template_id, SUM(locked), SUM(used), SUM(expired), SUM(voided), SUM(reissued))
    FROM (SELECT template_id, status = 3 AS locked, status = 1 AS used, status = 2 AS expired,
                 status = 4 AS voided, reissue_of IS NOT NULL AS reissued
          FROM coupon
          UNION ALL
          SELECT template_id,
                 coupons * ((from_status IS 3) - (to_status = 3)),
                 coupons * ((from_status IS 1) - (to_status = 1)),
                 coupons * ((from_status IS 2) - (to_status = 2)),
                 coupons * ((from_status IS 4) - (to_status = 4)),
                 -coupons * (from_status IS NULL)
          FROM coupon_operation)
    GROUP BY template_id
    HAVING SUM(locked) <> 0 OR SUM(used) <> 0 OR SUM(expired) <> 0 OR SUM(voided) <> 0
        OR SUM(reissued) <> 0";

/// Replays the log.
pub(super) async fn find(
    snapshot: &mut Snapshot<'_>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    for sql in [ILLEGAL_PATH, NO_PATH, ODD_CHUNK, CLOSED_TWICE, CONFIRMED_AND_NOT, COUNTS_DIFFER] {
        snapshot.find(sql, findings).await?;
    }
    Ok(())
}
