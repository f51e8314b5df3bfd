//! ShareFetch: records to members of share groups, and what they say of those that they were given (KIP-932, KIP-1206).

use std::collections::BTreeMap;
use std::time::Duration;

use flotilla_protocol::messages::share_fetch_request::FetchPartition;
use flotilla_protocol::messages::share_fetch_response::{
    AcquiredRecords, LeaderIdAndEpoch, NodeEndpoint, PartitionData, ShareFetchableTopicResponse,
};
use flotilla_protocol::messages::{ShareFetchRequest, ShareFetchResponse};
use flotilla_protocol::{ErrorCode, PartitionIndex, Uuid};
use futures::future::join_all;

use super::Context;
use super::leader_hint::LeaderHints;
use super::share_session::{
    Refusal, Said, acknowledge, acknowledgements, lock_ms, of_failure, of_session, partition_key, session_key,
};
use crate::metadata::Image;
use crate::replica::PartitionKey;
use crate::share::{CLOSE, OPEN, Opened, Wanted};
use crate::share_runtime::{Failure, Given, SessionKey, Want};

/// `ShareAcquireMode` of those that want no more records than they say (KIP-1206).
const RECORD_LIMIT: i8 = 1;

/// What is answered, by partition.
type Answers = BTreeMap<(Uuid, i32), PartitionData>;

/// Takes what is said of records first; then gives what is available, or waits until something is.
pub(super) async fn handle(ctx: &Context, request: ShareFetchRequest) -> ShareFetchResponse {
    let image = ctx.image();
    let key = match session_key(ctx, &image, request.group_id.as_ref(), request.member_id.as_ref()) {
        Ok(key) => key,
        Err(refused) => return refusal(refused),
    };
    let is_renewal = ctx.version >= 2 && request.is_renew_ack;
    let opened = match check(&request, is_renewal).and_then(|()| open(ctx, &key, &request)) {
        Ok(opened) => opened,
        Err(refused) => return refusal(refused),
    };
    let mut answers = acknowledged(ctx, &image, &key, &request, is_renewal).await;
    ctx.broker.share_released(&key, &opened.dropped);
    if request.share_session_epoch != CLOSE && !is_renewal {
        fetch(ctx, &image, &key, &request, &opened, &mut answers).await;
    }
    respond(ctx, lock_ms(ctx, &image, &key.0), answers)
}

fn check(request: &ShareFetchRequest, is_renewal: bool) -> Result<(), Refusal> {
    let invalid = |message: &str| Err((ErrorCode::InvalidRequest, Some(message.to_owned())));
    let has_acknowledgements = request
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .any(|partition| !partition.acknowledgement_batches.is_empty());
    if request.share_session_epoch == OPEN && has_acknowledgements {
        return invalid("a request that opens a share session acknowledges nothing");
    }
    let fetches = [
        request.max_bytes,
        request.min_bytes,
        request.max_records,
        request.max_wait_ms,
    ];
    if is_renewal && fetches.iter().any(|limit| *limit != 0) {
        return invalid(
            "a request that renews locks fetches nothing: MaxBytes, MinBytes, MaxRecords and MaxWaitMs are 0",
        );
    }
    Ok(())
}

fn open(ctx: &Context, key: &SessionKey, request: &ShareFetchRequest) -> Result<Opened, Refusal> {
    let place = |topic_id: Uuid, partition: i32| PartitionKey {
        topic_id,
        partition: PartitionIndex(partition),
    };
    let added = request.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| place(topic.topic_id, partition.partition_index))
    });
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| place(topic.topic_id, *partition))
    });
    let (added, forgotten): (Vec<_>, Vec<_>) = (added.collect(), forgotten.collect());
    let sessions_max = ctx.broker.settings().group_share_max_share_sessions;
    ctx.broker
        .shares
        .fetches(
            key,
            request.share_session_epoch,
            ctx.session.connection_id,
            (&added, &forgotten),
            usize::try_from(sessions_max).unwrap_or(0),
        )
        .map_err(of_session)
}

async fn acknowledged(
    ctx: &Context,
    image: &Image,
    session: &SessionKey,
    request: &ShareFetchRequest,
    may_renew: bool,
) -> Answers {
    let said = request.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        let said = partitions.filter(|partition| !partition.acknowledgement_batches.is_empty());
        said.map(move |partition| (topic.topic_id, partition))
    });
    let outcomes = said.map(async |(topic_id, partition): (Uuid, &FetchPartition)| {
        let said = partition.acknowledgement_batches.iter().map(|batch| Said {
            first: batch.first_offset,
            last: batch.last_offset,
            types: &batch.acknowledge_types,
        });
        let key = partition_key(ctx, image, topic_id, partition.partition_index);
        let (code, message) = acknowledge(ctx, session, key, acknowledgements(said, may_renew)).await;
        let data = PartitionData {
            partition_index: partition.partition_index,
            acknowledge_error_code: code.into(),
            acknowledge_error_message: message.map(Into::into),
            ..PartitionData::default()
        };
        ((topic_id, partition.partition_index), data)
    });
    join_all(outcomes).await.into_iter().collect()
}

async fn fetch(
    ctx: &Context,
    image: &Image,
    (group, member): &SessionKey,
    request: &ShareFetchRequest,
    opened: &Opened,
    answers: &mut Answers,
) {
    let mut partitions = Vec::with_capacity(opened.partitions.len());
    let mut is_refused = false;
    for (topic_id, partition) in &opened.partitions {
        match partition_key(ctx, image, *topic_id, *partition) {
            Ok(key) => partitions.push(key),
            Err(code) => {
                is_refused = true;
                let data = answer(answers, *topic_id, *partition);
                data.error_code = code.into();
                data.error_message = Some(code.message().into());
            }
        }
    }
    let size = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
    let bytes_max = request
        .max_bytes
        .min(ctx.broker.settings().fetch_max_bytes)
        .min(ctx.fetch_bytes_max());
    let wait_ms = match is_refused {
        // A refusal is told at once.
        true => 0,
        false => u64::try_from(request.max_wait_ms).unwrap_or(0),
    };
    let want = Want {
        group: group.clone(),
        member: member.clone(),
        partitions,
        wanted: Wanted {
            records_max: i64::from(request.max_records.max(1)),
            is_strict: ctx.version >= 2 && request.share_acquire_mode == RECORD_LIMIT,
            batch_size: request.batch_size.into(),
        },
        bytes_max: size(bytes_max),
        wait_max: Duration::from_millis(wait_ms),
    };
    for (key, found) in ctx.broker.share_fetch(&want).await {
        let data = answer(answers, key.topic_id, key.partition.0);
        found_in(data, found);
    }
    let bytes = answers.values().map(|data| data.records.len()).sum();
    // They are locked for the member, so they are sent; it is held back all the same.
    ctx.throttle_share_fetch(bytes);
}

fn answer(answers: &mut Answers, topic_id: Uuid, partition: i32) -> &mut PartitionData {
    let data = answers.entry((topic_id, partition)).or_default();
    data.partition_index = partition;
    data
}

fn found_in(data: &mut PartitionData, found: Result<Given, Failure>) {
    match found {
        Ok(given) => {
            data.records = given.records.into();
            let acquired = given.acquired.iter().map(|one| AcquiredRecords {
                first_offset: one.first.0,
                last_offset: one.last.0,
                delivery_count: one.delivery_count,
            });
            data.acquired_records = acquired.collect();
        }
        Err(failure) => {
            data.error_code = of_failure(&failure).into();
            data.error_message = Some(failure.to_string().into());
        }
    }
}

fn respond(ctx: &Context, lock_ms: i32, answers: Answers) -> ShareFetchResponse {
    let image = ctx.image();
    let mut hints = LeaderHints::new(ctx, &image);
    let mut topics: BTreeMap<Uuid, Vec<PartitionData>> = BTreeMap::new();
    for ((topic_id, partition), mut data) in answers {
        if let Some(topic) = image.topic_by_id(topic_id) {
            let index = PartitionIndex(partition);
            let hint = [data.error_code, data.acknowledge_error_code]
                .into_iter()
                .find_map(|code| hints.hint(code.into(), &topic.name, index));
            if let Some((leader, epoch)) = hint {
                data.current_leader = LeaderIdAndEpoch {
                    leader_id: leader.0,
                    leader_epoch: epoch.0,
                };
            }
        }
        topics.entry(topic_id).or_default().push(data);
    }
    let responses = topics
        .into_iter()
        .map(|(topic_id, partitions)| ShareFetchableTopicResponse { topic_id, partitions });
    let nodes = hints.nodes().into_iter().map(|node| NodeEndpoint {
        node_id: node.id,
        host: node.host,
        port: node.port,
        rack: node.rack,
    });
    ShareFetchResponse {
        acquisition_lock_timeout_ms: lock_ms,
        responses: responses.collect(),
        node_endpoints: nodes.collect(),
        ..ShareFetchResponse::default()
    }
}

fn refusal((code, message): Refusal) -> ShareFetchResponse {
    ShareFetchResponse {
        error_code: code.into(),
        error_message: message
            .or_else(|| Some(code.message().to_owned()))
            .map(Into::into),
        ..ShareFetchResponse::default()
    }
}
