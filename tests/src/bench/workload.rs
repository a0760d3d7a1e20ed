//! Who claims what: user ids, request ids, templates and prepared bodies, all derived from an
//! operation's number so that nothing has to be kept.

use bytes::Bytes;
use coupon_client::v1;
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_types::Timestamp;
use tonic::Code;

use super::{
    load::{Connection, Operation, Verdict},
    wire::Failure,
};

/// 2020-01-01, before every run.
const LONG_AGO_SECONDS: i64 = 1_577_836_800;
/// 2095, after every run.
const FAR_AHEAD_SECONDS: i64 = 3_950_000_000;

/// The user of operation `seq`: distinct, scattered over the whole range (so that an index that
/// begins with the user is written at random places, as in life), and all of one encoded size.
pub fn user(seq: u64) -> i64 {
    const BITS: u32 = 40;
    const MASK: u64 = (1 << BITS) - 1;
    // Every step can be undone, so no two numbers below 2^40 give the same user.
    let mut mixed = seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) & MASK;
    mixed ^= mixed >> (BITS / 2);
    mixed = mixed.wrapping_mul(0xBF58_476D_1CE4_E5B9) & MASK;
    mixed ^= mixed >> (BITS / 2);
    (mixed + MASK + 1) as i64
}

/// The request id of operation `seq`.
pub fn request_id(seq: u64) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut id = String::with_capacity(22);
    id.push_str("bench-");
    // Called for every claim: several times faster than the formatter.
    id.extend((0..16).rev().map(|digit| char::from(DIGITS[(seq >> (digit * 4)) as usize & 15])));
    id
}

/// The claim of operation `seq`.
pub fn claim(seq: u64, template_id: i64) -> v1::ClaimRequest {
    v1::ClaimRequest {
        user_id: user(seq),
        template_id,
        request_id: request_id(seq),
        source: String::new(),
    }
}

/// Path of a method of CouponService.
pub fn claim_path() -> PathAndQuery {
    PathAndQuery::from_static("/coupon.v1.CouponService/Claim")
}

/// The instant of a far-away number of seconds.
fn instant(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

/// A template that everybody may claim once, now and for years: `amount_minor` off, stackable.
pub fn template(name: &str, total_count: i64) -> v1::Template {
    let amount_minor = 100;
    let fixed = v1::use_window::Fixed {
        use_from: instant(LONG_AGO_SECONDS),
        valid_until: instant(FAR_AHEAD_SECONDS),
    };
    let rules = v1::TemplateRules {
        benefit: Some(v1::template_rules::Benefit::DirectOff(v1::DirectOff { amount_minor })),
        currency_code: "CNY".to_owned(),
        scope: Some(v1::Scope { kind: Some(v1::scope::Kind::All(v1::scope::All {})) }),
        stacking: v1::Stacking::Stackable.into(),
        use_window: Some(v1::UseWindow { kind: Some(v1::use_window::Kind::Fixed(fixed)) }),
        time_zone: "Asia/Shanghai".to_owned(),
        per_user_limit: 1,
        audience: v1::Audience::Everyone.into(),
        restore_policy: v1::RestorePolicy::IfUnexpired.into(),
        restore_days: 0,
        ..v1::TemplateRules::default()
    };
    v1::Template {
        display_name: name.to_owned(),
        rules: Some(rules),
        total_count,
        claim_from: instant(LONG_AGO_SECONDS),
        claim_until: instant(FAR_AHEAD_SECONDS),
        ..v1::Template::default()
    }
}

/// The part of a ClaimResponse that the checker needs; everything else is skipped unread.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WonClaim {
    /// The coupon.
    #[prost(message, optional, tag = "1")]
    pub coupon: Option<WonCoupon>,
    /// True when this request had won before.
    #[prost(bool, tag = "2")]
    pub replayed: bool,
}

/// The part of a Coupon that the checker needs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WonCoupon {
    /// Its id.
    #[prost(int64, tag = "2")]
    pub coupon_id: i64,
}

/// The part of a ClaimStreamResponse that the checker needs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StreamAnswer {
    /// Of the request.
    #[prost(int64, tag = "1")]
    pub sequence: i64,
    /// One per claim.
    #[prost(message, repeated, tag = "2")]
    pub outcomes: Vec<StreamOutcome>,
}

/// What became of one claim of a stream.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StreamOutcome {
    /// Won.
    #[prost(message, optional, tag = "1")]
    pub won: Option<WonClaim>,
    /// Not won.
    #[prost(message, optional, tag = "2")]
    pub error: Option<tonic_types::Status>,
}

/// Judges the answer of a claim that nobody has made before on a template that cannot run out.
pub fn judge_fresh_claim(seq: u64, won: &WonClaim) -> Verdict {
    let Some(coupon) = won.coupon.as_ref() else {
        return Verdict::Violated(format!("claim {seq} was answered OK without a coupon"));
    };
    if won.replayed {
        return Verdict::Violated(format!("claim {seq} was called a replay but is new"));
    }
    if coupon.coupon_id % 10_000 != user(seq) % 10_000 {
        let (coupon, user) = (coupon.coupon_id, user(seq));
        return Verdict::Violated(format!(
            "coupon {coupon} does not carry the slot of user {user}"
        ));
    }
    Verdict::Won(coupon.coupon_id)
}

/// Judges a failure of a call that has to succeed: trouble may be settled later, anything else
/// (such as "sold out" while there is stock) breaks a promise.
pub fn judge_failure(seq: u64, code: Code, message: &str) -> Verdict {
    match code {
        Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded => {
            Verdict::Unsettled(format!("{code:?}: {message}"))
        }
        _ => Verdict::Violated(format!("operation {seq} was refused: {code:?}: {message}")),
    }
}

/// Judges a call that was not answered OK but has to be.
pub fn judge_failed_call(seq: u64, failure: &Failure) -> Verdict {
    let status = failure.status();
    judge_failure(seq, status.code(), status.message())
}

/// Claims that win: new users on a template with stock for all.
#[derive(Clone, Debug)]
pub struct FreshClaims {
    path: PathAndQuery,
    template_id: i64,
}

impl FreshClaims {
    /// Of this template.
    pub fn new(template_id: i64) -> Self {
        Self { path: claim_path(), template_id }
    }

    /// The prepared body of operation `seq`.
    pub fn body(&self, seq: u64) -> Bytes {
        claim(seq, self.template_id).encode_to_vec().into()
    }
}

impl Operation for FreshClaims {
    async fn run(&self, conn: &mut Connection, seq: u64) -> Verdict {
        let answer = conn.unary(&self.path, self.body(seq)).await;
        judge_claim_answer(seq, answer)
    }
}

/// Judges the answer of a unary claim as [`judge_fresh_claim`] does.
pub fn judge_claim_answer(seq: u64, answer: Result<Bytes, Failure>) -> Verdict {
    match answer {
        Ok(bytes) => match WonClaim::decode(bytes) {
            Ok(won) => judge_fresh_claim(seq, &won),
            Err(error) => Verdict::Violated(format!("answer of claim {seq} is malformed: {error}")),
        },
        Err(failure) => judge_failed_call(seq, &failure),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn users_are_distinct_scattered_and_of_one_size() {
        let users: Vec<i64> = (0..50_000).map(user).collect();
        assert_eq!(users.iter().collect::<HashSet<_>>().len(), users.len());
        let slots: HashSet<i64> = users.iter().map(|user| user % 10_000).collect();
        assert!(slots.len() > 9_000, "only {} slots", slots.len());
        let rising = users.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((20_000..30_000).contains(&rising), "{rising} of 50,000 rise");
        let sizes: HashSet<usize> = (0..1000).map(|seq| claim(seq, 7).encoded_len()).collect();
        assert_eq!(sizes.len(), 1);
    }

    #[test]
    fn request_ids_name_their_operation() {
        assert_eq!(request_id(0xabc), "bench-0000000000000abc");
        assert_eq!(request_id(u64::MAX), "bench-ffffffffffffffff");
    }

    #[test]
    fn a_claim_answer_is_read_and_judged() {
        let coupon_id = 120_000 + user(3) % 10_000;
        let coupon = v1::Coupon { coupon_id, name: "x".to_owned(), ..v1::Coupon::default() };
        let won = v1::ClaimResponse { coupon: Some(coupon), replayed: false };
        let answer = Ok(won.encode_to_vec().into());
        assert_eq!(judge_claim_answer(3, answer), Verdict::Won(coupon_id));

        let replay = v1::ClaimResponse { replayed: true, ..won };
        let verdict = judge_claim_answer(3, Ok(replay.encode_to_vec().into()));
        assert!(matches!(verdict, Verdict::Violated(_)), "{verdict:?}");
        let sold_out = judge_failure(3, Code::FailedPrecondition, "sold out");
        assert!(matches!(sold_out, Verdict::Violated(_)), "{sold_out:?}");
        let shed = judge_failure(3, Code::ResourceExhausted, "queue is full");
        assert!(matches!(shed, Verdict::Unsettled(_)), "{shed:?}");
    }
}
