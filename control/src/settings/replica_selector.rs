//! Which replica serves a consumer.

use super::value::Value;

/// How a leader finds the replica that a consumer is to fetch from (KIP-392). Kafka takes any class of Java's here; we know the one that comes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicaSelector {
    /// The leader serves all: what holds where nothing is set.
    #[default]
    Leader,
    /// `org.apache.kafka.common.replica.RackAwareReplicaSelector`: a replica of the consumer's rack, where there is one and the leader is not there.
    RackAware,
}

impl Value for ReplicaSelector {
    fn read(text: &str) -> Option<Self> {
        match text.trim() {
            "" => Some(Self::Leader),
            "org.apache.kafka.common.replica.RackAwareReplicaSelector" => Some(Self::RackAware),
            _ => None,
        }
    }
}
