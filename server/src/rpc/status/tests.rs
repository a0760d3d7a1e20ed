use coupon_domain::ids::CouponId;

use super::*;

/// Largest header that the strictest clients take.
const HEADERS_BYTES_MAX: usize = 8 * 1024;

/// What the details take in a header, in base64.
fn header_bytes(status: &Status) -> usize {
    status.details().len().div_ceil(3) * 4 + status.message().len() * 3
}

fn fault(coupon: i64, reason: Rejection, missing: i64) -> CouponFault {
    CouponFault { coupon: CouponId::new(coupon).unwrap(), reason, missing: Minor::new(missing) }
}

#[test]
fn a_prepared_refusal_equals_one_made_afresh() {
    for reason in [Rejection::TemplateNotFound, Rejection::SoldOut, Rejection::TemplateEnded] {
        let fresh = refused_with(&reason.into());
        for _ in 0..2 {
            let answer = Status::from(ServiceError::from(reason));
            assert_eq!(answer.code(), fresh.code());
            assert_eq!(answer.message(), fresh.message());
            assert_eq!(answer.details(), fresh.details());
            let inner = rpc_status(reason.into());
            assert_eq!(inner.encode_to_vec(), fresh.details());
            assert_eq!(inner.code, i32::from(fresh.code()));
        }
    }
}

#[test]
fn codes_follow_the_kind_of_outcome() {
    let refused = |reason: Rejection| ServiceError::from(reason);
    let retry_after = Duration::from_millis(30);
    let table = [
        (refused(Rejection::CouponNotFound), Code::NotFound, "COUPON_NOT_FOUND"),
        (refused(Rejection::SoldOut), Code::FailedPrecondition, "SOLD_OUT"),
        (refused(Rejection::IdempotencyKeyReused), Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED"),
        (ServiceError::invalid("a", "b"), Code::InvalidArgument, "INVALID_FIELD"),
        (
            ServiceError::Overloaded { queue: "claims", retry_after },
            Code::ResourceExhausted,
            "OVERLOADED",
        ),
        (ServiceError::Unavailable("x".into()), Code::Unavailable, "BACKEND_UNAVAILABLE"),
        (ServiceError::Unknown, Code::DeadlineExceeded, "OUTCOME_UNKNOWN"),
        (ServiceError::Unsupported("x"), Code::Unimplemented, "TEST_CLOCK_OFF"),
        (ServiceError::Internal("secret".into()), Code::Internal, "INTERNAL"),
    ];
    for (error, code, reason) in table {
        let retries = matches!(code, Code::ResourceExhausted | Code::Unavailable);
        let status = Status::from(error);
        assert_eq!(status.code(), code);
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "coupon.v1"));
        assert_eq!(status.get_details_retry_info().is_some(), retries, "{reason}");
        assert!(!format!("{status:?}").contains("secret"));
    }
}

#[test]
fn every_failing_coupon_is_named_with_what_it_lacks() {
    let faults = vec![
        fault(10_001, Rejection::BelowThreshold, 250),
        fault(20_001, Rejection::CouponUsed, 0),
    ];
    let status = Status::from(ServiceError::Refused(Refusal::of(faults).unwrap()));
    assert_eq!(status.get_details_error_info().unwrap().reason, "COUPON_USED");
    let failure = status.get_details_precondition_failure().unwrap();
    let told: Vec<_> =
        failure.violations.iter().map(|v| (v.r#type.as_str(), v.subject.as_str())).collect();
    assert_eq!(told, [("BELOW_THRESHOLD", "10001"), ("COUPON_USED", "20001")]);
    assert!(failure.violations[0].description.contains("250"));
}

#[test]
fn the_longest_answers_fit_the_headers_of_strict_clients() {
    let id = i64::MAX - 1_000;
    let faults: Vec<_> =
        (0..100).map(|n| fault(id + n, Rejection::BelowThreshold, 99_999_999)).collect();
    let status = Status::from(ServiceError::Refused(Refusal::of(faults).unwrap()));
    assert_eq!(status.get_details_precondition_failure().unwrap().violations.len(), 100);
    assert!(header_bytes(&status) < HEADERS_BYTES_MAX, "{}", header_bytes(&status));

    let violations = (0..1_000).map(|n| error::FieldViolation {
        field: format!("template.rules.scope.products.product_ids[{n}]"),
        description: "must be positive".to_owned(),
    });
    let status = Status::from(ServiceError::Invalid(violations.collect()));
    assert!(status.message().starts_with("1000 malformed"), "{}", status.message());
    assert!(status.get_details_bad_request().unwrap().field_violations.len() > 20);
    assert!(header_bytes(&status) < HEADERS_BYTES_MAX, "{}", header_bytes(&status));
}

#[test]
fn a_definite_refusal_of_a_try_is_aborted_and_says_the_same() {
    let faults = vec![fault(10_001, Rejection::BelowThreshold, 250)];
    for error in [
        ServiceError::Refused(Refusal::of(faults).unwrap()),
        Rejection::OrderCancelled.into(),
        Rejection::CouponNotFound.into(),
        Rejection::IdempotencyKeyReused.into(),
        ServiceError::invalid("a", "b"),
    ] {
        let plain = Status::from(error);
        let told = of_try(plain.clone());
        assert_eq!((told.code(), told.message()), (Code::Aborted, plain.message()));
        let inner = unpack(&told);
        assert_eq!(inner.code, i32::from(Code::Aborted), "both name the same code");
        assert_eq!(
            (&inner.message, &inner.details),
            (&unpack(&plain).message, &unpack(&plain).details)
        );
    }
}

#[test]
fn a_try_that_may_still_succeed_keeps_its_code() {
    let retry_after = Duration::from_millis(30);
    for error in [
        ServiceError::Overloaded { queue: "claims", retry_after },
        ServiceError::Unavailable("x".into()),
        ServiceError::Unknown,
        ServiceError::Internal("x".into()),
    ] {
        let plain = Status::from(error);
        let told = of_try(plain.clone());
        assert_eq!((told.code(), told.details()), (plain.code(), plain.details()));
    }
}
