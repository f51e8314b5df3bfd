//! DeleteShareGroupState: the coordinators of groups have the delivery of partitions forgotten (KIP-932).

use flotilla_protocol::messages::delete_share_group_state_request::PartitionData;
use flotilla_protocol::messages::delete_share_group_state_response::{DeleteStateResult, PartitionResult};
use flotilla_protocol::messages::{DeleteShareGroupStateRequest, DeleteShareGroupStateResponse};

use flotilla_protocol::{Str, Uuid};
use futures::future::join_all;

use super::Context;
use super::share_state::{ask, done, is_allowed, not_allowed, outcome, share_partition};
use crate::share::Request;

/// Answers for each partition once it is committed.
pub(super) async fn handle(
    ctx: &Context,
    request: DeleteShareGroupStateRequest,
) -> DeleteShareGroupStateResponse {
    let group = &request.group_id;
    let topics = request.topics.iter().map(async |topic| {
        let partitions = topic.partitions.iter().map(async |asked| {
            let (error_code, error_message) = one(ctx, group, topic.topic_id, asked).await;
            PartitionResult {
                partition: asked.partition,
                error_code,
                error_message,
            }
        });
        DeleteStateResult {
            topic_id: topic.topic_id,
            partitions: join_all(partitions).await,
        }
    });
    DeleteShareGroupStateResponse {
        results: join_all(topics).await,
    }
}

async fn one(ctx: &Context, group: &Str, topic_id: Uuid, asked: &PartitionData) -> (i16, Option<Str>) {
    if !is_allowed(ctx) {
        return not_allowed();
    }
    let of = share_partition(group, topic_id, asked.partition);
    let request = Request::Delete(of.clone());
    outcome(&done(ask(ctx, &of, request).await))
}
