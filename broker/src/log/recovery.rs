//! Finding a log again: as it was left where the stop was clean, and else by looking through it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use flotilla_protocol::records::{BatchHeader, HEADER_BYTES, Origin, check};
use flotilla_protocol::{Offset, Uuid};

use super::damage::follows;
use super::disk::Disk;
use super::epochs::Epochs;
use super::error::{During, Error};
use super::index::{Index, Indexes, OffsetEntry, TimeEntry};
use super::segment::{Active, FileKind, Sealed, View, Visit, finish_indexes, walk};
use super::sync::Generation;
use super::tail::Tail;
use super::{Config, Log, PARTITION_METADATA, Storage, checkpoint, compaction};
use crate::partition::producer_state::ProducerState;

/// What is known about a log before it is opened.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// The topic that it belongs to.
    pub topic_id: Uuid,
    /// The settings to follow.
    pub config: Config,
    /// Milliseconds of the epoch.
    pub now_ms: i64,
    /// The volume was closed cleanly, so that what lies there can be believed. Where it was not, opening the volume has
    /// synced what was left, so that the log counts as synced once it is looked through.
    pub clean: bool,
    /// From the volume's checkpoint; `None`: the first segment says it.
    pub start_offset: Option<Offset>,
    /// From the volume's checkpoint: what lies before was synced. `None`: nothing is known to be.
    pub recovery_point: Option<Offset>,
}

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments that were looked through because the stop was not a clean one, or the files did not fit together.
    pub segments_scanned: usize,
    /// Their bytes.
    pub bytes_scanned: u64,
    /// Where the first of them begins.
    pub scanned_from: Option<Offset>,
    /// The end that was cut off, if something there was no good.
    pub cut: Option<Cut>,
}

/// An end that was cut off: what was being written when the power went, and synced to nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where the log ends now.
    pub log_end: Offset,
    /// How much was thrown away.
    pub size_bytes: u64,
    /// What was wrong with the first batch that is gone.
    pub reason: String,
}

impl Log {
    /// Opens the log in `dir`, or begins one. `progress` is told how many bytes were looked through since the last
    /// call.
    ///
    /// # Errors
    /// [`Error::TopicId`] if the directory belongs to another topic, and those of the disk. An end that was half written is no
    /// error: it is cut off, and the report says so. Nor is what is broken otherwise: it is kept, and stands in
    /// [`Log::damages`].
    pub fn open(
        storage: &Storage,
        dir: &Path,
        options: OpenOptions,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(Self, Recovery), Error> {
        let disk = &*storage.disk;
        let Prepared { bases, aborted } = prepare(disk, dir, options.topic_id)?;
        let mut log = Self {
            storage: storage.clone(),
            dir: Arc::from(dir),
            topic_id: options.topic_id,
            config: options.config,
            sealed: Vec::new(),
            active: None,
            log_start: Offset(0),
            log_end: Offset(0),
            synced_end: Offset(0),
            size_bytes: 0,
            epochs: Epochs::default(),
            producers: ProducerState::default(),
            replayed_from: Offset(i64::MAX),
            tail: Tail::new(Arc::clone(&storage.tail)),
            damages: Arc::default(),
            generation: Generation::default(),
            cleaned_to: compaction::load(disk, dir).during("read", dir)?,
            was_lowered: false,
            changed: false,
            is_new: false,
            failed: false,
        };
        let mut recovery = Recovery::default();
        log.find_segments(&bases, &aborted)?;
        let epochs = Epochs::load(disk, dir).during("read", dir)?;
        // Without records there is nothing that a missing file could have said.
        let epochs = epochs.or_else(|| (log.size_bytes == 0).then(Epochs::default));
        let trusted_to = match (&epochs, options.clean) {
            (None, _) => Offset(0),
            (Some(_), true) => Offset(i64::MAX),
            (Some(_), false) => options.recovery_point.unwrap_or_default(),
        };
        log.epochs = epochs.unwrap_or_default();
        let synced_to = options.recovery_point.unwrap_or_default();
        let mut found = None;
        if trusted_to == Offset(i64::MAX) {
            found = log.resume_last()?;
        }
        log.log_end = match found {
            Some(end) => end,
            None => log.scan_from(trusted_to, synced_to, &mut recovery, progress)?,
        };
        log.epochs.truncate_end(log.log_end.plus(1));
        log.lower_cleaned(log.log_end)?;
        // No compaction is under way yet.
        log.was_lowered = false;
        log.synced_end = log.log_end;
        log.log_start = log.first_base().max(options.start_offset.unwrap_or_default());
        if log.log_start > log.log_end {
            // What was cut off was all that DeleteRecords had left.
            let start = log.log_start;
            log.start_over_at(start)?;
            return Ok((log, recovery));
        }
        log.epochs.truncate_start(log.log_start);
        if let Some(base) = log.active.as_ref().map(|active| active.base) {
            let is_listed = recovery.scanned_from.is_some()
                || !aborted.contains(&base)
                || log.read_aborted_of_active()?;
            log.reload_producers(recovery.scanned_from.or((!is_listed).then_some(base)))?;
        }
        log.changed = recovery.segments_scanned > 0;
        if let (Some(_), Some(active)) = (&recovery.cut, &log.active) {
            let path = FileKind::Log.path(dir, active.base);
            disk.sync(&path).during_sync(&path)?;
        }
        log.forget_gone_damages();
        Ok((log, recovery))
    }

    /// Lists the segments; the last one becomes the active one, with nothing known about it yet.
    fn find_segments(&mut self, bases: &[Offset], aborted: &BTreeSet<Offset>) -> Result<(), Error> {
        let disk = &*self.storage.disk;
        for (place, base) in bases.iter().enumerate() {
            let path = FileKind::Log.path(&self.dir, *base);
            let stat = disk.stat(&path).during("read", &path)?;
            if place + 1 == bases.len() {
                self.active = Some(Active {
                    size_bytes: stat.size_bytes,
                    ..Active::new(*base, stat.modified_ms)
                });
            } else if stat.size_bytes == 0 {
                // Begun and given up: the log went on in the segment before.
                self.remove_segment(*base)?;
                continue;
            } else {
                let has_aborted = aborted.contains(base);
                let sealed = Sealed::found(*base, stat.size_bytes, stat.modified_ms, has_aborted);
                self.sealed.push(sealed);
            }
            self.size_bytes += stat.size_bytes;
        }
        Ok(())
    }

    /// Believes what a clean stop left. `None` if it does not fit together after all.
    fn resume_last(&mut self) -> Result<Option<Offset>, Error> {
        let Some(active) = &mut self.active else {
            return Ok(None);
        };
        let interval = self.config.index_interval_bytes;
        match resume(&*self.storage.disk, &self.dir, active, None, interval)? {
            Ok(end) => Ok(Some(end.unwrap_or(active.base))),
            Err(reason) => {
                tracing::warn!(dir = %self.dir.display(), %reason, "the last segment is damaged although the stop was clean");
                Ok(None)
            }
        }
    }

    /// Looks through the segments that reach beyond `trusted_to`, and the last one in any case. Gives the end of the
    /// log.
    fn scan_from(
        &mut self,
        trusted_to: Offset,
        synced_to: Offset,
        recovery: &mut Recovery,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Offset, Error> {
        let Some(active) = self.active.take() else {
            return Ok(Offset(0));
        };
        let mut segments: Vec<(Offset, u64, i64)> = self
            .sealed
            .iter()
            .map(|sealed| (sealed.base, sealed.size_bytes, sealed.modified_ms))
            .collect();
        segments.push((active.base, active.size_bytes, active.modified_ms));
        // A segment reaches to the base of the next one.
        let first = (0..segments.len() - 1).find(|place| segments[place + 1].0 > trusted_to);
        let first = first.unwrap_or(segments.len() - 1);
        self.sealed.truncate(first);
        self.epochs.truncate_end(segments[first].0);
        let mut end = segments[first].0;
        recovery.scanned_from = Some(end);
        for (place, (base, size_bytes, modified_ms)) in segments.iter().copied().enumerate().skip(first) {
            let mut active = Active {
                size_bytes,
                modified_ms,
                ..Active::new(base, modified_ms)
            };
            let next_base = segments.get(place + 1).map(|next| next.0);
            let torn = self.scan(&mut active, &mut end, (next_base, synced_to), progress)?;
            recovery.segments_scanned += 1;
            recovery.bytes_scanned += size_bytes;
            if next_base.is_some() {
                finish_indexes(&*self.storage.disk, &self.dir, base, &mut active.indexes)?;
                self.sealed.push(Sealed::finished(&active));
                continue;
            }
            if let Some(torn) = torn {
                let disk = &*self.storage.disk;
                let path = FileKind::Log.path(&self.dir, base);
                disk.truncate(&path, torn.position).during("truncate", &path)?;
                active.size_bytes = torn.position;
                self.size_bytes -= size_bytes - torn.position;
                recovery.cut = Some(Cut {
                    log_end: end,
                    size_bytes: size_bytes - torn.position,
                    reason: torn.reason,
                });
            }
            self.active = Some(active);
        }
        Ok(end)
    }

    /// Where the first segment begins.
    pub(super) fn first_base(&self) -> Offset {
        let active = self.active.as_ref().map_or(self.log_end, |active| active.base);
        self.sealed.first().map_or(active, |sealed| sealed.base)
    }
}

/// What is in a directory.
struct Prepared {
    /// Where segments begin, ascending.
    bases: Vec<Offset>,
    /// Those of them that have an index of aborted transactions.
    aborted: BTreeSet<Offset>,
}

/// Makes sure that the directory is there and belongs to the topic, clears what was left half done, and lists the
/// segments.
fn prepare(disk: &dyn Disk, dir: &Path, topic_id: Uuid) -> Result<Prepared, Error> {
    let entries = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            disk.create_dir(dir).during("create", dir)?;
            Vec::new()
        }
        entries => entries.during("list", dir)?,
    };
    let path = dir.join(PARTITION_METADATA);
    match read_topic_id(disk, dir)? {
        Some(found) if found != topic_id => {
            return Err(Error::TopicId {
                path: dir.to_owned(),
                expected: topic_id,
                found,
            });
        }
        Some(_) => {}
        None => {
            // Synced with the first segment: before there is one, nothing is lost with it.
            let text = checkpoint::seal(&format!("version: 0\ntopic_id: {topic_id}\n"));
            disk.create(&path).during("create", &path)?;
            disk.write_at(&path, 0, text.as_bytes()).during("write", &path)?;
        }
    }
    let entries = compaction::finish_swaps(disk, dir, entries)?;
    let mut kinds: BTreeMap<Offset, bool> = BTreeMap::new();
    let mut aborted = BTreeSet::new();
    for entry in &entries {
        let leftover = [".deleted", ".cleaned", ".swap", ".tmp"]
            .iter()
            .any(|suffix| entry.name.ends_with(suffix));
        if leftover && !entry.is_dir {
            let path = dir.join(&entry.name);
            disk.remove(&path).during("remove", &path)?;
        } else if let Some((kind, base)) = FileKind::parse(&entry.name) {
            *kinds.entry(base).or_default() |= kind == FileKind::Log;
            if kind == FileKind::Aborted {
                aborted.insert(base);
            }
        }
    }
    for (base, _) in kinds.iter().filter(|(_, has_log)| !**has_log) {
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::Aborted] {
            let path = kind.path(dir, *base);
            match disk.remove(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.during("remove", &path)?,
            }
        }
    }
    let bases = kinds.into_iter();
    Ok(Prepared {
        bases: bases
            .filter_map(|(base, has_log)| has_log.then_some(base))
            .collect(),
        aborted,
    })
}

/// The topic that a directory belongs to, if it says so and what it says is whole.
pub(super) fn read_topic_id(disk: &dyn Disk, dir: &Path) -> Result<Option<Uuid>, Error> {
    let path = dir.join(PARTITION_METADATA);
    let Some(bytes) = checkpoint::read(disk, &path).during("read", &path)? else {
        return Ok(None);
    };
    let text = checkpoint::unseal(&bytes).unwrap_or_default();
    Ok(text
        .lines()
        .find_map(|line| line.strip_prefix("topic_id: ")?.trim().parse().ok()))
}

/// Reads into `active` what its indexes and its last batches say. With `cut`, the indexes are cut at that offset
/// first. `Err`, with the reason, if the batches are not what they should be. `Ok` has the offset after the last batch, if there is
/// one.
pub(super) fn resume(
    disk: &dyn Disk,
    dir: &Path,
    active: &mut Active,
    cut: Option<Offset>,
    interval: u32,
) -> Result<Result<Option<Offset>, String>, Error> {
    let (base, size) = (active.base, active.size_bytes);
    let (offsets_path, times_path) = (
        FileKind::OffsetIndex.path(dir, base),
        FileKind::TimeIndex.path(dir, base),
    );
    let mut offsets = Index::open(disk, &offsets_path)
        .during("read", &offsets_path)?
        .unwrap_or_default();
    let mut times = Index::open(disk, &times_path)
        .during("read", &times_path)?
        .unwrap_or_default();
    if let Some(cut) = cut {
        let relative = u32::try_from(cut.0 - base.0).unwrap_or(u32::MAX);
        let kept = |entry: &OffsetEntry| entry.relative_offset < relative && u64::from(entry.position) < size;
        offsets
            .truncate(disk, &offsets_path, kept)
            .during("truncate", &offsets_path)?;
        let kept = |entry: &TimeEntry| entry.relative_offset < relative;
        times
            .truncate(disk, &times_path, kept)
            .during("truncate", &times_path)?;
    }
    active.indexes = Indexes::resume(base, offsets, times);
    let mut position = 0;
    if let (Some(last), Some(last_time)) = (active.indexes.offsets.last(), active.indexes.times.last()) {
        let view = View::Active(Box::new(active.clone()));
        if view.confirms(disk, dir, last_time)? {
            position = view.position_before(disk, dir, base.plus(last.relative_offset.into()))?;
        }
    }
    if position == 0 {
        active.indexes = Indexes::new(base);
    }
    let path = FileKind::Log.path(dir, base);
    // Behind an index entry lies what the entry says.
    let mut next = (position == 0).then_some(base);
    let mut broken = None;
    let indexes = &mut active.indexes;
    let stop = walk(disk, &path, position, size, |position, header, batch| {
        let is_last = position + batch.len() as u64 == size;
        let sound = match (check(batch, Origin::Log), next) {
            (Err(reason), _) => Err(reason.into()),
            (Ok(_), Some(next)) if is_last => follows(header, next),
            (Ok(_), _) => Ok(()),
        };
        if let Err(reason) = sound {
            broken = Some(format!("{reason}, at byte {position}"));
            return Visit::Done;
        }
        indexes.add_batch(position, header, interval);
        next = Some(header.next_offset());
        Visit::Next
    })?;
    let stopped = stop.map(|stop| format!("{}, at byte {}", stop.reason, stop.position));
    if let Some(reason) = broken.or(stopped) {
        return Ok(Err(reason));
    }
    let next = next.filter(|_| size > 0);
    let first = disk.read_at(&path, 0, HEADER_BYTES).during("read", &path)?;
    active.first_timestamp_ms = BatchHeader::parse(&first).map_or(-1, |header| header.max_timestamp_ms);
    Ok(Ok(next))
}
