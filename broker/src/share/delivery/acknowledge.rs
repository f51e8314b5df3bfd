//! What becomes of what members hold: what they say of it, and what happens when they say nothing.

use flotilla_protocol::Offset;

use super::{Acknowledgement, Delivery, Limits, Lock, RecordState, Refused, Verdict};

impl Delivery {
    /// Takes what a member says of records, all of it or nothing. `Some`: it counts once the write of that number is stored.
    ///
    /// # Errors
    /// [`Refused`]. Offsets before the start are passed over: they are finished.
    pub fn acknowledge(
        &mut self,
        member: &str,
        now_ms: u64,
        limits: &Limits,
        batches: &[Acknowledgement],
    ) -> Result<Option<u64>, Refused> {
        let before = (self.ranges.clone(), self.queued.len());
        let mut changes = false;
        for batch in batches {
            match self.acknowledge_batch(member, now_ms, limits, batch) {
                Ok(changed) => changes |= changed,
                Err(refused) => {
                    self.ranges = before.0;
                    self.queued.truncate(before.1);
                    return Err(refused);
                }
            }
        }
        self.merge();
        Ok(changes.then_some(self.next_write))
    }

    fn acknowledge_batch(
        &mut self,
        member: &str,
        now_ms: u64,
        limits: &Limits,
        batch: &Acknowledgement,
    ) -> Result<bool, Refused> {
        if batch.last < self.start {
            return Ok(false);
        }
        if batch.last >= self.end || batch.first > batch.last {
            return Err(Refused::InvalidRequest);
        }
        let mut changes = false;
        let mut first = batch.first.max(self.start);
        while first <= batch.last {
            let verdict = batch.verdict(first).ok_or(Refused::InvalidRequest)?;
            let mut last = match batch.verdicts.len() {
                1 => batch.last,
                _ => first,
            };
            while last < batch.last && batch.verdict(last.plus(1)) == Some(verdict) {
                last = last.plus(1);
            }
            changes |= self.judge(member, now_ms, limits, (first, last), verdict)?;
            first = last.plus(1);
        }
        Ok(changes)
    }

    fn judge(
        &mut self,
        member: &str,
        now_ms: u64,
        limits: &Limits,
        (first, last): (Offset, Offset),
        verdict: Verdict,
    ) -> Result<bool, Refused> {
        self.split(first);
        self.split(last.plus(1));
        let number = self.next_write;
        let mut changed = Vec::new();
        for (begin, range) in self.ranges.range_mut(first..=last) {
            let holds = range.lock.as_ref().is_some_and(|lock| *lock.member == *member);
            if range.state != RecordState::Acquired || range.pending.is_some() || !holds {
                return Err(Refused::InvalidRecordState);
            }
            let next = match verdict {
                Verdict::Renew if !limits.may_renew => return Err(Refused::RenewDisabled),
                Verdict::Renew => {
                    if let Some(lock) = &mut range.lock {
                        lock.until_ms = now_ms.saturating_add(limits.lock_ms);
                    }
                    continue;
                }
                Verdict::Accept => RecordState::Acknowledged,
                Verdict::Gap | Verdict::Reject => RecordState::Archived,
                Verdict::Release => released(range.delivery_count, limits),
            };
            range.pending = Some((number, next));
            changed.push((*begin, range.last, next, range.delivery_count));
        }
        let changes = !changed.is_empty();
        for (begin, end, next, count) in changed {
            self.queue(begin, end, next, count);
        }
        Ok(changes)
    }

    /// A member is gone: what it holds is delivered again, unless it was too often. Whether anything is.
    pub fn release(&mut self, member: &str, limits: &Limits) -> bool {
        self.release_where(limits, |lock| *lock.member == *member)
    }

    /// Ends the locks that are over. Whether any was.
    pub fn tick(&mut self, now_ms: u64, limits: &Limits) -> bool {
        self.release_where(limits, |lock| lock.until_ms <= now_ms)
    }

    fn release_where(&mut self, limits: &Limits, is_over: impl Fn(&Lock) -> bool) -> bool {
        let mut changed = Vec::new();
        for (first, range) in &mut self.ranges {
            let ends = range.pending.is_none() && range.lock.as_ref().is_some_and(&is_over);
            if ends {
                range.lock = None;
                range.state = released(range.delivery_count, limits);
                changed.push((*first, range.last, range.state, range.delivery_count));
            }
        }
        for (first, last, state, count) in &changed {
            self.queue(*first, *last, *state, *count);
        }
        self.settle();
        !changed.is_empty()
    }

    /// When the first lock ends, in ms.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let locks = self.ranges.values().filter(|range| range.pending.is_none());
        locks
            .filter_map(|range| range.lock.as_ref())
            .map(|lock| lock.until_ms)
            .min()
    }
}

fn released(delivery_count: i16, limits: &Limits) -> RecordState {
    match delivery_count >= limits.delivery_count {
        true => RecordState::Archived,
        false => RecordState::Available,
    }
}
