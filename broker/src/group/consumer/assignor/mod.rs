//! The assignors of the broker: who is to read what. The same question always gets the same answer.

mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::collections::BTreeMap;
use std::sync::Arc;

use flotilla_protocol::Uuid;

use super::assigned::Partitions;
use crate::group::Text;

/// An assignor, by the name that `group.consumer.assignors` and clients give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// As even as can be, and then as much as before as can be.
    Uniform,
    /// Of each topic a range, so that equal partitions of several topics come together.
    Range,
}

/// What an assignor knows of a member.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberSpec {
    pub(super) instance_id: Option<Text>,
    /// The topics that it reads, and how many partitions each has.
    pub(super) topics: BTreeMap<Uuid, i32>,
    /// What it was to have until now.
    pub(super) before: Arc<Partitions>,
}

impl Assignor {
    /// The assignor of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// Gives each partition of each topic to one of those who read it. Every member is in the answer.
    pub(super) fn assign(self, members: &BTreeMap<Text, MemberSpec>) -> BTreeMap<Text, Partitions> {
        match self {
            Self::Uniform => uniform::assign(members),
            Self::Range => range::assign(members),
        }
    }
}
