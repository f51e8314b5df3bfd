//! The Coordination service: what brokers ask of each other.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use flotilla_control::proto::coordination::coordination_server::Coordination;
use flotilla_control::proto::coordination::{
    DescribeQuorumRequest, DescribeQuorumResponse, LeaderHint, LogEnd, LogEndsRequest, LogEndsResponse,
    ObserveRequest, ObserveResponse, RaftMessage, Snapshot, SubmitRequest, SubmitResponse, Voter,
    observe_response::Part,
};
use flotilla_control::proto::metadata::{
    Record, Refusal, Request as MetadataRequest, Response as Refused, request,
};
use flotilla_control::tls::Identity;
use flotilla_protocol::{BrokerId, Uuid};
use openraft::raft::VoteRequest;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::carrier::Call;
use super::driver::{Driver, NotController};
use super::latest::{Metadata, Subscription};
use super::listener::caller;
use super::network::receive;
use super::quorum::Quorum as _;
use super::raft::Member;
use super::runtime;
use super::voter::VoterId;
use super::watched::Voting;
use super::wire;

/// How often an observer hears of a voter that has nothing new.
const SIGN_OF_LIFE: Duration = Duration::from_millis(250);
/// Records of a snapshot in one message take about this much.
const SNAPSHOT_PART_BYTES: usize = 1 << 20;
/// Messages that wait for a slow observer.
const OBSERVER_QUEUE_MAX: usize = 16;

/// What a broker answers other brokers with.
#[derive(Clone)]
pub struct Service {
    /// The fleet; callers of another one are refused.
    pub cluster_id: Uuid,
    /// This broker's member of the quorum.
    pub member: Member,
    /// This broker's controller.
    pub driver: Driver,
    /// The newest image here.
    pub metadata: Metadata,
    /// Where the logs that this broker leads begin and end.
    pub log_ends: Arc<OnceLock<LogEnds>>,
    /// Ends all streams: they would keep the listener open.
    pub stop: CancellationToken,
}

/// Where the logs of a topic begin and end, of the partitions that this broker leads.
pub type LogEnds = Arc<dyn Fn(Uuid) -> Vec<LogEnd> + Send + Sync>;

impl Service {
    /// Who leads, for a caller that searches.
    pub fn leader_hint(&self) -> LeaderHint {
        let leadership = self.member.leadership().borrow().clone();
        let broker = leadership.leader.unwrap_or(BrokerId(-1));
        let image = self.metadata.image();
        let registered = image.broker(broker).map(|broker| broker.control_address.clone());
        let remembered = || {
            let metrics = self.member.metrics();
            let node = metrics.current_leader.and_then(|id| {
                metrics
                    .membership_config
                    .membership()
                    .get_node(&id)
                    .map(|node| node.address.clone())
            });
            node.unwrap_or_default()
        };
        LeaderHint {
            broker_id: broker.0,
            address: registered.unwrap_or_else(remembered),
            term: leadership.term,
        }
    }

    /// Who leads and who votes, as this member of the quorum knows it.
    pub fn voting(&self) -> Voting {
        let electorate = self.member.electorate();
        let voters = electorate.borrow().clone();
        Voting {
            leader: self.leader_hint(),
            voters: voters
                .into_iter()
                .map(|(id, node)| Voter {
                    broker_id: id.broker.0,
                    directory_id: id.directory.0.to_vec(),
                    address: node.address,
                    ..Voter::default()
                })
                .collect(),
        }
    }

    /// The quorum as this broker sees it; a leader knows how far the others are.
    pub fn describe(&self) -> DescribeQuorumResponse {
        let metrics = self.member.metrics();
        let membership = metrics.membership_config.membership();
        let end_of = |id: &VoterId| {
            if *id == self.member.id() {
                return metrics.last_log_index.unwrap_or_default();
            }
            let matched = metrics
                .replication
                .as_ref()
                .and_then(|replication| replication.get(id).copied().flatten());
            matched.map_or(0, |log_id| log_id.index)
        };
        let part = |id: VoterId, address: String| Voter {
            broker_id: id.broker.0,
            directory_id: id.directory.0.to_vec(),
            address,
            log_end_index: end_of(&id),
            last_caught_up_ms: -1,
            last_fetch_ms: -1,
        };
        let voters: Vec<VoterId> = membership.voter_ids().collect();
        let address = |id: &VoterId| {
            membership
                .get_node(id)
                .map(|node| node.address.clone())
                .unwrap_or_default()
        };
        let mut observers: Vec<Voter> = membership
            .nodes()
            .filter(|(id, _)| !voters.contains(id))
            .map(|(id, node)| part(*id, node.address.clone()))
            .collect();
        for broker in self.metadata.image().brokers() {
            let id = VoterId::new(broker.id, broker.directory_id);
            if membership.get_node(&id).is_none() {
                observers.push(part(id, broker.control_address.clone()));
            }
        }
        DescribeQuorumResponse {
            leader: Some(self.leader_hint()),
            voters: voters.iter().map(|id| part(*id, address(id))).collect(),
            observers,
            committed_index: self.member.applied().index,
        }
    }

    fn broker<T>(&self, request: &Request<T>) -> Result<BrokerId, Status> {
        match caller(request, self.cluster_id)? {
            Identity::Broker(broker) => Ok(broker),
            Identity::Operator => Err(Status::permission_denied(
                "this service is for brokers: use Fleet",
            )),
        }
    }

    fn own_cluster(&self, named: &str) -> Result<(), Status> {
        if named == self.cluster_id.to_string() {
            return Ok(());
        }
        let own = self.cluster_id;
        Err(Status::failed_precondition(format!(
            "the request is for cluster {named}, and this broker belongs to {own}"
        )))
    }

    /// Opens a message of Raft that is meant for this very voter.
    fn opened(&self, message: RaftMessage) -> Result<Bytes, Status> {
        self.own_cluster(&message.cluster_id)?;
        let directory = Uuid::from_slice(&message.target_directory_id)
            .ok_or_else(|| Status::invalid_argument("a directory id has 16 bytes"))?;
        let meant = VoterId::new(BrokerId(message.target_broker_id), directory);
        let own = self.member.id();
        if meant != own {
            return Err(Status::failed_precondition(format!(
                "the message is for voter {meant}, and this is {own}"
            )));
        }
        Ok(message.payload.into())
    }
}

/// What callers ask whose certificates have been looked at.
impl Service {
    /// Hands a message to this voter's Raft, and answers what it says.
    ///
    /// # Errors
    /// When the message is of another cluster, for another voter or none of Raft's, and when Raft has stopped.
    pub async fn raft(&self, call: Call, message: RaftMessage) -> Result<RaftMessage, Status> {
        let payload = self.opened(message)?;
        let (member, raft) = (&self.member, self.member.raft());
        match call {
            Call::Vote => {
                let message = serde_json::from_slice::<VoteRequest<VoterId>>(&payload).map_err(Into::into);
                receive(message, async |message| member.vote(message).await).await
            }
            Call::AppendEntries => {
                let message = wire::decode_append(payload);
                if let Ok(message) = &message {
                    member.hears(&message.vote);
                }
                receive(message, async |message| raft.append_entries(message).await).await
            }
            Call::InstallSnapshot => {
                let message = wire::decode_snapshot_part(payload);
                if let Ok(message) = &message {
                    member.hears(&message.vote);
                }
                receive(message, async |message| raft.install_snapshot(message).await).await
            }
        }
    }

    /// Has this broker's controller decide what `broker` asks.
    ///
    /// # Errors
    /// When the request is of another cluster, is none, or is not the caller's to ask.
    pub async fn submitted(
        &self,
        broker: BrokerId,
        submitted: SubmitRequest,
    ) -> Result<SubmitResponse, Status> {
        self.own_cluster(&submitted.cluster_id)?;
        let asked = submitted
            .request
            .ok_or_else(|| Status::invalid_argument("no request was given"))?;
        speaks_for_itself(broker, &asked)?;
        let answered = self.driver.submit(asked).await;
        let leader = Some(self.leader_hint());
        Ok(match answered {
            Ok(answer) => SubmitResponse {
                response: Some(answer.response),
                index: answer.index,
                leader,
            },
            Err(NotController) => {
                let refused = Refused {
                    refusal: Refusal::NotController.into(),
                    message: NotController.to_string(),
                    ..Refused::default()
                };
                SubmitResponse {
                    response: Some(refused),
                    index: 0,
                    leader,
                }
            }
        })
    }

    /// The metadata and its changes, for as long as this broker votes and the stream is read.
    ///
    /// # Errors
    /// When the request is of another cluster, or this broker is no voter.
    pub fn observed(
        &self,
        asked: ObserveRequest,
    ) -> Result<ReceiverStream<Result<ObserveResponse, Status>>, Status> {
        self.own_cluster(&asked.cluster_id)?;
        if !self.member.voters().contains(&self.member.id()) {
            return Err(Status::failed_precondition(
                "this broker is no voter: observe another one",
            ));
        }
        let (sender, receiver) = mpsc::channel(OBSERVER_QUEUE_MAX);
        let observed = Observation {
            service: self.clone(),
            position: asked.applied_index,
            sender,
        };
        let (stop, changes) = (self.stop.clone(), self.metadata.subscribe());
        runtime::spawn(async move { stop.run_until_cancelled_owned(observed.run(changes)).await });
        Ok(ReceiverStream::new(receiver))
    }
}

/// What a broker may only say of itself.
fn speaks_for_itself(broker: BrokerId, request: &MetadataRequest) -> Result<(), Status> {
    let named = match &request.request {
        Some(request::Request::RegisterBroker(register)) => {
            Some(register.broker.as_ref().map_or(-1, |broker| broker.broker_id))
        }
        Some(request::Request::BrokerHeartbeat(heartbeat)) => Some(heartbeat.broker_id),
        Some(request::Request::AlterPartitions(alter)) => Some(alter.broker_id),
        Some(request::Request::HandOver(ask)) => Some(ask.broker_id),
        Some(request::Request::AllocateProducerIds(allocate)) => Some(allocate.broker_id),
        // The controller decides these by itself.
        Some(request::Request::FenceBrokers(_)) => {
            return Err(Status::permission_denied("only the controller fences brokers"));
        }
        _ => None,
    };
    match named {
        Some(named) if named != broker.0 => Err(Status::permission_denied(format!(
            "broker {broker} cannot speak for broker {named}"
        ))),
        _ => Ok(()),
    }
}

type Observed = Pin<Box<dyn Stream<Item = Result<ObserveResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Coordination for Service {
    type ObserveStream = Observed;

    async fn vote(&self, request: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        self.broker(&request)?;
        let answered = self.raft(Call::Vote, request.into_inner()).await;
        answered.map(Response::new)
    }

    async fn append_entries(&self, request: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        self.broker(&request)?;
        let answered = self.raft(Call::AppendEntries, request.into_inner()).await;
        answered.map(Response::new)
    }

    async fn install_snapshot(&self, request: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        self.broker(&request)?;
        let answered = self.raft(Call::InstallSnapshot, request.into_inner()).await;
        answered.map(Response::new)
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        let broker = self.broker(&request)?;
        let answered = self.submitted(broker, request.into_inner()).await;
        answered.map(Response::new)
    }

    async fn observe(&self, request: Request<ObserveRequest>) -> Result<Response<Observed>, Status> {
        self.broker(&request)?;
        let observed: Observed = Box::pin(self.observed(request.into_inner())?);
        Ok(Response::new(observed))
    }

    async fn describe_quorum(
        &self,
        request: Request<DescribeQuorumRequest>,
    ) -> Result<Response<DescribeQuorumResponse>, Status> {
        caller(&request, self.cluster_id)?;
        Ok(Response::new(self.describe()))
    }

    async fn log_ends(&self, request: Request<LogEndsRequest>) -> Result<Response<LogEndsResponse>, Status> {
        self.broker(&request)?;
        let asked = request.into_inner();
        self.own_cluster(&asked.cluster_id)?;
        let topic = Uuid::from_slice(&asked.topic_id)
            .ok_or_else(|| Status::invalid_argument("a topic id has 16 bytes"))?;
        let log_ends = self.log_ends.get();
        let log_ends =
            log_ends.ok_or_else(|| Status::unavailable("this broker has not opened its logs yet"))?;
        Ok(Response::new(LogEndsResponse {
            partitions: log_ends(topic),
        }))
    }
}

/// One observer's stream, from this end.
struct Observation {
    service: Service,
    position: u64,
    sender: mpsc::Sender<Result<ObserveResponse, Status>>,
}

impl Observation {
    /// Runs until the observer goes, this broker stops, or it is a voter no more.
    async fn run(mut self, mut changes: Subscription) {
        loop {
            if self.catch_up().await.is_none() || self.send(None).await.is_none() {
                return;
            }
            let member = &self.service.member;
            if !member.voters().contains(&member.id()) {
                let _ = self
                    .sender
                    .send(Err(Status::failed_precondition(
                        "this broker is no voter any more",
                    )))
                    .await;
                return;
            }
            tokio::select! {
                changed = timeout(SIGN_OF_LIFE, changes.changed()) => if let Ok(None) = changed { return },
                () = self.sender.closed() => return,
            }
        }
    }

    async fn catch_up(&mut self) -> Option<()> {
        let Some(entries) = self.service.member.state_machine().committed_after(self.position) else {
            return self.snapshot().await;
        };
        for committed in entries {
            self.position = committed.index;
            self.send(Some(Part::Committed(committed))).await?;
        }
        Some(())
    }

    async fn snapshot(&mut self) -> Option<()> {
        let state_machine = self.service.member.state_machine();
        let (indexed, term) = (state_machine.applied(), state_machine.applied_term());
        if indexed.index <= self.position {
            return Some(());
        }
        let mut first = true;
        let (mut records, mut bytes) = (Vec::new(), 0);
        for record in indexed.image.to_records() {
            bytes += record.encoded_len();
            records.push(record);
            if bytes >= SNAPSHOT_PART_BYTES {
                let part = part(std::mem::take(&mut records), first, false, indexed.index, term);
                self.send(Some(part)).await?;
                (first, bytes) = (false, 0);
            }
        }
        self.send(Some(part(records, first, true, indexed.index, term)))
            .await?;
        self.position = indexed.index;
        Some(())
    }

    async fn send(&self, part: Option<Part>) -> Option<()> {
        let Voting { leader, voters } = self.service.voting();
        let response = ObserveResponse {
            part,
            committed_index: self.service.member.applied().index,
            leader: Some(leader),
            voters,
        };
        self.sender.send(Ok(response)).await.ok()
    }
}

fn part(records: Vec<Record>, first: bool, last: bool, index: u64, term: u64) -> Part {
    Part::Snapshot(Snapshot {
        records,
        first,
        last,
        index,
        term,
    })
}
