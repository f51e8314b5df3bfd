//! ReadShareGroupState: the leader of a partition reads where its delivery to a group stands, and from then on no earlier
//! leader is heard (KIP-932).

use flotilla_protocol::messages::read_share_group_state_request::PartitionData;
use flotilla_protocol::messages::read_share_group_state_response::{
    PartitionResult, ReadStateResult, StateBatch,
};
use flotilla_protocol::messages::{ReadShareGroupStateRequest, ReadShareGroupStateResponse};
use flotilla_protocol::{LeaderEpoch, Str, Uuid};
use futures::future::join_all;

use super::Context;
use super::share_state::{ask, is_allowed, not_allowed, refusal, share_partition};
use crate::share::{Error, Reply, Request};

/// Answers for each partition with all that is stored.
pub(super) async fn handle(
    ctx: &Context,
    request: ReadShareGroupStateRequest,
) -> ReadShareGroupStateResponse {
    let group = &request.group_id;
    let topics = request.topics.iter().map(async |topic| {
        let partitions = topic.partitions.iter();
        let partitions = partitions.map(|asked| one(ctx, group, topic.topic_id, asked));
        ReadStateResult {
            topic_id: topic.topic_id,
            partitions: join_all(partitions).await,
        }
    });
    ReadShareGroupStateResponse {
        results: join_all(topics).await,
    }
}

async fn one(ctx: &Context, group: &Str, topic_id: Uuid, asked: &PartitionData) -> PartitionResult {
    let partition = asked.partition;
    let refused = |(error_code, error_message)| PartitionResult {
        partition,
        error_code,
        error_message,
        ..PartitionResult::default()
    };
    if !is_allowed(ctx) {
        return refused(not_allowed());
    }
    let of = share_partition(group, topic_id, partition);
    let request = Request::Read {
        of: of.clone(),
        leader_epoch: LeaderEpoch(asked.leader_epoch),
    };
    let stored = match ask(ctx, &of, request).await {
        Reply::Read(Ok(stored)) => stored,
        Reply::Read(Err(error)) => return refused(refusal(error)),
        _ => return refused(refusal(Error::Unexpected)),
    };
    let batches = stored.batches.iter().map(|batch| StateBatch {
        first_offset: batch.first.0,
        last_offset: batch.last.0,
        delivery_state: batch.state.code(),
        delivery_count: batch.delivery_count,
    });
    PartitionResult {
        partition,
        state_epoch: stored.state_epoch,
        start_offset: stored.start.0,
        state_batches: batches.collect(),
        ..PartitionResult::default()
    }
}
