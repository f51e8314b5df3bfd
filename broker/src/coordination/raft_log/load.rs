//! Opens a log: reads every entry's place, and cuts a tail that a crash tore.

use std::io;

use bytes::Bytes;

use super::{Error, PURGED, Place, RaftLog, SEGMENT_PREFIX, Segment, State, VOTE};
use crate::coordination::frame::{FRAME_HEADER_BYTES, next_frame};
use crate::coordination::wire::{self, Malformed};
use crate::log::has_unwritten_sector;

/// Whether an end that is no whole entry is what was being written when the power went: nothing of it was answered for. An entry that
/// was synced and cut off all the same would be a vote or a record forgotten, which no quorum survives.
fn is_torn(tail: &Bytes, position: u64) -> bool {
    if has_unwritten_sector(tail, position) {
        return true;
    }
    let is_short = |bytes: &[u8]| {
        let Some((length, _)) = bytes.split_first_chunk::<4>() else {
            return true;
        };
        let length = u32::from_le_bytes(*length) as usize;
        bytes.len() < FRAME_HEADER_BYTES || bytes.len() - FRAME_HEADER_BYTES < length
    };
    // A length that was changed may reach beyond the end, too: then the checksum fits what is there, or other entries follow.
    let is_last = tail.len() > FRAME_HEADER_BYTES && {
        let (header, payload) = tail.split_at(FRAME_HEADER_BYTES);
        header[4..] == crc32c::crc32c(payload).to_le_bytes()
    };
    is_short(tail) && !is_last && (1..tail.len()).all(|at| next_frame(&mut tail.slice(at..)).is_none())
}

impl RaftLog {
    pub(super) fn load(&self) -> Result<State, Error> {
        let io = |source| Error::Io {
            dir: self.dir.clone(),
            source,
        };
        let mut state = State::default();
        if let Some(bytes) = self.read_marked(VOTE)? {
            state.vote = Some(wire::decode_vote(bytes).map_err(|error| self.damaged(VOTE, &error))?);
        }
        if let Some(bytes) = self.read_marked(PURGED)? {
            state.purged = Some(wire::decode_log_id(bytes).map_err(|error| self.damaged(PURGED, &error))?);
        }
        let mut firsts: Vec<u64> = self
            .disk
            .list(&self.dir)
            .map_err(io)?
            .iter()
            .filter_map(|entry| entry.name.strip_prefix(SEGMENT_PREFIX)?.parse().ok())
            .collect();
        firsts.sort_unstable();
        for (place, first_index) in firsts.iter().enumerate() {
            let last = place + 1 == firsts.len();
            self.load_segment(&mut state, *first_index, last)?;
        }
        self.drop_purged_segments(&mut state).map_err(io)?;
        Ok(state)
    }

    fn load_segment(&self, state: &mut State, first_index: u64, last: bool) -> Result<(), Error> {
        let io = |source| Error::Io {
            dir: self.dir.clone(),
            source,
        };
        let path = self.segment_path(first_index);
        let damaged = |what: String| Error::Damaged {
            file: path.clone(),
            what,
        };
        let size = self.disk.stat(&path).map_err(io)?.size_bytes;
        let length = usize::try_from(size).map_err(|_| damaged(format!("it has {size} bytes")))?;
        let mut bytes = self.disk.read_at(&path, 0, length).map_err(io)?;
        let mut position = 0;
        let purged_to = state.purged.map_or(0, |id| id.index + 1);
        let mut expected = first_index;
        while !bytes.is_empty() {
            let Some(payload) = next_frame(&mut bytes) else {
                if last && !is_torn(&bytes, position) {
                    return Err(damaged(format!(
                        "the entry at byte {position} was written whole and is not what it was"
                    )));
                }
                if !last {
                    return Err(damaged(format!(
                        "no whole entry at byte {position}, and more entries follow"
                    )));
                }
                tracing::warn!(file = %path.display(), position, "cutting off an entry that was not written whole");
                self.disk.truncate(&path, position).map_err(io)?;
                break;
            };
            let frame_bytes = FRAME_HEADER_BYTES + payload.len();
            let entry = wire::decode_entry(payload)
                .map_err(|error| damaged(format!("at byte {position}: {error}")))?;
            let next = state.places.back().map_or(purged_to, |place| place.id.index + 1);
            if entry.log_id.index != expected
                || (entry.log_id.index >= purged_to && entry.log_id.index != next)
            {
                return Err(damaged(format!(
                    "entry {} follows entry {next}",
                    entry.log_id.index
                )));
            }
            if entry.log_id.index >= purged_to {
                state.places.push_back(Place {
                    id: entry.log_id,
                    position,
                    frame_bytes,
                });
            }
            expected += 1;
            position += frame_bytes as u64;
        }
        // A process that was killed may have written what it did not sync. It is here, so it will be answered for.
        if last {
            self.disk.sync(&path).map_err(io)?;
        }
        state.segments.push_back(Segment {
            first_index,
            size_bytes: position,
        });
        Ok(())
    }

    fn damaged(&self, file: &str, error: &Malformed) -> Error {
        Error::Damaged {
            file: self.dir.join(file),
            what: error.to_string(),
        }
    }

    /// Reads a small file that was replaced as a whole; `None` where there is none yet.
    fn read_marked(&self, name: &str) -> Result<Option<Bytes>, Error> {
        let path = self.dir.join(name);
        let io = |source| Error::Io {
            dir: self.dir.clone(),
            source,
        };
        let size = match self.disk.stat(&path) {
            Ok(stat) => stat.size_bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let mut bytes = self.disk.read_at(&path, 0, size as usize).map_err(io)?;
        let damaged = || Error::Damaged {
            file: path.clone(),
            what: "its checksum does not fit".to_owned(),
        };
        next_frame(&mut bytes).map(Some).ok_or_else(damaged)
    }
}
