//! Harness, demo, replay and benches: everything that drives the platform from outside, over real
//! gRPC.

pub mod bench;
pub mod chaos;
pub mod cluster;
pub mod demo;
pub mod dtm;
pub mod http;
pub mod platform;
pub mod process;
pub mod redis;
pub mod replay;
pub mod services;
pub mod unruly;
