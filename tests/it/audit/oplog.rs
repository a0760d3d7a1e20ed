//! Defects of the operation log and of what is folded from it.

use super::fixture::{check_defects, operations, redemption};

// R50, R63: an operation log that no legal life of the coupons could have written. Planted rows lie
// beyond the fold's mark.
#[tokio::test]
async fn defects_of_the_operation_log_are_caught() -> anyhow::Result<()> {
    let log = |columns: &str, n: i64| {
        format!("UPDATE coupon_operation SET {columns} WHERE operation_id = {n}")
    };
    let add = |rows: &[(i64, i64, i64, &str, i64, &str, i64)]| operations(rows);
    let both = ["I6", "STATS"].as_slice();
    let one = ["I6"].as_slice();
    check_defects(&[
        ("operation 1 (lock): it is logged for another user", log("user_id = 7", 1), one),
        (
            "it is logged for another user, another template or several",
            log("template_id = 800000", 1),
            both,
        ),
        ("another template or several coupons", log("coupons = 2", 11), both),
        ("operation 7 (void): it leads from status 3 to 1", log("operation = 5", 7), one),
        (
            "coupon 50004, operation 8 (void): it leads from status 0 to 1",
            log("to_status = 1", 8),
            both,
        ),
        (
            "it starts from status 0, the one before ended in 3",
            add(&[(17, 2, 10_001, "o51", 0, "0", 3)]),
            one,
        ),
        ("operation 11 (restore): it leads from status 0 to 0", log("from_status = 0", 11), both),
        (
            "coupon 100009, operation 17 (restore): it is the first and starts from status none",
            add(&[(17, 10, 10_009, "o9", 4, "NULL", 0)]),
            one,
        ),
        (
            "coupon 40003, operation 17 (cancel): it is the first and starts from status 3",
            add(&[(17, 4, 10_003, "o9", 2, "3", 2)]),
            one,
        ),
        (
            "operation 7 (confirm): it is of order `o9`, the one before of order `o52`",
            log("order_id = 'o9'", 7),
            one,
        ),
        (
            "it is the last and ended in status 3, stored is 0",
            add(&[(17, 1, 10_001, "o9", 0, "0", 3)]),
            one,
        ),
        ("not of the redemption that holds it", log("order_id = 'o9'", 3), one),
        (
            "operation 17 (void): the coupon does not exist",
            add(&[(17, 99, 10_001, "", 5, "0", 4)]),
            one,
        ),
        (
            "coupon 50004 is USED, LOCKED, VOIDED or reissued and has no operation",
            "DELETE FROM coupon_operation WHERE operation_id = 8".to_owned(),
            both,
        ),
        (
            "coupon 70005 is USED, LOCKED, VOIDED or reissued and has no operation",
            "DELETE FROM coupon_operation WHERE operation_id = 11".to_owned(),
            both,
        ),
        (
            "stored coupons exceed the log by 0 LOCKED, 1 USED",
            "DELETE FROM coupon_operation WHERE operation_id IN (14, 15)".to_owned(),
            both,
        ),
        ("names no coupon, leads from status 0 to 2 and counts 0", log("coupons = 0", 16), one),
        ("operation 16 (void) of template 700000 names no coupon", log("operation = 5", 16), one),
        // An expiry of two coupons of which one is.
        (
            "stored coupons exceed the log by 0 LOCKED, 0 USED, -1 EXPIRED",
            log("coupons = 2", 16),
            one,
        ),
        (
            "by 0 LOCKED, 0 USED, 1 EXPIRED",
            "DELETE FROM coupon_operation WHERE operation_id = 16".to_owned(),
            one,
        ),
        // Confirmed, then cancelled.
        (
            "user 10002, order `o52`: operation 17 (cancel) of coupon 30002 follows a confirm",
            add(&[(17, 3, 10_002, "o52", 2, "3", 0)]),
            one,
        ),
        // Confirmed, restored and confirmed again by one order: a legal path of the coupon.
        (
            "user 10002, order `o52`: operation 18 (lock) of coupon 30002 follows a restore",
            add(&[
                (17, 3, 10_002, "o52", 4, "1", 0),
                (18, 3, 10_002, "o52", 0, "0", 3),
                (19, 3, 10_002, "o52", 1, "3", 1),
            ]),
            one,
        ),
        // By force: an edge of its own, which ends an order as the others do.
        ("operation 13 (force cancel): it leads from status 0 to 2", log("from_status = 0", 13), both),
        (
            "operation 15 (force confirm): it leads from status 4 to 1",
            log("from_status = 4", 15),
            both,
        ),
        (
            "operation 15 (force confirm): it is of order `o9`, the one before of order `o59`",
            log("order_id = 'o9'", 15),
            one,
        ),
        (
            "user 10002, order `o52`: operation 17 (force cancel) of coupon 30002 follows a confirm",
            add(&[(17, 3, 10_002, "o52", 8, "3", 0)]),
            one,
        ),
        (
            "user 10007, order `o59`: operation 15 confirmed coupon 90007, but redemption 590007 \
             has state 2",
            redemption(59, 10_007, 2, &[]),
            one,
        ),
        (
            "template 700000: folded counts exceed the log by 1 LOCKED, 0 USED",
            "UPDATE template_stat SET locked = 2".to_owned(),
            &["STATS"],
        ),
        ("-1 USED", "UPDATE template_stat SET used = 2".to_owned(), &["STATS"]),
        ("-1 EXPIRED", "UPDATE template_stat SET expired = 0".to_owned(), &["STATS"]),
        ("-1 VOIDED", "UPDATE template_stat SET voided = 0".to_owned(), &["STATS"]),
        ("0 VOIDED, -1 reissued", "UPDATE template_stat SET reissued = 0".to_owned(), &["STATS"]),
        (
            "folded counts exceed the log by -1 LOCKED, -3 USED",
            "DELETE FROM template_stat".to_owned(),
            &["STATS"],
        ),
        (
            "0 LOCKED, 0 USED, -1 EXPIRED",
            "UPDATE stat_fold SET folded_up_to = 16".to_owned(),
            &["STATS"],
        ),
    ])
    .await
}
