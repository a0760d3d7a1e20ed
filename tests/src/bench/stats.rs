//! Medians, ranges and quantiles of small sets of measurements.

/// Median of the values; the mean of the two middle ones when their number is even. 0 when empty.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Least and greatest of the values; `[0, 0]` when empty.
pub fn range(values: &[f64]) -> [f64; 2] {
    let least = values.iter().copied().min_by(f64::total_cmp);
    let greatest = values.iter().copied().max_by(f64::total_cmp);
    [least.unwrap_or(0.0), greatest.unwrap_or(0.0)]
}

/// The value that `share` (0 to 1) of the samples do not exceed (nearest rank); 0 when empty. The
/// order of the samples is changed.
pub fn quantile(samples: &mut [u32], share: f64) -> u32 {
    if samples.is_empty() {
        return 0;
    }
    let rank = (share * samples.len() as f64).ceil() as usize;
    let index = rank.clamp(1, samples.len()) - 1;
    *samples.select_nth_unstable(index).1
}

/// Latencies of one kind of answer, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// Median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
}

impl Latency {
    /// Reads both quantiles off the samples, given in microseconds; `None` when there are none.
    pub fn of(samples: &mut [u32]) -> Option<Self> {
        if samples.is_empty() {
            return None;
        }
        let p50_us = f64::from(quantile(samples, 0.50));
        let p99_us = f64::from(quantile(samples, 0.99));
        Some(Self { p50_us, p99_us })
    }

    /// Median of each quantile over several runs; `None` when there are none.
    pub fn median_of(runs: &[Self]) -> Option<Self> {
        if runs.is_empty() {
            return None;
        }
        let p50s: Vec<f64> = runs.iter().map(|run| run.p50_us).collect();
        let p99s: Vec<f64> = runs.iter().map(|run| run.p99_us).collect();
        Some(Self { p50_us: median(&p50s), p99_us: median(&p99s) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_takes_the_middle_or_the_mean_of_the_two_middle_values() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
    }

    #[test]
    fn range_is_least_and_greatest() {
        assert_eq!(range(&[2.0, -1.0, 5.0]), [-1.0, 5.0]);
        assert_eq!(range(&[]), [0.0, 0.0]);
    }

    #[test]
    fn quantile_is_the_nearest_rank() {
        let mut samples: Vec<u32> = (1..=100).rev().collect();
        assert_eq!(quantile(&mut samples, 0.50), 50);
        assert_eq!(quantile(&mut samples, 0.99), 99);
        assert_eq!(quantile(&mut samples, 1.0), 100);
        assert_eq!(quantile(&mut samples, 0.0), 1);
        assert_eq!(quantile(&mut [7], 0.99), 7);
        assert_eq!(quantile(&mut [], 0.99), 0);
    }

    #[test]
    fn latency_over_runs_takes_each_quantile_apart() {
        let runs = [
            Latency { p50_us: 1.0, p99_us: 30.0 },
            Latency { p50_us: 3.0, p99_us: 10.0 },
            Latency { p50_us: 2.0, p99_us: 20.0 },
        ];
        assert_eq!(Latency::median_of(&runs), Some(Latency { p50_us: 2.0, p99_us: 20.0 }));
        assert_eq!(Latency::median_of(&[]), None);
        assert_eq!(Latency::of(&mut []), None);
    }
}
