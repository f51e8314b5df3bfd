//! ReadShareGroupStateSummary: where the delivery of partitions to a group stands, without its details (KIP-932, KIP-1226).

use flotilla_protocol::messages::read_share_group_state_summary_request::PartitionData;
use flotilla_protocol::messages::read_share_group_state_summary_response::{
    PartitionResult, ReadStateSummaryResult,
};
use flotilla_protocol::messages::{ReadShareGroupStateSummaryRequest, ReadShareGroupStateSummaryResponse};
use flotilla_protocol::{Str, Uuid};
use futures::future::join_all;

use super::Context;
use super::share_state::{ask, is_allowed, not_allowed, refusal, share_partition};
use crate::share::{Error, Reply, Request};

/// Answers for each partition. Where nothing is stored there is no start.
pub(super) async fn handle(
    ctx: &Context,
    request: ReadShareGroupStateSummaryRequest,
) -> ReadShareGroupStateSummaryResponse {
    let group = &request.group_id;
    let topics = request.topics.iter().map(async |topic| {
        let partitions = topic.partitions.iter();
        let partitions = partitions.map(|asked| one(ctx, group, topic.topic_id, asked));
        ReadStateSummaryResult {
            topic_id: topic.topic_id,
            partitions: join_all(partitions).await,
        }
    });
    ReadShareGroupStateSummaryResponse {
        results: join_all(topics).await,
    }
}

async fn one(ctx: &Context, group: &Str, topic_id: Uuid, asked: &PartitionData) -> PartitionResult {
    let partition = asked.partition;
    let nothing = PartitionResult {
        partition,
        start_offset: -1,
        ..PartitionResult::default()
    };
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
    match ask(ctx, &of, Request::Summary(of.clone())).await {
        Reply::Summary(Ok(Some(summary))) => PartitionResult {
            state_epoch: summary.state_epoch,
            leader_epoch: summary.leader_epoch.0,
            start_offset: summary.start.0,
            delivery_complete_count: summary.finished,
            ..nothing
        },
        Reply::Summary(Ok(None)) => nothing,
        Reply::Summary(Err(error)) => refused(refusal(error)),
        _ => refused(refusal(Error::Unexpected)),
    }
}
