//! The records of groups of the new protocol, byte for byte as Kafka 4.3 lays them out.
//!
//! Keys of kind 3 to 8 and 16, all values flexible and of version 0. Kind 4 held what the hash in kind 3 stands in for since
//! Kafka 4.1; it is read only to be deleted.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};

use super::assigned::{Partitions, PartitionsByEpoch};
use super::group::Resolved;
use super::member::MemberState;
use crate::group::Text;
use crate::group::record::flexible::{TAG_FIRST, put_count, put_optional, put_tagged_i64, put_text, read};
use crate::group::record::{Malformed, Reader, TooLong, put_string, put_uvarint};
use crate::group::shard::request::Protocol;

/// One record of a group; no value: what its key names is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The group's epoch (kind 3).
    Group(Option<GroupEpoch>),
    /// Topics as Kafka 4.0 wrote them down (kind 4).
    TopicMetadata {
        /// Whether it has a value.
        is_present: bool,
    },
    /// What a member told of itself (kind 5).
    Member {
        /// Its id.
        member: Text,
        /// What it told.
        value: Option<Subscription>,
    },
    /// The epoch in which partitions were assigned (kind 6).
    TargetEpoch(Option<TargetEpoch>),
    /// What a member is to have (kind 7).
    Target {
        /// Its id.
        member: Text,
        /// The partitions.
        value: Option<Partitions>,
    },
    /// What a member holds (kind 8).
    Current {
        /// Its id.
        member: Text,
        /// What it holds.
        value: Option<Current>,
    },
    /// What a regular expression matched (kind 16).
    Regex {
        /// The expression.
        regex: Text,
        /// What it matched.
        value: Option<Resolved>,
    },
}

/// The epoch of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupEpoch {
    /// Goes up with each change that may call for another assignment.
    pub epoch: i32,
    /// Of the topics that the group reads; 0: none.
    pub metadata_hash: i64,
}

/// The epoch of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetEpoch {
    /// The group's epoch that it was computed for.
    pub epoch: i32,
    /// When, in ms since 1970; 0: not known.
    pub timestamp_ms: i64,
}

/// What a member told of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Text>,
    /// `client.rack`.
    pub rack_id: Option<Text>,
    /// The client's id.
    pub client_id: Text,
    /// The client's address, as Java prints one: `/127.0.0.1`.
    pub client_host: Text,
    /// Names of topics that it subscribes to.
    pub topics: BTreeSet<Text>,
    /// A regular expression that it subscribes by; empty: it no longer does.
    pub regex: Option<Text>,
    /// How long it may take to give partitions up, in ms; -1: not told.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it wants.
    pub assignor: Option<Text>,
    /// Of a member that speaks the classic protocol.
    pub classic: Option<Classic>,
}

impl Default for Subscription {
    fn default() -> Self {
        Self {
            instance_id: None,
            rack_id: None,
            client_id: "".into(),
            client_host: "".into(),
            topics: BTreeSet::new(),
            regex: None,
            rebalance_timeout_ms: -1,
            assignor: None,
            classic: None,
        }
    }
}

/// What a member of the classic protocol told besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classic {
    /// In ms.
    pub session_timeout_ms: i32,
    /// In its order of preference.
    pub protocols: Vec<Protocol>,
}

/// What a member holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// The epoch that its heartbeats must carry; -2: a static member that will be back.
    pub epoch: i32,
    /// The one before, for a member that did not get our answer.
    pub previous_epoch: i32,
    /// How far it is.
    pub state: MemberState,
    /// What it holds.
    pub assigned: PartitionsByEpoch,
    /// What it was told to give up.
    pub revoking: PartitionsByEpoch,
}

impl Default for Current {
    fn default() -> Self {
        Self {
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            assigned: PartitionsByEpoch::default(),
            revoking: PartitionsByEpoch::default(),
        }
    }
}

const KIND_GROUP: i16 = 3;
const KIND_TOPIC_METADATA: i16 = 4;
const KIND_MEMBER: i16 = 5;
const KIND_TARGET_EPOCH: i16 = 6;
const KIND_TARGET: i16 = 7;
const KIND_CURRENT: i16 = 8;
const KIND_REGEX: i16 = 16;
const VALUE_VERSION: i16 = 0;

impl Record {
    pub(super) fn is_tombstone(&self) -> bool {
        match self {
            Self::Group(value) => value.is_none(),
            Self::TopicMetadata { is_present } => !is_present,
            Self::Member { value, .. } => value.is_none(),
            Self::TargetEpoch(value) => value.is_none(),
            Self::Target { value, .. } => value.is_none(),
            Self::Current { value, .. } => value.is_none(),
            Self::Regex { value, .. } => value.is_none(),
        }
    }

    pub(in crate::group) fn encode(&self, group: &str) -> Result<(Bytes, Option<Bytes>), TooLong> {
        let mut key = BytesMut::new();
        let (kind, of) = match self {
            Self::Group(_) => (KIND_GROUP, None),
            Self::TopicMetadata { .. } => (KIND_TOPIC_METADATA, None),
            Self::Member { member, .. } => (KIND_MEMBER, Some(member)),
            Self::TargetEpoch(_) => (KIND_TARGET_EPOCH, None),
            Self::Target { member, .. } => (KIND_TARGET, Some(member)),
            Self::Current { member, .. } => (KIND_CURRENT, Some(member)),
            Self::Regex { regex, .. } => (KIND_REGEX, Some(regex)),
        };
        key.put_i16(kind);
        put_string(&mut key, group)?;
        if let Some(of) = of {
            put_string(&mut key, of)?;
        }
        let mut out = BytesMut::new();
        out.put_i16(VALUE_VERSION);
        match self {
            Self::Group(Some(value)) => {
                out.put_i32(value.epoch);
                put_tagged_i64(&mut out, value.metadata_hash);
            }
            Self::TopicMetadata { is_present: true } => {
                put_count(&mut out, 0);
                put_uvarint(&mut out, 0);
            }
            Self::Member {
                value: Some(value), ..
            } => put_subscription(&mut out, value),
            Self::TargetEpoch(Some(value)) => {
                out.put_i32(value.epoch);
                put_tagged_i64(&mut out, value.timestamp_ms);
            }
            Self::Target {
                value: Some(value), ..
            } => put_target(&mut out, value),
            Self::Current {
                value: Some(value), ..
            } => put_current(&mut out, value),
            Self::Regex {
                value: Some(value), ..
            } => put_resolved(&mut out, value),
            _ => return Ok((key.freeze(), None)),
        }
        Ok((key.freeze(), Some(out.freeze())))
    }

    /// Reads what follows the kind in a key, and the value. `None`: a kind that groups of this protocol do not have.
    pub(in crate::group) fn decode(
        kind: i16,
        key: &mut Reader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Option<(Text, Self)>, Malformed> {
        if ![
            KIND_GROUP,
            KIND_TOPIC_METADATA,
            KIND_MEMBER,
            KIND_TARGET_EPOCH,
            KIND_TARGET,
            KIND_CURRENT,
            KIND_REGEX,
        ]
        .contains(&kind)
        {
            return Ok(None);
        }
        let group = key.string()?;
        let mut value = value.map(Reader);
        if let Some(input) = &mut value {
            match input.i16()? {
                VALUE_VERSION => {}
                version => return Err(Malformed::Version(version)),
            }
        }
        let record = match kind {
            KIND_GROUP => Self::Group(read(value, |input| {
                let epoch = input.i32()?;
                let metadata_hash = input.tagged_i64()?;
                Ok(GroupEpoch { epoch, metadata_hash })
            })?),
            KIND_TOPIC_METADATA => Self::TopicMetadata {
                is_present: value.is_some(),
            },
            KIND_MEMBER => Self::Member {
                member: key.string()?,
                value: read(value, read_subscription)?,
            },
            KIND_TARGET_EPOCH => Self::TargetEpoch(read(value, |input| {
                let epoch = input.i32()?;
                let timestamp_ms = input.tagged_i64()?;
                Ok(TargetEpoch { epoch, timestamp_ms })
            })?),
            KIND_TARGET => Self::Target {
                member: key.string()?,
                value: read(value, read_target)?,
            },
            KIND_CURRENT => Self::Current {
                member: key.string()?,
                value: read(value, read_current)?,
            },
            _ => Self::Regex {
                regex: key.string()?,
                value: read(value, read_resolved)?,
            },
        };
        Ok(Some((group, record)))
    }
}

fn put_subscription(out: &mut BytesMut, value: &Subscription) {
    put_optional(out, value.instance_id.as_ref());
    put_optional(out, value.rack_id.as_ref());
    put_text(out, &value.client_id);
    put_text(out, &value.client_host);
    put_count(out, value.topics.len());
    for topic in &value.topics {
        put_text(out, topic);
    }
    put_optional(out, value.regex.as_ref());
    out.put_i32(value.rebalance_timeout_ms);
    put_optional(out, value.assignor.as_ref());
    let Some(classic) = &value.classic else {
        put_uvarint(out, 0);
        return;
    };
    let mut field = BytesMut::new();
    // A structure that may be null begins with whether it is.
    field.put_i8(1);
    field.put_i32(classic.session_timeout_ms);
    put_count(&mut field, classic.protocols.len());
    for protocol in &classic.protocols {
        put_text(&mut field, &protocol.name);
        put_count(&mut field, protocol.metadata.len());
        field.put_slice(&protocol.metadata);
        put_uvarint(&mut field, 0);
    }
    put_uvarint(&mut field, 0);
    put_uvarint(out, 1);
    put_uvarint(out, TAG_FIRST);
    put_uvarint(out, field.len() as u32);
    out.put_slice(&field);
}

fn read_subscription(input: &mut Reader<'_>) -> Result<Subscription, Malformed> {
    let mut value = Subscription {
        instance_id: input.any_string(true)?,
        rack_id: input.any_string(true)?,
        client_id: input.compact_string()?,
        client_host: input.compact_string()?,
        topics: input.many(Reader::compact_string)?.into_iter().collect(),
        regex: input.any_string(true)?,
        rebalance_timeout_ms: input.i32()?,
        assignor: input.any_string(true)?,
        classic: None,
    };
    input.tagged(|tag, field| {
        if tag == TAG_FIRST {
            value.classic = read_classic(&mut Reader(field))?;
        }
        Ok(())
    })?;
    Ok(value)
}

fn read_classic(input: &mut Reader<'_>) -> Result<Option<Classic>, Malformed> {
    if input.i8()? < 0 {
        return Ok(None);
    }
    let session_timeout_ms = input.i32()?;
    let protocols = input.many(|input| {
        let protocol = Protocol {
            name: input.compact_string()?,
            metadata: input.bytes(true)?,
        };
        input.tagged(|_, _| Ok(()))?;
        Ok(protocol)
    })?;
    input.tagged(|_, _| Ok(()))?;
    Ok(Some(Classic {
        session_timeout_ms,
        protocols,
    }))
}

pub(in crate::group) fn put_target(out: &mut BytesMut, value: &Partitions) {
    put_count(out, value.topics().len());
    for (topic, partitions) in value.topics() {
        out.put_slice(&topic.0);
        put_count(out, partitions.len());
        for partition in partitions {
            out.put_i32(*partition);
        }
        put_uvarint(out, 0);
    }
    put_uvarint(out, 0);
}

pub(in crate::group) fn read_target(input: &mut Reader<'_>) -> Result<Partitions, Malformed> {
    let topics = input.many(|input| {
        let topic = input.uuid()?;
        let partitions = input.many(Reader::i32)?;
        input.tagged(|_, _| Ok(()))?;
        Ok((topic, partitions))
    })?;
    input.tagged(|_, _| Ok(()))?;
    Ok(topics
        .into_iter()
        .flat_map(|(topic, partitions)| partitions.into_iter().map(move |partition| (topic, partition)))
        .collect())
}

fn put_by_epoch(out: &mut BytesMut, value: &PartitionsByEpoch) {
    put_count(out, value.topics().len());
    for (topic, partitions) in value.topics() {
        out.put_slice(&topic.0);
        put_count(out, partitions.len());
        for partition in partitions.keys() {
            out.put_i32(*partition);
        }
        let mut epochs = BytesMut::new();
        put_count(&mut epochs, partitions.len());
        for epoch in partitions.values() {
            epochs.put_i32(*epoch);
        }
        put_uvarint(out, 1);
        put_uvarint(out, TAG_FIRST);
        put_uvarint(out, epochs.len() as u32);
        out.put_slice(&epochs);
    }
}

/// Where a record of before Kafka 4.3 says no epochs, the member's stands for all.
fn read_by_epoch(input: &mut Reader<'_>, member_epoch: i32) -> Result<PartitionsByEpoch, Malformed> {
    let topics = input.many(|input| {
        let topic = input.uuid()?;
        let partitions = input.many(Reader::i32)?;
        let mut epochs = Vec::new();
        input.tagged(|tag, field| {
            if tag == TAG_FIRST {
                epochs = Reader(field).many(Reader::i32)?;
            }
            Ok(())
        })?;
        epochs.resize(partitions.len(), member_epoch);
        Ok((topic, partitions, epochs))
    })?;
    let mut all = PartitionsByEpoch::default();
    for (topic, partitions, epochs) in topics {
        for (partition, epoch) in partitions.into_iter().zip(epochs) {
            all.insert(topic, partition, epoch);
        }
    }
    Ok(all)
}

fn put_current(out: &mut BytesMut, value: &Current) {
    out.put_i32(value.epoch);
    out.put_i32(value.previous_epoch);
    out.put_i8(match value.state {
        MemberState::Stable => 0,
        MemberState::UnrevokedPartitions => 1,
        MemberState::UnreleasedPartitions => 2,
        MemberState::Unknown => 127,
    });
    put_by_epoch(out, &value.assigned);
    put_by_epoch(out, &value.revoking);
    put_uvarint(out, 0);
}

fn read_current(input: &mut Reader<'_>) -> Result<Current, Malformed> {
    let epoch = input.i32()?;
    let value = Current {
        epoch,
        previous_epoch: input.i32()?,
        state: match input.i8()? {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            _ => MemberState::Unknown,
        },
        assigned: read_by_epoch(input, epoch)?,
        revoking: read_by_epoch(input, epoch)?,
    };
    input.tagged(|_, _| Ok(()))?;
    Ok(value)
}

fn put_resolved(out: &mut BytesMut, value: &Resolved) {
    put_count(out, value.topics.len());
    for topic in &value.topics {
        put_text(out, topic);
    }
    out.put_i64(value.version);
    out.put_i64(value.timestamp_ms);
    put_uvarint(out, 0);
}

fn read_resolved(input: &mut Reader<'_>) -> Result<Resolved, Malformed> {
    let value = Resolved {
        topics: input.many(Reader::compact_string)?.into_iter().collect(),
        version: input.i64()?,
        timestamp_ms: input.i64()?,
    };
    input.tagged(|_, _| Ok(()))?;
    Ok(value)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
