//! The Fleet service: what the operator and the command line ask. Every write is idempotent and has a dry run; any broker
//! answers, and reaches the controller for its caller.

pub(super) mod credential;
mod deletion;

use std::pin::Pin;
use std::time::Duration;

use flotilla_control::proto::coordination::{DescribeQuorumRequest, DescribeQuorumResponse};
use flotilla_control::proto::fleet::fleet_server::Fleet as FleetService;
use flotilla_control::proto::fleet::{
    ApplyBrokerRequest, ApplyConfigRequest, ApplyResponse, ApplyTopicRequest, ApplyUserRequest,
    AssignRequest, DeleteTopicRequest, DeleteUserRequest, DrainRequest, ElectLeadersRequest,
    FinalizeFeaturesRequest, PlanRestartRequest, PlanRestartResponse, PrepareRestartRequest, ReadTreeRequest,
    ReadTreeResponse, RestartBatch, RestartBlocked, UnregisterBrokerRequest, VoterRequest, WatchRequest,
    WatchResponse,
};
use flotilla_control::proto::metadata::{
    AlterConfigs, AlterReassignments, ApplyUser, DeleteUser, PrepareRestart, Refusal, Request as Asked,
    Response as Decided, SetDrain, UnregisterBroker, request::Request as Kind,
};
use flotilla_protocol::BrokerId;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::client::Controller;
use super::electorate::{Electorate, HANDED_ON};
use super::latest::Subscription;
use super::listener::caller;
use super::options::Options;
use super::peers::Peers;
use super::quorum::Quorum as _;
use super::service::Service;
use super::watched::{self, Voting};
use crate::metadata::{plan_restart, tree};

/// Responses that wait for a slow watcher; meanwhile changes are collected.
const WATCH_QUEUE_MAX: usize = 2;
/// So long a watcher waits for a broker that knows no leader, before it is shown what was last known.
const LEADER_WAIT: Duration = Duration::from_secs(2);

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
    /// Changes who votes.
    pub electorate: Electorate,
}

type Answer = Result<Response<ApplyResponse>, Status>;

fn applied(decided: Decided) -> ApplyResponse {
    ApplyResponse {
        refusal: decided.refusal,
        message: decided.message,
        changed: decided.changed,
        items: decided.items,
        credential: Vec::new(),
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

    async fn change_voters(&self, request: Request<VoterRequest>, add: bool) -> Answer {
        self.known(&request)?;
        let handed_on = request.metadata().contains_key(HANDED_ON);
        let leader = self.controller.known().filter(|_| !handed_on);
        let changed = self.electorate.change(request.into_inner(), add, leader).await;
        changed.map(Response::new)
    }
}

type Watched = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl FleetService for Fleet {
    type WatchStream = Watched;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Watched>, Status> {
        self.known(&request)?;
        let (sender, receiver) = mpsc::channel(WATCH_QUEUE_MAX);
        let (stop, watcher) = (self.service.stop.clone(), self.clone().follow(sender));
        tokio::spawn(stop.run_until_cancelled_owned(watcher));
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
            previous_owner: asked.previous_owner,
            leave_acls: asked.leave_acls,
            leave_quotas: asked.leave_quotas,
        };
        let sent = user.credential.as_ref().map(credential::digest);
        let mut answer = self.ask(Kind::ApplyUser(user), asked.dry_run).await?;
        if answer.refusal() == Refusal::None {
            answer.credential = sent.unwrap_or_default();
        }
        Ok(Response::new(answer))
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

impl Fleet {
    /// Who leads and who votes: as this broker knows it where it takes part itself, else as a voter says.
    fn voting(&self) -> Voting {
        let own = self.service.voting();
        if self.service.member.takes_part() && own.leader.broker_id >= 0 {
            return own;
        }
        let observed = self.controller.observed().borrow().clone();
        let of_use = observed.leader.broker_id >= 0 || own.voters.is_empty();
        if of_use { observed } else { own }
    }

    /// Waits until this broker knows what the fleet is, so that nobody takes for gone what it has not heard of yet: until it has
    /// metadata and knows a leader; without a leader, for a while.
    async fn caught_up(&self, changes: &mut Subscription, observed: &mut watch::Receiver<Voting>) {
        let deadline = Instant::now() + LEADER_WAIT;
        let mut leadership = self.service.member.leadership();
        while self.service.metadata.index() == 0
            || (self.voting().leader.broker_id < 0 && Instant::now() < deadline)
        {
            let ended = tokio::select! {
                changed = changes.changed() => changed.is_none(),
                changed = leadership.changed() => changed.is_err(),
                changed = observed.changed() => changed.is_err(),
                () = sleep_until(deadline), if Instant::now() < deadline => false,
            };
            if ended {
                return;
            }
        }
    }

    /// Tells one watcher, until it goes or this broker stops. What changes while it is slow comes at once afterwards.
    async fn follow(self, sender: mpsc::Sender<Result<WatchResponse, Status>>) {
        let mut subscription = self.service.metadata.subscribe();
        let mut leadership = self.service.member.leadership();
        let mut electorate = self.service.member.electorate();
        let mut observed = self.controller.observed();
        self.caught_up(&mut subscription, &mut observed).await;
        let mut known = subscription.latest();
        let mut told = self.voting();
        if sender.send(Ok(watched::whole(&known, &told))).await.is_err() {
            return;
        }
        loop {
            let ended = tokio::select! {
                changed = subscription.changed() => changed.is_none(),
                changed = leadership.changed() => changed.is_err(),
                changed = electorate.changed() => changed.is_err(),
                changed = observed.changed() => changed.is_err(),
                () = sender.closed() => true,
            };
            if ended {
                return;
            }
            let now = subscription.latest();
            let voting = self.voting();
            let changed = watched::changes(&known.image, &now, (&told, &voting));
            if let Some(response) = changed
                && sender.send(Ok(response)).await.is_err()
            {
                return;
            }
            (known, told) = (now, voting);
        }
    }
}

#[cfg(test)]
mod tests;
