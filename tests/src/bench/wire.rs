//! One connection of the generator. A unary call goes straight through tonic's channel: nothing is
//! encoded, decoded or copied that the measurement does not look at, whether the answer is OK or a
//! refusal, so that the generator costs the same beside the server and beside its baseline.

use std::{error::Error, future::poll_fn, pin::pin};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Version, header, uri::PathAndQuery};
use tokio::sync::mpsc::UnboundedReceiver;
use tonic::{
    Code, Request, Status,
    body::Body,
    client::Grpc,
    codec::EncodeBody,
    codegen::{Body as _, Service as _},
    transport::Channel,
};

use super::codec::BytesCodec;

/// Compression flag and length before each message.
const PREFIX_BYTES: usize = 5;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// One connection; clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
}

/// A call that was not answered OK.
#[derive(Debug)]
pub struct Failure {
    /// The answer's code; UNAVAILABLE when there was no answer.
    pub code: Code,
    headers: HeaderMap,
    lost: String,
}

impl Failure {
    /// The whole status, details included. Costs more than all the rest of a refusal.
    pub fn status(&self) -> Status {
        let answered = Status::from_header_map(&self.headers);
        answered.unwrap_or_else(|| Status::new(self.code, self.lost.clone()))
    }

    /// For calls that got no answer: its causes, which the error alone does not tell.
    fn lost(error: &dyn Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self { code: Code::Unavailable, headers: HeaderMap::new(), lost: text }
    }

    /// `None` when the headers carry the code OK; without a code the answer is broken.
    fn of(headers: HeaderMap) -> Option<Self> {
        let code = headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
        let lost = match code {
            Some(Code::Ok) => return None,
            Some(_) => String::new(),
            None => "the answer has no grpc-status".to_owned(),
        };
        Some(Self { code: code.unwrap_or(Code::Internal), headers, lost })
    }
}

impl Connection {
    /// Over this channel.
    pub fn new(channel: Channel) -> Self {
        Self { channel }
    }

    /// A unary call with a prepared body; the answer's message is left as it came.
    pub async fn unary(&mut self, path: &PathAndQuery, message: Bytes) -> Result<Bytes, Failure> {
        let source = tokio_stream::once(Ok(message));
        let body = Body::new(EncodeBody::new_client(BytesCodec, source, None, None));
        let mut request = http::Request::new(body);
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = path.clone().into();
        request.headers_mut().insert(header::TE, TRAILERS);
        request.headers_mut().insert(header::CONTENT_TYPE, GRPC);

        let ready = poll_fn(|cx| self.channel.poll_ready(cx)).await;
        ready.map_err(|error| Failure::lost(&error))?;
        let answer = self.channel.call(request).await.map_err(|error| Failure::lost(&error))?;
        let (head, body) = answer.into_parts();
        // A refusal is all headers.
        if head.headers.contains_key("grpc-status")
            && let Some(failure) = Failure::of(head.headers)
        {
            return Err(failure);
        }
        read_message(body).await
    }

    /// A bidirectional stream of prepared bodies.
    pub async fn stream(
        &mut self,
        path: &PathAndQuery,
        bodies: UnboundedReceiver<Bytes>,
    ) -> Result<tonic::Streaming<Bytes>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await.map_err(|error| Failure::lost(&error).status())?;
        let bodies = tokio_stream::wrappers::UnboundedReceiverStream::new(bodies);
        let answers = grpc.streaming(Request::new(bodies), path.clone(), BytesCodec).await?;
        Ok(answers.into_inner())
    }
}

/// Reads the one message of an answer and its trailers.
async fn read_message(body: Body) -> Result<Bytes, Failure> {
    let mut body = pin!(body);
    let mut message = Bytes::new();
    let mut trailers = HeaderMap::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        match frame.map_err(|error| Failure::lost(&error))?.into_data() {
            Ok(data) if message.is_empty() => message = data,
            Ok(data) => {
                let mut whole = BytesMut::from(message);
                whole.extend_from_slice(&data);
                message = whole.freeze();
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    match Failure::of(trailers) {
        Some(failure) => Err(failure),
        None => unframed(message).ok_or_else(|| Failure {
            code: Code::Internal,
            headers: HeaderMap::new(),
            lost: "the answer is not one plain message".to_owned(),
        }),
    }
}

/// Takes the prefix off; `None` unless it announces exactly what follows, not compressed.
fn unframed(mut message: Bytes) -> Option<Bytes> {
    if message.len() < PREFIX_BYTES || message.get_u8() != 0 {
        return None;
    }
    let length = message.get_u32() as usize;
    (length == message.len()).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_whole_plain_message_is_unframed() {
        let unframe = |bytes: &'static [u8]| unframed(Bytes::from_static(bytes));
        assert_eq!(unframe(b"\0\0\0\0\x02ab").as_deref(), Some(&b"ab"[..]));
        assert_eq!(unframe(b"\0\0\0\0\0").as_deref(), Some(&b""[..]));
        assert_eq!(unframe(b"\x01\0\0\0\x02ab"), None);
        assert_eq!(unframe(b"\0\0\0\0\x03ab"), None);
        assert_eq!(unframe(b"\0\0"), None);
    }

    #[test]
    fn a_failure_is_told_by_its_code_and_keeps_its_status() {
        let mut headers = HeaderMap::new();
        assert_eq!(Failure::of(headers.clone()).map(|f| f.code), Some(Code::Internal));
        headers.insert("grpc-status", HeaderValue::from_static("0"));
        assert!(Failure::of(headers.clone()).is_none());
        headers.insert("grpc-status", HeaderValue::from_static("9"));
        headers.insert("grpc-message", HeaderValue::from_static("sold%20out"));
        let failure = Failure::of(headers).expect("not OK");
        assert_eq!(failure.code, Code::FailedPrecondition);
        assert_eq!(failure.status().message(), "sold out");
    }
}
