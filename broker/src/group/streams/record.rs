//! The records of streams groups, byte for byte as Kafka 4.3 lays them out.
//!
//! Keys of kind 17 and 19 to 23, all values flexible and of version 0. Kind 18 is of before Kafka 4.1, and nobody needs it.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::assignment::{Assignment, Held};
use super::layout::{
    put_current, put_group, put_target, put_told, put_topology, read_current, read_group, read_target,
    read_told, read_topology,
};
use super::member::MemberState;
use super::topology::Topology;
use crate::group::Text;
use crate::group::consumer::TargetEpoch;
use crate::group::record::flexible::{put_tagged_i64, read};
use crate::group::record::{Malformed, Reader, TooLong, put_string};

/// One record of a streams group; no value: what its key names is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The group's epoch, and what holds in it (kind 17).
    Group(Option<GroupEpoch>),
    /// What a member told of itself (kind 19).
    Member {
        /// Its id.
        member: Text,
        /// What it told.
        value: Option<Told>,
    },
    /// The epoch in which tasks were assigned (kind 20).
    TargetEpoch(Option<TargetEpoch>),
    /// What a member is to have (kind 21).
    Target {
        /// Its id.
        member: Text,
        /// The tasks.
        value: Option<Assignment>,
    },
    /// What a member holds (kind 22).
    Current {
        /// Its id.
        member: Text,
        /// What it holds.
        value: Option<Current>,
    },
    /// The application's topology (kind 23).
    Topology(Option<Topology>),
}

/// The epoch of a group, and what holds in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupEpoch {
    /// Goes up with each change that may call for another assignment.
    pub epoch: i32,
    /// Of the topics of the topology; 0: none.
    pub metadata_hash: i64,
    /// The epoch of the topology whose topics are all there and fit; -1: they do not.
    pub validated_topology_epoch: i32,
    /// The settings that tasks are assigned by.
    pub assignment_configs: BTreeMap<Text, Text>,
}

impl Default for GroupEpoch {
    fn default() -> Self {
        Self {
            epoch: 0,
            metadata_hash: 0,
            validated_topology_epoch: NOT_VALIDATED,
            assignment_configs: BTreeMap::new(),
        }
    }
}

/// What a member told of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `group.instance.id`; Kafka 4.3 takes none.
    pub instance_id: Option<Text>,
    /// `client.rack`.
    pub rack_id: Option<Text>,
    /// The client's id.
    pub client_id: Text,
    /// The client's address, as Java prints one: `/127.0.0.1`.
    pub client_host: Text,
    /// How long it may take to give tasks up, in ms; -1: not told.
    pub rebalance_timeout_ms: i32,
    /// The epoch of the topology that it has; -1: not told.
    pub topology_epoch: i32,
    /// The process that it is a thread of.
    pub process_id: Text,
    /// Where other instances find its state (`application.server`).
    pub endpoint: Option<Endpoint>,
    /// What tells instances apart that should not fail together.
    pub client_tags: BTreeMap<Text, Text>,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            instance_id: None,
            rack_id: None,
            client_id: "".into(),
            client_host: "".into(),
            rebalance_timeout_ms: -1,
            topology_epoch: -1,
            process_id: "".into(),
            endpoint: None,
            client_tags: BTreeMap::new(),
        }
    }
}

/// Where an instance of the application answers questions about its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name or address.
    pub host: Text,
    /// Its port.
    pub port: u16,
}

/// What a member holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// The epoch that its heartbeats must carry.
    pub epoch: i32,
    /// The one before, for a member that did not get our answer.
    pub previous_epoch: i32,
    /// How far it is.
    pub state: MemberState,
    /// What it holds.
    pub assigned: Held,
    /// What it was told to give up.
    pub revoking: Held,
}

impl Default for Current {
    fn default() -> Self {
        Self {
            epoch: 0,
            previous_epoch: 0,
            state: MemberState::Stable,
            assigned: Held::default(),
            revoking: Held::default(),
        }
    }
}

const KIND_GROUP: i16 = 17;
const KIND_MEMBER: i16 = 19;
const KIND_TARGET_EPOCH: i16 = 20;
const KIND_TARGET: i16 = 21;
const KIND_CURRENT: i16 = 22;
const KIND_TOPOLOGY: i16 = 23;
const VALUE_VERSION: i16 = 0;
/// What a validated topology epoch is where there is none.
pub(super) const NOT_VALIDATED: i32 = -1;

impl Record {
    pub(super) fn is_tombstone(&self) -> bool {
        match self {
            Self::Group(value) => value.is_none(),
            Self::Member { value, .. } => value.is_none(),
            Self::TargetEpoch(value) => value.is_none(),
            Self::Target { value, .. } => value.is_none(),
            Self::Current { value, .. } => value.is_none(),
            Self::Topology(value) => value.is_none(),
        }
    }

    pub(in crate::group) fn encode(&self, group: &str) -> Result<(Bytes, Option<Bytes>), TooLong> {
        let mut key = BytesMut::new();
        let (kind, of) = match self {
            Self::Group(_) => (KIND_GROUP, None),
            Self::Member { member, .. } => (KIND_MEMBER, Some(member)),
            Self::TargetEpoch(_) => (KIND_TARGET_EPOCH, None),
            Self::Target { member, .. } => (KIND_TARGET, Some(member)),
            Self::Current { member, .. } => (KIND_CURRENT, Some(member)),
            Self::Topology(_) => (KIND_TOPOLOGY, None),
        };
        key.put_i16(kind);
        put_string(&mut key, group)?;
        if let Some(of) = of {
            put_string(&mut key, of)?;
        }
        if self.is_tombstone() {
            return Ok((key.freeze(), None));
        }
        let mut out = BytesMut::new();
        out.put_i16(VALUE_VERSION);
        match self {
            Self::Group(value) => value.iter().for_each(|value| put_group(&mut out, value)),
            Self::Member { value, .. } => value.iter().for_each(|value| put_told(&mut out, value)),
            Self::TargetEpoch(value) => value.iter().for_each(|value| {
                out.put_i32(value.epoch);
                put_tagged_i64(&mut out, value.timestamp_ms);
            }),
            Self::Target { value, .. } => value.iter().for_each(|value| put_target(&mut out, value)),
            Self::Current { value, .. } => value.iter().for_each(|value| put_current(&mut out, value)),
            Self::Topology(value) => value.iter().for_each(|value| put_topology(&mut out, value)),
        }
        Ok((key.freeze(), Some(out.freeze())))
    }

    /// Reads what follows the kind in a key, and the value. `None`: a kind that streams groups do not have.
    pub(in crate::group) fn decode(
        kind: i16,
        key: &mut Reader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Option<(Text, Self)>, Malformed> {
        if kind != KIND_GROUP && !(KIND_MEMBER..=KIND_TOPOLOGY).contains(&kind) {
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
            KIND_GROUP => Self::Group(read(value, read_group)?),
            KIND_MEMBER => Self::Member {
                member: key.string()?,
                value: read(value, read_told)?,
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
            _ => Self::Topology(read(value, read_topology)?),
        };
        Ok(Some((group, record)))
    }
}
