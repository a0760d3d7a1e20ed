//! Defects of claims, stock and alarms.

use super::fixture::{BUCKETS, DRAFT, T, VALID, bucket_of, check_defects, coupon, id};

// R62, R63: oversold, over the limit, one key with two bodies.
#[tokio::test]
async fn defects_of_claims_are_caught() -> anyhow::Result<()> {
    let lone = bucket_of(10_002);
    let set = |columns: &str, n: i64, user: i64| {
        format!("UPDATE coupon SET {columns} WHERE coupon_id = {}", id(n, user))
    };
    let rule = |content: &str| format!("UPDATE rule SET content = '{content}'");
    check_defects(&[
        (
            &format!("template {T}, bucket {lone}: issued"),
            format!("UPDATE stock_bucket SET granted = CASE bucket WHEN {lone} THEN 1 ELSE 19 END"),
            &["I1"],
        ),
        (
            "issued -1 of",
            format!("UPDATE stock_bucket SET issued = -1 WHERE bucket = {lone}"),
            &["I1", "I5"],
        ),
        (
            "issued 10 of a total of 9",
            format!("UPDATE template SET total_count = 9 WHERE template_id = {T}"),
            &["I1", "I5"],
        ),
        (
            "user 10009 holds 2 coupons of template 700000, the limit is 1",
            rule(r#"{"per_user_limit":1}"#),
            &["I2"],
        ),
        (
            "user 10009 holds 2 coupons of template 700000, numbered up to 3",
            set("claim_no = 3", 11, 10_009),
            &["I2"],
        ),
        (
            "user 10002 holds 1 coupons of template 700000, numbered up to 2",
            set("claim_no = 2", 3, 10_002),
            &["I2"],
        ),
        ("template 700000: its rule says no per-user limit", rule("{}"), &["I2"]),
        ("its rule says no per-user limit", rule("no json"), &["I2"]),
        ("its rule says no per-user limit", rule(r#"{"per_user_limit":0}"#), &["I2"]),
        ("its rule says no per-user limit", "DELETE FROM rule".to_owned(), &["I2"]),
        (
            "has the claim number -5 and replaces coupon 60005",
            set("claim_no = -5", 7, 10_005),
            &["I2"],
        ),
        (
            "has the claim number -5 and replaces none",
            set("claim_no = -5", 4, 10_003),
            &["I2", "I5"],
        ),
        (
            "user 10009, template 700000: request `q` gave coupons under 2 fingerprints",
            set("fingerprint = 6", 10, 10_009),
            &["I4"],
        ),
        (
            "order `o51`: a lock request id is stored twice",
            r#"UPDATE redemption SET locks = '[["l1",7],["l1",8]]' WHERE order_id = 'o51'"#
                .to_owned(),
            &["I4"],
        ),
        (
            "order `o52`: a lock request id is stored twice, or they cannot be read",
            "UPDATE redemption SET locks = '[' WHERE order_id = 'o52'".to_owned(),
            &["I4"],
        ),
    ])
    .await
}

// R17, R18, R63: stock that appeared or vanished, rows outside their user's slot.
#[tokio::test]
async fn defects_of_stock_are_caught() -> anyhow::Result<()> {
    let lone = bucket_of(10_002);
    let buckets = |sql: &str| format!("UPDATE stock_bucket SET {sql} WHERE bucket = {lone}");
    check_defects(&[
        (
            "21 pieces granted to its buckets, its total is 20",
            buckets("granted = granted + 1"),
            &["I5"],
        ),
        (
            "19 pieces granted to its buckets, its total is 20 (audit again",
            buckets("granted = granted - 1"),
            &["I5"],
        ),
        (
            "20 pieces in its buckets, 21 came by grants",
            "UPDATE stock_grant SET handed = 21".to_owned(),
            &["I5"],
        ),
        (
            "22 pieces granted to its buckets, its total is 20",
            "DELETE FROM transfer_applied".to_owned(),
            &["I5"],
        ),
        (
            "transfer 7 of template 700000: 2 pieces were taken, 3 arrived",
            "UPDATE transfer_applied SET pieces = 3".to_owned(),
            &["I5"],
        ),
        (
            "0 pieces in its buckets, 3 came by grants",
            format!("INSERT INTO stock_grant VALUES ({DRAFT}, 3)"),
            &["I5"],
        ),
        (
            "has 2 buckets numbered up to 2, was published with 2",
            format!("UPDATE stock_bucket SET bucket = 2 WHERE bucket = {}", BUCKETS - 1),
            &["I5"],
        ),
        (
            "has 2 buckets numbered up to 1, was published with 2",
            "UPDATE stock_bucket SET bucket = -1 WHERE bucket = 0".to_owned(),
            &["I5"],
        ),
        (
            "there is no such bucket, but",
            format!("UPDATE stock_bucket SET bucket = 2 WHERE bucket = {lone}"),
            &["I5"],
        ),
        (
            "has 2 buckets numbered up to 2, was published with 3",
            format!(
                "UPDATE template SET buckets = 3 WHERE template_id = {T}; \
                 UPDATE stock_bucket SET bucket = 2 WHERE bucket = 1"
            ),
            &["I5"],
        ),
        (
            "template 5, bucket 0: there is no such template",
            "INSERT INTO stock_bucket VALUES (5, 0, 0, 0, 0)".to_owned(),
            &["I5"],
        ),
        ("coupons of its users are stored", buckets("issued = issued + 1"), &["I5"]),
        (
            "coupons of its users are stored",
            format!("DELETE FROM coupon WHERE coupon_id = {}", id(11, 10_009)),
            &["I5"],
        ),
        (
            "coupon 120010 of user 10010: there is no template 5",
            coupon(12, 10_010, 1, 0, "NULL, NULL, NULL", "NULL").replace(&format!(" {T},"), " 5,"),
            &["I5"],
        ),
        (
            "coupon 119999 of user 10009 does not end with the last four digits",
            format!("UPDATE coupon SET coupon_id = 119999 WHERE coupon_id = {}", id(11, 10_009)),
            &["I5"],
        ),
        (
            "redemption 559999 of user 10008 does not end with the last four digits",
            "UPDATE redemption SET redemption_id = 559999 WHERE order_id = 'o55'".to_owned(),
            &["I5"],
        ),
    ])
    .await
}

// R11, R63: something falls due that no alarm knows of.
#[tokio::test]
async fn defects_of_alarms_are_caught() -> anyhow::Result<()> {
    let ids = ["ALARM"].as_slice();
    check_defects(&[
        (
            "alarm of kind 0 (coupon expiry) at minute 30000000, 2027-01-15 08:00 UTC, is \
             missing: 4 AVAILABLE coupons fall due, the first is coupon 10001",
            "DELETE FROM alarm WHERE kind = 0".to_owned(),
            ids,
        ),
        (
            "at minute 30000001, 2027-01-15 08:01 UTC, is missing: 1 AVAILABLE coupons",
            format!("UPDATE coupon SET valid_until = {} WHERE coupon_id = 100009", VALID + 1),
            ids,
        ),
        (
            "alarm of kind 1 (lock lapse) at minute 28333335, 2023-11-14 22:15 UTC, is missing: \
             1 LOCKED redemptions fall due, the first is redemption 510001",
            "UPDATE alarm SET minute = minute - 1 WHERE kind = 1".to_owned(),
            ids,
        ),
    ])
    .await
}
