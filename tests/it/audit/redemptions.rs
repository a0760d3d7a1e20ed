//! Defects of coupons, redemptions, refunds and splits.

use super::fixture::{check_defects, id, redemption};

// R50, R58, R63: coupons, redemptions and refunds that contradict each other.
#[tokio::test]
async fn defects_of_redemptions_are_caught() -> anyhow::Result<()> {
    let coupon = |columns: &str, n: i64, user: i64| {
        format!("UPDATE coupon SET {columns} WHERE coupon_id = {}", id(n, user))
    };
    let order =
        |columns: &str, n: i64| format!("UPDATE redemption SET {columns} WHERE order_id = 'o{n}'");
    let rename = |from: i64, to: i64, n: i64| {
        format!(
            "UPDATE redemption SET evaluation = replace(evaluation, '[{from},', '[{to},') \
             WHERE order_id = 'o{n}'"
        )
    };
    let (c1, c2, c3) = (id(1, 10_001), id(2, 10_001), id(3, 10_002));
    let mut defects: Vec<(&str, String)> = vec![
        ("has status 7 (unknown)", coupon("status = 7", 10, 10_009)),
        ("(AVAILABLE) with redemption 5", coupon("redemption_id = 5", 10, 10_009)),
        (
            "(AVAILABLE) with redemption none, locked until 9",
            coupon("locked_until = 9", 10, 10_009),
        ),
        (
            "(EXPIRED) with redemption none, locked until never, used at 9",
            coupon("used_at = 9", 4, 10_003),
        ),
        ("(USED) with redemption none", coupon("redemption_id = NULL", 9, 10_007)),
        ("used at never", coupon("used_at = NULL", 3, 10_002)),
        ("(LOCKED) with redemption none", coupon("redemption_id = NULL", 2, 10_001)),
        (
            "it is locked until 1700000040001, the coupon until 9",
            coupon("locked_until = 9", 2, 10_001),
        ),
        ("it does not exist", coupon("redemption_id = 5", 2, 10_001)),
        (
            "LOCKED by redemption 560001: its state is 3",
            coupon("redemption_id = 560001", 2, 10_001),
        ),
        (
            "USED by redemption 540006: it is of user 10006",
            coupon("redemption_id = 540006", 3, 10_002),
        ),
        ("USED by redemption 520002: it does not name the coupon", rename(c3, 5, 52)),
        ("LOCKED by redemption 510001: it does not name the coupon", rename(c2, c1, 51)),
        ("has state 9 (unknown)", order("state = 9", 56)),
        (
            "USED by redemption 520002: its state is 3",
            order("state = 3, close_request_id = NULL, close_fingerprint = NULL", 52),
        ),
        (
            "refund `f1` of user 10005, order `o53`: redemption 530005",
            order("state = 3, close_request_id = NULL, close_fingerprint = NULL", 53),
        ),
        (
            "state 4: 270 was paid, 270 given back, its refunds come to 269",
            r#"UPDATE refund SET coupons = replace(coupons, '"amount":270', '"amount":269')"#
                .to_owned(),
        ),
        (
            "state 4: 270 was paid, 269 given back, its refunds come to 270",
            order("evaluation = json_set(evaluation, '$.refunded.amount', 269)", 53),
        ),
        (
            "state 4: 275 was paid, 270 given back",
            order("evaluation = json_set(evaluation, '$.shipping', json('[5,0]'))", 53),
        ),
        (
            "the shipping charge of 5 has a discount of 9",
            order("evaluation = json_set(evaluation, '$.shipping', json('[5,9]'))", 52),
        ),
        // Only coupons whose fate a refund has decided may have left a confirmed order.
        (
            "is CONFIRMED with coupon 60005: it is held by redemption none",
            order(
                "state = 1, evaluation = json_set(evaluation, '$.refunded.coupons', json('[]'))",
                53,
            ) + "; "
                + &coupon("redemption_id = NULL", 6, 10_005),
        ),
        ("RESTORED without a refund", "UPDATE refund SET redemption_id = 5".to_owned()),
        (
            "coupon 70005 of user 10005 replaces coupon 60005, which is of another user",
            coupon("template_id = 800000", 7, 10_005),
        ),
        (
            "has state 2 (CANCELLED) with no evaluation, first locked at never, locked until 9",
            order("locked_until = 9", 55),
        ),
        ("closed at never by request `c`", order("closed_at = NULL", 54)),
        ("by request ``", order("close_request_id = NULL", 52)),
        ("has state 2 (CANCELLED)", order("close_fingerprint = NULL", 55)),
        ("has state 3 (LAPSED)", order("close_request_id = 'c', close_fingerprint = 1", 56)),
        ("first locked at never", order("first_locked_at = NULL", 56)),
        (
            "has state 3 (LAPSED) with no evaluation",
            order("evaluation = NULL, first_locked_at = NULL", 56),
        ),
        ("is CONFIRMED with coupon 5: it does not exist", rename(c3, 5, 52)),
        ("is LOCKED with coupon 10001: its status is 0", rename(c2, c1, 51)),
        ("is CONFIRMED with coupon 100009: it is of user 10009", rename(c3, id(10, 10_009), 52)),
        (
            "is CONFIRMED with coupon 30002: it is of template 700000",
            order("evaluation = replace(evaluation, ',700000,', ',800000,')", 52),
        ),
        (
            "is CONFIRMED with coupon 30002: its status is 0",
            coupon("status = 0, redemption_id = NULL, used_at = NULL", 3, 10_002),
        ),
        // A coupon in two live redemptions.
        (
            "is LOCKED with coupon 20001: it is held by redemption 510001",
            redemption(57, 10_001, 0, &[c2]),
        ),
        ("its evaluation cannot be read", order("evaluation = '{'", 56)),
        (
            "takes 31 off, its shares add up to 30",
            order("evaluation = replace(evaluation, ',30,[', ',31,[')", 56),
        ),
        (
            r"line `a` of 9 has a discount of 10",
            order(r#"evaluation = replace(evaluation, '["a",100,10]', '["a",9,10]')"#, 53),
        ),
        (
            r"line `a` has 1 of discount beyond",
            order(r#"evaluation = replace(evaluation, '["a",100,10]', '["a",100,11]')"#, 51),
        ),
        (
            "refund `f1` of user 10005, order `o53`: redemption 520002",
            "UPDATE refund SET redemption_id = 520002".to_owned(),
        ),
        ("order `o53`, is RESTORED without a refund", "DELETE FROM refund".to_owned()),
        (
            "refund `f1` of user 7, order `o53`: redemption 530005",
            "UPDATE refund SET user_id = 7".to_owned(),
        ),
        (
            "refund `f1` of user 10005, order `x`: redemption 530005",
            "UPDATE refund SET order_id = 'x'".to_owned(),
        ),
        (
            "which is of another user or template",
            coupon("reissue_of = 30002, claim_no = -30002", 7, 10_005),
        ),
    ];
    let missing_origin = coupon("reissue_of = 5, claim_no = -5", 7, 10_005);
    defects.push((
        "coupon 70005 of user 10005 replaces coupon 5, which does not exist",
        missing_origin,
    ));
    let free = "status = 0, redemption_id = NULL, used_at = NULL";
    defects.push(("replaces coupon 60005, which has status 0, not USED", coupon(free, 6, 10_005)));
    let defects: Vec<_> =
        defects.into_iter().map(|(says, sql)| (says, sql, ["I6"].as_slice())).collect();
    check_defects(&defects).await
}
