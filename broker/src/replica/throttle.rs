//! Holds back replicas that are not in sync, so that moving them leaves room for everything else (KIP-73).
//!
//! Only replicas that are out of sync wait, and only their bytes count: what keeps in-sync replicas in sync is part of every
//! acknowledgement, however many replicas are named as throttled. Apache Kafka counts those bytes too.

use super::Replicas;
use super::hosted::Hosted;
use flotilla_control::settings::BrokerSettings;
use flotilla_protocol::BrokerId;
use parking_lot::Mutex;

/// The rate that stands for none.
const UNLIMITED: i64 = i64::MAX;
/// What was not used is kept for as long as this: longer than a follower's fetch waits (`replica.fetch.wait.max.ms`).
const SAVED_MS: i64 = 1_000;
/// Where nothing may move at all, this is how often a change of that is looked for.
const STANDSTILL_MS: i64 = 1_000;

/// What a broker may send as a leader, and take in as a follower.
#[derive(Debug, Default)]
pub(super) struct Throttles {
    pub leader: Throttle,
    pub follower: Throttle,
}

/// Bytes per second, saved up for a second.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<Option<Bucket>>);

#[derive(Debug)]
struct Bucket {
    rate: i64,
    /// What may be moved, in thousandths of a byte. Below zero after a batch that was larger than that.
    balance: i128,
    at_ms: i64,
}

/// How much may be moved now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// In bytes.
    pub bytes: usize,
    /// Where there is none: when there will be, in milliseconds from now.
    pub again_in_ms: i64,
}

impl Throttle {
    /// What may be moved under that rate, in bytes per second.
    pub(super) fn room(&self, rate: i64, now_ms: i64) -> Room {
        let mut bucket = self.0.lock();
        if rate == UNLIMITED {
            *bucket = None;
            return Room {
                bytes: usize::MAX,
                again_in_ms: 0,
            };
        }
        let bucket = bucket.get_or_insert(Bucket {
            rate,
            balance: i128::from(rate) * i128::from(SAVED_MS),
            at_ms: now_ms,
        });
        bucket.rate = rate.max(0);
        bucket.pass(now_ms);
        bucket.room()
    }

    /// So many bytes were moved.
    pub(super) fn moved(&self, bytes: usize) {
        if let Some(bucket) = &mut *self.0.lock() {
            bucket.balance -= bytes as i128 * 1_000;
        }
    }
}

impl Bucket {
    fn pass(&mut self, now_ms: i64) {
        // A clock that was set back gives nothing, and takes nothing.
        let passed_ms = now_ms.saturating_sub(self.at_ms).max(0);
        self.at_ms = now_ms;
        let rate = i128::from(self.rate);
        self.balance = (self.balance + rate * i128::from(passed_ms)).min(rate * i128::from(SAVED_MS));
    }

    fn room(&self) -> Room {
        // Less than a tenth of a second's worth is not worth a fetch.
        let least = i128::from(self.rate) * 100;
        let bytes = usize::try_from(self.balance / 1_000).unwrap_or(0);
        if bytes > 0 && self.balance >= least {
            return Room {
                bytes,
                again_in_ms: 0,
            };
        }
        let missing = (least.max(1_000) - self.balance).max(0);
        let again_in_ms = match i128::from(self.rate) {
            0 => STANDSTILL_MS,
            rate => i64::try_from(missing / rate + 1).unwrap_or(STANDSTILL_MS),
        };
        Room {
            bytes: 0,
            again_in_ms,
        }
    }
}

fn names_all(replicas: &str) -> bool {
    replicas == "*"
}

impl Replicas {
    /// What `follower` may be sent of a partition that is led here. None: it is not held back.
    pub(super) fn room_to_send(
        &self,
        settings: &BrokerSettings,
        hosted: &Hosted,
        follower: BrokerId,
    ) -> Option<Room> {
        let rate = settings.leader_replication_throttled_rate;
        let named = || {
            let of_topic = &hosted.config().leader_replication_throttled_replicas;
            names_all(&settings.leader_replication_throttled_replicas)
                || of_topic.contains(hosted.key().partition, follower)
        };
        if rate == UNLIMITED || !named() || hosted.has_in_sync(follower) {
            return None;
        }
        let now_ms = self.inner.shared.now_ms();
        Some(self.inner.shared.throttles.leader.room(rate, now_ms))
    }

    /// What may be fetched of a partition that is followed here. None: it is not held back.
    pub(super) fn room_to_fetch(&self, settings: &BrokerSettings, hosted: &Hosted) -> Option<Room> {
        let rate = settings.follower_replication_throttled_rate;
        let named = || {
            let of_topic = &hosted.config().follower_replication_throttled_replicas;
            names_all(&settings.follower_replication_throttled_replicas)
                || of_topic.contains(hosted.key().partition, self.broker())
        };
        if rate == UNLIMITED || !named() || hosted.is_in_sync() {
            return None;
        }
        let now_ms = self.inner.shared.now_ms();
        Some(self.inner.shared.throttles.follower.room(rate, now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_rate_passes_over_time() {
        let throttle = Throttle::default();
        let (mut moved, mut now_ms) = (0, 5_000);
        while now_ms < 15_000 {
            let room = throttle.room(1_000_000, now_ms);
            if room.bytes > 0 {
                // Batches are whole: a little more than there was room for.
                let bytes = room.bytes.min(300_000) + 70_000;
                throttle.moved(bytes);
                moved += bytes;
            } else {
                now_ms += room.again_in_ms;
            }
        }
        // Ten seconds, and what is saved at the beginning.
        assert!((10_900_000..11_500_000).contains(&moved), "{moved}");
    }

    #[test]
    fn debt_is_waited_for() {
        let throttle = Throttle::default();
        assert_eq!(throttle.room(1_000, 0).bytes, 1_000);
        throttle.moved(3_000);
        let nothing = Room {
            bytes: 0,
            again_in_ms: 2_101,
        };
        assert_eq!(throttle.room(1_000, 0), nothing);
        assert_eq!(throttle.room(1_000, 2_101).bytes, 101);
    }

    #[test]
    fn rate_of_zero_is_a_standstill_until_it_is_changed() {
        let throttle = Throttle::default();
        let nothing = Room {
            bytes: 0,
            again_in_ms: STANDSTILL_MS,
        };
        assert_eq!(throttle.room(0, 0), nothing);
        assert_eq!(throttle.room(0, 1_000_000), nothing);
        assert_eq!(throttle.room(UNLIMITED, 1_000_001).bytes, usize::MAX);
        assert_eq!(throttle.room(500, 1_000_002).bytes, 500);
    }
}
