//! A real grocer's year, replayed through the public API, ends in exactly these figures (R3, R11,
//! R28, R44, R47, R51, R59).

use serde_json::Value;

use crate::harness::programs::{program, quick, run};

// R11, R51: every coupon used or expired, by time and alarms alone.
#[tokio::test]
async fn a_year_of_campaigns_ends_in_exactly_these_figures() {
    if quick() {
        println!("skipped: the replay is not part of the quick tests");
        return;
    }
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/data/journey");
    let ended = run(program("coupon-replay"), &["--data", data, "--json"], &[]).await;
    let last = ended.stdout.lines().last().unwrap_or_default();
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stderr, ended.stdout);
    let summary: Value = serde_json::from_str(last).expect("the last line is JSON");
    let expected = [
        ("issued", 418_002),
        ("used", 727),
        ("refused", 119),
        ("expired", 417_275),
        ("available", 0),
        ("locked", 0),
        ("voided", 0),
        ("orders", 419),
        ("multi_coupon_orders", 154),
        ("capped", 14),
        ("mismatches", 0),
        ("violation_count", 0),
        ("campaigns", 27),
        ("templates", 1_197),
        ("baskets", 9_432),
    ];
    for (key, value) in expected {
        assert_eq!(summary[key].as_i64(), Some(value), "{key} in {summary}");
    }
    // What the users' lists say is what the counts say.
    assert_eq!(summary["listed"]["used"].as_i64(), Some(727), "{summary}");
    assert_eq!(summary["listed"]["expired"].as_i64(), Some(417_275), "{summary}");
    assert!(summary["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{summary}");
}
