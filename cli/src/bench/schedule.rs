//! When records are due: at a fixed rate, whatever the brokers do.

use std::time::Duration;

/// Record after record at even distances, from zero on. Numbers count from 0.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    rate: f64,
}

impl Schedule {
    /// So many records a second.
    pub fn new(rate: f64) -> Self {
        Self { rate }
    }

    /// When record `number` is due.
    pub fn due(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// How many are due by then.
    pub fn due_by(&self, elapsed: Duration) -> u64 {
        // A record that is due now must not be missed for the sake of rounding.
        (elapsed.as_secs_f64() * self.rate + 1e-6) as u64 + 1
    }
}

/// What a connection is to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A batch of so many records, now.
    Batch(u64),
    /// Nothing before then.
    At(Duration),
}

/// Decides as Kafka's producers do: a batch goes when it is full, or when its first record has waited for `linger`.
pub fn next(schedule: &Schedule, sent: u64, batch_records: u64, linger: Duration, elapsed: Duration) -> Next {
    let waiting = schedule.due_by(elapsed).saturating_sub(sent);
    let first_due = schedule.due(sent);
    if waiting >= batch_records {
        Next::Batch(batch_records)
    } else if waiting > 0 && elapsed >= first_due + linger {
        Next::Batch(waiting)
    } else {
        let full = schedule.due(sent + batch_records - 1);
        Next::At(
            full.min(first_due + linger)
                .max(elapsed + Duration::from_micros(1)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_millis(5);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn batch_goes_when_it_is_full_or_has_waited() {
        let thousand = Schedule::new(1000.0);
        assert_eq!(next(&thousand, 0, 3, LINGER, ms(0)), Next::At(ms(2)));
        assert_eq!(next(&thousand, 0, 3, LINGER, ms(2)), Next::Batch(3));
        assert_eq!(next(&thousand, 0, 100, LINGER, ms(0)), Next::At(ms(5)));
        assert_eq!(next(&thousand, 0, 100, LINGER, ms(5)), Next::Batch(6));
        assert_eq!(next(&thousand, 6, 100, LINGER, ms(5)), Next::At(ms(11)));
    }

    #[test]
    fn late_connection_catches_up_in_full_batches() {
        let thousand = Schedule::new(1000.0);
        assert_eq!(next(&thousand, 0, 100, LINGER, ms(1000)), Next::Batch(100));
        assert_eq!(next(&thousand, 1000, 100, LINGER, ms(1005)), Next::Batch(6));
    }

    #[test]
    fn slow_rates_wait_for_the_record() {
        let slow = Schedule::new(0.5);
        assert_eq!(next(&slow, 1, 10, LINGER, ms(0)), Next::At(ms(2005)));
        assert_eq!(next(&slow, 1, 1, LINGER, ms(0)), Next::At(ms(2000)));
        assert_eq!(next(&slow, 1, 1, LINGER, ms(2000)), Next::Batch(1));
    }
}
