//! Reads an example: what is given, what is done, and what is to come of it.

use std::collections::BTreeMap;

use coupon_domain::{
    cart::{Cart, CartLine},
    money::{Currency, Minor},
    redemption::{LineQuantity, RefundOf},
    rules::Rules,
};

use super::rules::{amount, rules};

/// Days for which a coupon is valid when its example does not say.
const DAYS_VALID: i64 = 30;
/// As often the search may judge a coupon when an example does not say: as the server's default.
const EFFORT: usize = 100_000;

/// A coupon of an example. Templates are numbered as they come, coupons in the order of their names.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) template: i64,
    /// Expires at the end of this day.
    pub(crate) day: i64,
}

#[derive(Debug)]
pub(crate) enum Action {
    /// Lock exactly these.
    Use(Vec<String>),
    /// Judge each coupon alone, and find the best combination.
    Quote,
    /// Find the best combination with this effort.
    Best(usize),
    /// Refund the order of the last `Use`.
    Refund(RefundOf),
    /// Time passes until this day.
    Day(i64),
}

#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) action: Action,
    /// The lines of its result.
    pub(crate) expected: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Example {
    pub(crate) title: String,
    pub(crate) cart: Cart,
    pub(crate) templates: Vec<Rules>,
    pub(crate) coupons: BTreeMap<String, Given>,
    pub(crate) steps: Vec<Step>,
}

/// Reads the lines of an example, the first of which is line `first` of its file.
pub(crate) fn example(lines: &[&str], first: usize) -> Result<Example, String> {
    let (title, rest) = lines.split_first().ok_or(format!("{first}: an empty example"))?;
    let currency = Currency::parse("CNY").unwrap();
    let mut example = Example {
        title: (*title).to_owned(),
        cart: Cart { currency, lines: Vec::new(), shipping: Minor::ZERO },
        templates: Vec::new(),
        coupons: BTreeMap::new(),
        steps: Vec::new(),
    };
    for (text, line) in rest.iter().zip(first + 1..) {
        let read = match text.strip_prefix("  ") {
            Some(result) => example.expect(result.trim()),
            None => example.take(text.trim(), line),
        };
        read.map_err(|what| format!("{line}: {what}"))?;
    }
    if example.steps.iter().all(|step| step.expected.is_empty()) {
        return Err(format!("{first}: nothing is expected of `{title}`"));
    }
    Ok(example)
}

impl Example {
    fn expect(&mut self, result: &str) -> Result<(), String> {
        let step = self.steps.last_mut().ok_or("a result of nothing")?;
        step.expected.push(result.to_owned());
        Ok(())
    }

    fn take(&mut self, text: &str, line: usize) -> Result<(), String> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let action = match word {
            "line" => return self.line(rest),
            "shipping" => {
                self.cart.shipping = amount(rest)?;
                return Ok(());
            }
            "coupon" | "coupons" => return self.coupons(rest),
            "use" => Action::Use(self.named(rest)?),
            "quote" => Action::Quote,
            "best" => match rest.strip_prefix("with effort ") {
                Some(effort) => Action::Best(number(effort)?),
                None => Action::Best(EFFORT),
            },
            "refund" => Action::Refund(refund(rest)?),
            "day" => Action::Day(number(rest)?),
            _ => return Err(format!("`{word}` begins no line of an example")),
        };
        self.steps.push(Step { line, text: text.to_owned(), action, expected: Vec::new() });
        Ok(())
    }

    /// `NAME AMOUNT [xN] [product N] [merchant N] [category CODE]`
    fn line(&mut self, text: &str) -> Result<(), String> {
        let mut words = text.split_whitespace();
        let mut next = || words.next().ok_or_else(|| format!("`{text}` stops too early"));
        let mut line = CartLine {
            line_id: next()?.to_owned(),
            // A product that no other line has.
            product: 1_000_000 + i64::try_from(self.cart.lines.len()).unwrap(),
            merchant: 0,
            category: String::new(),
            quantity: 1,
            amount: amount(next()?)?,
        };
        while let Ok(word) = next() {
            match word {
                "product" => line.product = number(next()?)?,
                "merchant" => line.merchant = number(next()?)?,
                "category" => next()?.clone_into(&mut line.category),
                _ => match word.strip_prefix('x') {
                    Some(pieces) => line.quantity = number(pieces)?,
                    None => return Err(format!("a line has no `{word}`")),
                },
            }
        }
        self.cart.lines.push(line);
        Ok(())
    }

    /// `NAME [until day N], NAME ..: RULES`, coupons of one template.
    fn coupons(&mut self, text: &str) -> Result<(), String> {
        let (names, text) = text.split_once(':').ok_or("a coupon needs `:` before its rules")?;
        self.templates.push(rules(text)?);
        let template = i64::try_from(self.templates.len()).unwrap();
        for name in names.split(',').map(str::trim) {
            let (name, day) = match name.split_once(" until day ") {
                Some((name, day)) => (name, number(day)?),
                None => (name, DAYS_VALID),
            };
            self.coupons.insert(name.to_owned(), Given { template, day });
        }
        Ok(())
    }

    fn named(&self, text: &str) -> Result<Vec<String>, String> {
        let name = |name: &str| match self.coupons.contains_key(name) {
            true => Ok(name.to_owned()),
            false => Err(format!("there is no coupon `{name}`")),
        };
        text.split(", ").map(name).collect()
    }
}

/// `everything`, or `NAME [xN], .. [shipping]`.
fn refund(text: &str) -> Result<RefundOf, String> {
    if text == "everything" {
        return Ok(RefundOf::Everything);
    }
    let (mut lines, mut shipping) = (Vec::new(), false);
    for part in text.split(", ") {
        if part == "shipping" {
            shipping = true;
            continue;
        }
        let (line_id, quantity) = match part.split_once(" x") {
            Some((line, pieces)) => (line, number(pieces)?),
            None => (part, 1),
        };
        lines.push(LineQuantity { line_id: line_id.to_owned(), quantity });
    }
    Ok(RefundOf::Parts { lines, shipping })
}

pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no whole number"))
}
