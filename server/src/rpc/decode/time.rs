//! Instants and durations.

use std::{ops::RangeInclusive, time::Duration};

use coupon_domain::time::Timestamp;

use super::field::{Path, Violations};

/// Seconds from 0001-01-01T00:00:00Z to the Unix epoch.
const YEAR_ONE_S: i64 = -62_135_596_800;
const NANOS_MAX: i32 = 999_999_999;

impl Violations {
    /// An instant that must be there. What is finer than a millisecond is cut off.
    pub(super) fn instant<'a>(
        &mut self,
        at: impl Into<Path<'a>>,
        value: Option<prost_types::Timestamp>,
    ) -> Option<Timestamp> {
        let at = at.into();
        let value = self.required(at, value)?;
        let instant = millis(value).map(Timestamp::from_millis).filter(|at| *at <= Timestamp::MAX);
        if instant.is_none() {
            self.note(
                at,
                "must be within 0001-01-01T00:00:00Z and 9999-12-31T00:00:00Z, with nanos of 0 to 999999999",
            );
        }
        instant
    }

    /// A window `[from, until)` of which both ends must be there.
    pub(super) fn window(
        &mut self,
        (from_at, from): (Path<'_>, Option<prost_types::Timestamp>),
        (until_at, until): (Path<'_>, Option<prost_types::Timestamp>),
    ) -> Option<(Timestamp, Timestamp)> {
        let from = self.instant(from_at, from);
        let until = self.instant(until_at, until);
        let (from, until) = (from?, until?);
        if from >= until {
            self.note(until_at, "must be later than the start of its window");
            return None;
        }
        Some((from, until))
    }

    /// A duration within bounds in whole seconds; unset is `default`.
    pub(super) fn duration<'a>(
        &mut self,
        at: impl Into<Path<'a>>,
        value: Option<prost_types::Duration>,
        bounds_s: RangeInclusive<u64>,
        default: Duration,
    ) -> Option<Duration> {
        let Some(value) = value else {
            return Some(default);
        };
        let (start, end) = bounds_s.into_inner();
        let parts = (u64::try_from(value.seconds), u32::try_from(value.nanos));
        if let (Ok(seconds), Ok(nanos)) = parts
            && value.nanos <= NANOS_MAX
        {
            let duration = Duration::new(seconds, nanos);
            if (Duration::from_secs(start)..=Duration::from_secs(end)).contains(&duration) {
                return Some(duration);
            }
        }
        self.note(at, format_args!("must be {start} s to {end} s, with nanos of 0 to 999999999"));
        None
    }
}

fn millis(value: prost_types::Timestamp) -> Option<i64> {
    let nanos_valid = (0..=NANOS_MAX).contains(&value.nanos);
    if !nanos_valid || value.seconds < YEAR_ONE_S {
        return None;
    }
    value.seconds.checked_mul(1_000)?.checked_add(i64::from(value.nanos / 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(seconds: i64, nanos: i32) -> Option<Timestamp> {
        Violations::default().instant("at", Some(prost_types::Timestamp { seconds, nanos }))
    }

    #[test]
    fn instants_are_cut_to_milliseconds_and_bounded() {
        assert_eq!(instant(1, 999_999_999), Some(Timestamp::from_millis(1_999)));
        assert_eq!(instant(-1, 500_000_000), Some(Timestamp::from_millis(-500)));
        assert_eq!(instant(YEAR_ONE_S, 0), Timestamp::parse("0001-01-01T00:00:00Z"));
        assert_eq!(instant(Timestamp::MAX.as_millis() / 1_000, 0), Some(Timestamp::MAX));
        for (seconds, nanos) in [
            (YEAR_ONE_S - 1, 0),
            (Timestamp::MAX.as_millis() / 1_000, 1_000_000),
            (i64::MAX, 0),
            (i64::MIN, 0),
            (1, -1),
            (1, 1_000_000_000),
        ] {
            assert_eq!(instant(seconds, nanos), None, "{seconds} {nanos}");
        }
    }

    #[test]
    fn durations_are_bounded_at_both_ends() {
        let of = |seconds, nanos| {
            let value = Some(prost_types::Duration { seconds, nanos });
            Violations::default().duration("ttl", value, 1..=10, Duration::ZERO)
        };
        assert_eq!(of(1, 0), Some(Duration::from_secs(1)));
        assert_eq!(of(10, 0), Some(Duration::from_secs(10)));
        assert_eq!(of(2, 5), Some(Duration::new(2, 5)));
        for (seconds, nanos) in [(0, 999_999_999), (10, 1), (-1, 0), (2, -1), (2, i32::MAX)] {
            assert_eq!(of(seconds, nanos), None, "{seconds} {nanos}");
        }
    }
}
