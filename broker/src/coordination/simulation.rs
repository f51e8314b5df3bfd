//! Brokers' seats in the coordination service on simulated machines, for `tests/simulation`: all of it is the real code, but
//! for the machine below and the network beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use flotilla_control::proto::coordination::{
    Committed, DescribeQuorumResponse, ObserveRequest, RaftMessage, SubmitRequest, SubmitResponse,
};
use flotilla_control::proto::fleet::ApplyResponse;
use flotilla_control::proto::metadata::{self as proto, Refusal};
use flotilla_protocol::{BrokerId, Uuid};
use futures::StreamExt as _;
use openraft::error::RaftError;
use openraft::raft::VoteResponse;
use openraft::{EntryPayload, ServerState};
use prost::Message as _;

use super::connections::Connections;
use super::latest::{Indexed, Publisher};
use super::members::Members;
use super::seat::{Place, Seat};
use super::wire;
use super::{Controller, Lifecycle, Metadata, Options, Registration, Timing, VoterId, VoterNode};
use crate::log::Disk;

pub use super::carrier::{Call, Carrier, Observed};
pub use super::runtime::Machine;

/// What a broker is started with.
pub struct Start {
    /// Where it runs.
    pub machine: Machine,
    /// Kafka's id of the cluster.
    pub cluster_id: Uuid,
    /// The broker and its directory.
    pub id: VoterId,
    /// Where the metadata log is.
    pub dir: PathBuf,
    /// What holds that directory.
    pub disk: Arc<dyn Disk>,
    /// The first voters.
    pub voters: BTreeMap<VoterId, VoterNode>,
    /// Whether the quorum has been founded already.
    pub bootstrapped: bool,
    /// What the controller goes by.
    pub options: Options,
    /// The network.
    pub carrier: Arc<dyn Carrier>,
}

/// A broker's seat, while its machine runs.
pub struct Seated {
    machine: Machine,
    seat: Seat,
    metadata: Metadata,
    changing: Arc<tokio::sync::Mutex<()>>,
}

/// What a member of the quorum says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// The newest term that it knows.
    pub term: u64,
    /// Whether it leads in that term.
    pub leads: bool,
    /// Whom it follows.
    pub leader: Option<VoterId>,
    /// The last entry of its log.
    pub last_log_index: u64,
    /// The last entry that its newest snapshot holds.
    pub snapshot_index: Option<u64>,
    /// The last entry that it has purged.
    pub purged_index: Option<u64>,
    /// Who votes, as far as it knows.
    pub voters: BTreeSet<VoterId>,
    /// Whether the voters are being changed: two sets of them have to agree meanwhile.
    pub is_changing: bool,
    /// Whether it votes or is about to.
    pub takes_part: bool,
    /// Why it has stopped, if it has.
    pub failed: Option<String>,
}

impl Seated {
    /// Starts a broker on its machine. One of the first voters founds the quorum where nobody has.
    ///
    /// # Errors
    /// When what is stored cannot be used, or the machine was killed meanwhile.
    pub async fn start(start: Start) -> Result<Self, String> {
        let machine = start.machine.clone();
        let (publisher, metadata) = Publisher::new(Indexed::default());
        let seen = metadata.clone();
        let taken = machine.spawn(async move {
            let seat = Seat::take(Place {
                cluster_id: start.cluster_id,
                id: start.id,
                dir: &start.dir,
                disk: start.disk,
                publisher,
                metadata: seen,
                options: start.options,
                connections: Arc::new(Connections::default()),
                carrier: start.carrier,
            })
            .await
            .map_err(|error| error.to_string())?;
            seat.found(&start.voters, start.bootstrapped)
                .await
                .map_err(|error| error.to_string())?;
            Ok::<Seat, String>(seat)
        });
        let seat = taken.await.map_err(|_| KILLED.to_owned())??;
        Ok(Self {
            machine,
            seat,
            metadata,
            changing: Arc::default(),
        })
    }

    /// Where it runs.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.machine.clone()
    }

    /// The newest image here.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    /// The way to the controller. Its calls belong on the machine.
    #[must_use]
    pub fn controller(&self) -> Controller {
        self.seat.controller.clone()
    }

    /// Registers this broker and keeps its session alive.
    #[must_use]
    pub fn join(&self, registration: Registration, timing: Timing) -> Lifecycle {
        self.machine.enter(|| {
            Lifecycle::start(
                registration,
                timing,
                self.controller(),
                self.metadata(),
                self.seat.failure.clone(),
            )
        })
    }

    /// What this broker must stop for, if there is something.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.seat.failure.borrow().clone()
    }

    /// What its member of the quorum says of itself.
    #[must_use]
    pub fn glance(&self) -> Glance {
        let metrics = self.seat.member.metrics();
        let membership = metrics.membership_config.membership();
        Glance {
            term: metrics.current_term,
            leads: metrics.state == ServerState::Leader,
            leader: metrics.current_leader,
            last_log_index: metrics.last_log_index.unwrap_or_default(),
            snapshot_index: metrics.snapshot.map(|id| id.index),
            purged_index: metrics.purged.map(|id| id.index),
            voters: membership.voter_ids().collect(),
            is_changing: membership.get_joint_config().len() > 1,
            takes_part: membership.get_node(&self.seat.member.id()).is_some(),
            failed: metrics.running_state.err().map(|fatal| fatal.to_string()),
        }
    }

    /// What its member of the quorum has applied.
    #[must_use]
    pub fn applied(&self) -> Indexed {
        self.seat.member.state_machine().applied()
    }

    /// The entries that its member of the quorum has applied after `index`; `None` when some are no longer kept.
    #[must_use]
    pub fn applied_after(&self, index: u64) -> Option<Vec<Committed>> {
        self.seat.member.state_machine().committed_after(index)
    }

    /// Waits until its member of the quorum has something new to say.
    pub fn changes(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut metrics = self.seat.member.raft().metrics();
        async move {
            metrics.mark_unchanged();
            // Where the member has ended there is nothing to wait for.
            if metrics.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Has Raft take a snapshot, as it does when the log has grown.
    pub fn snapshot(&self) {
        let raft = self.seat.member.raft().clone();
        self.machine.spawn(async move {
            // A member that has stopped takes none.
            let _ = raft.trigger().snapshot().await;
        });
    }

    /// Takes a message of another member; what comes back is for that one.
    ///
    /// # Errors
    /// What the service refuses it with, and when the machine is killed meanwhile.
    pub fn raft(
        &self,
        call: Call,
        message: RaftMessage,
    ) -> impl Future<Output = Result<RaftMessage, String>> + Send + use<> {
        let service = self.seat.service.clone();
        let answered = self
            .machine
            .spawn(async move { service.raft(call, message).await });
        async move { flat(answered.await) }
    }

    /// Takes a request of a broker to the controller.
    ///
    /// # Errors
    /// What the service refuses it with, and when the machine is killed meanwhile.
    pub fn submitted(
        &self,
        from: BrokerId,
        request: SubmitRequest,
    ) -> impl Future<Output = Result<SubmitResponse, String>> + Send + use<> {
        let service = self.seat.service.clone();
        let answered = self
            .machine
            .spawn(async move { service.submitted(from, request).await });
        async move { flat(answered.await) }
    }

    /// Takes another broker's wish to follow the metadata.
    ///
    /// # Errors
    /// What the service refuses it with.
    pub fn observed(&self, request: ObserveRequest) -> Result<Observed, String> {
        let observed = self.machine.enter(|| self.seat.service.observed(request));
        let stream = observed.map_err(|status| status.message().to_owned())?;
        Ok(Box::pin(stream.map(|response| {
            response.map_err(|status| status.message().to_owned())
        })))
    }

    /// The quorum as this broker sees it.
    #[must_use]
    pub fn describe(&self) -> DescribeQuorumResponse {
        self.seat.service.describe()
    }

    /// Makes `id` a voter, or no voter, of the quorum that this broker leads.
    pub fn change_voters(
        &self,
        id: VoterId,
        node: VoterNode,
        add: bool,
    ) -> impl Future<Output = Result<ApplyResponse, String>> + Send + use<> {
        let (member, changing) = (self.seat.member.clone(), self.changing.clone());
        let changed = self.machine.spawn(async move {
            let Ok(_changing) = changing.try_lock() else {
                return ApplyResponse {
                    refusal: Refusal::NotSafeNow.into(),
                    ..ApplyResponse::default()
                };
            };
            let members = Members {
                member: &member,
                dry_run: false,
            };
            if add {
                members.add(id, node).await
            } else {
                members.remove(id).await
            }
        });
        async move { changed.await.map_err(|_| KILLED.to_owned()) }
    }
}

/// Not what the runtime says of it: that numbers its tasks, and would tell two runs of a seed apart.
const KILLED: &str = "the broker was killed";

fn flat<T>(answered: Result<Result<T, tonic::Status>, tokio::task::JoinError>) -> Result<T, String> {
    match answered {
        Ok(answered) => answered.map_err(|status| status.message().to_owned()),
        Err(_) => Err(KILLED.to_owned()),
    }
}

/// An entry on its way to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The term of its log id.
    pub term: u64,
    /// Who appended it.
    pub leader: VoterId,
    /// Where it stands.
    pub index: u64,
    /// The term in which the controller decided it; `None` where the entry is Raft's own.
    pub decided_in: Option<u64>,
    /// All of it, encoded.
    pub payload: Vec<u8>,
}

/// The entries in an AppendEntries message; none where it is no such message.
#[must_use]
pub fn appended(message: &[u8]) -> Vec<Appended> {
    let Ok(request) = wire::decode_append(Bytes::copy_from_slice(message)) else {
        return Vec::new();
    };
    let entry = |entry: &wire::Entry| {
        let decided_in = match &entry.payload {
            EntryPayload::Normal(decided) => proto::Entry::decode(decided.0.clone()).ok().map(|e| e.term),
            EntryPayload::Blank | EntryPayload::Membership(_) => None,
        };
        Appended {
            term: entry.log_id.leader_id.term,
            leader: entry.log_id.leader_id.node_id,
            index: entry.log_id.index,
            decided_in,
            payload: wire::encode_entry(entry).unwrap_or_default(),
        }
    };
    request.entries.iter().map(entry).collect()
}

/// For whom and in which term an answer to a request for a vote grants it; `None` where it does not.
#[must_use]
pub fn granted(answer: &[u8]) -> Option<(u64, VoterId)> {
    type Answer = Result<VoteResponse<VoterId>, RaftError<VoterId>>;
    let answered = serde_json::from_slice::<Answer>(answer).ok()?.ok()?;
    let vote = answered.vote.leader_id;
    answered.vote_granted.then_some((vote.term, vote.node_id))
}
