//! Calendar arithmetic: ends of local days (R34) and minutes of alarms (R11).

#![allow(clippy::unwrap_used)] // Also in the functions that the tests share.

use coupon_domain::time::{MINUTE_MS, Minute, TimeZone, Timestamp};
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// The end of the `days`-th local day after `from`, and what it should be.
#[track_caller]
fn check(zone: &str, from: &str, days: u32, expected: &str) {
    let end = TimeZone::parse(zone).unwrap().end_of_day_after(at(from), days);
    assert_eq!(end, at(expected), "{zone} {from} + {days} days: {end}");
}

// R34: the N-th day after the claim counts to its end, wherever in the day the claim was.
#[test]
fn a_day_ends_at_local_midnight() {
    for from in ["2020-11-01T00:00:00+08:00", "2020-11-01T23:59:59.999+08:00"] {
        check("Asia/Shanghai", from, 0, "2020-11-02T00:00:00+08:00");
        check("Asia/Shanghai", from, 30, "2020-12-02T00:00:00+08:00");
    }
    check("Asia/Shanghai", "2020-11-01T15:59:59.999Z", 0, "2020-11-01T16:00:00Z");
    check("Asia/Shanghai", "2020-11-01T16:00:00Z", 0, "2020-11-02T16:00:00Z");
    check("UTC", "2020-11-01T16:00:00Z", 0, "2020-11-02T00:00:00Z");
    check("UTC", "2020-02-28T12:00:00Z", 0, "2020-02-29T00:00:00Z");
    check("UTC", "2020-12-31T12:00:00Z", 1, "2021-01-02T00:00:00Z");
}

// Trap 34: a day of 23 or 25 hours is a day.
#[test]
fn a_day_may_have_23_or_25_hours() {
    // Clocks went forward on 2024-03-10 and back on 2024-11-03.
    check("America/New_York", "2024-03-09T12:00:00-05:00", 0, "2024-03-10T00:00:00-05:00");
    check("America/New_York", "2024-03-09T12:00:00-05:00", 1, "2024-03-11T00:00:00-04:00");
    check("America/New_York", "2024-03-10T03:30:00-04:00", 0, "2024-03-11T00:00:00-04:00");
    check("America/New_York", "2024-11-02T12:00:00-04:00", 1, "2024-11-04T00:00:00-05:00");
    // Both instants called 01:30 belong to the same day.
    check("America/New_York", "2024-11-03T01:30:00-04:00", 0, "2024-11-04T00:00:00-05:00");
    check("America/New_York", "2024-11-03T01:30:00-05:00", 0, "2024-11-04T00:00:00-05:00");
}

// Trap 34: where clocks go forward at midnight, the day starts at 01:00; where they go back at
// midnight, the repeated hour belongs to the day before.
#[test]
fn a_day_may_lack_its_midnight_or_repeat_the_hour_before() {
    check("America/Sao_Paulo", "2018-11-03T12:00:00-03:00", 0, "2018-11-04T01:00:00-02:00");
    check("America/Sao_Paulo", "2018-11-03T23:59:59.999-03:00", 0, "2018-11-04T01:00:00-02:00");
    check("America/Sao_Paulo", "2018-11-04T01:00:00-02:00", 0, "2018-11-05T00:00:00-02:00");
    check("America/Sao_Paulo", "2019-02-16T23:30:00-02:00", 0, "2019-02-17T00:00:00-03:00");
    check("America/Sao_Paulo", "2019-02-16T23:30:00-03:00", 0, "2019-02-17T00:00:00-03:00");
}

// Samoa skipped 2011-12-30 altogether: that day has no first instant of its own.
#[test]
fn a_day_that_never_was_ends_before_the_next_begins() {
    check("Pacific/Apia", "2011-12-29T12:00:00-10:00", 0, "2011-12-31T00:00:00+14:00");
    check("Pacific/Apia", "2011-12-28T12:00:00-10:00", 0, "2011-12-29T00:00:00-10:00");
}

#[test]
fn the_calendar_ends_at_the_last_timestamp() {
    let shanghai = TimeZone::parse("Asia/Shanghai").unwrap();
    assert_eq!(shanghai.end_of_day_after(at("2020-11-01T00:00:00Z"), u32::MAX), Timestamp::MAX);
    assert_eq!(shanghai.end_of_day_after(Timestamp::MAX, 0), Timestamp::MAX);
    let beyond = Timestamp::from_millis(i64::MAX);
    assert_eq!(shanghai.end_of_day_after(beyond, 0), Timestamp::MAX);
}

const ZONES: [&str; 6] = [
    "Asia/Shanghai",
    "UTC",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
];

proptest! {
    // R11: every instant is in the range of exactly the minute it falls due in.
    #[test]
    fn minutes_partition_time(millis in -4_000_000_000_000_i64..300_000_000_000_000) {
        let instant = Timestamp::from_millis(millis);
        let minute = instant.due_minute();
        let (first, last) = minute.range();
        prop_assert!(first <= instant && instant <= last);
        prop_assert_eq!(last, minute.due_at());
        prop_assert_eq!(last.as_millis() - first.as_millis(), MINUTE_MS - 1);
        let next = Minute::from_minutes(minute.as_minutes() + 1);
        prop_assert_eq!(next.range().0.as_millis(), last.as_millis() + 1);
    }

    // R34: valid for at least N whole days and at most N + 1, give or take a change of clocks; never
    // shorter for more days, nor for a later claim.
    #[test]
    fn ends_of_days_are_ordered(
        zone in prop::sample::select(&ZONES[..]),
        millis in 0_i64..4_102_444_800_000,
        later in 0_i64..200_000_000,
        days in 0_u32..400,
    ) {
        const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
        const CHANGE_MS: i64 = 60 * MINUTE_MS;
        let zone = TimeZone::parse(zone).unwrap();
        let from = Timestamp::from_millis(millis);
        let end = zone.end_of_day_after(from, days);
        let span = end.as_millis() - millis;
        let whole = i64::from(days) * DAY_MS;
        prop_assert!(span > whole - CHANGE_MS && span <= whole + DAY_MS + CHANGE_MS, "{span}");
        prop_assert!(zone.end_of_day_after(from, days + 1) > end);
        prop_assert!(zone.end_of_day_after(Timestamp::from_millis(millis + later), days) >= end);
        // The end of a day is the first instant of the next.
        prop_assert_eq!(zone.end_of_day_after(end, 0) > end, true);
        let before = Timestamp::from_millis(end.as_millis() - 1);
        prop_assert_eq!(zone.end_of_day_after(before, 0), end);
    }
}
