//! Every field of every RPC has a rejecting test: INVALID_ARGUMENT naming the field, and nothing
//! written. The table is in the files beside this one; [`walk`] reads the contract and fails for a
//! field without a case.

mod case;
mod coupons;
mod redemptions;
mod rules;
mod templates;
mod valid;
mod walk;
mod world;

use std::collections::BTreeSet;

use coupon_proto::v1::{self, claim_outcome};
use futures::{StreamExt as _, stream};
use tonic::Code;
use tonic_types::StatusExt as _;

use case::{Cases, fields_of};
use world::World;

fn cases() -> Cases {
    let mut cases = Cases::default();
    templates::add(&mut cases);
    coupons::add(&mut cases);
    redemptions::add(&mut cases);
    cases
}

/// The spoiled requests are refused for the spoiled field alone and leave no trace: neither in what
/// can be read, nor in the request ids, under which the well-formed requests then succeed.
#[tokio::test]
async fn a_malformed_field_is_named_and_nothing_is_written() {
    let harness = crate::harness::start().await;
    let world = World::create(&harness).await;
    let cases = cases();
    let before = world.snapshot().await;
    for case in &cases.spoiled {
        let told = format!("{} with a malformed {}", case.rpc, case.field);
        let status = case.send(&world).await.expect_err(&told);
        assert_eq!(status.code(), Code::InvalidArgument, "{told}: {status:?}");
        assert_eq!(fields_of(&status), [case.field], "{told}");
        let info = status.get_details_error_info().expect("error info");
        assert_eq!(info.reason, "INVALID_FIELD", "{told}");
    }
    assert_eq!(world.snapshot().await, before);
    for case in &cases.valid {
        let answer = case.send(&world).await;
        assert!(answer.is_ok(), "{} well formed: {answer:?}", case.rpc);
    }
}

/// All fields that are wrong are named at once.
#[tokio::test]
async fn every_malformed_field_is_named() {
    let harness = crate::harness::start().await;
    let world = World::create(&harness).await;
    let request = v1::ClaimRequest {
        user_id: -1,
        template_id: 0,
        request_id: "a b".to_owned(),
        source: "\u{4e2d}".to_owned(),
    };
    let status = world.coupons().claim(request).await.expect_err("malformed");
    assert_eq!(fields_of(&status), ["user_id", "template_id", "request_id", "source"]);
}

/// In a batch, a malformed claim has an outcome of its own and its neighbours are claimed; a
/// malformed batch ends the stream, after the answers to the batches before it.
#[tokio::test]
async fn a_malformed_claim_spoils_its_own_outcome_and_a_malformed_batch_the_stream() {
    let harness = crate::harness::start().await;
    let world = World::create(&harness).await;
    let mut mixed = valid::claim_stream(&world);
    let well_formed = mixed.claims[0].clone();
    for (request_id, user_id) in [("mixed-1", 0), ("mixed-2", world.user + 1)] {
        mixed.claims.push(v1::ClaimRequest {
            user_id,
            request_id: request_id.to_owned(),
            ..well_formed.clone()
        });
    }
    let empty = v1::ClaimStreamRequest { sequence: 8, claims: Vec::new() };
    let requests = stream::iter([mixed, empty]);
    let answers = world.coupons().claim_stream(requests).await;
    let answers: Vec<_> = answers.expect("a stream").into_inner().collect().await;
    let [Ok(first), Err(status)] = answers.as_slice() else { panic!("{answers:?}") };
    let won =
        |outcome: &v1::ClaimOutcome| matches!(outcome.result, Some(claim_outcome::Result::Won(_)));
    assert_eq!(first.sequence, 7);
    assert_eq!(first.outcomes.iter().map(won).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(fields_of(status), ["claims"]);
}

/// A field that is added to the contract without a rejecting case fails here.
#[test]
fn every_field_of_the_contract_has_a_case_or_a_reason_for_none() {
    let cases = cases();
    let covered: BTreeSet<(String, String)> = cases
        .spoiled
        .iter()
        .map(|case| (case.rpc.to_owned(), walk::without_indices(case.field)))
        .collect();
    let known = walk::request_fields();
    let unknown: Vec<_> = covered.difference(&known).collect();
    assert!(unknown.is_empty(), "cases for no field: {unknown:#?}");

    let exempt = |(rpc, path): &(String, String)| walk::exemption(rpc, path).is_some();
    let missing: Vec<_> = known.difference(&covered).filter(|field| !exempt(field)).collect();
    assert!(missing.is_empty(), "fields without a rejecting case: {missing:#?}");
    let both: Vec<_> = covered.iter().filter(|field| exempt(field)).collect();
    assert!(both.is_empty(), "exempt although rejected: {both:#?}");
    let stale = walk::stale_exemptions(&known);
    assert!(stale.is_empty(), "exemptions for no field: {stale:#?}");

    let valid: BTreeSet<_> = cases.valid.iter().map(|case| case.rpc.to_owned()).collect();
    assert_eq!(valid, walk::rpcs(), "each RPC has its well-formed request");
}
