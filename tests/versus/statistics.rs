//! Medians and ranges of runs, and ratios of pairs.

/// Some values of one figure, one a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread(Vec<f64>);

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The middle one; of an even number, the mean of the two in the middle.
    pub fn median(&self) -> Option<f64> {
        let middle = self.0.len() / 2;
        match self.0.len() {
            0 => None,
            odd if odd % 2 == 1 => Some(self.0[middle]),
            _ => Some((self.0[middle - 1] + self.0[middle]) / 2.0),
        }
    }

    /// The smallest and the largest.
    pub fn range(&self) -> Option<(f64, f64)> {
        Some((*self.0.first()?, *self.0.last()?))
    }
}

/// Ours by Kafka's of each pair: what drifts with the machine from pair to pair falls out.
pub fn ratios(pairs: impl IntoIterator<Item = (Option<f64>, Option<f64>)>) -> Spread {
    let ratio = |(kafka, ours): (Option<f64>, Option<f64>)| match (kafka, ours) {
        (Some(kafka), Some(ours)) if kafka > 0.0 => Some(ours / kafka),
        _ => None,
    };
    Spread::of(pairs.into_iter().filter_map(ratio))
}

#[test]
fn median_is_the_middle_and_range_the_ends() {
    let five = Spread::of([5.0, 1.0, 4.0, 2.0, 3.0]);
    assert_eq!((five.median(), five.range()), (Some(3.0), Some((1.0, 5.0))));
    assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).median(), Some(2.5));
    assert_eq!(Spread::of([7.0, f64::NAN]).range(), Some((7.0, 7.0)));
    assert_eq!(
        (Spread::default().median(), Spread::default().range()),
        (None, None)
    );
}

#[test]
fn ratio_is_taken_pair_by_pair_and_needs_both() {
    let pairs = [
        (Some(2.0), Some(1.0)),
        (Some(10.0), Some(4.0)),
        (None, Some(9.0)),
        (Some(0.0), Some(1.0)),
        (Some(4.0), None),
    ];
    let ratios = ratios(pairs);
    assert_eq!((ratios.range(), ratios.median()), (Some((0.4, 0.5)), Some(0.45)));
}
