//! From what was read to what a member is given.

use flotilla_protocol::Offset;

use super::{Acquired, Delivery, Limits, Lock, Read, RecordState, Wanted};
use crate::group::Text;

impl Delivery {
    /// Gives a member records of what was read from `from` on, up to but without `upto`. Offsets between these that are in
    /// no batch hold nothing any more.
    pub fn acquire(
        &mut self,
        member: &Text,
        now_ms: u64,
        limits: &Limits,
        wanted: &Wanted,
        (from, upto): (Offset, Offset),
        batches: &[Read],
    ) -> Vec<Acquired> {
        let mut left = wanted.records_max;
        let mut acquired = Vec::new();
        let mut reached = from.max(self.start);
        for batch in batches {
            if left <= 0 || batch.first >= upto {
                break;
            }
            self.archive_unused(reached, batch.first);
            reached = reached.max(batch.first);
            if !batch.is_delivered {
                reached = batch.last.plus(1);
                self.archive_unused(batch.first, reached);
                continue;
            }
            // A batch is given whole where the limit is none.
            while reached <= batch.last && (left > 0 || !wanted.is_strict) {
                let Some((first, last)) = self.next_piece(reached, batch.last, limits) else {
                    reached = batch.last.plus(1);
                    break;
                };
                let last = match wanted.is_strict {
                    true => last.min(first.plus(left - 1)),
                    false => last,
                };
                reached = last.plus(1);
                if let Some(delivery_count) = self.lock(first, last, member, now_ms, limits) {
                    left -= last.0 - first.0 + 1;
                    push_pieces(&mut acquired, first, last, delivery_count, wanted.batch_size);
                }
            }
        }
        if left > 0 {
            self.archive_unused(reached, upto);
        }
        self.settle();
        acquired
    }

    /// The next offsets that may be acquired, all in the same state; what nobody has looked at yet counts as available.
    fn next_piece(&self, from: Offset, last: Offset, limits: &Limits) -> Option<(Offset, Offset)> {
        let inside = self.ranges.range(..=from).next_back();
        let inside = inside
            .filter(|(_, range)| range.last >= from)
            .map(|(_, range)| (from, range));
        let later = self.ranges.range(from..).map(|(first, range)| (*first, range));
        let known = inside
            .into_iter()
            .chain(later)
            .find(|(first, range)| *first <= last && range.may_be_acquired());
        if let Some((first, range)) = known {
            return Some((first, range.last.min(last)));
        }
        let first = from.max(self.end);
        let has_room = self.end.0 - self.start.0 < limits.record_locks;
        (first <= last && has_room).then_some((first, last))
    }

    /// Locks a range that may be acquired. `None`: it has been delivered too often, and is given up.
    fn lock(
        &mut self,
        first: Offset,
        last: Offset,
        member: &Text,
        now_ms: u64,
        limits: &Limits,
    ) -> Option<i16> {
        if first >= self.end {
            self.put(self.end, last, RecordState::Available, 0);
        }
        self.split(first);
        self.split(last.plus(1));
        let range = self.ranges.get_mut(&first)?;
        if range.delivery_count >= limits.delivery_count {
            range.state = RecordState::Archived;
            let count = range.delivery_count;
            self.queue(first, last, RecordState::Archived, count);
            return None;
        }
        range.state = RecordState::Acquired;
        range.delivery_count += 1;
        range.lock = Some(Lock {
            member: member.clone(),
            until_ms: now_ms.saturating_add(limits.lock_ms),
        });
        Some(range.delivery_count)
    }

    /// Gives up what may be acquired in these offsets, the last one excluded: there is nothing to deliver.
    fn archive_unused(&mut self, from: Offset, until: Offset) {
        let from = from.max(self.start);
        if from >= until {
            return;
        }
        if until > self.end {
            self.put(self.end, Offset(until.0 - 1), RecordState::Available, 0);
        }
        self.split(from);
        self.split(until);
        let mut archived = Vec::new();
        for (first, range) in self.ranges.range_mut(from..until) {
            if range.may_be_acquired() {
                range.state = RecordState::Archived;
                archived.push((*first, range.last, range.delivery_count));
            }
        }
        for (first, last, count) in archived {
            self.queue(first, last, RecordState::Archived, count);
        }
    }
}

fn push_pieces(acquired: &mut Vec<Acquired>, first: Offset, last: Offset, delivery_count: i16, size: i64) {
    let mut first = first;
    while first <= last {
        let end = match size {
            1.. => last.min(first.plus(size - 1)),
            _ => last,
        };
        acquired.push(Acquired {
            first,
            last: end,
            delivery_count,
        });
        first = end.plus(1);
    }
}
