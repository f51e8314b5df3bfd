//! The records of `__share_group_state`, byte for byte as Kafka lays its snapshots out.
//!
//! Each says all that is stored of one share partition, so that the topic can be compacted; Kafka's also has records that
//! say only what has changed. A key is kind 0, group, topic and partition; a value is of version 0. A record without a
//! value forgets the share partition.

use bytes::Bytes;
use flotilla_protocol::wire::Schema;
use flotilla_protocol::{DecodeError, EncodeError, LeaderEpoch, Message, Offset, Reader, Str, Writer};

use super::delivery::RecordState;
use super::state::{Batch, SharePartition, Stored};
use crate::group::Text;

const KIND_SNAPSHOT: i16 = 0;
const VERSION: i16 = 0;
const FINISHED: u32 = 0;
const NOT_KNOWN: i32 = -1;

const KEY: Schema = Schema {
    name: "ShareSnapshotKey",
    versions: (0, 0),
    flexible_from: i16::MAX,
};
const VALUE: Schema = Schema {
    name: "ShareSnapshotValue",
    versions: (0, 0),
    flexible_from: 0,
};

/// One record of `__share_group_state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Of what.
    pub of: SharePartition,
    /// What is stored; none: forgotten.
    pub value: Option<Snapshot>,
}

/// What is stored, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Goes up with each record of the share partition.
    pub epoch: i32,
    /// When it was first stored, in ms since 1970.
    pub created_ms: i64,
    /// When this record was written, in ms since 1970.
    pub written_ms: i64,
    /// What.
    pub stored: Stored,
}

/// A record that is not what its key says.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Malformed {
    /// Key or value are not laid out as their version says.
    #[error(transparent)]
    Layout(#[from] DecodeError),
    /// The state of a batch is none that can be stored.
    #[error("delivery state {0} cannot be stored")]
    State(i8),
    /// Batches that are not in order, or empty.
    #[error("the batch that begins at offset {0} ends before it, or does not lie behind the one before")]
    Order(Offset),
}

impl Record {
    /// Key and value as they go into a batch.
    ///
    /// # Errors
    /// The group's id is longer than its length can say.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let mut key = Writer::new();
        key.i16(KIND_SNAPSHOT);
        key.begin(&KEY, VERSION)?;
        key.str(&Str::copy_from(&self.of.group))?;
        key.uuid(self.of.topic_id);
        key.i32(self.of.partition);
        let value = self.value.as_ref().map(encode_value).transpose()?;
        Ok((key.into_bytes(), value))
    }

    /// Reads a record back. `None`: a kind that this broker does not know.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, Malformed> {
        let mut key = Reader::new(Bytes::copy_from_slice(key));
        if key.i16()? != KIND_SNAPSHOT {
            return Ok(None);
        }
        key.begin(&KEY, VERSION)?;
        let of = SharePartition {
            group: Text::from(key.str()?.as_str()),
            topic_id: key.uuid()?,
            partition: key.i32()?,
        };
        let value = value
            .map(|value| decode_value(Bytes::copy_from_slice(value)))
            .transpose()?;
        Ok(Some(Self { of, value }))
    }
}

fn encode_value(value: &Snapshot) -> Result<Bytes, EncodeError> {
    let mut out = Writer::new();
    out.i16(VERSION);
    out.begin(&VALUE, VERSION)?;
    out.i32(value.epoch);
    out.i32(value.stored.state_epoch);
    out.i32(value.stored.leader_epoch.0);
    out.i64(value.stored.start.0);
    out.i64(value.created_ms);
    out.i64(value.written_ms);
    let batches: Vec<Wire> = value.stored.batches.iter().map(Wire::of).collect();
    out.array(&batches, VERSION)?;
    if value.stored.finished == NOT_KNOWN {
        out.no_tags();
    } else {
        out.tag_count(1);
        let mut tag = out.tag();
        tag.i32(value.stored.finished);
        out.put_tag(FINISHED, tag)?;
    }
    Ok(out.into_bytes())
}

fn decode_value(value: Bytes) -> Result<Snapshot, Malformed> {
    let mut r = Reader::new(value);
    let version = r.i16()?;
    r.begin(&VALUE, version)?;
    let epoch = r.i32()?;
    let state_epoch = r.i32()?;
    let leader_epoch = LeaderEpoch(r.i32()?);
    let start = Offset(r.i64()?);
    let created_ms = r.i64()?;
    let written_ms = r.i64()?;
    let batches: Vec<Wire> = r.array(version)?;
    let mut finished = NOT_KNOWN;
    for _ in 0..r.tag_count()? {
        let tag = r.tag()?;
        if tag.number == FINISHED {
            finished = r.i32()?;
            r.end_tag(&tag)?;
        } else {
            r.skip_tag(&tag);
        }
    }
    let batches = batches
        .iter()
        .map(Wire::batch)
        .collect::<Result<Vec<Batch>, _>>()?;
    let mut next = start;
    for batch in &batches {
        if batch.first < next || batch.last < batch.first {
            return Err(Malformed::Order(batch.first));
        }
        next = batch.last.plus(1);
    }
    Ok(Snapshot {
        epoch,
        created_ms,
        written_ms,
        stored: Stored {
            state_epoch,
            leader_epoch,
            start,
            finished,
            batches,
        },
    })
}

/// A batch as it lies in a record.
struct Wire {
    first: i64,
    last: i64,
    state: i8,
    delivery_count: i16,
}

impl Wire {
    fn of(batch: &Batch) -> Self {
        Self {
            first: batch.first.0,
            last: batch.last.0,
            state: batch.state.code(),
            delivery_count: batch.delivery_count,
        }
    }

    fn batch(&self) -> Result<Batch, Malformed> {
        Ok(Batch {
            first: Offset(self.first),
            last: Offset(self.last),
            state: RecordState::stored(self.state).ok_or(Malformed::State(self.state))?,
            delivery_count: self.delivery_count,
        })
    }
}

impl Message for Wire {
    const SIZE_MIN: usize = 20;

    fn decode(r: &mut Reader, _version: i16) -> Result<Self, DecodeError> {
        let this = Self {
            first: r.i64()?,
            last: r.i64()?,
            state: r.i8()?,
            delivery_count: r.i16()?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, _version: i16) -> Result<(), EncodeError> {
        w.i64(self.first);
        w.i64(self.last);
        w.i8(self.state);
        w.i16(self.delivery_count);
        w.no_tags();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flotilla_protocol::Uuid;

    fn record() -> Record {
        Record {
            of: SharePartition {
                group: "g".into(),
                topic_id: Uuid([0xAB; 16]),
                partition: 5,
            },
            value: Some(Snapshot {
                epoch: 1,
                created_ms: 2,
                written_ms: 3,
                stored: Stored {
                    state_epoch: 4,
                    leader_epoch: LeaderEpoch(5),
                    start: Offset(6),
                    finished: 1,
                    batches: vec![Batch {
                        first: Offset(8),
                        last: Offset(9),
                        state: RecordState::Archived,
                        delivery_count: 7,
                    }],
                },
            }),
        }
    }

    #[test]
    fn snapshot_is_written_as_kafka_lays_it_out() {
        let mut key = vec![0, 0, 0, 1, b'g'];
        key.extend([0xAB; 16]);
        key.extend([0, 0, 0, 5]);
        let value = [
            &[0, 0][..],
            &[0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 5],
            &[0, 0, 0, 0, 0, 0, 0, 6],
            &[0, 0, 0, 0, 0, 0, 0, 2],
            &[0, 0, 0, 0, 0, 0, 0, 3],
            &[2, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9, 4, 0, 7, 0],
            &[1, 0, 4, 0, 0, 0, 1],
        ]
        .concat();
        let (written_key, written) = record().encode().expect("a short id");
        assert_eq!(
            (&written_key[..], written.as_deref()),
            (&key[..], Some(&value[..]))
        );
        assert_eq!(Record::decode(&key, Some(&value)), Ok(Some(record())));
        let gone = Record {
            value: None,
            ..record()
        };
        assert_eq!(Record::decode(&key, None), Ok(Some(gone)));
    }

    #[test]
    fn kinds_and_states_that_are_not_known_are_not_taken() {
        let (key, value) = record().encode().expect("a short id");
        let mut update = key.to_vec();
        update[1] = 1;
        assert_eq!(Record::decode(&update, value.as_deref()), Ok(None));
        let mut value = value.expect("a value").to_vec();
        let state = value.len() - 11;
        value[state] = 1;
        assert_eq!(Record::decode(&key, Some(&value)), Err(Malformed::State(1)));
        value[state] = 4;
        value[state - 1] = 7;
        assert_eq!(
            Record::decode(&key, Some(&value)),
            Err(Malformed::Order(Offset(8)))
        );
        for end in 0..value.len() {
            assert!(Record::decode(&key, Some(&value[..end])).is_err(), "{end} bytes");
        }
    }
}
