//! Who leads what, for those whose work hangs on it: coordinators.

use super::PartitionKey;
use flotilla_protocol::{LeaderEpoch, PartitionIndex, Uuid};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What this broker has become to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads, in this epoch.
    Leader(LeaderEpoch),
    /// It stores the partition, but does not lead (any more).
    Follower,
    /// It does not store the partition any more.
    Gone,
}

/// A change of role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadershipChange {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's id.
    pub topic_id: Uuid,
    /// Which partition.
    pub partition: PartitionIndex,
    /// The new role.
    pub role: Role,
}

/// Those who follow the roles in a topic. What they are told is as little as the metadata changes, so that their queues
/// have no limit of their own.
#[derive(Debug, Default)]
pub(super) struct Followers {
    all: Vec<(String, mpsc::UnboundedSender<LeadershipChange>)>,
}

impl Followers {
    pub(super) fn add(
        &mut self,
        topic: &str,
        current: impl IntoIterator<Item = LeadershipChange>,
    ) -> mpsc::UnboundedReceiver<LeadershipChange> {
        let (sender, receiver) = mpsc::unbounded_channel();
        for change in current {
            // The receiver is here.
            let _ = sender.send(change);
        }
        self.all.push((topic.to_owned(), sender));
        receiver
    }

    pub(super) fn tell(&mut self, topic: &Arc<str>, key: PartitionKey, role: Role) {
        self.all.retain(|(of, sender)| {
            of.as_str() != &**topic
                || sender
                    .send(LeadershipChange {
                        topic: topic.clone(),
                        topic_id: key.topic_id,
                        partition: key.partition,
                        role,
                    })
                    .is_ok()
        });
    }
}
