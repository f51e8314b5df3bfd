//! What is known to be broken on this broker's disks: who ran into it, what exactly it is, and what is put in its place.

use super::PartitionKey;
use super::hosted::{Hosted, Role};
use super::replicas::Replicas;
use crate::log::{self, Damage, Inspected, Mended, Unfit};
use bytes::Bytes;
use flotilla_protocol::{LeaderEpoch, Offset};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use tokio::sync::Notify;

/// The partitions with something broken.
#[derive(Default)]
pub(super) struct Troubled {
    pub keys: Mutex<BTreeSet<PartitionKey>>,
    pub changed: Notify,
}

impl Troubled {
    pub(super) fn add(&self, key: PartitionKey) {
        self.keys.lock().insert(key);
        self.changed.notify_one();
    }
}

/// What a broken segment or stretch is to this broker.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    pub segments: BTreeSet<Offset>,
    /// Since when nobody could help.
    pub since_ms: Option<i64>,
    /// No replica that could be asked has it good.
    pub is_hopeless: bool,
}

impl Hosted {
    /// A reader ran into something broken.
    pub(super) fn suspect(&self, error: &log::Error) {
        let Some(segment) = error.damaged_segment() else {
            return;
        };
        if matches!(error, log::Error::Damaged { known: true, .. }) {
            return;
        }
        let is_new = self.suspects.lock().segments.insert(segment);
        if is_new {
            tracing::error!(topic = %self.topic(), partition = self.key().partition.0, "records are broken: {error}");
        }
        self.shared.troubled.add(self.key());
    }

    /// Takes note of what an inspection found: what is broken goes to be mended, indexes that do not fit are built anew.
    pub(super) fn inspected(&self, segment: Offset, inspected: Inspected) -> Result<(), log::Error> {
        let metrics = &self.shared.metrics;
        let Some(mut state) = self.here() else {
            return Ok(());
        };
        if inspected.is_outdated() {
            return Ok(());
        }
        if inspected.bad_indexes {
            tracing::warn!(topic = %self.topic(), partition = self.key().partition.0, segment = segment.0,
                "the indexes of a segment do not fit it, and are built anew");
            metrics.indexes_rebuilt.add(1);
            state.log.rebuild_indexes(segment)?;
        }
        for damage in &inspected.damages {
            if !state.log.damages().contains(damage) {
                tracing::error!(topic = %self.topic(), partition = self.key().partition.0, from = damage.from.0,
                    next = damage.next.0, bytes = damage.size_bytes, "records are broken: {}", damage.reason);
            }
        }
        let fresh = state.log.note_damages(inspected.damages)?;
        metrics.damages.add(fresh as u64);
        if !state.log.damages().is_empty() {
            self.shared.troubled.add(self.key());
        }
        Ok(())
    }

    /// Looks through the segments that readers ran into. Blocks.
    pub(super) fn inspect_suspects(&self) {
        let segments: Vec<Offset> = self.suspects.lock().segments.iter().copied().collect();
        for segment in segments {
            let inspection = self.here().and_then(|state| state.log.inspect(segment));
            let looked = inspection.map_or(Ok(None), |inspection| inspection.run(&mut |_| true));
            let noted = looked.and_then(|inspected| {
                inspected.map_or(Ok(()), |inspected| self.inspected(segment, inspected))
            });
            match noted {
                Ok(()) | Err(log::Error::Removed { .. }) => {
                    self.suspects.lock().segments.remove(&segment);
                }
                Err(error) => self.disk_failed(&error),
            }
        }
    }

    /// Whether something is broken, or may be.
    pub(super) fn is_troubled(&self) -> bool {
        let is_suspected = !self.suspects.lock().segments.is_empty();
        is_suspected || self.here().is_some_and(|state| !state.log.damages().is_empty())
    }

    /// What is broken, and the epoch that this broker leads or follows in; none while nobody leads.
    pub(super) fn broken(&self) -> (Vec<Damage>, Option<(LeaderEpoch, bool)>) {
        let Some(state) = self.here() else {
            return (Vec::new(), None);
        };
        let role = match &state.role {
            Role::Leader(leader) => Some((leader.epoch(), true)),
            Role::Follower(follower) => Some((follower.epoch(), false)),
            Role::Idle => None,
        };
        (state.log.damages().to_vec(), role)
    }

    /// Puts what came in the place of what is broken. Blocks.
    pub(super) fn mend(&self, damage: &Damage, batches: &Bytes) -> Result<Mended, Unfit> {
        let now_ms = self.shared.now_ms();
        let Some(mut state) = self.here() else {
            return Ok(Mended::Gone);
        };
        let mended = state.log.mend(damage, batches, now_ms);
        if let Err(Unfit::Disk(error)) = &mended {
            self.disk_failed(error);
        }
        if matches!(mended, Ok(Mended::Whole)) {
            self.shared.metrics.damages_mended.add(1);
            state.wake_all();
        }
        mended
    }
}

impl Replicas {
    /// Logs that were found broken when they were opened.
    pub(super) fn note_troubled(&self) {
        for hosted in self.all() {
            let count = hosted.here().map_or(0, |state| state.log.damages().len());
            if count > 0 {
                self.metrics().damages.add(count as u64);
                self.inner.shared.troubled.add(hosted.key());
            }
        }
    }

    /// How many partitions here have something broken, and how many of them something that no replica could put right.
    pub(super) fn count_broken(&self) -> (usize, usize) {
        let keys: Vec<PartitionKey> = self.inner.shared.troubled.keys.lock().iter().copied().collect();
        let mut counts = (0, 0);
        for hosted in keys.into_iter().filter_map(|key| self.hosted(key)) {
            let is_broken = hosted.here().is_some_and(|state| !state.log.damages().is_empty());
            counts.0 += usize::from(is_broken);
            counts.1 += usize::from(is_broken && hosted.suspects.lock().is_hopeless);
        }
        counts
    }
}
