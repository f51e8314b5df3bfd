//! What the fleet knows of itself: brokers, topics, partitions, settings, users and rules.
//!
//! Every broker holds an [`Image`], the fold of all records that the quorum committed. The controller alone decides:
//! `decide(image, request)` answers a request with records. Records are facts and carry whole states, so that folding
//! them again, or from a snapshot, gives the same image everywhere. Nothing here reads a clock, draws a random number
//! or touches a disk: those come as arguments.

mod broker;
mod delta;
mod fold;
mod image;
mod topic;

pub use broker::Broker;
pub use delta::{
    BrokerChange, ConfigChange, PartitionChange, TopicChange, changed_brokers, changed_configs,
    changed_partitions, changed_topics,
};
pub use fold::UnknownRecord;
pub use image::{Image, QuotaKey};
pub use topic::{Partition, Topic};

/// The records, and the parts of them that the image keeps as they are.
pub use flotilla_control::proto::metadata::{
    Acl, BrokerPlacement, Endpoint, Owner, Record, ResourceType, ScramCredential, ScramMechanism,
    SecurityProtocol, User, record::Record as Fact,
};
