//! What must hold of the evaluator and of refunds, whatever comes: bytes are decoded into a cart,
//! rules, coupons and refunds, and each promise of `coupon_domain::evaluate` and
//! `coupon_domain::redemption` is checked on them.
//!
//! [`run`] is what libFuzzer calls and what the tests call with fixed inputs. The expected sums come
//! from an oracle that is written after the documentation of the evaluator, for clearness and not for
//! speed, and shares no code with it. What is checked goes through [`Subject`], so that tests can put
//! a defective evaluator in the place of the sound one and see it caught.

mod bytes;
mod case;
mod check;
mod oracle;
mod subject;

pub use case::{Case, Shelf};
pub use check::{Seen, Violation, check};
pub use subject::{Sound, Subject};

/// Effort of a search that is meant to end with a proof.
const EFFORT_FULL: usize = 1_000_000;

/// Checks every property on whatever the bytes decode to.
///
/// # Panics
/// When a property does not hold, which is how a fuzzer is told.
pub fn run(data: &[u8]) {
    let Some(case) = Case::decode(data) else { return };
    if let Err(violation) = check(&case, &Sound) {
        panic!("{violation}");
    }
}
