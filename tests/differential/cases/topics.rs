//! Topics: Metadata, CreateTopics, DeleteTopics, CreatePartitions, DescribeTopicPartitions.

use flotilla_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use flotilla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use flotilla_protocol::messages::delete_topics_request::DeleteTopicState;
use flotilla_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use flotilla_protocol::messages::metadata_request::MetadataRequestTopic;
use flotilla_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeTopicPartitionsRequest,
    MetadataRequest,
};
use flotilla_protocol::{ErrorCode, Str, Uuid};

use crate::case::{Case, case};

pub fn cases() -> Vec<Case> {
    [
        metadata(),
        create_topics(),
        delete_topics(),
        create_partitions(),
        describe_partitions(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn metadata_of(name: Str, version: i16) -> MetadataRequest {
    MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(name),
            ..Default::default()
        }]),
        // Before version 4 nobody can say so.
        allow_auto_topic_creation: version < 4,
        ..Default::default()
    }
}

fn metadata() -> Vec<Case> {
    vec![
        case("a topic", ErrorCode::None, |at| {
            let topic = at.topic_with(2, &[])?;
            Ok(metadata_of(topic.name, at.version))
        }),
        case("a topic with what may be done", ErrorCode::None, |at| {
            let topic = at.topic()?;
            Ok(MetadataRequest {
                include_topic_authorized_operations: true,
                include_cluster_authorized_operations: at.version <= 10,
                ..metadata_of(topic.name, at.version)
            })
        })
        .versions(8..=i16::MAX),
        case("all topics", ErrorCode::None, |at| {
            at.topic()?;
            Ok(MetadataRequest {
                topics: None,
                ..Default::default()
            })
        })
        .versions(1..=i16::MAX)
        .own("topics"),
        case("no topics", ErrorCode::None, |_| {
            Ok(MetadataRequest {
                topics: Some(Vec::new()),
                ..Default::default()
            })
        })
        .versions(1..=i16::MAX),
        case("an unknown topic", ErrorCode::UnknownTopicOrPartition, |at| {
            Ok(metadata_of(at.name(), at.version))
        })
        .versions(4..=i16::MAX),
        case("an invalid name", ErrorCode::InvalidTopicException, |at| {
            Ok(metadata_of("not a name!".into(), at.version))
        }),
        case("an unknown id", ErrorCode::UnknownTopicId, |_| {
            Ok(MetadataRequest {
                topics: Some(vec![MetadataRequestTopic {
                    topic_id: Uuid([7; 16]),
                    name: None,
                }]),
                ..Default::default()
            })
        })
        .versions(12..=i16::MAX),
        case("a topic by its id", ErrorCode::None, |at| {
            let topic = at.topic()?;
            Ok(MetadataRequest {
                topics: Some(vec![MetadataRequestTopic {
                    topic_id: topic.id,
                    name: None,
                }]),
                ..Default::default()
            })
        })
        .versions(12..=i16::MAX),
        case(
            "a topic that nobody may see",
            ErrorCode::TopicAuthorizationFailed,
            |at| Ok(metadata_of(at.name(), at.version)),
        )
        .by_nobody(),
    ]
}

fn creation(name: Str) -> CreatableTopic {
    CreatableTopic {
        name,
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    }
}

fn create(topic: CreatableTopic) -> CreateTopicsRequest {
    CreateTopicsRequest {
        topics: vec![topic],
        ..Default::default()
    }
}

fn config(name: &'static str, value: &'static str) -> CreatableTopicConfig {
    CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
    }
}

fn create_topics() -> Vec<Case> {
    vec![
        case("a topic", ErrorCode::None, |at| Ok(create(creation(at.name())))),
        case("a topic with settings", ErrorCode::None, |at| {
            Ok(create(CreatableTopic {
                configs: vec![
                    config("retention.ms", "3600000"),
                    config("cleanup.policy", "compact"),
                ],
                ..creation(at.name())
            }))
        }),
        case("only checked", ErrorCode::None, |at| {
            Ok(CreateTopicsRequest {
                validate_only: true,
                ..create(creation(at.name()))
            })
        }),
        case("the broker's defaults", ErrorCode::None, |at| {
            Ok(create(CreatableTopic {
                num_partitions: -1,
                replication_factor: -1,
                ..creation(at.name())
            }))
        })
        .versions(4..=i16::MAX),
        case("assigned by hand", ErrorCode::None, |at| {
            Ok(create(CreatableTopic {
                num_partitions: -1,
                replication_factor: -1,
                assignments: (0..2)
                    .map(|partition_index| CreatableReplicaAssignment {
                        partition_index,
                        broker_ids: vec![0],
                    })
                    .collect(),
                ..creation(at.name())
            }))
        }),
        case("one that exists", ErrorCode::TopicAlreadyExists, |at| {
            let topic = at.topic()?;
            Ok(create(creation(topic.name)))
        }),
        case("an invalid name", ErrorCode::InvalidTopicException, |_| {
            Ok(create(creation("not a name!".into())))
        }),
        case("an empty name", ErrorCode::InvalidTopicException, |_| {
            Ok(create(creation("".into())))
        }),
        case("no partitions", ErrorCode::InvalidPartitions, |at| {
            Ok(create(CreatableTopic {
                num_partitions: 0,
                ..creation(at.name())
            }))
        }),
        case("no replicas", ErrorCode::InvalidReplicationFactor, |at| {
            Ok(create(CreatableTopic {
                replication_factor: 0,
                ..creation(at.name())
            }))
        }),
        case(
            "more replicas than brokers",
            ErrorCode::InvalidReplicationFactor,
            |at| {
                Ok(create(CreatableTopic {
                    replication_factor: 3,
                    ..creation(at.name())
                }))
            },
        ),
        case(
            "assigned to an unknown broker",
            ErrorCode::InvalidReplicaAssignment,
            |at| {
                Ok(create(CreatableTopic {
                    num_partitions: -1,
                    replication_factor: -1,
                    assignments: vec![CreatableReplicaAssignment {
                        partition_index: 0,
                        broker_ids: vec![77],
                    }],
                    ..creation(at.name())
                }))
            },
        ),
        case("assigned and counted", ErrorCode::InvalidRequest, |at| {
            Ok(create(CreatableTopic {
                assignments: vec![CreatableReplicaAssignment {
                    partition_index: 0,
                    broker_ids: vec![0],
                }],
                ..creation(at.name())
            }))
        }),
        case("an unknown setting", ErrorCode::InvalidConfig, |at| {
            Ok(create(CreatableTopic {
                configs: vec![config("no.such.setting", "1")],
                ..creation(at.name())
            }))
        }),
        case("a setting out of range", ErrorCode::InvalidConfig, |at| {
            Ok(create(CreatableTopic {
                configs: vec![config("retention.ms", "many")],
                ..creation(at.name())
            }))
        }),
        case("named twice", ErrorCode::InvalidRequest, |at| {
            Ok(CreateTopicsRequest {
                topics: vec![creation(at.name()), creation(at.name())],
                ..Default::default()
            })
        }),
        case("by nobody", ErrorCode::TopicAuthorizationFailed, |at| {
            Ok(create(creation(at.name())))
        })
        .by_nobody(),
    ]
}

fn delete(name: Str, version: i16) -> DeleteTopicsRequest {
    let by_name = DeleteTopicState {
        name: Some(name.clone()),
        topic_id: Uuid::ZERO,
    };
    DeleteTopicsRequest {
        topics: if version >= 6 { vec![by_name] } else { Vec::new() },
        topic_names: if version >= 6 { Vec::new() } else { vec![name] },
        timeout_ms: 10_000,
    }
}

fn delete_by(name: Option<Str>, topic_id: Uuid) -> DeleteTopicsRequest {
    DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name, topic_id }],
        topic_names: Vec::new(),
        timeout_ms: 10_000,
    }
}

fn delete_topics() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a topic", E::None, |at| {
            let topic = at.topic()?;
            Ok(delete(topic.name, at.version))
        }),
        case("a topic by its id", E::None, |at| {
            let topic = at.topic()?;
            Ok(delete_by(None, topic.id))
        })
        .versions(6..=i16::MAX),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            Ok(delete(at.name(), at.version))
        }),
        case("an unknown id", E::UnknownTopicId, |_| {
            Ok(delete_by(None, Uuid([7; 16])))
        })
        .versions(6..=i16::MAX),
        case("by name and id", E::InvalidRequest, |at| {
            let topic = at.topic()?;
            Ok(delete_by(Some(topic.name), topic.id))
        })
        .versions(6..=i16::MAX),
        case("by neither name nor id", E::InvalidRequest, |_| {
            Ok(delete_by(None, Uuid::ZERO))
        })
        .versions(6..=i16::MAX),
        case("named twice", E::InvalidRequest, |at| {
            let topic = at.topic()?;
            let mut request = delete(topic.name.clone(), at.version);
            request.topics.extend(request.topics.clone());
            request.topic_names.extend(request.topic_names.clone());
            Ok(request)
        }),
        case("by nobody", E::TopicAuthorizationFailed, |at| {
            let topic = at.topic()?;
            Ok(delete(topic.name, at.version))
        })
        .by_nobody(),
        case("by nobody, by its id", E::TopicAuthorizationFailed, |at| {
            let topic = at.topic()?;
            Ok(delete_by(None, topic.id))
        })
        .versions(6..=i16::MAX)
        .by_nobody(),
    ]
}

fn grow(name: Str, count: i32) -> CreatePartitionsRequest {
    CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name,
            count,
            assignments: None,
        }],
        timeout_ms: 10_000,
        validate_only: false,
    }
}

fn assigned(name: Str, count: i32, brokers: &[i32]) -> CreatePartitionsRequest {
    let mut request = grow(name, count);
    request.topics[0].assignments = Some(
        brokers
            .iter()
            .map(|id| CreatePartitionsAssignment {
                broker_ids: vec![*id],
            })
            .collect(),
    );
    request
}

fn create_partitions() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("two more", E::None, |at| {
            let topic = at.topic()?;
            Ok(grow(topic.name, 3))
        }),
        case("only checked", E::None, |at| {
            let topic = at.topic()?;
            Ok(CreatePartitionsRequest {
                validate_only: true,
                ..grow(topic.name, 3)
            })
        }),
        case("assigned by hand", E::None, |at| {
            let topic = at.topic()?;
            Ok(assigned(topic.name, 2, &[0]))
        }),
        case("as many as there are", E::InvalidPartitions, |at| {
            let topic = at.topic()?;
            Ok(grow(topic.name, 1))
        }),
        case("fewer than there are", E::InvalidPartitions, |at| {
            let topic = at.topic_with(3, &[])?;
            Ok(grow(topic.name, 2))
        }),
        case("none", E::InvalidPartitions, |at| {
            let topic = at.topic()?;
            Ok(grow(topic.name, 0))
        }),
        case(
            "assigned to an unknown broker",
            E::InvalidReplicaAssignment,
            |at| {
                let topic = at.topic()?;
                Ok(assigned(topic.name, 2, &[77]))
            },
        ),
        case(
            "more assigned than asked for",
            E::InvalidReplicaAssignment,
            |at| {
                let topic = at.topic()?;
                Ok(assigned(topic.name, 2, &[0, 0]))
            },
        ),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            Ok(grow(at.name(), 3))
        }),
        case("named twice", E::InvalidRequest, |at| {
            let topic = at.topic()?;
            let mut request = grow(topic.name, 3);
            request.topics.extend(request.topics.clone());
            Ok(request)
        }),
        case("by nobody", E::TopicAuthorizationFailed, |at| {
            let topic = at.topic()?;
            Ok(grow(topic.name, 3))
        })
        .by_nobody(),
    ]
}

fn describe(name: Str) -> DescribeTopicPartitionsRequest {
    DescribeTopicPartitionsRequest {
        topics: vec![TopicRequest { name }],
        ..Default::default()
    }
}

fn describe_partitions() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a topic", E::None, |at| {
            let topic = at.topic_with(3, &[])?;
            Ok(describe(topic.name))
        }),
        case("in part", E::None, |at| {
            let topic = at.topic_with(3, &[])?;
            Ok(DescribeTopicPartitionsRequest {
                response_partition_limit: 2,
                ..describe(topic.name)
            })
        }),
        case("the other part", E::None, |at| {
            let topic = at.topic_with(3, &[])?;
            Ok(DescribeTopicPartitionsRequest {
                cursor: Some(Cursor {
                    topic_name: topic.name.clone(),
                    partition_index: 2,
                }),
                ..describe(topic.name)
            })
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            Ok(describe(at.name()))
        }),
        case("an invalid name", E::InvalidTopicException, |_| {
            Ok(describe("not a name!".into()))
        }),
        case("a negative cursor", E::InvalidRequest, |at| {
            let topic = at.topic()?;
            Ok(DescribeTopicPartitionsRequest {
                cursor: Some(Cursor {
                    topic_name: topic.name.clone(),
                    partition_index: -5,
                }),
                ..describe(topic.name)
            })
        }),
        case("by nobody", E::TopicAuthorizationFailed, |at| {
            let topic = at.topic()?;
            Ok(describe(topic.name))
        })
        .by_nobody(),
    ]
}
