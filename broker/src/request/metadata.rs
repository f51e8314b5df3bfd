//! Metadata: which brokers there are, which topics, and who leads their partitions (KIP-4, KIP-430, KIP-516).

use super::leader_hint::NEWS;
use super::partition_view::{Form, PartitionView, controller_id, missing};
use super::{Context, OPERATIONS_NOT_ASKED, Reply, error};
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};
use crate::coordination::KNOCK_INTERVAL;
use crate::metadata::{self, Image, Topic, is_internal};
use flotilla_control::proto::metadata::{CreateTopic, CreateTopics, Request, request};
use flotilla_protocol::messages::metadata_request::MetadataRequestTopic;
use flotilla_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use flotilla_protocol::messages::{MetadataRequest, MetadataResponse};
use flotilla_protocol::{BrokerId, ErrorCode, Str, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// A client that asks again sooner is on the look-out already.
const AFTER_A_WHILE: Duration = Duration::from_secs(1);
/// How long a client's question waits for new leaders where those that there were are gone. A client that is told that there is none asks
/// again in its own time: librdkafka a second later, if it was not just producing.
const ELECTION_MAX: Duration = Duration::from_millis(300);
/// How long a broker that died is listed still. In Kafka it is listed for its session, which is 9 s there. For longer than clients need
/// to hear of the next leaders would be wrong: one that is listed no more and comes back is connected to at once, and otherwise when the
/// client's pause after its last try is over.
const LISTED: Duration = Duration::from_secs(2);
/// How long a client's question waits for a topic that it creates by asking.
const CREATE_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers it when its turn has come: behind a Produce that waits for a leader that died, what was known when it came is not worth much
/// any more. A client that asks again after a while may have seen a leader go, and be faster than the news is here.
pub(super) fn in_turn(ctx: &Context, request: MetadataRequest) -> Reply<MetadataResponse> {
    let (ctx, came) = (ctx.clone(), Instant::now());
    let last = mem::replace(&mut *ctx.session.asked_metadata.lock(), came);
    Reply::Later(Box::pin(async move {
        if last.elapsed() >= AFTER_A_WHILE {
            sleep(NEWS).await;
        }
        let deadline = Instant::now() + ELECTION_MAX;
        let mut images = ctx.broker.metadata.subscribe();
        while lacks_leader(&ctx, &images.latest().image, &request) && Instant::now() < deadline {
            // A broker that was presumed gone may turn out to be there.
            let next_look = deadline.min(Instant::now() + KNOCK_INTERVAL);
            if matches!(timeout_at(next_look, images.changed()).await, Ok(None)) {
                break;
            }
        }
        answer(&ctx, came, request).await
    }))
}

/// Whether a partition that is asked for is led by a broker that is gone, so that it will have another leader in a moment.
fn lacks_leader(ctx: &Context, image: &Image, request: &MetadataRequest) -> bool {
    let is_gone = |id| {
        let is_serving = image.broker(id).is_some_and(|broker| !broker.fenced);
        is_serving && ctx.broker.present(image, id).is_none()
    };
    let gone: BTreeSet<BrokerId> = image
        .brokers()
        .map(|broker| broker.id)
        .filter(|id| is_gone(*id))
        .collect();
    if gone.is_empty() {
        return false;
    }
    let is_led_by_them = |topic: &Topic| {
        let mut partitions = topic.partitions();
        partitions.any(|(_, partition)| partition.leader.is_some_and(|leader| gone.contains(&leader)))
    };
    match Asked::read(ctx, request) {
        Ok(Asked::All) => image.topics().any(|topic| is_led_by_them(topic)),
        Ok(Asked::Names(names)) => names
            .iter()
            .filter_map(|name| image.topic(name))
            .any(|topic| is_led_by_them(topic)),
        Ok(Asked::Ids(ids)) => ids
            .iter()
            .filter_map(|id| image.topic_by_id(*id))
            .any(|topic| is_led_by_them(topic)),
        Err(_) => false,
    }
}

async fn answer(ctx: &Context, came: Instant, request: MetadataRequest) -> MetadataResponse {
    let asked = match Asked::read(ctx, &request) {
        Ok(asked) => asked,
        Err(topics) => return describe_cluster(ctx, came, &ctx.image(), &request, topics),
    };
    let mut errors = BTreeMap::new();
    if let Asked::Names(names) = &asked
        && request.allow_auto_topic_creation
        && ctx.broker.settings().auto_create_topics_enable
    {
        errors = create(ctx, names).await;
    }
    let image = ctx.image();
    let view = View {
        ctx,
        image: &image,
        with_operations: request.include_topic_authorized_operations,
    };
    let topics = match &asked {
        Asked::All => image
            .topics()
            .filter(|topic| ctx.allowed_in(&image, Operation::Describe, ResourceType::Topic, &topic.name))
            .map(|topic| view.topic(topic))
            .collect(),
        Asked::Names(names) => names
            .iter()
            .map(|name| view.by_name(name, errors.get(name).copied()))
            .collect(),
        Asked::Ids(ids) => ids.iter().map(|id| view.by_id(*id)).collect(),
    };
    describe_cluster(ctx, came, &image, &request, topics)
}

/// Which topics a client asks for.
enum Asked {
    All,
    Names(BTreeSet<String>),
    Ids(BTreeSet<Uuid>),
}

impl Asked {
    /// Version 0 asks for all with an empty list, later ones with none. Since version 12 a topic may be named by its id
    /// alone; a request that does so earlier is refused, topic by topic.
    fn read(ctx: &Context, request: &MetadataRequest) -> Result<Self, Vec<MetadataResponseTopic>> {
        let topics = match &request.topics {
            None => return Ok(Self::All),
            Some(topics) if topics.is_empty() && ctx.version == 0 => return Ok(Self::All),
            Some(topics) => topics,
        };
        let by_id = |topic: &MetadataRequestTopic| topic.name.is_none() || !topic.topic_id.is_zero();
        if ctx.version < 12 && topics.iter().any(by_id) {
            let refused = |topic: &MetadataRequestTopic| {
                let name = topic.name.clone().unwrap_or_default();
                failed(ErrorCode::InvalidRequest, Some(name), topic.topic_id)
            };
            return Err(topics.iter().map(refused).collect());
        }
        let ids: BTreeSet<Uuid> = topics
            .iter()
            .map(|topic| topic.topic_id)
            .filter(|id| !id.is_zero())
            .collect();
        if !ids.is_empty() {
            return Ok(Self::Ids(ids));
        }
        let names = topics
            .iter()
            .filter_map(|topic| topic.name.as_deref())
            .map(ToOwned::to_owned);
        Ok(Self::Names(names.collect()))
    }
}

/// Creates those that are not there and that the client may create; says why the others were not created. Topics that Kafka
/// keeps for itself come into being when they are needed, not when somebody asks.
async fn create(ctx: &Context, names: &BTreeSet<String>) -> BTreeMap<String, ErrorCode> {
    let image = ctx.image();
    let anything = ctx.allowed_in(&image, Operation::Create, ResourceType::Cluster, CLUSTER_RESOURCE);
    let mut errors = BTreeMap::new();
    let mut topics = Vec::new();
    for name in names {
        let unknown = image.topic(name).is_none()
            && !is_internal(name)
            && missing(name) == ErrorCode::UnknownTopicOrPartition;
        if !unknown || !ctx.allowed_in(&image, Operation::Describe, ResourceType::Topic, name) {
            continue;
        }
        if anything || ctx.allowed_in(&image, Operation::Create, ResourceType::Topic, name) {
            let topic = CreateTopic {
                name: name.clone(),
                partitions: -1,
                replication_factor: -1,
                ..CreateTopic::default()
            };
            topics.push(topic);
        } else {
            errors.insert(name.clone(), ErrorCode::TopicAuthorizationFailed);
        }
    }
    if topics.is_empty() {
        return errors;
    }
    let asked: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let request = request::Request::CreateTopics(CreateTopics { topics });
    let request = Request {
        validate_only: false,
        request: Some(request),
    };
    match ctx.broker.controller.submit_within(request, CREATE_TIMEOUT).await {
        Ok(response) => {
            let (whole, _) = error::of_response(&response);
            for (name, item) in asked
                .into_iter()
                .zip(response.items.iter().map(Some).chain(std::iter::repeat(None)))
            {
                let code = item.map_or(whole, |item| error::of_item(item).0);
                if code.is_error() && code != ErrorCode::TopicAlreadyExists {
                    tracing::info!(topic = name, error = %code, "topic was not created for a client that asked for it");
                    errors.insert(name, code);
                }
            }
        }
        // The client asks again.
        Err(error) => tracing::info!(%error, "topics were not created for a client that asked for them"),
    }
    errors
}

struct View<'a> {
    ctx: &'a Context,
    image: &'a Image,
    with_operations: bool,
}

impl View<'_> {
    fn by_name(&self, name: &str, error: Option<ErrorCode>) -> MetadataResponseTopic {
        let told = Some(Str::copy_from(name));
        if !self
            .ctx
            .allowed_in(self.image, Operation::Describe, ResourceType::Topic, name)
        {
            // Whether it exists is not told either.
            return failed(ErrorCode::TopicAuthorizationFailed, told, Uuid::ZERO);
        }
        match self.image.topic(name) {
            Some(topic) => self.topic(topic),
            None => failed(error.unwrap_or_else(|| missing(name)), told, Uuid::ZERO),
        }
    }

    fn by_id(&self, id: Uuid) -> MetadataResponseTopic {
        match self.image.topic_by_id(id) {
            None => failed(ErrorCode::UnknownTopicId, None, id),
            Some(topic)
                if !self.ctx.allowed_in(
                    self.image,
                    Operation::Describe,
                    ResourceType::Topic,
                    &topic.name,
                ) =>
            {
                failed(ErrorCode::TopicAuthorizationFailed, None, id)
            }
            Some(topic) => self.topic(topic),
        }
    }

    fn topic(&self, topic: &Topic) -> MetadataResponseTopic {
        let form = match self.ctx.version {
            0 => Form::ReachableOnly,
            1..=5 => Form::WithoutListenerError,
            _ => Form::Current,
        };
        let partitions = topic.partitions().map(|(index, partition)| {
            let view = PartitionView::of(self.ctx, self.image, partition, form);
            MetadataResponsePartition {
                error_code: view.error.into(),
                partition_index: index.0,
                leader_id: view.leader,
                leader_epoch: view.leader_epoch,
                replica_nodes: view.replicas,
                isr_nodes: view.isr,
                offline_replicas: view.offline,
            }
        });
        let operations = if self.with_operations {
            self.ctx
                .authorized_operations(self.image, ResourceType::Topic, &topic.name)
        } else {
            OPERATIONS_NOT_ASKED
        };
        MetadataResponseTopic {
            error_code: ErrorCode::None.into(),
            name: Some(Str::copy_from(&topic.name)),
            topic_id: topic.id,
            is_internal: is_internal(&topic.name),
            partitions: partitions.collect(),
            topic_authorized_operations: operations,
        }
    }
}

fn failed(error: ErrorCode, name: Option<Str>, topic_id: Uuid) -> MetadataResponseTopic {
    let is_internal = name.as_deref().is_some_and(is_internal);
    MetadataResponseTopic {
        error_code: error.into(),
        name,
        topic_id,
        is_internal,
        ..MetadataResponseTopic::default()
    }
}

fn describe_cluster(
    ctx: &Context,
    came: Instant,
    image: &Image,
    request: &MetadataRequest,
    topics: Vec<MetadataResponseTopic>,
) -> MetadataResponse {
    let listed = image.brokers().filter(|broker| is_listed(ctx, broker, came));
    let brokers = listed.filter_map(|broker| {
        let endpoint = ctx.endpoint(broker)?;
        Some(MetadataResponseBroker {
            node_id: broker.id.0,
            host: Str::copy_from(&endpoint.host),
            port: i32::try_from(endpoint.port).ok()?,
            rack: broker.rack().map(Str::copy_from),
        })
    });
    let may_describe = || {
        ctx.allowed_in(
            image,
            Operation::Describe,
            ResourceType::Cluster,
            CLUSTER_RESOURCE,
        )
    };
    let operations = match request.include_cluster_authorized_operations {
        false => OPERATIONS_NOT_ASKED,
        true if may_describe() => ctx.authorized_operations(image, ResourceType::Cluster, CLUSTER_RESOURCE),
        true => 0,
    };
    MetadataResponse {
        throttle_time_ms: 0,
        brokers: brokers.collect(),
        cluster_id: Some(Str::copy_from(&ctx.broker.cluster_id)),
        controller_id: controller_id(ctx, image),
        topics,
        cluster_authorized_operations: operations,
        error_code: ErrorCode::None.into(),
    }
}

/// A client ends what it has to do with a broker that is not listed, and some lose thereby what the same answer says of new leaders
/// (librdkafka 2.12 does, and asks again a second later): one that died a moment ago is listed still. One that went in good order gave
/// its leaderships up before, and is listed only for who asked earlier than that.
fn is_listed(ctx: &Context, broker: &metadata::Broker, came: Instant) -> bool {
    let listed_for = match broker.in_controlled_shutdown {
        true => Duration::ZERO,
        false => LISTED,
    };
    let fenced_at = || ctx.broker.metadata.fenced_at(broker);
    !broker.fenced || fenced_at().is_some_and(|fenced_at| came < fenced_at + listed_for)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Authorizer, PatternType, PermissionType, Principal};
    use crate::broker::Broker;
    use crate::coordination::Knocked;
    use crate::metadata::Fact;
    use crate::request::testing::{self, context_of};
    use flotilla_control::proto::metadata as proto;
    use flotilla_protocol::BrokerEpoch;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    const ORDERS: Uuid = Uuid([1; 16]);

    fn image() -> Image {
        let acl = proto::Acl {
            id: vec![9; 16],
            resource_type: ResourceType::Topic.code().into(),
            resource_name: "orders".into(),
            pattern_type: PatternType::Literal.code().into(),
            principal: "User:alice".into(),
            host: "*".into(),
            operation: Operation::Read.code().into(),
            permission_type: PermissionType::Allow.code().into(),
        };
        let partition = |index, leader| proto::Partition {
            topic_id: ORDERS.0.to_vec(),
            partition: index,
            replicas: vec![0, 1, 2],
            isr: vec![0],
            leader,
            leader_epoch: 3,
            ..proto::Partition::default()
        };
        let topic = proto::Topic {
            name: "orders".into(),
            topic_id: ORDERS.0.to_vec(),
            owner: None,
        };
        testing::image([
            Fact::Broker(testing::broker_record(0, false)),
            Fact::Broker(testing::broker_record(1, false)),
            Fact::Broker(testing::broker_record(2, true)),
            Fact::Topic(topic),
            Fact::Partition(partition(0, 0)),
            Fact::Partition(partition(1, 2)),
            Fact::Acl(acl),
        ])
    }

    fn named(names: &[&'static str]) -> MetadataRequest {
        let topic = |name: &&'static str| MetadataRequestTopic {
            name: Some((*name).into()),
            topic_id: Uuid::ZERO,
        };
        MetadataRequest {
            topics: Some(names.iter().map(topic).collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        }
    }

    fn alice(version: i16) -> Context {
        let broker = Broker::in_memory_with(image(), Authorizer::acl(["admin"], false));
        context_of(broker, Principal::user("alice"), version)
    }

    #[tokio::test]
    async fn reachable_brokers_and_whole_partitions_are_told() {
        let response = handle(&alice(13), named(&["orders"])).await;
        let brokers: Vec<(i32, &str, i32)> = response
            .brokers
            .iter()
            .map(|broker| (broker.node_id, broker.host.as_str(), broker.port))
            .collect();
        assert_eq!(
            brokers,
            [(0, "host-0", 9092), (1, "host-1", 9092)],
            "the fenced one is left out"
        );
        assert_eq!(response.controller_id, 0);
        let partition = |index, error: ErrorCode, leader_id| MetadataResponsePartition {
            error_code: error.into(),
            partition_index: index,
            leader_id,
            leader_epoch: 3,
            replica_nodes: vec![0, 1, 2],
            isr_nodes: vec![0],
            offline_replicas: vec![2],
        };
        let expected = MetadataResponseTopic {
            error_code: 0,
            name: Some("orders".into()),
            topic_id: ORDERS,
            is_internal: false,
            partitions: vec![
                partition(0, ErrorCode::None, 0),
                partition(1, ErrorCode::LeaderNotAvailable, -1),
            ],
            topic_authorized_operations: OPERATIONS_NOT_ASKED,
        };
        assert_eq!(response.topics, [expected]);
    }

    #[tokio::test]
    async fn clients_are_not_sent_to_a_leader_that_is_known_to_be_gone() {
        let ctx = alice(13);
        let seen = async || {
            let topics = handle(&ctx, named(&["orders"])).await.topics;
            let partition = &topics[0].partitions[0];
            (partition.error_code, partition.leader_id)
        };
        assert_eq!(seen().await, (ErrorCode::None.into(), 0));
        let connections = ctx.broker.connections.clone();
        let knocking = knock(&ctx);
        connections.hung_up(BrokerId(0), Instant::now());
        let noticed = async {
            while connections.refused().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), noticed).await.expect("in time");
        assert_eq!(seen().await, (ErrorCode::LeaderNotAvailable.into(), -1));
        knocking.abort();
    }

    /// Sees who hung up refuse connections from then on.
    fn knock(ctx: &Context) -> JoinHandle<()> {
        let connections = ctx.broker.connections.clone();
        tokio::spawn(connections.knock(async |_| Knocked::Gone(BrokerEpoch(1))))
    }

    async fn handle(ctx: &Context, request: MetadataRequest) -> MetadataResponse {
        answer(ctx, Instant::now(), request).await
    }

    async fn fence(ctx: &Context, id: i32) {
        let fence = proto::FenceBrokers { broker_ids: vec![id] };
        let request = Request {
            validate_only: false,
            request: Some(request::Request::FenceBrokers(fence)),
        };
        ctx.broker.controller.submit(request).await.expect("an answer");
    }

    #[tokio::test]
    async fn broker_that_died_is_listed_for_a_while() {
        let ctx = alice(13);
        let listed = async || -> Vec<i32> {
            let response = handle(&ctx, named(&["orders"])).await;
            response.brokers.iter().map(|broker| broker.node_id).collect()
        };
        assert_eq!(listed().await, [0, 1], "broker 2 has never served");
        fence(&ctx, 1).await;
        assert_eq!(listed().await, [0, 1]);
        let image = ctx.image();
        let mut broker = metadata::Broker::clone(image.broker(BrokerId(1)).expect("it is registered"));
        let fenced_at = ctx.broker.metadata.fenced_at(&broker).expect("it was fenced");
        let moment = Duration::from_millis(1);
        assert!(is_listed(&ctx, &broker, fenced_at + LISTED - moment));
        assert!(!is_listed(&ctx, &broker, fenced_at + LISTED));
        broker.in_controlled_shutdown = true;
        assert!(
            is_listed(&ctx, &broker, fenced_at - moment),
            "for who has asked before"
        );
        assert!(!is_listed(&ctx, &broker, fenced_at));
    }

    #[tokio::test]
    async fn who_asks_again_hears_of_a_leader_that_goes_at_the_same_time() {
        let ctx = alice(13);
        let leader = async |reply: Reply<MetadataResponse>| match reply {
            Reply::Later(answer) => answer.await.topics[0].partitions[0].leader_id,
            _ => panic!("it has its turn"),
        };
        assert_eq!(leader(in_turn(&ctx, named(&["orders"]))).await, 0);
        let a_while_ago = Instant::now()
            .checked_sub(AFTER_A_WHILE)
            .expect("the machine is up for longer");
        *ctx.session.asked_metadata.lock() = a_while_ago;
        let knocking = knock(&ctx);
        let again = leader(in_turn(&ctx, named(&["orders"])));
        let goes = async { ctx.broker.connections.hung_up(BrokerId(0), Instant::now()) };
        assert_eq!(tokio::join!(again, goes), (-1, ()));
        knocking.abort();
    }

    #[tokio::test]
    async fn who_asks_while_a_leader_is_gone_hears_of_the_next_one() {
        let mut image = image();
        let in_sync = proto::Partition {
            topic_id: ORDERS.0.to_vec(),
            partition: 0,
            replicas: vec![0, 1, 2],
            isr: vec![0, 1],
            leader: 0,
            leader_epoch: 3,
            ..proto::Partition::default()
        };
        let record = Some(Fact::Partition(in_sync));
        image.fold(&proto::Record { record }).expect("a known record");
        let broker = Broker::in_memory_with(image, Authorizer::acl(["admin"], false));
        let ctx = context_of(broker, Principal::user("alice"), 13);
        ctx.broker.connections.hung_up(BrokerId(0), Instant::now());
        let Reply::Later(answered) = in_turn(&ctx, named(&["orders"])) else {
            panic!("it has its turn");
        };
        let fenced = async {
            sleep(ELECTION_MAX / 10).await;
            fence(&ctx, 0).await;
        };
        let (response, ()) = tokio::join!(answered, fenced);
        assert_eq!(response.topics[0].partitions[0].leader_id, 1);
    }

    #[tokio::test]
    async fn topics_without_describe_are_hidden() {
        let broker = Broker::in_memory_with(image(), Authorizer::acl([], false));
        let bob = context_of(broker, Principal::user("bob"), 12);
        let all = MetadataRequest {
            topics: None,
            ..MetadataRequest::default()
        };
        assert_eq!(handle(&bob, all.clone()).await.topics, []);
        assert_eq!(handle(&alice(12), all).await.topics.len(), 1);
        let response = handle(&bob, named(&["orders", "payments"])).await;
        for topic in response.topics {
            assert_eq!(topic.error_code, ErrorCode::TopicAuthorizationFailed);
            assert_eq!(topic.topic_id, Uuid::ZERO);
        }
    }

    #[tokio::test]
    async fn empty_list_asks_for_all_in_version_0_and_for_none_later() {
        let none = named(&[]);
        assert_eq!(handle(&alice(0), none.clone()).await.topics.len(), 1);
        assert_eq!(handle(&alice(1), none).await.topics, []);
    }

    #[tokio::test]
    async fn version_0_leaves_out_replicas_that_cannot_be_reached() {
        let response = handle(&alice(0), named(&["orders"])).await;
        let partition = &response.topics[0].partitions[0];
        assert_eq!(partition.error_code, ErrorCode::ReplicaNotAvailable);
        assert_eq!(partition.replica_nodes, [0, 1]);
    }

    #[tokio::test]
    async fn ids_are_taken_since_version_12() {
        let by_id = |id| MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: None,
                topic_id: id,
            }]),
            ..MetadataRequest::default()
        };
        let topics = handle(&alice(12), by_id(ORDERS)).await.topics;
        assert_eq!(topics[0].name, Some("orders".into()));
        let topics = handle(&alice(12), by_id(Uuid([5; 16]))).await.topics;
        assert_eq!(
            (topics[0].error_code, &topics[0].name),
            (ErrorCode::UnknownTopicId.into(), &None)
        );
        let topics = handle(&alice(11), by_id(ORDERS)).await.topics;
        assert_eq!(topics[0].error_code, ErrorCode::InvalidRequest);
    }

    #[tokio::test]
    async fn missing_topic_is_created_when_the_client_allows_and_is_allowed() {
        let broker = Broker::in_memory(image());
        let ctx = context_of(broker.clone(), Principal::anonymous(), 12);
        let response = handle(&ctx, named(&["payments", "no/name"])).await;
        let errors: Vec<i16> = response.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(
            errors,
            [
                ErrorCode::InvalidTopicException.code(),
                ErrorCode::UnknownTopicOrPartition.code()
            ]
        );
        let request = MetadataRequest {
            allow_auto_topic_creation: true,
            ..named(&["payments"])
        };
        let response = handle(&ctx, request).await;
        assert_eq!(response.topics[0].error_code, ErrorCode::None);
        assert_eq!(response.topics[0].partitions.len(), 1);
        let request = MetadataRequest {
            allow_auto_topic_creation: true,
            ..named(&["__consumer_offsets"])
        };
        assert_eq!(
            handle(&ctx, request).await.topics[0].error_code,
            ErrorCode::UnknownTopicOrPartition
        );
    }

    #[tokio::test]
    async fn authorized_operations_are_told_when_asked_for() {
        let request = MetadataRequest {
            include_cluster_authorized_operations: true,
            include_topic_authorized_operations: true,
            ..named(&["orders"])
        };
        let response = handle(&alice(8), request).await;
        assert_eq!(response.cluster_authorized_operations, 0);
        let bit = |operation: Operation| 1 << operation.code();
        let expected = bit(Operation::Read) | bit(Operation::Describe);
        assert_eq!(response.topics[0].topic_authorized_operations, expected);
    }
}
