//! The records of share groups, byte for byte as Kafka 4.3 lays them out: keys of kind 10 to 15, all values flexible and of
//! version 0.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use flotilla_protocol::Uuid;

use super::partitions::{Named, StatePartitions};
use crate::group::Text;
use crate::group::consumer::record::{put_target, read_target};
use crate::group::consumer::{GroupEpoch, Partitions, TargetEpoch};
use crate::group::record::flexible::{put_count, put_optional, put_tagged_i64, put_text, read};
use crate::group::record::{Malformed, Reader, TooLong, put_string, put_uvarint};

/// One record of a share group; no value: what its key names is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// What a member told of itself (kind 10).
    Member {
        /// Its id.
        member: Text,
        /// What it told.
        value: Option<Subscription>,
    },
    /// The group's epoch (kind 11).
    Group(Option<GroupEpoch>),
    /// The epoch in which partitions were assigned (kind 12).
    TargetEpoch(Option<TargetEpoch>),
    /// What a member is to have (kind 13).
    Target {
        /// Its id.
        member: Text,
        /// The partitions.
        value: Option<Partitions>,
    },
    /// What a member has (kind 14).
    Current {
        /// Its id.
        member: Text,
        /// What it has.
        value: Option<Current>,
    },
    /// Of which partitions something is stored (kind 15).
    Partitions(Option<StatePartitions>),
}

/// What a member told of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// `client.rack`.
    pub rack_id: Option<Text>,
    /// The client's id.
    pub client_id: Text,
    /// The client's address, as Java prints one: `/127.0.0.1`.
    pub client_host: Text,
    /// Names of topics that it subscribes to.
    pub topics: BTreeSet<Text>,
}

/// What a member has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Current {
    /// The epoch that its heartbeats must carry.
    pub epoch: i32,
    /// The one before, for a member that did not get our answer.
    pub previous_epoch: i32,
    /// The partitions.
    pub assigned: Partitions,
}

const KIND_MEMBER: i16 = 10;
const KIND_GROUP: i16 = 11;
const KIND_TARGET_EPOCH: i16 = 12;
const KIND_TARGET: i16 = 13;
const KIND_CURRENT: i16 = 14;
const KIND_PARTITIONS: i16 = 15;
const VALUE_VERSION: i16 = 0;
/// The only state that a member of a share group is in.
const STABLE: i8 = 0;

impl Record {
    pub(super) fn is_tombstone(&self) -> bool {
        match self {
            Self::Member { value, .. } => value.is_none(),
            Self::Group(value) => value.is_none(),
            Self::TargetEpoch(value) => value.is_none(),
            Self::Target { value, .. } => value.is_none(),
            Self::Current { value, .. } => value.is_none(),
            Self::Partitions(value) => value.is_none(),
        }
    }

    fn key(&self) -> (i16, Option<&Text>) {
        match self {
            Self::Member { member, .. } => (KIND_MEMBER, Some(member)),
            Self::Group(_) => (KIND_GROUP, None),
            Self::TargetEpoch(_) => (KIND_TARGET_EPOCH, None),
            Self::Target { member, .. } => (KIND_TARGET, Some(member)),
            Self::Current { member, .. } => (KIND_CURRENT, Some(member)),
            Self::Partitions(_) => (KIND_PARTITIONS, None),
        }
    }

    pub(in crate::group) fn encode(&self, group: &str) -> Result<(Bytes, Option<Bytes>), TooLong> {
        let mut key = BytesMut::new();
        let (kind, of) = self.key();
        key.put_i16(kind);
        put_string(&mut key, group)?;
        if let Some(of) = of {
            put_string(&mut key, of)?;
        }
        let mut out = BytesMut::new();
        out.put_i16(VALUE_VERSION);
        match self {
            Self::Member {
                value: Some(value), ..
            } => put_subscription(&mut out, value),
            Self::Group(Some(value)) => {
                out.put_i32(value.epoch);
                out.put_i64(value.metadata_hash);
                put_uvarint(&mut out, 0);
            }
            Self::TargetEpoch(Some(value)) => {
                out.put_i32(value.epoch);
                put_tagged_i64(&mut out, value.timestamp_ms);
            }
            Self::Target {
                value: Some(value), ..
            } => put_target(&mut out, value),
            Self::Current {
                value: Some(value), ..
            } => {
                out.put_i32(value.epoch);
                out.put_i32(value.previous_epoch);
                out.put_i8(STABLE);
                // Laid out as a target is.
                put_target(&mut out, &value.assigned);
            }
            Self::Partitions(Some(value)) => put_partitions(&mut out, value),
            _ => return Ok((key.freeze(), None)),
        }
        Ok((key.freeze(), Some(out.freeze())))
    }

    /// Reads what follows the kind in a key, and the value. `None`: a kind that share groups do not have.
    pub(in crate::group) fn decode(
        kind: i16,
        key: &mut Reader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Option<(Text, Self)>, Malformed> {
        if !(KIND_MEMBER..=KIND_PARTITIONS).contains(&kind) {
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
            KIND_MEMBER => Self::Member {
                member: key.string()?,
                value: read(value, read_subscription)?,
            },
            KIND_GROUP => Self::Group(read(value, |input| {
                let (epoch, metadata_hash) = (input.i32()?, input.i64()?);
                input.tagged(|_, _| Ok(()))?;
                Ok(GroupEpoch { epoch, metadata_hash })
            })?),
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
            _ => Self::Partitions(read(value, read_partitions)?),
        };
        Ok(Some((group, record)))
    }
}

fn put_subscription(out: &mut BytesMut, value: &Subscription) {
    put_optional(out, value.rack_id.as_ref());
    put_text(out, &value.client_id);
    put_text(out, &value.client_host);
    put_count(out, value.topics.len());
    for topic in &value.topics {
        put_text(out, topic);
    }
    put_uvarint(out, 0);
}

fn read_subscription(input: &mut Reader<'_>) -> Result<Subscription, Malformed> {
    let value = Subscription {
        rack_id: input.any_string(true)?,
        client_id: input.compact_string()?,
        client_host: input.compact_string()?,
        topics: input.many(Reader::compact_string)?.into_iter().collect(),
    };
    input.tagged(|_, _| Ok(()))?;
    Ok(value)
}

fn read_current(input: &mut Reader<'_>) -> Result<Current, Malformed> {
    let (epoch, previous_epoch, _state) = (input.i32()?, input.i32()?, input.i8()?);
    Ok(Current {
        epoch,
        previous_epoch,
        assigned: read_target(input)?,
    })
}

fn put_named(out: &mut BytesMut, topics: &BTreeMap<Uuid, Named>) {
    put_count(out, topics.len());
    for (topic, named) in topics {
        out.put_slice(&topic.0);
        put_text(out, &named.name);
        put_count(out, named.partitions.len());
        for partition in &named.partitions {
            out.put_i32(*partition);
        }
        put_uvarint(out, 0);
    }
}

fn read_named(input: &mut Reader<'_>) -> Result<BTreeMap<Uuid, Named>, Malformed> {
    let topics = input.many(|input| {
        let topic = input.uuid()?;
        let named = Named {
            name: input.compact_string()?,
            partitions: input.many(Reader::i32)?.into_iter().collect(),
        };
        input.tagged(|_, _| Ok(()))?;
        Ok((topic, named))
    })?;
    Ok(topics.into_iter().collect())
}

fn put_partitions(out: &mut BytesMut, value: &StatePartitions) {
    put_named(out, &value.initializing);
    put_named(out, &value.initialized);
    put_count(out, value.deleting.len());
    for (topic, name) in &value.deleting {
        out.put_slice(&topic.0);
        put_text(out, name);
        put_uvarint(out, 0);
    }
    put_uvarint(out, 0);
}

fn read_partitions(input: &mut Reader<'_>) -> Result<StatePartitions, Malformed> {
    let initializing = read_named(input)?;
    let initialized = read_named(input)?;
    let deleting = input.many(|input| {
        let topic = input.uuid()?;
        let name = input.compact_string()?;
        input.tagged(|_, _| Ok(()))?;
        Ok((topic, name))
    })?;
    input.tagged(|_, _| Ok(()))?;
    Ok(StatePartitions {
        initializing,
        initialized,
        deleting: deleting.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(record: &Record) -> (Bytes, Option<Bytes>) {
        record.encode("g").expect("short texts")
    }

    fn read_back(key: &[u8], value: Option<&[u8]>) -> Option<(Text, Record)> {
        let mut key = Reader(key);
        let kind = key.i16().expect("a kind");
        Record::decode(kind, &mut key, value).expect("well-formed")
    }

    fn records() -> Vec<Record> {
        let topic = Uuid([0xAB; 16]);
        let named = |name: &str, partitions: &[i32]| Named {
            name: name.into(),
            partitions: partitions.iter().copied().collect(),
        };
        vec![
            Record::Member {
                member: "m".into(),
                value: Some(Subscription {
                    rack_id: None,
                    client_id: "c".into(),
                    client_host: "/h".into(),
                    topics: ["t".into()].into(),
                }),
            },
            Record::Group(Some(GroupEpoch {
                epoch: 1,
                metadata_hash: 2,
            })),
            Record::TargetEpoch(Some(TargetEpoch {
                epoch: 1,
                timestamp_ms: 3,
            })),
            Record::Target {
                member: "m".into(),
                value: Some([(topic, 1)].into_iter().collect()),
            },
            Record::Current {
                member: "m".into(),
                value: Some(Current {
                    epoch: 2,
                    previous_epoch: 1,
                    assigned: [(topic, 1)].into_iter().collect(),
                }),
            },
            Record::Partitions(Some(StatePartitions {
                initializing: [(topic, named("t", &[0]))].into(),
                initialized: [(topic, named("t", &[1]))].into(),
                deleting: [(topic, "t".into())].into(),
            })),
        ]
    }

    #[test]
    fn records_are_written_as_kafka_lays_them_out() {
        let id = [0xAB; 16];
        let group_key = |kind: u8| vec![0, kind, 0, 1, b'g'];
        let member_key = |kind: u8| vec![0, kind, 0, 1, b'g', 0, 1, b'm'];
        let target = [&[2][..], &id, &[2, 0, 0, 0, 1, 0, 0]].concat();
        let named = |partition: u8| [&[2][..], &id, &[2, b't', 2, 0, 0, 0, partition, 0]].concat();
        let expected: Vec<(Vec<u8>, Vec<u8>)> = vec![
            (
                member_key(10),
                vec![0, 0, 0, 2, b'c', 3, b'/', b'h', 2, 2, b't', 0],
            ),
            (group_key(11), vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0]),
            (
                group_key(12),
                vec![0, 0, 0, 0, 0, 1, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 3],
            ),
            (member_key(13), [&[0, 0][..], &target].concat()),
            (
                member_key(14),
                [&[0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0][..], &target].concat(),
            ),
            (
                group_key(15),
                [&[0, 0][..], &named(0), &named(1), &[2], &id, &[2, b't', 0, 0]].concat(),
            ),
        ];
        for (record, (key, value)) in records().into_iter().zip(expected) {
            let (written_key, written_value) = written(&record);
            assert_eq!(
                (&written_key[..], written_value.as_deref()),
                (&key[..], Some(&value[..]))
            );
            assert_eq!(read_back(&key, Some(&value)), Some(("g".into(), record)));
            let gone = read_back(&key, None).expect("a known kind").1;
            assert!(gone.is_tombstone());
            assert_eq!(written(&gone), (written_key, None));
        }
    }

    #[test]
    fn cut_off_records_are_refused() {
        for record in records() {
            let (key, value) = written(&record);
            let value = value.expect("a value");
            for end in 0..value.len() {
                let mut input = Reader(&key);
                let kind = input.i16().expect("a kind");
                let read = Record::decode(kind, &mut input, Some(&value[..end]));
                assert!(read.is_err(), "{record:?} cut at {end}");
            }
        }
    }
}
