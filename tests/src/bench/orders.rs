//! Orders for M14: a cart of 20 lines and two stackable coupons, locked, then confirmed.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use coupon_client::v1;
use http::uri::PathAndQuery;
use prost::Message as _;

use super::{
    load::{Connection, Operation, Verdict},
    server::{Server, in_order},
    wire::Failure,
    workload::{judge_failed_call, request_id, template, user},
};

/// Lines of every cart.
pub(super) const LINES: i64 = 20;
/// Coupons of every order.
pub(super) const COUPONS: u64 = 2;
const USERS_PER_ISSUE: u64 = 1_000;
const STOCK: i64 = 1_000_000_000;

/// The part of a LockResponse or ConfirmResponse that the checker needs.
#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    redemption: Option<AnsweredRedemption>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnsweredRedemption {
    #[prost(enumeration = "v1::RedemptionState", tag = "5")]
    state: i32,
    #[prost(int64, tag = "9")]
    discount_minor: i64,
}

/// One order per operation: the user of its number buys the same cart as everybody.
#[derive(Clone)]
pub(super) struct Orders {
    lock_path: PathAndQuery,
    confirm_path: PathAndQuery,
    coupons: Arc<[[i64; 2]]>,
    // The cart as a field of the LockRequest: encoded once, because it is most of the request.
    cart_field: Bytes,
    discount_minor: i64,
}

impl Orders {
    /// Gives `count` users their two coupons, and sees what these are worth for the cart.
    pub(super) async fn prepare(server: &Server, count: u64) -> anyhow::Result<Self> {
        let percent = server.node.publish(percent_off()).await?;
        let threshold = server.node.publish(threshold_off()).await?;
        let first = issue(server, percent, count).await?;
        let second = issue(server, threshold, count).await?;
        let coupons: Arc<[[i64; 2]]> =
            first.into_iter().zip(second).map(|(first, second)| [first, second]).collect();
        ensure!(coupons.len() as u64 == count, "some users were given no coupon");

        let cart = Some(cart());
        let coupon_ids = coupons[0].to_vec();
        let quote = v1::QuoteRequest { user_id: user(0), cart: cart.clone(), coupon_ids };
        let best =
            server.node.client.quote(quote).await?.best.context("the coupons are of no use")?;
        ensure!(best.coupons.len() as u64 == COUPONS, "the coupons do not stack");
        let alone = v1::LockRequest { cart, ..v1::LockRequest::default() };
        Ok(Self {
            lock_path: PathAndQuery::from_static("/coupon.v1.RedemptionService/Lock"),
            confirm_path: PathAndQuery::from_static("/coupon.v1.RedemptionService/Confirm"),
            coupons,
            cart_field: alone.encode_to_vec().into(),
            discount_minor: best.discount_minor,
        })
    }

    fn lock_body(&self, seq: u64, coupon_ids: [i64; 2]) -> Bytes {
        let request = v1::LockRequest {
            user_id: user(seq),
            order_id: order_id(seq),
            request_id: request_id(seq),
            coupon_ids: coupon_ids.to_vec(),
            ..v1::LockRequest::default()
        };
        let mut body = Vec::with_capacity(request.encoded_len() + self.cart_field.len());
        // Encoded messages of one type that follow each other are one message.
        body.extend_from_slice(&request.encode_to_vec());
        body.extend_from_slice(&self.cart_field);
        body.into()
    }

    async fn lock(&self, conn: &mut Connection, seq: u64, coupon_ids: [i64; 2]) -> Verdict {
        let answer = conn.unary(&self.lock_path, self.lock_body(seq, coupon_ids)).await;
        self.judge(seq, answer, v1::RedemptionState::Locked)
    }

    async fn confirm(&self, conn: &mut Connection, seq: u64) -> Verdict {
        let request = v1::ConfirmRequest {
            user_id: user(seq),
            order_id: order_id(seq),
            request_id: request_id(seq),
            coupon_ids: Vec::new(),
        };
        let answer = conn.unary(&self.confirm_path, request.encode_to_vec().into()).await;
        self.judge(seq, answer, v1::RedemptionState::Confirmed)
    }

    fn judge(
        &self,
        seq: u64,
        answer: Result<Bytes, Failure>,
        wanted: v1::RedemptionState,
    ) -> Verdict {
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(failure) => return judge_failed_call(seq, &failure),
        };
        let found = Answer::decode(bytes).ok().and_then(|answer| answer.redemption);
        match found {
            Some(found)
                if found.state() == wanted && found.discount_minor == self.discount_minor =>
            {
                Verdict::Done
            }
            found => {
                let quoted = self.discount_minor;
                Verdict::Violated(format!(
                    "order {seq} was quoted {quoted} and wanted {wanted:?}, answered {found:?}"
                ))
            }
        }
    }
}

impl Operation for Orders {
    async fn run(&self, conn: &mut Connection, seq: u64) -> Verdict {
        let Some(&coupon_ids) = self.coupons.get(seq as usize) else {
            return Verdict::Exhausted;
        };
        match self.lock(conn, seq, coupon_ids).await {
            Verdict::Done => self.confirm(conn, seq).await,
            failed => failed,
        }
    }
}

fn order_id(seq: u64) -> String {
    format!("order-{seq:012}")
}

fn with_benefit(name: &str, benefit: v1::template_rules::Benefit) -> v1::Template {
    let mut template = template(name, STOCK);
    if let Some(rules) = template.rules.as_mut() {
        rules.benefit = Some(benefit);
    }
    template
}

/// 8折 on every other product of the cart.
fn percent_off() -> v1::Template {
    let benefit = v1::Percentage { pay_bps: 8_000, max_discount_minor: 0, threshold_minor: 0 };
    let mut template = with_benefit("percentage", v1::template_rules::Benefit::Percentage(benefit));
    let products = v1::scope::Products { product_ids: (1..=LINES).step_by(2).collect() };
    if let Some(rules) = template.rules.as_mut() {
        rules.scope = Some(v1::Scope { kind: Some(v1::scope::Kind::Products(products)) });
    }
    template
}

/// 20.00 off from 100.00 on, whatever is bought.
fn threshold_off() -> v1::Template {
    let benefit = v1::ThresholdOff {
        threshold_minor: 10_000,
        amount_minor: 2_000,
        ..v1::ThresholdOff::default()
    };
    with_benefit("threshold", v1::template_rules::Benefit::ThresholdOff(benefit))
}

/// The cart of every order.
fn cart() -> v1::Cart {
    let lines = (1..=LINES).map(|line| v1::CartLine {
        line_id: format!("line-{line}"),
        product_id: line,
        merchant_id: 1 + line % 3,
        category: format!("category-{}", line % 5),
        quantity: 1 + line % 4,
        amount_minor: 1_000 + 137 * line,
    });
    v1::Cart { currency_code: "CNY".to_owned(), lines: lines.collect(), ..v1::Cart::default() }
}

/// Gives one coupon to each of the users `0..count`; their ids in that order.
async fn issue(server: &Server, template_id: i64, count: u64) -> anyhow::Result<Vec<i64>> {
    let calls = in_order(count.div_ceil(USERS_PER_ISSUE), |call| async move {
        let first = call * USERS_PER_ISSUE;
        let users = (first..count.min(first + USERS_PER_ISSUE))
            .map(|seq| v1::IssueUser { user_id: user(seq), count: 1 })
            .collect();
        let request = v1::IssueRequest { template_id, users, ..v1::IssueRequest::default() };
        let answer = server.node.client.issue(request).await?;
        let first_ids = answer.outcomes.iter().map(|outcome| outcome.coupon_ids.first().copied());
        first_ids.collect::<Option<Vec<i64>>>().context("a user was given no coupon")
    });
    Ok(calls.await?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_body_made_of_two_parts_is_one_request() {
        let cart = cart();
        let alone = v1::LockRequest { cart: Some(cart.clone()), ..v1::LockRequest::default() };
        let orders = Orders {
            lock_path: PathAndQuery::from_static("/lock"),
            confirm_path: PathAndQuery::from_static("/confirm"),
            coupons: Arc::new([[1, 2]]),
            cart_field: alone.encode_to_vec().into(),
            discount_minor: 5,
        };
        let request = v1::LockRequest::decode(orders.lock_body(9, [1, 2])).expect("well formed");
        assert_eq!(request.user_id, user(9));
        assert_eq!(request.coupon_ids, [1, 2]);
        assert_eq!(request.cart, Some(cart));
    }

    #[test]
    fn an_answer_with_another_discount_is_a_violation() {
        let orders = Orders {
            lock_path: PathAndQuery::from_static("/lock"),
            confirm_path: PathAndQuery::from_static("/confirm"),
            coupons: Arc::new([]),
            cart_field: Bytes::new(),
            discount_minor: 5,
        };
        let state = v1::RedemptionState::Locked;
        let answer = |discount_minor| -> Bytes {
            let redemption =
                v1::Redemption { state: state.into(), discount_minor, ..Default::default() };
            v1::LockResponse { redemption: Some(redemption) }.encode_to_vec().into()
        };
        assert_eq!(orders.judge(0, Ok(answer(5)), state), Verdict::Done);
        assert!(matches!(orders.judge(0, Ok(answer(6)), state), Verdict::Violated(_)));
        let confirmed = v1::RedemptionState::Confirmed;
        assert!(matches!(orders.judge(0, Ok(answer(5)), confirmed), Verdict::Violated(_)));
    }
}
