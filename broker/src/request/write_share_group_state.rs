//! WriteShareGroupState: the leaders of partitions have stored what became of records (KIP-932, KIP-1226).

use flotilla_protocol::messages::write_share_group_state_request::PartitionData;
use flotilla_protocol::messages::write_share_group_state_response::{PartitionResult, WriteStateResult};
use flotilla_protocol::messages::{WriteShareGroupStateRequest, WriteShareGroupStateResponse};
use flotilla_protocol::{LeaderEpoch, Offset};
use flotilla_protocol::{Str, Uuid};
use futures::future::join_all;

use super::Context;
use super::share_state::{ask, done, is_allowed, not_allowed, outcome, refusal, share_partition};
use crate::share::{Batch, Error, RecordState, Request, WriteState};

/// Answers for each partition once it is committed.
pub(super) async fn handle(
    ctx: &Context,
    request: WriteShareGroupStateRequest,
) -> WriteShareGroupStateResponse {
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
        WriteStateResult {
            topic_id: topic.topic_id,
            partitions: join_all(partitions).await,
        }
    });
    WriteShareGroupStateResponse {
        results: join_all(topics).await,
    }
}

async fn one(ctx: &Context, group: &Str, topic_id: Uuid, asked: &PartitionData) -> (i16, Option<Str>) {
    if !is_allowed(ctx) {
        return not_allowed();
    }
    let of = share_partition(group, topic_id, asked.partition);
    let Some(change) = change(asked) else {
        return refusal(Error::InvalidRequest);
    };
    let request = Request::Write {
        of: of.clone(),
        change,
    };
    outcome(&done(ask(ctx, &of, request).await))
}

/// None: a batch is in a state that cannot be stored.
fn change(asked: &PartitionData) -> Option<WriteState> {
    let batches = asked.state_batches.iter().map(|batch| {
        Some(Batch {
            first: Offset(batch.first_offset),
            last: Offset(batch.last_offset),
            state: RecordState::stored(batch.delivery_state)?,
            delivery_count: batch.delivery_count,
        })
    });
    Some(WriteState {
        state_epoch: asked.state_epoch,
        leader_epoch: LeaderEpoch(asked.leader_epoch),
        start: Offset(asked.start_offset),
        finished: asked.delivery_complete_count,
        batches: batches.collect::<Option<Vec<_>>>()?,
    })
}
