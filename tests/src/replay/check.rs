//! What must hold of every combination that the platform answers, judged from the outside.

use std::collections::HashMap;

use coupon_client::v1::{Cart, Combination, CouponUse, LineDiscount, Redemption};

/// The money of a combination, be it quoted or locked.
pub(crate) struct Split<'a> {
    coupons: &'a [CouponUse],
    lines: &'a [LineDiscount],
    discount_minor: i64,
    payable_minor: i64,
}

impl<'a> From<&'a Combination> for Split<'a> {
    fn from(combination: &'a Combination) -> Self {
        Self {
            coupons: &combination.coupons,
            lines: &combination.lines,
            discount_minor: combination.discount_minor,
            payable_minor: combination.payable_minor,
        }
    }
}

impl<'a> From<&'a Redemption> for Split<'a> {
    fn from(redemption: &'a Redemption) -> Self {
        Self {
            coupons: &redemption.coupons,
            lines: &redemption.lines,
            discount_minor: redemption.discount_minor,
            payable_minor: redemption.payable_minor,
        }
    }
}

impl Split<'_> {
    /// Checks that the shares add up to the discounts, coupon by coupon and line by line, and that
    /// no line goes below zero; the error is a sentence about the first thing that does not hold.
    pub(crate) fn check(&self, cart: &Cart) -> Result<(), String> {
        self.check_lines(cart)?;
        let mut of_line: HashMap<&str, i64> = HashMap::new();
        let mut total = 0;
        for coupon in self.coupons {
            let mut of_coupon = 0;
            for share in &coupon.shares {
                if share.discount_minor < 0 {
                    return Err(format!(
                        "coupon {} adds to line {}",
                        coupon.coupon_id, share.line_id
                    ));
                }
                *of_line.entry(&share.line_id).or_default() += share.discount_minor;
                of_coupon += share.discount_minor;
            }
            same(
                &format!("shares of coupon {}", coupon.coupon_id),
                of_coupon,
                coupon.discount_minor,
            )?;
            total += of_coupon;
        }
        same("discounts of all coupons", total, self.discount_minor)?;
        for line in self.lines {
            let shares = of_line.remove(line.line_id.as_str()).unwrap_or(0);
            same(&format!("shares of line {}", line.line_id), shares, line.discount_minor)?;
        }
        match of_line.keys().next() {
            Some(line_id) => Err(format!("a share names line {line_id}, which is not in the cart")),
            None => Ok(()),
        }
    }

    fn check_lines(&self, cart: &Cart) -> Result<(), String> {
        if self.lines.len() != cart.lines.len() {
            return Err(format!("{} lines for a cart of {}", self.lines.len(), cart.lines.len()));
        }
        for (line, sent) in self.lines.iter().zip(&cart.lines) {
            if line.line_id != sent.line_id {
                return Err(format!(
                    "line {} stands where {} was sent",
                    line.line_id, sent.line_id
                ));
            }
            if line.discount_minor < 0 || line.payable_minor < 0 {
                return Err(format!("line {} goes below zero", line.line_id));
            }
            let whole = line.discount_minor + line.payable_minor;
            same(&format!("both parts of line {}", line.line_id), whole, sent.amount_minor)?;
        }
        let discount = self.lines.iter().map(|line| line.discount_minor).sum();
        same("discounts of all lines", discount, self.discount_minor)?;
        let payable = self.lines.iter().map(|line| line.payable_minor).sum();
        same("payables of all lines", payable, self.payable_minor)
    }
}

fn same(what: &str, sum: i64, expected: i64) -> Result<(), String> {
    if sum == expected { Ok(()) } else { Err(format!("{what} add up to {sum}, not {expected}")) }
}

#[cfg(test)]
mod tests {
    use coupon_client::v1::{CartLine, LineShare};

    use super::*;

    fn cart() -> Cart {
        let line = |line_id: &str, amount_minor| CartLine {
            line_id: line_id.to_owned(),
            product_id: 1,
            quantity: 1,
            amount_minor,
            ..CartLine::default()
        };
        Cart {
            currency_code: "USD".to_owned(),
            lines: vec![line("1", 100), line("2", 50)],
            ..Cart::default()
        }
    }

    fn combination() -> Combination {
        let line = |line_id: &str, amount_minor, discount_minor| LineDiscount {
            line_id: line_id.to_owned(),
            amount_minor,
            discount_minor,
            payable_minor: amount_minor - discount_minor,
            ..LineDiscount::default()
        };
        let share = |line_id: &str, discount_minor| LineShare {
            line_id: line_id.to_owned(),
            discount_minor,
        };
        Combination {
            coupons: vec![CouponUse {
                coupon_id: 5,
                template_id: 6,
                discount_minor: 30,
                shares: vec![share("1", 20), share("2", 10)],
                ..CouponUse::default()
            }],
            lines: vec![line("1", 100, 20), line("2", 50, 10)],
            discount_minor: 30,
            payable_minor: 120,
            optimal: true,
            ..Combination::default()
        }
    }

    fn complaint(change: impl FnOnce(&mut Combination)) -> String {
        let mut combination = combination();
        change(&mut combination);
        Split::from(&combination).check(&cart()).expect_err("must be noticed")
    }

    #[test]
    fn a_sound_combination_passes() {
        assert_eq!(Split::from(&combination()).check(&cart()), Ok(()));
    }

    #[test]
    fn each_way_to_be_wrong_is_noticed() {
        assert!(complaint(|c| c.coupons[0].shares[0].discount_minor = 21).contains("coupon 5"));
        assert!(complaint(|c| c.coupons[0].shares[0].line_id = "2".to_owned()).contains("line 1"));
        assert!(complaint(|c| c.coupons[0].shares[0].line_id = "3".to_owned()).contains("line 1"));
        assert!(complaint(|c| c.coupons.clear()).contains("all coupons"));
        assert!(complaint(|c| c.payable_minor = 0).contains("payables"));
        assert!(complaint(|c| c.discount_minor = 31).contains("discounts of all lines"));
        assert!(complaint(|c| c.lines.swap(0, 1)).contains("stands where"));
        assert!(complaint(|c| c.lines.truncate(1)).contains("1 lines"));
        assert!(complaint(|c| c.lines[1].payable_minor = 0).contains("both parts of line 2"));
        let below = complaint(|c| {
            c.lines[1].discount_minor = 60;
            c.lines[1].payable_minor = -10;
        });
        assert!(below.contains("below zero"), "{below}");
    }
}
