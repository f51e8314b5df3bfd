//! The cluster: who is in it, where replicas are, leaders, log directories, the quorum, features.

use flotilla_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use flotilla_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use flotilla_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use flotilla_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use flotilla_protocol::messages::elect_leaders_request::TopicPartitions;
use flotilla_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use flotilla_protocol::messages::update_features_request::FeatureUpdateKey;
use flotilla_protocol::messages::{
    AddRaftVoterRequest, AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest,
    DescribeClusterRequest, DescribeLogDirsRequest, DescribeQuorumRequest, ElectLeadersRequest,
    ListPartitionReassignmentsRequest, RemoveRaftVoterRequest, UnregisterBrokerRequest,
    UpdateFeaturesRequest,
};
use flotilla_protocol::{ErrorCode, Str, Uuid};

use crate::case::{Case, case};
use crate::scene::Scene;

pub fn cases() -> Vec<Case> {
    [
        describe_cluster(),
        log_dirs(),
        moves(),
        elections(),
        reassignments(),
        quorum(),
        voters(),
        features(),
        brokers(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn describe_cluster() -> Vec<Case> {
    use ErrorCode as E;
    let of = |endpoint_type| DescribeClusterRequest {
        endpoint_type,
        ..Default::default()
    };
    vec![
        case("brokers", E::None, move |_| Ok(of(1))),
        case("what may be done", E::None, move |_| {
            Ok(DescribeClusterRequest {
                include_cluster_authorized_operations: true,
                ..of(1)
            })
        }),
        case("with brokers that are fenced", E::None, move |_| {
            Ok(DescribeClusterRequest {
                include_fenced_brokers: true,
                ..of(1)
            })
        })
        .versions(2..=i16::MAX),
        case("controllers", E::MismatchedEndpointType, move |_| Ok(of(2))).versions(1..=i16::MAX),
        case(
            "of a kind that there is not",
            E::UnsupportedEndpointType,
            move |_| Ok(of(77)),
        )
        .versions(1..=i16::MAX),
        case("by nobody", E::None, move |_| Ok(of(1))).by_nobody(),
    ]
}

fn log_dirs() -> Vec<Case> {
    use ErrorCode as E;
    let of = |name: Str| DescribeLogDirsRequest {
        topics: Some(vec![DescribableLogDirTopic {
            topic: name,
            partitions: vec![0],
        }]),
    };
    vec![
        case("of a topic", E::None, move |at| {
            let topic = at.topic()?;
            Ok(of(topic.name))
        }),
        case("of all topics", E::None, |at| {
            at.topic()?;
            Ok(DescribeLogDirsRequest { topics: None })
        })
        .own("topics"),
        case("of an unknown topic", E::None, move |at| Ok(of(at.name()))),
        case("by nobody", E::ClusterAuthorizationFailed, move |at| {
            Ok(of(at.name()))
        })
        .versions(3..=i16::MAX)
        .by_nobody(),
        case("by nobody, without an error of its own", E::None, move |at| {
            Ok(of(at.name()))
        })
        .versions(0..=2)
        .by_nobody(),
    ]
}

fn moves() -> Vec<Case> {
    use ErrorCode as E;
    let to = |path: Str, name: Str| AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path,
            topics: vec![AlterReplicaLogDirTopic {
                name,
                partitions: vec![0],
            }],
        }],
    };
    let own_dir = |at: &mut Scene| {
        let described = at.call(3, &DescribeLogDirsRequest { topics: None })?;
        let first = described.results.into_iter().next();
        first
            .map(|dir| dir.log_dir)
            .ok_or_else(|| anyhow::anyhow!("the broker has no log directory"))
    };
    vec![
        case("to where it is", E::None, move |at| {
            let topic = at.topic()?;
            Ok(to(own_dir(at)?, topic.name))
        }),
        case("to a directory that there is not", E::LogDirNotFound, move |at| {
            let topic = at.topic()?;
            Ok(to("/made-up".into(), topic.name))
        }),
        case("of an unknown topic", E::UnknownTopicOrPartition, move |at| {
            Ok(to(own_dir(at)?, at.name()))
        }),
        case(
            "of a name that is too long",
            E::InvalidTopicException,
            move |at| Ok(to(own_dir(at)?, Str::copy_from(&"o".repeat(249)))),
        ),
        case("by nobody", E::ClusterAuthorizationFailed, move |at| {
            Ok(to("/made-up".into(), at.name()))
        })
        .by_nobody(),
    ]
}

fn elections() -> Vec<Case> {
    use ErrorCode as E;
    let elect = |name: Str, election_type| ElectLeadersRequest {
        election_type,
        topic_partitions: Some(vec![TopicPartitions {
            topic: name,
            partitions: vec![0],
        }]),
        ..Default::default()
    };
    vec![
        case("of all partitions", E::None, |at| {
            at.topic()?;
            Ok(ElectLeadersRequest {
                topic_partitions: None,
                ..Default::default()
            })
        })
        .own("replica_election_results"),
        case(
            "where the leader is the preferred one",
            E::ElectionNotNeeded,
            move |at| {
                let topic = at.topic()?;
                Ok(elect(topic.name, 0))
            },
        ),
        case(
            "unclean where there is a leader",
            E::ElectionNotNeeded,
            move |at| {
                let topic = at.topic()?;
                Ok(elect(topic.name, 1))
            },
        )
        .versions(1..=i16::MAX),
        case("of an unknown topic", E::UnknownTopicOrPartition, move |at| {
            Ok(elect(at.name(), 0))
        }),
        case("of a kind that there is not", E::InvalidRequest, move |at| {
            let topic = at.topic()?;
            Ok(elect(topic.name, 77))
        })
        .versions(1..=i16::MAX),
        case("by nobody", E::ClusterAuthorizationFailed, move |at| {
            Ok(elect(at.name(), 0))
        })
        .by_nobody(),
    ]
}

fn reassignments() -> Vec<Case> {
    use ErrorCode as E;
    let move_to = |name: Str, replicas: Option<Vec<i32>>| AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic {
            name,
            partitions: vec![ReassignablePartition {
                partition_index: 0,
                replicas,
            }],
        }],
        ..Default::default()
    };
    let list = |name: Str| ListPartitionReassignmentsRequest {
        topics: Some(vec![ListPartitionReassignmentsTopics {
            name,
            partition_indexes: vec![0],
        }]),
        ..Default::default()
    };
    vec![
        case("to where it is", E::None, move |at| {
            let topic = at.topic()?;
            Ok(move_to(topic.name, Some(vec![0])))
        }),
        case("to an unknown broker", E::InvalidReplicaAssignment, move |at| {
            let topic = at.topic()?;
            Ok(move_to(topic.name, Some(vec![77])))
        }),
        case("to no broker", E::InvalidReplicaAssignment, move |at| {
            let topic = at.topic()?;
            Ok(move_to(topic.name, Some(Vec::new())))
        }),
        case(
            "to the same broker twice",
            E::InvalidReplicaAssignment,
            move |at| {
                let topic = at.topic()?;
                Ok(move_to(topic.name, Some(vec![0, 0])))
            },
        ),
        case(
            "given up where there is none",
            E::NoReassignmentInProgress,
            move |at| {
                let topic = at.topic()?;
                Ok(move_to(topic.name, None))
            },
        ),
        case("of an unknown topic", E::UnknownTopicOrPartition, move |at| {
            Ok(move_to(at.name(), Some(vec![0])))
        }),
        case("by nobody", E::ClusterAuthorizationFailed, move |at| {
            Ok(move_to(at.name(), Some(vec![0])))
        })
        .by_nobody(),
        case("of a topic", E::None, move |at| {
            let topic = at.topic()?;
            Ok(list(topic.name))
        }),
        case("of all topics", E::None, |_| {
            Ok(ListPartitionReassignmentsRequest {
                topics: None,
                ..Default::default()
            })
        }),
        case("of an unknown topic", E::None, move |at| Ok(list(at.name()))),
        case("by nobody", E::ClusterAuthorizationFailed, move |at| {
            Ok(list(at.name()))
        })
        .by_nobody(),
    ]
}

fn quorum() -> Vec<Case> {
    use ErrorCode as E;
    let of = |name: &'static str| DescribeQuorumRequest {
        topics: vec![TopicData {
            topic_name: name.into(),
            partitions: vec![PartitionData { partition_index: 0 }],
        }],
    };
    vec![
        case("the voters", E::None, move |_| Ok(of("__cluster_metadata"))),
        case("another topic", E::UnknownTopicOrPartition, move |_| {
            Ok(of("made-up"))
        }),
        case("by nobody", E::ClusterAuthorizationFailed, move |_| {
            Ok(of("__cluster_metadata"))
        })
        .by_nobody(),
    ]
}

fn voters() -> Vec<Case> {
    use ErrorCode as E;
    let add = || AddRaftVoterRequest {
        cluster_id: None,
        timeout_ms: 1_000,
        voter_id: 77,
        voter_directory_id: Uuid([7; 16]),
        ..Default::default()
    };
    let remove = || RemoveRaftVoterRequest {
        cluster_id: None,
        voter_id: 77,
        voter_directory_id: Uuid([7; 16]),
    };
    vec![
        case("of another cluster", E::InconsistentClusterId, move |_| {
            Ok(AddRaftVoterRequest {
                cluster_id: Some("another".into()),
                ..add()
            })
        }),
        case("by nobody", E::ClusterAuthorizationFailed, move |_| Ok(add())).by_nobody(),
        case("of another cluster", E::InconsistentClusterId, move |_| {
            Ok(RemoveRaftVoterRequest {
                cluster_id: Some("another".into()),
                ..remove()
            })
        }),
        case("by nobody", E::ClusterAuthorizationFailed, move |_| Ok(remove())).by_nobody(),
    ]
}

fn features() -> Vec<Case> {
    use ErrorCode as E;
    let update = |feature: &'static str, max_version_level, upgrade_type| UpdateFeaturesRequest {
        feature_updates: vec![FeatureUpdateKey {
            feature: feature.into(),
            max_version_level,
            upgrade_type,
            ..Default::default()
        }],
        ..Default::default()
    };
    vec![
        case("to the version that it has", E::None, move |_| {
            Ok(update("transaction.version", 2, 1))
        }),
        case(
            "to a version that there is not",
            E::InvalidUpdateVersion,
            move |_| Ok(update("transaction.version", 99, 1)),
        ),
        case(
            "of a feature that there is not",
            E::InvalidUpdateVersion,
            move |_| Ok(update("made.up", 1, 1)),
        ),
        case("down, called an upgrade", E::InvalidUpdateVersion, move |_| {
            Ok(update("transaction.version", 1, 1))
        }),
        case("by nobody", E::ClusterAuthorizationFailed, move |_| {
            Ok(update("transaction.version", 2, 1))
        })
        .by_nobody(),
    ]
}

fn brokers() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("one that is not there", E::BrokerIdNotRegistered, |_| {
            Ok(UnregisterBrokerRequest { broker_id: 77 })
        }),
        case("by nobody", E::ClusterAuthorizationFailed, |_| {
            Ok(UnregisterBrokerRequest { broker_id: 77 })
        })
        .by_nobody(),
    ]
}
