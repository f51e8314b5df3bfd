//! What the fleet knows of itself: brokers, topics, partitions, settings, users and rules.
//!
//! Every broker holds an [`Image`], the fold of all records that the quorum committed. The controller alone decides:
//! [`decide`] answers a request with records. Records are facts and carry whole states, so that folding
//! them again, or from a snapshot, gives the same image everywhere. Nothing here reads a clock, draws a random number
//! or touches a disk: those come as arguments.

mod broker;
mod decide;
mod delta;
mod feature;
mod fold;
mod image;
mod plan;
mod topic;
mod tree;

pub use broker::Broker;
pub use decide::{
    Context, Decision, FLOTILLA_VERSION, PARTITIONS_PER_REQUEST_MAX, PRODUCER_ID_BLOCK, acl_matches, decide,
    is_internal,
};
pub use delta::{
    BrokerChange, ConfigChange, PartitionChange, TopicChange, changed_brokers, changed_cares,
    changed_configs, changed_partitions, changed_principals, changed_topics, changed_users,
};
pub use feature::{FEATURES, Feature, GROUP_FEATURE, SHARE_FEATURE, STREAMS_FEATURE};
pub use fold::UnknownRecord;
pub use image::{Image, QuotaKey};
pub use plan::{Batch, Blocked, Outage, Plan, outage, plan_restart};
pub use topic::{Partition, Topic};
pub use tree::{Node, tree};

/// The records, and the parts of them that the image keeps as they are.
pub use flotilla_control::proto::metadata::{
    Acl, BrokerPlacement, DelegationToken, Endpoint, Owner, Record, ResourceType, ScramCredential,
    ScramMechanism, SecurityProtocol, User, record::Record as Fact,
};

use fold::quota_fact;

/// The only name that a rule about the cluster can have.
const CLUSTER_RESOURCE: &str = "kafka-cluster";
