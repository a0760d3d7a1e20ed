//! What one call of `admit.lua` carries for a bucket, and its answer.

use bytes::Bytes;
use fred::prelude::Value;
use tokio::sync::oneshot;

use super::entry::{ENTRY, Entry, UserKey, replay, user_key};
use crate::{
    gate::{GateClaim, Verdict},
    ledger::Holding,
};

/// How long the keys of a bucket live after they were loaded, in milliseconds: a sale that lasts longer
/// is loaded again.
pub(super) const LIFE_MS: i64 = 7 * 24 * 3_600 * 1_000;
/// Bytes of an entry that tell a claim under way, up to and including its coupon.
const EXPECTED: usize = 24;

/// What a bucket learns of an earlier claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    /// The plain case: the unit set aside has become this coupon.
    Won(UserKey, Entry),
    /// Any other, as `admit.lua` reads it.
    Other(UserKey, Bytes),
}

/// The letters of [`Op::Other`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// The ledger gave.
    Gave,
    /// The ledger has these coupons.
    Holds,
    /// The unit of a request goes back.
    GiveBack,
    /// The unit of a call that was not answered goes back.
    Attempt,
    /// Proven: there is nothing.
    SoldOut,
    /// Nobody knows.
    Unknown,
}

impl Op {
    pub(super) fn user(&self) -> &UserKey {
        match self {
            Self::Won(user, _) | Self::Other(user, _) => user,
        }
    }

    /// An operation on the request `request_hash` with what its kind needs.
    pub(super) fn other(user: UserKey, kind: Kind, request_hash: u64, rest: &[u8]) -> Self {
        let letter = match kind {
            Kind::Gave => b'G',
            Kind::Holds => b'H',
            Kind::GiveBack => b'B',
            Kind::Attempt => b'A',
            Kind::SoldOut => b'S',
            Kind::Unknown => b'U',
        };
        let mut bytes = Vec::with_capacity(9 + rest.len());
        bytes.push(letter);
        bytes.extend(request_hash.to_be_bytes());
        bytes.extend(rest);
        Self::Other(user, bytes.into())
    }

    /// Coupons that the ledger gave or has.
    pub(super) fn coupons(
        kind: Kind,
        holdings: &[Holding],
        replayed: bool,
        holds_unit: bool,
        pieces: u32,
    ) -> Option<Self> {
        let first = holdings.first()?;
        let flag = |set: bool| if set { '1' } else { '0' };
        let mut rest = format!("{}{}{pieces:010}", flag(replayed), flag(holds_unit)).into_bytes();
        for holding in holdings {
            rest.extend(super::entry::coupon(holding));
        }
        Some(Self::other(user_key(first.user), kind, first.request_hash, &rest))
    }
}

/// A claim that waits for its verdict.
pub(super) struct Waiting {
    pub(super) claim: GateClaim,
    pub(super) user: UserKey,
    pub(super) under_way: Entry,
    pub(super) limit: i32,
    pub(super) reply: oneshot::Sender<Verdict>,
}

/// Somebody who waits for what is known of a user; `None` when nobody can say.
pub(super) struct Looking {
    pub(super) user: UserKey,
    pub(super) reply: oneshot::Sender<Option<Bytes>>,
}

/// One call.
#[derive(Default)]
pub(super) struct Group {
    pub(super) ops: Vec<Op>,
    pub(super) claims: Vec<Waiting>,
    pub(super) looks: Vec<Looking>,
}

impl Group {
    /// The arguments of the script.
    pub(super) fn args(&self) -> Vec<Value> {
        let limit = self.claims.first().map_or(0, |claim| claim.limit);
        let mut won = Vec::with_capacity(self.ops.len() * (8 + EXPECTED + ENTRY));
        let mut others = Vec::new();
        for op in &self.ops {
            match op {
                Op::Won(user, coupon) => {
                    won.extend(user);
                    won.extend(&expected(coupon)[..EXPECTED]);
                    won.extend(coupon);
                }
                Op::Other(user, op) => {
                    others.push(Value::Bytes(Bytes::copy_from_slice(user)));
                    others.push(Value::Bytes(op.clone()));
                }
            }
        }
        let mut claims = Vec::with_capacity(self.claims.len() * (8 + ENTRY));
        for claim in &self.claims {
            claims.extend(claim.user);
            claims.extend(claim.under_way);
        }
        let looks: Vec<u8> = self.looks.iter().flat_map(|look| look.user).collect();
        let blob = |bytes: Vec<u8>| Value::Bytes(bytes.into());
        let mut args =
            vec![i64::from(limit).into(), LIFE_MS.into(), blob(won), blob(claims), blob(looks)];
        args.extend(others);
        args
    }
}

/// A claim under way, with one unit set aside, that has become this coupon.
fn expected(coupon: &Entry) -> Entry {
    let mut expected = *coupon;
    expected[12..16].copy_from_slice(&1_u32.to_be_bytes());
    expected[16..].fill(0);
    expected
}

/// The script's answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// In the order of the claims.
    pub(super) verdicts: Vec<Verdict>,
    /// In the order of the looks.
    pub(super) seen: Vec<Bytes>,
    /// The ledger gave what the bucket did not have.
    pub(super) disagrees: bool,
}

impl Reply {
    /// Reads the answer to a group; `None` when it is none.
    pub(super) fn read(answer: Value, group: &Group) -> Option<Self> {
        let claims = group.claims.len();
        let parts = match answer {
            Value::Integer(admitted) if usize::try_from(admitted) == Ok(claims) => {
                let verdicts = vec![Verdict::Admitted; claims];
                return Some(Self { verdicts, seen: Vec::new(), disagrees: false });
            }
            Value::Array(parts) => parts,
            _ => return None,
        };
        let [letters, disagrees, coupons, seen] = <[Value; 4]>::try_from(parts).ok()?;
        let letters = letters.into_bytes()?;
        let mut coupons = coupons.into_array().into_iter();
        let seen: Vec<Bytes> = (seen.into_array().into_iter())
            .map(|value| value.into_bytes().unwrap_or_default())
            .collect();
        if letters.len() != claims || seen.len() != group.looks.len() {
            return None;
        }
        let mut verdicts = Vec::with_capacity(claims);
        for (letter, waiting) in letters.iter().zip(&group.claims) {
            verdicts.push(match letter {
                b'A' => Verdict::Admitted,
                b'P' => Verdict::Pending,
                b'W' => {
                    let coupon = coupons.next()?.into_bytes()?;
                    replay(&coupon, waiting.claim).map_or(Verdict::Pending, Verdict::Replay)
                }
                b'K' => Verdict::KeyReused,
                b'L' => Verdict::Limit,
                b'D' => Verdict::Dry,
                b'N' => Verdict::NotLoaded,
                _ => return None,
            });
        }
        Some(Self { verdicts, seen, disagrees: disagrees.as_i64() == Some(1) })
    }
}
