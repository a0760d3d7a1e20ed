//! `CouponService`.

use coupon_proto::v1::{self, claim_outcome, coupon_service_client::CouponServiceClient};
use prost::Message as _;
use tonic::{Code, Status, transport::Channel};

use super::{
    case::{Cases, rejects},
    valid,
};

pub(super) fn add(cases: &mut Cases) {
    claim(cases);
    issue(cases);
    read(cases);
    quote(cases);
}

fn claim(cases: &mut Cases) {
    rejects! { cases, "Claim", valid::claim, |world, sent| world.coupons().claim(sent), {
        "user_id": |r| r.user_id = 0;
        "user_id": |r| r.user_id = i64::MIN;
        "template_id": |r| r.template_id = -1;
        "request_id": |r| r.request_id.clear();
        "request_id": |r| r.request_id = "i".repeat(65);
        "request_id": |r| r.request_id = "a b".to_owned();
        "request_id": |r| r.request_id = "编号".to_owned();
        "source": |r| r.source = "s".repeat(65);
        "source": |r| r.source = "主页".to_owned();
    } }
    rejects! { cases, "ClaimStream", valid::claim_stream,
        |world, sent| first_outcome(world.coupons(), sent), {
        "claims": |r| r.claims.clear();
        "claims": |r| r.claims = vec![r.claims[0].clone(); 1_001];
        "claims[0].user_id": |r| r.claims[0].user_id = 0;
        "claims[0].template_id": |r| r.claims[0].template_id = 0;
        "claims[0].request_id": |r| r.claims[0].request_id.clear();
        "claims[0].source": |r| r.claims[0].source = "\u{7f}".to_owned();
    } }
}

/// How a stream of one batch ends, or else what became of the batch's first claim.
async fn first_outcome(
    mut coupons: CouponServiceClient<Channel>,
    batch: v1::ClaimStreamRequest,
) -> Result<(), Status> {
    let answers = coupons.claim_stream(futures::stream::iter([batch])).await?;
    let answer = answers.into_inner().message().await?;
    let outcomes = answer.map(|answer| answer.outcomes).unwrap_or_default();
    match outcomes.into_iter().next().and_then(|outcome| outcome.result) {
        Some(claim_outcome::Result::Won(_)) => Ok(()),
        Some(claim_outcome::Result::Error(error)) => {
            let details = error.encode_to_vec().into();
            Err(Status::with_details(Code::from(error.code), error.message, details))
        }
        None => Err(Status::unknown("the batch was not answered")),
    }
}

fn issue(cases: &mut Cases) {
    rejects! { cases, "Issue", valid::issue, |world, sent| world.coupons().issue(sent), {
        "template_id": |r| r.template_id = 0;
        "request_id": |r| r.request_id.clear();
        "users": |r| r.users.clear();
        "users": |r| r.users = (1..=1_001).map(|user_id| v1::IssueUser { user_id, count: 1 }).collect();
        "users[1].user_id": |r| r.users[1].user_id = 0;
        "users[1].user_id": |r| r.users[1].user_id = r.users[0].user_id;
        "users[0].count": |r| r.users[0].count = -1;
        "users[0].count": |r| r.users[0].count = 101;
        "source": |r| r.source = "a b".to_owned();
    } }
}

fn read(cases: &mut Cases) {
    rejects! { cases, "GetCoupon", valid::get_coupon, |world, sent| world.coupons().get_coupon(sent), {
        "user_id": |r| r.user_id = 0;
        "coupon_id": |r| r.coupon_id = -1;
    } }
    rejects! { cases, "ListCoupons", valid::list_coupons,
        |world, sent| world.coupons().list_coupons(sent), {
        "user_id": |r| r.user_id = 0;
        "statuses[1]": |r| r.statuses[1] = 99;
        "statuses[0]": |r| r.statuses[0] = 0;
        "template_id": |r| r.template_id = -1;
        "page_size": |r| r.page_size = -1;
        "page_token": |r| r.page_token = "next".to_owned();
        "page_token": |r| r.page_token = "f".repeat(16);
    } }
}

fn quote(cases: &mut Cases) {
    rejects! { cases, "Quote", valid::quote, |world, sent| world.coupons().quote(sent), {
        "user_id": |r| r.user_id = 0;
        "cart": |r| r.cart = None;
        "cart.currency_code": |r| valid::cart_of(&mut r.cart).currency_code.clear();
        "cart.currency_code": |r| valid::cart_of(&mut r.cart).currency_code = "RMB¥".to_owned();
        "cart.shipping_minor": |r| valid::cart_of(&mut r.cart).shipping_minor = -1;
        "cart.shipping_minor": |r| valid::cart_of(&mut r.cart).shipping_minor = i64::MAX;
        "cart.lines": |r| valid::cart_of(&mut r.cart).lines.clear();
        "cart.lines[1].line_id": |r| valid::line_of(&mut r.cart).line_id = "l".repeat(65);
        "cart.lines[1].line_id": |r| valid::line_of(&mut r.cart).line_id = "行".to_owned();
        "cart.lines[1].line_id": |r| valid::line_of(&mut r.cart).line_id = "1".to_owned();
        "cart.lines[1].product_id": |r| valid::line_of(&mut r.cart).product_id = -3;
        "cart.lines[1].merchant_id": |r| valid::line_of(&mut r.cart).merchant_id = -1;
        "cart.lines[1].category": |r| valid::line_of(&mut r.cart).category = "茶".repeat(65);
        "cart.lines[1].quantity": |r| valid::line_of(&mut r.cart).quantity = -1;
        "cart.lines[1].amount_minor": |r| valid::line_of(&mut r.cart).amount_minor = i64::MAX;
        "coupon_ids": |r| r.coupon_ids = (1..=101).collect();
        "coupon_ids[1]": |r| r.coupon_ids[1] = 0;
        "coupon_ids[1]": |r| r.coupon_ids[1] = r.coupon_ids[0];
    } }
    rejects! { cases, "VoidCoupon", valid::void_coupon,
        |world, sent| world.coupons().void_coupon(sent), {
        "request_id": |r| r.request_id.clear();
        "user_id": |r| r.user_id = 0;
        "coupon_id": |r| r.coupon_id = 0;
    } }
}
