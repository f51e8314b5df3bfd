//! The delivery of one partition's records to the members of one share group.
//!
//! Everything from the start offset on that was ever looked at lies in ranges, each with the state that all its offsets
//! share; there is no hole between them. A change that must outlive this broker is queued, and counts once it is stored:
//! until then its range is on its way, and takes no other change. Only the end of a lock, or of a member, counts at once,
//! for records may be delivered more often than the store knows, and never less.

mod acknowledge;
mod acquire;
#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeMap;

use flotilla_protocol::Offset;

use super::state::{Batch, Stored};
use crate::group::Text;

pub use told::{Acknowledgement, Acquired, Limits, Read, RecordState, Refused, Verdict, Wanted, Write};

/// Before every log.
const NOWHERE: Offset = Offset(-1);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Lock {
    member: Text,
    until_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    last: Offset,
    state: RecordState,
    delivery_count: i16,
    /// Of an acquired range.
    lock: Option<Lock>,
    /// What it becomes when the write of that number is stored.
    pending: Option<(u64, RecordState)>,
}

impl Range {
    fn state_then(&self) -> RecordState {
        self.pending.map_or(self.state, |(_, next)| next)
    }

    fn may_be_acquired(&self) -> bool {
        self.state == RecordState::Available && self.pending.is_none()
    }
}

/// The delivery. See the [module](self).
#[derive(Clone, Debug)]
pub struct Delivery {
    start: Offset,
    /// Behind the last offset that was looked at.
    end: Offset,
    ranges: BTreeMap<Offset, Range>,
    queued: Vec<Batch>,
    /// The number that what is queued will have.
    next_write: u64,
    writing: Option<u64>,
    /// The start as it was last stored; below all offsets where it never was.
    stored_start: Offset,
    /// The one that is being stored.
    writing_start: Offset,
}

impl Delivery {
    /// A delivery that begins: nobody was given anything, and nothing was stored.
    #[must_use]
    pub fn begin(start: Offset) -> Self {
        Self {
            start,
            end: start,
            ranges: BTreeMap::new(),
            queued: Vec::new(),
            next_write: 1,
            writing: None,
            stored_start: NOWHERE,
            writing_start: NOWHERE,
        }
    }

    /// From what was stored. Where that has holes, nothing was settled: those records are delivered again.
    #[must_use]
    pub fn load(stored: &Stored) -> Self {
        let mut this = Self::begin(stored.start);
        this.stored_start = stored.start;
        for batch in &stored.batches {
            if batch.last < this.end {
                continue;
            }
            let first = batch.first.max(this.end);
            if first > this.end {
                this.put(this.end, Offset(first.0 - 1), RecordState::Available, 0);
            }
            this.put(first, batch.last, batch.state, batch.delivery_count);
        }
        this.settle();
        this
    }

    fn put(&mut self, first: Offset, last: Offset, state: RecordState, delivery_count: i16) {
        let range = Range {
            last,
            state,
            delivery_count,
            lock: None,
            pending: None,
        };
        self.ranges.insert(first, range);
        self.end = self.end.max(last.plus(1));
    }

    /// The first offset that is not finished.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.start
    }

    /// From where on to read for the next member. `None`: all that may be locked is.
    #[must_use]
    pub fn next_fetch(&self, limits: &Limits) -> Option<Offset> {
        let available = self.ranges.iter().find(|(_, range)| range.may_be_acquired());
        match available {
            Some((first, _)) => Some(*first),
            None => (self.end.0 - self.start.0 < limits.record_locks).then_some(self.end),
        }
    }

    /// The log starts there now: what was before is gone. Locks on it are of no more use.
    pub fn log_starts(&mut self, log_start: Offset) {
        if log_start <= self.start {
            return;
        }
        self.split(log_start);
        self.ranges = self.ranges.split_off(&log_start);
        self.start = log_start;
        self.end = self.end.max(log_start);
        self.settle();
    }

    fn queue(&mut self, first: Offset, last: Offset, state: RecordState, delivery_count: i16) {
        self.queued.push(Batch {
            first,
            last,
            state,
            delivery_count,
        });
    }

    /// What is to be stored next, if anything is and nothing is being stored.
    pub fn next_write(&mut self) -> Option<Write> {
        let (start, finished) = self.start_then();
        if self.writing.is_some() || (self.queued.is_empty() && start <= self.stored_start) {
            return None;
        }
        let number = self.next_write;
        self.next_write += 1;
        self.writing = Some(number);
        self.writing_start = start;
        Some(Write {
            number,
            start,
            finished,
            batches: std::mem::take(&mut self.queued),
        })
    }

    /// Whether nothing is being stored, nor to be.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.writing.is_none() && self.queued.is_empty()
    }

    /// Where the delivery starts once all that is on its way is stored, and how many offsets behind that are finished.
    fn start_then(&self) -> (Offset, i64) {
        let mut start = self.start;
        let mut finished = 0;
        for (first, range) in &self.ranges {
            if !range.state_then().is_final() {
                continue;
            }
            if *first == start {
                start = range.last.plus(1);
            } else {
                finished += range.last.0 - first.0 + 1;
            }
        }
        (start, finished)
    }

    /// The write was stored, or was not: then members have what they had.
    pub fn written(&mut self, number: u64, is_stored: bool) {
        if self.writing != Some(number) {
            return;
        }
        self.writing = None;
        if is_stored {
            self.stored_start = self.writing_start;
        }
        for range in self.ranges.values_mut() {
            let Some((_, next)) = range.pending.filter(|(of, _)| *of == number) else {
                continue;
            };
            range.pending = None;
            if is_stored {
                range.state = next;
                range.lock = None;
            }
        }
        self.settle();
    }

    /// Makes a range begin at an offset, if one covers it.
    fn split(&mut self, at: Offset) {
        let Some((_, range)) = self.ranges.range_mut(..at).next_back() else {
            return;
        };
        if range.last < at {
            return;
        }
        let behind = range.clone();
        range.last = Offset(at.0 - 1);
        self.ranges.insert(at, behind);
    }

    /// Moves the start behind what is finished, and joins what is alike.
    fn settle(&mut self) {
        while let Some(entry) = self.ranges.first_entry() {
            if !entry.get().state.is_final() || entry.get().pending.is_some() {
                break;
            }
            self.start = entry.get().last.plus(1);
            entry.remove();
        }
        self.merge();
    }

    fn merge(&mut self) {
        let mut joined: BTreeMap<Offset, Range> = BTreeMap::new();
        for (first, range) in std::mem::take(&mut self.ranges) {
            if let Some(mut before) = joined.last_entry() {
                let before = before.get_mut();
                let alike = (before.state, before.delivery_count) == (range.state, range.delivery_count)
                    && before.lock == range.lock
                    && before.pending == range.pending;
                if alike {
                    before.last = range.last;
                    continue;
                }
            }
            joined.insert(first, range);
        }
        self.ranges = joined;
    }
}
