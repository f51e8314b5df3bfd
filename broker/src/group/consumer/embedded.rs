//! What members of the classic protocol tell each other under protocol type `consumer` (Kafka's `ConsumerProtocol`): read and written by the
//! coordinator where such members are in a group of the new protocol (KIP-848).
//!
//! Everything begins with its version. One that is newer than those known here is read as the newest known: what is added
//! stands behind.

use bytes::{Buf, Bytes};
use flotilla_protocol::messages::consumer_protocol_assignment::TopicPartition;
use flotilla_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use flotilla_protocol::wire::{DecodeError, EncodeError, Message, Reader, Str, Writer};

use super::assigned::Partitions;
use super::topics::Seen;
use crate::group::Text;

const NEWEST: i16 = 3;

/// Bytes that are not what a member of protocol type `consumer` says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it ends before its version does")]
    Truncated,
    #[error("it is of version {0}")]
    Version(i16),
    #[error("{0}")]
    Fields(#[from] DecodeError),
}

/// What a member subscribes to, and what it holds.
#[derive(Debug, PartialEq)]
pub(super) struct Subscription {
    pub(super) topics: Vec<Text>,
    pub(super) rack_id: Option<Text>,
    /// Members that give everything up before they join again hold nothing here.
    pub(super) owned: Partitions,
}

impl Subscription {
    /// Topics that are gone meanwhile have no id, and what is held of them is left out.
    pub(super) fn decode(bytes: &Bytes, seen: &Seen) -> Result<Self, Malformed> {
        let told: ConsumerProtocolSubscription = decode(bytes)?;
        let owned = told
            .owned_partitions
            .iter()
            .map(|owned| (&owned.topic, &owned.partitions));
        Ok(Self {
            topics: told.topics.iter().map(|topic| Text::from(&**topic)).collect(),
            rack_id: told.rack_id.as_deref().map(Text::from),
            owned: by_id(owned, seen),
        })
    }
}

/// What a member was assigned, and whether its assignor says more than that.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) partitions: Partitions,
    pub(super) has_user_data: bool,
}

impl Assignment {
    /// A member that has not been assigned anything yet has no bytes.
    pub(super) fn decode(bytes: &Bytes, seen: &Seen) -> Result<Self, Malformed> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let told: ConsumerProtocolAssignment = decode(bytes)?;
        let assigned = told
            .assigned_partitions
            .iter()
            .map(|assigned| (&assigned.topic, &assigned.partitions));
        Ok(Self {
            partitions: by_id(assigned, seen),
            has_user_data: told.user_data.is_some_and(|data| !data.is_empty()),
        })
    }
}

/// The version in which a member speaks.
pub(super) fn version(bytes: &Bytes) -> Result<i16, Malformed> {
    let mut input = &bytes[..];
    match input.try_get_i16() {
        Err(_) => Err(Malformed::Truncated),
        Ok(version) if version < 0 => Err(Malformed::Version(version)),
        Ok(version) => Ok(version.min(NEWEST)),
    }
}

/// An assignment as a member that speaks in that version reads it.
pub(super) fn assignment(partitions: &Partitions, version: i16, seen: &Seen) -> Result<Bytes, EncodeError> {
    let named = partitions.topics().filter_map(|(id, partitions)| {
        Some(TopicPartition {
            topic: Str::copy_from(&seen.image.topic_by_id(id)?.name),
            partitions: partitions.iter().copied().collect(),
        })
    });
    let told = ConsumerProtocolAssignment {
        assigned_partitions: named.collect(),
        user_data: None,
    };
    let mut out = Writer::new();
    out.i16(version);
    told.encode(&mut out, version)?;
    Ok(out.into_bytes())
}

fn decode<T: Message>(bytes: &Bytes) -> Result<T, Malformed> {
    let version = version(bytes)?;
    Ok(T::decode(&mut Reader::new(bytes.slice(2..)), version)?)
}

fn by_id<'a>(named: impl Iterator<Item = (&'a Str, &'a Vec<i32>)>, seen: &Seen) -> Partitions {
    named
        .filter_map(|(topic, partitions)| Some((seen.topic(topic)?.0, partitions)))
        .flat_map(|(id, partitions)| partitions.iter().map(move |partition| (id, *partition)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flotilla_control::proto::metadata::{self as proto, record};
    use flotilla_protocol::Uuid;
    use proptest::prelude::*;

    use super::*;
    use crate::metadata::Image;

    const ORDERS: Uuid = Uuid([1; 16]);

    fn seen() -> Seen {
        let topic = proto::Topic {
            name: "orders".to_owned(),
            topic_id: ORDERS.0.to_vec(),
            owner: None,
        };
        let topic = proto::Record {
            record: Some(record::Record::Topic(topic)),
        };
        let mut image = Image::default();
        image.fold_all(&[topic]).expect("a known record");
        Seen {
            index: 1,
            image: Arc::new(image),
        }
    }

    const ORDERS_NAME: &[u8] = &[0, 6, b'o', b'r', b'd', b'e', b'r', b's'];

    fn bytes(parts: &[&[u8]]) -> Bytes {
        parts.concat().into()
    }

    fn subscription(version: u8) -> Bytes {
        let topics = [&[0, version, 0, 0, 0, 2][..], ORDERS_NAME, &[0, 1, b'x']];
        let no_user_data = [0xFF; 4];
        let owned = [&[0, 0, 0, 1][..], ORDERS_NAME, &[0, 0, 0, 1, 0, 0, 0, 3]];
        let (generation, rack) = ([0, 0, 0, 7], [0, 1, b'r']);
        let mut parts = [&topics[..], &[&no_user_data]].concat();
        if version >= 1 {
            parts.extend(owned);
        }
        if version >= 2 {
            parts.push(&generation);
        }
        if version >= 3 {
            parts.push(&rack);
        }
        // What a later version adds.
        if version >= 4 {
            parts.push(&[9, 9]);
        }
        bytes(&parts)
    }

    #[test]
    fn a_subscription_is_read_in_every_version_and_in_those_to_come() {
        for version in 0..=4 {
            let owned = match version {
                0 => Partitions::default(),
                _ => [(ORDERS, 3)].into_iter().collect(),
            };
            let expected = Subscription {
                topics: vec!["orders".into(), "x".into()],
                rack_id: (version >= 3).then(|| "r".into()),
                owned,
            };
            assert_eq!(
                Subscription::decode(&subscription(version), &seen()),
                Ok(expected),
                "version {version}"
            );
        }
    }

    #[test]
    fn an_assignment_is_written_as_members_read_it() {
        let partitions: Partitions = [(ORDERS, 1), (ORDERS, 2), (Uuid([2; 16]), 0)]
            .into_iter()
            .collect();
        let written = assignment(&partitions, 2, &seen()).expect("short");
        let expected = bytes(&[
            &[0, 2, 0, 0, 0, 1],
            ORDERS_NAME,
            &[0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2],
            &[0xFF; 4],
        ]);
        assert_eq!(written, expected, "a topic that is gone is left out");
        let read = Assignment {
            partitions: [(ORDERS, 1), (ORDERS, 2)].into_iter().collect(),
            has_user_data: false,
        };
        assert_eq!(Assignment::decode(&written, &seen()), Ok(read));
        assert_eq!(
            Assignment::decode(&Bytes::new(), &seen()),
            Ok(Assignment::default())
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(input in proptest::collection::vec(any::<u8>(), 0..80), version in 0_u8..5) {
            let mut input = input;
            if input.len() >= 2 { input[0] = 0; input[1] = version; }
            let input = Bytes::from(input);
            let _ = Subscription::decode(&input, &seen());
            let _ = Assignment::decode(&input, &seen());
        }
    }
}
