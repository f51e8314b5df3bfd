//! How Raft's messages and entries look on the wire and on disk: protobuf, with the same form for an entry in both places.
//! What is rare and small (memberships, answers) is JSON inside, since openraft describes those itself.

use bytes::Bytes;
use flotilla_protocol::{BrokerId, Uuid};
use openraft::{CommittedLeaderId, EntryPayload, LogId, SnapshotMeta, Vote};
use prost::Message;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::voter::{VoterId, VoterNode};

/// The types that our Raft is made of.
pub mod types {
    openraft::declare_raft_types!(
        /// Entries are opaque bytes to Raft: an encoded `metadata.Entry`.
        pub Raft:
            D = super::Decided,
            R = super::Outcome,
            NodeId = super::VoterId,
            Node = super::VoterNode,
            SnapshotData = std::io::Cursor<Vec<u8>>,
            AsyncRuntime = super::super::runtime::Runtime,
    );
}
pub use types::Raft as TypeConfig;

/// An entry of our Raft log.
pub type Entry = openraft::Entry<TypeConfig>;

/// An encoded `metadata.Entry`. It stays encoded, so that a voter keeps and passes on what a newer one decided, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided(pub Bytes);

/// openraft asks for it; our own messages carry the bytes as they are.
impl Serialize for Decided {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Decided {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|bytes| Self(bytes.into()))
    }
}

/// What applying an entry came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Everyone skips it: it was decided in another term than it was appended in.
    pub skipped: bool,
}

/// What is not a message or an entry of ours.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not protobuf of the form expected.
    #[error(transparent)]
    Protobuf(#[from] prost::DecodeError),
    /// Not JSON of the form expected.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A part that must be there is not, or has the wrong size.
    #[error("{0} is missing or has the wrong size")]
    Part(&'static str),
}

#[derive(Clone, PartialEq, Message)]
struct VoterPart {
    #[prost(sint32, tag = "1")]
    broker: i32,
    #[prost(bytes = "vec", tag = "2")]
    directory: Vec<u8>,
}

impl From<VoterId> for VoterPart {
    fn from(voter: VoterId) -> Self {
        Self {
            broker: voter.broker.0,
            directory: voter.directory.0.to_vec(),
        }
    }
}

impl VoterPart {
    fn read(part: Option<Self>) -> Result<VoterId, Malformed> {
        let part = part.ok_or(Malformed::Part("a voter"))?;
        let directory = Uuid::from_slice(&part.directory).ok_or(Malformed::Part("a directory id"))?;
        Ok(VoterId::new(BrokerId(part.broker), directory))
    }
}

#[derive(Clone, PartialEq, Message)]
struct LogIdPart {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(message, optional, tag = "2")]
    leader: Option<VoterPart>,
    #[prost(uint64, tag = "3")]
    index: u64,
}

impl From<LogId<VoterId>> for LogIdPart {
    fn from(id: LogId<VoterId>) -> Self {
        Self {
            term: id.leader_id.term,
            leader: Some(id.leader_id.node_id.into()),
            index: id.index,
        }
    }
}

impl LogIdPart {
    fn read(self) -> Result<LogId<VoterId>, Malformed> {
        let leader = CommittedLeaderId::new(self.term, VoterPart::read(self.leader)?);
        Ok(LogId::new(leader, self.index))
    }
}

#[derive(Clone, PartialEq, Message)]
struct VotePart {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(message, optional, tag = "2")]
    candidate: Option<VoterPart>,
    #[prost(bool, tag = "3")]
    committed: bool,
}

impl From<Vote<VoterId>> for VotePart {
    fn from(vote: Vote<VoterId>) -> Self {
        Self {
            term: vote.leader_id.term,
            candidate: Some(vote.leader_id.node_id.into()),
            committed: vote.committed,
        }
    }
}

impl VotePart {
    fn read(part: Option<Self>) -> Result<Vote<VoterId>, Malformed> {
        let part = part.ok_or(Malformed::Part("a vote"))?;
        let candidate = VoterPart::read(part.candidate)?;
        let vote = if part.committed {
            Vote::new_committed
        } else {
            Vote::new
        };
        Ok(vote(part.term, candidate))
    }
}

#[derive(Clone, PartialEq, Message)]
struct EntryPart {
    #[prost(message, optional, tag = "1")]
    id: Option<LogIdPart>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    decided: Option<Bytes>,
    #[prost(bytes = "vec", optional, tag = "3")]
    membership: Option<Vec<u8>>,
}

impl EntryPart {
    fn write(entry: &Entry) -> Result<Self, Malformed> {
        let (decided, membership) = match &entry.payload {
            EntryPayload::Blank => (None, None),
            EntryPayload::Normal(decided) => (Some(decided.0.clone()), None),
            EntryPayload::Membership(membership) => (None, Some(serde_json::to_vec(membership)?)),
        };
        Ok(Self {
            id: Some(entry.log_id.into()),
            decided,
            membership,
        })
    }

    fn read(self) -> Result<Entry, Malformed> {
        let log_id = self.id.ok_or(Malformed::Part("a log id"))?.read()?;
        let payload = match (self.decided, self.membership) {
            (None, None) => EntryPayload::Blank,
            (Some(decided), None) => EntryPayload::Normal(Decided(decided)),
            (None, Some(membership)) => EntryPayload::Membership(serde_json::from_slice(&membership)?),
            (Some(_), Some(_)) => return Err(Malformed::Part("an entry of one kind")),
        };
        Ok(Entry { log_id, payload })
    }
}

/// Encodes an entry.
///
/// # Errors
/// When its membership cannot be written as JSON.
pub fn encode_entry(entry: &Entry) -> Result<Vec<u8>, Malformed> {
    Ok(EntryPart::write(entry)?.encode_to_vec())
}

/// Decodes an entry.
///
/// # Errors
/// When the bytes are not one.
pub fn decode_entry(bytes: Bytes) -> Result<Entry, Malformed> {
    EntryPart::decode(bytes)?.read()
}

/// Encodes a vote.
#[must_use]
pub fn encode_vote(vote: Vote<VoterId>) -> Vec<u8> {
    VotePart::from(vote).encode_to_vec()
}

/// Decodes a vote.
///
/// # Errors
/// When the bytes are not one.
pub fn decode_vote(bytes: Bytes) -> Result<Vote<VoterId>, Malformed> {
    VotePart::read(Some(VotePart::decode(bytes)?))
}

/// Encodes a log id.
#[must_use]
pub fn encode_log_id(id: LogId<VoterId>) -> Vec<u8> {
    LogIdPart::from(id).encode_to_vec()
}

/// Decodes a log id.
///
/// # Errors
/// When the bytes are not one.
pub fn decode_log_id(bytes: Bytes) -> Result<LogId<VoterId>, Malformed> {
    LogIdPart::decode(bytes)?.read()
}

/// openraft's AppendEntries.
pub type AppendEntries = openraft::raft::AppendEntriesRequest<TypeConfig>;

#[derive(Clone, PartialEq, Message)]
struct AppendEntriesPart {
    #[prost(message, optional, tag = "1")]
    vote: Option<VotePart>,
    #[prost(message, optional, tag = "2")]
    previous: Option<LogIdPart>,
    #[prost(message, repeated, tag = "3")]
    entries: Vec<EntryPart>,
    #[prost(message, optional, tag = "4")]
    committed: Option<LogIdPart>,
}

/// Encodes entries on their way to another voter.
///
/// # Errors
/// When a membership among them cannot be written as JSON.
pub fn encode_append(request: &AppendEntries) -> Result<Vec<u8>, Malformed> {
    let part = AppendEntriesPart {
        vote: Some(request.vote.into()),
        previous: request.prev_log_id.map(Into::into),
        entries: request
            .entries
            .iter()
            .map(EntryPart::write)
            .collect::<Result<_, _>>()?,
        committed: request.leader_commit.map(Into::into),
    };
    Ok(part.encode_to_vec())
}

/// Decodes entries that came from another voter.
///
/// # Errors
/// When the bytes are not such a message.
pub fn decode_append(bytes: Bytes) -> Result<AppendEntries, Malformed> {
    let part = AppendEntriesPart::decode(bytes)?;
    Ok(AppendEntries {
        vote: VotePart::read(part.vote)?,
        prev_log_id: part.previous.map(LogIdPart::read).transpose()?,
        entries: part
            .entries
            .into_iter()
            .map(EntryPart::read)
            .collect::<Result<_, _>>()?,
        leader_commit: part.committed.map(LogIdPart::read).transpose()?,
    })
}

/// openraft's InstallSnapshot: one part of a snapshot.
pub type InstallSnapshot = openraft::raft::InstallSnapshotRequest<TypeConfig>;
/// What is said of a snapshot.
pub type Meta = SnapshotMeta<VoterId, VoterNode>;

#[derive(Clone, PartialEq, Message)]
struct InstallSnapshotPart {
    #[prost(message, optional, tag = "1")]
    vote: Option<VotePart>,
    #[prost(bytes = "vec", tag = "2")]
    meta: Vec<u8>,
    #[prost(uint64, tag = "3")]
    offset: u64,
    #[prost(bytes = "vec", tag = "4")]
    data: Vec<u8>,
    #[prost(bool, tag = "5")]
    done: bool,
}

/// Encodes a part of a snapshot on its way to another voter.
///
/// # Errors
/// When its membership cannot be written as JSON.
pub fn encode_snapshot_part(request: InstallSnapshot) -> Result<Vec<u8>, Malformed> {
    let part = InstallSnapshotPart {
        vote: Some(request.vote.into()),
        meta: serde_json::to_vec(&request.meta)?,
        offset: request.offset,
        data: request.data,
        done: request.done,
    };
    Ok(part.encode_to_vec())
}

/// Decodes a part of a snapshot that came from another voter.
///
/// # Errors
/// When the bytes are not such a message.
pub fn decode_snapshot_part(bytes: Bytes) -> Result<InstallSnapshot, Malformed> {
    let part = InstallSnapshotPart::decode(bytes)?;
    Ok(InstallSnapshot {
        vote: VotePart::read(part.vote)?,
        meta: serde_json::from_slice(&part.meta)?,
        offset: part.offset,
        data: part.data,
        done: part.done,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::Membership;

    use super::*;

    fn voter(broker: i32) -> VoterId {
        VoterId::new(BrokerId(broker), Uuid([broker as u8; 16]))
    }

    fn id(term: u64, index: u64) -> LogId<VoterId> {
        LogId::new(CommittedLeaderId::new(term, voter(2)), index)
    }

    #[test]
    fn raft_messages_read_back_as_they_were_written() {
        let nodes = BTreeMap::from([(
            voter(1),
            VoterNode {
                address: "one:1".to_owned(),
            },
        )]);
        let membership = Membership::new(vec![BTreeSet::from([voter(1)])], nodes);
        let entries = vec![
            Entry {
                log_id: LogId::default(),
                payload: EntryPayload::Membership(membership),
            },
            Entry {
                log_id: id(1, 1),
                payload: EntryPayload::Blank,
            },
            Entry {
                log_id: id(1, 2),
                payload: EntryPayload::Normal(Decided(Bytes::from_static(b"x"))),
            },
            Entry {
                log_id: id(1, 3),
                payload: EntryPayload::Normal(Decided(Bytes::new())),
            },
        ];
        let request = AppendEntries {
            vote: Vote::new_committed(4, voter(2)),
            prev_log_id: None,
            entries: entries.clone(),
            leader_commit: Some(id(1, 1)),
        };
        let read = decode_append(encode_append(&request).unwrap().into()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{request:?}"));
        assert_eq!(read.entries, entries);
        let vote = Vote::new(5, voter(1));
        assert_eq!(decode_vote(encode_vote(vote).into()).unwrap(), vote);
        assert_eq!(decode_log_id(encode_log_id(id(7, 8)).into()).unwrap(), id(7, 8));
        let part = InstallSnapshot {
            vote,
            meta: Meta {
                last_log_id: Some(id(3, 4)),
                snapshot_id: "s".to_owned(),
                ..Meta::default()
            },
            offset: 5,
            data: vec![1, 2],
            done: true,
        };
        assert_eq!(
            decode_snapshot_part(encode_snapshot_part(part.clone()).unwrap().into()).unwrap(),
            part
        );
    }

    #[test]
    fn bytes_that_are_no_raft_message_are_refused() {
        for bytes in [&b""[..], b"\xff", b"\x0a\x02\x08\x01"] {
            assert!(decode_append(Bytes::copy_from_slice(bytes)).is_err());
            assert!(decode_entry(Bytes::copy_from_slice(bytes)).is_err());
            assert!(decode_snapshot_part(Bytes::copy_from_slice(bytes)).is_err());
        }
    }
}
