//! The `grpc-timeout` header.

use std::time::Duration;

use http::HeaderMap;

/// Reads the header exactly as tonic does, because the deadline layer must fire before tonic's own
/// timer: whatever tonic takes for a timeout is one here, and what it ignores is ignored.
pub(super) fn parse(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // Eight digits at most, says the protocol; so no unit can overflow.
    if digits.len() > 8 {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 60 * 60)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        parse(&headers)
    }

    #[test]
    fn every_unit_is_read() {
        assert_eq!(parse_text("2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(parse_text("3M"), Some(Duration::from_secs(180)));
        assert_eq!(parse_text("42S"), Some(Duration::from_secs(42)));
        assert_eq!(parse_text("13m"), Some(Duration::from_millis(13)));
        assert_eq!(parse_text("2u"), Some(Duration::from_micros(2)));
        assert_eq!(parse_text("82n"), Some(Duration::from_nanos(82)));
        assert_eq!(parse_text("0m"), Some(Duration::ZERO));
        assert_eq!(parse_text("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
    }

    #[test]
    fn what_is_malformed_is_no_timeout() {
        assert_eq!(parse(&HeaderMap::new()), None);
        for text in ["", "S", "10", "82f", "oneH", "123456789H", "-1S", "1 S"] {
            assert_eq!(parse_text(text), None, "{text:?}");
        }
    }
}
