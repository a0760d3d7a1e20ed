//! Idempotency keys of the template calls (R61): the first outcome again, and another body refused.

use coupon_client::{CouponClient, tonic::Code, v1};
use v1::ErrorReason;

use crate::harness::{
    self,
    given::{claim, reason, template},
};

/// Sends a call twice as it is and once with another body under the same id.
macro_rules! repeat {
    ($client:expr, $rpc:ident, $request:expr, $spoil:expr) => {{
        let client: &CouponClient = $client;
        let request = $request;
        let first = client.$rpc(request.clone()).await.expect("the first call");
        let again = client.$rpc(request.clone()).await.expect("the call again");
        assert_eq!(again, first, "{} again", stringify!($rpc));
        let mut other = request;
        $spoil(&mut other);
        let error = client.$rpc(other).await.expect_err("another body");
        assert_eq!(error.reason(), Some(ErrorReason::IdempotencyKeyReused), "{error}");
        assert_eq!(error.code(), Code::AlreadyExists, "{error}");
        first
    }};
}

// R61: for every mutating template call.
#[tokio::test]
async fn a_repeated_template_call_answers_the_first_outcome() {
    let harness = harness::start().await;
    let client = &harness.client;
    let id = |verb: &str| format!("op-{verb}");

    let create =
        v1::CreateTemplateRequest { request_id: id("create"), template: Some(template(10)) };
    let created =
        repeat!(client, create_template, create, |request: &mut v1::CreateTemplateRequest| {
            request.template.as_mut().expect("a template").total_count += 1;
        });
    let template_id = created.template.expect("a template").template_id;
    let listed = client.list_templates(v1::ListTemplatesRequest::default()).await;
    assert_eq!(listed.expect("a page").templates.len(), 1, "created once");

    let request_id = id("audience");
    let audience = v1::AddAudienceUsersRequest { request_id, template_id, user_ids: vec![1, 2] };
    let added = repeat!(
        client,
        add_audience_users,
        audience,
        |request: &mut v1::AddAudienceUsersRequest| {
            request.user_ids.push(3);
        }
    );
    assert_eq!(added.added_count, 2, "the first outcome, not what a second call would add");

    let publish =
        v1::PublishTemplateRequest { request_id: id("publish"), template_id, bucket_count: 4 };
    let published =
        repeat!(client, publish_template, publish, |request: &mut v1::PublishTemplateRequest| {
            request.bucket_count = 2;
        });
    assert_eq!(published.template.expect("a template").bucket_count, 4);

    let raised = v1::Template { template_id, total_count: 20, ..Default::default() };
    let paths = vec!["total_count".to_owned()];
    let update = v1::UpdateTemplateRequest {
        request_id: id("update"),
        template: Some(raised),
        update_mask: Some(coupon_client::prost_types::FieldMask { paths }),
    };
    repeat!(client, update_template, update, |request: &mut v1::UpdateTemplateRequest| {
        request.template.as_mut().expect("a template").total_count += 1;
    });

    let other = client.create_template(v1::CreateTemplateRequest {
        template: Some(template(10)),
        ..Default::default()
    });
    let other = other.await.expect("another").template.expect("a template").template_id;
    let pause = v1::PauseTemplateRequest { request_id: id("pause"), template_id };
    client.pause_template(pause.clone()).await.expect("paused");
    client.pause_template(pause).await.expect("paused already, by this call");
    let reused = v1::PauseTemplateRequest { request_id: id("pause"), template_id: other };
    assert_eq!(reason(client.pause_template(reused).await), ErrorReason::IdempotencyKeyReused);
    let resume = v1::ResumeTemplateRequest { request_id: id("resume"), template_id };
    client.resume_template(resume.clone()).await.expect("resumed");
    client.resume_template(resume).await.expect("resumed already, by this call");
    let reused = v1::ResumeTemplateRequest { request_id: id("resume"), template_id: other };
    assert_eq!(reason(client.resume_template(reused).await), ErrorReason::IdempotencyKeyReused);
    let end = v1::EndTemplateRequest { request_id: id("end"), template_id };
    client.end_template(end.clone()).await.expect("ended");
    client.end_template(end).await.expect("ended already, by this call");
    let reused = v1::EndTemplateRequest { request_id: id("end"), template_id: other };
    assert_eq!(reason(client.end_template(reused).await), ErrorReason::IdempotencyKeyReused);
}

// R61: an id belongs to the call it was first used in, whatever the verb; and it is kept over a
// restart.
#[tokio::test]
async fn an_id_is_not_shared_by_two_verbs() {
    let harness = harness::start().await;
    let template_id = harness.publish(template(10)).await;
    let request_id = "one-id".to_owned();
    let pause = v1::PauseTemplateRequest { request_id: request_id.clone(), template_id };
    harness.client.pause_template(pause.clone()).await.expect("paused");
    let harness = harness.restart().await;
    let end = v1::EndTemplateRequest { request_id, template_id };
    assert_eq!(reason(harness.client.end_template(end).await), ErrorReason::IdempotencyKeyReused);
    harness.client.pause_template(pause).await.expect("the same call");
    let refused = harness.client.claim(claim(1, template_id, "r")).await;
    assert_eq!(reason(refused), ErrorReason::TemplatePaused, "it was not ended");
}

// R61: a repeated pause does not undo what came after it.
#[tokio::test]
async fn a_late_repeat_changes_nothing() {
    let harness = harness::start().await;
    let template_id = harness.publish(template(10)).await;
    let pause = v1::PauseTemplateRequest { request_id: "pause".to_owned(), template_id };
    harness.client.pause_template(pause.clone()).await.expect("paused");
    let resume = v1::ResumeTemplateRequest { request_id: "resume".to_owned(), template_id };
    harness.client.resume_template(resume).await.expect("resumed");
    harness.client.pause_template(pause).await.expect("the first outcome");
    harness.win(1, template_id).await;
}

// R61: 50 concurrent creations under one id make one template.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_calls_under_one_id_act_once() {
    let harness = harness::start().await;
    let calls = (0..50).map(|_| {
        let client = harness.client.clone();
        let request = v1::CreateTemplateRequest {
            request_id: "create".to_owned(),
            template: Some(template(10)),
        };
        tokio::spawn(async move { client.create_template(request).await })
    });
    let mut ids = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        let created = call.await.expect("no panic").expect("created, now or before");
        ids.push(created.template.expect("a template").template_id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    let listed = harness.client.list_templates(v1::ListTemplatesRequest::default()).await;
    assert_eq!(listed.expect("a page").templates.len(), 1);
}
