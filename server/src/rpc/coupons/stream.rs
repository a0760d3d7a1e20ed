//! `ClaimStream`: batches of claims, several in flight, answers as they come.

use std::{
    future::ready,
    sync::{Arc, OnceLock},
    time::Instant,
};

use coupon_proto::v1;
use futures::{FutureExt as _, StreamExt as _, stream, stream::BoxStream};
use tonic::{Request, Status, Streaming};

use crate::{
    config::Config,
    error::ServiceError,
    policy,
    rpc::{decode, encode},
    usecase::{ClaimCommand, Deadline, UseCases},
};

type Answer = Result<v1::ClaimStreamResponse, Status>;

/// A message whose claims were decoded, each for itself.
struct Batch {
    sequence: i64,
    claims: Vec<Result<ClaimCommand, ServiceError>>,
}

/// Answers every batch of the stream. A batch is read only when fewer than the configured number are
/// unanswered, which holds back a caller that sends faster than the ledger writes.
///
/// A malformed batch, or a broken stream, ends the stream after the answers under way: no claim that
/// was begun stays unknown to a caller who is still there.
pub(super) fn answers(
    usecases: Arc<UseCases>,
    request: Request<Streaming<v1::ClaimStreamRequest>>,
) -> BoxStream<'static, Answer> {
    let until = request.extensions().get::<policy::Deadline>().map(|deadline| deadline.0);
    let config = Arc::clone(&usecases.config);
    let in_flight_max = config.claims.stream_in_flight_max;
    let end = Arc::new(OnceLock::new());
    let ended = Arc::clone(&end);
    request
        .into_inner()
        .map(move |message| decode(message, &config))
        .scan(end, |end, batch| ready(batch.map_err(|status| end.set(status)).ok()))
        .map(move |batch| tokio::spawn(answer(Arc::clone(&usecases), batch, until)))
        .buffer_unordered(in_flight_max)
        .map(|answer| answer.map_err(|lost| ServiceError::Internal(lost.to_string()).into()))
        .chain(last(ended))
        .boxed()
}

fn decode(
    message: Result<v1::ClaimStreamRequest, Status>,
    config: &Config,
) -> Result<Batch, Status> {
    let v1::ClaimStreamRequest { sequence, claims } = message?;
    let claims = decode::claim_batch(claims, config)?;
    Ok(Batch { sequence, claims })
}

/// Why the stream ended early, if it did.
fn last(end: Arc<OnceLock<Status>>) -> impl stream::Stream<Item = Answer> {
    let status = async move { end.get().cloned() };
    status.map(|status| stream::iter(status.map(Err))).flatten_stream()
}

/// Claims what is well formed and puts the outcomes in the order of the request.
async fn answer(
    usecases: Arc<UseCases>,
    batch: Batch,
    until: Option<Deadline>,
) -> v1::ClaimStreamResponse {
    let default = Instant::now() + usecases.config.server.deadline_default();
    let deadline = until.map_or(default, |until| until.min(default));
    let mut commands = Vec::with_capacity(batch.claims.len());
    let mut malformed = Vec::with_capacity(batch.claims.len());
    for claim in batch.claims {
        match claim {
            Ok(command) => {
                commands.push(command);
                malformed.push(None);
            }
            Err(error) => malformed.push(Some(error)),
        }
    }
    let results = usecases.claim_many(commands, deadline).await;
    let outcomes = in_order(malformed, results).map(encode::claim_outcome).collect();
    v1::ClaimStreamResponse { sequence: batch.sequence, outcomes }
}

/// The malformed claims where they stood, and between them the results of the others.
fn in_order<T>(
    malformed: Vec<Option<ServiceError>>,
    results: Vec<Result<T, ServiceError>>,
) -> impl Iterator<Item = Result<T, ServiceError>> {
    let mut results = results.into_iter();
    malformed.into_iter().map(move |error| match error {
        Some(error) => Err(error),
        // As many results as commands: anything else would be a defect of the use case.
        None => results.next().unwrap_or(Err(ServiceError::Unknown)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_stand_where_their_claims_stood() {
        let bad = || ServiceError::invalid("claims[1].user_id", "must be a positive integer");
        let malformed = vec![None, Some(bad()), None];
        let outcomes: Vec<_> = in_order(malformed, vec![Ok(1), Ok(3)]).collect();
        assert_eq!(outcomes, [Ok(1), Err(bad()), Ok(3)]);
        let outcomes: Vec<_> = in_order(vec![None], Vec::<Result<u8, _>>::new()).collect();
        assert_eq!(outcomes, [Err(ServiceError::Unknown)]);
    }
}
