//! ALARM: whatever falls due will be noticed.

use super::{Check, findings::Findings, snapshot::Snapshot};

/// The minute in which an instant's alarm rings: the first full one at or after it. SQLite's
/// division cuts towards zero and its remainder has the dividend's sign, so this rounds up for
/// every integer.
macro_rules! due_minute {
    ($column:literal) => {
        concat!("(", $column, " / 60000 + (", $column, " % 60000 > 0))")
    };
}

const NO_EXPIRY: &str = concat!(
    "SELECT printf('alarm of kind 0 (coupon expiry) at minute %d, %s UTC, is missing: %d '
                   || 'AVAILABLE coupons fall due, the first is coupon %d',
                   minute, strftime('%Y-%m-%d %H:%M', minute * 60, 'unixepoch'), COUNT(*),
                   MIN(coupon_id))
     FROM (SELECT coupon_id, ",
    due_minute!("valid_until"),
    " AS minute FROM coupon WHERE status = 0) AS d
     WHERE NOT EXISTS (SELECT 1 FROM alarm AS a WHERE a.kind = 0 AND a.minute = d.minute)
     GROUP BY minute"
);

const NO_LAPSE: &str = concat!(
    "SELECT printf('alarm of kind 1 (lock lapse) at minute %d, %s UTC, is missing: %d LOCKED '
                   || 'redemptions fall due, the first is redemption %d',
                   minute, strftime('%Y-%m-%d %H:%M', minute * 60, 'unixepoch'), COUNT(*),
                   MIN(redemption_id))
     FROM (SELECT redemption_id, ",
    due_minute!("locked_until"),
    " AS minute FROM redemption WHERE locked_until IS NOT NULL AND state = 0) AS d
     WHERE NOT EXISTS (SELECT 1 FROM alarm AS a WHERE a.kind = 1 AND a.minute = d.minute)
     GROUP BY minute"
);

/// Every AVAILABLE coupon and every LOCKED redemption has the alarm of its minute.
pub(super) async fn check(snapshot: &mut Snapshot<'_>) -> anyhow::Result<Check> {
    let mut findings = Findings::default();
    snapshot.find(NO_EXPIRY, &mut findings).await?;
    snapshot.find(NO_LAPSE, &mut findings).await?;
    let examined = "SELECT (SELECT COUNT(*) FROM coupon WHERE status = 0) \
                    + (SELECT COUNT(*) FROM redemption WHERE state = 0)";
    Ok(Check {
        id: "ALARM",
        title: "every coupon that can expire and every lock that can lapse has its alarm",
        examined: snapshot.count(examined).await?,
        violations: findings.into_violations(),
    })
}

#[cfg(test)]
mod tests {
    use coupon_domain::time::Timestamp;
    use sqlx::{Connection, SqliteConnection};

    // The minute in SQL is the minute of the writers.
    #[tokio::test]
    async fn minutes_are_those_of_the_domain() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let sql = concat!("SELECT ", due_minute!("at"), " FROM (SELECT ? AS at)");
        for base in [-120_000, -60_000, 0, 60_000, 1_800_000_000_000, Timestamp::MAX.as_millis()] {
            for at in [base - 1, base, base + 1, base + 59_999] {
                let minute: i64 =
                    sqlx::query_scalar(sql).bind(at).fetch_one(&mut connection).await.unwrap();
                assert_eq!(minute, Timestamp::from_millis(at).due_minute().as_minutes(), "{at}");
            }
        }
    }
}
