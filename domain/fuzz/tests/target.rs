//! The fuzz target as an ordinary test, and that it can fail.

#![allow(clippy::unwrap_used)] // Also in the functions that the tests share.

#[path = "target/common.rs"]
mod common;
#[path = "target/defects.rs"]
mod defects;
#[path = "target/inputs.rs"]
mod inputs;
