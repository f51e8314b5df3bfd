//! Raft's network, as openraft asks for it, over the Coordination service.

use std::time::Duration;

use flotilla_control::proto::coordination::RaftMessage;
use openraft::error::{Fatal, InstallSnapshotError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{AppendEntriesResponse, InstallSnapshotResponse, VoteRequest, VoteResponse};
use openraft::{RaftNetwork, RaftNetworkFactory};
use serde::de::DeserializeOwned;
use tonic::{Request, Response, Status};

use super::peers::{Peers, Purpose, said};
use super::voter::{VoterId, VoterNode};
use super::wire::{self, AppendEntries, InstallSnapshot, Malformed, TypeConfig};

/// Between two attempts to reach a voter that does not answer.
const BACKOFF: Duration = Duration::from_millis(150);

/// Makes connections to voters. openraft itself ends a call that takes too long, and repeats it at once; what is reported as
/// unreachable here is repeated after a pause.
#[derive(Clone)]
pub struct Network {
    peers: Peers,
}

impl Network {
    /// Over the connections to other brokers.
    pub fn new(peers: Peers) -> Self {
        Self { peers }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: VoterId, node: &VoterNode) -> Connection {
        Connection {
            peers: self.peers.clone(),
            target,
            node: node.clone(),
        }
    }
}

/// A way to one voter.
pub struct Connection {
    peers: Peers,
    target: VoterId,
    node: VoterNode,
}

// Its size is openraft's, which asks for it by value.
type CallError<E> = RPCError<VoterId, VoterNode, RaftError<VoterId, E>>;

/// A voter's answer, as JSON: what it says, or why its Raft refuses.
type Answer<T, E> = Result<T, RaftError<VoterId, E>>;

#[allow(clippy::result_large_err)]
impl Connection {
    fn message<E: std::error::Error>(
        &self,
        payload: Result<Vec<u8>, Malformed>,
    ) -> Result<Request<RaftMessage>, CallError<E>> {
        let payload = payload.map_err(|error| unreachable(&error))?;
        Ok(Request::new(RaftMessage {
            payload,
            target_broker_id: self.target.broker.0,
            target_directory_id: self.target.directory.0.to_vec(),
            cluster_id: self.peers.cluster_id().to_string(),
        }))
    }

    fn answer<T, E>(&self, answered: Result<Response<RaftMessage>, Status>) -> Result<T, CallError<E>>
    where
        T: DeserializeOwned,
        E: std::error::Error + DeserializeOwned,
    {
        let answered = answered.map_err(|status| unreachable(&std::io::Error::other(said(status))))?;
        let answer: Answer<T, E> =
            serde_json::from_slice(&answered.into_inner().payload).map_err(|error| unreachable(&error))?;
        answer.map_err(|error| RPCError::RemoteError(RemoteError::new(self.target, error)))
    }
}

/// All failures count as unreachable, so that the next attempt waits a moment.
fn unreachable<E: std::error::Error>(error: &(impl std::error::Error + 'static)) -> CallError<E> {
    RPCError::Unreachable(Unreachable::new(error))
}

impl RaftNetwork<TypeConfig> for Connection {
    async fn append_entries(
        &mut self,
        request: AppendEntries,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<VoterId>, CallError<openraft::error::Infallible>> {
        let message = self.message(wire::encode_append(&request))?;
        let mut client = self
            .peers
            .coordination(self.target.broker, Purpose::Raft, Some(&self.node.address));
        self.answer(client.append_entries(message).await)
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshot,
        _: RPCOption,
    ) -> Result<InstallSnapshotResponse<VoterId>, CallError<InstallSnapshotError>> {
        let message = self.message(wire::encode_snapshot_part(request))?;
        let mut client =
            self.peers
                .coordination(self.target.broker, Purpose::Snapshot, Some(&self.node.address));
        self.answer(client.install_snapshot(message).await)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<VoterId>,
        _: RPCOption,
    ) -> Result<VoteResponse<VoterId>, CallError<openraft::error::Infallible>> {
        let payload = serde_json::to_vec(&request).map_err(Malformed::from);
        let message = self.message(payload)?;
        let mut client = self
            .peers
            .coordination(self.target.broker, Purpose::Raft, Some(&self.node.address));
        self.answer(client.vote(message).await)
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(BACKOFF))
    }
}

/// Hands a message of another voter to this one's Raft, and encodes its answer.
///
/// # Errors
/// `InvalidArgument` when it is no such message, and `Unavailable` when this voter's Raft has stopped.
pub async fn receive<Q, T, E>(
    message: Result<Q, Malformed>,
    handle: impl AsyncFnOnce(Q) -> Result<T, RaftError<VoterId, E>>,
) -> Result<Response<RaftMessage>, Status>
where
    T: serde::Serialize,
    E: serde::Serialize + std::error::Error,
{
    let message =
        message.map_err(|error| Status::invalid_argument(format!("no message of Raft: {error}")))?;
    let answer = handle(message).await;
    if let Err(RaftError::Fatal(Fatal::Stopped | Fatal::Panicked)) = &answer {
        return Err(Status::unavailable("this voter's Raft has stopped"));
    }
    let payload = serde_json::to_vec(&answer).map_err(|error| Status::internal(error.to_string()))?;
    Ok(Response::new(RaftMessage {
        payload,
        ..RaftMessage::default()
    }))
}
