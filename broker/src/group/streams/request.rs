//! What streams groups are asked and what they answer, free of any API version.

use std::collections::BTreeMap;

use super::assignment::Assignment;
use super::configure::Creatable;
use super::endpoints::EndpointPartitions;
use super::group::State;
use super::notice::Notice;
use super::record::{Endpoint, Told};
use super::topology::Topology;
use crate::group::consumer::{Refused, Seen};
use crate::group::{Error, Text};

/// With this epoch a member leaves.
pub const LEAVE: i32 = -1;
/// With this epoch a static member would leave that will be back. Kafka 4.3 has none.
const LEAVE_FOR_NOW: i32 = -2;

/// Longest id of a member, in bytes: keys of records have 16-bit lengths.
const MEMBER_ID_BYTES_MAX: usize = 32_000;

/// StreamsGroupHeartbeat. What is none has not changed since the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The group.
    pub group: Text,
    /// The member's id, which it draws itself.
    pub member_id: Text,
    /// The member's epoch; 0: it joins, below: it leaves.
    pub epoch: i32,
    /// The epoch of the endpoints that the member has been told; -1: it has been told none.
    pub endpoint_epoch: i32,
    /// `group.instance.id`; Kafka 4.3 takes none.
    pub instance_id: Option<Text>,
    /// `client.rack`.
    pub rack_id: Option<Text>,
    /// How long it may take to give tasks up, in ms; -1: not changed.
    pub rebalance_timeout_ms: i32,
    /// The application's topology, from who joins.
    pub topology: Option<Topology>,
    /// What it holds.
    pub owned: Owned,
    /// The process that it is a thread of.
    pub process_id: Option<Text>,
    /// Where other instances find its state.
    pub endpoint: Option<Endpoint>,
    /// What tells instances apart that should not fail together.
    pub client_tags: Option<BTreeMap<Text, Text>>,
    /// Whether it says how far it is with its tasks; Kafka 4.3 does not take that.
    pub tells_offsets: bool,
    /// Whether all members are to end.
    pub shuts_down: bool,
    /// The client's id.
    pub client_id: Text,
    /// The client's address, as it is to be recorded.
    pub client_host: Text,
    /// The topics that there are.
    pub seen: Seen,
}

/// What a member says that it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Owned {
    /// Nothing new.
    #[default]
    Unsaid,
    /// In some roles it says so, in others it does not, which is not allowed.
    Partly(Assignment),
    /// This.
    All(Assignment),
}

impl Owned {
    /// All of it, if it was said.
    #[must_use]
    pub fn all(&self) -> Option<&Assignment> {
        match self {
            Self::All(tasks) => Some(tasks),
            Self::Unsaid | Self::Partly(_) => None,
        }
    }

    fn said(&self) -> Option<&Assignment> {
        match self {
            Self::All(tasks) | Self::Partly(tasks) => Some(tasks),
            Self::Unsaid => None,
        }
    }
}

/// The answer to a [`Heartbeat`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// The member's id.
    pub member_id: Text,
    /// The epoch that its next heartbeat has to carry.
    pub epoch: i32,
    /// When it has to send that at the latest, in ms; 0: it leaves.
    pub heartbeat_interval_ms: i32,
    /// What it has to know of the group.
    pub notices: Vec<Notice>,
    /// What it is to hold; none: as before.
    pub assignment: Option<Assignment>,
    /// The epoch of what is said of endpoints.
    pub endpoint_epoch: i32,
    /// Who has which state; none: as before.
    pub endpoints: Option<Vec<EndpointPartitions>>,
    /// Topics that whoever asked is to create, if its client may.
    pub to_create: Vec<Creatable>,
}

/// A group, as StreamsGroupDescribe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The group.
    pub group: Text,
    /// Where it stands.
    pub state: State,
    /// The group's epoch.
    pub epoch: i32,
    /// The epoch that tasks were assigned for.
    pub target_epoch: i32,
    /// The topology as its members tell it, but that internal topics say how many partitions they have if all of them are there and
    /// fit. None: the group's records do not say.
    pub topology: Option<Topology>,
    /// The members.
    pub members: Vec<DescribedMember>,
}

/// A member, as StreamsGroupDescribe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Text,
    /// Its epoch.
    pub epoch: i32,
    /// What it told of itself.
    pub told: Told,
    /// What it holds.
    pub assigned: Assignment,
    /// What it is to have.
    pub target: Assignment,
}

impl Heartbeat {
    /// Checks what can be checked without the group, in Kafka's order.
    pub(in crate::group) fn check(&self) -> Result<(), Refused> {
        self.check_supported()?;
        let is_blank = |text: &str| text.trim().is_empty();
        if is_blank(&self.member_id) {
            return invalid("a heartbeat needs a member id");
        }
        if is_blank(&self.group) {
            return invalid("a heartbeat needs a group id");
        }
        if self.rack_id.as_deref().is_some_and(is_blank) {
            return invalid("a rack, where there is one, must not be empty");
        }
        if self.member_id.len() > MEMBER_ID_BYTES_MAX {
            return invalid("the member id is longer than 32000 bytes");
        }
        match self.epoch {
            0 => self.check_joining()?,
            LEAVE_FOR_NOW => return invalid("only a member with an instance id leaves for a while"),
            epoch if epoch < LEAVE_FOR_NOW => {
                return invalid("there is no such member epoch: -1 leaves, 0 joins, larger ones go on");
            }
            _ if self.topology.is_some() => return invalid("only who joins says its topology"),
            _ => {}
        }
        if matches!(self.owned, Owned::Partly(_)) {
            return invalid("who says its tasks in one role says them in all of them");
        }
        Ok(())
    }

    /// What is in the protocol, and not in Kafka 4.3.
    fn check_supported(&self) -> Result<(), Refused> {
        if self.instance_id.is_some() {
            return invalid("members of streams groups cannot have an instance id");
        }
        if self.tells_offsets {
            return invalid("a heartbeat cannot say how far tasks are");
        }
        if self.owned.said().is_some_and(|tasks| !tasks.warmup.is_empty()) {
            return invalid("there are no warm-up tasks");
        }
        let parts = self
            .topology
            .iter()
            .flat_map(|topology| topology.subtopologies.values());
        if parts.into_iter().any(|part| !part.source_topic_regex.is_empty()) {
            return invalid("topics cannot be read by a regular expression: name them");
        }
        Ok(())
    }

    fn check_joining(&self) -> Result<(), Refused> {
        if self.rebalance_timeout_ms == -1 {
            return invalid("who joins says its rebalance timeout");
        }
        if self.owned.said().is_some_and(|tasks| !tasks.is_empty()) {
            return invalid("who joins holds no tasks yet");
        }
        match &self.topology {
            None => invalid("who joins says its topology"),
            Some(topology) => topology.check(),
        }
    }

    pub(in crate::group) fn leaves(&self) -> bool {
        self.epoch == LEAVE
    }
}

fn invalid(message: &str) -> Result<(), Refused> {
    Err(Refused::because(Error::InvalidRequest, message.to_owned()))
}
