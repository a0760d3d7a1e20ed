//! The working set of one group: rows as loaded, and what the commands of the group make of them.
//!
//! The ledger loads the rows that a group of commands needs, lets the commands change the book one
//! after the other, and writes the difference in the same transaction. So commands of one group see
//! each other's effects, exactly as if they had come one by one.

use std::collections::{BTreeSet, HashMap};

use crate::{
    coupon::{Coupon, CouponStatus},
    ids::{CouponId, RedemptionId, TemplateId, UserId},
    redemption::{Redemption, RefundAmounts, RequestMark, RestoredCoupon},
    time::{Minute, Timestamp},
};

/// What an alarm is for. Stored as the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmKind {
    /// Coupons' validity ends.
    CouponExpiry = 0,
    /// Locks' time ends.
    LockLapse = 1,
}

impl AlarmKind {
    /// As stored.
    pub const fn to_stored(self) -> i32 {
        self as i32
    }

    /// From storage; `None` for a number no version wrote.
    pub const fn from_stored(value: i32) -> Option<Self> {
        match value {
            0 => Some(Self::CouponExpiry),
            1 => Some(Self::LockLapse),
            _ => None,
        }
    }
}

/// What happened to a coupon (R50). Stored as the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// AVAILABLE -> LOCKED.
    Lock = 0,
    /// LOCKED -> USED.
    Confirm = 1,
    /// LOCKED -> AVAILABLE | EXPIRED by Cancel, or by a Lock that replaces the set.
    Cancel = 2,
    /// AVAILABLE -> EXPIRED.
    Expire = 3,
    /// USED -> AVAILABLE, or a reissued coupon.
    Restore = 4,
    /// AVAILABLE -> VOIDED.
    Void = 5,
    /// LOCKED -> AVAILABLE | EXPIRED because its time was over.
    Lapse = 6,
    /// LOCKED | AVAILABLE | EXPIRED -> USED: an operator confirmed the order.
    ForceConfirm = 7,
    /// LOCKED -> AVAILABLE | EXPIRED: an operator cancelled the order.
    ForceCancel = 8,
}

impl OperationKind {
    /// As stored.
    pub const fn to_stored(self) -> i32 {
        self as i32
    }
}

/// A row of the operation log. Expiry writes one per template and chunk, with its count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Which coupon; `None` for an expiry chunk.
    pub coupon: Option<CouponId>,
    /// Whose; `None` for an expiry chunk.
    pub user: Option<UserId>,
    /// Of which template.
    pub template: TemplateId,
    /// For which order; empty when for none.
    pub order: String,
    /// What happened.
    pub kind: OperationKind,
    /// Status before; `None` for a coupon that did not exist.
    pub from: Option<CouponStatus>,
    /// Status after.
    pub to: CouponStatus,
    /// How many coupons.
    pub count: i64,
}

impl Operation {
    /// The operation that left `coupon` as it is.
    pub fn of(coupon: &Coupon, order: String, kind: OperationKind, from: CouponStatus) -> Self {
        Self {
            coupon: Some(coupon.id),
            user: Some(coupon.user),
            template: coupon.template,
            order,
            kind,
            from: Some(from),
            to: coupon.status,
            count: 1,
        }
    }
}

/// A refund, whole or partial: UNIQUE (user, order, request id).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Of which redemption.
    pub redemption: RedemptionId,
    /// Its idempotency key, and the fingerprint of its body.
    pub request: RequestMark,
    /// What it gave back.
    pub amounts: RefundAmounts,
    /// What became of the coupons.
    pub coupons: Vec<RestoredCoupon>,
}

/// A row as loaded and as it is now.
#[derive(Debug, Clone)]
pub struct Entry<T> {
    /// As loaded; `None` for a row that did not exist.
    pub loaded: Option<T>,
    /// As the commands left it.
    pub current: T,
}

/// The working set.
#[derive(Debug, Default)]
pub struct Book {
    redemptions: HashMap<RedemptionId, Entry<Redemption>>,
    by_order: HashMap<(UserId, String), RedemptionId>,
    coupons: HashMap<CouponId, Entry<Coupon>>,
    refunds: HashMap<(RedemptionId, String), Entry<Refund>>,
    operations: Vec<Operation>,
    alarms: BTreeSet<(AlarmKind, Minute)>,
}

impl Book {
    /// Enters a redemption as loaded.
    pub fn load_redemption(&mut self, redemption: Redemption) {
        self.by_order.insert((redemption.user, redemption.order.clone()), redemption.id);
        let loaded = Some(redemption.clone());
        self.redemptions.insert(redemption.id, Entry { loaded, current: redemption });
    }

    /// Enters a coupon as loaded.
    pub fn load_coupon(&mut self, coupon: Coupon) {
        let loaded = Some(coupon.clone());
        self.coupons.insert(coupon.id, Entry { loaded, current: coupon });
    }

    /// Enters a refund as loaded.
    pub fn load_refund(&mut self, refund: Refund) {
        let key = (refund.redemption, refund.request.request_id.clone());
        self.refunds.insert(key, Entry { loaded: Some(refund.clone()), current: refund });
    }

    /// The redemption of an order.
    pub fn redemption_of(&self, user: UserId, order: &str) -> Option<&Redemption> {
        let id = self.by_order.get(&(user, order.to_owned()))?;
        self.redemption(*id)
    }

    /// A redemption by id.
    pub fn redemption(&self, id: RedemptionId) -> Option<&Redemption> {
        self.redemptions.get(&id).map(|entry| &entry.current)
    }

    /// A coupon by id.
    pub fn coupon(&self, id: CouponId) -> Option<&Coupon> {
        self.coupons.get(&id).map(|entry| &entry.current)
    }

    /// What a refund did, if it was done.
    pub fn refund(&self, redemption: RedemptionId, request_id: &str) -> Option<&Refund> {
        self.refunds.get(&(redemption, request_id.to_owned())).map(|entry| &entry.current)
    }

    /// Stores a redemption.
    pub(crate) fn put_redemption(&mut self, redemption: Redemption) {
        self.by_order.insert((redemption.user, redemption.order.clone()), redemption.id);
        match self.redemptions.get_mut(&redemption.id) {
            Some(entry) => entry.current = redemption,
            None => {
                let id = redemption.id;
                self.redemptions.insert(id, Entry { loaded: None, current: redemption });
            }
        }
    }

    /// Stores a coupon.
    pub(crate) fn put_coupon(&mut self, coupon: Coupon) {
        match self.coupons.get_mut(&coupon.id) {
            Some(entry) => entry.current = coupon,
            None => {
                self.coupons.insert(coupon.id, Entry { loaded: None, current: coupon });
            }
        }
    }

    /// Stores a coupon that a refund made.
    pub(crate) fn insert_coupon(&mut self, coupon: Coupon, redemption: &Redemption) {
        let order = redemption.order.clone();
        let kind = OperationKind::Restore;
        let operation = Operation::of(&coupon, order, kind, CouponStatus::Available);
        self.log(Operation { from: None, ..operation });
        self.put_coupon(coupon);
    }

    /// Stores what a refund did.
    pub(crate) fn put_refund(&mut self, refund: Refund) {
        let key = (refund.redemption, refund.request.request_id.clone());
        self.refunds.insert(key, Entry { loaded: None, current: refund });
    }

    /// Appends to the operation log.
    pub(crate) fn log(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// Asks for the alarm of what falls due at `at`.
    pub(crate) fn ring(&mut self, kind: AlarmKind, at: Timestamp) {
        self.alarms.insert((kind, at.due_minute()));
    }

    /// Changes a coupon on behalf of a redemption and logs the transition, if its status changed.
    pub(crate) fn change_coupon(
        &mut self,
        id: CouponId,
        redemption: &Redemption,
        kind: OperationKind,
        change: impl FnOnce(&mut Coupon),
    ) {
        let Some(entry) = self.coupons.get_mut(&id) else { return };
        let from = entry.current.status;
        change(&mut entry.current);
        if entry.current.status != from {
            let order = redemption.order.clone();
            self.operations.push(Operation::of(&entry.current, order, kind, from));
        }
    }

    /// Frees a coupon that `redemption` holds: AVAILABLE, or EXPIRED past its validity. A coupon
    /// that the redemption does not hold is left alone.
    pub(crate) fn release(
        &mut self,
        id: CouponId,
        redemption: &Redemption,
        kind: OperationKind,
        now: Timestamp,
    ) {
        let holds = |coupon: &&Coupon| {
            coupon.status == CouponStatus::Locked && coupon.redemption == Some(redemption.id)
        };
        let Some(coupon) = self.coupon(id).filter(holds) else { return };
        let (status, valid_until) = (coupon.released_status(now), coupon.valid_until);
        self.change_coupon(id, redemption, kind, |coupon| {
            coupon.status = status;
            coupon.redemption = None;
            coupon.locked_until = None;
        });
        if status == CouponStatus::Available {
            self.ring(AlarmKind::CouponExpiry, valid_until);
        }
    }

    /// What has to be written.
    pub fn into_changes(self) -> Changes {
        let mut changes = Changes {
            redemptions: changed(self.redemptions.into_values()),
            coupons: changed(self.coupons.into_values()),
            refunds: changed(self.refunds.into_values()),
            operations: self.operations,
            alarms: self.alarms.into_iter().collect(),
        };
        changes.redemptions.sort_by_key(|entry| entry.current.id);
        changes.coupons.sort_by_key(|entry| entry.current.id);
        changes
    }
}

fn changed<T: PartialEq>(entries: impl Iterator<Item = Entry<T>>) -> Vec<Entry<T>> {
    entries.filter(|entry| entry.loaded.as_ref() != Some(&entry.current)).collect()
}

/// The difference between the rows as loaded and as the commands left them.
#[derive(Debug, Default)]
pub struct Changes {
    /// New and changed redemptions, by id.
    pub redemptions: Vec<Entry<Redemption>>,
    /// New and changed coupons, by id.
    pub coupons: Vec<Entry<Coupon>>,
    /// New refunds.
    pub refunds: Vec<Entry<Refund>>,
    /// Rows for the operation log, in order.
    pub operations: Vec<Operation>,
    /// Alarms that must exist.
    pub alarms: Vec<(AlarmKind, Minute)>,
}

impl Changes {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.redemptions.is_empty()
            && self.coupons.is_empty()
            && self.refunds.is_empty()
            && self.operations.is_empty()
            && self.alarms.is_empty()
    }
}
