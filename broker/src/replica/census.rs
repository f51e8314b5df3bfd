//! What this broker stores: for metrics, for DescribeLogDirs, and letting go of records on demand.

use super::PartitionKey;
use super::error::{ReadError, Unavailable};
use super::hosted::{Hosted, Role, Wait};
use super::metrics::Census;
use super::replicas::Replicas;
use super::volume::Health;
use flotilla_protocol::Offset;
use std::path::PathBuf;
use std::sync::Arc;

/// One data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDir {
    /// Where.
    pub path: PathBuf,
    /// What it can do.
    pub health: Health,
    /// Bytes of the file system that it is on, and free ones. None where the system does not tell.
    pub space: Option<(u64, u64)>,
    /// What lies there.
    pub partitions: Vec<LogDirPartition>,
}

/// One partition in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirPartition {
    /// Its topic's name.
    pub topic: Arc<str>,
    /// Which.
    pub key: PartitionKey,
    /// Bytes of its batches.
    pub size_bytes: u64,
    /// How far it is behind what it knows as committed; a copy: behind the log that it is made from.
    pub lag: i64,
    /// It is a copy that is to take the place of the replica on another volume (KIP-113).
    pub is_copy: bool,
}

impl Replicas {
    /// Counts what is stored here now.
    #[must_use]
    pub fn census(&self) -> Census {
        let (broken, beyond_repair) = self.count_broken();
        let mut census = Census {
            broken,
            beyond_repair,
            ..Census::default()
        };
        for hosted in self.all() {
            census.partitions += 1;
            if hosted.volume().health() == Health::Offline {
                census.offline += 1;
                continue;
            }
            let Some(state) = hosted.here() else { continue };
            if let Role::Leader(leader) = &state.role {
                census.leaders += 1;
                census.under_replicated += usize::from(leader.is_under_replicated());
                census.under_min_isr += usize::from(leader.is_under_min_isr());
            }
        }
        census
    }

    /// The data directories and what lies in them, by path, topic and partition.
    #[must_use]
    pub fn log_dirs(&self) -> Vec<LogDir> {
        let mut dirs: Vec<LogDir> = self
            .volumes()
            .iter()
            .map(|volume| LogDir {
                path: volume.dir().to_owned(),
                health: volume.health(),
                space: volume
                    .files()
                    .disk()
                    .space(volume.dir())
                    .ok()
                    .map(|space| (space.total_bytes, space.free_bytes)),
                partitions: Vec::new(),
            })
            .collect();
        for hosted in self.all() {
            let Some(dir) = dirs.iter_mut().find(|dir| dir.path == hosted.volume().dir()) else {
                continue;
            };
            let Some(state) = hosted.here() else { continue };
            dir.partitions.push(LogDirPartition {
                topic: hosted.topic().clone(),
                key: hosted.key(),
                size_bytes: state.log.size_bytes(),
                lag: (state.high_watermark.0 - state.log.log_end().0).max(0),
                is_copy: false,
            });
        }
        for dir in &mut dirs {
            dir.partitions.extend(self.copies_on(&dir.path));
            dir.partitions
                .sort_by(|a, b| (&a.topic, a.key.partition).cmp(&(&b.topic, b.key.partition)));
        }
        dirs
    }
}

impl Hosted {
    /// Moves the start of the log, and waits for the other replicas to follow.
    pub(super) fn delete_before(
        self: &Arc<Self>,
        before: Option<Offset>,
    ) -> Result<(Wait, Offset), ReadError> {
        let mut state = self.lock()?;
        let Role::Leader(_) = &state.role else {
            return Err(Unavailable::NotLeader.into());
        };
        let policy = self.config().cleanup_policy;
        if policy.compact && !policy.delete {
            return Err(ReadError::NotDeletable);
        }
        let high_watermark = state.high_watermark;
        let before = before.unwrap_or(high_watermark);
        if before > high_watermark || before < Offset(0) {
            return Err(ReadError::OutOfRange {
                asked: before,
                log_start: state.log.log_start(),
                log_end: high_watermark,
                high_watermark,
            });
        }
        state.log.advance_start(before).map_err(|error| {
            self.disk_failed(&error);
            ReadError::Disk(error.to_string())
        })?;
        self.start_moved(&mut state);
        let wait = self
            .wait_deleted(&mut state, before)
            .ok_or(Unavailable::NotLeader)?;
        Ok((wait, state.log.log_start()))
    }

    /// Lets go of what is too old or too much, and rolls what is due.
    pub(super) fn retain(&self) {
        let now_ms = self.shared.now_ms();
        let Ok(mut state) = self.lock() else { return };
        let high_watermark = state.high_watermark;
        match state.log.apply_retention(now_ms, high_watermark) {
            Ok(deleted) if deleted.segments > 0 => {
                tracing::info!(
                    topic = %self.topic(),
                    partition = self.key().partition.0,
                    segments = deleted.segments,
                    bytes = deleted.size_bytes,
                    "deleted old segments"
                );
                self.start_moved(&mut state);
            }
            Ok(_) => {}
            Err(error) => self.disk_failed(&error),
        }
    }
}
