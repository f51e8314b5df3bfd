//! The records of `__consumer_offsets`, byte for byte as Kafka lays them out, so that its tools can read them.
//!
//! A key begins with the number of its kind: 0 and 1 an offset, 2 a classic group, and those of groups of the newer protocols,
//! which `consumer`, `share` and `streams` know. A value begins with its version.
//! A record without a value deletes what its key names. Written are the versions that Kafka 4.3 writes: offsets as
//! version 4 (flexible, with the topic id), or 1 where the client gave a retention time of its own; groups as
//! version 3.

pub(super) mod flexible;

use bytes::{BufMut, Bytes, BytesMut};
use flotilla_protocol::Uuid;

use super::{Text, consumer, share, streams};

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
    /// A part of a streams group (KIP-1071).
    Streams {
        /// The group.
        group: Text,
        /// Which part, and what it is now.
        record: streams::Record,
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
            Self::Streams { group, record } => return record.encode(group),
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
            kind => Self::decode_assigned(kind, &mut key, value)?,
        })
    }

    /// A part of a group of one of the protocols in which the coordinator assigns.
    fn decode_assigned(
        kind: i16,
        key: &mut Reader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Option<Self>, Malformed> {
        if let Some((group, record)) = consumer::Record::decode(kind, key, value)? {
            return Ok(Some(Self::Consumer { group, record }));
        }
        if let Some((group, record)) = share::Record::decode(kind, key, value)? {
            return Ok(Some(Self::Share { group, record }));
        }
        let streams = streams::Record::decode(kind, key, value)?;
        Ok(streams.map(|(group, record)| Self::Streams { group, record }))
    }

    /// Which group the record belongs to.
    #[must_use]
    pub fn group(&self) -> &Text {
        match self {
            Self::OffsetCommit { group, .. }
            | Self::GroupMetadata { group, .. }
            | Self::Consumer { group, .. }
            | Self::Share { group, .. }
            | Self::Streams { group, .. } => group,
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
mod tests;
