//! All that operator and brokers must agree on: the gRPC contract, the metadata records, the typed table of settings,
//! the broker's configuration file, and `placement` (pure: which broker gets which replica).

pub mod config;
pub mod placement;
pub mod settings;
pub mod tls;
mod token;

pub use flotilla_protocol::{BrokerId, Uuid};

/// The gRPC contract, generated from `proto/`.
#[allow(missing_docs, clippy::all, clippy::unwrap_used, unused_qualifications)]
pub mod proto {
    /// The metadata records, and the requests from which the controller decides them.
    pub mod metadata {
        pub mod v1 {
            tonic::include_proto!("flotilla.metadata.v1");
        }
        pub use v1::*;
    }
    /// Between brokers.
    pub mod coordination {
        pub mod v1 {
            tonic::include_proto!("flotilla.coordination.v1");
        }
        pub use v1::*;
    }
    /// For the operator and the command line.
    pub mod fleet {
        pub mod v1 {
            tonic::include_proto!("flotilla.fleet.v1");
        }
        pub use v1::*;
    }
}
