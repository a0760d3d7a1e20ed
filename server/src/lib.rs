//! The coupon platform's server: gRPC in front of the ledger (truth), the gate (early refusals) and
//! the alarms (time). The rooms below are listed in the order a request walks through them.

pub mod app;
pub mod audit;
pub mod backend;
pub mod config;
pub mod data_dir;
pub mod error;
#[cfg(feature = "sabotage")]
pub mod faults;
pub mod policy;
pub mod rpc;
pub mod serving;
pub mod telemetry;
pub mod usecase;

pub mod alarm;
pub mod catalog;
pub mod clock;
pub mod gate;
pub mod ledger;
pub mod mint;
pub mod worker;
