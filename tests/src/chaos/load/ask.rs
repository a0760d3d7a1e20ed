//! Requests, and how they are sent once and noted.

use std::time::Duration;

use coupon_client::{ClientError, CouponClient, tonic::Code, v1};
use tonic_types::RpcStatusExt as _;
use v1::RedemptionState;

use crate::chaos::log::{Log, Op, OrderState, Outcome, Verb};

/// A request of a shopper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What.
    pub verb: Verb,
    /// For whom.
    pub user: i64,
    /// Of which template; for the checker's eyes only where an order is meant.
    pub template: i64,
    /// Of which order; empty for what gives coupons.
    pub order: String,
    /// Its idempotency key.
    pub request_id: String,
    /// Coupons to lock.
    pub coupons: Vec<i64>,
    /// Part of the body of what gives coupons.
    pub source: String,
    /// How long a lock holds; `None` = the platform's default.
    pub lock_ttl: Option<Duration>,
}

/// Connections to every node.
#[derive(Clone, Debug)]
pub struct Clients(Vec<CouponClient>);

impl Clients {
    pub(super) fn new(clients: Vec<CouponClient>) -> Self {
        Self(clients)
    }

    /// Nodes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends a request once, and notes it.
    pub async fn send(&self, node: usize, ask: &Ask, log: &Log) -> Outcome {
        let start = log.now();
        let sent = match self.0.get(node) {
            Some(client) => answer(client, ask).await,
            None => Ok(Outcome::NotAdmitted),
        };
        let outcome = sent.unwrap_or_else(|error| Outcome::of_error(&error));
        log.add(Op {
            verb: ask.verb,
            node,
            user: ask.user,
            template: ask.template,
            order: ask.order.clone(),
            request_id: ask.request_id.clone(),
            // Only the source differs between two bodies under one id.
            body: u64::from(!ask.source.is_empty()),
            start,
            end: log.now(),
            outcome: outcome.clone(),
        });
        outcome
    }
}

async fn answer(client: &CouponClient, ask: &Ask) -> Result<Outcome, ClientError> {
    let (user_id, template_id) = (ask.user, ask.template);
    let (request_id, source) = (ask.request_id.clone(), ask.source.clone());
    let (order_id, coupon_ids) = (ask.order.clone(), Vec::new());
    let redemption = match ask.verb {
        Verb::Claim => {
            let request = v1::ClaimRequest { user_id, template_id, request_id, source };
            let won = client.claim(request).await?;
            let coupons = won.coupon.iter().map(|coupon| coupon.coupon_id).collect();
            return Ok(Outcome::Given { coupons, replayed: won.replayed });
        }
        Verb::Issue => {
            let users = vec![v1::IssueUser { user_id, count: 1 }];
            let request = v1::IssueRequest { template_id, request_id, users, source };
            return Ok(issued(client.issue(request).await?));
        }
        Verb::Lock => {
            let request = v1::LockRequest {
                user_id,
                order_id,
                request_id,
                coupon_ids: ask.coupons.clone(),
                cart: Some(cart()),
                lock_ttl: ask.lock_ttl.and_then(|ttl| ttl.try_into().ok()),
                ..Default::default()
            };
            client.lock(request).await?.redemption
        }
        Verb::Confirm => {
            let request = v1::ConfirmRequest { user_id, order_id, request_id, coupon_ids };
            client.confirm(request).await?.redemption
        }
        Verb::Cancel => {
            let request = v1::CancelRequest { user_id, order_id, request_id, coupon_ids };
            client.cancel(request).await?.redemption
        }
        Verb::Restore => {
            let request = v1::RestoreRequest {
                user_id,
                order_id,
                request_id,
                ..v1::RestoreRequest::default()
            };
            client.restore(request).await?.redemption
        }
    };
    Ok(redemption.as_ref().and_then(of_redemption).unwrap_or(Outcome::Unknown))
}

fn issued(answer: v1::IssueResponse) -> Outcome {
    let Some(outcome) = answer.outcomes.into_iter().next() else { return Outcome::Unknown };
    match outcome.error {
        None => Outcome::Given { coupons: outcome.coupon_ids, replayed: outcome.replayed },
        Some(status) => {
            let code = Code::from_i32(status.code);
            Outcome::of(code, reason(&status))
        }
    }
}

/// The reason in a status inside an answer.
fn reason(status: &tonic_types::Status) -> Option<v1::ErrorReason> {
    v1::ErrorReason::from_reason(&status.get_details_error_info()?.reason)
}

/// An order as it stands, for the log.
fn of_redemption(redemption: &v1::Redemption) -> Option<Outcome> {
    let state = order_state(redemption)?;
    let coupons = redemption.coupons.iter().map(|used| used.coupon_id).collect();
    Some(Outcome::Order { redemption: redemption.redemption_id, state, coupons })
}

/// User and order.
pub type OrderKey = (i64, String);

/// How an order stands; `None` = not told.
pub fn order_state(redemption: &v1::Redemption) -> Option<OrderState> {
    match redemption.state() {
        RedemptionState::Unspecified => None,
        RedemptionState::Locked => Some(OrderState::Locked),
        RedemptionState::Confirmed => Some(OrderState::Confirmed),
        RedemptionState::Cancelled => Some(OrderState::Cancelled),
        RedemptionState::Lapsed => Some(OrderState::Lapsed),
        RedemptionState::Restored => Some(OrderState::Restored),
    }
}

/// One line of 100.00 CNY.
fn cart() -> v1::Cart {
    let line = v1::CartLine {
        line_id: "1".to_owned(),
        product_id: 1,
        quantity: 1,
        amount_minor: 10_000,
        ..Default::default()
    };
    v1::Cart { currency_code: "CNY".to_owned(), lines: vec![line], ..v1::Cart::default() }
}
