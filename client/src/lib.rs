//! The Rust SDK of the coupon platform.
//!
//! A [`CouponClient`] is a small pool of HTTP/2 channels to one endpoint with one async method per
//! RPC. It adds what every caller would otherwise write again: a deadline for the whole call, an
//! idempotency key where the caller gave none, and retries that follow the error and never the
//! text. A refusal (sold out, limit reached, already used) is final and is not sent again.
//!
//! ```no_run
//! use coupon_client::{ClientConfig, CouponClient, v1};
//!
//! # async fn order_service() -> Result<(), coupon_client::ClientError> {
//! let client = CouponClient::connect(ClientConfig::new("http://127.0.0.1:50051")).await?;
//! let claim = v1::ClaimRequest { user_id: 42, template_id: 7, ..Default::default() };
//! match client.claim(claim).await {
//!     Ok(won) => drop(won.coupon),
//!     Err(error) if error.reason() == Some(v1::ErrorReason::SoldOut) => {}
//!     Err(error) => return Err(error),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A call that ended with [`tonic::Code::DeadlineExceeded`] has an unknown outcome: send the same
//! request with the same `request_id` to settle it. Who wants to do so across restarts of their own
//! process stores the id first, made by [`new_request_id`], and passes it in.

mod client;
mod config;
mod error;
mod pool;
mod read_token;
mod request_id;
mod retry;

pub use client::CouponClient;
pub use config::ClientConfig;
pub use coupon_proto::{dev, v1};
pub use error::ClientError;
/// Timestamps, durations and field masks, as the messages carry them.
pub use prost_types;
pub use request_id::new_request_id;
/// Status codes and streams, as the client answers them.
pub use tonic;
