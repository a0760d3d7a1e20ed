//! The flash-sale demo keeps every promise (R1, R10, R17, R45, R51).

use serde_json::Value;

use crate::harness::programs::{program, run};

// R1, R10: 2,000 users grab 200 coupons, each sending its claim four times.
#[tokio::test]
async fn a_flash_sale_keeps_every_promise() {
    let args = ["--users", "2000", "--stock", "200", "--json"];
    let ended = run(program("coupon-demo"), &args, &[]).await;
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stderr, ended.stdout);
    let report: Value = serde_json::from_str(ended.stdout.trim()).expect("one JSON object");
    assert_eq!(report["ok"], true, "{report}");
    let invariants = report["invariants"].as_array().expect("a list of invariants");
    assert!(!invariants.is_empty());
    assert!(invariants.iter().all(|invariant| invariant["ok"] == true), "{report}");
    // Each winner also claims a second time, under another id.
    let expected = [
        ("claims", 8_200),
        ("won", 200),
        ("replays", 600),
        ("sold_out", 7_200),
        ("limit", 200),
        ("refused", 0),
        ("errors", 0),
    ];
    for (key, value) in expected {
        assert_eq!(report[key].as_i64(), Some(value), "{key} in {report}");
    }
}
