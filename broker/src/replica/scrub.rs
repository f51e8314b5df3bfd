//! Reads everything on a volume again, slowly, round after round: what nobody reads may break all the same, and should be found while
//! another replica still has it.

use super::PartitionKey;
use super::hosted::Hosted;
use super::replicas::Replicas;
use super::volume::{Health, Volume};
use crate::log;
use std::sync::Arc;
use std::time::Duration;

/// The first round begins no later than this after the start.
const FIRST_MS_MAX: i64 = 10 * 60 * 1000;
/// A rest is looked up from so often, so that a stop or other settings are not waited for.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Scrubs one volume until the replicas are closed.
pub(super) async fn run(replicas: Arc<Replicas>, volume: Arc<Volume>) {
    let ms = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let first_ms = replicas.settings().log_scrub_interval_ms.min(FIRST_MS_MAX);
    tokio::time::sleep(ms(first_ms)).await;
    loop {
        let started_ms = replicas.inner.shared.now_ms();
        let (scrubbing, on) = (replicas.clone(), volume.clone());
        let _ = tokio::task::spawn_blocking(move || {
            Round {
                replicas: &scrubbing,
                volume: &on,
            }
            .run()
        })
        .await;
        if replicas.is_closed() {
            return;
        }
        replicas.metrics().scrub_rounds.add(1);
        let interval_ms = replicas.settings().log_scrub_interval_ms;
        let rest_ms = rest_ms(started_ms, replicas.inner.shared.now_ms(), interval_ms);
        tokio::time::sleep(ms(rest_ms).max(LOOK_UP)).await;
    }
}

/// How long to rest until the next round. No rest is longer than the interval: if one seems to be, then the clock was set back.
fn rest_ms(started_ms: i64, now_ms: i64, interval_ms: i64) -> i64 {
    let rest_ms = started_ms.saturating_add(interval_ms).saturating_sub(now_ms);
    rest_ms.clamp(0, interval_ms)
}

/// One look at all that lies on a volume.
struct Round<'a> {
    replicas: &'a Replicas,
    volume: &'a Arc<Volume>,
}

impl Round<'_> {
    fn run(&self) {
        let mut all: Vec<Arc<Hosted>> = self.replicas.all();
        all.retain(|hosted| Arc::ptr_eq(&hosted.volume(), self.volume));
        all.sort_by_key(|hosted| hosted.key());
        // Each round begins elsewhere: a broker that is restarted often gets to all of it, too.
        if !all.is_empty() {
            let first = self.replicas.inner.shared.now_ms().unsigned_abs() as usize % all.len();
            all.rotate_left(first);
        }
        let keys: Vec<PartitionKey> = all.iter().map(|hosted| hosted.key()).collect();
        drop(all);
        for key in keys {
            if let Some(hosted) = self.replicas.hosted(key)
                && !self.partition(&hosted)
            {
                return;
            }
        }
    }

    /// Whether to go on.
    fn partition(&self, hosted: &Hosted) -> bool {
        let bases = hosted
            .here()
            .map(|state| state.log.segment_bases())
            .unwrap_or_default();
        for base in bases {
            if !self.goes_on() {
                return false;
            }
            let inspection = hosted.here().and_then(|state| state.log.inspect(base));
            let Some(inspection) = inspection else { continue };
            let inspected = inspection.run(&mut |bytes| self.rest_after(bytes));
            let noted = inspected.and_then(|inspected| {
                inspected.map_or(Ok(()), |inspected| hosted.inspected(base, inspected))
            });
            match noted {
                Ok(()) | Err(log::Error::Removed { .. }) => {}
                Err(error) => hosted.disk_failed(&error),
            }
        }
        true
    }

    /// Rests for as long as the rate says that so many bytes take. Whether to go on.
    fn rest_after(&self, bytes: u64) -> bool {
        self.replicas.metrics().scrubbed_bytes.add(bytes);
        let mut owed = bytes as f64;
        while owed > 0.0 {
            if !self.goes_on() {
                return false;
            }
            let rate = self.replicas.settings().log_scrub_max_bytes_per_second.max(1) as f64;
            let rest = Duration::from_secs_f64((owed / rate).min(LOOK_UP.as_secs_f64()));
            std::thread::sleep(rest);
            owed -= rate * LOOK_UP.as_secs_f64();
        }
        true
    }

    fn goes_on(&self) -> bool {
        !self.replicas.is_closed()
            && self.volume.health() != Health::Offline
            && self.replicas.settings().log_scrub_max_bytes_per_second > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_that_was_set_back_does_not_hold_the_next_round_up() {
        assert_eq!(rest_ms(1_000, 1_300, 2_000), 1_700);
        assert_eq!(rest_ms(1_000, 4_000, 2_000), 0);
        assert_eq!(rest_ms(280_000, 2_000, 2_000), 2_000);
        assert_eq!(rest_ms(i64::MAX, 0, i64::MAX), i64::MAX);
    }
}
