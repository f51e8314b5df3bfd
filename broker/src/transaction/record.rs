//! The records of `__transaction_state`, byte for byte as Kafka lays them out, so that its tools can read them.
//!
//! A key is version 0 and the transactional id. A value is written as version 1 (flexible), which carries what KIP-890
//! needs in tagged fields; version 0 is read too. A record without a value forgets the id.

use std::collections::BTreeMap;

use bytes::Bytes;
use flotilla_protocol::wire::Schema;
use flotilla_protocol::{DecodeError, EncodeError, Message, ProducerEpoch, ProducerId, Reader, Str, Writer};

use super::metadata::{NO_EPOCH, NO_PRODUCER, Status, Transaction, Version};
use crate::group::Text;

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 1;
const PREVIOUS_PRODUCER_ID: u32 = 0;
const NEXT_PRODUCER_ID: u32 = 1;
const CLIENT_VERSION: u32 = 2;

const KEY: Schema = Schema {
    name: "TransactionLogKey",
    versions: (0, 0),
    flexible_from: i16::MAX,
};
const VALUE: Schema = Schema {
    name: "TransactionLogValue",
    versions: (0, VALUE_VERSION),
    flexible_from: 1,
};
const PARTITIONS: Schema = Schema {
    name: "TransactionLogValue",
    versions: (0, VALUE_VERSION),
    flexible_from: 1,
};

/// One record of `__transaction_state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The transactional id.
    pub id: Text,
    /// Its state; none: forgotten.
    pub value: Option<Transaction>,
}

/// A record that is not what its key says.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Malformed {
    /// Key or value are not laid out as their version says.
    #[error(transparent)]
    Layout(#[from] DecodeError),
    /// The state is none that Kafka has.
    #[error("state {0} of a transaction is not known")]
    Status(i8),
}

impl Record {
    /// Key and value as they go into a batch.
    ///
    /// # Errors
    /// A text is longer than its length can say.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let mut key = Writer::new();
        key.i16(KEY_VERSION);
        key.begin(&KEY, KEY_VERSION)?;
        key.str(&Str::copy_from(&self.id))?;
        let value = self.value.as_ref().map(|value| {
            let mut out = Writer::new();
            out.i16(VALUE_VERSION);
            Value(value).encode(&mut out)?;
            Ok(out.into_bytes())
        });
        Ok((key.into_bytes(), value.transpose()?))
    }

    /// Reads a record back. `None`: a kind that this broker does not know.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, Malformed> {
        let mut key = Reader::new(Bytes::copy_from_slice(key));
        if key.i16()? != KEY_VERSION {
            return Ok(None);
        }
        key.begin(&KEY, KEY_VERSION)?;
        let id = Text::from(key.str()?.as_str());
        let value = value
            .map(|value| decode(Bytes::copy_from_slice(value)))
            .transpose()?;
        Ok(Some(Self { id, value }))
    }
}

struct Value<'a>(&'a Transaction);

impl Value<'_> {
    fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let it = self.0;
        w.begin(&VALUE, VALUE_VERSION)?;
        w.i64(it.producer_id.0);
        w.i16(it.epoch.0);
        w.i32(it.timeout_ms);
        w.i8(it.status.code());
        let mut topics: BTreeMap<&Text, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &it.partitions {
            topics.entry(topic).or_default().push(*partition);
        }
        let topics = topics.into_iter().map(|(topic, ids)| Topic {
            name: Str::copy_from(topic),
            ids,
        });
        let topics: Option<Vec<Topic>> = (it.status != Status::Empty).then(|| topics.collect());
        w.nullable_array(topics.as_deref(), VALUE_VERSION)?;
        w.i64(it.update_ms);
        w.i64(it.start_ms);
        let mut tags: Vec<(u32, Writer)> = Vec::new();
        for (number, id) in [
            (PREVIOUS_PRODUCER_ID, it.previous_producer_id),
            (NEXT_PRODUCER_ID, it.next_producer_id),
        ] {
            if id != NO_PRODUCER {
                let mut tag = w.tag();
                tag.i64(id.0);
                tags.push((number, tag));
            }
        }
        if it.version != Version::V0 {
            let mut tag = w.tag();
            tag.i16(it.version.code());
            tags.push((CLIENT_VERSION, tag));
        }
        w.tag_count(tags.len() as u32);
        for (number, tag) in tags {
            w.put_tag(number, tag)?;
        }
        Ok(())
    }
}

fn decode(value: Bytes) -> Result<Transaction, Malformed> {
    let mut r = Reader::new(value);
    let version = r.i16()?;
    r.begin(&VALUE, version)?;
    let mut it = Transaction::new(ProducerId(r.i64()?), 0);
    it.epoch = ProducerEpoch(r.i16()?);
    it.timeout_ms = r.i32()?;
    let status = r.i8()?;
    it.status = Status::from_code(status).ok_or(Malformed::Status(status))?;
    for topic in r.nullable_array::<Topic>(version)?.unwrap_or_default() {
        let name = Text::from(topic.name.as_str());
        it.partitions
            .extend(topic.ids.into_iter().map(|id| (name.clone(), id)));
    }
    it.update_ms = r.i64()?;
    it.start_ms = r.i64()?;
    for _ in 0..r.tag_count()? {
        let tag = r.tag()?;
        match tag.number {
            PREVIOUS_PRODUCER_ID => it.previous_producer_id = ProducerId(r.i64()?),
            NEXT_PRODUCER_ID => it.next_producer_id = ProducerId(r.i64()?),
            CLIENT_VERSION => it.version = Version::from_code(r.i16()?),
            _ => {
                r.skip_tag(&tag);
                continue;
            }
        }
        r.end_tag(&tag)?;
    }
    // The log does not say the epoch before. Where each end raises it, it is the one before for all but a coordinator's
    // abort, after which a client that asks once more hears of an abort too.
    let has_ended = !matches!(it.status, Status::Empty | Status::Ongoing);
    it.last_epoch = if it.version.bumps() && it.epoch.0 > 0 && has_ended {
        ProducerEpoch(it.epoch.0 - 1)
    } else {
        NO_EPOCH
    };
    Ok(it)
}

#[derive(Clone, Debug, PartialEq)]
struct Topic {
    name: Str,
    ids: Vec<i32>,
}

impl Message for Topic {
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        r.begin(&PARTITIONS, version)?;
        let this = Self {
            name: r.str()?,
            ids: r.array(version)?,
        };
        r.skip_tags()?;
        Ok(this)
    }

    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(&PARTITIONS, version)?;
        w.str(&self.name)?;
        w.array(&self.ids, version)?;
        w.no_tags();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ongoing() -> Transaction {
        Transaction {
            timeout_ms: 60_000,
            status: Status::Ongoing,
            partitions: [("to".into(), 1), ("to".into(), 2)].into(),
            start_ms: 5,
            epoch: ProducerEpoch(3),
            ..Transaction::new(ProducerId(9), 6)
        }
    }

    #[test]
    fn open_transaction_is_written_as_key_0_and_value_1() {
        let record = Record {
            id: "t".into(),
            value: Some(ongoing()),
        };
        let (key, value) = record.encode().unwrap();
        assert_eq!(&key[..], [0, 0, 0, 1, b't']);
        let expected = [
            &[0, 1][..],
            &9_i64.to_be_bytes(),
            &3_i16.to_be_bytes(),
            &60_000_i32.to_be_bytes(),
            &[1, 2, 3, b't', b'o', 3, 0, 0, 0, 1, 0, 0, 0, 2, 0],
            &6_i64.to_be_bytes(),
            &5_i64.to_be_bytes(),
            &[0],
        ]
        .concat();
        assert_eq!(value.as_deref(), Some(&expected[..]));
        assert_eq!(Record::decode(&key, value.as_deref()), Ok(Some(record)));
    }

    #[test]
    fn every_state_reads_back_with_what_is_in_the_tags() {
        for status in Status::ALL {
            let value = Transaction {
                status,
                previous_producer_id: ProducerId(7),
                next_producer_id: ProducerId(11),
                version: Version::V2,
                partitions: if status == Status::Empty {
                    Default::default()
                } else {
                    ongoing().partitions
                },
                last_epoch: if matches!(status, Status::Empty | Status::Ongoing) {
                    NO_EPOCH
                } else {
                    ProducerEpoch(2)
                },
                ..ongoing()
            };
            let record = Record {
                id: "t".into(),
                value: Some(value),
            };
            let (key, value) = record.encode().unwrap();
            assert_eq!(
                Record::decode(&key, value.as_deref()),
                Ok(Some(record)),
                "{status:?}"
            );
        }
    }

    #[test]
    fn value_of_an_older_broker_is_read_and_what_is_broken_is_refused() {
        let value = [
            &[0, 0][..],
            &9_i64.to_be_bytes(),
            &3_i16.to_be_bytes(),
            &60_000_i32.to_be_bytes(),
            &[
                1, 0, 0, 0, 1, 0, 2, b't', b'o', 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2,
            ],
            &6_i64.to_be_bytes(),
            &5_i64.to_be_bytes(),
        ]
        .concat();
        let key = [0, 0, 0, 1, b't'];
        let record = Record::decode(&key, Some(&value)).unwrap().unwrap();
        assert_eq!(record.value, Some(ongoing()));
        for end in 0..value.len() {
            assert!(Record::decode(&key, Some(&value[..end])).is_err(), "{end}");
        }
        let mut strange = value.clone();
        strange[16] = 9;
        assert_eq!(Record::decode(&key, Some(&strange)), Err(Malformed::Status(9)));
        assert_eq!(Record::decode(&[0, 1, 0, 1, b't'], None), Ok(None));
        let forgotten = Record {
            id: "t".into(),
            value: None,
        };
        assert_eq!(Record::decode(&key, None), Ok(Some(forgotten)));
    }
}
