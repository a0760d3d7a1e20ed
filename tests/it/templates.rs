//! Templates: their life, what may change and what may not (R3, R8, R29, R36).

mod articles;
mod audience;
mod request_ids;
mod stats;

use coupon_client::{ClientError, tonic::Code, v1};
use v1::{ErrorReason, TemplateState};

use crate::harness::{
    self, Harness, START_MS,
    given::{DAY, claim, direct_off, fixed, instant, reason, rules, template, template_of},
};

async fn get(harness: &Harness, template_id: i64) -> v1::Template {
    let request = v1::GetTemplateRequest { template_id };
    harness.client.get_template(request).await.expect("a template").template.expect("a template")
}

/// A state change under a request id of its own; answers the state that it led to.
async fn change(
    harness: &Harness,
    verb: &str,
    template_id: i64,
) -> Result<TemplateState, ClientError> {
    let (client, request_id) = (&harness.client, String::new());
    let template = match verb {
        "publish" => {
            let request = v1::PublishTemplateRequest { request_id, template_id, bucket_count: 0 };
            client.publish_template(request).await?.template
        }
        "pause" => {
            let request = v1::PauseTemplateRequest { request_id, template_id };
            client.pause_template(request).await?.template
        }
        "resume" => {
            let request = v1::ResumeTemplateRequest { request_id, template_id };
            client.resume_template(request).await?.template
        }
        "end" => {
            let request = v1::EndTemplateRequest { request_id, template_id };
            client.end_template(request).await?.template
        }
        other => panic!("no verb {other}"),
    };
    Ok(template.expect("the template").state())
}

/// An update of `paths` to what `template` says.
async fn update(
    harness: &Harness,
    template: v1::Template,
    paths: &[&str],
) -> Result<v1::Template, ClientError> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = v1::UpdateTemplateRequest {
        template: Some(template),
        update_mask: Some(coupon_client::prost_types::FieldMask { paths }),
        ..Default::default()
    };
    Ok(harness.client.update_template(request).await?.template.expect("the template"))
}

// R3, R8, R36: what was put in is there, with what the server adds.
#[tokio::test]
async fn a_template_is_stored_as_it_was_sent() {
    let harness = harness::start().await;
    let sent = v1::Template { merchant_id: 77, ..template(640) };
    let id = harness.draft(sent.clone()).await;
    let draft = get(&harness, id).await;
    let expected = v1::Template {
        name: format!("templates/{id}"),
        template_id: id,
        state: TemplateState::Draft.into(),
        version: 1,
        created_at: Some(instant(START_MS)),
        ..sent
    };
    assert_eq!(draft, expected);
    harness.advance(START_MS + DAY).await;
    assert_eq!(change(&harness, "publish", id).await.expect("published"), TemplateState::Active);
    let published = v1::Template {
        state: TemplateState::Active.into(),
        published_at: Some(instant(START_MS + DAY)),
        bucket_count: 10,
        ..expected
    };
    assert_eq!(get(&harness, id).await, published);
    let harness = harness.restart().await;
    assert_eq!(get(&harness, id).await, published);
    let missing = harness.client.get_template(v1::GetTemplateRequest { template_id: 1 }).await;
    let missing = missing.expect_err("no such template");
    assert_eq!(missing.code(), Code::NotFound);
    assert_eq!(missing.reason(), Some(ErrorReason::TemplateNotFound));
}

// R36: every edge, drawn or not, and what the others answer.
#[tokio::test]
async fn only_the_drawn_transitions_happen() {
    let harness = harness::start().await;
    let conflict = ErrorReason::TemplateStateConflict;
    let ended = ErrorReason::TemplateEnded;
    type Outcomes = [Result<TemplateState, ErrorReason>; 4];
    let table: [(&[&str], Outcomes); 4] = [
        (&[], [Ok(TemplateState::Active), Err(conflict), Err(conflict), Err(conflict)]),
        (
            &["publish"],
            [Err(conflict), Ok(TemplateState::Paused), Err(conflict), Ok(TemplateState::Ended)],
        ),
        (
            &["publish", "pause"],
            [Err(conflict), Err(conflict), Ok(TemplateState::Active), Ok(TemplateState::Ended)],
        ),
        (&["publish", "end"], [Err(ended); 4]),
    ];
    for (way, outcomes) in table {
        for (verb, outcome) in ["publish", "pause", "resume", "end"].into_iter().zip(outcomes) {
            let id = harness.draft(template(10)).await;
            for step in way {
                change(&harness, step, id).await.expect("on the way");
            }
            let before = get(&harness, id).await.state();
            let told = format!("{verb} from {before:?}");
            match (change(&harness, verb, id).await, outcome) {
                (Ok(state), Ok(expected)) => assert_eq!(state, expected, "{told}"),
                (Err(error), Err(expected)) => {
                    assert_eq!(error.reason(), Some(expected), "{told}");
                    assert_eq!(error.code(), Code::FailedPrecondition, "{told}");
                    assert_eq!(get(&harness, id).await.state(), before, "{told}");
                }
                (answer, _) => panic!("{told}: {answer:?}"),
            }
        }
    }
    for verb in ["publish", "pause", "resume", "end"] {
        let unknown = change(&harness, verb, 404).await;
        assert_eq!(reason(unknown), ErrorReason::TemplateNotFound, "{verb}");
    }
}

// R3: stock and claim window move, nothing else does; stock only rises.
#[tokio::test]
async fn the_rules_are_frozen_and_the_stock_only_rises() {
    let harness = harness::start().await;
    let id = harness.publish(template(100)).await;
    let before = get(&harness, id).await;

    let other = v1::Template {
        template_id: id,
        rules: Some(v1::TemplateRules { benefit: Some(direct_off(9_900)), ..rules() }),
        merchant_id: 5,
        ..v1::Template::default()
    };
    for path in ["rules", "rules.per_user_limit", "merchant_id", "state", "no_such_field"] {
        let error = update(&harness, other.clone(), &[path]).await.expect_err("frozen");
        assert_eq!(error.code(), Code::InvalidArgument, "{path}");
        assert_eq!(error.field_violations()[0].0, "update_mask.paths[0]", "{path}");
    }
    let lower = v1::Template { template_id: id, total_count: 99, ..Default::default() };
    let error = update(&harness, lower, &["total_count"]).await;
    assert_eq!(reason(error), ErrorReason::StockNotRaised);
    let late = instant(START_MS + 31 * DAY);
    let too_late = v1::Template { template_id: id, claim_until: Some(late), ..Default::default() };
    let error = update(&harness, too_late, &["claim_until"]).await.expect_err("too late");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.field_violations()[0].0, "template.claim_until");
    assert_eq!(get(&harness, id).await, before, "nothing was changed");

    let moved = v1::Template {
        template_id: id,
        display_name: "十元券".to_owned(),
        total_count: 150,
        claim_from: Some(instant(START_MS + DAY)),
        claim_until: Some(instant(START_MS + 20 * DAY)),
        ..v1::Template::default()
    };
    let paths = ["display_name", "total_count", "claim_from", "claim_until"];
    let after = update(&harness, moved.clone(), &paths).await.expect("an update");
    let expected = v1::Template {
        display_name: moved.display_name,
        total_count: moved.total_count,
        claim_from: moved.claim_from,
        claim_until: moved.claim_until,
        ..before
    };
    assert_eq!(after, expected);
    assert_eq!(get(&harness, id).await, expected);
    assert_eq!(
        reason(harness.client.claim(claim(1, id, "early")).await),
        ErrorReason::ClaimNotStarted
    );

    change(&harness, "end", id).await.expect("ended");
    let more = v1::Template { template_id: id, total_count: 200, ..Default::default() };
    let error = update(&harness, more, &["total_count"]).await;
    assert_eq!(reason(error), ErrorReason::TemplateEnded);
}

// R8, R17: sold out holds for the total it was proven for; a raised total is claimable again, in
// every bucket, and to the last piece.
#[tokio::test]
async fn stock_that_is_raised_after_sold_out_is_claimable() {
    let harness = harness::start().await;
    let id = harness.publish_in(template(3), 4).await;
    for user in 1..=3 {
        harness.win(user, id).await;
    }
    for user in 4..=9 {
        let refused = harness.client.claim(claim(user, id, "late")).await;
        assert_eq!(reason(refused), ErrorReason::SoldOut);
    }
    let raised = v1::Template { template_id: id, total_count: 5, ..Default::default() };
    update(&harness, raised, &["total_count"]).await.expect("raised");
    harness.win(4, id).await;
    harness.win(5, id).await;
    let refused = harness.client.claim(claim(6, id, "late")).await;
    assert_eq!(reason(refused), ErrorReason::SoldOut);
    assert_eq!(harness.issued(id).await, 5);

    // The same over a restart, which forgets whatever was in memory.
    let harness = harness.restart().await;
    let raised = v1::Template { template_id: id, total_count: 6, ..Default::default() };
    update(&harness, raised, &["total_count"]).await.expect("raised");
    harness.win(6, id).await;
    let refused = harness.client.claim(claim(7, id, "late")).await;
    assert_eq!(reason(refused), ErrorReason::SoldOut);
    assert_eq!(harness.issued(id).await, 6);
}

// R3: a stock raised in the draft is handed out at publish.
#[tokio::test]
async fn a_draft_may_be_changed_before_it_is_published() {
    let harness = harness::start().await;
    let id = harness.draft(template(1)).await;
    let raised = v1::Template { template_id: id, total_count: 2, ..Default::default() };
    update(&harness, raised, &["total_count"]).await.expect("raised");
    change(&harness, "publish", id).await.expect("published");
    harness.win(1, id).await;
    harness.win(2, id).await;
    let refused = harness.client.claim(claim(3, id, "late")).await;
    assert_eq!(reason(refused), ErrorReason::SoldOut);
}

// R5: newest first, by page, state and publisher.
#[tokio::test]
async fn templates_are_listed_newest_first_in_pages() {
    let harness = harness::start().await;
    let mut ids = Vec::new();
    for merchant_id in [1, 2, 1, 2, 1] {
        ids.push(harness.draft(v1::Template { merchant_id, ..template(10) }).await);
    }
    change(&harness, "publish", ids[0]).await.expect("published");
    ids.reverse();
    let list = async |request: v1::ListTemplatesRequest| {
        let page = harness.client.list_templates(request).await.expect("a page");
        let found: Vec<i64> = page.templates.iter().map(|found| found.template_id).collect();
        (found, page.next_page_token)
    };
    let (mut found, mut sizes) = (Vec::new(), Vec::new());
    let mut request = v1::ListTemplatesRequest { page_size: 2, ..Default::default() };
    loop {
        let (page, next) = list(request.clone()).await;
        sizes.push(page.len());
        found.extend(page);
        if next.is_empty() {
            break;
        }
        request.page_token = next;
    }
    assert_eq!((found, sizes), (ids.clone(), vec![2, 2, 1]));
    let active = TemplateState::Active.into();
    let (page, next) = list(v1::ListTemplatesRequest { state: active, ..Default::default() }).await;
    assert_eq!((page, next.as_str()), (vec![ids[4]], ""));
    let (page, _) = list(v1::ListTemplatesRequest { merchant_id: 2, ..Default::default() }).await;
    assert_eq!(page, [ids[1], ids[3]]);
}

// R3: a scope of 15,000 products is kept whole, and cut in lists.
#[tokio::test]
async fn a_scope_may_hold_fifteen_thousand_products() {
    let harness = harness::start().await;
    let rules = v1::TemplateRules {
        scope: harness::given::products(1..=15_000),
        use_window: fixed(START_MS, START_MS + 10 * DAY),
        ..rules()
    };
    let id = harness.draft(template_of(10, rules.clone())).await;
    assert_eq!(get(&harness, id).await.rules, Some(rules));
    let page = harness.client.list_templates(v1::ListTemplatesRequest::default()).await;
    let scope = page.expect("a page").templates[0].rules.clone().expect("rules").scope;
    let Some(v1::scope::Kind::Products(listed)) = scope.expect("a scope").kind else {
        panic!("no product scope")
    };
    assert_eq!(listed.product_ids.len(), 100);
}
