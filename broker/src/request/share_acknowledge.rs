//! ShareAcknowledge: what members of share groups say of the records that they were given (KIP-932, KIP-1222).

use flotilla_protocol::messages::share_acknowledge_request::AcknowledgePartition;
use flotilla_protocol::messages::share_acknowledge_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionData, ShareAcknowledgeTopicResponse,
};
use flotilla_protocol::messages::{ShareAcknowledgeRequest, ShareAcknowledgeResponse};
use flotilla_protocol::{PartitionIndex, Uuid};
use futures::future::join_all;

use super::Context;
use super::leader_hint::LeaderHints;
use super::share_session::{
    Refusal, Said, acknowledge, acknowledgements, lock_ms, of_session, partition_key, session_key,
};
use crate::metadata::Image;
use crate::share_runtime::SessionKey;

/// Takes what is said, partition by partition; with the last epoch the session ends, and what was not spoken of is released.
pub(super) async fn handle(ctx: &Context, request: ShareAcknowledgeRequest) -> ShareAcknowledgeResponse {
    let image = ctx.image();
    let key = match session_key(ctx, &image, request.group_id.as_ref(), request.member_id.as_ref()) {
        Ok(key) => key,
        Err(refused) => return refusal(refused),
    };
    let opened = match ctx.broker.shares.acknowledges(&key, request.share_session_epoch) {
        Ok(opened) => opened,
        Err(refused) => return refusal(of_session(refused)),
    };
    let may_renew = ctx.version >= 2 && request.is_renew_ack;
    let topics = request.topics.iter().map(async |topic| {
        let partitions = topic.partitions.iter();
        let partitions = partitions.map(|asked| one(ctx, &image, &key, topic.topic_id, asked, may_renew));
        ShareAcknowledgeTopicResponse {
            topic_id: topic.topic_id,
            partitions: join_all(partitions).await,
        }
    });
    let responses = join_all(topics).await;
    ctx.broker.share_released(&key, &opened.dropped);
    let mut response = ShareAcknowledgeResponse {
        acquisition_lock_timeout_ms: lock_ms(ctx, &image, &key.0),
        responses,
        ..ShareAcknowledgeResponse::default()
    };
    add_hints(ctx, &ctx.image(), &mut response);
    response
}

async fn one(
    ctx: &Context,
    image: &Image,
    session: &SessionKey,
    topic_id: Uuid,
    asked: &AcknowledgePartition,
    may_renew: bool,
) -> PartitionData {
    let said = asked.acknowledgement_batches.iter().map(|batch| Said {
        first: batch.first_offset,
        last: batch.last_offset,
        types: &batch.acknowledge_types,
    });
    let key = partition_key(ctx, image, topic_id, asked.partition_index);
    let (code, message) = acknowledge(ctx, session, key, acknowledgements(said, may_renew)).await;
    PartitionData {
        partition_index: asked.partition_index,
        error_code: code.into(),
        error_message: message.map(Into::into),
        ..PartitionData::default()
    }
}

fn add_hints(ctx: &Context, image: &Image, response: &mut ShareAcknowledgeResponse) {
    let mut hints = LeaderHints::new(ctx, image);
    for topic in &mut response.responses {
        let Some(name) = image.topic_by_id(topic.topic_id).map(|topic| topic.name.as_str()) else {
            continue;
        };
        for partition in &mut topic.partitions {
            let index = PartitionIndex(partition.partition_index);
            if let Some((leader, epoch)) = hints.hint(partition.error_code.into(), name, index) {
                partition.current_leader = LeaderIdAndEpoch {
                    leader_id: leader.0,
                    leader_epoch: epoch.0,
                };
            }
        }
    }
    let nodes = hints.nodes().into_iter().map(|node| NodeEndpoint {
        node_id: node.id,
        host: node.host,
        port: node.port,
        rack: node.rack,
    });
    response.node_endpoints = nodes.collect();
}

fn refusal((code, message): Refusal) -> ShareAcknowledgeResponse {
    ShareAcknowledgeResponse {
        error_code: code.into(),
        error_message: message
            .or_else(|| Some(code.message().to_owned()))
            .map(Into::into),
        ..ShareAcknowledgeResponse::default()
    }
}
