//! All messages in one table, whatever their types.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use flotilla_protocol::{ApiKey, DecodeError, Message, Reader, Writer, for_each_api, messages};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};

pub struct Case {
    pub name: &'static str,
    pub versions: RangeInclusive<i16>,
    flexible_from: Option<i16>,
    pub read: fn(Bytes, i16) -> Result<usize, DecodeError>,
    pub rewrite: fn(Bytes, i16) -> Result<Bytes, DecodeError>,
    pub theirs: Option<Theirs>,
}

/// The second opinion: the crate `kafka-protocol`.
pub struct Theirs {
    pub versions: RangeInclusive<i16>,
    pub rewrite: fn(Bytes, i16) -> Bytes,
}

impl Case {
    /// The versions in which a message changes the most: the oldest, the first flexible one, the newest.
    pub fn landmarks(&self) -> BTreeSet<i16> {
        let all = [
            Some(*self.versions.start()),
            self.flexible_from,
            Some(*self.versions.end()),
        ];
        all.into_iter()
            .flatten()
            .filter(|version| self.versions.contains(version))
            .collect()
    }

    pub fn is_flexible(&self, version: i16) -> bool {
        self.flexible_from.is_some_and(|from| version >= from)
    }
}

/// How many bytes the message has that the bytes begin with.
fn read<M: Message>(bytes: Bytes, version: i16) -> Result<usize, DecodeError> {
    let mut r = Reader::new(bytes);
    M::decode(&mut r, version)?;
    Ok(r.position())
}

/// Reads a message and writes it; what was written must read as the same message again, to the last byte.
fn rewrite<M: Message + PartialEq + std::fmt::Debug>(
    bytes: Bytes,
    version: i16,
) -> Result<Bytes, DecodeError> {
    let message = M::decode(&mut Reader::new(bytes), version)?;
    let mut w = Writer::new();
    message
        .encode(&mut w, version)
        .expect("a message that was read can be written in the same version");
    let length = w.len();
    let written = w.into_bytes();
    assert_eq!(written.len(), length);
    let mut r = Reader::new(written.clone());
    let again = M::decode(&mut r, version).expect("a message that was written can be read");
    // What is not a number equals nothing, but is printed as it is.
    assert!(
        again == message || format!("{again:?}") == format!("{message:?}"),
        "{again:?}\n{message:?}"
    );
    assert_eq!(r.finish(), Ok(()));
    Ok(written)
}

fn their_rewrite<M: Decodable + Encodable>(mut bytes: Bytes, version: i16) -> Bytes {
    let message = M::decode(&mut bytes, version).expect("they read what we wrote");
    assert!(bytes.is_empty(), "they leave bytes behind");
    let mut written = BytesMut::new();
    message
        .encode(&mut written, version)
        .expect("they write what they read");
    written.freeze()
}

fn theirs<M: Decodable + Encodable + TheirMessage>() -> Option<Theirs> {
    Some(Theirs {
        versions: M::VERSIONS.min..=M::VERSIONS.max,
        rewrite: their_rewrite::<M>,
    })
}

macro_rules! theirs_of {
    // They lag behind Kafka by a few releases.
    (StreamsGroupDescribeRequest) => {
        None
    };
    (StreamsGroupDescribeResponse) => {
        None
    };
    (StreamsGroupHeartbeatRequest) => {
        None
    };
    (StreamsGroupHeartbeatResponse) => {
        None
    };
    ($message:ident) => {
        theirs::<theirs::$message>()
    };
}

macro_rules! table {
    ($($api:ident $request:ident $response:ident,)*) => {
        vec![$(table!(@case $api $request), table!(@case $api $response),)*]
    };
    (@case $api:ident $message:ident) => {
        Case {
            name: stringify!($message),
            versions: ApiKey::$api.valid_versions(),
            flexible_from: ApiKey::$api.flexible_from(),
            read: read::<messages::$message>,
            rewrite: rewrite::<messages::$message>,
            theirs: theirs_of!($message),
        }
    };
}

pub fn all() -> Vec<Case> {
    let mut cases = for_each_api!(table);
    cases.push(Case {
        name: "ConsumerProtocolAssignment",
        versions: 0..=3,
        flexible_from: None,
        read: read::<messages::ConsumerProtocolAssignment>,
        rewrite: rewrite::<messages::ConsumerProtocolAssignment>,
        theirs: theirs::<theirs::ConsumerProtocolAssignment>(),
    });
    cases.push(Case {
        name: "ConsumerProtocolSubscription",
        versions: 0..=3,
        flexible_from: None,
        read: read::<messages::ConsumerProtocolSubscription>,
        rewrite: rewrite::<messages::ConsumerProtocolSubscription>,
        theirs: theirs::<theirs::ConsumerProtocolSubscription>(),
    });
    cases
}
