//! AlterReplicaLogDirs: replicas move between the volumes of this broker (KIP-113).

use super::Context;
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};
use crate::metadata::Image;
use crate::replica::{MoveError, PartitionKey, Replicas};
use flotilla_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use flotilla_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
use flotilla_protocol::{ErrorCode, PartitionIndex, Str};
use std::collections::BTreeMap;

/// The directory that is asked for, by topic and partition.
type Wanted = BTreeMap<(Str, i32), Str>;

/// Begins, changes or ends the moves that are asked for. Where a partition is named twice, the last directory counts.
pub(super) async fn handle(
    ctx: &Context,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let mut wanted = Wanted::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            for partition in &topic.partitions {
                wanted.insert((topic.name.clone(), *partition), dir.path.clone());
            }
        }
    }
    if !ctx.allowed(Operation::Alter, ResourceType::Cluster, CLUSTER_RESOURCE) {
        let refused = wanted
            .into_keys()
            .map(|name| (name, ErrorCode::ClusterAuthorizationFailed));
        return response(refused);
    }
    let (replicas, image) = (ctx.broker.replicas.clone(), ctx.image());
    // Copies are begun on disks.
    let answers = tokio::task::spawn_blocking(move || {
        let begin = |((topic, partition), path): ((Str, i32), Str)| {
            let code = begin(&replicas, &image, &topic, PartitionIndex(partition), &path);
            ((topic, partition), code)
        };
        wanted.into_iter().map(begin).collect::<Vec<_>>()
    });
    response(answers.await.unwrap_or_default())
}

fn begin(
    replicas: &Replicas,
    image: &Image,
    topic: &str,
    partition: PartitionIndex,
    path: &str,
) -> ErrorCode {
    let known = image
        .topic(topic)
        .filter(|known| known.partition(partition).is_some());
    let begun = match known {
        Some(known) => {
            let key = PartitionKey {
                topic_id: known.id,
                partition,
            };
            replicas.alter_log_dir(topic, key, path)
        }
        // The directory is looked at first.
        None => match replicas.check_log_dir(topic, partition, path) {
            Ok(()) => return ErrorCode::UnknownTopicOrPartition,
            Err(error) => Err(error),
        },
    };
    match begun {
        Ok(()) => ErrorCode::None,
        Err(error) => {
            tracing::warn!(
                topic,
                partition = partition.0,
                path,
                "a replica is not moved between volumes: {error}"
            );
            code(&error)
        }
    }
}

fn code(error: &MoveError) -> ErrorCode {
    match error {
        MoveError::NameTooLong => ErrorCode::InvalidTopicException,
        MoveError::NoSuchDir { .. } => ErrorCode::LogDirNotFound,
        MoveError::Offline { .. } | MoveError::StillRemoving | MoveError::Disk(_) => {
            ErrorCode::KafkaStorageError
        }
        MoveError::NotHosted => ErrorCode::ReplicaNotAvailable,
    }
}

fn response(answers: impl IntoIterator<Item = ((Str, i32), ErrorCode)>) -> AlterReplicaLogDirsResponse {
    let mut results: Vec<AlterReplicaLogDirTopicResult> = Vec::new();
    for ((topic, partition_index), code) in answers {
        let answer = AlterReplicaLogDirPartitionResult {
            partition_index,
            error_code: code.into(),
        };
        match results.last_mut().filter(|last| last.topic_name == topic) {
            Some(last) => last.partitions.push(answer),
            None => results.push(AlterReplicaLogDirTopicResult {
                topic_name: topic,
                partitions: vec![answer],
            }),
        }
    }
    AlterReplicaLogDirsResponse {
        results,
        ..AlterReplicaLogDirsResponse::default()
    }
}
