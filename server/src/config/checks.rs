//! Bounds and cross-checks, collected so that one start reports every broken rule.

use std::fmt::Display;

use super::ConfigError;

/// Collects broken rules; [`Checks::finish`] turns them into one error.
#[derive(Debug, Default)]
pub(super) struct Checks {
    problems: Vec<String>,
}

impl Checks {
    /// `value` must be `min` or more.
    pub(super) fn at_least<T: PartialOrd + Display>(&mut self, key: &str, value: T, min: T) {
        if value < min {
            self.refuse(format!("{key} = {value} is too small, use {min} or more"));
        }
    }

    /// `value` must be within `min..=max`.
    pub(super) fn within<T: PartialOrd + Display>(&mut self, key: &str, value: T, min: T, max: T) {
        if value < min || max < value {
            self.refuse(format!("{key} = {value} is out of range, use {min} to {max}"));
        }
    }

    /// The first key's value must not exceed the second's.
    pub(super) fn at_most<T: PartialOrd + Display>(&mut self, small: (&str, T), large: (&str, T)) {
        if large.1 < small.1 {
            self.refuse(format!(
                "{} = {} exceeds {} = {}, lower the first or raise the second",
                small.0, small.1, large.0, large.1
            ));
        }
    }

    /// Records a broken rule in words of its own.
    pub(super) fn refuse(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// `Ok` when nothing was refused.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        if self.problems.is_empty() { Ok(()) } else { Err(ConfigError::Conflict(self.problems)) }
    }
}
