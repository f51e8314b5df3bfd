//! One thread's work on a move: the copy grows, and takes its log's place in the end.

use super::{Move, Next, Progress};
use crate::log::{self, Log, NotReplaced, Offsets, Plan};
use crate::replica::hosted::{Hosted, State};
use crate::replica::replicas::Replicas;
use crate::replica::volume::{Health, Volume};
use flotilla_protocol::{Offset, Uuid};
use parking_lot::MutexGuard;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What is copied at a time.
const PIECE_BYTES: usize = 1 << 20;
/// So often at most a piece is copied while nobody else can use the partition, before the copy goes on as before.
const LAST_PIECES: usize = 4;
/// How long a compaction of the log that is under way is waited for before it is looked at again.
const BUSY_MS: i64 = 100;
/// The rest where the volumes do not allow to go on.
const TROUBLE_MS: i64 = 1_000;
/// The rest where records are broken: they have to be mended first.
const BROKEN_MS: i64 = 10_000;

/// What stands in the checkpoints of each volume.
type Written<'a> = MutexGuard<'a, HashMap<PathBuf, Offsets>>;

/// Why a copy does not grow now.
enum Trouble {
    /// The partition is not stored here any more, or a volume has failed.
    Over,
    /// Of the log.
    Log(log::Error),
    /// Of the copy.
    Copy(log::Error),
    /// Of the copy, which has to be begun anew.
    Unusable(log::Error),
}

/// How a thread leaves a move.
enum Left {
    /// Nothing more is to be done.
    Over,
    /// To go on after so many milliseconds.
    Rests(i64),
}

impl Replicas {
    /// Works on one move until it is over or has to rest. Blocks.
    pub(in crate::replica) fn move_next(&self) -> Next {
        let moves = &self.inner.moves;
        let now_ms = self.inner.shared.now_ms();
        let mut taken = match moves.take(now_ms) {
            Ok(taken) => taken,
            Err(next) => return next,
        };
        match self.work_on(&taken.taken) {
            Left::Over => {
                self.discard(&taken.taken);
                taken.is_over = true;
            }
            Left::Rests(ms) => {
                let again_ms = self.inner.shared.now_ms().saturating_add(ms);
                taken.taken.not_before_ms.store(again_ms, Ordering::Relaxed);
            }
        }
        let (key, is_over) = (taken.taken.hosted.key(), taken.is_over);
        drop(taken);
        if is_over && !moves.is_moving(key) {
            self.inner.cleaner.resume(key);
        }
        Next::Now
    }

    /// Removes the copy, if it is one still.
    fn discard(&self, over: &Move) {
        let Some(copy) = over.copy.lock().take() else {
            return;
        };
        let unique = Uuid(*uuid::Uuid::new_v4().as_bytes());
        match copy.delete(unique) {
            Ok(dir) => self.remove_dir(&over.target, &dir),
            Err(error) => {
                over.target.note(&error);
            }
        }
    }

    fn work_on(&self, taken: &Arc<Move>) -> Left {
        let mut slot = taken.copy.lock();
        let left = loop {
            if taken.is_given_up.load(Ordering::SeqCst) {
                break Left::Over;
            }
            if self.inner.moves.is_closing() {
                break Left::Rests(0);
            }
            match self.go_on(taken, &mut slot) {
                Ok(None) => {}
                Ok(Some(left)) => break left,
                Err(trouble) => match self.note_trouble(taken, &mut slot, trouble) {
                    None => {}
                    Some(left) => break left,
                },
            }
        };
        if let Some(copy) = &*slot {
            *taken.progress.lock() = Progress::of(copy);
        }
        left
    }

    /// Copies a piece, or ends the move. None: there is more to do.
    fn go_on(&self, taken: &Move, slot: &mut Option<Log>) -> Result<Option<Left>, Trouble> {
        let Some(copy) = slot else {
            return Ok(Some(Left::Over));
        };
        let key = taken.hosted.key();
        if taken.target.health() == Health::Offline || taken.hosted.volume().health() == Health::Offline {
            // The broker stops.
            return Ok(Some(Left::Rests(TROUBLE_MS)));
        }
        if taken.target.health() == Health::Full {
            return Ok(Some(Left::Rests(TROUBLE_MS)));
        }
        if !self.inner.cleaner.pause(key) {
            return Ok(Some(Left::Rests(BUSY_MS)));
        }
        let rate = self.settings().replica_alter_log_dirs_io_max_bytes_per_second;
        let room = self.inner.moves.throttle.room(rate, self.inner.shared.now_ms());
        if room.bytes == 0 {
            return Ok(Some(Left::Rests(room.again_in_ms.max(1))));
        }
        let has_all = self.copy_piece(taken, copy, PIECE_BYTES.min(room.bytes))?;
        *taken.progress.lock() = Progress::of(copy);
        if !has_all {
            return Ok(None);
        }
        let is_over = self.finish(taken, slot)?;
        Ok(is_over.then_some(Left::Over))
    }

    /// Copies up to so many bytes. Whether the copy has all that there was.
    fn copy_piece(&self, taken: &Move, copy: &mut Log, bytes_max: usize) -> Result<bool, Trouble> {
        let now_ms = self.inner.shared.now_ms();
        let (plan, upto) = {
            let mut state = taken.hosted.lock().map_err(|_| Trouble::Over)?;
            if taken.is_given_up.load(Ordering::SeqCst) {
                return Err(Trouble::Over);
            }
            align(copy, &mut state, now_ms)?;
            let (from, upto) = (copy.log_end(), state.log.log_end());
            let plan = state.log.plan_read(from, bytes_max, upto, true);
            (plan.map_err(Trouble::Log)?, upto)
        };
        let read = match plan {
            Plan::Hot(read) => read,
            Plan::Cold(cold) => cold.run().map_err(Trouble::Log)?,
        };
        copy.extend_copy(&read, now_ms).map_err(Trouble::Copy)?;
        self.inner.moves.throttle.moved(read.size_bytes);
        Ok(read.batches.is_empty() || copy.log_end() >= upto)
    }

    /// Puts the copy in its log's place. False: too much is being written, and the copy is to go on as before.
    fn finish(&self, taken: &Move, slot: &mut Option<Log>) -> Result<bool, Trouble> {
        let Some(copy) = slot else { return Ok(true) };
        // Most of it is synced before anybody has to wait.
        copy.sync().map_err(Trouble::Unusable)?;
        let checkpoints = self.checkpoint_ahead(taken, copy).map_err(Trouble::Copy)?;
        let hosted = &taken.hosted;
        let mut state = hosted.lock().map_err(|_| Trouble::Over)?;
        if taken.is_given_up.load(Ordering::SeqCst) {
            return Err(Trouble::Over);
        }
        if !copy_rest(copy, &mut state, self.inner.shared.now_ms())? {
            return Ok(false);
        }
        let Some(copy) = slot.take() else { return Ok(true) };
        let files = taken.target.files();
        let dir = files.partition_dir(hosted.topic(), hosted.key().partition);
        let unique = Uuid(*uuid::Uuid::new_v4().as_bytes());
        match state.log.replace_by(copy, &dir, unique) {
            Err(NotReplaced { copy, error }) => {
                *slot = Some(*copy);
                Err(Trouble::Copy(error))
            }
            Ok(old) => {
                let source = hosted.volume();
                hosted.moved_to(&mut state, taken.target.clone());
                drop(state);
                drop(checkpoints);
                self.moved(taken, &source, old);
                Ok(true)
            }
        }
    }

    /// Writes what a start needs of the copy into the checkpoints of its volume, before it is the log: without it, what
    /// DeleteRecords has deleted would be back, and all of it be looked through. Nobody else writes checkpoints until these locks are let go.
    fn checkpoint_ahead(&self, taken: &Move, copy: &Log) -> Result<[Written<'_>; 3], log::Error> {
        let inner = &self.inner;
        let locks = [
            inner.written_high_watermarks.lock(),
            inner.written_recovery_points.lock(),
            inner.written_log_starts.lock(),
        ];
        let hosted = &taken.hosted;
        let name = (hosted.topic().to_string(), hosted.key().partition);
        let high_watermark = hosted.here().map(|state| state.high_watermark);
        let on_target = |of_copy: Option<Offset>, offset: &dyn Fn(&Hosted) -> Option<Offset>| {
            let mut offsets = self
                .offsets(offset)
                .remove(taken.target.dir())
                .unwrap_or_default();
            offsets.extend(of_copy.map(|offset| (name.clone(), offset)));
            offsets
        };
        let files = taken.target.files();
        files.write_high_watermarks(&on_target(high_watermark, &|hosted| {
            hosted.here().map(|state| state.high_watermark)
        }))?;
        files.write_recovery_points(&on_target(Some(copy.recovery_point()), &|hosted| {
            hosted.here().map(|state| state.log.recovery_point())
        }))?;
        files.write_start_offsets(&on_target(Some(copy.log_start()), &|hosted| {
            hosted.here().map(|state| state.log.log_start())
        }))?;
        Ok(locks)
    }

    /// The copy is the log now: tells the checkpoints, and removes what the log was.
    fn moved(&self, taken: &Move, source: &Volume, old: Result<PathBuf, log::Error>) {
        self.write_high_watermarks();
        self.write_recovery_points();
        self.write_log_starts();
        let hosted = &taken.hosted;
        tracing::info!(topic = %hosted.topic(), partition = hosted.key().partition.0, from = %source.dir().display(),
            to = %taken.target.dir().display(), "moved the replica to another volume");
        match old {
            Ok(old) => self.remove_dir(source, &old),
            Err(error) => {
                tracing::error!("the replica that was moved cannot be taken out of the way: {error}");
                source.note(&error);
            }
        }
    }

    /// What to do about it. None: go on at once.
    fn note_trouble(&self, taken: &Move, slot: &mut Option<Log>, trouble: Trouble) -> Option<Left> {
        let hosted = &taken.hosted;
        let (topic, partition) = (hosted.topic(), hosted.key().partition.0);
        let (error, is_unusable) = match trouble {
            Trouble::Over => return Some(Left::Over),
            Trouble::Log(log::Error::Removed { .. }) => return None,
            Trouble::Log(error @ log::Error::Damaged { .. }) => {
                hosted.suspect(&error);
                return Some(Left::Rests(BROKEN_MS));
            }
            Trouble::Log(error) => {
                hosted.disk_failed(&error);
                return Some(Left::Rests(TROUBLE_MS));
            }
            Trouble::Copy(error @ log::Error::InTheWay { .. }) => {
                tracing::error!(%topic, partition, "the replica cannot be moved yet: {error}");
                return Some(Left::Rests(BROKEN_MS));
            }
            Trouble::Copy(error) => {
                let is_full = error.severity() == log::Severity::VolumeFull;
                (error, !is_full)
            }
            Trouble::Unusable(error) => (error, true),
        };
        tracing::error!(%topic, partition, to = %taken.target.dir().display(), "the replica cannot be moved yet: {error}");
        taken.target.note(&error);
        if is_unusable && taken.target.health() != Health::Offline {
            *slot = None;
            let storage = self.storage_on(&taken.target);
            let now_ms = self.inner.shared.now_ms();
            let Some(mut state) = hosted.here() else {
                return Some(Left::Over);
            };
            match state.log.begin_copy(&storage, &taken.dir, now_ms) {
                Ok(copy) => {
                    state.lowest_end = Offset(i64::MAX);
                    *slot = Some(copy);
                }
                Err(error) => {
                    taken.target.note(&error);
                    return Some(Left::Over);
                }
            }
        }
        Some(Left::Rests(TROUBLE_MS))
    }
}

/// Makes the copy a part of its log again.
fn align(copy: &mut Log, state: &mut State, now_ms: i64) -> Result<(), Trouble> {
    let lowest_end = std::mem::replace(&mut state.lowest_end, Offset(i64::MAX));
    copy.align_copy(&state.log, lowest_end, now_ms)
        .map_err(Trouble::Unusable)
}

/// Copies what is left while nobody else can use the partition. Whether that is all.
fn copy_rest(copy: &mut Log, state: &mut State, now_ms: i64) -> Result<bool, Trouble> {
    align(copy, state, now_ms)?;
    for _ in 0..LAST_PIECES {
        let read = state
            .log
            .read(copy.log_end(), PIECE_BYTES, state.log.log_end(), true)
            .map_err(Trouble::Log)?;
        if read.batches.is_empty() {
            return Ok(true);
        }
        copy.extend_copy(&read, now_ms).map_err(Trouble::Copy)?;
    }
    Ok(false)
}
