//! DescribeLogDirs: what lies where, and how much room is left (KIP-113, KIP-827).

use super::Context;
use crate::auth::{Operation, ResourceType};
use crate::replica::{Health, LogDir, LogDirPartition};
use flotilla_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use flotilla_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use flotilla_protocol::{ErrorCode, Str};
use std::collections::{BTreeMap, BTreeSet};

/// Describes this broker's own directories.
pub(super) async fn handle(ctx: &Context, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    if !ctx.allowed(Operation::Describe, ResourceType::Cluster, super::CLUSTER) {
        return DescribeLogDirsResponse {
            // Older clients take an empty list for it.
            error_code: if ctx.version >= 3 {
                ErrorCode::ClusterAuthorizationFailed.into()
            } else {
                ErrorCode::None.into()
            },
            ..DescribeLogDirsResponse::default()
        };
    }
    let wanted: Option<BTreeMap<&str, BTreeSet<i32>>> = request.topics.as_ref().map(|topics| {
        let topics = topics.iter();
        topics
            .map(|topic| (topic.topic.as_str(), topic.partitions.iter().copied().collect()))
            .collect()
    });
    let is_wanted = |partition: &LogDirPartition| match &wanted {
        None => true,
        Some(wanted) => wanted
            .get(&*partition.topic)
            .is_some_and(|indexes| indexes.contains(&partition.key.partition.0)),
    };
    let replicas = ctx.broker.replicas.clone();
    // File systems are asked how full they are.
    let dirs = tokio::task::spawn_blocking(move || replicas.log_dirs()).await;
    DescribeLogDirsResponse {
        results: dirs
            .unwrap_or_default()
            .iter()
            .map(|dir| result(ctx, dir, is_wanted))
            .collect(),
        ..DescribeLogDirsResponse::default()
    }
}

fn result(
    ctx: &Context,
    dir: &LogDir,
    is_wanted: impl Fn(&LogDirPartition) -> bool,
) -> DescribeLogDirsResult {
    let log_dir = Str::copy_from(&dir.path.to_string_lossy());
    if dir.health == Health::Offline {
        return DescribeLogDirsResult {
            error_code: ErrorCode::KafkaStorageError.into(),
            log_dir,
            total_bytes: -1,
            usable_bytes: -1,
            ..DescribeLogDirsResult::default()
        };
    }
    let mut topics: Vec<DescribeLogDirsTopic> = Vec::new();
    for partition in dir.partitions.iter().filter(|partition| is_wanted(partition)) {
        let described = DescribeLogDirsPartition {
            partition_index: partition.key.partition.0,
            partition_size: i64::try_from(partition.size_bytes).unwrap_or(i64::MAX),
            offset_lag: partition.lag,
            is_future_key: partition.is_copy,
        };
        match topics.last_mut().filter(|topic| *topic.name == *partition.topic) {
            Some(topic) => topic.partitions.push(described),
            None => topics.push(DescribeLogDirsTopic {
                name: Str::copy_from(&partition.topic),
                partitions: vec![described],
            }),
        }
    }
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let (total_bytes, usable_bytes) = match dir.space {
        Some((total, usable)) if ctx.version >= 4 => (bytes(total), bytes(usable)),
        _ => (-1, -1),
    };
    DescribeLogDirsResult {
        log_dir,
        topics,
        total_bytes,
        usable_bytes,
        ..DescribeLogDirsResult::default()
    }
}
