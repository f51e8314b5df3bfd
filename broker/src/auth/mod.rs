//! Who may come in, and who may do what: SCRAM, PLAIN and OAUTHBEARER exchanges, principals, access rules.
//!
//! Pure: nonces, salts and the access rules are arguments, so that each exchange can be replayed in a test.

pub mod acl;
mod authorizer;
pub mod oauth;
pub mod plain;
mod principal;
pub mod scram;
pub mod token;

pub use acl::{Operation, PatternType, PermissionType, ResourceType};
pub use authorizer::{Authorizer, Subject};
pub use principal::Principal;

/// The one name of the resource [`ResourceType::Cluster`].
pub const CLUSTER_RESOURCE: &str = "kafka-cluster";
