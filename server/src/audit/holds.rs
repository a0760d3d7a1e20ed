//! I6: coupons, redemptions and refunds say the same of each other.

use super::{Check, findings::Findings, oplog, snapshot::Snapshot, splits};

/// Which redemption and instants each status goes with.
const COUPON_ITSELF: &str = "
    SELECT printf('coupon %d of user %d has status %d (%s) with redemption %s, locked until %s, '
                  || 'used at %s',
                  coupon_id, user_id, status,
                  CASE status WHEN 0 THEN 'AVAILABLE' WHEN 1 THEN 'USED' WHEN 2 THEN 'EXPIRED'
                              WHEN 3 THEN 'LOCKED' WHEN 4 THEN 'VOIDED' ELSE 'unknown' END,
                  IFNULL(redemption_id, 'none'), IFNULL(locked_until, 'never'),
                  IFNULL(used_at, 'never'))
    FROM coupon
    WHERE status NOT IN (0, 1, 2, 3, 4)
       OR (redemption_id IS NOT NULL) <> (status IN (1, 3))
       OR (locked_until IS NOT NULL) <> (status = 3)
       OR (used_at IS NOT NULL) <> (status = 1)";

/// The redemption that a coupon points at must say so too. A USED coupon outlives its redemption,
/// whose retention ends.
const COUPON_TO_REDEMPTION: &str = "
    SELECT printf('coupon %d of user %d is %s by redemption %d: %s', coupon_id, user_id,
                  CASE status WHEN 3 THEN 'LOCKED' ELSE 'USED' END, redemption_id, fault)
    FROM (SELECT c.coupon_id, c.user_id, c.status, c.redemption_id,
                 CASE
                   WHEN r.redemption_id IS NULL
                   THEN CASE WHEN c.status = 3 THEN 'it does not exist' END
                   WHEN r.user_id <> c.user_id
                   THEN printf('it is of user %d', r.user_id)
                   WHEN c.status = 3 AND r.state <> 0
                   THEN printf('its state is %d, not LOCKED', r.state)
                   WHEN c.status = 1 AND r.state NOT IN (1, 4)
                   THEN printf('its state is %d, neither CONFIRMED nor RESTORED', r.state)
                   WHEN c.status = 3 AND r.locked_until IS NOT c.locked_until
                   THEN printf('it is locked until %s, the coupon until %s',
                               IFNULL(r.locked_until, 'never'), IFNULL(c.locked_until, 'never'))
                   WHEN NOT EXISTS (
                     SELECT 1 FROM json_each(
                       CASE WHEN json_valid(r.evaluation) THEN r.evaluation END, '$.uses') AS u
                     WHERE json_extract(u.value, '$[0]') = c.coupon_id)
                   THEN 'it does not name the coupon'
                 END AS fault
          FROM coupon AS c LEFT JOIN redemption AS r ON r.redemption_id = c.redemption_id
          WHERE c.status IN (1, 3) AND c.redemption_id IS NOT NULL)
    WHERE fault IS NOT NULL";

/// Which instants and marks each state goes with.
const REDEMPTION_ITSELF: &str = "
    SELECT printf('redemption %d of user %d, order `%s`, has state %d (%s) with %s evaluation, '
                  || 'first locked at %s, locked until %s, closed at %s by request `%s`',
                  redemption_id, user_id, order_id, state,
                  CASE state WHEN 0 THEN 'LOCKED' WHEN 1 THEN 'CONFIRMED' WHEN 2 THEN 'CANCELLED'
                             WHEN 3 THEN 'LAPSED' WHEN 4 THEN 'RESTORED' ELSE 'unknown' END,
                  CASE WHEN evaluation IS NULL THEN 'no' ELSE 'an' END,
                  IFNULL(first_locked_at, 'never'), IFNULL(locked_until, 'never'),
                  IFNULL(closed_at, 'never'), IFNULL(close_request_id, ''))
    FROM redemption
    WHERE state NOT IN (0, 1, 2, 3, 4)
       OR (locked_until IS NOT NULL) <> (state = 0)
       OR (closed_at IS NOT NULL) <> (state <> 0)
       OR (close_request_id IS NOT NULL) <> (state IN (1, 2, 4))
       OR (close_fingerprint IS NOT NULL) <> (state IN (1, 2, 4))
       OR (evaluation IS NULL) <> (first_locked_at IS NULL)
       OR (evaluation IS NULL AND state <> 2)";

/// The coupons that a live redemption names must say so too, but for those whose fate a partial refund
/// has decided. As a coupon points at one redemption, no coupon is in two.
const REDEMPTION_TO_COUPON: &str = "
    SELECT printf('redemption %d of user %d, order `%s`, is %s with coupon %d: %s',
                  redemption_id, user_id, order_id,
                  CASE state WHEN 0 THEN 'LOCKED' ELSE 'CONFIRMED' END, named, fault)
    FROM (SELECT r.redemption_id, r.user_id, r.order_id, r.state,
                 json_extract(u.value, '$[0]') AS named,
                 CASE
                   WHEN c.coupon_id IS NULL THEN 'it does not exist'
                   WHEN c.user_id <> r.user_id THEN printf('it is of user %d', c.user_id)
                   WHEN c.template_id IS NOT json_extract(u.value, '$[1]')
                   THEN printf('it is of template %d', c.template_id)
                   WHEN c.status <> CASE r.state WHEN 0 THEN 3 ELSE 1 END
                   THEN printf('its status is %d', c.status)
                   WHEN c.redemption_id IS NOT r.redemption_id
                   THEN printf('it is held by redemption %s', IFNULL(c.redemption_id, 'none'))
                 END AS fault
          FROM redemption AS r
          CROSS JOIN json_each(
            CASE WHEN json_valid(r.evaluation) THEN r.evaluation END, '$.uses') AS u
          LEFT JOIN coupon AS c ON c.coupon_id = json_extract(u.value, '$[0]')
          WHERE r.state IN (0, 1)
            AND NOT (r.state = 1 AND EXISTS (
              SELECT 1 FROM json_each(
                CASE WHEN json_valid(r.evaluation) THEN r.evaluation END, '$.refunded.coupons') AS d
              WHERE d.value = json_extract(u.value, '$[0]'))))
    WHERE fault IS NOT NULL";

/// A refund outlives its redemption.
const REFUND_TO_REDEMPTION: &str = "
    SELECT printf('refund `%s` of user %d, order `%s`: redemption %d is of user %d, order `%s`, '
                  || 'state %d',
                  f.request_id, f.user_id, f.order_id, r.redemption_id, r.user_id, r.order_id,
                  r.state)
    FROM refund AS f JOIN redemption AS r ON r.redemption_id = f.redemption_id
    WHERE r.state NOT IN (1, 4) OR r.user_id <> f.user_id OR r.order_id <> f.order_id";

const REDEMPTION_TO_REFUND: &str = "
    SELECT printf('redemption %d of user %d, order `%s`, is RESTORED without a refund',
                  redemption_id, user_id, order_id)
    FROM redemption AS r
    WHERE r.state = 4 AND NOT EXISTS (
        SELECT 1 FROM refund AS f WHERE f.user_id = r.user_id AND f.order_id = r.order_id
                                    AND f.redemption_id = r.redemption_id)";

/// The refunds of an order add up to what it says was given back, which is what was paid once all of
/// it is refunded, and never more (R59).
const REFUNDED_MONEY: &str = "
    SELECT printf('redemption %d of user %d, order `%s`, state %d: %d was paid, %d given back, its '
                  || 'refunds come to %s',
                  redemption_id, user_id, order_id, state, paid, refunded, IFNULL(refunds, 'none'))
    FROM (SELECT r.redemption_id, r.user_id, r.order_id, r.state,
                 (SELECT SUM(json_extract(l.value, '$[1]') - json_extract(l.value, '$[2]'))
                  FROM json_each(r.evaluation, '$.lines') AS l)
                 + IFNULL(json_extract(r.evaluation, '$.shipping[0]')
                          - json_extract(r.evaluation, '$.shipping[1]'), 0) AS paid,
                 IFNULL(json_extract(r.evaluation, '$.refunded.amount'), 0) AS refunded,
                 (SELECT SUM(json_extract(f.coupons, '$.amount')) FROM refund AS f
                  WHERE f.user_id = r.user_id AND f.order_id = r.order_id
                    AND f.redemption_id = r.redemption_id) AS refunds
          FROM redemption AS r
          WHERE r.state IN (1, 4) AND json_valid(r.evaluation))
    WHERE refunded <> IFNULL(refunds, 0) OR refunded > paid OR (state = 4 AND refunded <> paid)";

const REISSUED: &str = "
    SELECT printf('coupon %d of user %d replaces coupon %d, which %s', n.coupon_id, n.user_id,
                  n.reissue_of,
                  CASE WHEN o.coupon_id IS NULL THEN 'does not exist'
                       WHEN o.status <> 1 THEN printf('has status %d, not USED', o.status)
                       ELSE 'is of another user or template' END)
    FROM coupon AS n LEFT JOIN coupon AS o ON o.coupon_id = n.reissue_of
    WHERE n.reissue_of IS NOT NULL
      AND (o.coupon_id IS NULL OR o.status <> 1 OR o.user_id <> n.user_id
           OR o.template_id <> n.template_id)";

/// Every coupon and redemption is sound in itself and confirmed by what it points at, splits add
/// up, and the log leads to where they are.
pub(super) async fn check(snapshot: &mut Snapshot<'_>) -> anyhow::Result<Check> {
    let mut findings = Findings::default();
    for sql in [
        COUPON_ITSELF,
        COUPON_TO_REDEMPTION,
        REDEMPTION_ITSELF,
        REDEMPTION_TO_COUPON,
        REFUND_TO_REDEMPTION,
        REDEMPTION_TO_REFUND,
        REFUNDED_MONEY,
        REISSUED,
    ] {
        snapshot.find(sql, &mut findings).await?;
    }
    splits::find(snapshot, &mut findings).await?;
    oplog::find(snapshot, &mut findings).await?;
    let examined = "SELECT (SELECT COUNT(*) FROM coupon) + (SELECT COUNT(*) FROM redemption) \
                    + (SELECT COUNT(*) FROM refund) + (SELECT COUNT(*) FROM coupon_operation)";
    Ok(Check {
        id: "I6",
        title: "coupons, redemptions, splits and the operation log tell one legal story",
        examined: snapshot.count(examined).await?,
        violations: findings.into_violations(),
    })
}
