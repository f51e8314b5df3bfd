//! The seam between a broker's coordination and the other brokers': gRPC on one side, a simulated network on the other.

use std::pin::Pin;

use flotilla_control::proto::coordination::{ObserveRequest, ObserveResponse, RaftMessage};
use flotilla_protocol::BrokerId;
use futures::Stream;
use futures::future::BoxFuture;

use super::client::Remote;
use super::voter::{VoterId, VoterNode};

/// Raft's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Entries, or none as a heartbeat.
    AppendEntries,
    /// A request for a vote.
    Vote,
    /// A part of a snapshot.
    InstallSnapshot,
}

/// What a voter sends to one that observes it, until it goes; an error says why it went.
pub type Observed = Pin<Box<dyn Stream<Item = Result<ObserveResponse, String>> + Send>>;

/// Carries what members of the quorum and those that observe them say to each other. The errors say what went wrong.
pub trait Carrier: Remote {
    /// Hands a message of Raft to a voter, and brings its answer. `node` is what the quorum remembers of it.
    fn raft<'a>(
        &'a self,
        call: Call,
        to: VoterId,
        node: &'a VoterNode,
        message: RaftMessage,
    ) -> BoxFuture<'a, Result<RaftMessage, String>>;

    /// Asks a voter for the metadata and its changes.
    fn observe(&self, voter: BrokerId, request: ObserveRequest) -> BoxFuture<'_, Result<Observed, String>>;
}
