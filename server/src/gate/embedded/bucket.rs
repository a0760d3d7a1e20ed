//! One sub-stock bucket and the users that draw from it.

use coupon_domain::{
    fingerprint::{Fingerprint, hash_request_id},
    ids::{CouponId, UserId},
    template::Template,
    time::Timestamp,
};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::{
    gate::{GateClaim, Recall, Verdict},
    ledger::{GiveCommand, Given, GivenCoupon, Holding},
};

/// A coupon that a user holds, or a claim under way: 32 bytes, because there is one per coupon.
#[derive(Debug, Clone, Copy)]
struct Held {
    request_hash: u64,
    /// Zero for a claim under way.
    coupon: i64,
    claimed_at: i64,
    /// The low half of the fingerprint: enough to tell two bodies of one request id apart.
    fingerprint: u32,
    /// Of a claim under way: how many units are set aside for it, none or one.
    claim_no: u32,
}

impl Held {
    fn is_pending(&self) -> bool {
        self.coupon == 0
    }
}

/// The low half.
fn short(fingerprint: Fingerprint) -> u32 {
    u32::try_from(fingerprint.to_stored() & 0xffff_ffff).unwrap_or(0)
}

/// What a bucket says of a claim.
pub(super) enum Decision {
    Verdict(Verdict),
    /// It has no stock left; others may.
    Empty,
}

/// Stock and users of one bucket.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Units that can still be set aside.
    pub(super) stock: i64,
    /// The first coupon of each user.
    first: FxHashMap<UserId, Held>,
    /// The others, where the limit allows more.
    more: FxHashMap<UserId, SmallVec<[Held; 2]>>,
}

impl Bucket {
    fn held(&self, user: UserId) -> impl Iterator<Item = &Held> {
        let first = self.first.get(&user);
        let more = first.and_then(|_| self.more.get(&user));
        first.into_iter().chain(more.into_iter().flatten())
    }

    fn push(&mut self, user: UserId, held: Held) {
        if let std::collections::hash_map::Entry::Vacant(vacant) = self.first.entry(user) {
            vacant.insert(held);
        } else {
            self.more.entry(user).or_default().push(held);
        }
    }

    /// Removes the claim under way with this request; says how many units are set aside for it,
    /// none when there is no such claim.
    fn remove_pending(&mut self, user: UserId, request_hash: u64) -> i64 {
        let is_it = |held: &Held| held.is_pending() && held.request_hash == request_hash;
        if let Some(more) = self.more.get_mut(&user)
            && let Some(index) = more.iter().position(is_it)
        {
            let units = more.swap_remove(index).claim_no;
            if more.is_empty() {
                self.more.remove(&user);
            }
            return i64::from(units);
        }
        let Some(units) = self.first.get(&user).filter(|held| is_it(held)).map(|h| h.claim_no)
        else {
            return 0;
        };
        self.first.remove(&user);
        if let Some(mut more) = self.more.remove(&user) {
            let next = more.remove(0);
            self.first.insert(user, next);
            if !more.is_empty() {
                self.more.insert(user, more);
            }
        }
        i64::from(units)
    }

    /// Enters a claim under way.
    fn push_pending(&mut self, user: UserId, request_hash: u64, print: Fingerprint, units: u32) {
        let (coupon, claimed_at, fingerprint) = (0, 0, short(print));
        self.push(user, Held { request_hash, coupon, claimed_at, fingerprint, claim_no: units });
    }

    /// Idempotency, then limit, then stock.
    pub(super) fn admit(
        &mut self,
        template: &Template,
        claim: GateClaim,
        sold_out: bool,
    ) -> Decision {
        let (mut count, mut pending) = (0, false);
        for held in self.held(claim.user) {
            if held.request_hash == claim.request_hash {
                return Decision::Verdict(judge_same(held, claim));
            }
            count += 1;
            pending |= held.is_pending();
        }
        if count >= template.rules.per_user_limit {
            return Decision::Verdict(if pending { Verdict::Pending } else { Verdict::Limit });
        }
        if sold_out {
            return Decision::Verdict(Verdict::SoldOut);
        }
        if self.stock <= 0 {
            return Decision::Empty;
        }
        self.stock -= 1;
        self.push_pending(claim.user, claim.request_hash, claim.fingerprint, 1);
        Decision::Verdict(Verdict::Admitted)
    }

    /// Looks for an earlier win of the same request.
    pub(super) fn recall(&self, claim: GateClaim) -> Recall {
        let same = self.held(claim.user).find(|held| held.request_hash == claim.request_hash);
        match same.map(|held| judge_same(held, claim)) {
            Some(Verdict::Replay(holding)) => Recall::Replay(holding),
            Some(Verdict::KeyReused) => Recall::KeyReused,
            Some(_) => Recall::Unknown,
            None => Recall::Nothing,
        }
    }

    /// Gives back the unit of a claim that never reached the ledger.
    pub(super) fn give_back(&mut self, user: UserId, request_hash: u64) {
        self.stock += self.remove_pending(user, request_hash);
    }

    /// Enters a coupon that the ledger has.
    pub(super) fn hold(&mut self, holding: Holding) {
        let coupon = holding.coupon;
        if self.held(holding.user).any(|held| held.coupon == coupon.id.get()) {
            return;
        }
        // Noted as unknown while the template was being loaded, and known now.
        self.remove_pending(holding.user, holding.request_hash);
        let held = Held {
            request_hash: holding.request_hash,
            coupon: coupon.id.get(),
            claimed_at: coupon.claimed_at.as_millis(),
            fingerprint: short(holding.fingerprint),
            claim_no: u32::try_from(coupon.claim_no).unwrap_or(u32::MAX),
        };
        self.push(holding.user, held);
    }

    /// The ledger gave: the unit set aside is spent, or goes back when it was a replay; without one
    /// the stock has shrunk past the gate. A resend finds the unit of the first try, whose outcome
    /// was unknown: that one is spent either way.
    pub(super) fn settle_given(&mut self, command: &GiveCommand, given: &Given) {
        let request_hash = hash_request_id(&command.request_id);
        let units = self.remove_pending(command.user, request_hash);
        let spent = match (given.replayed, command.holds_unit) {
            (false, _) => i64::from(command.pieces),
            (true, true) => 0,
            (true, false) => units,
        };
        self.stock = (self.stock + units - spent).max(0);
        for coupon in &given.coupons {
            self.hold(Holding {
                user: command.user,
                coupon: *coupon,
                request_hash,
                fingerprint: command.fingerprint,
            });
        }
    }

    /// Nothing was given: the unit goes back, if it still stands.
    pub(super) fn settle_nothing(&mut self, command: &GiveCommand) {
        if command.holds_unit {
            self.give_back(command.user, hash_request_id(&command.request_id));
        }
    }

    /// Refused for the limit: this request has not won, not in an earlier try either.
    pub(super) fn settle_refused(&mut self, command: &GiveCommand) {
        self.give_back(command.user, hash_request_id(&command.request_id));
    }

    /// Nobody knows: whether or not a unit was set aside, the user may hold a coupon now, and is sent
    /// to the ledger until a resend has settled it.
    pub(super) fn settle_unknown(&mut self, command: &GiveCommand) {
        let request_hash = hash_request_id(&command.request_id);
        if !self.held(command.user).any(|held| held.request_hash == request_hash) {
            self.push_pending(command.user, request_hash, command.fingerprint, 0);
        }
    }

    /// Nothing was given because there is nothing: the unit was not real, and this request has not
    /// won, not in an earlier try either.
    pub(super) fn drop_pending(&mut self, command: &GiveCommand) {
        self.remove_pending(command.user, hash_request_id(&command.request_id));
        self.stock = 0;
    }
}

/// A claim that carries the request id of `held`.
fn judge_same(held: &Held, claim: GateClaim) -> Verdict {
    if held.is_pending() {
        return Verdict::Pending;
    }
    if held.fingerprint != short(claim.fingerprint) {
        return Verdict::KeyReused;
    }
    let Ok(id) = CouponId::new(held.coupon) else { return Verdict::Pending };
    let claimed_at = Timestamp::from_millis(held.claimed_at);
    let coupon = GivenCoupon {
        id,
        claim_no: i64::from(held.claim_no),
        claimed_at,
        // Follows from the template's rules and the time of claim; not kept.
        valid_until: claimed_at,
    };
    let Held { request_hash, .. } = *held;
    Verdict::Replay(Holding {
        user: claim.user,
        coupon,
        request_hash,
        fingerprint: claim.fingerprint,
    })
}
