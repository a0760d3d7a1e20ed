//! End-to-end, conformance, property and crash tests.

mod audit;
mod harness;
mod rejecting;
mod templates;
