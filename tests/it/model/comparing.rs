//! What is stored against what the model says.

use std::collections::BTreeMap;

use coupon_domain::{
    coupon::{Coupon, CouponStatus},
    ids::CouponId,
};
use coupon_server::ledger::{Fresh, Redeemed, StoredCoupon};
use proptest::prelude::*;

use super::{
    outcomes::{Came, came},
    runner::{Runner, Verdict},
    sequential::{Phase, Piece, Standing},
    steps::USERS,
};
use crate::conformance::fixture::user_id;

impl Runner {
    /// Everybody's wallet, orders and stock are those of the model.
    pub(super) async fn compare(&mut self) -> Verdict {
        self.model.pass(self.at());
        for user in USERS {
            let wallet =
                self.world.ledger().wallet(user_id(user), None, None, 10_000, Fresh::Latest).await;
            let stored: BTreeMap<CouponId, StoredCoupon> = wallet
                .expect("readable")
                .into_iter()
                .map(|stored| (stored.coupon.id, stored))
                .collect();
            let pieces: Vec<&Piece> =
                self.model.pieces.iter().filter(|piece| piece.user == user).collect();
            prop_assert_eq!(stored.len(), pieces.len(), "coupons of user {}", user);
            for piece in pieces {
                let found = piece.id.and_then(|id| stored.get(&id));
                prop_assert!(found.is_some(), "{:?} is not stored", piece);
                self.compare_coupon(piece, found.expect("checked"))?;
            }
        }
        for (index, template) in self.templates.iter().enumerate() {
            let stock = self.world.stock(template.id).await;
            prop_assert_eq!(stock, (self.model.shelves[index].total, self.model.issued(index)));
        }
        for ((user, order), known) in &self.model.orders {
            let found = self.world.ledger().redemption(user_id(*user), order, Fresh::Latest).await;
            let found = found.expect("readable").map(Redeemed::Redemption);
            prop_assert!(found.is_some(), "order {} of user {} is not stored", order, user);
            let found = came(&Ok(found.expect("checked")), self.at());
            let Came::Order(phase, _, discount, _) = found else { unreachable!() };
            prop_assert_eq!((phase, discount), (known.phase, known.discount));
        }
        Ok(())
    }

    fn compare_coupon(&self, piece: &Piece, stored: &StoredCoupon) -> Verdict {
        let (coupon, at) = (&stored.coupon, self.at());
        let status = match piece.standing {
            Standing::Free if at >= piece.until => CouponStatus::Expired,
            Standing::Free => CouponStatus::Available,
            Standing::Held => CouponStatus::Locked,
            Standing::Used => CouponStatus::Used,
            Standing::Voided => CouponStatus::Voided,
        };
        prop_assert_eq!(coupon.effective_status(self.world.now), status, "{:?}", piece);
        prop_assert_eq!(coupon.claim_no, piece.number);
        prop_assert_eq!(coupon.template, self.templates[piece.template].id);
        prop_assert_eq!(coupon.valid_until.as_millis(), piece.until, "{:?}", piece);
        let replaces = piece.replaces.and_then(|index| self.model.pieces[index].id);
        prop_assert_eq!(coupon.reissue_of, replaces);
        // Stored LOCKED by a lock that has lapsed, it still names the order.
        if !coupon.lock_has_lapsed(self.world.now) {
            prop_assert_eq!(stored.order.as_deref(), piece.order, "{:?}", piece);
        }
        Ok(())
    }

    /// The stored status has caught up, and the folded counts are a recount.
    pub(super) async fn check_stored(&self) -> Verdict {
        let ledger = self.world.ledger();
        while ledger.fold_stats(5, self.world.now).await.expect("folded") > 0 {}
        let mut all: Vec<Coupon> = Vec::new();
        for user in USERS {
            let wallet = ledger
                .wallet(user_id(user), None, None, 10_000, Fresh::Latest)
                .await
                .expect("readable");
            all.extend(wallet.into_iter().map(|stored| stored.coupon));
        }
        for coupon in &all {
            prop_assert_eq!(coupon.status, coupon.effective_status(self.world.now));
            prop_assert_ne!(coupon.status, CouponStatus::Available);
            prop_assert_ne!(coupon.status, CouponStatus::Locked);
        }
        for template in &self.templates {
            let counts = ledger.counts(template.id).await.expect("readable");
            let count = |test: &dyn Fn(&Coupon) -> bool| {
                let of = all.iter().filter(|one| one.template == template.id && test(one));
                i64::try_from(of.count()).expect("few")
            };
            let is = |status| count(&|one: &Coupon| one.status == status);
            let recount =
                (is(CouponStatus::Used), is(CouponStatus::Expired), is(CouponStatus::Voided));
            prop_assert_eq!((counts.used, counts.expired, counts.voided), recount);
            prop_assert_eq!(
                (counts.locked, counts.reissued),
                (0, count(&|one| one.reissue_of.is_some()))
            );
        }
        let locked = self.model.orders.values().filter(|order| order.phase == Phase::Locked);
        prop_assert_eq!(locked.count(), 0);
        Ok(())
    }
}
