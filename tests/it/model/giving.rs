//! Gives that were under way together: there has to be an order in which, one by one, each comes to
//! what it came to.

use std::collections::HashSet;

use coupon_domain::ids::CouponId;
use coupon_server::ledger::{Given, NotGiven};

use super::sequential::{Gave, Model};

/// A command under way.
#[derive(Debug, Clone)]
pub(super) struct Giving {
    pub(super) who: (i64, usize),
    pub(super) request: &'static str,
    pub(super) pieces: u32,
    pub(super) at: i64,
}

/// It and what it came to.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    pub(super) giving: Giving,
    pub(super) gave: Gave,
    pub(super) ids: Vec<CouponId>,
}

impl Observed {
    pub(super) fn of(giving: Giving, outcome: Result<Given, NotGiven>) -> Self {
        let (gave, ids) = match outcome {
            Ok(given) => {
                let numbers = given.coupons.iter().map(|coupon| coupon.claim_no).collect();
                let ids = given.coupons.iter().map(|coupon| coupon.id).collect();
                let gave = if given.replayed { Gave::Again(numbers) } else { Gave::Won(numbers) };
                (gave, ids)
            }
            Err(NotGiven::Closed) => (Gave::Closed, Vec::new()),
            Err(NotGiven::Refused(rejection)) => (Gave::Refused(rejection), Vec::new()),
            Err(NotGiven::Failed(error)) => panic!("failed: {error}"),
        };
        Self { giving, gave, ids }
    }
}

/// Carries out in the model what was observed, in an order that explains it: of commands of distinct
/// users and templates the order they were given in, otherwise any. Says what does not fit.
pub(super) fn explain(model: &mut Model, observed: &[Observed]) -> Result<(), String> {
    let distinct: HashSet<_> = observed.iter().map(|one| one.giving.who).collect();
    let in_order = distinct.len() == observed.len();
    let mut dead_ends = HashSet::new();
    match search(model, observed, 0, in_order, &mut dead_ends) {
        Some(explained) => {
            *model = explained;
            bind(model, observed)
        }
        None => Err(format!("no order explains {observed:#?} after {:?}", model.given)),
    }
}

/// Depth first; what is done by then follows from which commands are, so each set is tried once.
fn search(
    model: &Model,
    observed: &[Observed],
    done: u32,
    in_order: bool,
    dead_ends: &mut HashSet<u32>,
) -> Option<Model> {
    let mut open = (0..observed.len()).filter(|index| done & (1 << index) == 0).peekable();
    if open.peek().is_none() {
        return Some(model.clone());
    }
    if dead_ends.contains(&done) {
        return None;
    }
    for index in open.take(if in_order { 1 } else { observed.len() }) {
        let Observed { giving, gave, .. } = &observed[index];
        let mut next = model.clone();
        if next.give(giving.who, giving.request, giving.pieces, giving.at) != *gave {
            continue;
        }
        let found = search(&next, observed, done | (1 << index), in_order, dead_ends);
        if found.is_some() {
            return found;
        }
    }
    dead_ends.insert(done);
    None
}

/// Learns the real ids of new coupons, and checks those that are known.
fn bind(model: &mut Model, observed: &[Observed]) -> Result<(), String> {
    for Observed { giving, gave, ids } in observed {
        let (Gave::Won(numbers) | Gave::Again(numbers)) = gave else { continue };
        for (number, id) in numbers.iter().zip(ids) {
            let (user, template) = giving.who;
            let piece = model.pieces.iter_mut().find(|piece| {
                (piece.user, piece.template, piece.number) == (user, template, *number)
            });
            let piece = piece.expect("the order explains it");
            if *piece.id.get_or_insert(*id) != *id {
                return Err(format!("{giving:?} was told coupon {id}, it is {piece:?}"));
            }
        }
    }
    Ok(())
}
