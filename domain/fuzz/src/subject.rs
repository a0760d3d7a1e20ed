//! What is checked.

use coupon_domain::{
    CouponFault, Refusal,
    book::Book,
    cart::Cart,
    evaluate::{Best, Candidate, Evaluation, Evaluator, SearchLimits},
    ids::CouponId,
    money::Minor,
    redemption::{RestoreCommand, Restored, restore},
    time::Timestamp,
};

use crate::case::Shelf;

/// The decisions under test, those of the domain unless overridden.
pub trait Subject {
    /// See [`Evaluator::judge`].
    ///
    /// # Errors
    /// Those of the evaluator.
    fn judge(&self, candidate: &Candidate<'_>, cart: &Cart) -> Result<Minor, CouponFault> {
        Evaluator::new(cart).judge(candidate).map(|usable| usable.alone())
    }

    /// See [`Evaluator::combine`].
    ///
    /// # Errors
    /// Those of the evaluator.
    fn combine(&self, candidates: &[Candidate<'_>], cart: &Cart) -> Result<Evaluation, Refusal> {
        Evaluator::new(cart).combine(candidates)
    }

    /// See [`Evaluator::best`].
    fn best(
        &self,
        candidates: &[Candidate<'_>],
        cart: &Cart,
        limits: SearchLimits,
    ) -> Option<Best> {
        Evaluator::new(cart).best(candidates, limits)
    }

    /// See [`restore`].
    ///
    /// # Errors
    /// Those of the function.
    fn restore(
        &self,
        book: &mut Book,
        command: &RestoreCommand,
        templates: &Shelf,
        mint: &mut dyn FnMut() -> CouponId,
        now: Timestamp,
    ) -> Result<Restored, Refusal> {
        restore(book, command, templates, mint, now)
    }
}

/// The domain as it is.
#[derive(Debug, Clone, Copy)]
pub struct Sound;

impl Subject for Sound {}
