//! I5: no piece of stock appears or vanishes.

use std::collections::HashMap;

use coupon_domain::ids::{SLOTS, UserId};
use sqlx::Row;

use super::{Check, findings::Findings, snapshot::Snapshot};

/// A raise of the total writes the template first and its buckets right after, and the next start
/// finishes one that was cut off: only that state is wrong and yet mends itself. Pieces on their way
/// from one shard to another count until they have arrived.
const NOT_THE_TOTAL: &str = "
    SELECT printf('template %d: %d pieces granted to its buckets, its total is %d%s',
                  t.template_id, IFNULL(SUM(b.granted), 0), t.total_count,
                  CASE WHEN IFNULL(SUM(b.granted), 0) < t.total_count
                       THEN ' (audit again if the total was being raised just now, or restart '
                            || 'the server if it stopped meanwhile)' ELSE '' END)
    FROM template AS t
    LEFT JOIN (SELECT template_id, granted FROM stock_bucket
               UNION ALL SELECT template_id, pieces FROM transfer_out
               WHERE transfer_id NOT IN (SELECT transfer_id FROM transfer_applied)) AS b
         ON b.template_id = t.template_id
    WHERE t.published_at IS NOT NULL
    GROUP BY t.template_id HAVING IFNULL(SUM(b.granted), 0) <> t.total_count";

const NOT_THE_GRANTS: &str = "
    SELECT printf('template %d: %d pieces in its buckets, %d came by grants',
                  template_id, SUM(granted), SUM(handed))
    FROM (SELECT template_id, granted, 0 AS handed FROM stock_bucket
          UNION ALL SELECT template_id, pieces, 0 FROM transfer_out
          WHERE transfer_id NOT IN (SELECT transfer_id FROM transfer_applied)
          UNION ALL SELECT template_id, 0, handed FROM stock_grant)
    GROUP BY template_id HAVING SUM(granted) <> SUM(handed)";

const NOT_THE_TRANSFER: &str = "
    SELECT printf('transfer %d of template %d: %d pieces were taken, %d arrived',
                  o.transfer_id, o.template_id, o.pieces, a.pieces)
    FROM transfer_out AS o JOIN transfer_applied AS a ON a.transfer_id = o.transfer_id
    WHERE a.pieces <> o.pieces OR a.template_id <> o.template_id";

const WRONG_BUCKETS: &str = "
    SELECT printf('template %d: has %d buckets numbered up to %d, was published with %d',
                  t.template_id, COUNT(b.bucket), MAX(b.bucket), t.buckets)
    FROM template AS t JOIN stock_bucket AS b ON b.template_id = t.template_id
    WHERE t.published_at IS NOT NULL
    GROUP BY t.template_id
    HAVING COUNT(b.bucket) <> t.buckets OR MIN(b.bucket) <> 0 OR MAX(b.bucket) <> t.buckets - 1";

const BUCKET_OF_NONE: &str = "
    SELECT printf('template %d, bucket %d: there is no such template', template_id, bucket)
    FROM stock_bucket WHERE template_id NOT IN (SELECT template_id FROM template)";

const COUPON_OF_NONE: &str = "
    SELECT printf('coupon %d of user %d: there is no template %d', coupon_id, user_id, template_id)
    FROM coupon WHERE template_id NOT IN (SELECT template_id FROM template)";

const COUPON_ASTRAY: &str = "
    SELECT printf('coupon %d of user %d does not end with the last four digits of its user',
                  coupon_id, user_id)
    FROM coupon WHERE coupon_id % 10000 <> user_id % 10000";

const REDEMPTION_ASTRAY: &str = "
    SELECT printf('redemption %d of user %d does not end with the last four digits of its user',
                  redemption_id, user_id)
    FROM redemption WHERE redemption_id % 10000 <> user_id % 10000";

/// Coupons counted in one go; bounds what SQLite sorts and answers.
const CHUNK: i64 = 100_000;

/// Coupons that took stock, of one chunk after a coupon id, by template and slot.
const BY_SLOT: &str = "
    SELECT template_id, user_id % 10000, SUM(claim_no > 0), MAX(coupon_id)
    FROM (SELECT coupon_id, template_id, user_id, claim_no FROM coupon
          WHERE coupon_id > ?1 ORDER BY coupon_id LIMIT ?2)
    GROUP BY template_id, user_id % 10000";

/// Grants add up to totals, issued counts to coupons, and every row is where its user is.
pub(super) async fn check(snapshot: &mut Snapshot<'_>) -> anyhow::Result<Check> {
    let mut findings = Findings::default();
    for sql in [
        NOT_THE_TOTAL,
        NOT_THE_GRANTS,
        NOT_THE_TRANSFER,
        WRONG_BUCKETS,
        BUCKET_OF_NONE,
        COUPON_OF_NONE,
        COUPON_ASTRAY,
        REDEMPTION_ASTRAY,
    ] {
        snapshot.find(sql, &mut findings).await?;
    }
    issued_are_coupons(snapshot, &mut findings).await?;
    let examined = "SELECT (SELECT COUNT(*) FROM coupon) + (SELECT COUNT(*) FROM redemption) \
                    + (SELECT COUNT(*) FROM stock_bucket)";
    Ok(Check {
        id: "I5",
        title: "stock granted adds up to the totals, stock issued to the coupons",
        examined: snapshot.count(examined).await?,
        violations: findings.into_violations(),
    })
}

/// Coupons by (template, bucket).
type Taken = HashMap<(i64, u16), i64>;

/// What a bucket issued are the coupons of its users, without reissues.
async fn issued_are_coupons(
    snapshot: &mut Snapshot<'_>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let mut taken = count_taken(snapshot).await?;
    let sql = "SELECT template_id, bucket, issued FROM stock_bucket ORDER BY template_id, bucket";
    let compare = |row: sqlx::sqlite::SqliteRow| {
        let (template, bucket, issued): (i64, i64, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let key = u16::try_from(bucket).map(|bucket| (template, bucket));
        let coupons = key.ok().and_then(|key| taken.remove(&key)).unwrap_or(0);
        if coupons != issued {
            findings.add(format!(
                "template {template}, bucket {bucket}: issued {issued}, but {coupons} coupons of \
                 its users are stored"
            ));
        }
        Ok(())
    };
    snapshot.each(sql, compare).await?;
    let mut homeless: Vec<_> = taken.into_iter().filter(|(_, coupons)| *coupons > 0).collect();
    homeless.sort_unstable();
    for ((template, bucket), coupons) in homeless {
        findings.add(format!(
            "template {template}, bucket {bucket}: there is no such bucket, but {coupons} coupons \
             of its users are stored"
        ));
    }
    Ok(())
}

async fn count_taken(snapshot: &mut Snapshot<'_>) -> anyhow::Result<Taken> {
    let mut buckets: HashMap<i64, u16> = HashMap::new();
    let note = |row: sqlx::sqlite::SqliteRow| {
        buckets.insert(row.try_get(0)?, row.try_get(1)?);
        Ok(())
    };
    snapshot.each("SELECT template_id, buckets FROM template", note).await?;
    let mut taken = Taken::new();
    let mut after = i64::MIN;
    loop {
        let rows = snapshot.chunk(BY_SLOT, (after, CHUNK)).await?;
        if rows.is_empty() {
            return Ok(taken);
        }
        for row in rows {
            let (template, slot, coupons): (i64, i64, i64) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            after = after.max(row.try_get(3)?);
            // Coupons of no template have been told already.
            let Some(buckets) = buckets.get(&template) else { continue };
            let bucket = UserId::new(SLOTS + slot)?.slot().bucket(*buckets);
            *taken.entry((template, bucket)).or_default() += coupons;
        }
    }
}
