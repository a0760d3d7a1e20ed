//! One call on its way: all its copies, and the one answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use http::{HeaderMap, Method, Uri, Version};
use http_body_util::{BodyExt as _, Collected, Full};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{sync::oneshot, time::sleep};
use tonic::{Code, Status, body::Body, transport::Channel};
use tower::ServiceExt as _;

use super::{
    Shared,
    faults::{Copy, Loss, Plan},
};

/// A whole answer, trailers included.
pub(super) type Answer = http::Response<Collected<Bytes>>;

/// A whole call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// Calls are numbered as they arrive, from 1.
    pub(super) number: u64,
    pub(super) path: Uri,
    pub(super) headers: HeaderMap,
    /// The message with its prefix.
    pub(super) body: Bytes,
}

/// Whoever waits for the one answer.
pub(super) struct Caller(Option<oneshot::Sender<Answer>>);

impl Caller {
    pub(super) fn new(tell: oneshot::Sender<Answer>) -> Self {
        Self(Some(tell))
    }

    /// Tells the answer to a caller that has not been told yet.
    fn tell(&mut self, answer: Answer) {
        if let Some(waiting) = self.0.take() {
            // It may have left, and everything else is as planned.
            let _ = waiting.send(answer);
        }
    }
}

/// Sends the copies of a call as planned and tells its caller what the plan lets it know.
pub(super) async fn carry(shared: Arc<Shared>, call: Call, plan: Plan, mut caller: Caller) {
    if plan.loss == Loss::Abandoned {
        shared.counts().abandoned += 1;
        caller.tell(lost(plan.code).await);
    }
    let prompt = plan.copies.iter().filter(|copy| !copy.late).enumerate();
    let mut answers: FuturesUnordered<_> =
        prompt.map(|(nth, copy)| send(&shared, &call, *copy, nth == 0)).collect();
    let mut last = None;
    while let Some(answer) = answers.next().await {
        if plan.last || plan.loss == Loss::Lost {
            last = Some(answer);
        } else {
            caller.tell(answer);
        }
    }
    if plan.loss == Loss::Lost {
        shared.counts().lost += 1;
        caller.tell(lost(plan.code).await);
    } else if let Some(answer) = last {
        caller.tell(answer);
    }
    let late = plan.copies.iter().filter(|copy| copy.late);
    let mut late: FuturesUnordered<_> =
        late.map(|copy| send(&shared, &call, *copy, false)).collect();
    while late.next().await.is_some() {}
}

/// Sends one copy when its time has come; answers what the node said, or that there is no answer.
async fn send(shared: &Shared, call: &Call, copy: Copy, first: bool) -> Answer {
    if copy.delay > Duration::ZERO {
        sleep(copy.delay).await;
    }
    if copy.held {
        let order = StdRng::seed_from_u64(shared.random().random());
        shared.pen.hold(order).await;
    }
    if first {
        shared.note_sent(call.number);
    }
    {
        let mut counts = shared.counts();
        counts.copies += u64::from(!first);
        counts.late += u64::from(copy.late);
        counts.delayed += u64::from(!copy.late && copy.delay > Duration::ZERO);
        counts.held += u64::from(copy.held);
    }
    match ask(shared.servers[copy.server].clone(), call).await {
        Ok(answer) => answer,
        Err(error) => {
            shared.counts().unanswered += 1;
            whole(Status::unavailable(format!("no answer behind the proxy: {error}"))).await
        }
    }
}

/// Sends a call as it is and waits for the whole answer.
pub(super) async fn ask(server: Channel, call: &Call) -> Result<Answer, tonic::transport::Error> {
    let mut request = http::Request::new(Body::new(Full::new(call.body.clone())));
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = call.path.clone();
    *request.headers_mut() = call.headers.clone();
    let (head, body) = server.oneshot(request).await?.into_parts();
    let answer = match body.collect().await {
        Ok(body) => http::Response::from_parts(head, body),
        Err(status) => whole(status).await,
    };
    Ok(answer)
}

/// What a caller is told whose answer is lost.
async fn lost(code: Code) -> Answer {
    whole(Status::new(code, "the answer was lost on the way")).await
}

/// A status as an answer.
async fn whole(status: Status) -> Answer {
    let (head, body) = status.into_http::<Body>().into_parts();
    let body = body.collect().await.unwrap_or_default();
    http::Response::from_parts(head, body)
}
