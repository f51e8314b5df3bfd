//! The Fleet service: what the operator and the command line ask. Every write is idempotent and has a dry run; any broker
//! answers, and reaches the controller for its caller.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use flotilla_control::proto::coordination::{DescribeQuorumRequest, DescribeQuorumResponse, LogEndsRequest};
use flotilla_control::proto::fleet::fleet_server::Fleet as FleetService;
use flotilla_control::proto::fleet::{
    ApplyBrokerRequest, ApplyConfigRequest, ApplyResponse, ApplyTopicRequest, ApplyUserRequest,
    AssignRequest, DeleteTopicRequest, DeleteUserRequest, DrainRequest, ElectLeadersRequest,
    FinalizeFeaturesRequest, PlanRestartRequest, PlanRestartResponse, PrepareRestartRequest, ReadTreeRequest,
    ReadTreeResponse, RestartBatch, RestartBlocked, UnregisterBrokerRequest, VoterRequest, WatchRequest,
    WatchResponse,
};
use flotilla_control::proto::metadata::{
    AlterConfigs, AlterReassignments, ApplyUser, DeleteTopics, DeleteUser, PrepareRestart, Refusal,
    Request as Asked, Response as Decided, ScramCredential, ScramMechanism, SetDrain, TopicRef,
    UnregisterBroker, request::Request as Kind, topic_ref,
};
use flotilla_protocol::{BrokerId, Uuid};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::client::Controller;
use super::driver::Options;
use super::listener::caller;
use super::members::Members;
use super::peers::{Peers, Purpose, said};
use super::quorum::Quorum as _;
use super::service::Service;
use super::voter::{VoterId, VoterNode};
use super::watched;
use crate::auth::scram::{Credential, ITERATIONS_MIN, Mechanism};
use crate::metadata::{plan_restart, tree};

/// Bytes of a fresh salt.
const SALT_BYTES: usize = 32;
/// Responses that wait for a slow watcher; meanwhile changes are collected.
const WATCH_QUEUE_MAX: usize = 2;
/// One broker's answer about the ends of its logs.
const LOG_ENDS_TIMEOUT: Duration = Duration::from_secs(5);
/// Marks a call that one broker hands on to another, so that it is not handed on for ever.
const HANDED_ON: &str = "flotilla-handed-on";

/// What the service stands on.
#[derive(Clone)]
pub struct Fleet {
    /// The same for other brokers.
    pub service: Service,
    /// The way to the controller.
    pub controller: Controller,
    /// The other brokers.
    pub peers: Peers,
    /// What the controller goes by.
    pub options: Options,
    /// One change of the quorum at a time.
    pub changing: Arc<tokio::sync::Mutex<()>>,
}

type Answer = Result<Response<ApplyResponse>, Status>;

fn applied(decided: Decided) -> ApplyResponse {
    ApplyResponse {
        refusal: decided.refusal,
        message: decided.message,
        changed: decided.changed,
        items: decided.items,
    }
}

fn refused(refusal: Refusal, message: String) -> ApplyResponse {
    ApplyResponse {
        refusal: refusal.into(),
        message,
        ..ApplyResponse::default()
    }
}

fn required<T>(part: Option<T>, name: &str) -> Result<T, Status> {
    part.ok_or_else(|| Status::invalid_argument(format!("`{name}` is missing")))
}

impl Fleet {
    fn known<T>(&self, request: &Request<T>) -> Result<(), Status> {
        caller(request, self.service.cluster_id).map(|_| ())
    }

    async fn ask(&self, kind: Kind, dry_run: bool) -> Result<ApplyResponse, Status> {
        let asked = Asked {
            validate_only: dry_run,
            request: Some(kind),
        };
        let decided = self.controller.submit(asked).await;
        decided
            .map(applied)
            .map_err(|error| Status::unavailable(error.to_string()))
    }

    async fn answer(&self, kind: Kind, dry_run: bool) -> Answer {
        self.ask(kind, dry_run).await.map(Response::new)
    }

    /// The credential for a password: the stored one where it is of this very password, so that nothing is written then.
    async fn credential(&self, asked: &ApplyUserRequest) -> Result<Option<ScramCredential>, Status> {
        let (mechanism, stored_as) = match asked.authentication.as_str() {
            "scram-sha-256" => (Mechanism::Sha256, ScramMechanism::ScramSha256),
            "scram-sha-512" => (Mechanism::Sha512, ScramMechanism::ScramSha512),
            _ => return Ok(None),
        };
        if asked.password.is_empty() {
            return Ok(None);
        }
        let stored = self
            .service
            .metadata
            .image()
            .scram(&asked.name, stored_as)
            .cloned();
        let (user, password) = (asked.name.clone(), asked.password.clone());
        let compute = move || {
            if let Some(stored) = stored {
                let known = Credential {
                    salt: stored.salt.clone(),
                    stored_key: stored.stored_key.clone(),
                    server_key: stored.server_key.clone(),
                    iterations: u32::try_from(stored.iterations).unwrap_or_default(),
                };
                if known.is_of_password(mechanism, &password) {
                    return Ok(stored);
                }
            }
            let mut salt = vec![0; SALT_BYTES];
            SystemRandom::new().fill(&mut salt)?;
            let made = Credential::of_password(mechanism, &password, &salt, ITERATIONS_MIN);
            Ok(ScramCredential {
                user,
                mechanism: stored_as.into(),
                salt: made.salt,
                stored_key: made.stored_key,
                server_key: made.server_key,
                iterations: ITERATIONS_MIN as i32,
            })
        };
        // Thousands of hashes: not where other calls wait.
        let computed = tokio::task::spawn_blocking(compute).await;
        let computed = computed.map_err(|error| Status::internal(error.to_string()))?;
        let failed = |_: ring::error::Unspecified| Status::internal("the system gives no random numbers");
        computed.map(Some).map_err(failed)
    }

    /// Deletes a topic as its resource's deletion policy says.
    async fn delete(&self, asked: DeleteTopicRequest) -> Result<ApplyResponse, Status> {
        let image = self.service.metadata.image();
        let Some(topic) = image.topic(&asked.name).cloned() else {
            return Ok(ApplyResponse {
                message: format!("topic `{}` does not exist", asked.name),
                ..Default::default()
            });
        };
        let policy = asked
            .owner
            .as_ref()
            .map_or("", |owner| owner.deletion_policy.as_str());
        match policy {
            "" | "Delete" => {}
            "Retain" => {
                let message = format!("topic `{}` is kept, as its deletion policy says", topic.name);
                return Ok(ApplyResponse {
                    message,
                    ..ApplyResponse::default()
                });
            }
            "DeleteIfEmpty" => match self.records_in(topic.id).await {
                Ok(0) => {}
                Ok(records) => {
                    let message = format!("topic `{}` is kept: it holds {records} records", topic.name);
                    return Ok(refused(Refusal::NotEmpty, message));
                }
                Err(why) => {
                    let message = format!(
                        "topic `{}` is kept: whether it is empty cannot be told: {why}",
                        topic.name
                    );
                    return Ok(refused(Refusal::NotEmpty, message));
                }
            },
            other => {
                let message =
                    format!("`{other}` is not a deletion policy; Delete, Retain and DeleteIfEmpty are");
                return Ok(refused(Refusal::InvalidRequest, message));
            }
        }
        // By its id: a topic made anew under the name meanwhile is another one.
        let named = TopicRef {
            topic: Some(topic_ref::Topic::TopicId(topic.id.0.to_vec())),
            owner: asked.owner,
        };
        let mut answer = self
            .ask(
                Kind::DeleteTopics(DeleteTopics { topics: vec![named] }),
                asked.dry_run,
            )
            .await?;
        if let Some(item) = answer.items.first()
            && answer.refusal() == Refusal::None
            && item.refusal() != Refusal::UnknownTopicId
        {
            (answer.refusal, answer.message) = (item.refusal, item.message.clone());
        }
        Ok(answer)
    }

    /// Offsets between the begin and the end of a topic's logs, as the leaders of its partitions say.
    async fn records_in(&self, id: Uuid) -> Result<i64, String> {
        let image = self.service.metadata.image();
        let topic = image.topic_by_id(id).ok_or("it is gone")?;
        let mut open: BTreeSet<i32> = topic.partitions().map(|(index, _)| index.0).collect();
        let mut leaders = BTreeSet::new();
        for (index, partition) in topic.partitions() {
            leaders.insert(
                partition
                    .leader
                    .ok_or_else(|| format!("partition {index} has no leader"))?,
            );
        }
        let mut records = 0;
        for leader in leaders {
            for end in self.log_ends(leader, id).await? {
                if open.remove(&end.partition) {
                    records += end.log_end_offset.saturating_sub(end.log_start_offset);
                }
            }
        }
        match open.first() {
            None => Ok(records),
            Some(partition) => Err(format!("the leader of partition {partition} has just changed")),
        }
    }

    async fn log_ends(
        &self,
        broker: BrokerId,
        id: Uuid,
    ) -> Result<Vec<flotilla_control::proto::coordination::LogEnd>, String> {
        if broker == self.service.member.id().broker {
            let log_ends = self
                .service
                .log_ends
                .get()
                .ok_or("this broker has not opened its logs yet")?;
            return Ok(log_ends(id));
        }
        let asked = LogEndsRequest {
            cluster_id: self.service.cluster_id.to_string(),
            topic_id: id.0.to_vec(),
        };
        let mut client = self.peers.coordination(broker, Purpose::Requests, None);
        match timeout(LOG_ENDS_TIMEOUT, client.log_ends(asked)).await {
            Ok(answered) => answered.map(|ends| ends.into_inner().partitions).map_err(said),
            Err(_) => Err(format!("broker {broker} does not answer")),
        }
    }

    /// Which voter a request means; what it leaves out is taken from the broker's registration.
    fn voter(&self, asked: &VoterRequest) -> Result<(VoterId, VoterNode), Status> {
        let id = BrokerId(asked.broker_id);
        let image = self.service.metadata.image();
        let registered = image.broker(id);
        let directory = if asked.directory_id.is_empty() {
            let unknown =
                || Status::failed_precondition(format!("broker {id} is not registered: name its directory"));
            registered.map(|broker| broker.directory_id).ok_or_else(unknown)?
        } else {
            Uuid::from_slice(&asked.directory_id)
                .ok_or_else(|| Status::invalid_argument("a directory id has 16 bytes"))?
        };
        let address = match asked.address.as_str() {
            "" => registered
                .map(|broker| broker.control_address.clone())
                .unwrap_or_default(),
            given => given.to_owned(),
        };
        Ok((VoterId::new(id, directory), VoterNode { address }))
    }

    /// Changes the quorum here if this broker leads it, else where it is led.
    async fn change_voters(&self, request: Request<VoterRequest>, add: bool) -> Answer {
        self.known(&request)?;
        let leadership = self.service.member.leadership().borrow().clone();
        let handed_on = request.metadata().contains_key(HANDED_ON);
        let asked = request.into_inner();
        if !leadership.leading {
            let leader = self
                .controller
                .known()
                .filter(|leader| *leader != self.service.member.id().broker);
            let Some(leader) = leader.filter(|_| !handed_on) else {
                let message = "the leader of the quorum is not known: try again in a moment".to_owned();
                return Ok(Response::new(refused(Refusal::NotController, message)));
            };
            let mut onward = Request::new(asked);
            onward
                .metadata_mut()
                .insert(HANDED_ON, tonic::metadata::MetadataValue::from_static("1"));
            let mut client = self.peers.fleet(leader);
            return if add {
                client.add_voter(onward).await
            } else {
                client.remove_voter(onward).await
            };
        }
        let (id, node) = self.voter(&asked)?;
        let Ok(_changing) = self.changing.try_lock() else {
            let message = "another change of the quorum is under way: wait until it is done".to_owned();
            return Ok(Response::new(refused(Refusal::NotSafeNow, message)));
        };
        let members = Members {
            member: &self.service.member,
            dry_run: asked.dry_run,
        };
        Ok(Response::new(if add {
            members.add(id, node).await
        } else {
            members.remove(id).await
        }))
    }
}

type Watched = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl FleetService for Fleet {
    type WatchStream = Watched;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Watched>, Status> {
        self.known(&request)?;
        let (sender, receiver) = mpsc::channel(WATCH_QUEUE_MAX);
        tokio::spawn(follow(self.service.clone(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn apply_broker(&self, request: Request<ApplyBrokerRequest>) -> Answer {
        self.known(&request)?;
        let asked = request.into_inner();
        let placement = required(asked.placement, "placement")?;
        self.answer(Kind::ApplyBroker(placement), asked.dry_run).await
    }

    async fn apply_topic(&self, request: Request<ApplyTopicRequest>) -> Answer {
        self.known(&request)?;
        let asked = request.into_inner();
        let topic = required(asked.topic, "topic")?;
        self.answer(Kind::ApplyTopic(topic), asked.dry_run).await
    }

    async fn delete_topic(&self, request: Request<DeleteTopicRequest>) -> Answer {
        self.known(&request)?;
        self.delete(request.into_inner()).await.map(Response::new)
    }

    async fn apply_user(&self, request: Request<ApplyUserRequest>) -> Answer {
        self.known(&request)?;
        let asked = request.into_inner();
        let credential = self.credential(&asked).await?;
        let user = ApplyUser {
            name: asked.name,
            authentication: asked.authentication,
            credential,
            acls: asked.acls,
            quotas: asked.quotas,
            owner: asked.owner,
        };
        self.answer(Kind::ApplyUser(user), asked.dry_run).await
    }

    async fn delete_user(&self, request: Request<DeleteUserRequest>) -> Answer {
        self.known(&request)?;
        let asked = request.into_inner();
        let user = DeleteUser {
            name: asked.name,
            owner: asked.owner,
        };
        self.answer(Kind::DeleteUser(user), asked.dry_run).await
    }

    async fn apply_config(&self, request: Request<ApplyConfigRequest>) -> Answer {
        self.known(&request)?;
        let asked = request.into_inner();
        self.answer(
            Kind::AlterConfigs(AlterConfigs {
                resources: asked.resources,
            }),
            asked.dry_run,
        )
        .await
    }

    async fn assign(&self, request: Request<AssignRequest>) -> Answer {
        self.known(&request)?;
        let asked = request.into_inner();
        let reassignments = AlterReassignments {
            partitions: asked.partitions,
            allow_replication_factor_change: true,
        };
        self.answer(Kind::AlterReassignments(reassignments), asked.dry_run)
            .await
    }

    async fn elect_leaders(&self, request: Request<ElectLeadersRequest>) -> Answer {
        self.known(&request)?;
        let asked = request.into_inner();
        let election = required(asked.election, "election")?;
        self.answer(Kind::ElectLeaders(election), asked.dry_run).await
    }

    async fn plan_restart(
        &self,
        request: Request<PlanRestartRequest>,
    ) -> Result<Response<PlanRestartResponse>, Status> {
        self.known(&request)?;
        let brokers: Vec<BrokerId> = request
            .into_inner()
            .broker_ids
            .into_iter()
            .map(BrokerId)
            .collect();
        let image = self.service.metadata.image();
        let voters: Vec<BrokerId> = match self.controller.quorum().await {
            Ok(described) => described
                .voters
                .iter()
                .map(|voter| BrokerId(voter.broker_id))
                .collect(),
            Err(error) => return Err(Status::unavailable(error.to_string())),
        };
        let now_ms = (self.options.now_ms)();
        let plan = plan_restart(&image, &brokers, &voters, now_ms, self.options.settings.as_ref());
        let numbers = |brokers: Vec<BrokerId>| brokers.into_iter().map(|id| id.0).collect();
        let batches = plan.batches.into_iter().map(|batch| RestartBatch {
            broker_ids: numbers(batch.brokers),
            unavailable: batch.unavailable,
        });
        let blocked = plan.blocked.into_iter().map(|blocked| RestartBlocked {
            broker_id: blocked.broker.0,
            reason: blocked.reason,
            partitions: blocked.partitions,
        });
        Ok(Response::new(PlanRestartResponse {
            batches: batches.collect(),
            blocked: blocked.collect(),
        }))
    }

    async fn prepare_restart(&self, request: Request<PrepareRestartRequest>) -> Answer {
        self.known(&request)?;
        let asked = request.into_inner();
        let prepare = PrepareRestart {
            broker_ids: asked.broker_ids,
            grant_ms: asked.grant_ms,
            release: asked.release,
        };
        self.answer(Kind::PrepareRestart(prepare), asked.dry_run).await
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Answer {
        self.known(&request)?;
        let asked = request.into_inner();
        let drain = SetDrain {
            broker_id: asked.broker_id,
            draining: asked.draining,
        };
        self.answer(Kind::SetDrain(drain), asked.dry_run).await
    }

    async fn unregister_broker(&self, request: Request<UnregisterBrokerRequest>) -> Answer {
        self.known(&request)?;
        let asked = request.into_inner();
        let broker = UnregisterBroker {
            broker_id: asked.broker_id,
        };
        self.answer(Kind::UnregisterBroker(broker), asked.dry_run).await
    }

    async fn add_voter(&self, request: Request<VoterRequest>) -> Answer {
        self.change_voters(request, true).await
    }

    async fn remove_voter(&self, request: Request<VoterRequest>) -> Answer {
        self.change_voters(request, false).await
    }

    async fn finalize_features(&self, request: Request<FinalizeFeaturesRequest>) -> Answer {
        self.known(&request)?;
        let asked = request.into_inner();
        let mut all = ApplyResponse::default();
        for feature in asked.features {
            let answer = self.ask(Kind::FinalizeFeature(feature), asked.dry_run).await?;
            all.changed |= answer.changed;
            all.items.extend(answer.items.iter().cloned());
            if answer.refusal() != Refusal::None {
                return Ok(Response::new(ApplyResponse {
                    changed: all.changed,
                    items: all.items,
                    ..answer
                }));
            }
        }
        Ok(Response::new(all))
    }

    async fn read_tree(
        &self,
        request: Request<ReadTreeRequest>,
    ) -> Result<Response<ReadTreeResponse>, Status> {
        self.known(&request)?;
        let image = self.service.metadata.image();
        let node = tree(&image, self.controller.known(), &request.into_inner().path);
        Ok(Response::new(match node {
            Some(node) => ReadTreeResponse {
                found: true,
                value_json: node.value.map(|value| value.to_string()).unwrap_or_default(),
                children: node.children,
            },
            None => ReadTreeResponse::default(),
        }))
    }

    async fn describe_quorum(
        &self,
        request: Request<DescribeQuorumRequest>,
    ) -> Result<Response<DescribeQuorumResponse>, Status> {
        self.known(&request)?;
        let described = self.controller.quorum().await;
        described
            .map(Response::new)
            .map_err(|error| Status::unavailable(error.to_string()))
    }
}

/// Tells one watcher, until it goes or this broker stops. What changes while it is slow comes at once afterwards.
async fn follow(service: Service, sender: mpsc::Sender<Result<WatchResponse, Status>>) {
    let mut subscription = service.metadata.subscribe();
    let mut leadership = service.member.leadership();
    let mut known = subscription.latest();
    if sender
        .send(Ok(watched::whole(&known, service.leader_hint())))
        .await
        .is_err()
    {
        return;
    }
    loop {
        let mut another_leads = false;
        tokio::select! {
            changed = subscription.changed() => if changed.is_none() { return },
            changed = leadership.changed() => match changed {
                Ok(()) => another_leads = true,
                Err(_) => return,
            },
            () = sender.closed() => return,
        }
        let now = subscription.latest();
        let changed = watched::changes(&known.image, &now, service.leader_hint());
        let only_leader = || WatchResponse {
            index: now.index,
            leader: Some(service.leader_hint()),
            ..WatchResponse::default()
        };
        if let Some(response) = changed.or_else(|| another_leads.then(only_leader))
            && sender.send(Ok(response)).await.is_err()
        {
            return;
        }
        known = now;
    }
}

#[cfg(test)]
mod tests;
