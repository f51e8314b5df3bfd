//! A partition as clients of one listener see it: shared by Metadata and DescribeTopicPartitions.

use super::Context;
use crate::metadata::{Image, Partition};
use flotilla_protocol::{BrokerId, ErrorCode};

/// What clients are told of a partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartitionView {
    pub(super) error: ErrorCode,
    /// -1: none that the client can reach.
    pub(super) leader: i32,
    pub(super) leader_epoch: i32,
    pub(super) replicas: Vec<i32>,
    pub(super) isr: Vec<i32>,
    /// Replicas that no client can reach: of brokers that are fenced, gone, or without this listener.
    pub(super) offline: Vec<i32>,
}

/// How old the form of the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Metadata 0: has no room for replicas that cannot be reached, and leaves them out.
    ReachableOnly,
    /// Metadata 1 to 5: knows no error for a leader without this listener.
    WithoutListenerError,
    /// All later ones.
    Current,
}

impl PartitionView {
    pub(super) fn of(ctx: &Context, image: &Image, partition: &Partition, form: Form) -> Self {
        let is_reachable = |id: &BrokerId| is_reachable(ctx, image, *id);
        let numbers = |ids: &[BrokerId]| -> Vec<i32> {
            let all = form != Form::ReachableOnly;
            ids.iter()
                .filter(|id| all || is_reachable(id))
                .map(|id| id.0)
                .collect()
        };
        let (replicas, isr) = (numbers(&partition.replicas), numbers(&partition.isr));
        let leader = partition.leader.filter(is_reachable);
        let error = match (leader, partition.leader) {
            (Some(_), _) if replicas.len() < partition.replicas.len() || isr.len() < partition.isr.len() => {
                ErrorCode::ReplicaNotAvailable
            }
            (Some(_), _) => ErrorCode::None,
            (None, Some(id)) if form == Form::Current && ctx.broker.present(image, id).is_some() => {
                ErrorCode::ListenerNotFound
            }
            (None, _) => ErrorCode::LeaderNotAvailable,
        };
        Self {
            error,
            leader: leader.map_or(-1, |id| id.0),
            leader_epoch: partition.leader_epoch.0,
            replicas,
            isr,
            offline: partition
                .replicas
                .iter()
                .filter(|id| !is_reachable(id))
                .map(|id| id.0)
                .collect(),
        }
    }
}

/// Whether clients of this listener can reach a broker: it is present, and has an address there.
pub(super) fn is_reachable(ctx: &Context, image: &Image, id: BrokerId) -> bool {
    let broker = ctx.broker.present(image, id);
    broker.is_some_and(|broker| ctx.endpoint(broker).is_some())
}

/// The broker that clients are told is the controller. Every broker takes what the controller decides and hands it on
/// (KIP-590), so it is the one that they talk to already, or any other that can be reached.
pub(super) fn controller_id(ctx: &Context, image: &Image) -> i32 {
    if is_reachable(ctx, image, ctx.broker.id) {
        return ctx.broker.id.0;
    }
    let mut reachable = image
        .brokers()
        .map(|broker| broker.id)
        .filter(|id| is_reachable(ctx, image, *id));
    reachable.next().map_or(-1, |id| id.0)
}

/// Whether a topic may be called so: a name that cannot be is told apart from one that is not there.
pub(super) fn is_topic_name(name: &str) -> bool {
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && !matches!(name, "." | "..") && name.bytes().all(legal)
}

/// The error of a topic that does not exist.
pub(super) fn missing(name: &str) -> ErrorCode {
    if is_topic_name(name) {
        ErrorCode::UnknownTopicOrPartition
    } else {
        ErrorCode::InvalidTopicException
    }
}
