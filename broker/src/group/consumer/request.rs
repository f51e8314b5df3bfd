//! What groups of the new protocol are asked and what they answer, free of any API version.

use std::collections::{BTreeMap, BTreeSet};

use super::assigned::Partitions;
use super::group::State;
use super::record::{Classic, Subscription};
use super::topics::Seen;
use super::{Config, Refused};
use crate::group::{Error, Text};

/// With this epoch a member leaves.
pub const LEAVE: i32 = -1;
/// With this epoch a static member leaves that will be back.
pub const LEAVE_FOR_NOW: i32 = -2;

/// Longest id of a member, in bytes: keys of records have 16-bit lengths.
const MEMBER_ID_BYTES_MAX: usize = 32_000;

/// ConsumerGroupHeartbeat. What is none has not changed since the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The group.
    pub group: Text,
    /// The member's id; before version 1 empty: it has none yet.
    pub member_id: Text,
    /// The member's epoch; 0: it joins, below: it leaves.
    pub epoch: i32,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Text>,
    /// `client.rack`.
    pub rack_id: Option<Text>,
    /// How long it may take to give partitions up, in ms; -1: not changed.
    pub rebalance_timeout_ms: i32,
    /// Names of topics that it subscribes to.
    pub topics: Option<BTreeSet<Text>>,
    /// A regular expression that it subscribes by.
    pub regex: Option<Text>,
    /// The assignor that it wants.
    pub assignor: Option<Text>,
    /// What it holds.
    pub owned: Option<Partitions>,
    /// Of a member that speaks the classic protocol: its JoinGroup is as good as a heartbeat that tells all.
    pub classic: Option<Classic>,
    /// The client's id.
    pub client_id: Text,
    /// The client's address, as it is to be recorded.
    pub client_host: Text,
    /// The id that the member is given, should it need one. A random UUID.
    pub fresh_id: Text,
    /// Whether the client has to draw its id itself (version 1).
    pub draws_own_id: bool,
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
    /// What it is to hold; none: as before.
    pub assignment: Option<Partitions>,
    /// Regular expressions that whoever asked is to look up, and to report in a [`Resolution`].
    pub to_resolve: BTreeSet<Text>,
}

/// What regular expressions of a group matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The group.
    pub group: Text,
    /// Each expression with the topics that it matched.
    pub topics: BTreeMap<Text, BTreeSet<Text>>,
    /// What was searched.
    pub seen: Seen,
}

/// A group, as ConsumerGroupDescribe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The group.
    pub group: Text,
    /// Where it stands.
    pub state: State,
    /// The group's epoch.
    pub epoch: i32,
    /// The epoch that partitions were assigned for.
    pub target_epoch: i32,
    /// Who assigns.
    pub assignor: Text,
    /// The members.
    pub members: Vec<DescribedMember>,
}

/// A member, as ConsumerGroupDescribe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Text,
    /// Its epoch.
    pub epoch: i32,
    /// What it told of itself.
    pub subscription: Subscription,
    /// What it holds.
    pub assigned: Partitions,
    /// What it is to have.
    pub target: Partitions,
}

impl Heartbeat {
    /// Checks what can be checked without the group, in Kafka's order.
    pub(in crate::group) fn check(&self, config: &Config) -> Result<(), Refused> {
        let invalid = |message: &str| Err(Refused::because(Error::InvalidRequest, message.to_owned()));
        let is_blank = |text: &str| text.trim().is_empty();
        let is_blank_if_any = |text: &Option<Text>| text.as_deref().is_some_and(is_blank);
        let needs_id = self.draws_own_id || self.epoch > 0 || self.epoch == LEAVE;
        if needs_id && is_blank(&self.member_id) {
            return invalid("a heartbeat needs a member id");
        }
        if is_blank(&self.group) {
            return invalid("a heartbeat needs a group id");
        }
        if is_blank_if_any(&self.instance_id) {
            return invalid("an instance id, where there is one, must not be empty");
        }
        if is_blank_if_any(&self.rack_id) {
            return invalid("a rack, where there is one, must not be empty");
        }
        if self.member_id.len() > MEMBER_ID_BYTES_MAX {
            return invalid("the member id is longer than 32000 bytes");
        }
        if self.epoch == 0 {
            if self.rebalance_timeout_ms == -1 {
                return invalid("who joins says its rebalance timeout");
            }
            if self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
                return invalid("who joins holds no partitions yet");
            }
            if self.topics.is_none() && self.regex.is_none() {
                return invalid("who joins subscribes to topics, by names or by a regular expression");
            }
        } else if self.epoch == LEAVE_FOR_NOW {
            if self.instance_id.is_none() {
                return invalid("only a member with an instance id leaves for a while");
            }
        } else if self.epoch < LEAVE_FOR_NOW {
            return invalid("there is no such member epoch: -2 and -1 leave, 0 joins, larger ones go on");
        }
        if let Some(name) = &self.assignor
            && !config.assignors.iter().any(|assignor| *assignor.name() == **name)
        {
            let known: Vec<&str> = config.assignors.iter().map(|assignor| assignor.name()).collect();
            return Err(Refused::because(
                Error::UnsupportedAssignor,
                format!(
                    "there is no server-side assignor `{name}`: choose one of {}",
                    known.join(", ")
                ),
            ));
        }
        Ok(())
    }

    pub(in crate::group) fn leaves(&self) -> bool {
        self.epoch == LEAVE || self.epoch == LEAVE_FOR_NOW
    }

    /// Whether it says everything, as after a connection that broke: then all is answered.
    pub(super) fn is_full(&self) -> bool {
        self.rebalance_timeout_ms != -1
            && (self.topics.is_some() || self.regex.is_some())
            && self.owned.is_some()
    }
}
