//! Reading whole batches from an offset on, from memory where they were just appended, or else from the disk.

use bytes::Bytes;
use flotilla_protocol::Offset;
use flotilla_protocol::records::BatchHeader;

use super::cold::ColdRead;

/// Batches as they lie in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Pieces of one or more whole batches. The first may begin below the offset that was asked for.
    pub batches: Vec<Bytes>,
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
    Cold(ColdRead),
}
