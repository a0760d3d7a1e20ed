//! ClaimStream: many claims over one stream (R1, R10).

use std::collections::BTreeMap;

use coupon_client::{ClientConfig, tonic, v1};
use futures::{StreamExt as _, stream};
use tonic_types::{ErrorDetails, StatusExt as _};
use v1::{claim_outcome, coupon_service_client::CouponServiceClient};

use crate::harness::{
    self, Harness,
    given::{claim, rules, template, template_of},
};

/// What became of a claim: the coupon and whether it was a replay, or the reason.
type Outcome = Result<(i64, bool), String>;

fn outcome(outcome: v1::ClaimOutcome) -> Outcome {
    match outcome.result.expect("a result") {
        claim_outcome::Result::Won(won) => {
            Ok((won.coupon.expect("the coupon").coupon_id, won.replayed))
        }
        claim_outcome::Result::Error(error) => {
            let code = tonic::Code::from(error.code);
            let bytes = prost::Message::encode_to_vec(&error);
            let status = tonic::Status::with_details(code, error.message, bytes.into());
            let details: ErrorDetails = status.get_error_details();
            Err(details.error_info().expect("a reason").reason.clone())
        }
    }
}

/// Sends the batches over one stream; answers by sequence.
async fn send(
    harness: &Harness,
    batches: Vec<(i64, Vec<v1::ClaimRequest>)>,
) -> BTreeMap<i64, Vec<Outcome>> {
    let requests = batches
        .into_iter()
        .map(|(sequence, claims)| v1::ClaimStreamRequest { sequence, claims })
        .collect::<Vec<_>>();
    let answers = harness.client.claim_stream(stream::iter(requests)).await.expect("a stream");
    answers
        .map(|answer| {
            let answer = answer.expect("an answer");
            (answer.sequence, answer.outcomes.into_iter().map(outcome).collect())
        })
        .collect()
        .await
}

// R1: every claim has an outcome of its own, in the order of its batch; sequences are echoed.
#[tokio::test]
async fn every_claim_of_a_batch_has_its_own_outcome() {
    let harness = harness::start().await;
    let one = harness.publish(template(2)).await;
    let limited = v1::TemplateRules { per_user_limit: 2, ..rules() };
    let many = harness.publish(template_of(100, limited)).await;
    let batch = vec![
        claim(1, one, "a"),
        claim(1, one, "a"),
        claim(1, one, "b"),
        claim(2, one, "a"),
        claim(3, one, "a"),
        claim(3, 404, "a"),
        v1::ClaimRequest { source: "x".to_owned(), ..claim(1, one, "a") },
        claim(4, many, "a"),
        claim(4, many, "b"),
        claim(4, many, "c"),
    ];
    let answers = send(&harness, vec![(-5, batch)]).await;
    let outcomes = &answers[&-5];
    let reasons: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().err()).collect();
    let refused = |index: usize| reasons[index].map_or("", String::as_str);
    let told: Vec<_> = (0..outcomes.len()).map(refused).collect();
    let expected = [
        "",
        "",
        "LIMIT_REACHED",
        "",
        "SOLD_OUT",
        "TEMPLATE_NOT_FOUND",
        "IDEMPOTENCY_KEY_REUSED",
        "",
        "",
        "LIMIT_REACHED",
    ];
    assert_eq!(told, expected);
    let (first, again) = (outcomes[0].clone().expect("a win"), outcomes[1].clone().expect("again"));
    assert_eq!((first.0, first.1, again.1), (again.0, false, true));
    assert_eq!(harness.issued(one).await, 2);
    assert_eq!(harness.issued(many).await, 2);
}

// R1, R17: batches over several streams: exactly the total, and the wins are the ledger's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_total_is_won_over_streams() {
    let harness = harness::start().await;
    let id = harness.publish_in(template(500), 8).await;
    let batches = |first: i64| {
        let batch = move |n: i64| {
            let users = (first + n * 100)..(first + n * 100 + 100);
            (n, users.map(|user| claim(user, id, "r")).collect())
        };
        (0..10).map(batch).collect::<Vec<(i64, Vec<v1::ClaimRequest>)>>()
    };
    let (left, right) = tokio::join!(send(&harness, batches(1)), send(&harness, batches(501)));
    for answers in [&left, &right] {
        assert_eq!(answers.keys().copied().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert!(answers.values().all(|outcomes| outcomes.len() == 100));
    }
    // Users 501 to 1000 were named by both streams under the same id.
    let coupons: std::collections::BTreeSet<i64> = left
        .values()
        .chain(right.values())
        .flatten()
        .filter_map(|outcome| outcome.as_ref().ok().map(|(coupon, _)| *coupon))
        .collect();
    assert_eq!(coupons.len(), 500);
    let fresh = left.values().chain(right.values()).flatten();
    assert_eq!(fresh.filter(|outcome| matches!(outcome, Ok((_, false)))).count(), 500);
    assert_eq!(harness.issued(id).await, 500);
    let refused = left.values().chain(right.values()).flatten().filter_map(|o| o.as_ref().err());
    assert!(refused.into_iter().all(|reason| reason == "SOLD_OUT"));
}

// R10: a malformed claim gets its own error and spoils no other; a thousand fit in a batch.
#[tokio::test]
async fn a_thousand_claims_fit_in_a_batch_and_malformed_ones_are_told_apart() {
    let harness = harness::start().await;
    let id = harness.publish(template(2_000)).await;
    let mut batch: Vec<_> = (1..=1_000).map(|user| claim(user, id, "r")).collect();
    batch[17].user_id = -1;
    batch[500].request_id = "two words".to_owned();
    let requests = stream::iter([v1::ClaimStreamRequest { sequence: 1, claims: batch }]);
    // Without the SDK, which would mint ids.
    let endpoint = tonic::transport::Endpoint::from_shared(harness.endpoint()).expect("an address");
    let channel = endpoint.connect().await.expect("a connection");
    let answers = CouponServiceClient::new(channel).claim_stream(requests).await;
    let answers: Vec<_> = answers.expect("a stream").into_inner().collect().await;
    let [Ok(answer)] = answers.as_slice() else { panic!("{answers:?}") };
    let outcomes: Vec<Outcome> = answer.outcomes.iter().cloned().map(outcome).collect();
    for (index, outcome) in outcomes.iter().enumerate() {
        match index {
            17 | 500 => assert_eq!(outcome.as_ref().expect_err("malformed"), "INVALID_FIELD"),
            _ => assert!(outcome.is_ok(), "{index}: {outcome:?}"),
        }
    }
    assert_eq!(harness.issued(id).await, 998);
}

// R10: a stream that breaks off leaves every claim won or not; sending again tells which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_off_is_settled_by_sending_again() {
    let harness = harness::start().await;
    let id = harness.publish(template(10_000)).await;
    let batches: Vec<_> = (0..20)
        .map(|n| v1::ClaimStreamRequest {
            sequence: n,
            claims: (n * 100 + 1..=n * 100 + 100).map(|user| claim(user, id, "r")).collect(),
        })
        .collect();
    let client = coupon_client::CouponClient::connect(ClientConfig {
        channels: 1,
        ..ClientConfig::new(harness.endpoint())
    });
    let client = client.await.expect("connected");
    let mut answers = client.claim_stream(stream::iter(batches.clone())).await.expect("a stream");
    let first = answers.next().await.expect("an answer").expect("an answer");
    assert_eq!(first.outcomes.len(), 100);
    drop((answers, client));
    let again = batches.into_iter().map(|batch| (batch.sequence, batch.claims)).collect();
    let settled = send(&harness, again).await;
    assert!(settled.values().flatten().all(Result::is_ok));
    assert_eq!(harness.issued(id).await, 2_000);
    assert_eq!(harness.wallet(1).await.len(), 1);
}
