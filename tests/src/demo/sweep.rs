//! The same call for every winner, with what went wrong counted instead of ending the demo.

use std::future::Future;

use futures::StreamExt as _;
use indicatif::ProgressBar;

/// How a step went over all it was done for.
#[derive(Clone, Debug, Default)]
pub(super) struct Sweep {
    pub(super) done: usize,
    pub(super) failed: usize,
    /// The first failure, in words.
    pub(super) first_failure: Option<String>,
}

impl Sweep {
    /// Runs `step` for every item, at most `in_flight` at once.
    pub(super) async fn over<T, S, F>(
        items: impl IntoIterator<Item = T>,
        in_flight: usize,
        bar: &ProgressBar,
        step: S,
    ) -> Self
    where
        S: Fn(T) -> F,
        F: Future<Output = anyhow::Result<()>>,
    {
        let mut results = futures::stream::iter(items).map(step).buffer_unordered(in_flight);
        let mut sweep = Self::default();
        while let Some(result) = results.next().await {
            bar.inc(1);
            match result {
                Ok(()) => sweep.done += 1,
                Err(error) => {
                    sweep.failed += 1;
                    sweep.first_failure.get_or_insert_with(|| format!("{error:#}"));
                }
            }
        }
        sweep
    }

    /// Whether nothing went wrong.
    pub(super) fn is_clean(&self) -> bool {
        self.failed == 0
    }

    /// Counts in words, with the first failure.
    pub(super) fn describe(&self) -> String {
        let total = self.done + self.failed;
        match &self.first_failure {
            None => format!("{} of {total}", self.done),
            Some(failure) => format!("{} of {total}, first failure: {failure}", self.done),
        }
    }
}
