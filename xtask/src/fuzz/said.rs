//! What libFuzzer says, line by line.

use std::path::PathBuf;

/// A line that means something here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// So many executions, coverage points, and inputs in the corpus.
    Progress { executions: u64, coverage: u64, corpus: u64 },
    /// So many executions when it ended.
    Total { executions: u64 },
    /// The next line says why the target panicked.
    Panicked,
    /// An input that breaks something is in this file.
    Written { input: PathBuf },
}

impl Said {
    /// Reads a line; `None` for the many others.
    pub(super) fn read(line: &str) -> Option<Self> {
        if let Some(total) = line.strip_prefix("stat::number_of_executed_units:") {
            return Some(Self::Total { executions: total.trim().parse().ok()? });
        }
        if let Some((_, path)) = line.split_once("Test unit written to ") {
            return Some(Self::Written { input: path.trim().into() });
        }
        if line.starts_with("thread ") && line.contains(" panicked at ") {
            return Some(Self::Panicked);
        }
        let mut words = line.strip_prefix('#')?.split_whitespace();
        let executions = words.next()?.parse().ok()?;
        let words: Vec<&str> = words.collect();
        let value = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            // The corpus comes with its size: `761/230Kb`.
            words.get(at + 1)?.split('/').next()?.parse().ok()
        };
        Some(Self::Progress { executions, coverage: value("cov:")?, corpus: value("corp:")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_and_totals_are_read() {
        let line = "#54321\tREDUCE cov: 3344 ft: 12345 corp: 761/230Kb lim: 1024 exec/s: 1342 rss: 31Mb L: 5/9 MS: 1 CopyPart-";
        let progress = Said::Progress { executions: 54_321, coverage: 3_344, corpus: 761 };
        assert_eq!(Said::read(line), Some(progress));
        let total = Said::Total { executions: 55_041 };
        assert_eq!(Said::read("stat::number_of_executed_units: 55041"), Some(total));
        for other in ["INFO: Seed: 1", "#2 INITED exec/s: 0", "stat::peak_rss_mb: 31", ""] {
            assert_eq!(Said::read(other), None, "{other}");
        }
    }

    #[test]
    fn what_breaks_is_read() {
        let panicked = "thread '<unnamed>' (7) panicked at domain/fuzz/src/lib.rs:30:9:";
        assert_eq!(Said::read(panicked), Some(Said::Panicked));
        let written = "artifact_prefix='x/'; Test unit written to x/crash-1";
        assert_eq!(Said::read(written), Some(Said::Written { input: "x/crash-1".into() }));
    }
}
