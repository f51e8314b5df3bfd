//! OffsetFetch, DescribeGroups, ListGroups: they show what is committed.

use super::{Group, Shard, Ticket};
use crate::group::Text;
use crate::group::classic::State;
use crate::group::error::Error;
use crate::group::offsets::Committed;
use crate::group::record::OffsetCommit;
use crate::group::shard::request::{
    DescribedGroup, DescribedMember, Fetch, FetchedPartition, Kind, ListedGroup, PartitionRef, Reply,
};

impl Shard {
    pub(super) fn fetch(&mut self, to: Ticket, fetch: Fetch) {
        let checked = self.check_consumer_fetch(&fetch);
        if let Err(error) = checked.and_then(|()| self.check_streams_fetch(&fetch)) {
            self.reply(to, Reply::Fetch(Err(error)));
            return;
        }
        // Offsets under way are what a member that takes over must see (KIP-447): they are read now, and shown once
        // they are committed.
        let offsets = match fetch.require_stable {
            true => &self.latest,
            false => &self.committed,
        };
        let is_unstable = |topic: &Text, partition| {
            fetch.require_stable && offsets.is_in_doubt(&fetch.group, topic, partition)
        };
        let fetched = match fetch.partitions {
            None => {
                let mut fetched: Vec<FetchedPartition> = offsets
                    .of_group(&fetch.group)
                    .map(|(topic, partition, offset)| FetchedPartition {
                        topic: topic.clone(),
                        partition,
                        committed: if is_unstable(topic, partition) {
                            Err(Error::UnstableOffset)
                        } else {
                            Ok(Some(OffsetCommit::clone(offset)))
                        },
                    })
                    .collect();
                if fetch.require_stable {
                    // The first commit of all may be the one that is in doubt.
                    let mut only_doubted: Vec<(&Text, i32)> = offsets
                        .doubted_of_group(&fetch.group)
                        .filter(|(topic, partition)| offsets.get(&fetch.group, topic, *partition).is_none())
                        .collect();
                    only_doubted.dedup();
                    fetched.extend(
                        only_doubted
                            .into_iter()
                            .map(|(topic, partition)| FetchedPartition {
                                topic: topic.clone(),
                                partition,
                                committed: Err(Error::UnstableOffset),
                            }),
                    );
                }
                fetched
            }
            Some(partitions) => partitions
                .into_iter()
                .map(|wanted| FetchedPartition {
                    committed: if is_unstable(&wanted.topic, wanted.partition) {
                        Err(Error::UnstableOffset)
                    } else {
                        Ok(offsets
                            .get(&fetch.group, &wanted.topic, wanted.partition)
                            .filter(|offset| is_of_topic(offset, &wanted))
                            .map(|offset| OffsetCommit::clone(offset)))
                    },
                    topic: wanted.topic,
                    partition: wanted.partition,
                })
                .collect(),
        };
        let reply = Reply::Fetch(Ok(fetched));
        if fetch.require_stable {
            self.reply_after_writes(to, reply);
        } else {
            self.reply(to, reply);
        }
    }

    pub(super) fn describe(&self, id: &Text) -> Result<DescribedGroup, Error> {
        let group = self.groups.get(id).filter(|group| group.born.is_none());
        let ending = || self.ending().find(|(ending, _)| *ending == id);
        let group = group
            .or_else(|| ending().map(|(_, group)| group))
            .ok_or(Error::GroupNotFound)?;
        let state = shown_state(group);
        let stable = (state == State::Stable).then(|| group.protocol.clone()).flatten();
        Ok(DescribedGroup {
            group: id.clone(),
            state,
            protocol_type: group.protocol_type.clone().unwrap_or_else(|| "".into()),
            protocol: stable.clone().unwrap_or_else(|| "".into()),
            members: group
                .members()
                .map(|member| DescribedMember {
                    member_id: member.id.clone(),
                    instance_id: member.instance_id.clone(),
                    client_id: member.client_id.clone(),
                    client_host: member.client_host.clone(),
                    metadata: stable
                        .as_ref()
                        .map(|name| member.metadata(name))
                        .unwrap_or_default(),
                    assignment: stable
                        .as_ref()
                        .map(|_| member.assignment.clone())
                        .unwrap_or_default(),
                })
                .collect(),
        })
    }

    pub(super) fn list(&self) -> Vec<ListedGroup> {
        let consumers = self.consumers_committed.iter().map(|(id, group)| ListedGroup {
            group: id.clone(),
            kind: Kind::Consumer,
            protocol_type: "consumer".into(),
            state: group.state().name(),
        });
        let classic = self
            .groups
            .iter()
            .filter(|(_, group)| group.born.is_none())
            .chain(self.ending())
            .map(|(id, group)| ListedGroup {
                group: id.clone(),
                kind: Kind::Classic,
                protocol_type: group.protocol_type.clone().unwrap_or_else(|| "".into()),
                state: shown_state(group).name(),
            });
        let shares = self.shares_committed.iter().map(|(id, group)| ListedGroup {
            group: id.clone(),
            kind: Kind::Share,
            protocol_type: "share".into(),
            state: group.state(),
        });
        let streams = self.streams_committed.iter().map(|(id, group)| ListedGroup {
            group: id.clone(),
            kind: Kind::Streams,
            protocol_type: "streams".into(),
            state: group.state().name(),
        });
        classic.chain(consumers).chain(shares).chain(streams).collect()
    }
}

/// A group whose deletion is not committed yet is still there.
fn shown_state(group: &Group) -> State {
    match group.state() {
        State::Dead => State::Empty,
        state => state,
    }
}

/// An offset that was committed for another topic of the same name is none.
fn is_of_topic(offset: &Committed, wanted: &PartitionRef) -> bool {
    offset.topic_id.is_zero() || wanted.topic_id.is_zero() || offset.topic_id == wanted.topic_id
}
