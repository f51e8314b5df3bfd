//! From a Cluster to its brokers: who they are, the configuration file of each, and on Kubernetes all the objects that they
//! run in.

pub mod certificate;
mod config;
mod config_map;
mod coordinators;
mod desired;
mod disruption;
mod dynamic;
mod exposure;
mod identity;
mod ingress;
mod member;
mod names;
mod network_policy;
mod observe;
mod overlay;
mod pending;
mod pod;
mod quantity;
mod revision;
pub mod rollout;
pub mod scale;
mod schedule;
mod service;
mod site;
mod standing;
mod statefulset;
mod status;
#[cfg(test)]
mod testing;
mod validate;
mod volume;

pub use config::{Address, Place, broker_config, listeners, settings};
pub use config_map::{config_map, identity_config_map, read_identity, with_data};
pub use coordinators::{Voter, next_voter, stale_voter};
pub use desired::{Desired, desired};
pub use disruption::disruption_budget;
pub use dynamic::{Dynamic, THROTTLE_ANNOTATION, THROTTLE_DEFAULT, dynamic, is_dynamic, throttle};
pub use exposure::{Node, Reach, ServiceReach, bootstrap_servers, certificate_hosts, placement};
pub use identity::Identity;
pub use ingress::ingresses;
pub use member::{Member, members};
pub use names::{CLUSTER_LABEL, MANAGER, Names, POOL_LABEL, labels, selector};
pub use network_policy::network_policy;
pub use observe::{pods, pool_counts, reach, trouble};
pub use pending::{
    PENDING_BYTES_MAX, Pending, PendingKind, pending, pending_config_map, pending_fits, pending_patch,
};
pub use pod::CONTAINER;
pub use revision::{REVISION_ANNOTATION, Revision};
pub use schedule::{Maintenance, Schedule, maintenance};
pub use service::services;
pub use site::{ADMIN_PORT, CONTROL_PORT, REPLICATION_PORT, Site};
pub use standing::{Work, silence, standing};
pub use statefulset::stateful_set;
pub use status::{PoolObserved, StatusInput, status};
pub use validate::validate;
pub use volume::{Growth, claim_templates, claims_differ, data_dirs, growth, volumes};

#[cfg(feature = "kubernetes")]
pub(crate) use member::pools;

use member::members_at;
