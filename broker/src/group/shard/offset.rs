//! OffsetCommit, OffsetDelete, DeleteGroups, and the expiry of offsets (KIP-211).

use super::{Alarm, Effect, Group, Key, RECORDS_PER_WRITE_MAX, Shard, Then, Ticket, consumer, streams};
use crate::group::classic::State;
use crate::group::error::Error;
use crate::group::offsets::tombstone;
use crate::group::record::{OffsetCommit, Record};
use crate::group::shard::request::{Commit, DeletedTopic, EndTransaction, PartitionRef, Producer, Reply};
use crate::group::{Config, Text};

impl Shard {
    /// Commits offsets; `producer` only if its transaction is committed (KIP-98, KIP-447).
    pub(super) fn commit(&mut self, to: Ticket, commit: &Commit, producer: Option<Producer>) {
        if let Some(group) = self.consumers.get(&commit.group) {
            match consumer::check_commit(group, commit, producer.is_some()) {
                Ok(()) => self.write_offsets(to, commit, producer, false),
                Err(error) => self.reply(to, Reply::Commit(Err(error))),
            }
            return;
        }
        if let Some(group) = self.streams.get(&commit.group) {
            match streams::check_commit(group, commit, producer.is_some()) {
                Ok(()) => self.write_offsets(to, commit, producer, false),
                Err(error) => self.reply(to, Reply::Commit(Err(error))),
            }
            return;
        }
        if self.shares.contains(&commit.group) {
            self.reply(to, Reply::Commit(Err(Error::GroupNotFound)));
            return;
        }
        let is_new = match self.groups.get(&commit.group) {
            // No such group, and no generation: a consumer that assigns to itself. Its group is made of offsets alone.
            None if commit.generation < 0 => true,
            None => {
                let error = match commit.knows_group_not_found {
                    true => Error::GroupNotFound,
                    false => Error::IllegalGeneration,
                };
                self.reply(to, Reply::Commit(Err(error)));
                return;
            }
            Some(group) => {
                let checked = match producer {
                    None => check_commit(group, commit),
                    Some(_) => check_commit_in_transaction(group, commit),
                };
                if let Err(error) = checked {
                    self.reply(to, Reply::Commit(Err(error)));
                    return;
                }
                if matches!(group.state(), State::Stable | State::PreparingRebalance) {
                    self.refresh_session(&commit.group, &commit.member_id);
                }
                false
            }
        };
        if is_new && self.groups.len() >= super::GROUPS_MAX {
            self.reply(to, Reply::Commit(Err(Error::NotAvailable)));
            return;
        }
        self.write_offsets(to, commit, producer, is_new);
    }

    fn write_offsets(&mut self, to: Ticket, commit: &Commit, producer: Option<Producer>, is_new: bool) {
        let mut records = Vec::with_capacity(commit.partitions.len());
        let mut results = Vec::with_capacity(commit.partitions.len());
        let expire_timestamp_ms =
            (commit.retention_ms != -1).then(|| (self.now_ms as i64).saturating_add(commit.retention_ms));
        for partition in &commit.partitions {
            if is_too_long(&partition.metadata, &self.config) {
                results.push(Err(Error::MetadataTooLarge));
                continue;
            }
            results.push(Ok(()));
            records.push(Record::OffsetCommit {
                group: commit.group.clone(),
                topic: partition.topic.clone(),
                partition: partition.partition,
                value: Some(OffsetCommit {
                    offset: partition.offset,
                    leader_epoch: partition.leader_epoch,
                    metadata: partition.metadata.clone(),
                    commit_timestamp_ms: self.now_ms as i64,
                    expire_timestamp_ms,
                    topic_id: partition.topic_id,
                }),
            });
        }
        let reply = Reply::Commit(Ok(results));
        if records.is_empty() {
            self.reply(to, reply);
            return;
        }
        let mut then = vec![Then::Reply { to, reply }];
        if is_new {
            then.insert(
                0,
                Then::Know {
                    group: commit.group.clone(),
                },
            );
        }
        let write = match producer {
            None => self.write(records, then),
            Some(producer) => self.write_in_transaction(producer, records, then),
        };
        if is_new {
            let mut group = Group::new();
            group.born = Some(write);
            self.groups.insert(commit.group.clone(), group);
        }
    }

    /// Offsets of a transaction come to count, or go.
    pub(super) fn end_transaction(&mut self, to: Ticket, marker: EndTransaction) {
        let groups = self.latest.end_transaction(marker.producer_id, marker.committed);
        for group in groups {
            if self.is_assigned_to(&group) {
                continue;
            }
            self.groups.entry(group).or_insert_with(Group::new);
        }
        let reply = Reply::EndTransaction(Ok(()));
        let write = self.begin_write(vec![Then::Reply { to, reply }]);
        self.effects.push(Effect::AppendMarker { write, marker });
    }

    pub(super) fn delete_offsets(&mut self, to: Ticket, id: &Text, partitions: &[PartitionRef]) {
        let assigned = self.delete_consumer_offsets(id, partitions);
        if let Some(results) = assigned.or_else(|| self.delete_streams_offsets(id, partitions)) {
            self.reply_after_writes(to, Reply::DeleteOffsets(Ok(results)));
            return;
        }
        let group = match self.groups.get(id) {
            None => Err(Error::GroupNotFound),
            Some(group) => match group.state() {
                State::Dead => Err(Error::GroupNotFound),
                State::Empty => Ok(group),
                _ if group.is_consumer() => Ok(group),
                _ => Err(Error::NonEmptyGroup),
            },
        };
        let group = match group {
            Ok(group) => group,
            Err(error) => {
                self.reply(to, Reply::DeleteOffsets(Err(error)));
                return;
            }
        };
        let (results, records) = self.deletions(id, partitions, |topic| group.is_subscribed_to(topic));
        self.write_in_parts(records, Vec::new());
        self.reply_after_writes(to, Reply::DeleteOffsets(Ok(results)));
    }

    /// What becomes of each partition whose offset is to be deleted, and the tombstones of those that have one.
    pub(super) fn deletions(
        &self,
        id: &Text,
        partitions: &[PartitionRef],
        is_subscribed_to: impl Fn(&str) -> bool,
    ) -> (Vec<Result<(), Error>>, Vec<Record>) {
        let mut results = Vec::with_capacity(partitions.len());
        let mut records = Vec::new();
        for PartitionRef { topic, partition, .. } in partitions {
            if is_subscribed_to(topic) {
                results.push(Err(Error::SubscribedToTopic));
                continue;
            }
            results.push(Ok(()));
            if self.latest.get(id, topic, *partition).is_some() {
                records.push(tombstone(id, topic, *partition));
            }
        }
        (results, records)
    }

    pub(super) fn delete(&mut self, to: Ticket, groups: &[Text]) {
        let mut results = Vec::with_capacity(groups.len());
        for id in groups {
            let assigned = self
                .delete_consumer_group(id)
                .or_else(|| self.delete_share_group(id))
                .or_else(|| self.delete_streams_group(id));
            if let Some(result) = assigned {
                results.push(result);
                continue;
            }
            let result = match self.groups.get(id).map(|group| group.state()) {
                None | Some(State::Dead) => Err(Error::GroupNotFound),
                Some(State::Empty) => Ok(()),
                Some(_) => Err(Error::NonEmptyGroup),
            };
            if result.is_ok() {
                self.delete_group(id);
            }
            results.push(result);
        }
        self.reply_after_writes(to, Reply::Delete(Ok(results)));
    }

    /// Deletes an empty group with all its offsets.
    fn delete_group(&mut self, id: &Text) {
        let mut records: Vec<Record> = self
            .latest
            .of_group(id)
            .map(|(topic, partition, _)| tombstone(id, topic, partition))
            .collect();
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let since_ms = group.state_timestamp_ms;
        group.become_(State::Dead, self.now_ms);
        records.push(Record::GroupMetadata {
            group: id.clone(),
            value: None,
        });
        let forget = Then::Forget {
            group: id.clone(),
            since_ms,
        };
        self.write_in_parts(records, vec![forget]);
    }

    /// As many writes as it takes, so that each fits into a batch; what follows, follows the last.
    pub(super) fn write_in_parts(&mut self, mut records: Vec<Record>, then: Vec<Then>) {
        while records.len() > RECORDS_PER_WRITE_MAX {
            let rest = records.split_off(RECORDS_PER_WRITE_MAX);
            self.write(std::mem::replace(&mut records, rest), Vec::new());
        }
        if !records.is_empty() {
            self.write(records, then);
        }
    }

    /// Forgets offsets that have outlived `offsets.retention.minutes`, and groups that have nothing left.
    pub(super) fn expire(&mut self) {
        let at_ms = self.now_ms + self.config.offsets_retention_check_interval_ms;
        self.timers.set(Key::Expiry, at_ms, Alarm::Expiry);
        let ids: Vec<Text> = self.groups.keys().cloned().collect();
        let mut records = Vec::new();
        for id in ids {
            // The rest waits for the next round.
            if self.writes.len() >= super::WRITES_PENDING_MAX {
                break;
            }
            let before = records.len();
            let Some(group) = self.groups.get(&id) else {
                continue;
            };
            let mut all_expired = self.latest.doubted_of_group(&id).next().is_none();
            for (topic, partition, offset) in self.latest.of_group(&id) {
                if self.has_expired(group, topic, offset) {
                    records.push(tombstone(&id, topic, partition));
                } else {
                    all_expired = false;
                }
            }
            if all_expired
                && group.state() == State::Empty
                && group.pending_joins.is_empty()
                && group.born.is_none()
            {
                records.truncate(before);
                self.delete_group(&id);
            }
            if records.len() >= RECORDS_PER_WRITE_MAX {
                self.write_in_parts(std::mem::take(&mut records), Vec::new());
            }
        }
        self.write_in_parts(records, Vec::new());
        self.expire_consumers();
        self.expire_streams();
    }

    fn has_expired(&self, group: &Group, topic: &Text, offset: &OffsetCommit) -> bool {
        if group.is_subscribed_to(topic) {
            return false;
        }
        let since_ms = match (&group.protocol_type, group.state()) {
            // Offsets of members that are gone: counted from when the last of them left.
            (Some(_), State::Empty) if group.state_timestamp_ms != -1 => group.state_timestamp_ms,
            (None, _) | (Some(_), State::Empty) => offset.commit_timestamp_ms,
            // Members are there, but none reads this topic any more.
            (Some(_), State::Stable) if group.is_consumer() && group.subscribed.is_some() => {
                offset.commit_timestamp_ms
            }
            _ => return false,
        };
        let now_ms = self.now_ms as i64;
        match offset.expire_timestamp_ms {
            Some(expires_ms) => now_ms >= expires_ms,
            None => now_ms.saturating_sub(since_ms) >= self.config.offsets_retention_ms,
        }
    }

    pub(super) fn topics_deleted(&mut self, to: Ticket, topics: &[DeletedTopic]) {
        let records = self
            .latest
            .iter()
            .filter(|(_, topic, _, offset)| {
                let gone = topics.iter().find(|gone| gone.name == **topic);
                gone.is_some_and(|gone| offset.topic_id.is_zero() || offset.topic_id == gone.id)
            })
            .map(|(group, topic, partition, _)| tombstone(group, topic, partition))
            .collect();
        self.write_in_parts(records, Vec::new());
        self.share_topics_deleted(topics);
        self.reply_after_writes(to, Reply::TopicsDeleted);
    }
}

fn check_commit(group: &Group, commit: &Commit) -> Result<(), Error> {
    let state = group.state();
    if state == State::Dead {
        return Err(Error::NotAvailable);
    }
    if commit.generation < 0 && state == State::Empty {
        return Ok(());
    }
    if commit.generation < 0 && commit.member_id.is_empty() && commit.instance_id.is_none() {
        // The group has members, and this is none of them.
        return Err(Error::UnknownMember);
    }
    group.check_member(&commit.member_id, commit.instance_id.as_deref())?;
    if commit.generation != group.generation {
        Err(Error::IllegalGeneration)
    } else if state == State::CompletingRebalance {
        Err(Error::RebalanceInProgress)
    } else {
        Ok(())
    }
}

/// A producer that does not say which member it commits for is believed: older clients know no better.
fn check_commit_in_transaction(group: &Group, commit: &Commit) -> Result<(), Error> {
    if group.state() == State::Dead {
        return Err(Error::NotAvailable);
    }
    if commit.generation < 0 && commit.member_id.is_empty() && commit.instance_id.is_none() {
        return Ok(());
    }
    if commit.generation < 0 && group.state() == State::Empty {
        return Ok(());
    }
    group.check_member(&commit.member_id, commit.instance_id.as_deref())?;
    if commit.generation == group.generation {
        Ok(())
    } else {
        Err(Error::IllegalGeneration)
    }
}

fn is_too_long(metadata: &str, config: &Config) -> bool {
    metadata.len() > config.offset_metadata_max_bytes
        && metadata.encode_utf16().count() > config.offset_metadata_max_bytes
}
