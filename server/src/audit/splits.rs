//! I6: stored evaluations add up, coupon by coupon and line by line (R59).

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use serde::Deserialize;
use sqlx::Row;

use super::{findings::Findings, snapshot::Snapshot};

/// A coupon's part as stored: coupon, template, discount, shares (line, discount), share of the
/// shipping charge, eligible lines.
#[derive(Debug, Deserialize)]
struct StoredUse(
    i64,
    i64,
    i64,
    Vec<(String, i64)>,
    #[serde(default)] i64,
    #[serde(default)] Vec<usize>,
);

/// A line as stored: line, amount, discount, pieces.
#[derive(Debug, Deserialize)]
struct StoredLine(String, i64, i64, #[serde(default = "one")] i64);

const fn one() -> i64 {
    1
}

/// An evaluation as stored, money in minor units.
#[derive(Debug, Deserialize)]
struct Stored {
    /// In the order applied.
    uses: Vec<StoredUse>,
    lines: Vec<StoredLine>,
    /// Amount and discount of the shipping charge.
    #[serde(default)]
    shipping: (i64, i64),
}

/// Judges every stored evaluation.
pub(super) async fn find(
    snapshot: &mut Snapshot<'_>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let sql = "SELECT redemption_id, user_id, order_id, evaluation FROM redemption \
               WHERE evaluation IS NOT NULL ORDER BY redemption_id";
    let judge = |row: sqlx::sqlite::SqliteRow| {
        let text: String = row.try_get(3)?;
        if let Some(fault) = fault_of(&text) {
            let (id, user, order): (i64, i64, String) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            findings.add(format!("redemption {id} of user {user}, order `{order}`: {fault}"));
        }
        Ok(())
    };
    snapshot.each(sql, judge).await
}

/// The first thing wrong with an evaluation.
fn fault_of(text: &str) -> Option<String> {
    let stored: Stored = match serde_json::from_str(text) {
        Ok(stored) => stored,
        Err(error) => return Some(format!("its evaluation cannot be read ({error})")),
    };
    if stored.uses.is_empty() {
        return Some("its evaluation names no coupon".to_owned());
    }
    if let Some(StoredLine(line, _, _, pieces)) = stored.lines.iter().find(|line| line.3 < 1) {
        return Some(format!("line `{line}` has {pieces} pieces"));
    }
    let mut left: HashMap<Place<'_>, i128> = HashMap::new();
    let (amount, discount) = stored.shipping;
    let lines = stored.lines.iter().map(|line| (Place::Line(&line.0), line.1, line.2));
    for (place, amount, discount) in lines.chain([(Place::Shipping, amount, discount)]) {
        if !(0 <= discount && discount <= amount) {
            return Some(format!("{place} of {amount} has a discount of {discount}"));
        }
        if left.insert(place, i128::from(discount)).is_some() {
            return Some(format!("{place} is there twice"));
        }
    }
    let mut coupons = HashSet::new();
    for used in &stored.uses {
        let StoredUse(coupon, template, discount, shares, shipping, eligible) = used;
        if !coupons.insert(*coupon) {
            return Some(format!("coupon {coupon} is there twice"));
        }
        if *template < 1 {
            return Some(format!("coupon {coupon} is of template {template}"));
        }
        if let Some(line) = eligible.iter().find(|line| **line >= stored.lines.len()) {
            return Some(format!("coupon {coupon} names line number {line}, which is none"));
        }
        if let Some(fault) = subtract(*coupon, *discount, shares, *shipping, &mut left) {
            return Some(fault);
        }
    }
    let (place, rest) = left.into_iter().filter(|(_, rest)| *rest != 0).min()?;
    Some(format!("{place} has {rest} of discount beyond the coupons' shares"))
}

/// What a discount is taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Place<'a> {
    Line(&'a str),
    Shipping,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line `{line}`"),
            Self::Shipping => f.write_str("the shipping charge"),
        }
    }
}

/// Takes a coupon's shares off what is left of the lines' discounts.
fn subtract<'a>(
    coupon: i64,
    discount: i64,
    shares: &'a [(String, i64)],
    shipping: i64,
    left: &mut HashMap<Place<'a>, i128>,
) -> Option<String> {
    let mut sum = 0;
    let lines = shares.iter().map(|(line, share)| (Place::Line(line), *share));
    let shipping = Some((Place::Shipping, shipping)).filter(|(_, share)| *share != 0);
    for (place, share) in lines.chain(shipping) {
        sum += i128::from(share);
        match left.get_mut(&place) {
            None => return Some(format!("coupon {coupon} has a share on {place}, which is none")),
            Some(_) if share <= 0 => {
                return Some(format!("coupon {coupon} has a share of {share} on {place}"));
            }
            Some(rest) => *rest -= i128::from(share),
        }
    }
    if sum != i128::from(discount) || discount <= 0 {
        return Some(format!("coupon {coupon} takes {discount} off, its shares add up to {sum}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(uses: &str, lines: &str) -> String {
        let text = format!(r#"{{"currency":"CNY","uses":[{uses}],"lines":[{lines}]}}"#);
        fault_of(&text).unwrap_or_else(|| "none".to_owned())
    }

    // R59: the split adds up to the cent, both ways.
    #[test]
    fn splits_add_up_both_ways() {
        let (uses, lines) = (
            r#"[5,1,30,[["a",10],["b",20]]],[6,1,5,[["b",5]]]"#,
            r#"["a",10,10],["b",90,25],["c",7,0]"#,
        );
        assert_eq!(fault(uses, lines), "none");
        let says = |uses: &str, lines: &str, what: &str| {
            let fault = fault(uses, lines);
            assert!(fault.contains(what), "`{fault}` does not say `{what}`");
        };
        says("", r#"["a",9,0]"#, "names no coupon");
        says(r#"[5,1,9,[["a",8]]]"#, r#"["a",9,8]"#, "takes 9 off, its shares add up to 8");
        says(r#"[5,1,0,[]]"#, r#"["a",9,0]"#, "takes 0 off");
        says(r#"[5,1,9,[["a",9]]]"#, r#"["a",8,9]"#, "line `a` of 8 has a discount of 9");
        says(r#"[5,1,9,[["a",9]]]"#, r#"["a",8,-1]"#, "line `a` of 8 has a discount of -1");
        says(r#"[5,0,9,[["a",9]]]"#, r#"["a",9,9]"#, "is of template 0");
        says(r#"[5,1,9,[["a",9]],0,[1]]"#, r#"["a",9,9]"#, "line number 1, which is none");
        says(r#"[5,1,9,[["a",9]]]"#, r#"["a",9,9,0]"#, "line `a` has 0 pieces");
        says(r#"[5,1,9,[["a",8]],1]"#, r#"["a",9,8]"#, "the shipping charge has -1 of discount");
        says(r#"[5,1,9,[["z",9]]]"#, r#"["a",9,9]"#, "share on line `z`, which is none");
        says(r#"[5,1,9,[["a",10],["b",-1]]]"#, r#"["a",10,10],["b",2,0]"#, "share of -1");
        says(r#"[5,1,8,[["a",8]]]"#, r#"["a",9,9]"#, "line `a` has 1 of discount beyond");
        says(r#"[5,1,8,[["a",8]]]"#, r#"["a",9,7]"#, "line `a` has -1 of discount beyond");
        says(r#"[5,1,1,[["a",1]]],[5,1,1,[["a",1]]]"#, r#"["a",9,2]"#, "coupon 5 is there twice");
        says(r#"[5,1,1,[["a",1]]]"#, r#"["a",9,1],["a",9,0]"#, "line `a` is there twice");
        assert!(fault_of("{").unwrap().contains("cannot be read"));
    }
}
