//! Reading a segment again from its beginning, batch by batch, to see whether it still is what was written: for recovery,
//! for the scrub, and to find out how far a damage reaches that a reader ran into.

use std::path::Path;
use std::sync::Arc;

use flotilla_protocol::Offset;

use super::Log;
use super::cold::removed;
use super::damage::Damage;
use super::disk::Disk;
use super::epochs::Epochs;
use super::error::Error;
use super::index_check::IndexCheck;
use super::segment::{Replaced, View};
use super::sound_walk::{CHUNK_BYTES, Walk};
use super::sync::Generation;

/// One segment, as it was when the inspection was planned, to be looked through where blocking is fine.
pub struct Inspection {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: Arc<Path>,
    pub(super) view: View,
    pub(super) end: Offset,
    pub(super) epochs: Epochs,
    generation: Option<(Generation, u64)>,
}

/// What an inspection found.
#[derive(Clone, Debug, Default)]
pub struct Inspected {
    /// Stretches that are not what was written, by position.
    pub damages: Vec<Damage>,
    /// How many bytes were read.
    pub size_bytes: u64,
    /// The indexes of the segment contradict its batches.
    pub bad_indexes: bool,
    replaced: Replaced,
}

impl Inspected {
    /// Compaction or truncation has changed the file since: what was found says nothing of what is there now. To be asked
    /// under the lock of the log.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.replaced.is_set()
    }
}

impl Log {
    /// The first offset of each segment, oldest first.
    #[must_use]
    pub fn segment_bases(&self) -> Vec<Offset> {
        let active = self.active.as_ref().map(|active| active.base);
        self.sealed
            .iter()
            .map(|sealed| sealed.base)
            .chain(active)
            .collect()
    }

    /// Prepares to look through the segment that begins at `base`. `None` if there is none, or nothing in it.
    #[must_use]
    pub fn inspect(&self, base: Offset) -> Option<Inspection> {
        let view = self.view_of(base).filter(|view| view.size_bytes() > 0)?;
        Some(Inspection {
            disk: Arc::clone(&self.storage.disk),
            dir: Arc::clone(&self.dir),
            end: self.end_of_segment(base),
            view,
            epochs: self.epochs.clone(),
            generation: Some((self.generation.clone(), self.generation.now())),
        })
    }
}

impl Inspection {
    /// Looks through the segment. `pace` is told of each piece that was read, and may take its time; `false` ends the inspection
    /// early. `None`: ended early, or the log was cut meanwhile, so that what was found says nothing.
    ///
    /// # Errors
    /// [`Error::Removed`] if the log has let go of the segment meanwhile; [`Error::Io`].
    pub fn run(&self, pace: &mut dyn FnMut(u64) -> bool) -> Result<Option<Inspected>, Error> {
        let looked = self.look(pace).map_err(removed)?;
        let is_current = self
            .generation
            .as_ref()
            .is_none_or(|(generation, taken_at)| generation.now() == *taken_at);
        Ok(looked.filter(|_| is_current))
    }

    fn look(&self, pace: &mut dyn FnMut(u64) -> bool) -> Result<Option<Inspected>, Error> {
        let mut indexes = match &self.view {
            View::Sealed(sealed) => IndexCheck::open(&*self.disk, &self.dir, sealed.base)?,
            // Its indexes are not all on the disk yet, and each entry is held against the log when it is used.
            View::Active(_) => None,
        };
        let walk = Walk {
            disk: &*self.disk,
            dir: &self.dir,
            base: self.view.base(),
            from: 0,
            size_bytes: self.view.size_bytes(),
            end: self.end,
            epochs: &self.epochs,
            chunk_bytes: CHUNK_BYTES,
        };
        let mut goes_on = true;
        let damages = walk.run(
            pace,
            &mut |position, header, _| {
                if let Some(indexes) = &mut indexes {
                    indexes.see(position, header);
                }
            },
            &mut goes_on,
        )?;
        if !goes_on {
            return Ok(None);
        }
        let bad_indexes = damages.is_empty() && indexes.is_some_and(|indexes| !indexes.fits());
        Ok(Some(Inspected {
            damages,
            size_bytes: self.view.size_bytes(),
            bad_indexes,
            replaced: self.view.replaced().clone(),
        }))
    }
}
