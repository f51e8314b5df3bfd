//! Percentiles of durations.

use std::time::Duration;

/// Durations, in order.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<Duration>);

impl Figures {
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut durations: Vec<_> = durations.into_iter().collect();
        durations.sort();
        Self(durations)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest duration that `percent` of all do not exceed (the nearest rank).
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
        let place = rank.min(self.0.len()).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }

    pub fn max(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

/// A duration in whole milliseconds, for people.
pub fn ms(duration: Duration) -> String {
    let ms = duration.as_millis().to_string();
    let mut grouped = String::new();
    for (place, digit) in ms.chars().enumerate() {
        if place > 0 && (ms.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[test]
fn percentile_is_the_nearest_rank() {
    let hundred = Figures::of((1..=100).rev().map(Duration::from_millis));
    let of = |percent| hundred.percentile(percent).as_millis();
    assert_eq!((of(50.0), of(99.0), of(100.0)), (50, 99, 100));
    let three = Figures::of([7, 9, 8].map(Duration::from_millis));
    assert_eq!(three.percentile(99.0), three.max());
    assert_eq!(Figures::default().percentile(99.0), Duration::ZERO);
    assert_eq!(ms(Duration::from_millis(1_234_567)), "1,234,567");
    assert_eq!(ms(Duration::from_millis(12)), "12");
}
