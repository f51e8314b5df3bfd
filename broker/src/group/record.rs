//! The records of `__consumer_offsets`, byte for byte as Kafka lays them out, so that its tools can read them.
//!
//! A key begins with the number of its kind: 0 and 1 an offset, 2 a classic group, and those of groups of the new protocol,
//! and of share groups, which `consumer` and `share` know. A value begins with its version.
//! A record without a value deletes what its key names. Written are the versions that Kafka 4.3 writes: offsets as
//! version 4 (flexible, with the topic id), or 1 where the client gave a retention time of its own; groups as
//! version 3.

use bytes::{BufMut, Bytes, BytesMut};
use flotilla_protocol::Uuid;

use super::{Text, consumer, share};

/// One record of `__consumer_offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// What a group has committed for a partition; no value: forgotten.
    OffsetCommit {
        /// The group that committed.
        group: Text,
        /// The topic's name.
        topic: Text,
        /// The partition's index.
        partition: i32,
        /// The commit, or none for a tombstone.
        value: Option<OffsetCommit>,
    },
    /// The state of a classic group; no value: deleted.
    GroupMetadata {
        /// The group.
        group: Text,
        /// Its state, or none for a tombstone.
        value: Option<GroupMetadata>,
    },
    /// A part of a group of the new protocol (KIP-848).
    Consumer {
        /// The group.
        group: Text,
        /// Which part, and what it is now.
        record: consumer::Record,
    },
    /// A part of a share group (KIP-932).
    Share {
        /// The group.
        group: Text,
        /// Which part, and what it is now.
        record: share::Record,
    },
}

/// The value of a committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The offset that the group reads next.
    pub offset: i64,
    /// Epoch of the last record consumed (KIP-320), or -1.
    pub leader_epoch: i32,
    /// What the client wanted kept beside it.
    pub metadata: Text,
    /// When it was committed, in ms since 1970.
    pub commit_timestamp_ms: i64,
    /// When it expires, in ms since 1970, where the client said so itself (OffsetCommit up to version 4).
    pub expire_timestamp_ms: Option<i64>,
    /// Id of the topic, or zero where it was not known.
    pub topic_id: Uuid,
}

/// The value of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// `consumer`, `connect`, ...; empty for a group that has had no members.
    pub protocol_type: Text,
    /// How often the group has been rebalanced.
    pub generation: i32,
    /// The protocol that the members agreed on.
    pub protocol: Option<Text>,
    /// The member that assigns.
    pub leader: Option<Text>,
    /// Since when the group has been in its state, in ms since 1970, or -1.
    pub state_timestamp_ms: i64,
    /// The members.
    pub members: Vec<MemberMetadata>,
}

/// One member inside [`GroupMetadata`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// The id that the coordinator gave it.
    pub member_id: Text,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<Text>,
    /// The client's id.
    pub client_id: Text,
    /// The client's address, as Java prints one: `/127.0.0.1`.
    pub client_host: Text,
    /// In ms; -1 in records older than version 1: the session timeout holds.
    pub rebalance_timeout_ms: i32,
    /// In ms.
    pub session_timeout_ms: i32,
    /// What it subscribes to, under the group's protocol.
    pub subscription: Bytes,
    /// What it was assigned.
    pub assignment: Bytes,
}

/// A record that cannot be written: a text is longer than its 16-bit length can say.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a text of {0} bytes does not fit into a record of __consumer_offsets, which takes 32767 at most")]
pub struct TooLong(usize);

/// A record that is not what its key says.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Malformed {
    /// The record ends in the middle of a field, or a length points behind its end.
    #[error("the record ends before its fields do")]
    Truncated,
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    NotText,
    /// A length or field that must not be null is.
    #[error("a field that must be present is null")]
    Null,
    /// A value of a version that this broker does not know.
    #[error("version {0} of the value is not known")]
    Version(i16),
}

const KIND_LEGACY_OFFSET: i16 = 0;
const KIND_OFFSET: i16 = 1;
const KIND_GROUP: i16 = 2;
const FIRST_FLEXIBLE: i16 = 4;
const TAG_TOPIC_ID: u32 = 0;

impl Record {
    /// Key and value as they go into a batch.
    ///
    /// # Errors
    /// [`TooLong`] when an id or name is longer than 32767 bytes.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), TooLong> {
        let mut key = BytesMut::new();
        let value = match self {
            Self::OffsetCommit {
                group,
                topic,
                partition,
                value,
            } => {
                key.put_i16(KIND_OFFSET);
                put_string(&mut key, group)?;
                put_string(&mut key, topic)?;
                key.put_i32(*partition);
                value.as_ref().map(OffsetCommit::encode).transpose()?
            }
            Self::GroupMetadata { group, value } => {
                key.put_i16(KIND_GROUP);
                put_string(&mut key, group)?;
                value.as_ref().map(GroupMetadata::encode).transpose()?
            }
            Self::Consumer { group, record } => return record.encode(group),
            Self::Share { group, record } => return record.encode(group),
        };
        Ok((key.freeze(), value))
    }

    /// Reads a record back. `None`: a kind that is not known here, such as those of streams groups.
    ///
    /// # Errors
    /// [`Malformed`] when key or value are not laid out as their kind and version say.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, Malformed> {
        let mut key = Reader(key);
        Ok(match key.i16()? {
            KIND_LEGACY_OFFSET | KIND_OFFSET => Some(Self::OffsetCommit {
                group: key.string()?,
                topic: key.string()?,
                partition: key.i32()?,
                value: value.map(OffsetCommit::decode).transpose()?,
            }),
            KIND_GROUP => Some(Self::GroupMetadata {
                group: key.string()?,
                value: value.map(GroupMetadata::decode).transpose()?,
            }),
            kind => match consumer::Record::decode(kind, &mut key, value)? {
                Some((group, record)) => Some(Self::Consumer { group, record }),
                None => share::Record::decode(kind, &mut key, value)?
                    .map(|(group, record)| Self::Share { group, record }),
            },
        })
    }

    /// Which group the record belongs to.
    #[must_use]
    pub fn group(&self) -> &Text {
        match self {
            Self::OffsetCommit { group, .. }
            | Self::GroupMetadata { group, .. }
            | Self::Consumer { group, .. }
            | Self::Share { group, .. } => group,
        }
    }
}

impl OffsetCommit {
    fn encode(&self) -> Result<Bytes, TooLong> {
        let mut out = BytesMut::with_capacity(64 + self.metadata.len());
        if let Some(expires) = self.expire_timestamp_ms {
            out.put_i16(1);
            out.put_i64(self.offset);
            put_string(&mut out, &self.metadata)?;
            out.put_i64(self.commit_timestamp_ms);
            out.put_i64(expires);
        } else {
            out.put_i16(FIRST_FLEXIBLE);
            out.put_i64(self.offset);
            out.put_i32(self.leader_epoch);
            put_uvarint(&mut out, self.metadata.len() as u32 + 1);
            out.put_slice(self.metadata.as_bytes());
            out.put_i64(self.commit_timestamp_ms);
            if self.topic_id.is_zero() {
                put_uvarint(&mut out, 0);
            } else {
                put_uvarint(&mut out, 1);
                put_uvarint(&mut out, TAG_TOPIC_ID);
                put_uvarint(&mut out, 16);
                out.put_slice(&self.topic_id.0);
            }
        }
        Ok(out.freeze())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader(bytes);
        let version = input.version()?;
        let flexible = version >= FIRST_FLEXIBLE;
        let offset = input.i64()?;
        let leader_epoch = if version >= 3 { input.i32()? } else { -1 };
        let metadata = if flexible {
            input.compact_string()?
        } else {
            input.string()?
        };
        let commit_timestamp_ms = input.i64()?;
        let expires = if version == 1 { input.i64()? } else { -1 };
        let mut topic_id = Uuid::ZERO;
        if flexible {
            input.tagged(|tag, field| {
                if tag == TAG_TOPIC_ID {
                    topic_id = Uuid::from_slice(field).ok_or(Malformed::Truncated)?;
                }
                Ok(())
            })?;
        }
        Ok(Self {
            offset,
            leader_epoch,
            metadata,
            commit_timestamp_ms,
            expire_timestamp_ms: (expires != -1).then_some(expires),
            topic_id,
        })
    }
}

impl GroupMetadata {
    fn encode(&self) -> Result<Bytes, TooLong> {
        let mut out = BytesMut::new();
        out.put_i16(3);
        put_string(&mut out, &self.protocol_type)?;
        out.put_i32(self.generation);
        put_nullable(&mut out, self.protocol.as_ref())?;
        put_nullable(&mut out, self.leader.as_ref())?;
        out.put_i64(self.state_timestamp_ms);
        out.put_i32(self.members.len() as i32);
        for member in &self.members {
            put_string(&mut out, &member.member_id)?;
            put_nullable(&mut out, member.instance_id.as_ref())?;
            put_string(&mut out, &member.client_id)?;
            put_string(&mut out, &member.client_host)?;
            out.put_i32(member.rebalance_timeout_ms);
            out.put_i32(member.session_timeout_ms);
            put_bytes(&mut out, &member.subscription);
            put_bytes(&mut out, &member.assignment);
        }
        Ok(out.freeze())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader(bytes);
        let version = input.version()?;
        let flexible = version >= FIRST_FLEXIBLE;
        let protocol_type = input.any_string(flexible)?.ok_or(Malformed::Null)?;
        let generation = input.i32()?;
        let protocol = input.any_string(flexible)?;
        let leader = input.any_string(flexible)?;
        let state_timestamp_ms = if version >= 2 { input.i64()? } else { -1 };
        let count = if flexible {
            input.uvarint()?.checked_sub(1).ok_or(Malformed::Null)? as usize
        } else {
            usize::try_from(input.i32()?).map_err(|_| Malformed::Null)?
        };
        // Not allocated by the count, which comes from the record: the loop ends where the bytes do.
        let mut members = Vec::new();
        for _ in 0..count {
            members.push(MemberMetadata::decode(&mut input, version)?);
        }
        if flexible {
            input.tagged(|_, _| Ok(()))?;
        }
        Ok(Self {
            protocol_type,
            generation,
            protocol,
            leader,
            state_timestamp_ms,
            members,
        })
    }
}

impl MemberMetadata {
    fn decode(input: &mut Reader<'_>, version: i16) -> Result<Self, Malformed> {
        let flexible = version >= FIRST_FLEXIBLE;
        let member = Self {
            member_id: input.any_string(flexible)?.ok_or(Malformed::Null)?,
            instance_id: if version >= 3 {
                input.any_string(flexible)?
            } else {
                None
            },
            client_id: input.any_string(flexible)?.ok_or(Malformed::Null)?,
            client_host: input.any_string(flexible)?.ok_or(Malformed::Null)?,
            rebalance_timeout_ms: if version >= 1 { input.i32()? } else { -1 },
            session_timeout_ms: input.i32()?,
            subscription: input.bytes(flexible)?,
            assignment: input.bytes(flexible)?,
        };
        if flexible {
            input.tagged(|_, _| Ok(()))?;
        }
        Ok(member)
    }
}

pub(super) fn put_string(out: &mut BytesMut, text: &str) -> Result<(), TooLong> {
    out.put_i16(i16::try_from(text.len()).map_err(|_| TooLong(text.len()))?);
    out.put_slice(text.as_bytes());
    Ok(())
}

fn put_nullable(out: &mut BytesMut, text: Option<&Text>) -> Result<(), TooLong> {
    match text {
        Some(text) => put_string(out, text),
        None => {
            out.put_i16(-1);
            Ok(())
        }
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    // Both came out of one request, which is shorter than 2 GiB.
    out.put_i32(bytes.len() as i32);
    out.put_slice(bytes);
}

pub(super) fn put_uvarint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Takes fields off the front of a slice; a length is believed only as far as the slice goes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(front)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let front = self.take(N)?;
        Ok(front
            .try_into()
            .expect("take returned as many bytes as it was asked for"))
    }

    pub(super) fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    fn version(&mut self) -> Result<i16, Malformed> {
        match self.i16()? {
            version @ 0..=4 => Ok(version),
            version => Err(Malformed::Version(version)),
        }
    }

    pub(super) fn uvarint(&mut self) -> Result<u32, Malformed> {
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Truncated)
    }

    fn text(&mut self, length: usize) -> Result<Text, Malformed> {
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes)
            .map(Text::from)
            .map_err(|_| Malformed::NotText)
    }

    pub(super) fn string(&mut self) -> Result<Text, Malformed> {
        let length = usize::try_from(self.i16()?).map_err(|_| Malformed::Null)?;
        self.text(length)
    }

    pub(super) fn compact_string(&mut self) -> Result<Text, Malformed> {
        self.any_string(true)?.ok_or(Malformed::Null)
    }

    pub(super) fn any_string(&mut self, flexible: bool) -> Result<Option<Text>, Malformed> {
        let length = if flexible {
            i64::from(self.uvarint()?) - 1
        } else {
            i64::from(self.i16()?)
        };
        usize::try_from(length)
            .ok()
            .map(|length| self.text(length))
            .transpose()
    }

    pub(super) fn bytes(&mut self, flexible: bool) -> Result<Bytes, Malformed> {
        let length = if flexible {
            i64::from(self.uvarint()?) - 1
        } else {
            i64::from(self.i32()?)
        };
        let length = usize::try_from(length).map_err(|_| Malformed::Null)?;
        self.take(length).map(Bytes::copy_from_slice)
    }

    pub(super) fn tagged(
        &mut self,
        mut field: impl FnMut(u32, &[u8]) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let length = self.uvarint()? as usize;
            field(tag, self.take(length)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Text {
        text.into()
    }

    fn commit() -> OffsetCommit {
        OffsetCommit {
            offset: 42,
            leader_epoch: 7,
            metadata: text("m"),
            commit_timestamp_ms: 0x0102,
            expire_timestamp_ms: None,
            topic_id: Uuid([0xAB; 16]),
        }
    }

    fn offset_record(value: Option<OffsetCommit>) -> Record {
        Record::OffsetCommit {
            group: text("g"),
            topic: text("to"),
            partition: 5,
            value,
        }
    }

    const OFFSET_KEY: &[u8] = &[0, 1, 0, 1, b'g', 0, 2, b't', b'o', 0, 0, 0, 5];

    #[test]
    fn an_offset_is_written_as_key_1_and_value_4() {
        let mut value = vec![0, 4, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 7, 2, b'm'];
        value.extend([0, 0, 0, 0, 0, 0, 1, 2]);
        value.extend([1, 0, 16]);
        value.extend([0xAB; 16]);
        let record = offset_record(Some(commit()));
        let (key, written) = record.encode().expect("short texts");
        assert_eq!((&key[..], written.as_deref()), (OFFSET_KEY, Some(&value[..])));
        assert_eq!(Record::decode(&key, written.as_deref()), Ok(Some(record)));
    }

    #[test]
    fn a_topic_id_that_is_not_known_leaves_the_tags_empty() {
        let record = offset_record(Some(OffsetCommit {
            topic_id: Uuid::ZERO,
            ..commit()
        }));
        let (_, written) = record.encode().expect("short texts");
        assert_eq!(written.expect("a value").last(), Some(&0));
    }

    #[test]
    fn an_offset_with_its_own_expiry_is_written_as_value_1() {
        let record = offset_record(Some(OffsetCommit {
            leader_epoch: -1,
            expire_timestamp_ms: Some(9),
            topic_id: Uuid::ZERO,
            ..commit()
        }));
        let value = [
            &[0, 1, 0, 0, 0, 0, 0, 0, 0, 42, 0, 1, b'm'][..],
            &[0, 0, 0, 0, 0, 0, 1, 2],
            &[0, 0, 0, 0, 0, 0, 0, 9],
        ]
        .concat();
        let (key, written) = record.encode().expect("short texts");
        assert_eq!(written.as_deref(), Some(&value[..]));
        assert_eq!(Record::decode(&key, written.as_deref()), Ok(Some(record)));
    }

    #[test]
    fn offsets_of_older_brokers_are_read() {
        let plain = OffsetCommit {
            leader_epoch: -1,
            topic_id: Uuid::ZERO,
            ..commit()
        };
        let head = [0, 0, 0, 0, 0, 0, 0, 42];
        let tail = [0, 1, b'm', 0, 0, 0, 0, 0, 0, 1, 2];
        for (version, epoch, expected) in [
            (0, &[][..], plain.clone()),
            (2, &[], plain.clone()),
            (
                3,
                &[0, 0, 0, 7],
                OffsetCommit {
                    leader_epoch: 7,
                    ..plain
                },
            ),
        ] {
            let value = [&[0, version][..], &head, epoch, &tail].concat();
            assert_eq!(
                Record::decode(OFFSET_KEY, Some(&value)),
                Ok(Some(offset_record(Some(expected)))),
                "version {version}"
            );
        }
        let mut legacy_key = OFFSET_KEY.to_vec();
        legacy_key[1] = 0;
        assert_eq!(Record::decode(&legacy_key, None), Ok(Some(offset_record(None))));
    }

    fn group_record() -> Record {
        Record::GroupMetadata {
            group: text("g"),
            value: Some(GroupMetadata {
                protocol_type: text("c"),
                generation: 3,
                protocol: Some(text("r")),
                leader: None,
                state_timestamp_ms: 5,
                members: vec![MemberMetadata {
                    member_id: text("m"),
                    instance_id: None,
                    client_id: text("i"),
                    client_host: text("/h"),
                    rebalance_timeout_ms: 6,
                    session_timeout_ms: 7,
                    subscription: Bytes::from_static(&[8]),
                    assignment: Bytes::from_static(&[9, 10]),
                }],
            }),
        }
    }

    #[test]
    fn a_group_is_written_as_key_2_and_value_3() {
        let value = [
            &[0, 3, 0, 1, b'c', 0, 0, 0, 3, 0, 1, b'r', 0xFF, 0xFF][..],
            &[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1],
            &[0, 1, b'm', 0xFF, 0xFF, 0, 1, b'i', 0, 2, b'/', b'h'],
            &[0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 1, 8, 0, 0, 0, 2, 9, 10],
        ]
        .concat();
        let (key, written) = group_record().encode().expect("short texts");
        assert_eq!(
            (&key[..], written.as_deref()),
            (&[0, 2, 0, 1, b'g'][..], Some(&value[..]))
        );
        assert_eq!(Record::decode(&key, written.as_deref()), Ok(Some(group_record())));
    }

    #[test]
    fn a_flexible_group_is_read_and_its_unknown_tags_skipped() {
        let value = [
            &[0, 4, 2, b'c', 0, 0, 0, 3, 2, b'r', 0][..],
            &[0, 0, 0, 0, 0, 0, 0, 5, 2],
            &[
                2, b'm', 0, 2, b'i', 3, b'/', b'h', 0, 0, 0, 6, 0, 0, 0, 7, 2, 8, 3, 9, 10, 0,
            ],
            &[1, 3, 2, 1, 1],
        ]
        .concat();
        assert_eq!(
            Record::decode(&[0, 2, 0, 1, b'g'], Some(&value)),
            Ok(Some(group_record()))
        );
    }

    #[test]
    fn a_group_of_version_0_has_neither_timestamp_nor_rebalance_timeout() {
        let value = [
            &[0, 0, 0, 1, b'c', 0, 0, 0, 3, 0, 1, b'r', 0xFF, 0xFF, 0, 0, 0, 1][..],
            &[
                0, 1, b'm', 0, 1, b'i', 0, 2, b'/', b'h', 0, 0, 0, 7, 0, 0, 0, 1, 8, 0, 0, 0, 2, 9, 10,
            ],
        ]
        .concat();
        let Ok(Some(Record::GroupMetadata {
            value: Some(read), ..
        })) = Record::decode(&[0, 2, 0, 1, b'g'], Some(&value))
        else {
            panic!("a group");
        };
        assert_eq!(read.state_timestamp_ms, -1);
        assert_eq!(read.members[0].rebalance_timeout_ms, -1);
    }

    #[test]
    fn kinds_of_streams_groups_are_none() {
        assert_eq!(Record::decode(&[0, 17, 0, 1, b'g'], None), Ok(None));
    }

    #[test]
    fn a_count_of_two_thousand_million_members_is_refused() {
        let value = [
            &[0, 3, 0, 1, b'c', 0, 0, 0, 3, 0, 1, b'r', 0xFF, 0xFF][..],
            &[0, 0, 0, 0, 0, 0, 0, 5, 0x77, 0, 0, 0],
        ]
        .concat();
        assert_eq!(
            Record::decode(&[0, 2, 0, 1, b'g'], Some(&value)),
            Err(Malformed::Truncated)
        );
    }

    #[test]
    fn versions_not_known_and_texts_too_long_are_refused() {
        assert_eq!(
            Record::decode(OFFSET_KEY, Some(&[0, 5])),
            Err(Malformed::Version(5))
        );
        let record = Record::GroupMetadata {
            group: "x".repeat(40_000).into(),
            value: None,
        };
        assert_eq!(record.encode(), Err(TooLong(40_000)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(
            key in proptest::collection::vec(any::<u8>(), 0..40),
            value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80)),
            kind in 0_u8..18,
            version in 0_u8..6,
        ) {
            let mut key = key;
            if key.len() >= 2 { key[0] = 0; key[1] = kind; }
            let mut value = value;
            if let Some(value) = value.as_mut().filter(|value| value.len() >= 2) { value[0] = 0; value[1] = version; }
            let _ = Record::decode(&key, value.as_deref());
        }
    }
}
