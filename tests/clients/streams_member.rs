//! A member of a streams group (KIP-1071) that says what Kafka Streams says and processes nothing.

use std::time::Duration;

use flotilla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use flotilla_protocol::messages::streams_group_heartbeat_request::{
    Subtopology, TaskIds, TopicInfo, Topology,
};
use flotilla_protocol::messages::{
    FindCoordinatorRequest, OffsetCommitRequest, StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse,
};
use flotilla_protocol::{ErrorCode, Str};

use crate::eventually::eventually;
use crate::raw::Connection;

const HEARTBEAT: i16 = 0;
const FIND_COORDINATOR: i16 = 6;
/// The last version that names topics.
const OFFSET_COMMIT: i16 = 9;
/// The epoch of a member that leaves.
const LEAVES: i32 = -1;
const WITHIN: Duration = Duration::from_secs(60);

/// Which topics the application reads: one of its users, and one of its own.
pub struct Reads {
    pub input: &'static str,
    pub repartition: &'static str,
    /// Of both.
    pub partitions: i32,
}

/// The only member of its group.
pub struct StreamsMember {
    connection: Connection,
    group: &'static str,
    epoch: i32,
    tasks: Vec<TaskIds>,
}

impl StreamsMember {
    /// Joins, and has all tasks when this returns.
    pub fn join(bootstrap: &str, group: &'static str, reads: &Reads) -> Self {
        let mut member = eventually(WITHIN, "the coordinator to take a member", || {
            Self::taken(bootstrap, group, reads)
        });
        eventually(WITHIN, "the tasks of both subtopologies", || {
            let answer = member.beat();
            (member.tasks.len() == 2)
                .then_some(())
                .ok_or(format!("{answer:?}"))
        });
        member.ask(&StreamsGroupHeartbeatRequest {
            active_tasks: Some(member.tasks.clone()),
            standby_tasks: Some(Vec::new()),
            warmup_tasks: Some(Vec::new()),
            ..member.says()
        });
        member
    }

    /// A member that has no tasks yet; an error: the topic of groups is still being made.
    fn taken(bootstrap: &str, group: &'static str, reads: &Reads) -> Result<Self, String> {
        let mut member = Self {
            connection: Connection::open(&coordinator(bootstrap, group)),
            group,
            epoch: 0,
            tasks: Vec::new(),
        };
        let joins = StreamsGroupHeartbeatRequest {
            endpoint_information_epoch: -1,
            rebalance_timeout_ms: 60_000,
            topology: Some(topology(reads)),
            active_tasks: Some(Vec::new()),
            standby_tasks: Some(Vec::new()),
            warmup_tasks: Some(Vec::new()),
            process_id: Some("a-process".into()),
            ..member.says()
        };
        let answer = member.connection.call(HEARTBEAT, &joins).expect("an answer");
        match ErrorCode::from(answer.error_code) {
            ErrorCode::None => {
                member.epoch = answer.member_epoch;
                Ok(member)
            }
            error @ (ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable) => Err(error.name().to_owned()),
            error => panic!("{error}: {answer:?}"),
        }
    }

    /// Says that it is there.
    pub fn beat(&mut self) -> StreamsGroupHeartbeatResponse {
        self.ask(&self.says())
    }

    /// Commits an offset of every partition of a topic.
    pub fn commit(&mut self, topic: &str, partitions: i32, offset: i64) {
        let request = OffsetCommitRequest {
            group_id: self.group.into(),
            generation_id_or_member_epoch: self.epoch,
            member_id: self.id(),
            topics: vec![OffsetCommitRequestTopic {
                name: Str::copy_from(topic),
                partitions: (0..partitions)
                    .map(|partition_index| OffsetCommitRequestPartition {
                        partition_index,
                        committed_offset: offset,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = self.connection.call(OFFSET_COMMIT, &request).expect("an answer");
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            assert_eq!(partition.error_code, ErrorCode::None, "{answer:?}");
        }
    }

    pub fn leave(mut self) {
        self.epoch = LEAVES;
        self.beat();
    }

    fn id(&self) -> Str {
        "a-member".into()
    }

    fn says(&self) -> StreamsGroupHeartbeatRequest {
        StreamsGroupHeartbeatRequest {
            group_id: self.group.into(),
            member_id: self.id(),
            member_epoch: self.epoch,
            ..Default::default()
        }
    }

    fn ask(&mut self, request: &StreamsGroupHeartbeatRequest) -> StreamsGroupHeartbeatResponse {
        let answer = self.connection.call(HEARTBEAT, request).expect("an answer");
        assert_eq!(answer.error_code, ErrorCode::None, "{answer:?}");
        self.epoch = answer.member_epoch;
        if let Some(tasks) = &answer.active_tasks {
            let tasks = tasks.iter().map(|task| TaskIds {
                subtopology_id: task.subtopology_id.clone(),
                partitions: task.partitions.clone(),
            });
            self.tasks = tasks.collect();
        }
        answer
    }
}

/// One part reads the input and writes the topic between the two, which the other one reads.
fn topology(reads: &Reads) -> Topology {
    Topology {
        epoch: 0,
        subtopologies: vec![
            Subtopology {
                subtopology_id: "0".into(),
                source_topics: vec![reads.input.into()],
                repartition_sink_topics: vec![reads.repartition.into()],
                ..Default::default()
            },
            Subtopology {
                subtopology_id: "1".into(),
                repartition_source_topics: vec![TopicInfo {
                    name: reads.repartition.into(),
                    partitions: reads.partitions,
                    replication_factor: 3,
                    topic_configs: Vec::new(),
                }],
                ..Default::default()
            },
        ],
    }
}

/// The address of the broker that coordinates a group.
pub fn coordinator(bootstrap: &str, group: &str) -> String {
    let request = FindCoordinatorRequest {
        coordinator_keys: vec![Str::copy_from(group)],
        ..Default::default()
    };
    eventually(WITHIN, "a coordinator", || {
        let answer = Connection::open(bootstrap).call(FIND_COORDINATOR, &request);
        let found = answer.map_err(|error| error.to_string())?.coordinators.remove(0);
        match ErrorCode::from(found.error_code) {
            ErrorCode::None => Ok(format!("{}:{}", found.host, found.port)),
            error => Err(error.name().to_owned()),
        }
    })
}
