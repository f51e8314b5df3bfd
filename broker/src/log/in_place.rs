//! What can be sent from where it lies in a file, without reading it: batches that were read and found sound in the last minutes, in a file that nobody has
//! changed since ([`super::disk::Disk::region`]). Only the headers at both ends are looked at.

use std::path::Path;

use bytes::Bytes;
use flotilla_protocol::Offset;
use flotilla_protocol::records::{BatchHeader, HEADER_BYTES};

use super::cold::{ColdRead, SLACK_BYTES};
use super::error::{During, Error};
use super::read::Read;
use super::segment::{FileKind, View};

/// Less than this is read and copied: that is not dearer than the calls that it takes to leave it in its file.
const REGION_BYTES_MIN: u64 = 64 * 1024;

/// Where the region begins.
struct Start {
    position: u64,
    /// From where on batches were passed over until there.
    passed_from: u64,
}

impl ColdRead {
    /// Leaves in the file what can be left there, which is of one segment. None: it has to be read. What looks broken is among that, and
    /// is told by who reads it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn leave(&self) -> Result<Option<Read>, Error> {
        let Some((view, end)) = self.views.first() else {
            return Ok(None);
        };
        let is_damaged = self.damages.iter().any(|damage| damage.segment == view.base());
        if is_damaged || (self.limits.bytes_max as u64) < REGION_BYTES_MIN {
            return Ok(None);
        }
        let path = FileKind::Log.path(&self.dir, view.base());
        let Some(start) = self.start(view, &path)? else {
            return Ok(None);
        };
        let Some((stop, next_offset)) = self.stop(view, *end, start.position)? else {
            return Ok(None);
        };
        if stop < start.position + REGION_BYTES_MIN {
            return Ok(None);
        }
        let region = self
            .disk
            .region(&path, start.position..stop, start.passed_from..stop);
        Ok(region.map(|region| Read {
            size_bytes: region.length,
            region: Some(region),
            next_offset,
            ..Read::default()
        }))
    }

    /// The batch that the read begins with.
    fn start(&self, view: &View, path: &Path) -> Result<Option<Start>, Error> {
        let passed_from = view.position_before(&*self.disk, &self.dir, self.from)?;
        let (mut position, mut chunk) = (passed_from, Bytes::new());
        while position < view.size_bytes() {
            if chunk.len() < HEADER_BYTES {
                let length = (SLACK_BYTES as u64).min(view.size_bytes() - position) as usize;
                chunk = self.disk.read_at(path, position, length).during("read", path)?;
            }
            let Ok(header) = BatchHeader::parse(&chunk) else {
                break;
            };
            if header.next_offset() > self.from {
                let is_in_it = header.base_offset <= self.from;
                return Ok(is_in_it.then_some(Start {
                    position,
                    passed_from,
                }));
            }
            let size = header.size_bytes();
            chunk = chunk.slice(size.min(chunk.len())..);
            position += size as u64;
        }
        Ok(None)
    }

    /// Where the last batch ends that is within the limits, and the offset behind it, as far as the index tells.
    fn stop(&self, view: &View, end: Offset, start: u64) -> Result<Option<(u64, Offset)>, Error> {
        let most = start.saturating_add(self.limits.bytes_max as u64);
        if view.size_bytes() <= most && end <= self.limits.upto {
            return Ok(Some((view.size_bytes(), end)));
        }
        let next = view.indexed_within(&*self.disk, &self.dir, most, self.limits.upto)?;
        Ok(next.map(|(position, header)| (position, header.base_offset)))
    }
}
