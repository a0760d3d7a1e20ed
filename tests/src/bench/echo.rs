//! The baseline: a tonic service that does nothing but answer OK with as many bytes as asked for.

use std::{
    convert::Infallible,
    net::SocketAddr,
    process::Stdio,
    sync::Arc,
    task::{Context, Poll},
};

use anyhow::Context as _;
use bytes::Bytes;
use futures::future::{BoxFuture, Ready, ready};
use http::uri::PathAndQuery;
use prost::Message as _;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::Service,
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;

use super::load::{Connection, Operation, Verdict};
use crate::process::sibling_binary;

/// Name of the one method.
pub const ECHO_PATH: &str = "/coupon.bench.v1.EchoService/Echo";

/// Largest answer that can be asked for, in bytes.
pub const RESPONSE_BYTES_MAX: u32 = 1024 * 1024;

/// What the echo is asked.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EchoRequest {
    /// Wanted size of the encoded answer; 0 = as many as the server was started with.
    #[prost(uint32, tag = "1")]
    pub response_bytes: u32,
    /// Brings the request to the size of the one it is compared with.
    #[prost(bytes = "bytes", tag = "2")]
    pub filler: Bytes,
    /// See [`sized`].
    #[prost(bool, tag = "3")]
    pub pad: bool,
}

/// What the echo answers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EchoResponse {
    /// Zeros.
    #[prost(bytes = "bytes", tag = "1")]
    pub filler: Bytes,
    /// See [`sized`].
    #[prost(bool, tag = "2")]
    pub pad: bool,
}

/// A request of exactly `request_bytes` that asks for an answer of `response_bytes`. A size smaller
/// than the wish itself needs is raised to it.
pub fn request_of(request_bytes: usize, response_bytes: u32) -> EchoRequest {
    let wish = EchoRequest { response_bytes, ..EchoRequest::default() };
    let (filler_bytes, pad) = sized(request_bytes.saturating_sub(wish.encoded_len()));
    let filler = Bytes::from(vec![0; filler_bytes]);
    EchoRequest { filler, pad, ..wish }
}

/// How long a `bytes` field has to be, and whether a `bool` field has to be added, for both together
/// to take `total` bytes on the wire. The bool is needed where one more byte of filler makes its
/// length prefix grow too; 1 byte cannot be had and becomes 2.
fn sized(total: usize) -> (usize, bool) {
    const PAD_BYTES: usize = 2;
    if total == 0 {
        return (0, false);
    }
    for pad in [false, true] {
        let rest = total.saturating_sub(if pad { PAD_BYTES } else { 0 });
        for prefix in 1..=5 {
            let filler = rest.saturating_sub(1 + prefix);
            if filler > 0 && 1 + prost::length_delimiter_len(filler) + filler == rest {
                return (filler, pad);
            }
        }
    }
    (0, true)
}

/// The service; cheap to clone.
#[derive(Clone, Debug)]
pub struct EchoService {
    response_bytes: u32,
    // Answers are slices of it, so that the baseline allocates nothing for them.
    zeros: Bytes,
}

impl EchoService {
    /// Answers with `response_bytes` where the request does not say how many.
    pub fn new(response_bytes: u32) -> Self {
        let zeros = Bytes::from(vec![0; RESPONSE_BYTES_MAX as usize]);
        Self { response_bytes, zeros }
    }

    fn answer(&self, request: &EchoRequest) -> Result<EchoResponse, Status> {
        let wanted = match request.response_bytes {
            0 => self.response_bytes,
            n => n,
        };
        if wanted > RESPONSE_BYTES_MAX {
            return Err(Status::invalid_argument(format!(
                "response_bytes must be at most {RESPONSE_BYTES_MAX}"
            )));
        }
        let (filler_bytes, pad) = sized(wanted as usize);
        Ok(EchoResponse { filler: self.zeros.slice(..filler_bytes), pad })
    }
}

impl NamedService for EchoService {
    const NAME: &'static str = "coupon.bench.v1.EchoService";
}

struct EchoMethod(EchoService);

impl UnaryService<EchoRequest> for EchoMethod {
    type Response = EchoResponse;
    type Future = Ready<Result<Response<EchoResponse>, Status>>;

    fn call(&mut self, request: Request<EchoRequest>) -> Self::Future {
        ready(self.0.answer(request.get_ref()).map(Response::new))
    }
}

impl Service<http::Request<Body>> for EchoService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != ECHO_PATH {
            let unknown = Status::unimplemented("the echo has one method").into_http();
            return Box::pin(async move { Ok(unknown) });
        }
        let method = EchoMethod(self.clone());
        Box::pin(async move {
            let codec = ProstCodec::<EchoResponse, EchoRequest>::default();
            Ok(Grpc::new(codec).unary(method, request).await)
        })
    }
}

/// A `coupon-echo` of our own; killed when dropped.
#[derive(Debug)]
pub struct EchoProcess {
    child: Child,
    addr: SocketAddr,
}

impl EchoProcess {
    /// Starts the binary beside ours and waits until it listens.
    pub async fn start() -> anyhow::Result<Self> {
        let binary = sibling_binary("coupon-echo")?;
        let mut child = Command::new(&binary)
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let stdout = child.stdout.take().context("coupon-echo has no standard output")?;
        let line = BufReader::new(stdout).lines().next_line().await?.unwrap_or_default();
        let addr = line
            .strip_prefix("listening on ")
            .and_then(|addr| addr.parse().ok())
            .with_context(|| format!("coupon-echo said {line:?} instead of its address"))?;
        Ok(Self { child, addr })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process id.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("coupon-echo has ended")
    }
}

/// Calls of the baseline: sizes taken in turn.
#[derive(Clone, Debug)]
pub struct EchoCalls {
    path: PathAndQuery,
    requests: Arc<[EchoRequest]>,
    prepared: Option<Arc<[Bytes]>>,
}

impl EchoCalls {
    /// Requests that are encoded call by call, as fresh claims are: (request, answer) in bytes.
    pub fn encoded(sizes: &[(usize, usize)]) -> Self {
        let requests = sizes.iter().map(|&(request, answer)| request_of(request, answer as u32));
        let path = PathAndQuery::from_static(ECHO_PATH);
        Self { path, requests: requests.collect(), prepared: None }
    }

    /// Requests that are encoded beforehand.
    pub fn prepared(sizes: &[(usize, usize)]) -> Self {
        let calls = Self::encoded(sizes);
        let bodies = calls.requests.iter().map(|request| request.encode_to_vec().into());
        Self { prepared: Some(bodies.collect()), ..calls }
    }
}

impl EchoCalls {
    /// Of the method.
    pub fn path(&self) -> &PathAndQuery {
        &self.path
    }

    /// Every request once, encoded.
    pub fn bodies(&self) -> Vec<Bytes> {
        self.requests.iter().map(|request| request.encode_to_vec().into()).collect()
    }
}

impl Operation for EchoCalls {
    async fn run(&self, conn: &mut Connection, seq: u64) -> Verdict {
        let index = (seq % self.requests.len() as u64) as usize;
        let request = &self.requests[index];
        let body = match &self.prepared {
            Some(bodies) => bodies[index].clone(),
            None => request.encode_to_vec().into(),
        };
        let answer = match conn.unary(&self.path, body).await {
            Ok(answer) => answer,
            Err(failure) => {
                return Verdict::Violated(format!("the echo failed: {}", failure.status()));
            }
        };
        let bytes = answer.len();
        match EchoResponse::decode(answer) {
            Ok(_) if bytes == request.response_bytes as usize => Verdict::Done,
            _ => Verdict::Violated(format!("the echo answered {bytes} bytes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_exactly_the_size_asked_for() {
        // The wish takes 3 bytes; one more cannot be filled.
        for bytes in (5..600).chain(16_380..16_400) {
            assert_eq!(request_of(bytes, 150).encoded_len(), bytes, "request of {bytes} bytes");
        }
    }

    #[test]
    fn every_answer_has_exactly_the_size_asked_for() {
        let service = EchoService::new(77);
        for bytes in (2..600).chain(16_380..16_400) {
            let request = EchoRequest { response_bytes: bytes, ..EchoRequest::default() };
            let answer = service.answer(&request).expect("within bounds");
            assert_eq!(answer.encoded_len(), bytes as usize, "answer of {bytes} bytes");
        }
        let unasked = service.answer(&EchoRequest::default()).expect("within bounds");
        assert_eq!(unasked.encoded_len(), 77);
    }

    #[test]
    fn a_huge_answer_is_refused() {
        let request = EchoRequest { response_bytes: u32::MAX, ..EchoRequest::default() };
        let refused = EchoService::new(1).answer(&request).expect_err("too large");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    }
}
