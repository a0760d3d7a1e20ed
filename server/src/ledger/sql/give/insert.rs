//! Inserting the coupons of a group.

use std::{collections::HashSet, sync::LazyLock};

use coupon_domain::ids::CouponId;
use sea_orm::{ConnectionTrait, Value};

use super::plan::NewCoupon;
use crate::ledger::{
    LedgerError,
    sql::{
        rows::{coupon_id, get},
        statement::{Texts, execute, query_by_keys, repeat},
    },
};

static INSERT: LazyLock<Texts> = LazyLock::new(|| {
    let insert = |verb: &'static str| {
        let head = format!(
            "{verb} INTO coupon (coupon_id, user_id, template_id, claim_no, \
             template_version, request_id, fingerprint, source, claimed_at, valid_until) VALUES "
        );
        move |rows| repeat(&head, "(?,?,?,?,?,?,?,?,?,?)", rows, "")
    };
    Texts::per_backend(insert("INSERT OR IGNORE"), insert("INSERT IGNORE"))
});

static PRESENT: LazyLock<Texts> = LazyLock::new(|| {
    Texts::new("SELECT coupon_id, user_id, request_id FROM coupon WHERE coupon_id IN (", "?", ")")
});

/// Inserts the coupons that clash with nothing, and answers which those are.
pub(super) async fn insert(
    tx: &impl ConnectionTrait,
    wanted: &[NewCoupon<'_>],
) -> Result<HashSet<CouponId>, LedgerError> {
    let mut inserted: HashSet<CouponId> = wanted.iter().map(|coupon| coupon.id).collect();
    let mut rest = wanted;
    let texts = INSERT.on(tx);
    for rows in texts.cuts(wanted.len()) {
        let (portion, after) = rest.split_at(rows);
        rest = after;
        let values = portion.iter().flat_map(values).collect();
        let count = execute(tx, texts.of(rows), values).await?;
        if usize::try_from(count).ok() != Some(rows) {
            let present = present(tx, portion).await?;
            let lost = portion.iter().filter(|coupon| !present.contains(&coupon.id));
            for coupon in lost {
                inserted.remove(&coupon.id);
            }
        }
    }
    Ok(inserted)
}

fn values(coupon: &NewCoupon<'_>) -> [Value; 10] {
    let command = coupon.command;
    [
        coupon.id.get().into(),
        command.user.get().into(),
        command.template.id.get().into(),
        coupon.claim_no.into(),
        command.template.version.into(),
        command.request_id.as_str().into(),
        command.fingerprint.to_stored().into(),
        command.source.as_str().into(),
        command.at.as_millis().into(),
        coupon.valid_until.as_millis().into(),
    ]
}

/// Which of the minted ids are there and ours: a clash on the primary key is swallowed like any
/// other, so user and request id are compared too.
async fn present(
    tx: &impl ConnectionTrait,
    portion: &[NewCoupon<'_>],
) -> Result<HashSet<CouponId>, LedgerError> {
    let rows = query_by_keys(tx, &PRESENT, portion, |coupon, values| {
        values.push(coupon.id.get().into());
    });
    let mut present = HashSet::new();
    for row in rows.await? {
        let id = coupon_id(get(&row, 0)?)?;
        let (user, request_id): (i64, String) = (get(&row, 1)?, get(&row, 2)?);
        let ours = portion.iter().any(|coupon| {
            let command = coupon.command;
            coupon.id == id && command.user.get() == user && command.request_id == request_id
        });
        if ours {
            present.insert(id);
        }
    }
    Ok(present)
}
