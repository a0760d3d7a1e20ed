//! Carts.

use std::collections::HashSet;

use coupon_domain::{
    cart::{Cart, CartLine},
    money::{AMOUNT_MAX, Currency, Minor},
};
use coupon_proto::v1;

use super::field::{Path, Violations};

const CATEGORY_CHARS_MAX: usize = 64;

impl Violations {
    /// A cart that must be there.
    pub(super) fn cart(&mut self, value: Option<v1::Cart>, lines_max: usize) -> Option<Cart> {
        let at = Path::root("cart");
        let value = self.required(at, value)?;
        let currency = self.currency(at.field("currency_code"), &value.currency_code);
        let lines = self.lines(&at.field("lines"), value.lines, lines_max);
        let shipping =
            self.within(at.field("shipping_minor"), value.shipping_minor, 0..=AMOUNT_MAX);
        Some(Cart { currency: currency?, lines: lines?, shipping: Minor::new(shipping?) })
    }

    /// The code of a currency.
    pub(super) fn currency(&mut self, at: Path<'_>, code: &str) -> Option<Currency> {
        let currency = Currency::parse(code).ok();
        if currency.is_none() {
            self.note(at, "must be an ISO 4217 code of three capital letters, for example `CNY`");
        }
        currency
    }

    fn lines(
        &mut self,
        at: &Path<'_>,
        values: Vec<v1::CartLine>,
        lines_max: usize,
    ) -> Option<Vec<CartLine>> {
        if !self.count(*at, values.len(), 1..=lines_max) {
            return None;
        }
        let count = values.len();
        let repeated = repeated(&values);
        let mut lines = Vec::with_capacity(count);
        for (index, value) in values.into_iter().enumerate() {
            let at = at.index(index);
            if repeated.contains(&index) {
                self.note(at.field("line_id"), "must not repeat that of an earlier line");
            }
            lines.extend(self.line(&at, value));
        }
        (lines.len() == count).then_some(lines)
    }

    fn line(&mut self, at: &Path<'_>, value: v1::CartLine) -> Option<CartLine> {
        let line_id = self.visible_ascii(at.field("line_id"), value.line_id, 1..=64);
        let product = self.within(at.field("product_id"), value.product_id, 1..=i64::MAX);
        let merchant = self.within(at.field("merchant_id"), value.merchant_id, 0..=i64::MAX);
        let category = self.text(at.field("category"), value.category, 0..=CATEGORY_CHARS_MAX);
        let quantity = self.within(at.field("quantity"), value.quantity, 1..=i64::MAX);
        let amount = self.within(at.field("amount_minor"), value.amount_minor, 0..=AMOUNT_MAX);
        Some(CartLine {
            line_id: line_id?,
            product: product?,
            merchant: merchant?,
            category: category?,
            quantity: quantity?,
            amount: Minor::new(amount?),
        })
    }
}

/// Which lines bear the id of an earlier one.
fn repeated(lines: &[v1::CartLine]) -> HashSet<usize> {
    let mut seen = HashSet::with_capacity(lines.len());
    let again = lines.iter().enumerate().filter(|(_, line)| !seen.insert(line.line_id.as_str()));
    again.map(|(index, _)| index).collect()
}
