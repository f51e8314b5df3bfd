//! What members of share groups are given, and what they say of it (KIP-932, KIP-1206, KIP-1222).

use anyhow::{Context, Result, ensure};
use flotilla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use flotilla_protocol::messages::share_acknowledge_request::{
    AcknowledgePartition, AcknowledgeTopic, AcknowledgementBatch,
};
use flotilla_protocol::messages::share_fetch_request::{self, FetchPartition, FetchTopic};
use flotilla_protocol::messages::{
    IncrementalAlterConfigsRequest, ShareAcknowledgeRequest, ShareFetchRequest,
};
use flotilla_protocol::{ErrorCode, Uuid};

use crate::case::{Case, case};
use crate::scene::{Scene, Topic, share_member};

/// Member ids as Kafka takes them: at most 36 characters.
const MEMBER: &str = "a-member";
const OTHER: &str = "another-member";

const GAP: i8 = 0;
const ACCEPT: i8 = 1;
const RELEASE: i8 = 2;
const REJECT: i8 = 3;
const RENEW: i8 = 4;

/// The last version of both APIs.
const LATEST: i16 = 2;

pub fn cases() -> Vec<Case> {
    let mut cases = fetch();
    cases.extend(acknowledge());
    cases
}

/// A topic with three records, of which a share group with one member has begun to read.
fn begun(at: &mut Scene) -> Result<Topic> {
    let topic = at.topic()?;
    let setting = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 32,
            resource_name: at.name(),
            configs: vec![AlterableConfig {
                name: "share.auto.offset.reset".into(),
                value: Some("earliest".into()),
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    let set = at.call(1, &setting)?;
    ensure!(set.responses[0].error_code == 0, "{set:?}");
    for _ in 0..3 {
        at.write_idempotent(&topic)?;
    }
    let joins = share_member(at.name(), MEMBER, 0, Some(at.name()));
    at.wait_for("the member to be assigned the partition", |at| {
        let joined = at.call(1, &joins)?;
        let assigned = joined.assignment.as_ref().context("nothing is assigned")?;
        ensure!(!assigned.topic_partitions.is_empty(), "{joined:?}");
        Ok(())
    });
    Ok(topic)
}

/// The next request of a member's session, with its partition where it opens that.
fn next(at: &Scene, member: &'static str, epoch: i32, topic: &Topic) -> ShareFetchRequest {
    ShareFetchRequest {
        group_id: Some(at.name()),
        member_id: Some(member.into()),
        share_session_epoch: epoch,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1 << 20,
        max_records: 500,
        batch_size: 500,
        topics: vec![FetchTopic {
            topic_id: topic.id,
            partitions: vec![FetchPartition::default()],
        }],
        ..Default::default()
    }
}

/// The member holds all records. Gives the epoch of its next request.
fn held(at: &mut Scene) -> Result<(Topic, i32)> {
    let topic = begun(at)?;
    let mut epoch = 0;
    at.wait_for("the records", |at| {
        let request = next(at, MEMBER, epoch, &topic);
        let answer = at.call(LATEST, &request)?;
        ensure!(answer.error_code == 0, "{answer:?}");
        epoch += 1;
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let acquired = partitions.flat_map(|partition| &partition.acquired_records);
        let last = acquired.map(|one| one.last_offset).max();
        ensure!(last == Some(2), "{answer:?}");
        Ok(())
    });
    Ok((topic, epoch))
}

/// Another member has a session, too, and is given nothing.
fn held_by_another(at: &mut Scene) -> Result<Topic> {
    let (topic, _) = held(at)?;
    let mut request = next(at, OTHER, 0, &topic);
    request.max_wait_ms = 0;
    at.share_session(&request)?;
    Ok(topic)
}

fn with(mut request: ShareFetchRequest, first: i64, last: i64, types: &[i8]) -> ShareFetchRequest {
    let said = share_fetch_request::AcknowledgementBatch {
        first_offset: first,
        last_offset: last,
        acknowledge_types: types.to_vec(),
    };
    // What is given besides depends on when it is asked for.
    request.max_wait_ms = 0;
    request.topics[0].partitions[0].acknowledgement_batches.push(said);
    request
}

fn fetch() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("all is accepted", E::None, |at| {
            let (topic, epoch) = held(at)?;
            Ok(with(next(at, MEMBER, epoch, &topic), 0, 2, &[ACCEPT]))
        }),
        case("one is rejected", E::None, |at| {
            let (topic, epoch) = held(at)?;
            Ok(with(next(at, MEMBER, epoch, &topic), 1, 1, &[REJECT]))
        }),
        case("what another holds", E::InvalidRecordState, |at| {
            let topic = held_by_another(at)?;
            Ok(with(next(at, OTHER, 1, &topic), 0, 2, &[ACCEPT]))
        }),
        case("what nobody was given", E::InvalidRequest, |at| {
            let (topic, epoch) = held(at)?;
            Ok(with(next(at, MEMBER, epoch, &topic), 0, 9, &[ACCEPT]))
        }),
        case("a renewal that is none", E::InvalidRequest, |at| {
            let (topic, epoch) = held(at)?;
            Ok(with(next(at, MEMBER, epoch, &topic), 0, 2, &[RENEW]))
        }),
        case("a renewal that fetches", E::InvalidRequest, |at| {
            let (topic, epoch) = held(at)?;
            let mut request = with(next(at, MEMBER, epoch, &topic), 0, 2, &[RENEW]);
            request.is_renew_ack = true;
            Ok(request)
        })
        .versions(2..=2),
        case("an unknown partition", E::UnknownTopicOrPartition, |at| {
            let topic = begun(at)?;
            let mut request = next(at, MEMBER, 0, &topic);
            request.topics[0].partitions[0].partition_index = 5;
            Ok(request)
        }),
    ]
}

fn said(
    at: &Scene,
    member: &'static str,
    epoch: i32,
    (topic_id, partition): (Uuid, i32),
    (first, last, types): (i64, i64, &[i8]),
) -> ShareAcknowledgeRequest {
    ShareAcknowledgeRequest {
        group_id: Some(at.name()),
        member_id: Some(member.into()),
        share_session_epoch: epoch,
        is_renew_ack: false,
        topics: vec![AcknowledgeTopic {
            topic_id,
            partitions: vec![AcknowledgePartition {
                partition_index: partition,
                acknowledgement_batches: vec![AcknowledgementBatch {
                    first_offset: first,
                    last_offset: last,
                    acknowledge_types: types.to_vec(),
                }],
            }],
        }],
    }
}

/// A case in which the member that holds all records says something of them.
fn says(name: &'static str, expected: ErrorCode, (first, last, types): (i64, i64, &'static [i8])) -> Case {
    case(name, expected, move |at| {
        let (topic, epoch) = held(at)?;
        Ok(said(at, MEMBER, epoch, (topic.id, 0), (first, last, types)))
    })
}

fn acknowledge() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        says("all is accepted", E::None, (0, 2, &[ACCEPT])),
        says("each by itself", E::None, (0, 2, &[ACCEPT, RELEASE, REJECT])),
        says("a gap", E::None, (1, 1, &[GAP])),
        says("what nobody was given", E::InvalidRequest, (0, 9, &[ACCEPT])),
        says("too few words", E::InvalidRequest, (0, 2, &[ACCEPT, ACCEPT])),
        says("no word", E::InvalidRequest, (0, 2, &[])),
        says("an unknown word", E::InvalidRequest, (0, 2, &[9])),
        says(
            "an end before its beginning",
            E::InvalidRequest,
            (2, 0, &[ACCEPT]),
        ),
        case("what another holds", E::InvalidRecordState, |at| {
            let topic = held_by_another(at)?;
            Ok(said(at, OTHER, 1, (topic.id, 0), (0, 2, &[ACCEPT])))
        }),
        case("what was given back", E::InvalidRecordState, |at| {
            let (topic, epoch) = held(at)?;
            let answer = at.call(
                LATEST,
                &said(at, MEMBER, epoch, (topic.id, 0), (0, 2, &[RELEASE])),
            )?;
            ensure!(answer.responses[0].partitions[0].error_code == 0, "{answer:?}");
            Ok(said(at, MEMBER, epoch + 1, (topic.id, 0), (0, 2, &[ACCEPT])))
        }),
        case("a renewal", E::None, |at| {
            let (topic, epoch) = held(at)?;
            let mut request = said(at, MEMBER, epoch, (topic.id, 0), (0, 2, &[RENEW]));
            request.is_renew_ack = true;
            Ok(request)
        })
        .versions(2..=2),
        case("an unknown topic", E::UnknownServerError, |at| {
            let (_, epoch) = held(at)?;
            Ok(said(at, MEMBER, epoch, (Uuid([7; 16]), 0), (0, 2, &[ACCEPT])))
        }),
        case("an unknown partition", E::UnknownTopicOrPartition, |at| {
            let (topic, epoch) = held(at)?;
            Ok(said(at, MEMBER, epoch, (topic.id, 5), (0, 2, &[ACCEPT])))
        }),
        case("with the last words of the session", E::None, |at| {
            let (topic, _) = held(at)?;
            Ok(said(at, MEMBER, -1, (topic.id, 0), (0, 2, &[ACCEPT])))
        }),
    ]
}
