//! Looking through a segment where what is known of it cannot be believed.

use std::io;
use std::sync::Arc;

use flotilla_protocol::Offset;
use flotilla_protocol::records::BatchHeader;

use super::Log;
use super::damage::{Damage, follows};
use super::epochs::Epochs;
use super::error::{During, Error};
use super::index::Indexes;
use super::segment::{Active, FileKind};
use super::sound_walk::{CHUNK_BYTES, Walk};
use super::torn::settle;

/// What one pass over a segment found.
struct Pass {
    damages: Vec<Damage>,
    /// Where the last good batch lies, and where the one in front of it ends.
    last: Option<(u64, BatchHeader, Offset)>,
}

impl Log {
    /// Checks every batch of a segment, and builds its indexes and epochs anew. What is broken is noted. Of the last segment,
    /// which has no next one, gives what was being written when the power went: nothing from there on counts.
    pub(super) fn scan(
        &mut self,
        active: &mut Active,
        end: &mut Offset,
        (next_base, synced_to): (Option<Offset>, Offset),
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<Damage>, Error> {
        let known_epochs = self.epochs.clone();
        let mut upto = active.size_bytes;
        let mut pass = self.pass(active, upto, next_base, end, progress)?;
        let mut torn = None;
        if next_base.is_none() {
            // What came behind it does not count either: once more, without it.
            torn = self.take_torn(&mut pass, upto, synced_to)?;
            if let Some(torn) = &torn {
                upto = torn.position;
                self.epochs = known_epochs.clone();
                *end = active.base;
                pass = self.pass(active, upto, next_base, end, progress)?;
            }
            if let Some(astray) = self.astray(active.base, upto, &pass, synced_to)? {
                self.epochs = known_epochs;
                *end = active.base;
                pass = self.pass(active, astray.position, next_base, end, progress)?;
                pass.damages.push(astray);
            }
        }
        if let Some(last) = pass.damages.last() {
            *end = (*end).max(last.next);
        }
        for damage in &pass.damages {
            tracing::error!(dir = %self.dir.display(), from = damage.from.0, next = damage.next.0, "records are broken: {}", damage.reason);
        }
        let known = self.damages.to_vec();
        let fresh = pass.damages.into_iter().filter(|damage| !known.contains(damage));
        self.damages = known.iter().cloned().chain(fresh).collect();
        Ok(torn)
    }

    fn pass(
        &mut self,
        active: &mut Active,
        size_bytes: u64,
        next_base: Option<Offset>,
        end: &mut Offset,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Pass, Error> {
        *end = active.base.max(*end);
        active.indexes = Indexes::new(active.base);
        let (disk, dir) = (Arc::clone(&self.storage.disk), Arc::clone(&self.dir));
        let walk = Walk {
            disk: &*disk,
            dir: &dir,
            base: active.base,
            from: 0,
            size_bytes,
            end: next_base.unwrap_or(Offset(i64::MAX)),
            // They are what is found out here.
            epochs: &Epochs::default(),
            chunk_bytes: CHUNK_BYTES,
        };
        let interval = self.config.index_interval_bytes;
        let mut pace = |bytes| {
            progress(bytes);
            true
        };
        let mut last = None;
        let mut visit = |position: u64, header: &BatchHeader, _: &[u8]| {
            if position == 0 {
                active.first_timestamp_ms = header.max_timestamp_ms;
            }
            active.indexes.add_batch(position, header, interval);
            self.epochs
                .assign(header.partition_leader_epoch, header.base_offset);
            last = Some((position, *header, *end));
            *end = header.next_offset();
        };
        let damages = walk.run(&mut pace, &mut visit, &mut true)?;
        Ok(Pass { damages, last })
    }

    /// The first stretch that was half written, if there is one. Of the others it is said where they end.
    fn take_torn(
        &self,
        pass: &mut Pass,
        size_bytes: u64,
        synced_to: Offset,
    ) -> Result<Option<Damage>, Error> {
        for damage in &mut pass.damages {
            if !settle(&*self.storage.disk, &self.dir, damage, size_bytes, synced_to)? {
                return Ok(Some(damage.clone()));
            }
        }
        Ok(None)
    }

    /// The last batch of the log, if offsets are missing in front of it that nothing speaks for: the CRC does not cover where it
    /// begins. A replica in sync has no such end by itself, for compaction keeps the last batch of what it replaces, and all that
    /// leaders append since follows it.
    fn astray(
        &self,
        segment: Offset,
        size_bytes: u64,
        pass: &Pass,
        synced_to: Offset,
    ) -> Result<Option<Damage>, Error> {
        let Some((position, header, end)) = pass.last else {
            return Ok(None);
        };
        if position + header.size_bytes() as u64 != size_bytes {
            return Ok(None);
        }
        let in_front = pass.damages.iter().find(|damage| damage.end() == position);
        let after = in_front.map_or(end, |damage| damage.next);
        let Err(reason) = follows(&header, after) else {
            return Ok(None);
        };
        if header.next_offset() <= synced_to
            || self.has_ended_at(header.next_offset())?
            || self.has_ended_at(header.base_offset)?
        {
            return Ok(None);
        }
        Ok(Some(Damage {
            from: after,
            next: after.plus(i64::from(header.last_offset_delta) + 1),
            segment,
            position,
            size_bytes: header.size_bytes() as u64,
            reason: reason.to_string(),
        }))
    }

    /// Whether the log is known to have ended there once: when it was closed, went on to another segment, or was cut in a gap.
    fn has_ended_at(&self, offset: Offset) -> Result<bool, Error> {
        let path = FileKind::Snapshot.path(&self.dir, offset);
        match self.storage.disk.stat(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).during("read", &path),
        }
    }
}
