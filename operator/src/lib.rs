//! What a fleet should look like: pure functions from the resources, and what is known of the fleet, to the brokers'
//! configurations, the objects in Kubernetes and the commands for the fleet. `flotilla up` calls them on one machine; the
//! controllers on Kubernetes, behind the feature `kubernetes`, call the same ones.

#[cfg(feature = "kubernetes")]
pub mod apply;
#[cfg(feature = "kubernetes")]
pub mod cache;
pub mod certificate;
pub mod cluster;
mod condition;
#[cfg(feature = "kubernetes")]
pub mod controllers;
pub mod fleet;
mod key;
#[cfg(feature = "kubernetes")]
pub mod lease;
#[cfg(feature = "kubernetes")]
pub mod metrics;
#[cfg(feature = "kubernetes")]
pub mod options;
#[cfg(feature = "kubernetes")]
pub mod probes;
mod problem;
#[cfg(test)]
mod testing;
pub mod topic;
pub mod user;

pub use condition::{Standing, conditions, paused};
pub use key::Key;
pub use problem::Problem;

use flotilla_control::proto::metadata::Owner;
use flotilla_crds::DeletionPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The namespace of a resource that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The namespace of a resource.
#[must_use]
pub fn namespace_of(metadata: &ObjectMeta) -> &str {
    metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
}

/// Who owns what a resource makes. Without Kubernetes there is no uid; namespace and name stand for it.
fn owner(metadata: &ObjectMeta, deletion_policy: DeletionPolicy) -> Owner {
    let (namespace, name) = (
        namespace_of(metadata),
        metadata.name.as_deref().unwrap_or_default(),
    );
    Owner {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: metadata
            .uid
            .clone()
            .unwrap_or_else(|| format!("{namespace}/{name}")),
        deletion_policy: match deletion_policy {
            DeletionPolicy::Delete => "Delete",
            DeletionPolicy::Retain => "Retain",
            DeletionPolicy::DeleteIfEmpty => "DeleteIfEmpty",
        }
        .to_owned(),
    }
}
