//! What a case finds when it asks: names of its own, and calls that make topics, groups and producers.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use flotilla_broker::auth::scram::Mechanism;
use flotilla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use flotilla_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use flotilla_protocol::messages::create_acls_request::AclCreation;
use flotilla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use flotilla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use flotilla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use flotilla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AlterUserScramCredentialsRequest,
    ConsumerGroupHeartbeatRequest, ConsumerProtocolSubscription, CreateAclsRequest, CreateTopicsRequest,
    DescribeGroupsRequest, DescribeTransactionsRequest, FindCoordinatorRequest, InitProducerIdRequest,
    JoinGroupRequest, LeaveGroupRequest, ListOffsetsRequest, MetadataRequest, ShareFetchRequest,
    ShareGroupHeartbeatRequest, SyncGroupRequest, TxnOffsetCommitRequest, create_topics_request,
    list_offsets_request, metadata_request,
};
use flotilla_protocol::wire::Writer;
use flotilla_protocol::{ErrorCode, Message as _, ProducerEpoch, ProducerId, Request, Str, Uuid, frame};

use crate::broker::{Broker, NOBODY, PASSWORD, Who};
use crate::cases::data::{record, write};
use crate::eventually::eventually;
use crate::raw::Connection;

/// Brokers take what is committed in soon after they have answered.
const SOON: Duration = Duration::from_secs(20);

pub struct Scene<'a> {
    pub broker: &'a mut Broker,
    /// In which the case asks.
    pub version: i16,
    /// No other case in no other version has it.
    pub name: String,
    /// Connections whose requests wait.
    waiting: Vec<Connection>,
}

/// Makes what all cases stand on: the one user, and coordinators that have loaded.
pub fn ground(broker: &mut Broker) {
    let mut scene = Scene::new(broker, 0, "ground".to_owned());
    scene.make_nobody().expect("the user is made");
    scene.wait_for("the coordinator of groups", |scene| {
        let coordinator = scene.call(3, &coordinator_of(GROUP))?;
        ensure!(coordinator.error_code == 0, "{coordinator:?}");
        let request = DescribeGroupsRequest {
            groups: vec!["ground".into()],
            ..Default::default()
        };
        let groups = scene.call(5, &request)?;
        ensure!(groups.groups[0].error_code == 0, "{groups:?}");
        Ok(())
    });
    scene.wait_for("the coordinator of transactions", |scene| {
        let coordinator = scene.call(3, &coordinator_of(TRANSACTION))?;
        ensure!(coordinator.error_code == 0, "{coordinator:?}");
        let request = InitProducerIdRequest {
            transactional_id: Some("ground".into()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let producer = scene.call(4, &request)?;
        ensure!(producer.error_code == 0, "{producer:?}");
        Ok(())
    });
    scene.wait_for("the user to get in", |scene| {
        let request = MetadataRequest::default();
        let answer = scene.broker.call(Who::Nobody, 12, &request)?;
        answer.context("the user is answered")
    });
}

/// Kinds of coordinators, as FindCoordinator counts.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// Kinds of resources in rules (KIP-140).
const GROUP_RESOURCE: i8 = 3;
const TRANSACTIONAL_ID_RESOURCE: i8 = 5;

fn coordinator_of(key_type: i8) -> FindCoordinatorRequest {
    FindCoordinatorRequest {
        key: "ground".into(),
        key_type,
        ..Default::default()
    }
}

/// A topic that is ready.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: Str,
    pub id: Uuid,
}

impl Topic {
    /// One that is not there.
    pub fn unknown(name: Str) -> Self {
        Self {
            name,
            id: Uuid([7; 16]),
        }
    }
}

/// A member of a group, of either protocol.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: Str,
    /// Or its epoch.
    pub generation: i32,
}

impl Member {
    /// How those commit offsets who are in no group.
    pub fn none() -> Self {
        Self {
            id: "".into(),
            generation: -1,
        }
    }

    pub fn made_up() -> Self {
        Self {
            id: "made-up".into(),
            generation: 1,
        }
    }
}

/// A producer with the transactional id of its case.
#[derive(Clone, Copy, Debug)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
}

/// Joins a classic group whose only topic has the group's name.
pub fn join(group: Str, version: i16, member: &str, instance: Option<&'static str>) -> JoinGroupRequest {
    let subscription = ConsumerProtocolSubscription {
        topics: vec![group.clone()],
        ..Default::default()
    };
    let mut metadata = Writer::new();
    metadata.i16(0);
    subscription
        .encode(&mut metadata, 0)
        .expect("a subscription of version 0");
    JoinGroupRequest {
        group_id: group,
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: if version > 0 { 60_000 } else { -1 },
        member_id: Str::copy_from(member),
        group_instance_id: instance.map(Str::from),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: metadata.into_bytes(),
        }],
        reason: None,
    }
}

/// A heartbeat of the new protocol; with a topic it says all that a member must say at first.
pub fn consumer(group: Str, member: &str, epoch: i32, topic: Option<Str>) -> ConsumerGroupHeartbeatRequest {
    let whole = topic.is_some();
    ConsumerGroupHeartbeatRequest {
        group_id: group,
        member_id: Str::copy_from(member),
        member_epoch: epoch,
        rebalance_timeout_ms: if whole { 60_000 } else { -1 },
        subscribed_topic_names: topic.map(|topic| vec![topic]),
        topic_partitions: whole.then(Vec::new),
        ..Default::default()
    }
}

/// A heartbeat of a share group's member; with a topic it joins.
pub fn share_member(group: Str, member: &str, epoch: i32, topic: Option<Str>) -> ShareGroupHeartbeatRequest {
    ShareGroupHeartbeatRequest {
        group_id: group,
        member_id: Str::copy_from(member),
        member_epoch: epoch,
        subscribed_topic_names: topic.map(|topic| vec![topic]),
        ..Default::default()
    }
}

impl<'a> Scene<'a> {
    pub fn new(broker: &'a mut Broker, version: i16, name: String) -> Self {
        broker.forget_stranger();
        Self {
            broker,
            version,
            name,
            waiting: Vec::new(),
        }
    }

    fn make_nobody(&mut self) -> Result<()> {
        const ITERATIONS: u16 = 4_096;
        let salt = b"a salt";
        let salted = Mechanism::Sha512.salted_password(PASSWORD, salt, ITERATIONS.into());
        let user = ScramCredentialUpsertion {
            name: NOBODY.into(),
            mechanism: Mechanism::Sha512.code(),
            iterations: ITERATIONS.into(),
            salt: Bytes::from_static(salt),
            salted_password: salted.into(),
        };
        let request = AlterUserScramCredentialsRequest {
            upsertions: vec![user],
            ..Default::default()
        };
        let made = self.call(0, &request)?;
        ensure!(made.results[0].error_code == 0, "{made:?}");
        Ok(())
    }

    pub fn name(&self) -> Str {
        Str::from(&self.name)
    }

    /// A call of the administrator's that is answered.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response>
    where
        R::Response: Debug,
    {
        let answer = self.broker.call(Who::Administrator, version, request)?;
        answer.with_context(|| format!("{} closed the connection", R::KEY.name()))
    }

    /// A topic of one partition.
    pub fn topic(&mut self) -> Result<Topic> {
        self.topic_with(1, &[])
    }

    pub fn topic_with(&mut self, partitions: i32, configs: &[(&'static str, &'static str)]) -> Result<Topic> {
        let topic = create_topics_request::CreatableTopic {
            name: self.name(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs
                .iter()
                .map(|(name, value)| create_topics_request::CreatableTopicConfig {
                    name: Str::from(*name),
                    value: Some(Str::from(*value)),
                })
                .collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..Default::default()
        };
        let made = self.call(7, &request)?;
        let code = ErrorCode::from(made.topics[0].error_code);
        ensure!(
            code == ErrorCode::None,
            "{} is not created: {}",
            self.name,
            code.name()
        );
        self.wait_for_topic(partitions);
        Ok(Topic {
            name: self.name(),
            id: made.topics[0].topic_id,
        })
    }

    /// Waits until all leaders of the topic of this case serve.
    pub fn wait_for_topic(&mut self, partitions: i32) {
        let partitions = (0..partitions).map(|index| list_offsets_request::ListOffsetsPartition {
            partition_index: index,
            timestamp: -1,
            ..Default::default()
        });
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![list_offsets_request::ListOffsetsTopic {
                name: self.name(),
                partitions: partitions.collect(),
            }],
            ..Default::default()
        };
        let known = MetadataRequest {
            topics: Some(vec![metadata_request::MetadataRequestTopic {
                name: Some(self.name()),
                ..Default::default()
            }]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        self.wait_for("the topic's leaders", |scene| {
            let known = scene.call(12, &known)?;
            ensure!(known.topics[0].error_code == 0, "{known:?}");
            let answer = scene.call(7, &request)?;
            let mut of = answer.topics.iter().flat_map(|topic| &topic.partitions);
            ensure!(of.all(|partition| partition.error_code == 0), "{answer:?}");
            Ok(())
        });
    }

    /// Waits for what a broker does in its own time.
    pub fn wait_for<T>(&mut self, what: &str, mut attempt: impl FnMut(&mut Self) -> Result<T>) -> T {
        let what = format!("{what} ({})", self.name);
        eventually(SOON, &what, || {
            attempt(self).map_err(|error| format!("{error:#}"))
        })
    }

    /// The id that a classic group gives its next member.
    pub fn member_id(&mut self) -> Result<Str> {
        let answer = self.call(5, &join(self.name(), 5, "", None))?;
        ensure!(
            answer.error_code == ErrorCode::MemberIdRequired.code(),
            "{answer:?}"
        );
        Ok(answer.member_id)
    }

    /// The only member of a classic group, which waits for its assignment.
    pub fn joined_member(&mut self, instance: Option<&'static str>) -> Result<Member> {
        let id = match instance {
            None => self.member_id()?,
            Some(_) => "".into(),
        };
        let answer = self.call(5, &join(self.name(), 5, &id, instance))?;
        ensure!(answer.error_code == 0, "{answer:?}");
        Ok(Member {
            id: answer.member_id,
            generation: answer.generation_id,
        })
    }

    /// Until the group is told of: brokers do that once its first record is committed, which members do not wait for.
    pub fn wait_for_group(&mut self) {
        let request = DescribeGroupsRequest {
            groups: vec![self.name()],
            ..Default::default()
        };
        self.wait_for("the group to be known", |scene| {
            let answer = scene.call(5, &request)?;
            ensure!(answer.groups[0].group_state != "Dead", "{answer:?}");
            Ok(())
        });
    }

    /// The only member of a classic group, with its assignment.
    pub fn stable_member(&mut self, instance: Option<&'static str>) -> Result<Member> {
        let member = self.joined_member(instance)?;
        let request = SyncGroupRequest {
            group_id: self.name(),
            generation_id: member.generation,
            member_id: member.id.clone(),
            assignments: vec![SyncGroupRequestAssignment {
                member_id: member.id.clone(),
                assignment: Bytes::from_static(b"an assignment"),
            }],
            ..Default::default()
        };
        let answer = self.call(3, &request)?;
        ensure!(answer.error_code == 0, "{answer:?}");
        Ok(member)
    }

    /// A classic group that its only member has left.
    pub fn empty_group(&mut self) -> Result<()> {
        let member = self.stable_member(None)?;
        let request = LeaveGroupRequest {
            group_id: self.name(),
            member_id: member.id,
            ..Default::default()
        };
        let answer = self.call(2, &request)?;
        ensure!(answer.error_code == 0, "{answer:?}");
        Ok(())
    }

    /// Another member joins the classic group, and waits for the first.
    pub fn join_of_another(&mut self) -> Result<()> {
        // Of a version that asks for no id before.
        const VERSION: i16 = 3;
        let request = join(self.name(), VERSION, "", None);
        let mut connection = self.broker.connection()?;
        connection.send(&frame::request(VERSION, 1, None, &request)?.concat())?;
        self.waiting.push(connection);
        let group = DescribeGroupsRequest {
            groups: vec![self.name()],
            ..Default::default()
        };
        self.wait_for("the group to rebalance", |scene| {
            let answer = scene.call(5, &group)?;
            ensure!(answer.groups[0].group_state == "PreparingRebalance", "{answer:?}");
            Ok(())
        });
        Ok(())
    }

    /// An id for a member of the new protocol.
    pub fn member_name(&self) -> String {
        format!("member-of-{}", self.name)
    }

    /// The only member of a group of the new protocol, of the topic that has its name; with an instance where one is named.
    pub fn consumer(&mut self, instance: &'static str) -> Result<Member> {
        let request = ConsumerGroupHeartbeatRequest {
            instance_id: (!instance.is_empty()).then(|| instance.into()),
            ..consumer(self.name(), &self.member_name(), 0, Some(self.name()))
        };
        let answer = self.call(1, &request)?;
        ensure!(answer.error_code == 0, "{answer:?}");
        Ok(Member {
            id: self.member_name().into(),
            generation: answer.member_epoch,
        })
    }

    /// The only member of a share group, of a topic that is not there. Gives its epoch.
    pub fn share_member(&mut self, member: &str) -> Result<i32> {
        let request = share_member(self.name(), member, 0, Some("not-there".into()));
        let answer = self.call(1, &request)?;
        ensure!(answer.error_code == 0, "{answer:?}");
        Ok(answer.member_epoch)
    }

    /// A share group whose only member has left it.
    pub fn left_share_group(&mut self, member: &str) -> Result<()> {
        self.share_member(member)?;
        let answer = self.call(1, &share_member(self.name(), member, -1, None))?;
        ensure!(answer.error_code == 0, "{answer:?}");
        Ok(())
    }

    /// A share session that this request opens.
    pub fn share_session(&mut self, request: &ShareFetchRequest) -> Result<()> {
        let answer = self.call(2, request)?;
        ensure!(answer.error_code == 0, "{answer:?}");
        Ok(())
    }

    /// A topic that the coordinator of groups has heard of, too.
    pub fn topic_for_consumers(&mut self, partitions: i32) -> Result<Topic> {
        let topic = self.topic_with(partitions, &[])?;
        let group = Str::from(format!("before-{}", self.name));
        let request = consumer(group, "a-member-before", 0, Some(self.name()));
        self.wait_for("an assignment", |scene| {
            let answer = scene.call(1, &request)?;
            let assigned = answer.assignment.as_ref();
            ensure!(
                assigned.is_some_and(|assigned| !assigned.topic_partitions.is_empty()),
                "{answer:?}"
            );
            Ok(())
        });
        Ok(topic)
    }

    /// Lets the user who may nothing read in the group of this case.
    pub fn allow_group(&mut self) -> Result<()> {
        const READ: i8 = 3;
        self.allow(GROUP_RESOURCE, READ)?;
        let request = DescribeGroupsRequest {
            groups: vec![self.name()],
            ..Default::default()
        };
        self.wait_for("the rule", |scene| {
            let answer = scene.broker.call(Who::Nobody, 5, &request)?;
            let answer = answer.context("the user is answered")?;
            let refused = ErrorCode::GroupAuthorizationFailed.code();
            ensure!(answer.groups[0].error_code != refused, "{answer:?}");
            Ok(())
        });
        Ok(())
    }

    /// A rule for the user who may nothing, on what has the name of this case.
    fn allow(&mut self, resource_type: i8, operation: i8) -> Result<()> {
        const LITERAL: i8 = 3;
        const ALLOW: i8 = 3;
        let rule = AclCreation {
            resource_type,
            resource_name: self.name(),
            resource_pattern_type: LITERAL,
            principal: format!("User:{NOBODY}").into(),
            host: "*".into(),
            operation,
            permission_type: ALLOW,
        };
        let answer = self.call(
            3,
            &CreateAclsRequest {
                creations: vec![rule],
            },
        )?;
        ensure!(answer.results[0].error_code == 0, "{answer:?}");
        Ok(())
    }

    /// A producer with the transactional id of this case.
    pub fn producer(&mut self) -> Result<Producer> {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.name()),
            transaction_timeout_ms: 600_000,
            ..Default::default()
        };
        let answer = self.call(4, &request)?;
        ensure!(answer.error_code == 0, "{answer:?}");
        Ok(Producer {
            id: answer.producer_id,
            epoch: answer.producer_epoch,
        })
    }

    /// The same, with a transaction open that has partition 0 of a topic in it.
    pub fn open_transaction(&mut self, topic: &Topic) -> Result<Producer> {
        let producer = self.producer()?;
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.name(),
            v3_and_below_producer_id: producer.id,
            v3_and_below_producer_epoch: producer.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: topic.name.clone(),
                partitions: vec![0],
            }],
            ..Default::default()
        };
        let answer = self.call(3, &request)?;
        let result = &answer.results_by_topic_v3_and_below[0].results_by_partition[0];
        ensure!(result.partition_error_code == 0, "{answer:?}");
        Ok(producer)
    }

    /// A transaction that has the offsets of the group of this case in it.
    pub fn open_transaction_of_group(&mut self) -> Result<Producer> {
        let producer = self.producer()?;
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.name(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            group_id: self.name(),
        };
        let answer = self.call(3, &request)?;
        ensure!(answer.error_code == 0, "{answer:?}");
        Ok(producer)
    }

    /// An offset of a topic that a transaction has not committed yet.
    pub fn uncommitted_offset(&mut self, topic: &Topic) -> Result<Producer> {
        let producer = self.open_transaction_of_group()?;
        let request = TxnOffsetCommitRequest {
            transactional_id: self.name(),
            group_id: self.name(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: topic.name.clone(),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    committed_offset: 5,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        let answer = self.call(3, &request)?;
        ensure!(answer.topics[0].partitions[0].error_code == 0, "{answer:?}");
        Ok(producer)
    }

    /// A producer that its successor has fenced, whose transaction has the group of this case in it.
    pub fn fenced_producer(&mut self) -> Result<Producer> {
        let old = self.producer()?;
        self.open_transaction_of_group()?;
        Ok(old)
    }

    /// Writes one record of an idempotent producer of its own.
    pub fn write_idempotent(&mut self, topic: &Topic) -> Result<()> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let producer = self.call(4, &request)?;
        let batch = record().producer(ProducerId(producer.producer_id), ProducerEpoch(0), 0);
        let answer = self.call(9, &write(topic, 9, batch.build().freeze()))?;
        let code = answer.responses[0].partition_responses[0].error_code;
        ensure!(code == 0, "{answer:?}");
        Ok(())
    }

    /// Lets the user who may nothing use the transactional id of this case.
    pub fn allow_transactional_id(&mut self) -> Result<()> {
        const WRITE: i8 = 4;
        self.allow(TRANSACTIONAL_ID_RESOURCE, WRITE)?;
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![self.name()],
        };
        self.wait_for("the rule", |scene| {
            let answer = scene.broker.call(Who::Nobody, 0, &request)?;
            let answer = answer.context("the user is answered")?;
            let refused = ErrorCode::TransactionalIdAuthorizationFailed.code();
            ensure!(answer.transaction_states[0].error_code != refused, "{answer:?}");
            Ok(())
        });
        Ok(())
    }
}
