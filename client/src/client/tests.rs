//! The attempts of a call against a server that answers by script.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use coupon_proto::v1::{
    self,
    redemption_service_server::{RedemptionService, RedemptionServiceServer},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Request, Response, Status, async_trait, transport::Server};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{ClientConfig, ClientError, CouponClient};

/// What the server does with one attempt.
enum Step {
    Answer,
    Fail(Status),
    Hang,
}

/// What the server saw of one attempt.
#[derive(Debug)]
struct Seen {
    request_id: String,
    /// `grpc-timeout`, with its unit.
    timeout: String,
}

/// Answers `Lock` and `GetRedemption` by script, then with success.
#[derive(Clone, Default)]
struct Script {
    steps: Arc<Mutex<VecDeque<Step>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Script {
    async fn play<Q>(&self, request_id: String, request: &Request<Q>) -> Result<(), Status> {
        let timeout = request.metadata().get("grpc-timeout").and_then(|value| value.to_str().ok());
        let seen = Seen { request_id, timeout: timeout.unwrap_or_default().to_owned() };
        self.seen.lock().unwrap().push(seen);
        let step = self.steps.lock().unwrap().pop_front();
        match step {
            None | Some(Step::Answer) => Ok(()),
            Some(Step::Fail(status)) => Err(status),
            Some(Step::Hang) => std::future::pending().await,
        }
    }

    fn attempts(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

#[async_trait]
impl RedemptionService for Script {
    async fn lock(
        &self,
        request: Request<v1::LockRequest>,
    ) -> Result<Response<v1::LockResponse>, Status> {
        self.play(request.get_ref().request_id.clone(), &request).await?;
        Ok(Response::new(v1::LockResponse::default()))
    }

    async fn get_redemption(
        &self,
        request: Request<v1::GetRedemptionRequest>,
    ) -> Result<Response<v1::GetRedemptionResponse>, Status> {
        self.play(String::new(), &request).await?;
        Ok(Response::new(v1::GetRedemptionResponse::default()))
    }

    async fn confirm(
        &self,
        _: Request<v1::ConfirmRequest>,
    ) -> Result<Response<v1::ConfirmResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn cancel(
        &self,
        _: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn restore(
        &self,
        _: Request<v1::RestoreRequest>,
    ) -> Result<Response<v1::RestoreResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn list_stuck_redemptions(
        &self,
        _: Request<v1::ListStuckRedemptionsRequest>,
    ) -> Result<Response<v1::ListStuckRedemptionsResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn force_confirm(
        &self,
        _: Request<v1::ForceConfirmRequest>,
    ) -> Result<Response<v1::ForceConfirmResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn force_cancel(
        &self,
        _: Request<v1::ForceCancelRequest>,
    ) -> Result<Response<v1::ForceCancelResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }
}

struct Fixture {
    client: CouponClient,
    script: Script,
    _server: AbortOnDropHandle<()>,
}

impl Fixture {
    async fn new(steps: impl IntoIterator<Item = Step>) -> anyhow::Result<Self> {
        Self::with_deadline(Duration::from_secs(10), steps).await
    }

    async fn with_deadline(
        deadline: Duration,
        steps: impl IntoIterator<Item = Step>,
    ) -> anyhow::Result<Self> {
        let script = Script::default();
        script.steps.lock().unwrap().extend(steps);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let serve = Server::builder()
            .add_service(RedemptionServiceServer::new(script.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { serve.await.expect("the server serves") });
        let client = CouponClient::connect(ClientConfig {
            channels: 2,
            deadline,
            backoff_initial: Duration::from_millis(1),
            backoff_max: Duration::from_millis(2),
            ..ClientConfig::new(endpoint)
        })
        .await?;
        Ok(Self { client, script, _server: AbortOnDropHandle::new(server) })
    }

    async fn lock(&self, request_id: &str) -> Result<v1::LockResponse, ClientError> {
        let request = v1::LockRequest { request_id: request_id.to_owned(), ..Default::default() };
        self.client.lock(request).await
    }
}

fn fail(code: Code) -> Step {
    Step::Fail(Status::new(code, "scripted"))
}

// R61: one key per call, whatever happens to its attempts.
#[tokio::test]
async fn the_minted_request_id_stays_the_same_over_attempts() -> anyhow::Result<()> {
    let fixture = Fixture::new([
        fail(Code::Unavailable),
        fail(Code::DeadlineExceeded),
        fail(Code::ResourceExhausted),
        Step::Answer,
    ])
    .await?;
    fixture.lock("").await?;
    let seen = fixture.script.seen.lock().unwrap();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0].request_id.len(), 32);
    assert!(seen.iter().all(|attempt| attempt.request_id == seen[0].request_id), "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn two_calls_get_two_request_ids() -> anyhow::Result<()> {
    let fixture = Fixture::new([]).await?;
    fixture.lock("").await?;
    fixture.lock("").await?;
    let seen = fixture.script.seen.lock().unwrap();
    assert_ne!(seen[0].request_id, seen[1].request_id);
    Ok(())
}

#[tokio::test]
async fn a_given_request_id_is_sent_as_it_is() -> anyhow::Result<()> {
    let fixture = Fixture::new([fail(Code::Unavailable)]).await?;
    fixture.lock("order-7-lock").await?;
    let seen = fixture.script.seen.lock().unwrap();
    let ids: Vec<_> = seen.iter().map(|attempt| attempt.request_id.as_str()).collect();
    assert_eq!(ids, ["order-7-lock", "order-7-lock"]);
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_final() -> anyhow::Result<()> {
    let mut details = ErrorDetails::new();
    details.set_error_info("COUPON_USED", coupon_proto::ERROR_DOMAIN, []);
    let refusal = Status::with_error_details(Code::FailedPrecondition, "already redeemed", details);
    let fixture = Fixture::new([Step::Fail(refusal)]).await?;
    let error = fixture.lock("").await.expect_err("refused");
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert_eq!(error.reason(), Some(v1::ErrorReason::CouponUsed));
    assert_eq!(error.attempts(), 1);
    assert_eq!(fixture.script.attempts(), 1);
    Ok(())
}

#[tokio::test]
async fn attempts_end_and_the_last_status_is_the_result() -> anyhow::Result<()> {
    let fixture = Fixture::new((0..9).map(|_| fail(Code::Unavailable))).await?;
    let error = fixture.lock("").await.expect_err("never answered");
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(error.attempts(), 4);
    assert_eq!(fixture.script.attempts(), 4);
    Ok(())
}

#[tokio::test]
async fn reads_are_sent_again_too() -> anyhow::Result<()> {
    let fixture = Fixture::new([fail(Code::Unavailable)]).await?;
    fixture.client.get_redemption(v1::GetRedemptionRequest::default()).await?;
    assert_eq!(fixture.script.attempts(), 2);
    Ok(())
}

// A hint beyond the deadline is not waited for.
#[tokio::test]
async fn a_hint_that_does_not_fit_ends_the_call_at_once() -> anyhow::Result<()> {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(3600)));
    let shed = Status::with_error_details(Code::ResourceExhausted, "queue full", details);
    let fixture = Fixture::new([Step::Fail(shed)]).await?;
    let error = fixture.lock("").await.expect_err("shed");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert_eq!(fixture.script.attempts(), 1);
    Ok(())
}

#[tokio::test]
async fn no_answer_within_the_deadline_is_an_unknown_outcome() -> anyhow::Result<()> {
    let fixture = Fixture::with_deadline(Duration::from_millis(50), [Step::Hang]).await?;
    let error = fixture.lock("").await.expect_err("hangs");
    assert_eq!(error.code(), Code::DeadlineExceeded);
    Ok(())
}

// What is left of the deadline travels with every attempt and only shrinks.
#[tokio::test]
async fn every_attempt_carries_what_is_left_of_the_deadline() -> anyhow::Result<()> {
    let fixture = Fixture::new([fail(Code::Unavailable)]).await?;
    fixture.lock("").await?;
    let seen = fixture.script.seen.lock().unwrap();
    let micros: Vec<u64> = seen
        .iter()
        .map(|attempt| attempt.timeout.strip_suffix('u').expect("microseconds").parse())
        .collect::<Result<_, _>>()?;
    assert_eq!(micros.len(), 2);
    assert!(micros[0] <= 10_000_000 && micros[1] < micros[0], "{micros:?}");
    Ok(())
}
