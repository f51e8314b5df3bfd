use std::time::Duration;

use flotilla_control::proto::coordination::{DescribeQuorumRequest, DescribeQuorumResponse};
use flotilla_control::proto::fleet::fleet_client::FleetClient;
use flotilla_control::proto::fleet::{
    ApplyBrokerRequest, ApplyConfigRequest, ApplyResponse, ApplyTopicRequest, ApplyUserRequest,
    AssignRequest, DeleteTopicRequest, DeleteUserRequest, DrainRequest, ElectLeadersRequest,
    FinalizeFeaturesRequest, PlanRestartRequest, PlanRestartResponse, PrepareRestartRequest, ReadTreeRequest,
    ReadTreeResponse, UnregisterBrokerRequest, VoterRequest,
};
use flotilla_control::proto::metadata::{
    ApplyTopic, BrokerPlacement, ElectLeaders, FeatureLevel, ItemResult, Owner, Reassignment, Refusal,
    ResourceConfigs, TopicPartition,
};
use flotilla_control::{BrokerId, Uuid};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use super::follow::{told, within};
use super::{Error, Fleet};

/// How long an answer may take, all brokers that are tried included.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a change of the quorum may take: a new voter has to catch up first.
pub const VOTER_TIMEOUT: Duration = Duration::from_secs(60);

/// What came of a write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Whether anything was (on a dry run: would be) written.
    pub changed: bool,
    /// Which credential of a user is in force, as `View::users` shows it.
    pub credential: Vec<u8>,
    /// What came of each item of a call that has several, in their order.
    pub items: Vec<ItemResult>,
}

impl Answer {
    /// The items that were refused, each as an error.
    pub fn refused(&self) -> impl Iterator<Item = (&ItemResult, Error)> + '_ {
        self.items.iter().filter_map(|item| {
            let refusal = Some(item.refusal()).filter(|refusal| *refusal != Refusal::None)?;
            let message = item.message.clone();
            Some((item, Error::Refused { refusal, message }))
        })
    }

    /// An error if any item was refused: that of the first.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn whole(self) -> Result<Self, Error> {
        let refused = self.refused().next().map(|(_, error)| error);
        refused.map_or(Ok(self), Err)
    }
}

/// A broker is asked, and another one where the connection breaks: every call may be repeated.
macro_rules! ask {
    ($fleet:expr, $limit:expr, $name:literal, $call:ident, $request:expr) => {{
        let request = $request;
        let ask = |mut client: FleetClient<Channel>| {
            let request = request.clone();
            async move { client.$call(request).await }
        };
        // Boxed: the state of a call is large, and reconciling has many of them.
        Box::pin($fleet.ask($name, $limit, ask)).await
    }};
}

impl Fleet {
    /// Rack and external addresses of a broker.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn apply_broker(&self, placement: BrokerPlacement) -> Result<Answer, Error> {
        let request = ApplyBrokerRequest {
            placement: Some(placement),
            dry_run: self.dry_run,
        };
        answered(ask!(self, CALL_TIMEOUT, "ApplyBroker", apply_broker, request)?)?.whole()
    }

    /// Makes a topic so.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn apply_topic(&self, topic: ApplyTopic) -> Result<Answer, Error> {
        let request = ApplyTopicRequest {
            topic: Some(topic),
            dry_run: self.dry_run,
        };
        answered(ask!(self, CALL_TIMEOUT, "ApplyTopic", apply_topic, request)?)?.whole()
    }

    /// Deletes a topic; with an owner, only if that resource owns it, and as its deletion policy says. A topic that is not there is
    /// not an error, and nothing has changed then.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_topic(&self, name: &str, owner: Option<Owner>) -> Result<Answer, Error> {
        let request = DeleteTopicRequest {
            name: name.to_owned(),
            owner,
            dry_run: self.dry_run,
        };
        let answer = answered(ask!(self, CALL_TIMEOUT, "DeleteTopic", delete_topic, request)?);
        gone(answer.and_then(Answer::whole), Refusal::UnknownTopic)
    }

    /// Makes a user so.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn apply_user(&self, user: ApplyUserRequest) -> Result<Answer, Error> {
        let request = ApplyUserRequest {
            dry_run: self.dry_run || user.dry_run,
            ..user
        };
        answered(ask!(self, CALL_TIMEOUT, "ApplyUser", apply_user, request)?)?.whole()
    }

    /// Deletes a user with its credentials, rules and quotas; with an owner, only if that resource owns it. A user that is not there
    /// is not an error.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_user(&self, name: &str, owner: Option<Owner>) -> Result<Answer, Error> {
        let request = DeleteUserRequest {
            name: name.to_owned(),
            owner,
            dry_run: self.dry_run,
        };
        let answer = answered(ask!(self, CALL_TIMEOUT, "DeleteUser", delete_user, request)?);
        gone(answer.and_then(Answer::whole), Refusal::ResourceNotFound)
    }

    /// Settings of the cluster, of brokers or of topics.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn apply_config(&self, resources: Vec<ResourceConfigs>) -> Result<Answer, Error> {
        let request = ApplyConfigRequest {
            resources,
            dry_run: self.dry_run,
        };
        answered(ask!(self, CALL_TIMEOUT, "ApplyConfig", apply_config, request)?)?.whole()
    }

    /// Moves replicas. Partitions are answered for one by one: [`Answer::refused`] says which cannot move, and the others do.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn assign(&self, partitions: Vec<Reassignment>) -> Result<Answer, Error> {
        let request = AssignRequest {
            partitions,
            dry_run: self.dry_run,
        };
        answered(ask!(self, CALL_TIMEOUT, "Assign", assign, request)?)
    }

    /// Lets preferred leaders lead, of these partitions or (of none) of all. Partitions are answered for one by one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn elect_leaders(&self, partitions: Vec<TopicPartition>) -> Result<Answer, Error> {
        let request = ElectLeadersRequest {
            election: Some(ElectLeaders {
                unclean: false,
                all_partitions: partitions.is_empty(),
                partitions,
            }),
            dry_run: self.dry_run,
        };
        answered(ask!(self, CALL_TIMEOUT, "ElectLeaders", elect_leaders, request)?)
    }

    /// Which of these brokers may be down together right now, in which batches, and why not the others.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn plan_restart(&self, brokers: &[BrokerId]) -> Result<PlanRestartResponse, Error> {
        let request = PlanRestartRequest {
            broker_ids: numbers(brokers),
        };
        ask!(self, CALL_TIMEOUT, "PlanRestart", plan_restart, request)
    }

    /// Asks for a grant to restart these brokers together, for so long. Once it is given they lead nothing that others can lead.
    ///
    /// # Errors
    /// [`Error`]; [`Refusal::NotSafeNow`] with the reason while they have to stay up.
    pub async fn prepare_restart(&self, brokers: &[BrokerId], grant: Duration) -> Result<Answer, Error> {
        let request = PrepareRestartRequest {
            broker_ids: numbers(brokers),
            grant_ms: i64::try_from(grant.as_millis()).unwrap_or(i64::MAX),
            release: false,
            dry_run: self.dry_run,
        };
        answered(ask!(
            self,
            CALL_TIMEOUT,
            "PrepareRestart",
            prepare_restart,
            request
        )?)?
        .whole()
    }

    /// Gives grants back once brokers are up again.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn release_restart(&self, brokers: &[BrokerId]) -> Result<Answer, Error> {
        let request = PrepareRestartRequest {
            broker_ids: numbers(brokers),
            grant_ms: 0,
            release: true,
            dry_run: self.dry_run,
        };
        answered(ask!(
            self,
            CALL_TIMEOUT,
            "PrepareRestart",
            prepare_restart,
            request
        )?)?
        .whole()
    }

    /// Gives a broker no new replicas, or does so again.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn drain(&self, broker: BrokerId, draining: bool) -> Result<Answer, Error> {
        let request = DrainRequest {
            broker_id: broker.0,
            draining,
            dry_run: self.dry_run,
        };
        answered(ask!(self, CALL_TIMEOUT, "Drain", drain, request)?)?.whole()
    }

    /// Forgets a broker that is gone.
    ///
    /// # Errors
    /// [`Error`]; [`Refusal::NotEmpty`] while it holds replicas.
    pub async fn unregister(&self, broker: BrokerId) -> Result<Answer, Error> {
        let request = UnregisterBrokerRequest {
            broker_id: broker.0,
            dry_run: self.dry_run,
        };
        answered(ask!(
            self,
            CALL_TIMEOUT,
            "UnregisterBroker",
            unregister_broker,
            request
        )?)?
        .whole()
    }

    /// Lets a broker vote, with the directory that it registered with or the one named. It may take [`VOTER_TIMEOUT`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_voter(&self, broker: BrokerId, directory: Option<Uuid>) -> Result<Answer, Error> {
        let request = self.voter(broker, directory);
        answered(ask!(self, VOTER_TIMEOUT, "AddVoter", add_voter, request)?)?.whole()
    }

    /// Lets a broker vote no longer. An emptied volume's old voter is named by its old directory.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn remove_voter(&self, broker: BrokerId, directory: Option<Uuid>) -> Result<Answer, Error> {
        let request = self.voter(broker, directory);
        answered(ask!(self, VOTER_TIMEOUT, "RemoveVoter", remove_voter, request)?)?.whole()
    }

    fn voter(&self, broker: BrokerId, directory: Option<Uuid>) -> VoterRequest {
        VoterRequest {
            broker_id: broker.0,
            directory_id: directory.map(|id| id.0.to_vec()).unwrap_or_default(),
            address: String::new(),
            dry_run: self.dry_run,
        }
    }

    /// Raises (or lowers) the levels of features.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn finalize_features(&self, features: Vec<FeatureLevel>) -> Result<Answer, Error> {
        let request = FinalizeFeaturesRequest {
            features,
            dry_run: self.dry_run,
        };
        answered(ask!(
            self,
            CALL_TIMEOUT,
            "FinalizeFeatures",
            finalize_features,
            request
        )?)?
        .whole()
    }

    /// Who leads, who votes, how far each is.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn describe_quorum(&self) -> Result<DescribeQuorumResponse, Error> {
        ask!(
            self,
            CALL_TIMEOUT,
            "DescribeQuorum",
            describe_quorum,
            DescribeQuorumRequest {}
        )
    }

    /// A part of the metadata as a tree.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn read_tree(&self, path: &str) -> Result<ReadTreeResponse, Error> {
        let request = ReadTreeRequest {
            path: path.to_owned(),
        };
        ask!(self, CALL_TIMEOUT, "ReadTree", read_tree, request)
    }

    async fn ask<T, F>(
        &self,
        name: &'static str,
        limit: Duration,
        ask: impl Fn(FleetClient<Channel>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        within(name, limit, self.ask_any(name, ask)).await?
    }

    async fn ask_any<T, F>(
        &self,
        name: &'static str,
        ask: impl Fn(FleetClient<Channel>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut troubles = Vec::new();
        for (id, address) in self.shared.candidates() {
            let trouble = match self.shared.client(id, &address) {
                Err(trouble) => trouble,
                Ok(client) => {
                    self.shared.counts.count(name);
                    match ask(client).await {
                        Ok(response) => return Ok(response.into_inner()),
                        Err(status) if is_final(status.code()) => {
                            let message = status.message().to_owned();
                            return Err(Error::Invalid { call: name, message });
                        }
                        Err(status) => told(&status),
                    }
                }
            };
            troubles.push(format!("broker {id} at {address}: {trouble}"));
        }
        if troubles.is_empty() {
            troubles.push("no broker is known".to_owned());
        }
        Err(Error::Unreachable(troubles.join("; ")))
    }
}

/// Whether every other broker would say the same.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument | Code::Unimplemented | Code::PermissionDenied | Code::OutOfRange
    )
}

fn answered(response: ApplyResponse) -> Result<Answer, Error> {
    match response.refusal() {
        Refusal::None => Ok(Answer {
            changed: response.changed,
            credential: response.credential,
            items: response.items,
        }),
        refusal => Err(Error::Refused {
            refusal,
            message: response.message,
        }),
    }
}

/// What was to be deleted and is not there needs no deletion.
fn gone(answer: Result<Answer, Error>, unknown: Refusal) -> Result<Answer, Error> {
    match answer {
        Err(error) if error.refusal() == Some(unknown) => Ok(Answer::default()),
        answer => answer,
    }
}

fn numbers(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|id| id.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(refusal: Refusal) -> ItemResult {
        ItemResult {
            refusal: refusal.into(),
            ..ItemResult::default()
        }
    }

    #[test]
    fn refused_item_is_an_error_only_of_a_call_about_one_thing() {
        let answer = answered(ApplyResponse {
            changed: true,
            items: vec![item(Refusal::None), item(Refusal::NotEnoughBrokers)],
            ..ApplyResponse::default()
        })
        .unwrap();
        assert_eq!(answer.refused().count(), 1);
        let error = answer.whole().unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.is_transient()),
            ("not enough brokers", true)
        );
    }

    #[test]
    fn deleting_what_is_not_there_changes_nothing() {
        let answer = |refusal: Refusal| {
            answered(ApplyResponse {
                refusal: refusal.into(),
                message: "why".to_owned(),
                ..ApplyResponse::default()
            })
        };
        assert_eq!(
            gone(answer(Refusal::UnknownTopic), Refusal::UnknownTopic),
            Ok(Answer::default())
        );
        let owned = gone(answer(Refusal::OwnedByAnother), Refusal::UnknownTopic).unwrap_err();
        assert_eq!(owned.to_string(), "why");
    }
}
