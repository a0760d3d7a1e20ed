//! One user's way through a round, step by step, and what of it was acknowledged.

use coupon_client::{ClientError, CouponClient, tonic::Code, v1};
use v1::{CouponStatus, ErrorReason, RedemptionState};

use crate::harness::given::{cancel, claim, confirm, lock};

/// How the shopper wants the order to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The coupon stays in the wallet.
    Keep,
    /// Locked and confirmed.
    Pay,
    /// Locked and cancelled.
    GiveUp,
}

/// A user with one template to claim.
#[derive(Clone, Debug)]
pub(super) struct Shopper {
    pub(super) user: i64,
    pub(super) template: i64,
    pub(super) plan: Plan,
    /// The coupon, once a win was acknowledged.
    pub(super) won: Option<v1::Coupon>,
    /// Whether a refusal was acknowledged.
    pub(super) sold_out: bool,
    /// The redemption's id, once a Lock was acknowledged.
    pub(super) locked: Option<i64>,
    /// Whether the Confirm or Cancel was acknowledged.
    pub(super) closed: bool,
    /// How many answers the shopper has had in the storm.
    pub(super) answers: u64,
}

/// Whether an error leaves open what has happened, as a server that is killed leaves it.
fn is_open(error: &ClientError) -> bool {
    let open = [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled, Code::Unknown];
    open.contains(&error.code())
}

impl Shopper {
    pub(super) fn new(user: i64, template: i64, plan: Plan) -> Self {
        let (won, sold_out, locked, closed, answers) = (None, false, None, false, 0);
        Self { user, template, plan, won, sold_out, locked, closed, answers }
    }

    fn order(&self) -> String {
        format!("order-{}", self.template)
    }

    fn coupon_id(&self) -> i64 {
        self.won.as_ref().expect("a win").coupon_id
    }

    /// Sends the next step; false when there is none, or when the server is gone. Every step that
    /// is sent again must answer what it answered first.
    pub(super) async fn step(&mut self, client: &CouponClient) -> bool {
        let done = self.try_step(client).await;
        if matches!(done, Ok(true)) {
            self.answers += 1;
        }
        match done {
            Ok(more) => more,
            Err(error) if is_open(&error) => false,
            Err(error) => panic!("user {}: {error}", self.user),
        }
    }

    async fn try_step(&mut self, client: &CouponClient) -> Result<bool, ClientError> {
        if self.won.is_none() {
            return self.claim(client).await;
        }
        if self.plan == Plan::Keep || self.closed {
            return Ok(false);
        }
        if self.locked.is_none() { self.lock(client).await } else { self.close(client).await }
    }

    async fn claim(&mut self, client: &CouponClient) -> Result<bool, ClientError> {
        if self.sold_out {
            return Ok(false);
        }
        match client.claim(claim(self.user, self.template, "claim")).await {
            Ok(answer) => self.won = answer.coupon,
            Err(error) if error.reason() == Some(ErrorReason::SoldOut) => self.sold_out = true,
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    async fn lock(&mut self, client: &CouponClient) -> Result<bool, ClientError> {
        let request = lock(self.user, &self.order(), "lock", &[self.coupon_id()]);
        let held = client.lock(request).await?.redemption.expect("the redemption");
        self.locked = Some(held.redemption_id);
        Ok(true)
    }

    async fn close(&mut self, client: &CouponClient) -> Result<bool, ClientError> {
        let order = self.order();
        let closed = match self.plan {
            Plan::Pay => client.confirm(confirm(self.user, &order, "close")).await?.redemption,
            _ => client.cancel(cancel(self.user, &order, "close")).await?.redemption,
        };
        assert_eq!(closed.map(|closed| closed.redemption_id), self.locked);
        self.closed = true;
        Ok(true)
    }

    /// Everything acknowledged is there, before anything is sent again.
    pub(super) async fn assert_kept(&self, client: &CouponClient) {
        let user_id = self.user;
        let Some(won) = &self.won else { return };
        let request = v1::GetCouponRequest { user_id, coupon_id: won.coupon_id };
        let found = client.get_coupon(request).await;
        let found = found.unwrap_or_else(|error| panic!("user {user_id} lost a win: {error}"));
        let found = found.coupon.expect("the coupon");
        assert_eq!((found.claim_no, found.claimed_at), (won.claim_no, won.claimed_at));
        let Some(redemption_id) = self.locked else { return };
        let request = v1::GetRedemptionRequest { user_id, order_id: self.order() };
        let held = client.get_redemption(request).await;
        let held = held.unwrap_or_else(|error| panic!("user {user_id} lost a lock: {error}"));
        let held = held.redemption.expect("the redemption");
        assert_eq!(held.redemption_id, redemption_id);
        let end = self.end().0;
        let allowed = if self.closed { vec![end] } else { vec![end, RedemptionState::Locked] };
        assert!(allowed.contains(&held.state()), "user {user_id}: {held:?}");
    }

    /// The first outcomes again, for all that was acknowledged.
    pub(super) async fn assert_replayed(&self, client: &CouponClient) {
        let user_id = self.user;
        let Some(won) = &self.won else { return };
        let again = client.claim(claim(user_id, self.template, "claim")).await.expect("a replay");
        assert!(again.replayed, "user {user_id}");
        assert_eq!(again.coupon.as_ref(), Some(won), "user {user_id}");
        if self.locked.is_none() {
            return;
        }
        let request = lock(user_id, &self.order(), "lock", &[won.coupon_id]);
        match client.lock(request).await {
            Ok(held) => {
                let held = held.redemption.expect("the redemption");
                assert_eq!(Some(held.redemption_id), self.locked, "user {user_id}");
                assert!(self.plan == Plan::Pay || !self.closed, "a late Try after Cancel");
            }
            Err(error) => {
                assert_eq!(error.reason(), Some(ErrorReason::OrderCancelled), "{error}");
                assert_eq!(self.plan, Plan::GiveUp, "user {user_id}");
            }
        }
    }

    /// Goes the way to its end.
    pub(super) async fn finish(&mut self, client: &CouponClient) {
        loop {
            match self.try_step(client).await {
                Ok(true) => {}
                Ok(false) => return,
                // The Cancel that was not acknowledged has happened: its Try is refused now.
                Err(error) if error.reason() == Some(ErrorReason::OrderCancelled) => {
                    assert_eq!(self.plan, Plan::GiveUp, "{error}");
                    let request =
                        v1::GetRedemptionRequest { user_id: self.user, order_id: self.order() };
                    let found = client.get_redemption(request).await.expect("the redemption");
                    self.locked = found.redemption.map(|found| found.redemption_id);
                }
                Err(error) => panic!("user {}: {error}", self.user),
            }
        }
    }

    /// State and status at the end of the way.
    fn end(&self) -> (RedemptionState, CouponStatus) {
        match self.plan {
            Plan::Pay => (RedemptionState::Confirmed, CouponStatus::Used),
            Plan::GiveUp => (RedemptionState::Cancelled, CouponStatus::Available),
            Plan::Keep => (RedemptionState::Unspecified, CouponStatus::Available),
        }
    }

    /// One coupon of the template or none, as it must be at the end.
    pub(super) async fn assert_ended(&self, client: &CouponClient) {
        let (user_id, template_id) = (self.user, self.template);
        let request = v1::ListCouponsRequest { user_id, template_id, ..Default::default() };
        let wallet = client.list_coupons(request).await.expect("a page").coupons;
        let Some(won) = &self.won else {
            assert!(wallet.is_empty(), "user {user_id} was told that nothing is left");
            return;
        };
        assert_eq!(wallet.len(), 1, "user {user_id}");
        assert_eq!(wallet[0].coupon_id, won.coupon_id);
        let (state, status) = self.end();
        assert_eq!(wallet[0].status(), status, "user {user_id}");
        if self.plan != Plan::Keep {
            let order_id = self.order();
            let request = v1::GetRedemptionRequest { user_id, order_id };
            let ended = client.get_redemption(request).await.expect("the redemption");
            assert_eq!(ended.redemption.expect("the redemption").state(), state, "user {user_id}");
        }
    }
}
