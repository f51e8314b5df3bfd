//! Fetch: records out, to consumers and to followers.

use super::leader_hint::LeaderHints;
use super::partition_view::is_reachable;
use super::{Context, error};
use crate::auth::{Operation, ResourceType};
use crate::log::Aborted;
use crate::metadata::{Broker, Image};
use crate::replica::{Fetch, Part, PartitionKey, Query, ReadError, Reader};
use flotilla_control::settings::ReplicaSelector;
use flotilla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use flotilla_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use flotilla_protocol::messages::{FetchRequest, FetchResponse};
use flotilla_protocol::{
    BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, Records, Str, Uuid,
};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// `isolation.level=read_committed`.
const READ_COMMITTED: i8 = 1;
/// The first version in which consumers say where they are, and followers serve them (KIP-392).
const FOLLOWERS_VERSION: i16 = 11;
/// The version that followers speak.
const REPLICA_VERSION: i16 = 18;

/// One partition of the request: looked up, or refused.
struct Asked {
    index: i32,
    key: Result<PartitionKey, ErrorCode>,
}

struct AskedTopic {
    name: Str,
    id: Uuid,
    partitions: Vec<Asked>,
    /// The client might read it when it asked, and may not any more.
    is_revoked: bool,
}

/// Reads, and waits where there is less than was asked for.
pub(crate) async fn handle(ctx: &Context, mut request: FetchRequest) -> FetchResponse {
    let image = ctx.image();
    let reader = match reader(ctx.version, ctx.session.peer_broker, &image, &request) {
        Ok(reader) => reader,
        Err(code) => return refusal(code),
    };
    let is_follower = matches!(reader, Reader::Replica { .. });
    let sessions = &ctx.broker.fetch_sessions;
    let place = match sessions.begin(ctx, is_follower, &mut request) {
        Ok(place) => place,
        Err(code) => return refusal(code),
    };
    let bytes_max = match reader {
        Reader::Consumer { .. } => request
            .max_bytes
            .min(ctx.broker.settings().fetch_max_bytes)
            .min(ctx.fetch_bytes_max()),
        Reader::Replica { .. } | Reader::Peer => request.max_bytes,
    };
    let (mut fetch, mut topics) = look_up(&image, &request, reader, bytes_max, |topic| {
        find(ctx, &image, &topic.topic, topic.topic_id)
    });
    if matches!(reader, Reader::Consumer { .. }) {
        for (_, query) in &mut fetch.partitions {
            query.in_place = true;
        }
        if ctx.version >= FOLLOWERS_VERSION {
            fetch.near = Some(near(ctx, &image, &request.rack_id));
        }
    }
    let parts = read(ctx, image, &mut fetch, &mut topics).await;
    let response = respond(topics, parts, reader);
    if !is_follower {
        let throttle_ms = ctx.throttle_fetch_ms(bytes_of(&response));
        if throttle_ms > 0 {
            return sessions.finish_empty(place);
        }
    }
    let mut response = sessions.finish(ctx, is_follower, place, response);
    if ctx.version >= 16 {
        add_hints(ctx, &ctx.image(), &mut response);
    }
    response
}

/// A follower's fetch as its leader takes it, step by step and without waiting: for a simulation.
pub struct ReplicaFetch {
    fetch: Fetch,
    topics: Vec<AskedTopic>,
}

impl ReplicaFetch {
    /// Looks up what `peer` asks for, under the same rules as on the wire.
    ///
    /// # Errors
    /// The answer, where the request is refused as a whole.
    pub fn new(image: &Image, peer: BrokerId, request: &FetchRequest) -> Result<Self, FetchResponse> {
        let reader = reader(REPLICA_VERSION, Some(peer), image, request).map_err(refusal)?;
        let (fetch, topics) = look_up(image, request, reader, request.max_bytes, |topic| {
            image
                .topic_by_id(topic.topic_id)
                .map(|topic| topic.id)
                .ok_or(ErrorCode::UnknownTopicId)
        });
        Ok(Self { fetch, topics })
    }

    /// What is to be read, and how long may be waited for it.
    #[must_use]
    pub fn fetch(&self) -> &Fetch {
        &self.fetch
    }

    /// The answer.
    #[must_use]
    pub fn respond(self, parts: Vec<Result<Part, ReadError>>) -> FetchResponse {
        respond(self.topics, parts, self.fetch.reader)
    }
}

/// Looks up all partitions: what is to be read, and what is refused at once.
fn look_up(
    image: &Image,
    request: &FetchRequest,
    reader: Reader,
    bytes_max: i32,
    find: impl Fn(&FetchTopic) -> Result<Uuid, ErrorCode>,
) -> (Fetch, Vec<AskedTopic>) {
    let size = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
    let bytes_max = size(bytes_max);
    let mut fetch = Fetch {
        reader,
        near: None,
        wait_max: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
        bytes_min: size(request.min_bytes).min(bytes_max),
        bytes_max,
        partitions: Vec::new(),
    };
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let found = find(topic);
        let partitions = topic.partitions.iter().map(|partition| {
            let key = found.and_then(|id| {
                let topic = image.topic_by_id(id).ok_or(ErrorCode::UnknownTopicId)?;
                let index = PartitionIndex(partition.partition);
                topic
                    .partition(index)
                    .map(|_| PartitionKey {
                        topic_id: id,
                        partition: index,
                    })
                    .ok_or(ErrorCode::UnknownTopicOrPartition)
            });
            match key {
                Ok(key) => fetch.partitions.push((key, query(partition))),
                // A refusal is told at once.
                Err(_) => fetch.wait_max = Duration::ZERO,
            }
            Asked {
                index: partition.partition,
                key,
            }
        });
        let partitions = partitions.collect();
        topics.push(AskedTopic {
            name: topic.topic.clone(),
            id: topic.topic_id,
            partitions,
            is_revoked: false,
        });
    }
    (fetch, topics)
}

/// Reads. A consumer that waits gets nothing of a topic that it may not read any more, and hears that at once.
async fn read(
    ctx: &Context,
    asked_under: Arc<Image>,
    fetch: &mut Fetch,
    topics: &mut [AskedTopic],
) -> Vec<Result<Part, ReadError>> {
    if matches!(fetch.reader, Reader::Replica { .. } | Reader::Peer) {
        return ctx.broker.replicas.fetch(fetch).await;
    }
    let mut rules = asked_under;
    {
        let mut reading = pin!(ctx.broker.replicas.fetch(fetch));
        loop {
            // Listening before looking, so that no change in between is missed.
            let changed = ctx.broker.rules_changed.notified();
            if revoke(ctx, &mut rules, topics) {
                break;
            }
            tokio::select! {
                parts = &mut reading => {
                    revoke(ctx, &mut rules, topics);
                    return parts;
                }
                () = changed => {}
            }
        }
    }
    fetch.wait_max = Duration::ZERO;
    ctx.broker.replicas.fetch(fetch).await
}

/// Holds the topics against the rules as they are now. Whether one of them may not be read any more.
fn revoke(ctx: &Context, rules: &mut Arc<Image>, topics: &mut [AskedTopic]) -> bool {
    let now = ctx.image();
    if now.shares_rules(rules) {
        return false;
    }
    let mut any = false;
    for topic in topics.iter_mut() {
        topic.is_revoked = find(ctx, &now, &topic.name, topic.id) == Err(ErrorCode::TopicAuthorizationFailed);
        any |= topic.is_revoked;
    }
    *rules = now;
    any
}

/// Of its records.
fn bytes_of(response: &FetchResponse) -> usize {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions
        .filter_map(|partition| partition.records.as_ref())
        .map(Records::len)
        .sum()
}

fn refusal(code: ErrorCode) -> FetchResponse {
    FetchResponse {
        error_code: code.into(),
        ..FetchResponse::default()
    }
}

/// Who fetches. A replica id is believed only from the broker whose certificate says so, under its current registration
/// (KIP-903): anyone else could move a high watermark with it.
fn reader(
    version: i16,
    peer: Option<BrokerId>,
    image: &Image,
    request: &FetchRequest,
) -> Result<Reader, ErrorCode> {
    let (replica, epoch) = if version >= 15 {
        let state = &request.replica_state;
        (state.replica_id, BrokerEpoch(state.replica_epoch))
    } else {
        (request.replica_id, BrokerEpoch(-1))
    };
    if replica < 0 && peer.is_some() {
        return Ok(Reader::Peer);
    }
    if replica < 0 {
        return Ok(Reader::Consumer {
            read_committed: request.isolation_level == READ_COMMITTED,
        });
    }
    let broker = BrokerId(replica);
    if peer != Some(broker) {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    match image.broker(broker) {
        Some(registered) if registered.epoch == epoch => Ok(Reader::Replica { broker, epoch }),
        _ => Err(ErrorCode::StaleBrokerEpoch),
    }
}

/// The brokers to which a consumer of `rack` may be sent: those of its rack that live and that it can reach. None where this one is near enough.
fn near(ctx: &Context, image: &Image, rack: &str) -> Vec<BrokerId> {
    let is_near = |broker: &Broker| broker.rack() == Some(rack);
    let serves_all = ctx.broker.settings().replica_selector_class == ReplicaSelector::Leader;
    if serves_all || rack.is_empty() || image.broker(ctx.broker.id).is_some_and(|own| is_near(own)) {
        return Vec::new();
    }
    let brokers = image
        .brokers()
        .filter(|broker| is_near(broker) && broker.is_alive() && is_reachable(ctx, image, broker.id));
    brokers.map(|broker| broker.id).collect()
}

fn find(ctx: &Context, image: &Image, name: &Str, id: Uuid) -> Result<Uuid, ErrorCode> {
    let topic = if ctx.version >= 13 {
        Some(image.topic_by_id(id).ok_or(ErrorCode::UnknownTopicId)?)
    } else {
        image.topic(name)
    };
    let name = topic.map_or(name.as_str(), |topic| topic.name.as_str());
    if !ctx.allowed_in(image, Operation::Read, ResourceType::Topic, name) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    topic
        .map(|topic| topic.id)
        .ok_or(ErrorCode::UnknownTopicOrPartition)
}

fn query(partition: &FetchPartition) -> Query {
    Query {
        leader_epoch: LeaderEpoch(partition.current_leader_epoch),
        offset: Offset(partition.fetch_offset),
        last_fetched_epoch: LeaderEpoch(partition.last_fetched_epoch),
        log_start: Offset(partition.log_start_offset),
        bytes_max: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
        high_watermark: Offset(partition.high_watermark),
        in_place: false,
    }
}

fn respond(topics: Vec<AskedTopic>, parts: Vec<Result<Part, ReadError>>, reader: Reader) -> FetchResponse {
    let mut parts = parts.into_iter();
    let responses = topics.into_iter().map(|topic| FetchableTopicResponse {
        topic: topic.name,
        topic_id: topic.id,
        partitions: topic
            .partitions
            .into_iter()
            .map(|asked| match asked.key {
                Err(code) => refused(asked.index, code),
                // One answer for each partition that was looked up, in order.
                Ok(_) => match parts.next() {
                    _ if topic.is_revoked => refused(asked.index, ErrorCode::TopicAuthorizationFailed),
                    Some(part) => partition(asked.index, part, reader),
                    None => refused(asked.index, ErrorCode::UnknownServerError),
                },
            })
            .collect(),
    });
    FetchResponse {
        responses: responses.collect(),
        ..FetchResponse::default()
    }
}

fn refused(index: i32, code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index: index,
        error_code: code.into(),
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        records: Some(Records::default()),
        ..PartitionData::default()
    }
}

fn partition(index: i32, part: Result<Part, ReadError>, reader: Reader) -> PartitionData {
    let read_committed = reader == Reader::Consumer { read_committed: true };
    match part {
        Ok(part) => PartitionData {
            partition_index: index,
            high_watermark: part.high_watermark.0,
            last_stable_offset: part.last_stable_offset.0,
            log_start_offset: part.log_start.0,
            diverging_epoch: part
                .diverging
                .map_or_else(EpochEndOffset::default, |end| EpochEndOffset {
                    epoch: end.epoch.0,
                    end_offset: end.end.0,
                }),
            aborted_transactions: read_committed.then(|| part.aborted.iter().map(aborted).collect()),
            preferred_read_replica: part.preferred.map_or(-1, |broker| broker.0),
            records: Some(part.region.map_or_else(|| part.records.into(), Records::from)),
            ..PartitionData::default()
        },
        Err(error) => {
            let mut data = refused(index, error::of_read(&error));
            // A follower needs to know where to begin instead.
            if let ReadError::OutOfRange {
                log_start,
                high_watermark,
                ..
            } = error
                && matches!(reader, Reader::Replica { .. })
            {
                data.log_start_offset = log_start.0;
                data.high_watermark = high_watermark.0;
            }
            data
        }
    }
}

fn aborted(transaction: &Aborted) -> AbortedTransaction {
    AbortedTransaction {
        producer_id: transaction.producer_id.0,
        first_offset: transaction.first_offset.0,
    }
}

fn add_hints(ctx: &Context, image: &Image, response: &mut FetchResponse) {
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
    response.node_endpoints = hints
        .nodes()
        .into_iter()
        .map(|node| NodeEndpoint {
            node_id: node.id,
            host: node.host,
            port: node.port,
            rack: node.rack,
        })
        .collect();
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
