//! Raft's network, as openraft asks for it, over what carries messages to other brokers.

use std::sync::Arc;
use std::time::Duration;

use flotilla_control::proto::coordination::RaftMessage;
use flotilla_protocol::Uuid;
use openraft::error::{Fatal, InstallSnapshotError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{AppendEntriesResponse, InstallSnapshotResponse, VoteRequest, VoteResponse};
use openraft::{RaftNetwork, RaftNetworkFactory};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tonic::Status;

use super::carrier::{Call, Carrier};
use super::following::Following;
use super::voter::{VoterId, VoterNode};
use super::wire::{self, AppendEntries, InstallSnapshot, Malformed, TypeConfig};

/// Between two attempts to reach a voter that does not answer.
const BACKOFF: Duration = Duration::from_millis(150);

/// Makes connections to voters. openraft itself ends a call that takes too long, and repeats it at once; what is reported as
/// unreachable here is repeated after a pause.
#[derive(Clone)]
pub struct Network {
    cluster_id: Uuid,
    carrier: Arc<dyn Carrier>,
    following: Arc<Following>,
}

impl Network {
    /// Of a cluster, over what reaches its other brokers. Who follows this member is noted in `following`.
    pub fn new(cluster_id: Uuid, carrier: Arc<dyn Carrier>, following: Arc<Following>) -> Self {
        Self {
            cluster_id,
            carrier,
            following,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: VoterId, node: &VoterNode) -> Connection {
        Connection {
            network: self.clone(),
            target,
            node: node.clone(),
        }
    }
}

/// A way to one voter.
pub struct Connection {
    network: Network,
    target: VoterId,
    node: VoterNode,
}

// Its size is openraft's, which asks for it by value.
type CallError<E> = RPCError<VoterId, VoterNode, RaftError<VoterId, E>>;

/// A voter's answer, as JSON: what it says, or why its Raft refuses.
type Answer<T, E> = Result<T, RaftError<VoterId, E>>;

#[allow(clippy::result_large_err)]
impl Connection {
    async fn ask<T, E>(&self, call: Call, payload: Result<Vec<u8>, Malformed>) -> Result<T, CallError<E>>
    where
        T: DeserializeOwned,
        E: std::error::Error + DeserializeOwned,
    {
        let message = RaftMessage {
            payload: payload.map_err(|error| unreachable(&error))?,
            target_broker_id: self.target.broker.0,
            target_directory_id: self.target.directory.0.to_vec(),
            cluster_id: self.network.cluster_id.to_string(),
        };
        let answered = self
            .network
            .carrier
            .raft(call, self.target, &self.node, message)
            .await;
        let answered = answered.map_err(|why| unreachable(&std::io::Error::other(why)))?;
        let answer: Answer<T, E> =
            serde_json::from_slice(&answered.payload).map_err(|error| unreachable(&error))?;
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
        let (term, sent) = (request.vote.leader_id().term, Instant::now());
        let answer = self
            .ask(Call::AppendEntries, wire::encode_append(&request))
            .await?;
        // Also one whose log does not fit yet has taken this member for its leader.
        if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
            self.network.following.took(self.target, term, sent);
        }
        Ok(answer)
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshot,
        _: RPCOption,
    ) -> Result<InstallSnapshotResponse<VoterId>, CallError<InstallSnapshotError>> {
        self.ask(Call::InstallSnapshot, wire::encode_snapshot_part(request))
            .await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<VoterId>,
        _: RPCOption,
    ) -> Result<VoteResponse<VoterId>, CallError<openraft::error::Infallible>> {
        let payload = serde_json::to_vec(&request).map_err(Malformed::from);
        self.ask(Call::Vote, payload).await
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
) -> Result<RaftMessage, Status>
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
    Ok(RaftMessage {
        payload,
        ..RaftMessage::default()
    })
}
