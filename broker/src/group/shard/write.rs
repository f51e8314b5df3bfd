//! Writes: what they change is there at once for the shard, for clients when they are committed, and never was if they fail.

use super::request::{Producer, Reply};
use super::{Alarm, Effect, Key, Shard, Then, Ticket, Write, WriteId};
use crate::group::Text;
use crate::group::classic::State;
use crate::group::error::{Error, WriteError};
use crate::group::record::Record;

impl Shard {
    /// A write, and with it all before it, is committed.
    pub fn committed(&mut self, now_ms: u64, write: WriteId) -> Vec<Effect> {
        self.now_ms = now_ms;
        while self.writes.front().is_some_and(|first| first.id <= write) {
            let Some(done) = self.writes.pop_front() else {
                break;
            };
            self.timers.cancel(&Key::Write(done.id));
            self.committed = done.after;
            self.consumers_committed = done.consumers_after;
            self.shares_committed = done.shares_after;
            self.streams_committed = done.streams_after;
            for then in done.then {
                self.follow(done.id, then, Ok(()));
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// A write could not be appended, and none after it will be: they are taken back.
    pub fn failed(&mut self, now_ms: u64, write: WriteId, error: WriteError) -> Vec<Effect> {
        self.now_ms = now_ms;
        let kept = self
            .writes
            .iter()
            .take_while(|pending| pending.id < write)
            .count();
        let undone = self.writes.split_off(kept);
        (self.latest, self.consumers, self.shares, self.streams) = match self.writes.back() {
            Some(last) => (
                last.after.clone(),
                last.consumers_after.clone(),
                last.shares_after.clone(),
                last.streams_after.clone(),
            ),
            None => (
                self.committed.clone(),
                self.consumers_committed.clone(),
                self.shares_committed.clone(),
                self.streams_committed.clone(),
            ),
        };
        // The newest first, so that a group's birth is undone last.
        for write in undone.into_iter().rev() {
            self.timers.cancel(&Key::Write(write.id));
            for then in write.then {
                self.follow(write.id, then, Err(error));
            }
        }
        self.consumers_restored();
        self.shares_restored();
        self.streams_restored();
        std::mem::take(&mut self.effects)
    }

    pub(super) fn write(&mut self, records: Vec<Record>, then: Vec<Then>) -> WriteId {
        for record in &records {
            self.latest.apply(record);
            match record {
                Record::Consumer { group, record } => self.consumers.apply(group, record),
                Record::Share { group, record } => self.shares.apply(group, record),
                Record::Streams { group, record } => self.streams.apply(group, record),
                Record::OffsetCommit { .. } | Record::GroupMetadata { .. } => {}
            }
        }
        let write = self.begin_write(then);
        self.effects.push(Effect::Append {
            write,
            records: records.into(),
        });
        write
    }

    pub(super) fn write_in_transaction(
        &mut self,
        producer: Producer,
        records: Vec<Record>,
        then: Vec<Then>,
    ) -> WriteId {
        for record in &records {
            self.latest.apply_in_doubt(producer.id, record);
        }
        let write = self.begin_write(then);
        self.effects.push(Effect::AppendInTransaction {
            write,
            producer,
            records: records.into(),
        });
        write
    }

    pub(super) fn begin_write(&mut self, then: Vec<Then>) -> WriteId {
        let id = WriteId(self.next_write);
        self.next_write += 1;
        self.writes.push_back(Write {
            id,
            after: self.latest.clone(),
            consumers_after: self.consumers.clone(),
            shares_after: self.shares.clone(),
            streams_after: self.streams.clone(),
            then,
            late: false,
        });
        let deadline_ms = self.now_ms + self.config.commit_timeout_ms;
        self.timers.set(Key::Write(id), deadline_ms, Alarm::Write);
        id
    }

    /// Answers when everything that is under way is committed.
    pub(super) fn reply_after_writes(&mut self, to: Ticket, reply: Reply) {
        match self.writes.back_mut() {
            None => self.reply(to, reply),
            Some(last) if last.late => self.reply(to, reply.failed(WriteError::NotReplicated.into())),
            Some(last) => last.then.push(Then::Reply { to, reply }),
        }
    }

    /// Those who wait for a write are told that it is late. Its records are in the log and may still be committed.
    pub(super) fn write_late(&mut self, write: WriteId) {
        let Some(late) = self.writes.iter_mut().find(|pending| pending.id == write) else {
            return;
        };
        late.late = true;
        let (keep, tell) = std::mem::take(&mut late.then).into_iter().partition(|then| {
            matches!(
                then,
                Then::Know { .. } | Then::Forget { .. } | Then::Convert { .. }
            )
        });
        late.then = keep;
        for then in tell {
            self.follow(write, then, Err(WriteError::NotReplicated));
        }
    }

    fn follow(&mut self, write: WriteId, then: Then, result: Result<(), WriteError>) {
        match then {
            Then::Reply { to, reply } => match result {
                Ok(()) => self.reply(to, reply),
                Err(error) => self.reply(to, reply.failed(error.into())),
            },
            Then::Assign {
                group,
                generation,
                assignment,
            } => match result {
                Ok(()) => self.assign(&group, generation, &assignment),
                Err(error) => self.assignment_lost(&group, generation, error.into()),
            },
            Then::Replace(replace) => match result {
                Ok(()) => self.replaced(&replace),
                Err(error) => self.replacement_lost(*replace, error.into()),
            },
            Then::Know { group } => self.know(write, &group, result),
            Then::Forget { group, since_ms } => self.forget(&group, since_ms, result),
            Then::Convert { group, was } => {
                if result.is_err() {
                    self.stay_classic(&group, *was);
                }
            }
        }
    }

    fn know(&mut self, write: WriteId, id: &Text, result: Result<(), WriteError>) {
        let Some(group) = self.groups.get_mut(id).filter(|group| group.born == Some(write)) else {
            return;
        };
        match result {
            Ok(()) => group.born = None,
            Err(error) => self.drop_group(id, error.into()),
        }
    }

    fn forget(&mut self, id: &Text, since_ms: i64, result: Result<(), WriteError>) {
        match result {
            Ok(()) => self.drop_group(id, Error::NotAvailable),
            Err(_) => {
                if let Some(group) = self.groups.get_mut(id) {
                    group.become_(State::Empty, self.now_ms);
                    group.state_timestamp_ms = since_ms;
                }
            }
        }
    }
}
