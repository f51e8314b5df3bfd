//! Client quotas (KIP-13, KIP-124, KIP-257, KIP-546, KIP-599): whom a quota binds, what was used of it, and how long a client has to wait.
//!
//! [`Table`] finds the quota of a client, [`Ledger`] counts what each one used. Time is an argument, in milliseconds of any clock that is not set back.

mod bucket;
mod ledger;
mod rate;
mod table;

pub use ledger::Ledger;
pub use rate::Windows;
pub use table::{Bound, Sharer, Table};

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Bytes per second that clients send with Produce.
    Produce,
    /// Bytes per second that consumers fetch.
    Fetch,
    /// The time that requests take, in percent of one thread.
    Request,
    /// Partitions per second that are created and deleted.
    Mutation,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Produce, Self::Fetch, Self::Request, Self::Mutation];

    /// Kafka's name of the quota.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Produce => "producer_byte_rate",
            Self::Fetch => "consumer_byte_rate",
            Self::Request => "request_percentage",
            Self::Mutation => "controller_mutation_rate",
        }
    }
}
