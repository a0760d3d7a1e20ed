//! Instants and the calendar. UTC milliseconds; windows are half open, `[from, until)`.

use std::{fmt, time::Duration};

use jiff::tz;

/// Milliseconds in a minute, the grain of alarms.
pub const MINUTE_MS: i64 = 60_000;

/// An instant: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The latest instant the platform knows: 9999-12-31T00:00:00Z.
    pub const MAX: Self = Self(253_402_214_400_000);

    /// Takes milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Parses RFC 3339, for example `2026-01-01T00:00:00Z`; anything finer than a millisecond is
    /// cut off. `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|at| Self(at.as_millisecond()))
    }

    /// Later by `duration`, at most [`Self::MAX`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis)).min(Self::MAX)
    }

    /// Earlier by `duration`.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// How long after `earlier`; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The minute whose end is the first full minute at or after this instant: what falls due in
    /// `(minute - 1, minute]` shares the alarm of `minute`.
    pub fn due_minute(self) -> Minute {
        Minute(self.0.div_euclid(MINUTE_MS) + i64::from(self.0.rem_euclid(MINUTE_MS) != 0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => at.fmt(f),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// A whole minute since the Unix epoch: the due time of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(i64);

impl Minute {
    /// Takes minutes since the Unix epoch.
    pub const fn from_minutes(minutes: i64) -> Self {
        Self(minutes)
    }

    /// Minutes since the Unix epoch.
    pub const fn as_minutes(self) -> i64 {
        self.0
    }

    /// The instant at which its alarm rings.
    pub const fn due_at(self) -> Timestamp {
        Timestamp(self.0 * MINUTE_MS)
    }

    /// First and last instant that share its alarm, both included.
    pub const fn range(self) -> (Timestamp, Timestamp) {
        (Timestamp((self.0 - 1) * MINUTE_MS + 1), Timestamp(self.0 * MINUTE_MS))
    }
}

/// A name that is not an IANA time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an IANA time zone, for example `Asia/Shanghai` or `UTC`")]
pub struct UnknownTimeZone(pub String);

/// An IANA time zone, from the database compiled into the program.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeZone {
    name: String,
    zone: tz::TimeZone,
}

impl TimeZone {
    /// Looks the zone up.
    ///
    /// # Errors
    /// [`UnknownTimeZone`].
    pub fn parse(name: &str) -> Result<Self, UnknownTimeZone> {
        match tz::TimeZone::get(name) {
            Ok(zone) => Ok(Self { name: name.to_owned(), zone }),
            Err(_) => Err(UnknownTimeZone(name.to_owned())),
        }
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Start of the local day `days + 1` days after the local day of `from`: the end, exclusive, of
    /// the `days`-th day after it. A day that starts late (clocks moved forward at midnight) starts
    /// at its first instant. At most [`Timestamp::MAX`].
    pub fn end_of_day_after(&self, from: Timestamp, days: u32) -> Timestamp {
        let end = || {
            let at = jiff::Timestamp::from_millisecond(from.0).ok()?;
            let local = jiff::ZonedDateTime::new(at, self.zone.clone());
            let span = jiff::Span::new().try_days(i64::from(days) + 1).ok()?;
            let date = local.date().checked_add(span).ok()?;
            let start = date.to_zoned_datetime(self.zone.clone()).ok()?.start_of_day().ok()?;
            Some(Timestamp(start.timestamp().as_millisecond()))
        };
        end().unwrap_or(Timestamp::MAX).min(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn rfc_3339_is_read_and_shown() {
        assert_eq!(at("1970-01-01T00:00:01Z").as_millis(), 1_000);
        assert_eq!(at("2022-11-11T00:00:00.0019+08:00").to_string(), "2022-11-10T16:00:00.001Z");
        for bad in ["", "yesterday", "2022-11-11", "2022-11-11T00:00:00", "2022-02-30T00:00:00Z"] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string(), format!("{} ms", i64::MAX));
    }

    #[test]
    fn arithmetic_saturates() {
        let start = at("2022-11-11T00:00:00Z");
        assert_eq!(start.plus(Duration::MAX), Timestamp::MAX);
        assert_eq!(start.plus(Duration::from_secs(60)).minus(Duration::from_secs(60)), start);
        assert_eq!(start.plus(Duration::from_millis(7)).since(start), Duration::from_millis(7));
        assert_eq!(start.since(start.plus(Duration::from_millis(7))), Duration::ZERO);
        assert!(start.minus(Duration::MAX) < Timestamp::from_millis(0));
    }

    // R11: what falls due within a minute shares the alarm at its end, which never rings early.
    #[test]
    fn the_alarm_rings_at_the_first_full_minute() {
        for (due, minute) in [(0, 0), (1, 1), (59_999, 1), (60_000, 1), (60_001, 2)] {
            assert_eq!(Timestamp::from_millis(due).due_minute().as_minutes(), minute, "{due}");
        }
        assert_eq!(Timestamp::from_millis(-1).due_minute().as_minutes(), 0);
        assert_eq!(Timestamp::from_millis(-60_000).due_minute().as_minutes(), -1);
        assert_eq!(Minute::from_minutes(2).due_at().as_millis(), 120_000);
        let (first, last) = Minute::from_minutes(2).range();
        assert_eq!((first.as_millis(), last.as_millis()), (60_001, 120_000));
    }

    #[test]
    fn time_zones_are_looked_up_by_name() {
        assert_eq!(TimeZone::parse("Asia/Shanghai").unwrap().name(), "Asia/Shanghai");
        let unknown = TimeZone::parse("Mars/Olympus").unwrap_err();
        assert_eq!(unknown, UnknownTimeZone("Mars/Olympus".to_owned()));
    }
}
