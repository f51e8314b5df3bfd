//! Administrative requests, from the message to the message: what is answered to whom, in every version.

use std::sync::Arc;

use flotilla_control::proto::metadata as proto;
use flotilla_protocol::messages::*;
use flotilla_protocol::{ApiKey, ErrorCode, Message, Str, Uuid, frame};

use super::testing::context_of;
use super::{
    Context, alter_client_quotas, alter_configs, alter_partition_reassignments, alter_user_scram_credentials,
    create_acls, create_partitions, create_topics, delete_acls, delete_topics, describe_acls,
    describe_client_quotas, describe_configs, describe_quorum, describe_user_scram_credentials,
    elect_leaders, list_partition_reassignments,
};
use crate::auth::scram::Mechanism;
use crate::auth::{Authorizer, Principal};
use crate::broker::Broker;
use crate::metadata::{Fact, Image, Record};

/// Three brokers, and the topic `orders` with one partition on 0 and 1.
fn image() -> Image {
    let mut image = Image::default();
    let broker = |id: i32| proto::Broker {
        broker_id: id,
        broker_epoch: 1,
        incarnation_id: vec![1; 16],
        directory_id: vec![2; 16],
        flotilla_version_max: 1,
        ..proto::Broker::default()
    };
    let mut facts: Vec<Fact> = (0..3).map(|id| Fact::Broker(broker(id))).collect();
    facts.push(Fact::Topic(proto::Topic {
        name: "orders".to_owned(),
        topic_id: vec![9; 16],
        owner: None,
    }));
    facts.push(Fact::Partition(proto::Partition {
        topic_id: vec![9; 16],
        partition: 0,
        replicas: vec![0, 1],
        isr: vec![0, 1],
        leader: 0,
        ..proto::Partition::default()
    }));
    for (resource, name, value) in [
        (proto::ResourceType::Topic, "orders", "5"),
        (proto::ResourceType::Broker, "", "6"),
        (proto::ResourceType::Broker, "0", "7"),
    ] {
        let key = if name == "orders" {
            "retention.ms"
        } else {
            "log.retention.ms"
        };
        facts.push(Fact::Config(proto::Config {
            resource_type: resource.into(),
            resource_name: name.to_owned(),
            key: key.to_owned(),
            value: Some(value.to_owned()),
        }));
    }
    for fact in facts {
        image.fold(&Record { record: Some(fact) }).unwrap();
    }
    image
}

fn rule(id: u8, resource_type: i32, name: &str, operation: i32) -> Fact {
    Fact::Acl(proto::Acl {
        id: vec![id; 16],
        resource_type,
        resource_name: name.to_owned(),
        pattern_type: 3,
        principal: "User:clerk".to_owned(),
        host: "*".to_owned(),
        operation,
        permission_type: 3,
    })
}

/// Somebody to whom everything is allowed.
fn anyone(version: i16) -> Context {
    context_of(Broker::in_memory(image()), Principal::anonymous(), version)
}

/// The user `clerk`, to whom only these rules apply; `admin` is the super user.
fn clerk(version: i16, rules: Vec<Fact>) -> Context {
    let mut image = image();
    for rule in rules {
        image.fold(&Record { record: Some(rule) }).unwrap();
    }
    let broker = Broker::in_memory_with(image, Authorizer::acl(["User:admin"], false));
    context_of(broker, Principal::user("clerk"), version)
}

fn at(ctx: &Context, version: i16) -> Context {
    Context {
        version,
        ..ctx.clone()
    }
}

/// A response that cannot be written in the version of its request would close the connection.
fn written(ctx: &Context, api: ApiKey, response: &impl Message) {
    frame::response(api, ctx.version, 1, response)
        .unwrap_or_else(|error| panic!("{api} v{}: {error}", ctx.version));
}

fn topic(name: &str, partitions: i32, replicas: i16) -> create_topics_request::CreatableTopic {
    create_topics_request::CreatableTopic {
        name: Str::copy_from(name),
        num_partitions: partitions,
        replication_factor: replicas,
        ..Default::default()
    }
}

fn create(topics: Vec<create_topics_request::CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest {
        topics,
        ..CreateTopicsRequest::default()
    }
}

#[tokio::test]
async fn a_topic_is_created_and_described_in_every_version() {
    let ctx = anyone(2);
    for version in 2..=7 {
        let ctx = at(&ctx, version);
        let name = format!("t{version}");
        let response = create_topics::handle(&ctx, create(vec![topic(&name, 2, 3)])).await;
        written(&ctx, ApiKey::CreateTopics, &response);
        let made = &response.topics[0];
        assert_eq!(
            (made.error_code, made.num_partitions, made.replication_factor),
            (0, 2, 3)
        );
        let image = ctx.image();
        assert_eq!(
            Some(made.topic_id),
            image.topic(&name).map(|topic| topic.id),
            "the effect shows at once"
        );
        let retention = made
            .configs
            .iter()
            .flatten()
            .find(|config| config.name == "retention.ms")
            .unwrap();
        assert_eq!(
            (retention.value.as_deref(), retention.config_source),
            (Some("7"), 2),
            "from the broker's own"
        );
    }
}

#[tokio::test]
async fn topics_that_cannot_be_created_are_refused_one_by_one() {
    let ctx = anyone(7);
    let by_hand = |indices: &[i32]| create_topics_request::CreatableTopic {
        assignments: indices
            .iter()
            .map(|index| create_topics_request::CreatableReplicaAssignment {
                partition_index: *index,
                broker_ids: vec![0],
            })
            .collect(),
        ..topic("by-hand", -1, -1)
    };
    let configured = create_topics_request::CreatableTopic {
        configs: vec![create_topics_request::CreatableTopicConfig {
            name: Str::from_static("nonsense"),
            value: Some(Str::from_static("1")),
        }],
        ..topic("configured", 1, 1)
    };
    let both = create_topics_request::CreatableTopic {
        num_partitions: 1,
        ..by_hand(&[0])
    };
    let asked = vec![
        topic("ok", 1, 1),
        topic("wide", 1, 4),
        topic("none", 0, 1),
        topic("orders", 1, 1),
        topic("a b", 1, 1),
        topic("twice", 1, 1),
        topic("twice", 1, 1),
        topic("__cluster_metadata", 1, 1),
        configured,
    ];
    let response = create_topics::handle(&ctx, create(asked)).await;
    let seen: Vec<(&str, ErrorCode)> = response
        .topics
        .iter()
        .map(|topic| (topic.name.as_str(), topic.error_code.into()))
        .collect();
    let expected = [
        ("ok", ErrorCode::None),
        ("wide", ErrorCode::InvalidReplicationFactor),
        ("none", ErrorCode::InvalidPartitions),
        ("orders", ErrorCode::TopicAlreadyExists),
        ("a b", ErrorCode::InvalidTopicException),
        ("twice", ErrorCode::InvalidRequest),
        ("__cluster_metadata", ErrorCode::InvalidRequest),
        ("configured", ErrorCode::InvalidConfig),
    ];
    assert_eq!(seen, expected);
    for (asked, code) in [
        (by_hand(&[0, 2]), ErrorCode::InvalidReplicaAssignment),
        (by_hand(&[0, 0]), ErrorCode::InvalidReplicaAssignment),
        (both, ErrorCode::InvalidRequest),
        (by_hand(&[1, 0]), ErrorCode::None),
    ] {
        let response = create_topics::handle(&ctx, create(vec![asked])).await;
        assert_eq!(
            ErrorCode::from(response.topics[0].error_code),
            code,
            "{response:?}"
        );
    }
}

#[tokio::test]
async fn a_dry_run_creates_nothing_and_tells_what_would_be() {
    let ctx = anyone(7);
    let asked = CreateTopicsRequest {
        validate_only: true,
        ..create(vec![topic("t", 2, 1)])
    };
    let response = create_topics::handle(&ctx, asked).await;
    assert_eq!(
        (response.topics[0].error_code, response.topics[0].num_partitions),
        (0, 2)
    );
    assert_eq!(ctx.image().topic("t"), None);
}

#[tokio::test]
async fn creating_needs_create_and_settings_are_shown_to_who_may_see_them() {
    let ctx = clerk(7, vec![rule(1, 2, "mine", 5)]);
    let response = create_topics::handle(&ctx, create(vec![topic("mine", 1, 1), topic("other", 1, 1)])).await;
    let [mine, other] = &response.topics[..] else {
        panic!("{response:?}")
    };
    assert_eq!(mine.error_code, 0);
    assert_eq!(mine.topic_config_error_code, ErrorCode::TopicAuthorizationFailed);
    assert_eq!(
        (mine.num_partitions, mine.configs.as_deref()),
        (-1, Some(&[][..]))
    );
    assert_eq!(other.error_code, ErrorCode::TopicAuthorizationFailed);
    let cluster = clerk(7, vec![rule(1, 4, "kafka-cluster", 5)]);
    let response = create_topics::handle(&cluster, create(vec![topic("any", 1, 1)])).await;
    assert_eq!(response.topics[0].error_code, 0);
}

fn delete_by(ctx: &Context, names: &[&str], ids: &[Uuid]) -> DeleteTopicsRequest {
    let named = names.iter().map(|name| Str::copy_from(name));
    if ctx.version < 6 {
        return DeleteTopicsRequest {
            topic_names: named.collect(),
            ..DeleteTopicsRequest::default()
        };
    }
    let by_name = named.map(|name| delete_topics_request::DeleteTopicState {
        name: Some(name),
        topic_id: Uuid::ZERO,
    });
    let by_id = ids.iter().map(|id| delete_topics_request::DeleteTopicState {
        name: None,
        topic_id: *id,
    });
    DeleteTopicsRequest {
        topics: by_name.chain(by_id).collect(),
        ..DeleteTopicsRequest::default()
    }
}

#[tokio::test]
async fn topics_are_deleted_by_name_and_by_id() {
    for version in 1..=6 {
        let ctx = anyone(version);
        let response = delete_topics::handle(&ctx, delete_by(&ctx, &["orders", "missing"], &[])).await;
        written(&ctx, ApiKey::DeleteTopics, &response);
        let mut seen: Vec<_> = response
            .responses
            .iter()
            .map(|of| (of.name.clone().unwrap().to_string(), of.error_code))
            .collect();
        seen.sort();
        assert_eq!(seen, [("missing".to_owned(), 3), ("orders".to_owned(), 0)]);
        assert_eq!(ctx.image().topic("orders"), None);
    }
    let ctx = anyone(6);
    let response = delete_topics::handle(&ctx, delete_by(&ctx, &[], &[Uuid([9; 16]), Uuid([8; 16])])).await;
    let seen: Vec<_> = response
        .responses
        .iter()
        .map(|of| (of.name.as_deref(), ErrorCode::from(of.error_code)))
        .collect();
    assert_eq!(
        seen,
        [
            (None, ErrorCode::UnknownTopicId),
            (Some("orders"), ErrorCode::None)
        ]
    );
}

#[tokio::test]
async fn who_may_not_delete_a_topic_learns_neither_that_it_exists_nor_its_name() {
    let ctx = clerk(6, vec![]);
    let response =
        delete_topics::handle(&ctx, delete_by(&ctx, &["orders", "missing"], &[Uuid([9; 16])])).await;
    let seen: Vec<_> = response
        .responses
        .iter()
        .map(|of| (of.name.as_deref(), of.error_code))
        .collect();
    let refused = ErrorCode::TopicAuthorizationFailed.code();
    assert_eq!(
        seen,
        [
            (Some("orders"), refused),
            (Some("missing"), refused),
            (None, refused)
        ]
    );
    let ctx = clerk(6, vec![rule(1, 2, "orders", 8)]);
    let response = delete_topics::handle(&ctx, delete_by(&ctx, &[], &[Uuid([9; 16])])).await;
    assert_eq!(
        response.responses[0].name.as_deref(),
        Some("orders"),
        "who sees it anyway is told its name"
    );
}

#[tokio::test]
async fn topics_grow() {
    let ctx = anyone(3);
    let grow = |name: &str, count| create_partitions_request::CreatePartitionsTopic {
        name: Str::copy_from(name),
        count,
        assignments: None,
    };
    for version in 0..=3 {
        let ctx = at(&ctx, version);
        let asked = CreatePartitionsRequest {
            topics: vec![grow("orders", i32::from(version) + 2), grow("missing", 2)],
            ..CreatePartitionsRequest::default()
        };
        let response = create_partitions::handle(&ctx, asked).await;
        written(&ctx, ApiKey::CreatePartitions, &response);
        assert_eq!(
            response
                .results
                .iter()
                .map(|of| of.error_code)
                .collect::<Vec<_>>(),
            [0, 3]
        );
    }
    let asked = CreatePartitionsRequest {
        topics: vec![grow("orders", 2)],
        ..CreatePartitionsRequest::default()
    };
    let response = create_partitions::handle(&ctx, asked.clone()).await;
    assert_eq!(response.results[0].error_code, ErrorCode::InvalidPartitions);
    let response = create_partitions::handle(&clerk(3, vec![]), asked).await;
    assert_eq!(
        response.results[0].error_code,
        ErrorCode::TopicAuthorizationFailed
    );
}

fn describe(resource_type: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsRequest {
    DescribeConfigsRequest {
        resources: vec![describe_configs_request::DescribeConfigsResource {
            resource_type,
            resource_name: Str::copy_from(name),
            configuration_keys: keys.map(|keys| keys.iter().map(|key| Str::copy_from(key)).collect()),
        }],
        include_synonyms: true,
        include_documentation: true,
    }
}

async fn described(ctx: &Context, resource_type: i8, name: &str, key: &str) -> String {
    let response = describe_configs::handle(ctx, describe(resource_type, name, Some(&[key]))).await;
    written(ctx, ApiKey::DescribeConfigs, &response);
    let result = &response.results[0];
    if result.error_code != 0 {
        return format!("{:?}", ErrorCode::from(result.error_code));
    }
    let shown: Vec<String> = result
        .configs
        .iter()
        .map(|config| {
            let synonyms: Vec<String> = config
                .synonyms
                .iter()
                .map(|of| format!("{}={}:{}", of.name, of.value.as_deref().unwrap_or("-"), of.source))
                .collect();
            format!(
                "{}={}:{} type {}{}{} [{}]",
                config.name,
                config.value.as_deref().unwrap_or("-"),
                config.config_source,
                config.config_type,
                if config.read_only { " read-only" } else { "" },
                if config.is_sensitive { " sensitive" } else { "" },
                synonyms.join(" ")
            )
        })
        .collect();
    shown.join("; ")
}

#[tokio::test]
async fn settings_tell_where_their_values_come_from() {
    let ctx = anyone(4);
    assert_eq!(
        described(&ctx, 2, "orders", "retention.ms").await,
        "retention.ms=5:1 type 5 [retention.ms=5:1 log.retention.ms=7:2 log.retention.ms=6:3 log.retention.hours=168:5]"
    );
    assert_eq!(
        described(&ctx, 4, "0", "log.retention.ms").await,
        "log.retention.ms=7:2 type 5 [log.retention.ms=7:2 log.retention.ms=6:3]"
    );
    assert_eq!(
        described(&ctx, 4, "", "log.retention.ms").await,
        "log.retention.ms=6:3 type 5 [log.retention.ms=6:3]"
    );
    assert_eq!(
        described(&ctx, 4, "0", "num.partitions").await,
        "num.partitions=1:5 type 3 read-only [num.partitions=1:5]"
    );
    assert_eq!(
        described(&ctx, 4, "0", "node.id").await.split(' ').next(),
        Some("node.id=0:4"),
        "from the broker's file"
    );
    assert_eq!(
        described(&ctx, 32, "g", "consumer.session.timeout.ms").await,
        "consumer.session.timeout.ms=45000:5 type 3 [group.consumer.session.timeout.ms=45000:5]"
    );
    assert_eq!(described(&ctx, 2, "orders", "nonsense").await, "");
}

#[tokio::test]
async fn settings_of_what_is_not_there_are_refused() {
    let ctx = anyone(4);
    for (resource_type, name, code) in [
        (2, "missing", "UnknownTopicOrPartition"),
        (4, "1", "InvalidRequest"),
        (4, "x", "InvalidRequest"),
        (32, "", "InvalidRequest"),
        (16, "", "InvalidRequest"),
        (8, "1", "InvalidRequest"),
        (3, "x", "InvalidRequest"),
    ] {
        assert_eq!(
            described(&ctx, resource_type, name, "x").await,
            code,
            "{resource_type} {name}"
        );
    }
    assert!(described(&ctx, 8, "0", "root").await.starts_with("root="));
}

#[tokio::test]
async fn settings_are_described_in_every_version_and_only_to_who_may_see_them() {
    for version in 1..=4 {
        let ctx = anyone(version);
        let mut asked = describe(2, "orders", None);
        asked.include_documentation = version >= 3;
        let response = describe_configs::handle(&ctx, asked).await;
        written(&ctx, ApiKey::DescribeConfigs, &response);
        assert!(response.results[0].configs.len() > 30);
    }
    let ctx = clerk(4, vec![rule(1, 2, "mine", 10)]);
    assert_eq!(
        described(&ctx, 2, "orders", "retention.ms").await,
        "TopicAuthorizationFailed"
    );
    assert_eq!(
        described(&ctx, 2, "mine", "retention.ms").await,
        "UnknownTopicOrPartition"
    );
    assert_eq!(
        described(&ctx, 4, "0", "num.partitions").await,
        "ClusterAuthorizationFailed"
    );
    assert_eq!(described(&ctx, 32, "g", "x").await, "GroupAuthorizationFailed");
}

fn incremental(
    resource_type: i8,
    name: &str,
    operation: i8,
    key: &str,
    value: Option<&str>,
) -> IncrementalAlterConfigsRequest {
    IncrementalAlterConfigsRequest {
        resources: vec![incremental_alter_configs_request::AlterConfigsResource {
            resource_type,
            resource_name: Str::copy_from(name),
            configs: vec![incremental_alter_configs_request::AlterableConfig {
                name: Str::copy_from(key),
                config_operation: operation,
                value: value.map(Str::copy_from),
            }],
        }],
        validate_only: false,
    }
}

#[tokio::test]
async fn settings_are_altered() {
    for version in 0..=1 {
        let ctx = anyone(version);
        let asked = incremental(2, "orders", 0, "segment.ms", Some("9"));
        let response = alter_configs::handle_incremental(&ctx, asked).await;
        written(&ctx, ApiKey::IncrementalAlterConfigs, &response);
        assert_eq!(response.responses[0].error_code, 0);
        let image = ctx.image();
        let config = image.config(proto::ResourceType::Topic, "orders").unwrap();
        assert_eq!(
            (config["segment.ms"].as_str(), config["retention.ms"].as_str()),
            ("9", "5")
        );
    }
    for version in 0..=2 {
        let ctx = anyone(version);
        let asked = AlterConfigsRequest {
            resources: vec![alter_configs_request::AlterConfigsResource {
                resource_type: 2,
                resource_name: Str::from_static("orders"),
                configs: vec![alter_configs_request::AlterableConfig {
                    name: Str::from_static("segment.ms"),
                    value: Some(Str::from_static("9")),
                }],
            }],
            validate_only: false,
        };
        let response = alter_configs::handle(&ctx, asked).await;
        written(&ctx, ApiKey::AlterConfigs, &response);
        assert_eq!(response.responses[0].error_code, 0);
        let image = ctx.image();
        let config = image.config(proto::ResourceType::Topic, "orders").unwrap();
        assert_eq!(
            config.keys().collect::<Vec<_>>(),
            ["segment.ms"],
            "the older call replaces all"
        );
    }
}

#[tokio::test]
async fn settings_that_cannot_be_altered_are_refused() {
    let ctx = anyone(1);
    let clerk = clerk(1, vec![]);
    for (ctx, asked, code) in [
        (
            &ctx,
            incremental(2, "orders", 0, "nonsense", Some("1")),
            ErrorCode::InvalidConfig,
        ),
        (
            &ctx,
            incremental(2, "missing", 0, "segment.ms", Some("1")),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            &ctx,
            incremental(4, "", 0, "num.partitions", Some("1")),
            ErrorCode::InvalidRequest,
        ),
        (
            &ctx,
            incremental(8, "0", 0, "root", Some("DEBUG")),
            ErrorCode::InvalidRequest,
        ),
        (
            &ctx,
            incremental(77, "0", 0, "x", Some("1")),
            ErrorCode::InvalidRequest,
        ),
        (
            &clerk,
            incremental(2, "orders", 0, "segment.ms", Some("1")),
            ErrorCode::TopicAuthorizationFailed,
        ),
        (
            &clerk,
            incremental(4, "", 0, "log.retention.ms", Some("1")),
            ErrorCode::ClusterAuthorizationFailed,
        ),
        (
            &clerk,
            incremental(32, "g", 0, "x", Some("1")),
            ErrorCode::GroupAuthorizationFailed,
        ),
    ] {
        let response = alter_configs::handle_incremental(ctx, asked).await;
        assert_eq!(
            ErrorCode::from(response.responses[0].error_code),
            code,
            "{response:?}"
        );
    }
}

fn acl_creation(name: &str) -> create_acls_request::AclCreation {
    create_acls_request::AclCreation {
        resource_type: 2,
        resource_name: Str::copy_from(name),
        resource_pattern_type: 3,
        principal: Str::from_static("User:bob"),
        host: Str::from_static("*"),
        operation: 3,
        permission_type: 3,
    }
}

fn all_acls() -> DescribeAclsRequest {
    DescribeAclsRequest {
        resource_type_filter: 1,
        resource_name_filter: None,
        pattern_type_filter: 1,
        principal_filter: None,
        host_filter: None,
        operation: 1,
        permission_type: 1,
    }
}

#[tokio::test]
async fn rules_are_created_described_and_deleted() {
    for version in 1..=3 {
        let ctx = clerk(version, vec![rule(1, 4, "kafka-cluster", 7)]);
        let asked = CreateAclsRequest {
            creations: vec![acl_creation("orders"), acl_creation("")],
        };
        let response = create_acls::handle(&ctx, asked).await;
        written(&ctx, ApiKey::CreateAcls, &response);
        let codes: Vec<i16> = response.results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [0, ErrorCode::InvalidRequest.code()]);

        let response = describe_acls::handle(&ctx, all_acls()).await;
        written(&ctx, ApiKey::DescribeAcls, &response);
        let seen: Vec<_> = response
            .resources
            .iter()
            .map(|of| (of.resource_type, of.resource_name.as_str()))
            .collect();
        assert_eq!(seen, [(2, "orders"), (4, "kafka-cluster")]);

        let filter = delete_acls_request::DeleteAclsFilter {
            resource_type_filter: 2,
            resource_name_filter: Some(Str::from_static("orders")),
            pattern_type_filter: 3,
            principal_filter: None,
            host_filter: None,
            operation: 1,
            permission_type: 1,
        };
        let response = delete_acls::handle(
            &ctx,
            DeleteAclsRequest {
                filters: vec![filter],
            },
        )
        .await;
        written(&ctx, ApiKey::DeleteAcls, &response);
        assert_eq!(response.filter_results[0].matching_acls[0].principal, "User:bob");
        assert_eq!(ctx.image().acls().count(), 1);
    }
}

#[tokio::test]
async fn rules_are_for_who_may_alter_the_cluster_and_only_where_there_are_rules() {
    let ctx = clerk(3, vec![]);
    let create = || CreateAclsRequest {
        creations: vec![acl_creation("orders")],
    };
    let delete = || DeleteAclsRequest {
        filters: vec![delete_acls_request::DeleteAclsFilter::default()],
    };
    let refused = ErrorCode::ClusterAuthorizationFailed;
    assert_eq!(describe_acls::handle(&ctx, all_acls()).await.error_code, refused);
    assert_eq!(
        create_acls::handle(&ctx, create()).await.results[0].error_code,
        refused
    );
    assert_eq!(
        delete_acls::handle(&ctx, delete()).await.filter_results[0].error_code,
        refused
    );
    let ctx = anyone(3);
    let disabled = ErrorCode::SecurityDisabled;
    assert_eq!(describe_acls::handle(&ctx, all_acls()).await.error_code, disabled);
    assert_eq!(
        create_acls::handle(&ctx, create()).await.results[0].error_code,
        disabled
    );
    assert_eq!(
        delete_acls::handle(&ctx, delete()).await.filter_results[0].error_code,
        disabled
    );
}

fn upsertion(
    name: &str,
    mechanism: Mechanism,
    iterations: i32,
) -> alter_user_scram_credentials_request::ScramCredentialUpsertion {
    let salted = mechanism.salted_password("secret", b"salt", iterations.unsigned_abs());
    alter_user_scram_credentials_request::ScramCredentialUpsertion {
        name: Str::copy_from(name),
        mechanism: mechanism.code(),
        iterations,
        salt: b"salt".to_vec().into(),
        salted_password: salted.into(),
    }
}

#[tokio::test]
async fn credentials_are_kept_as_keys_and_described_without_them() {
    let ctx = anyone(0);
    let short = alter_user_scram_credentials_request::ScramCredentialUpsertion {
        salted_password: b"short".to_vec().into(),
        ..upsertion("mallory", Mechanism::Sha512, 4096)
    };
    let asked = AlterUserScramCredentialsRequest {
        upsertions: vec![
            upsertion("bob", Mechanism::Sha256, 4096),
            upsertion("bob", Mechanism::Sha512, 8192),
            upsertion("eve", Mechanism::Sha256, 1),
            upsertion("eve", Mechanism::Sha512, 4096),
            short,
        ],
        deletions: vec![alter_user_scram_credentials_request::ScramCredentialDeletion {
            name: Str::from_static("nobody"),
            mechanism: 1,
        }],
    };
    let response = alter_user_scram_credentials::handle(&ctx, asked).await;
    written(&ctx, ApiKey::AlterUserScramCredentials, &response);
    let seen: Vec<_> = response
        .results
        .iter()
        .map(|of| (of.user.as_str(), ErrorCode::from(of.error_code)))
        .collect();
    let expected = [
        ("bob", ErrorCode::None),
        ("eve", ErrorCode::UnacceptableCredential),
        ("mallory", ErrorCode::UnacceptableCredential),
        ("nobody", ErrorCode::ResourceNotFound),
    ];
    assert_eq!(seen, expected);
    let image = ctx.image();
    let held = image.scram("bob", proto::ScramMechanism::ScramSha256).unwrap();
    let keys = crate::auth::scram::Credential::of_password(Mechanism::Sha256, "secret", b"salt", 4096);
    assert_eq!(
        (&held.stored_key, &held.server_key),
        (&keys.stored_key, &keys.server_key)
    );

    let users = |names: &[&str]| {
        names
            .iter()
            .map(|name| describe_user_scram_credentials_request::UserName {
                name: Str::copy_from(name),
            })
            .collect::<Vec<_>>()
    };
    let described = async |users| {
        let response =
            describe_user_scram_credentials::handle(&ctx, DescribeUserScramCredentialsRequest { users })
                .await;
        written(&ctx, ApiKey::DescribeUserScramCredentials, &response);
        let shown = |of: &describe_user_scram_credentials_response::DescribeUserScramCredentialsResult| {
            let infos = of
                .credential_infos
                .iter()
                .map(|info| (info.mechanism, info.iterations))
                .collect::<Vec<_>>();
            (of.user.to_string(), of.error_code, infos)
        };
        response.results.iter().map(shown).collect::<Vec<_>>()
    };
    let bob = || ("bob".to_owned(), 0, vec![(1, 4096), (2, 8192)]);
    assert_eq!(described(None).await, [bob()]);
    assert_eq!(
        described(Some(users(&["bob", "eve", "twice", "twice"]))).await,
        [
            bob(),
            ("eve".to_owned(), ErrorCode::ResourceNotFound.code(), vec![]),
            ("twice".to_owned(), ErrorCode::DuplicateResource.code(), vec![])
        ]
    );
}

#[tokio::test]
async fn credentials_are_for_who_may_alter_the_cluster() {
    let ctx = clerk(0, vec![]);
    let asked = AlterUserScramCredentialsRequest {
        upsertions: vec![upsertion("clerk", Mechanism::Sha256, 4096)],
        deletions: vec![],
    };
    let response = alter_user_scram_credentials::handle(&ctx, asked).await;
    assert_eq!(
        response.results[0].error_code,
        ErrorCode::ClusterAuthorizationFailed
    );
    let asked = DescribeUserScramCredentialsRequest { users: None };
    let response = describe_user_scram_credentials::handle(&ctx, asked).await;
    assert_eq!(response.error_code, ErrorCode::ClusterAuthorizationFailed);
}

fn quota(
    entity: &[(&str, Option<&str>)],
    key: &str,
    value: Option<f64>,
) -> alter_client_quotas_request::EntryData {
    alter_client_quotas_request::EntryData {
        entity: entity
            .iter()
            .map(|(kind, name)| alter_client_quotas_request::EntityData {
                entity_type: Str::copy_from(kind),
                entity_name: name.map(Str::copy_from),
            })
            .collect(),
        ops: vec![alter_client_quotas_request::OpData {
            key: Str::copy_from(key),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
        }],
    }
}

#[tokio::test]
async fn quotas_are_altered_and_described() {
    let ctx = anyone(1);
    let asked = AlterClientQuotasRequest {
        entries: vec![
            quota(&[("user", Some("bob"))], "producer_byte_rate", Some(1.0)),
            quota(
                &[("user", Some("bob")), ("client-id", None)],
                "producer_byte_rate",
                Some(2.0),
            ),
            quota(&[("user", None)], "nonsense", Some(3.0)),
        ],
        validate_only: false,
    };
    for version in 0..=1 {
        let ctx = at(&ctx, version);
        let response = alter_client_quotas::handle(&ctx, asked.clone()).await;
        written(&ctx, ApiKey::AlterClientQuotas, &response);
        let codes: Vec<i16> = response.entries.iter().map(|entry| entry.error_code).collect();
        assert_eq!(codes, [0, 0, ErrorCode::InvalidRequest.code()]);
    }
    let found = async |components: &[(&str, i8, Option<&str>)], strict: bool| {
        let components =
            components.iter().map(
                |(kind, match_type, name)| describe_client_quotas_request::ComponentData {
                    entity_type: Str::copy_from(kind),
                    match_type: *match_type,
                    match_: name.map(Str::copy_from),
                },
            );
        let asked = DescribeClientQuotasRequest {
            components: components.collect(),
            strict,
        };
        let response = describe_client_quotas::handle(&ctx, asked).await;
        written(&ctx, ApiKey::DescribeClientQuotas, &response);
        match response.entries {
            Some(entries) => Ok(entries
                .iter()
                .map(|entry| entry.values[0].value)
                .collect::<Vec<f64>>()),
            None => Err(ErrorCode::from(response.error_code)),
        }
    };
    let bob = ("user", 0, Some("bob"));
    assert_eq!(found(&[], false).await, Ok(vec![2.0, 1.0]));
    assert_eq!(found(&[bob], false).await, Ok(vec![2.0, 1.0]));
    assert_eq!(found(&[bob], true).await, Ok(vec![1.0]));
    assert_eq!(
        found(&[("user", 2, None), ("client-id", 1, None)], true).await,
        Ok(vec![2.0])
    );
    assert_eq!(found(&[("user", 0, Some("eve"))], false).await, Ok(vec![]));
    assert_eq!(found(&[bob, bob], false).await, Err(ErrorCode::InvalidRequest));
    assert_eq!(
        found(&[("user", 0, None)], false).await,
        Err(ErrorCode::InvalidRequest)
    );
    assert_eq!(
        found(&[("user", 7, None)], false).await,
        Err(ErrorCode::InvalidRequest)
    );
    assert_eq!(
        found(&[("planet", 1, None)], false).await,
        Err(ErrorCode::UnsupportedVersion)
    );
    assert_eq!(
        found(&[bob, ("ip", 1, None)], false).await,
        Err(ErrorCode::InvalidRequest)
    );

    let clerk = clerk(1, vec![]);
    let response = alter_client_quotas::handle(&clerk, asked).await;
    assert_eq!(
        response.entries[0].error_code,
        ErrorCode::ClusterAuthorizationFailed
    );
    let asked = DescribeClientQuotasRequest {
        components: vec![],
        strict: false,
    };
    let response = describe_client_quotas::handle(&clerk, asked).await;
    assert_eq!(response.error_code, ErrorCode::ClusterAuthorizationFailed);
}

fn reassign(replicas: Option<&[i32]>, may_resize: bool) -> AlterPartitionReassignmentsRequest {
    AlterPartitionReassignmentsRequest {
        allow_replication_factor_change: may_resize,
        topics: vec![alter_partition_reassignments_request::ReassignableTopic {
            name: Str::from_static("orders"),
            partitions: vec![alter_partition_reassignments_request::ReassignablePartition {
                partition_index: 0,
                replicas: replicas.map(<[i32]>::to_vec),
            }],
        }],
        ..AlterPartitionReassignmentsRequest::default()
    }
}

#[tokio::test]
async fn replicas_are_reassigned_listed_and_cancelled() {
    for version in 0..=1 {
        let ctx = anyone(version);
        let asked = async |request| {
            let response = alter_partition_reassignments::handle(&ctx, request).await;
            written(&ctx, ApiKey::AlterPartitionReassignments, &response);
            ErrorCode::from(response.responses[0].partitions[0].error_code)
        };
        let listed = async |topics| {
            let ctx = at(&ctx, 0);
            let asked = ListPartitionReassignmentsRequest {
                topics,
                ..ListPartitionReassignmentsRequest::default()
            };
            let response = list_partition_reassignments::handle(&ctx, asked).await;
            written(&ctx, ApiKey::ListPartitionReassignments, &response);
            response.topics
        };
        assert_eq!(
            asked(reassign(None, true)).await,
            ErrorCode::NoReassignmentInProgress
        );
        assert_eq!(listed(None).await, []);
        let resize = asked(reassign(Some(&[1]), false)).await;
        assert_eq!(
            resize,
            if version < 1 {
                ErrorCode::None
            } else {
                ErrorCode::InvalidReplicationFactor
            }
        );
        assert_eq!(asked(reassign(Some(&[2, 0]), true)).await, ErrorCode::None);
        let moving = listed(None).await;
        assert_eq!(
            moving[0].partitions[0].adding_replicas,
            if version < 1 { vec![2, 0] } else { vec![2] }
        );
        let named = |index| {
            Some(vec![
                list_partition_reassignments_request::ListPartitionReassignmentsTopics {
                    name: Str::from_static("orders"),
                    partition_indexes: vec![index],
                },
            ])
        };
        assert_eq!(listed(named(0)).await, moving);
        assert_eq!(listed(named(1)).await, []);
        assert_eq!(asked(reassign(None, true)).await, ErrorCode::None);
        assert_eq!(listed(None).await, []);
    }
    let clerk = clerk(1, vec![]);
    let response = alter_partition_reassignments::handle(&clerk, reassign(None, true)).await;
    assert_eq!(response.error_code, ErrorCode::ClusterAuthorizationFailed);
    let listed =
        list_partition_reassignments::handle(&clerk, ListPartitionReassignmentsRequest::default()).await;
    assert_eq!(listed.error_code, ErrorCode::ClusterAuthorizationFailed);
}

#[tokio::test]
async fn elections_are_answered_by_partition() {
    let asked = |election_type, named: bool| ElectLeadersRequest {
        election_type,
        topic_partitions: named.then(|| {
            vec![elect_leaders_request::TopicPartitions {
                topic: Str::from_static("orders"),
                partitions: vec![0, 1],
            }]
        }),
        ..ElectLeadersRequest::default()
    };
    let clerk = clerk(2, vec![]);
    for version in 0..=2 {
        let ctx = anyone(version);
        let response = elect_leaders::handle(&ctx, asked(0, true)).await;
        written(&ctx, ApiKey::ElectLeaders, &response);
        let codes: Vec<ErrorCode> = response.replica_election_results[0]
            .partition_result
            .iter()
            .map(|result| result.error_code.into())
            .collect();
        assert_eq!(
            codes,
            [ErrorCode::ElectionNotNeeded, ErrorCode::UnknownTopicOrPartition]
        );
        let response = elect_leaders::handle(&ctx, asked(0, false)).await;
        assert_eq!(response.replica_election_results, []);

        let clerk = at(&clerk, version);
        let response = elect_leaders::handle(&clerk, asked(0, true)).await;
        written(&clerk, ApiKey::ElectLeaders, &response);
        let refused = ErrorCode::ClusterAuthorizationFailed;
        let of_partition = response.replica_election_results[0].partition_result[1].error_code;
        assert_eq!(of_partition, refused);
        if version > 0 {
            assert_eq!(response.error_code, refused);
        }
    }
    assert_eq!(
        elect_leaders::handle(&anyone(2), asked(7, true)).await.error_code,
        ErrorCode::InvalidRequest
    );
}

#[tokio::test]
async fn the_quorum_is_described_only_to_who_may_see_the_cluster() {
    let response = describe_quorum::handle(&clerk(2, vec![]), DescribeQuorumRequest { topics: vec![] }).await;
    assert_eq!(response.error_code, ErrorCode::ClusterAuthorizationFailed);
    let ctx = anyone(2);
    for version in 0..=2 {
        let ctx = at(&ctx, version);
        let topic = |name: &'static str| describe_quorum_request::TopicData {
            topic_name: Str::from_static(name),
            partitions: vec![describe_quorum_request::PartitionData { partition_index: 0 }],
        };
        let topics = vec![topic("__cluster_metadata"), topic("orders")];
        let response = describe_quorum::handle(&ctx, DescribeQuorumRequest { topics }).await;
        written(&ctx, ApiKey::DescribeQuorum, &response);
        let codes: Vec<i16> = response
            .topics
            .iter()
            .map(|topic| topic.partitions[0].error_code)
            .collect();
        assert_eq!(codes, [0, ErrorCode::UnknownTopicOrPartition.code()]);
    }
}

#[tokio::test]
async fn requests_of_nothing_are_answered_with_nothing() {
    let ctx = anyone(0);
    let broker: Arc<Broker> = ctx.broker.clone();
    let at = |version| context_of(broker.clone(), Principal::anonymous(), version);
    assert_eq!(create_topics::handle(&at(7), create(vec![])).await.topics, []);
    assert_eq!(
        delete_topics::handle(&at(6), DeleteTopicsRequest::default())
            .await
            .responses,
        []
    );
    let none = CreatePartitionsRequest::default();
    assert_eq!(create_partitions::handle(&at(3), none).await.results, []);
    let none = IncrementalAlterConfigsRequest {
        resources: vec![],
        validate_only: false,
    };
    assert_eq!(
        alter_configs::handle_incremental(&at(1), none).await.responses,
        []
    );
    let none = AlterUserScramCredentialsRequest {
        upsertions: vec![],
        deletions: vec![],
    };
    assert_eq!(
        alter_user_scram_credentials::handle(&at(0), none).await.results,
        []
    );
}
