//! Runs an example through the evaluator and the redemption functions, and compares what comes of it
//! with what is written.

use coupon_domain::{
    CouponFault, Refusal, Rejection,
    book::Book,
    evaluate::{Candidate, Evaluation, Evaluator, SearchLimits},
    fingerprint::Fingerprinter,
    ids::{CouponId, RedemptionId, TemplateId, UserId},
    money::Minor,
    redemption::{
        CloseCommand, LockCommand, RedemptionState, RefundOf, RequestMark, RestoreCommand,
        RestoreResult, Restored, confirm, lock, restore,
    },
    rules::Rules,
    time::Timestamp,
};

use super::{
    read::{Action, Example},
    rules::yuan,
};
use crate::shelf::{self, DAY, LIMITS, Shelf};

const ORDER: &str = "order";

/// How many lines of results came out as written; or the first step that did not, with its place.
pub(crate) fn check(example: &Example) -> Result<usize, String> {
    let mut shop = Shop::of(example);
    let mut checked = 0;
    for step in &example.steps {
        let found = shop.perform(&step.action, &step.text);
        if found != step.expected {
            let indented = |lines: &[String]| format!("\n    {}", lines.join("\n    "));
            return Err(format!(
                "{}: `{}` of `{}` is written to give{}\n  but gives{}",
                step.line,
                step.text,
                example.title,
                indented(&step.expected),
                indented(&found),
            ));
        }
        checked += found.len();
    }
    Ok(checked)
}

/// A user with the coupons of an example, and the order that was locked last.
struct Shop<'e> {
    example: &'e Example,
    names: Vec<&'e str>,
    shelf: Shelf,
    book: Book,
    now: Timestamp,
}

fn start() -> Timestamp {
    Timestamp::parse("2026-03-01T00:00:00Z").unwrap()
}

/// The first instant after a day; the example begins on day 1.
fn end_of(day: i64) -> Timestamp {
    start().plus(u32::try_from(day).unwrap() * DAY)
}

impl<'e> Shop<'e> {
    fn of(example: &'e Example) -> Self {
        let numbered = (1..).zip(&example.templates);
        let template =
            |(id, rules): (i64, &Rules)| (id, shelf::template(id, rules.clone(), start()));
        let shelf = Shelf(numbered.map(template).collect());
        let names = example.coupons.keys().map(String::as_str).collect();
        Self { example, names, shelf, book: Book::default(), now: start() }
    }

    fn perform(&mut self, action: &Action, text: &str) -> Vec<String> {
        match action {
            Action::Use(names) => self.use_(names),
            Action::Quote => {
                let evaluator = Evaluator::new(&self.example.cart);
                let worth = |one: &Candidate<'_>| match evaluator.judge(one) {
                    Ok(usable) => {
                        format!("{} is worth {}", self.name(one.coupon), yuan(usable.alone()))
                    }
                    Err(fault) => self.fault(&fault),
                };
                let mut lines: Vec<String> =
                    self.candidates(&self.names).iter().map(worth).collect();
                lines.extend(self.best(100_000));
                lines
            }
            Action::Best(effort) => self.best(*effort),
            Action::Refund(of) => self.refund(of, text),
            Action::Day(day) => {
                self.now = end_of(day - 1);
                Vec::new()
            }
        }
    }

    /// What Quote and Lock make of exactly these coupons, which must be the same.
    fn use_(&mut self, names: &[String]) -> Vec<String> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let candidates = self.candidates(&names);
        let quoted = Evaluator::new(&self.example.cart).combine(&candidates);
        let coupons: Vec<CouponId> = candidates.iter().map(|one| one.coupon).collect();
        let locked = self.lock(coupons);
        match quoted {
            Ok(evaluation) => {
                assert_eq!(locked.as_ref(), Ok(&evaluation), "Lock and Quote differ");
                self.evaluation(&evaluation)
            }
            Err(refusal) => {
                assert_eq!(locked.unwrap_err().reason, refusal.reason, "Lock and Quote differ");
                let first = format!("refused with {}", reason(refusal.reason));
                let faults = refusal.faults.iter().map(|fault| self.fault(fault));
                std::iter::once(first).chain(faults).collect()
            }
        }
    }

    fn lock(&mut self, coupons: Vec<CouponId>) -> Result<Evaluation, Refusal> {
        self.book = Book::default();
        for (name, given) in &self.example.coupons {
            let coupon =
                shelf::coupon(self.id(name), user(), given.template, start(), end_of(given.day));
            self.book.load_coupon(coupon);
        }
        let command = LockCommand {
            user: user(),
            order: ORDER.to_owned(),
            request: mark("lock"),
            coupons: coupons.clone(),
            cart: self.example.cart.clone(),
            ttl: DAY,
            expected_discount: None,
        };
        let id = RedemptionId::new(1_000_000).unwrap();
        let locked = lock(&mut self.book, &command, &self.shelf, LIMITS, id, self.now)?;
        let paid =
            CloseCommand { user: user(), order: ORDER.to_owned(), request: mark("pay"), coupons };
        confirm(&mut self.book, &paid, self.now)?;
        Ok(locked.evaluation.unwrap())
    }

    fn refund(&mut self, of: &RefundOf, text: &str) -> Vec<String> {
        // Two refunds in the same words on one day are two refunds.
        let request = mark(&format!("{text} after {}", self.refunded()));
        let command =
            RestoreCommand { user: user(), order: ORDER.to_owned(), request, of: of.clone() };
        let fresh = CouponId::new(2_000_000).unwrap();
        match restore(&mut self.book, &command, &self.shelf, || fresh, self.now) {
            Ok(restored) => self.restored(&restored),
            Err(refusal) => vec![format!("refused with {}", reason(refusal.reason))],
        }
    }

    fn refunded(&self) -> Minor {
        self.book.redemption_of(user(), ORDER).map_or(Minor::ZERO, |order| order.refunded.amount)
    }

    fn restored(&self, restored: &Restored) -> Vec<String> {
        let amounts = &restored.amounts;
        let mut parts: Vec<String> = amounts
            .lines
            .iter()
            .map(|line| format!("{} {}", line.line_id, yuan(line.amount)))
            .collect();
        if amounts.shipping > Minor::ZERO {
            parts.push(format!("shipping {}", yuan(amounts.shipping)));
        }
        let clawed = yuan(Minor::new(amounts.clawed_back.abs()));
        match amounts.clawed_back.signum() {
            1 => parts.push(format!("less {clawed} clawed back")),
            -1 => parts.push(format!("plus {clawed} clawed back before")),
            _ => {}
        }
        let mut lines = vec![format!("gives back {}: {}", yuan(amounts.amount), parts.join(", "))];
        for one in &restored.coupons {
            let name = self.name(one.coupon);
            let until = |until: Timestamp| until.since(start()).as_secs() / DAY.as_secs();
            lines.push(match (one.result, one.valid_until.map(until)) {
                (RestoreResult::GivenBack, Some(day)) => {
                    format!("{name} comes back until day {day}")
                }
                (RestoreResult::Reissued, Some(day)) => {
                    format!("{name} is replaced by a new one until day {day}")
                }
                _ => format!("{name} stays used"),
            });
        }
        if restored.redemption.state == RedemptionState::Restored {
            lines.push(format!("{} given back in all", yuan(restored.redemption.refunded.amount)));
        }
        lines
    }

    fn best(&self, effort: usize) -> Vec<String> {
        let limits = SearchLimits { effort, coupons_max: 100 };
        let candidates = self.candidates(&self.names);
        let Some(best) = Evaluator::new(&self.example.cart).best(&candidates, limits) else {
            return vec!["no coupon is usable".to_owned()];
        };
        let proven = if best.optimal { "proven best" } else { "not proven best" };
        let mut lines = self.evaluation(&best.evaluation);
        lines.push(proven.to_owned());
        lines
    }

    /// One line for each coupon, and one for what is left to pay.
    fn evaluation(&self, evaluation: &Evaluation) -> Vec<String> {
        let mut lines = Vec::new();
        for used in &evaluation.uses {
            let shares = used.shares.iter().map(|share| (share.line_id.as_str(), share.discount));
            let name = self.name(used.coupon);
            let shares = list(shares.chain([("shipping", used.shipping)]));
            lines.push(format!("{name} takes {}: {shares}", yuan(used.discount)));
        }
        let places = evaluation.lines.iter().map(|line| (line.line_id.as_str(), line.payable()));
        let places = list(places.chain([("shipping", evaluation.shipping.payable())]));
        let paid = yuan(evaluation.payable());
        lines.push(if places.contains(',') {
            format!("pays {paid}: {places}")
        } else {
            format!("pays {paid}")
        });
        lines
    }

    fn fault(&self, fault: &CouponFault) -> String {
        let what = format!("{}: {}", self.name(fault.coupon), reason(fault.reason));
        if fault.missing == Minor::ZERO {
            return what;
        }
        format!("{what}, {} missing", yuan(fault.missing))
    }

    fn candidates(&self, names: &[&str]) -> Vec<Candidate<'_>> {
        let candidate = |name: &&str| {
            let given = &self.example.coupons[*name];
            let template = TemplateId::new(given.template).unwrap();
            let rules = &self.shelf.0[&given.template].rules;
            Candidate { coupon: self.id(name), template, valid_until: end_of(given.day), rules }
        };
        names.iter().map(candidate).collect()
    }

    /// Coupons are numbered from 1 in the order of their names.
    fn id(&self, name: &str) -> CouponId {
        let place = self.names.iter().position(|known| *known == name).unwrap();
        CouponId::new(i64::try_from(place).unwrap() + 1).unwrap()
    }

    fn name(&self, coupon: CouponId) -> &str {
        self.names[usize::try_from(coupon.get()).unwrap() - 1]
    }
}

/// `NAME AMOUNT, ..` without what is nothing.
fn list<'a>(places: impl Iterator<Item = (&'a str, Minor)>) -> String {
    let some = places.filter(|(_, amount)| *amount > Minor::ZERO);
    some.map(|(name, amount)| format!("{name} {}", yuan(amount))).collect::<Vec<_>>().join(", ")
}

fn user() -> UserId {
    UserId::new(42).unwrap()
}

fn mark(id: &str) -> RequestMark {
    RequestMark { request_id: id.to_owned(), fingerprint: Fingerprinter::new(id).finish() }
}

/// The reason as it is on the wire.
fn reason(rejection: Rejection) -> String {
    let mut name = String::new();
    for letter in format!("{rejection:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
