//! What share groups are asked and what they answer, free of any API version.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::Uuid;

use super::partitions::{Named, StatePartitions};
use super::record::Subscription;
use crate::group::consumer::{Partitions, Refused, Seen};
use crate::group::{Error, Text};

/// With this epoch a member leaves.
pub const LEAVE: i32 = -1;

/// Longest id of a member, in bytes: keys of records have 16-bit lengths.
const MEMBER_ID_BYTES_MAX: usize = 32_000;

/// ShareGroupHeartbeat. What is none has not changed since the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The group.
    pub group: Text,
    /// The member's id, which it has drawn itself.
    pub member_id: Text,
    /// The member's epoch; 0: it joins, -1: it leaves.
    pub epoch: i32,
    /// `client.rack`.
    pub rack_id: Option<Text>,
    /// Names of topics that it subscribes to.
    pub topics: Option<BTreeSet<Text>>,
    /// The client's id.
    pub client_id: Text,
    /// The client's address, as it is to be recorded.
    pub client_host: Text,
    /// The topics that there are.
    pub seen: Seen,
}

/// The answer to a [`Heartbeat`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// The member's id.
    pub member_id: Text,
    /// The epoch that its next heartbeat has to carry.
    pub epoch: i32,
    /// When it has to send that at the latest, in ms.
    pub heartbeat_interval_ms: i32,
    /// What it is to have; none: as before.
    pub assignment: Option<Partitions>,
    /// Of which partitions whoever asked has to have something stored, with this state epoch, before it asks once more.
    pub to_initialize: BTreeMap<Uuid, Named>,
    /// The state epoch of what is to be stored.
    pub state_epoch: i32,
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// The topic's id.
    pub topic_id: Uuid,
    /// The partition's index.
    pub partition: i32,
}

/// What is stored of a group's deliveries, as far as the group knows, and whether that may be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The group's epoch: the state epoch of what is stored next.
    pub epoch: i32,
    /// Whether it has no members.
    pub is_empty: bool,
    /// Of which partitions something is stored.
    pub partitions: StatePartitions,
    /// Whether anything was ever stored, be it deleted or not.
    pub has_read: bool,
}

/// A group, as ShareGroupDescribe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The group.
    pub group: Text,
    /// Where it stands, as Kafka prints it.
    pub state: &'static str,
    /// The group's epoch.
    pub epoch: i32,
    /// The epoch that partitions were assigned for.
    pub target_epoch: i32,
    /// The members.
    pub members: Vec<DescribedMember>,
}

/// A member, as ShareGroupDescribe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Text,
    /// Its epoch.
    pub epoch: i32,
    /// What it told of itself.
    pub subscription: Subscription,
    /// What it has.
    pub assigned: Partitions,
}

impl Heartbeat {
    /// Checks what can be checked without the group, in Kafka's order.
    pub(in crate::group) fn check(&self) -> Result<(), Refused> {
        let invalid = |message: &str| Err(Refused::because(Error::InvalidRequest, message.to_owned()));
        if self.member_id.trim().is_empty() {
            return invalid("a heartbeat needs a member id");
        }
        if self.group.trim().is_empty() {
            return invalid("a heartbeat needs a group id");
        }
        if self.rack_id.as_deref().is_some_and(|rack| rack.trim().is_empty()) {
            return invalid("a rack, where there is one, must not be empty");
        }
        if self.member_id.len() > MEMBER_ID_BYTES_MAX {
            return invalid("the member id is longer than 32000 bytes");
        }
        if self.epoch == 0 && self.topics.as_ref().is_none_or(BTreeSet::is_empty) {
            return invalid("who joins subscribes to topics by their names");
        }
        if self.epoch < LEAVE {
            return invalid("there is no such member epoch: -1 leaves, 0 joins, larger ones go on");
        }
        Ok(())
    }
}
