//! What a check has found so far.

/// Violations told in words; beyond it they are only counted.
const TOLD_MAX: usize = 100;

/// Violations, the first hundred in words.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    told: Vec<String>,
    more: u64,
}

impl Findings {
    /// Adds a violation.
    pub(super) fn add(&mut self, violation: String) {
        if self.told.len() < TOLD_MAX {
            self.told.push(violation);
        } else {
            self.more += 1;
        }
    }

    /// The violations, and a line that counts those that were not told.
    pub(super) fn into_violations(mut self) -> Vec<String> {
        if self.more > 0 {
            self.told.push(format!("... and {} more", self.more));
        }
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_beyond_a_hundred_are_counted() {
        let mut findings = Findings::default();
        for number in 0..TOLD_MAX {
            findings.add(number.to_string());
        }
        assert_eq!(findings.told.len(), TOLD_MAX);
        findings.add("one".to_owned());
        findings.add("two".to_owned());
        let violations = findings.into_violations();
        assert_eq!(violations.len(), TOLD_MAX + 1);
        assert_eq!(violations.last().map(String::as_str), Some("... and 2 more"));
    }
}
