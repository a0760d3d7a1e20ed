//! End-to-end, conformance, property and crash tests.

mod audit;
mod broken;
mod chaos;
mod checkout;
mod claims;
mod clock;
mod conformance;
mod coordinator;
mod crash;
mod demo;
mod distributed;
mod harness;
mod issues;
mod model;
mod nodes;
mod rejecting;
mod replay;
mod startup;
mod templates;
mod wallet;
