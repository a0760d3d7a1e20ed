use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;
use crate::replay::data::Notes;

const FILES: [(&str, &str); 7] = [
    ("campaigns.csv", "campaign_id,type,start_date,end_date\n7,Type A,2017-01-02,2017-01-31\n"),
    ("coupons.csv", "campaign_id,coupon_upc,amount_cents,per_household\n7,555,100,2\n"),
    ("coupon_products.csv", "campaign_id,coupon_upc,product_id\n7,555,1\n7,555,2\n7,555,1\n"),
    (
        "products.csv",
        "product_id,manufacturer_id,department,product_category\n1,30,X,BREAD\n2,31,X,\n",
    ),
    ("recipients.csv", "campaign_id,household_id\n7,4\n7,2\n7,4\n"),
    (
        "baskets.csv",
        "basket_id,household_id,store_id,transaction_timestamp,product_id,quantity,shelf_cents,sales_cents\n\
         90,4,1,2017-01-05 10:11:12,1,1,300,250\n\
         91,2,1,2017-01-05 10:11:12,2,3,90,90\n\
         90,4,1,2017-01-05 10:11:12,1,0,10,-10\n",
    ),
    (
        "redemptions.csv",
        "redemption_id,household_id,campaign_id,coupon_upc,redemption_date,basket_id,in_scope\n\
         1,4,7,555,2017-01-05,90,1\n\
         2,4,7,555,2017-01-05,99,0\n\
         3,2,7,556,2017-01-05,91,0\n\
         4,4,7,555,2017-01-05,91,0\n",
    ),
];

/// A folder of small, sound files.
fn folder() -> TempDir {
    let dir = TempDir::new().expect("temporary folder");
    for (name, text) in FILES {
        fs::write(dir.path().join(name), text).expect("write");
    }
    dir
}

/// What reading says when one file's text has been changed.
fn error_after(file: &str, from: &str, to: &str) -> String {
    let dir = folder();
    let path = dir.path().join(file);
    let text = fs::read_to_string(&path).expect("read");
    assert!(text.contains(from), "{file} does not hold {from}");
    fs::write(&path, text.replacen(from, to, 1)).expect("write");
    format!("{:#}", Journey::read(dir.path()).expect_err("must be refused"))
}

#[test]
fn sound_files_are_read_and_tolerance_is_counted() {
    let journey = Journey::read(folder().path()).expect("sound files");
    let campaign = &journey.campaigns[0];
    assert_eq!(campaign.start, 1_483_315_200);
    assert_eq!(campaign.end - campaign.start, 30 * DAY_SECONDS);
    assert_eq!(campaign.recipients, [4, 2]);
    let coupon = &journey.coupons[campaign.coupons[0]];
    assert_eq!((coupon.amount_cents, coupon.per_household), (100, 2));
    assert_eq!(coupon.product_ids, [1, 2]);
    assert_eq!(journey.products[&2].category, "");
    // The third line belongs to the first basket although another stands between them.
    let lines: Vec<_> =
        journey.baskets[0].lines.iter().map(|line| (line.quantity, line.sales_cents)).collect();
    assert_eq!(lines, [(1, 250), (1, 0)]);
    assert_eq!(journey.baskets[0].at, 1_483_315_200 + 3 * DAY_SECONDS + 10 * 3600 + 11 * 60 + 12);
    assert_eq!(journey.baskets[0].redemptions, [0]);
    let expected = Notes {
        repeated_scope_rows: 1,
        repeated_recipient_rows: 1,
        adjusted_lines: 1,
        orphan_redemptions: 2,
    };
    assert_eq!(journey.notes, expected);
}

#[test]
fn redemptions_without_a_basket_of_their_household_stay_in_the_list() {
    let journey = Journey::read(folder().path()).expect("sound files");
    let attached: Vec<_> = journey.redemptions.iter().map(|row| row.attached).collect();
    assert_eq!(attached, [true, false, true, false]);
    assert_eq!(journey.redemptions[2].coupon, None, "no campaign has coupon 556");
}

#[test]
fn gzipped_files_are_read_alike() {
    let dir = folder();
    let plain = dir.path().join("baskets.csv");
    let zipped = fs::File::create(dir.path().join("baskets.csv.gz")).expect("create");
    let mut encoder = GzEncoder::new(zipped, Compression::fast());
    encoder.write_all(&fs::read(&plain).expect("read")).expect("compress");
    encoder.finish().expect("finish");
    fs::remove_file(plain).expect("remove");
    assert_eq!(Journey::read(dir.path()).expect("sound files").baskets.len(), 2);
}

#[test]
fn a_cut_gzip_names_the_file() {
    let dir = folder();
    fs::remove_file(dir.path().join("products.csv")).expect("remove");
    fs::write(dir.path().join("products.csv.gz"), [0x1f, 0x8b, 8, 0]).expect("write");
    let error = format!("{:#}", Journey::read(dir.path()).expect_err("must be refused"));
    assert!(error.contains("products.csv.gz: line 1: cannot be read"), "{error}");
}

#[test]
fn a_missing_file_is_named_with_the_remedy() {
    for (name, _) in FILES {
        let dir = folder();
        fs::remove_file(dir.path().join(name)).expect("remove");
        let error = format!("{:#}", Journey::read(dir.path()).expect_err("must be refused"));
        assert!(error.contains(&format!("{name}: no such file")), "{error}");
        assert!(error.contains("--data"), "{error}");
    }
}

#[test]
fn a_missing_column_is_named() {
    let error = error_after("coupons.csv", "amount_cents", "amount");
    assert!(error.contains("coupons.csv: line 1: no column `amount_cents`"), "{error}");
    assert!(error.contains("per_household"), "the header is shown: {error}");
}

#[test]
fn bad_values_name_file_line_and_column() {
    let cases = [
        ("campaigns.csv", "2017-01-02", "2017-02-30", "line 2: column `start_date`"),
        ("campaigns.csv", "2017-01-02", "2017-01-02 00:00:00", "line 2: column `start_date`"),
        ("campaigns.csv", "2017-01-31", "2017-01-01", "line 2: column `end_date`: is before"),
        (
            "coupons.csv",
            "555,100",
            "555,1.5",
            "line 2: column `amount_cents`: `1.5` is not a whole",
        ),
        ("coupons.csv", "555,100", "555,0", "line 2: column `amount_cents`: 0 is less than 1"),
        ("coupons.csv", "100,2", "100,101", "line 2: column `per_household`: 101 is more than 100"),
        (
            "coupons.csv",
            "7,555",
            "8,555",
            "line 2: column `campaign_id`: 8 is not in campaigns.csv",
        ),
        ("coupon_products.csv", "7,555,2", "7,556,2", "line 3: column `coupon_upc`"),
        (
            "coupon_products.csv",
            "7,555,2",
            "7,555,",
            "line 3: column `product_id`: `` is not a whole",
        ),
        ("products.csv", "2,31,X,", "2,x,X,", "line 3: column `manufacturer_id`"),
        ("recipients.csv", "7,2", "7,-2", "line 3: column `household_id`: -2 is less than 1"),
        ("recipients.csv", "7,2", "9,2", "line 3: column `campaign_id`: 9 is not in"),
        (
            "baskets.csv",
            "91,2,1,2017-01-05 10:11:12",
            "91,2,1,2017-01-05",
            "line 3: column `transaction_",
        ),
        ("baskets.csv", "2,3,90,90", "2,3,90,cheap", "line 3: column `sales_cents`: `cheap`"),
        ("redemptions.csv", "99,0", "99,2", "line 3: column `in_scope`: `2` is neither 0 nor 1"),
    ];
    for (file, from, to, expected) in cases {
        let error = error_after(file, from, to);
        assert!(error.contains(&format!("{file}: {expected}")), "{file} {from} -> {to}: {error}");
    }
}

#[test]
fn rows_that_contradict_each_other_are_refused() {
    let cases = [
        (
            "campaigns.csv",
            "31\n",
            "31\n7,Type A,2017-01-02,2017-01-31\n",
            "line 3: column `campaign_id`",
        ),
        (
            "coupons.csv",
            "2\n",
            "2\n7,555,100,2\n",
            "line 3: column `coupon_upc`: 555 is there twice",
        ),
        ("coupons.csv", "2\n", "2\n7,556,100,2\n", "no row for coupon 556 of campaign 7"),
        (
            "baskets.csv",
            "-10\n",
            "-10\n90,2,1,2017-01-05 10:11:12,1,1,1,1\n",
            "line 5: column `household_id`",
        ),
        (
            "baskets.csv",
            "-10\n",
            "-10\n90,4,1,2017-01-06 10:11:12,1,1,1,1\n",
            "line 5: column `transaction_",
        ),
    ];
    for (file, from, to, expected) in cases {
        let error = error_after(file, from, to);
        assert!(error.contains(expected), "{file} {from} -> {to}: {error}");
    }
}

#[test]
fn short_and_long_rows_are_refused() {
    let error = error_after("recipients.csv", "7,2\n", "7\n");
    assert!(error.contains("recipients.csv: line 3: column `household_id`: missing"), "{error}");
    let error = error_after("recipients.csv", "7,2\n", "7,2,3\n");
    assert!(error.contains("recipients.csv: line 3: 3 fields under a header of 2"), "{error}");
}

#[test]
fn text_that_is_not_utf8_names_line_and_column() {
    let dir = folder();
    let mut text = FILES[3].1.as_bytes().to_vec();
    text.extend_from_slice(b"3,32,X,\xff\n");
    fs::write(dir.path().join("products.csv"), text).expect("write");
    let error = format!("{:#}", Journey::read(dir.path()).expect_err("must be refused"));
    assert!(
        error.contains("products.csv: line 4: column `product_category`: not UTF-8"),
        "{error}"
    );
}
