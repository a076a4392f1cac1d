//! Medians and percentiles of measured durations.

use std::time::Duration;

/// Measurements of one thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn extend(&mut self, samples: impl IntoIterator<Item = Duration>) {
        self.0.extend(samples);
    }

    /// The sample at this fraction of the sorted list (nearest rank).
    #[must_use]
    pub(crate) fn quantile(&self, fraction: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (fraction * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
    }

    #[must_use]
    pub(crate) fn median(&self) -> Duration {
        self.quantile(0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples_of_the_nearest_rank() {
        let mut samples = Samples::default();
        samples.extend((1..=10).rev().map(Duration::from_millis));
        assert_eq!(samples.median(), Duration::from_millis(5));
        assert_eq!(samples.quantile(0.9), Duration::from_millis(9));
        assert_eq!(samples.quantile(1.0), Duration::from_millis(10));
        assert_eq!(Samples::default().median(), Duration::ZERO);
    }
}
