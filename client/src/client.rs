//! The client: one method per RPC, all through one loop of attempts.

mod clock;
mod coupons;
mod redemptions;
mod templates;
#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tonic::{Response, Status, transport::Channel};

use crate::{
    config::ClientConfig,
    error::ClientError,
    pool::Pool,
    read_token::LatestToken,
    retry::{self, RetryPolicy},
};

/// A handle on the platform. Cheap to clone; clones share the connections.
///
/// Every mutating method takes its request with or without a `request_id`: an empty one is minted
/// and kept over all attempts of that call.
#[derive(Clone, Debug)]
pub struct CouponClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: Pool,
    retry: RetryPolicy,
    deadline: Duration,
    /// So that reads see what was written before them, also from replicas.
    written: LatestToken,
}

impl CouponClient {
    /// Opens the connections. `INVALID_ARGUMENT` for a bad configuration, `UNAVAILABLE` when the
    /// endpoint does not answer; this is not retried.
    pub async fn connect(config: ClientConfig) -> Result<Self, ClientError> {
        let pool = Pool::connect(&config)
            .await
            .map_err(|status| ClientError::new("connect", 0, status))?;
        let retry = RetryPolicy::new(&config);
        Ok(Self {
            shared: Arc::new(Shared {
                pool,
                retry,
                deadline: config.deadline,
                written: LatestToken::default(),
            }),
        })
    }

    /// Sends `request` until there is an answer, a failure that another attempt would not mend, or
    /// no time left.
    async fn call<Q, A, S, F>(
        &self,
        rpc: &'static str,
        deadline: Duration,
        request: Q,
        send: S,
    ) -> Result<A, ClientError>
    where
        Q: Clone,
        S: Fn(Channel, tonic::Request<Q>) -> F,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let until = Instant::now() + deadline;
        let mut attempt = 1;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut message = tonic::Request::new(request.clone());
            message.set_timeout(left);
            self.shared.written.put(message.metadata_mut());
            let answer = timeout(left, send(self.shared.pool.pick(), message)).await;
            let status = match answer {
                Ok(Ok(response)) => {
                    self.shared.written.take(response.metadata());
                    return Ok(response.into_inner());
                }
                Ok(Err(status)) => retry::normalize(status),
                Err(_elapsed) => retry::deadline_exceeded(),
            };
            let left = until.saturating_duration_since(Instant::now());
            match self.shared.retry.wait(&status, attempt, left, rand::random()) {
                Some(wait) => sleep(wait).await,
                None => return Err(ClientError::new(rpc, attempt, status)),
            }
            attempt += 1;
        }
    }
}

/// The methods of one service. `read` leaves the request as it is, `write` gives it an idempotency
/// key; both may be sent again, see `retry`.
macro_rules! rpcs {
    ($service:ident: $($(#[$doc:meta])* $kind:ident $name:ident($request:ty) -> $response:ty;)*) => {
        impl $crate::CouponClient {
            $(
                $(#[$doc])*
                pub async fn $name(
                    &self,
                    request: $request,
                ) -> Result<$response, $crate::ClientError> {
                    let request = $crate::client::rpcs!(@$kind request);
                    self.call(
                        stringify!($name),
                        self.shared.deadline,
                        request,
                        |channel, request| async move {
                            $service::new(channel).$name(request).await
                        },
                    )
                    .await
                }
            )*
        }
    };
    (@read $request:ident) => { $request };
    (@write $request:ident) => {{
        let mut request = $request;
        $crate::request_id::fill(&mut request.request_id);
        request
    }};
}
use rpcs;
