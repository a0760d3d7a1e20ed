//! What is known of the pieces given by all shards.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use coupon_domain::{ids::TemplateId, template::Template};

/// Templates remembered; beyond it all are forgotten and proven anew when somebody asks.
const TEMPLATES_MAX: usize = 100_000;

/// Per template, a number of pieces that all shards together have given. It only grows, so what it
/// proves of a total stays proven.
#[derive(Default)]
pub(in crate::ledger::sql) struct Proofs(Mutex<HashMap<TemplateId, i64>>);

impl Proofs {
    /// So many pieces have been given at least.
    pub(super) fn note_issued(&self, template: TemplateId, issued: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TEMPLATES_MAX && !known.contains_key(&template) {
            known.clear();
        }
        let count = known.entry(template).or_insert(issued);
        *count = issued.max(*count);
    }

    /// Whether fewer than `pieces` are left of the template's total.
    pub(in crate::ledger::sql) fn prove_sold_out(&self, template: &Template, pieces: i64) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&template.id).is_some_and(|issued| issued + pieces > template.total)
    }
}
