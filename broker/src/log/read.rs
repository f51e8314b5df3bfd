//! Reading whole batches from an offset on, from memory where they were just appended, or else from the disk.

use std::sync::Arc;

use bytes::Bytes;
use flotilla_protocol::Offset;
use flotilla_protocol::records::BatchHeader;
use flotilla_protocol::wire::Region;

use super::Log;
use super::cold::ColdRead;
use super::error::Error;
use super::segment::View;
use super::timestamp::{Search, Target};

/// Batches as they lie in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Pieces of one or more whole batches. The first may begin below the offset that was asked for.
    pub batches: Vec<Bytes>,
    /// Instead of pieces: where such batches lie in a file, if whoever reads can send them from there ([`Plan::leaving`]).
    pub region: Option<Region>,
    /// Bytes in all pieces.
    pub size_bytes: usize,
    /// Where to read on: the offset after the last batch, or what was asked for if there is none.
    pub next_offset: Offset,
}

/// What a read may return.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub bytes_max: usize,
    /// No batch that reaches to this offset or beyond.
    pub upto: Offset,
    /// The first batch comes even if it is larger than `bytes_max` (KIP-74).
    pub min_one_batch: bool,
}

/// Collects batches until the limits are reached.
pub(super) struct Gathered {
    read: Read,
    limits: Limits,
}

impl Gathered {
    pub(super) fn new(from: Offset, limits: Limits) -> Self {
        Self {
            read: Read {
                next_offset: from,
                ..Read::default()
            },
            limits,
        }
    }

    /// Takes what fits of a chunk of whole batches, which were checked when they were appended. Whether the next chunk is
    /// wanted.
    pub(super) fn add(&mut self, chunk: &Bytes) -> bool {
        let mut start = None;
        let mut at = 0;
        let mut goes_on = true;
        while let Ok(header) = BatchHeader::parse(chunk.get(at..).unwrap_or_default()) {
            let size = header.size_bytes();
            if header.next_offset() <= self.read.next_offset {
                at += size;
                continue;
            }
            let too_much = self.read.size_bytes + size > self.limits.bytes_max
                && !(self.limits.min_one_batch && self.read.size_bytes == 0);
            if header.next_offset() > self.limits.upto || too_much {
                goes_on = false;
                break;
            }
            start.get_or_insert(at);
            at += size;
            self.read.size_bytes += size;
            self.read.next_offset = header.next_offset();
        }
        if let Some(start) = start {
            self.read.batches.push(chunk.slice(start..at));
        }
        goes_on
    }

    pub(super) fn into_read(self) -> Read {
        self.read
    }
}

/// Where the batches are that a read wants.
pub enum Plan {
    /// In memory; here they are.
    Hot(Read),
    /// On the disk. To be run where blocking is fine, and not under the partition's lock.
    Cold(Box<ColdRead>),
}

impl Plan {
    /// The same, where whoever reads can send batches from the file in which they lie: see [`Read::region`].
    #[must_use]
    pub fn leaving(self) -> Self {
        match self {
            Self::Cold(mut read) => {
                read.leaves = true;
                Self::Cold(read)
            }
            hot => hot,
        }
    }
}

impl Log {
    pub(super) fn check_range(&self, offset: Offset) -> Result<(), Error> {
        if (self.log_start..=self.log_end).contains(&offset) {
            return Ok(());
        }
        Err(Error::OffsetOutOfRange {
            offset,
            log_start: self.log_start,
            log_end: self.log_end,
        })
    }

    /// Looks up what a read from `from` on would return: whole batches, beginning with the one that `from` is in or
    /// the next one, up to `bytes_max` and none that reaches to `upto` or beyond. With `min_one_batch` the first one
    /// comes even if it is larger than that (KIP-74). Callers bound `bytes_max`: so much memory is taken.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`].
    pub fn plan_read(
        &self,
        from: Offset,
        bytes_max: usize,
        upto: Offset,
        min_one_batch: bool,
    ) -> Result<Plan, Error> {
        self.check_range(from)?;
        let limits = Limits {
            bytes_max,
            upto: upto.min(self.log_end),
            min_one_batch,
        };
        if from >= limits.upto {
            return Ok(Plan::Hot(Read {
                next_offset: from,
                ..Read::default()
            }));
        }
        if self.tail.holds(from) {
            return Ok(Plan::Hot(self.tail.read(from, limits).into_read()));
        }
        let views = self.views_from(from, bytes_max as u64).into_iter();
        Ok(Plan::Cold(Box::new(ColdRead {
            disk: Arc::clone(&self.storage.disk),
            dir: Arc::clone(&self.dir),
            views: views
                .map(|view| {
                    let end = self.end_of_segment(view.base());
                    (view, end)
                })
                .collect(),
            epochs: self.epochs.clone(),
            damages: Arc::clone(&self.damages),
            from,
            limits,
            leaves: false,
        })))
    }

    /// [`Log::plan_read`], run at once.
    ///
    /// # Errors
    /// Those of both.
    pub fn read(
        &self,
        from: Offset,
        bytes_max: usize,
        upto: Offset,
        min_one_batch: bool,
    ) -> Result<Read, Error> {
        match self.plan_read(from, bytes_max, upto, min_one_batch)? {
            Plan::Hot(read) => Ok(read),
            Plan::Cold(read) => read.run(),
        }
    }

    /// The segments from the one that `from` is in, as many as `bytes` may come from.
    pub(super) fn views_from(&self, from: Offset, bytes: u64) -> Vec<View> {
        let active = self
            .active
            .as_ref()
            .map(|active| View::Active(Box::new(active.clone())));
        if active.as_ref().is_some_and(|active| active.base() <= from) {
            return active.into_iter().collect();
        }
        let first = self
            .sealed
            .partition_point(|sealed| sealed.base <= from)
            .saturating_sub(1);
        let mut views = Vec::new();
        let mut behind_first_bytes = 0;
        for sealed in self.sealed.get(first..).unwrap_or_default() {
            // The first may end below `from`, where compaction has left a gap.
            if views.len() > 1 && behind_first_bytes >= bytes {
                return views;
            }
            if !views.is_empty() {
                behind_first_bytes += sealed.size_bytes;
            }
            views.push(View::Sealed(Arc::clone(sealed)));
        }
        views.extend(active);
        views
    }

    /// Prepares to look for a record by its time.
    #[must_use]
    pub fn search(&self, target: Target) -> Search {
        let views = self.views_from(self.log_start, u64::MAX);
        let (disk, dir) = (Arc::clone(&self.storage.disk), Arc::clone(&self.dir));
        Search {
            disk,
            dir,
            views,
            epochs: self.epochs.clone(),
            damages: Arc::clone(&self.damages),
            log_start: self.log_start,
            target,
        }
    }
}
