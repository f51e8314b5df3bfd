//! From a Cluster to its brokers: who they are, and the configuration file of each.

mod config;
mod identity;
mod member;

pub use config::{Address, Place, broker_config, listeners, settings};
pub use identity::Identity;
pub use member::{Member, members};
