//! Several HTTP/2 connections to one endpoint, used in turn.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use crate::config::ClientConfig;

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Channels picked round robin. Each one reconnects by itself when its connection breaks.
#[derive(Debug)]
pub(crate) struct Pool {
    channels: Vec<Channel>,
    next: AtomicUsize,
}

impl Pool {
    /// Opens all connections. Fails with `INVALID_ARGUMENT` on a bad configuration and with
    /// `UNAVAILABLE` when the endpoint does not answer.
    pub(crate) async fn connect(config: &ClientConfig) -> Result<Self, Status> {
        if config.channels == 0 {
            return Err(Status::invalid_argument("channels must be at least 1"));
        }
        let endpoint = endpoint(config)?;
        let mut channels = Vec::with_capacity(config.channels);
        for _ in 0..config.channels {
            channels.push(endpoint.connect().await.map_err(|error| unreachable(config, &error))?);
        }
        Ok(Self { channels, next: AtomicUsize::new(0) })
    }

    /// The channel whose turn it is.
    pub(crate) fn pick(&self) -> Channel {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.channels[turn % self.channels.len()].clone()
    }
}

fn endpoint(config: &ClientConfig) -> Result<Endpoint, Status> {
    let endpoint = Endpoint::from_shared(config.endpoint.clone()).map_err(|error| {
        Status::invalid_argument(format!(
            "endpoint {:?} is not a URI like http://127.0.0.1:50051: {error}",
            config.endpoint
        ))
    })?;
    Ok(endpoint
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT))
}

fn unreachable(config: &ClientConfig, error: &tonic::transport::Error) -> Status {
    let mut message = format!("cannot connect to {}: {error}", config.endpoint);
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    Status::unavailable(message)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn bad_configurations_are_named() {
        let config = ClientConfig { channels: 0, ..ClientConfig::default() };
        let error = Pool::connect(&config).await.expect_err("no channels");
        assert_eq!(error.code(), Code::InvalidArgument);

        let error = Pool::connect(&ClientConfig::new("not a uri")).await.expect_err("no uri");
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains("not a uri"), "{error}");
    }

    #[tokio::test]
    async fn an_endpoint_that_does_not_answer_is_unavailable() -> anyhow::Result<()> {
        // A port that was free a moment ago and has no listener now.
        let address = tokio::net::TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let error = Pool::connect(&ClientConfig::new(format!("http://{address}"))).await;
        let error = error.expect_err("nobody listens");
        assert_eq!(error.code(), Code::Unavailable);
        assert!(error.message().contains(&address.to_string()), "{error}");
        Ok(())
    }
}
