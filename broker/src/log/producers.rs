//! What a log knows of producers and of their transactions, built from snapshots and from batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use flotilla_protocol::Offset;

use super::aborted::{self, Aborted};
use super::append::note_producer;
use super::checkpoint::{self, Durability};
use super::error::{During, Error};
use super::segment::{FileKind, View, Visit, walk};
use super::{Damage, Log};
use crate::partition::producer_state::ProducerState;

impl Log {
    /// Builds the producer state as of the end of the log, from the latest snapshot that can be believed and the
    /// batches since. Snapshots of what was cut off are removed. From `scanned_from` on, what the lists of aborted
    /// transactions say is not believed, and they are built anew.
    pub(super) fn reload_producers(&mut self, scanned_from: Option<Offset>) -> Result<(), Error> {
        // A transaction that is aborted in what was scanned may have begun before.
        let (mut producers, from) = self.producers_at(scanned_from.unwrap_or(self.log_end))?;
        let mut rebuilt: BTreeMap<Offset, Vec<Aborted>> = BTreeMap::new();
        if from < self.log_end {
            self.replayed_from = self.replayed_from.min(from);
            let snapshots = self.snapshots()?;
            for view in self.views_from(from, u64::MAX) {
                if scanned_from.is_some_and(|scanned| view.base() > scanned)
                    && snapshots.contains(&view.base())
                {
                    // It may be of a time when something in front was broken.
                    self.write_snapshot_at(view.base(), &producers)?;
                }
                rebuilt.insert(view.base(), self.replay(&view, from, &mut producers)?);
            }
        }
        self.producers = producers;
        match scanned_from {
            Some(scanned_from) => self.set_aborted(scanned_from, rebuilt),
            None => Ok(()),
        }
    }

    /// The producer state of the latest snapshot up to `upto` that can be believed, and where it was taken.
    fn producers_at(&self, upto: Offset) -> Result<(ProducerState, Offset), Error> {
        let disk = &*self.storage.disk;
        let mut snapshots = self.snapshots()?;
        snapshots.retain(|offset| *offset <= upto);
        while let Some(offset) = snapshots.pop() {
            let path = FileKind::Snapshot.path(&self.dir, offset);
            let bytes = checkpoint::read(disk, &path).during("read", &path)?;
            if let Some(Ok(state)) = bytes.map(|bytes| ProducerState::decode(&bytes)) {
                return Ok((state, offset));
            }
            tracing::warn!(path = %path.display(), "a snapshot of producer state is damaged; using an older one");
        }
        Ok((ProducerState::default(), self.first_base()))
    }

    /// Tells the producer state of the batches of a segment, from an offset on. Gives the transactions that were aborted
    /// there.
    fn replay(
        &self,
        view: &View,
        from: Offset,
        producers: &mut ProducerState,
    ) -> Result<Vec<Aborted>, Error> {
        let disk = &*self.storage.disk;
        let path = FileKind::Log.path(&self.dir, view.base());
        let mut position = view.position_before(disk, &self.dir, from)?;
        let mut aborted = Vec::new();
        loop {
            let stop = walk(disk, &path, position, view.size_bytes(), |_, header, batch| {
                if header.last_offset() >= from {
                    aborted.extend(note_producer(producers, header, batch));
                }
                Visit::Next
            })?;
            // What is broken says nothing; what comes behind it does.
            let behind = match stop {
                Some(stop) => self.damage_at(view.base(), stop.position)?,
                None => None,
            };
            match behind {
                Some(damage) => position = damage.end(),
                None => return Ok(aborted),
            }
        }
    }

    fn damage_at(&self, segment: Offset, position: u64) -> Result<Option<Damage>, Error> {
        let holds = |damage: &&Damage| damage.holds(segment, position);
        if let Some(known) = self.damages.iter().find(holds) {
            return Ok(Some(known.clone()));
        }
        let inspected = match self.inspect(segment) {
            Some(inspection) => inspection.run(&mut |_| true)?,
            None => None,
        };
        let damages = inspected.map(|inspected| inspected.damages).unwrap_or_default();
        Ok(damages.iter().find(holds).cloned())
    }

    /// Removes all snapshots of producer state. Their names go with the next sync of the directory.
    pub(super) fn remove_snapshots(&self) -> Result<(), Error> {
        let disk = &*self.storage.disk;
        for entry in disk.list(&self.dir).during("list", &self.dir)? {
            if let Some((FileKind::Snapshot, offset)) = FileKind::parse(&entry.name) {
                let path = FileKind::Snapshot.path(&self.dir, offset);
                disk.remove(&path).during("remove", &path)?;
            }
        }
        Ok(())
    }

    /// Producer state as of the end of the log. Not synced: it has a checksum, and can be built anew.
    pub(super) fn write_snapshot(&self) -> Result<(), Error> {
        self.write_snapshot_at(self.log_end, &self.producers)
    }

    fn write_snapshot_at(&self, offset: Offset, producers: &ProducerState) -> Result<(), Error> {
        let path = FileKind::Snapshot.path(&self.dir, offset);
        self.storage.disk.create(&path).during("create", &path)?;
        self.storage
            .disk
            .write_at(&path, 0, &producers.encode())
            .during("write", &path)
    }

    /// Where there are snapshots of producer state, ascending; those beyond the end of the log are removed.
    fn snapshots(&self) -> Result<Vec<Offset>, Error> {
        let disk = &*self.storage.disk;
        let names = disk.list(&self.dir).during("list", &self.dir)?;
        let mut snapshots: Vec<Offset> = names
            .iter()
            .filter_map(|entry| FileKind::parse(&entry.name))
            .filter_map(|(kind, offset)| (kind == FileKind::Snapshot).then_some(offset))
            .collect();
        let found = snapshots.len();
        while let Some(beyond) = snapshots.pop_if(|offset| *offset > self.log_end) {
            let path = FileKind::Snapshot.path(&self.dir, beyond);
            disk.remove(&path).during("remove", &path)?;
        }
        if snapshots.len() < found {
            // Back after a loss of power, they would be taken for snapshots of what is appended next.
            disk.sync_dir(&self.dir).during_sync(&self.dir)?;
        }
        Ok(snapshots)
    }

    /// Writes the lists of aborted transactions of the segments from `from` on.
    fn set_aborted(
        &mut self,
        from: Offset,
        mut rebuilt: BTreeMap<Offset, Vec<Aborted>>,
    ) -> Result<(), Error> {
        let disk = Arc::clone(&self.storage.disk);
        let mut write = |base: Offset| -> Result<Vec<Aborted>, Error> {
            let aborted = rebuilt.remove(&base).unwrap_or_default();
            aborted::write(&*disk, &self.dir, base, &aborted, Durability::Synced)?;
            Ok(aborted)
        };
        for sealed in self.sealed.iter_mut().filter(|sealed| sealed.base >= from) {
            let has_aborted = !write(sealed.base)?.is_empty();
            if has_aborted != sealed.has_aborted {
                *sealed = sealed.with_aborted(has_aborted);
            }
        }
        if let Some(active) = &mut self.active {
            active.aborted = Arc::new(write(active.base)?);
        }
        Ok(())
    }

    /// Reads the list of the active segment, as it was left where the stop was clean. False: it is damaged.
    pub(super) fn read_aborted_of_active(&mut self) -> Result<bool, Error> {
        let Some(active) = &mut self.active else {
            return Ok(true);
        };
        match aborted::read(&*self.storage.disk, &self.dir, active.base) {
            Ok(aborted) => {
                active.aborted = Arc::new(aborted);
                Ok(true)
            }
            Err(error @ Error::Damaged { .. }) => {
                tracing::warn!(%error, "a list of aborted transactions is damaged; building it anew");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The aborted transactions of an ended segment, from its list, or where that is damaged from the batches.
    pub(super) fn aborted_of(&self, base: Offset) -> Result<Vec<Aborted>, Error> {
        match aborted::read(&*self.storage.disk, &self.dir, base) {
            Err(error @ Error::Damaged { .. }) => {
                tracing::warn!(%error, "a list of aborted transactions is damaged; building it anew");
                self.find_aborted(base)
            }
            read => read,
        }
    }

    fn find_aborted(&self, base: Offset) -> Result<Vec<Aborted>, Error> {
        let (mut producers, from) = self.producers_at(base)?;
        let mut found = Vec::new();
        for view in self.views_from(from, u64::MAX) {
            let aborted = self.replay(&view, from, &mut producers)?;
            if view.base() == base {
                found = aborted;
                break;
            }
        }
        aborted::write(&*self.storage.disk, &self.dir, base, &found, Durability::Synced)?;
        Ok(found)
    }

    /// Builds those lists of aborted transactions anew that are damaged.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn mend_aborted(&mut self) -> Result<(), Error> {
        for place in 0..self.sealed.len() {
            let sealed = &self.sealed[place];
            if sealed.has_aborted && self.aborted_of(sealed.base)?.is_empty() {
                self.sealed[place] = sealed.with_aborted(false);
            }
        }
        Ok(())
    }
}
