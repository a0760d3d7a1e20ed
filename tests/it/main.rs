//! End-to-end, conformance, property and crash tests.

mod audit;
mod claims;
mod harness;
mod rejecting;
mod templates;
