//! The properties, by what they are about.

mod combination;
mod refund;
mod search;

use std::fmt;

use crate::{Case, Subject};

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub property: &'static str,
    /// What was expected, and what came.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.detail)
    }
}

/// What a case got to: a target whose cases never get anywhere proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// The most coupons used together.
    pub stacked: usize,
    /// The best combination was compared with all others.
    pub all_tried: bool,
    /// The search ended without a proof.
    pub unproven: bool,
    /// A least payable amount cut a discount.
    pub floored: bool,
    /// Refunds accepted.
    pub refunds: usize,
    /// A refund kept something back.
    pub clawed_back: bool,
    /// A cart or rules that no check would let through.
    pub hostile: bool,
}

/// Checks every property of the case. A cart that no check would let through is only used: nothing
/// may panic, and the answers must repeat. Rules that could not have been published keep the books
/// straight, whatever they are worth.
///
/// # Errors
/// The first property that does not hold.
pub fn check(case: &Case, subject: &dyn Subject) -> Result<Seen, Violation> {
    let mut seen = Seen { hostile: !case.is_checked(), ..Seen::default() };
    combination::check(case, subject, &mut seen)?;
    search::check(case, subject, &mut seen)?;
    refund::check(case, subject, &mut seen)?;
    Ok(seen)
}

/// The property holds, or this is what happened.
fn holds(
    holds: bool,
    property: &'static str,
    detail: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { property, detail: detail() }) }
}

/// The two are equal.
fn equal<T: PartialEq + fmt::Debug>(
    property: &'static str,
    expected: &T,
    got: &T,
) -> Result<(), Violation> {
    holds(expected == got, property, || format!("expected {expected:?}, got {got:?}"))
}
