//! What brokers ask of each other about share groups: where the delivery of a partition stands (KIP-932).

use anyhow::{Result, ensure};
use flotilla_protocol::messages::{
    DeleteShareGroupStateRequest, FindCoordinatorRequest, InitializeShareGroupStateRequest,
    ReadShareGroupStateRequest, ReadShareGroupStateSummaryRequest, WriteShareGroupStateRequest,
    delete_share_group_state_request as delete, initialize_share_group_state_request as initialize,
    read_share_group_state_request as read, read_share_group_state_summary_request as summary,
    write_share_group_state_request as write,
};
use flotilla_protocol::{ErrorCode, Str, Uuid};

use crate::case::{Case, case};
use crate::scene::{Scene, Topic};

/// The kind of coordinators of share partitions, as FindCoordinator counts.
const SHARE: i8 = 2;
/// Stored states of records.
const ACKNOWLEDGED: i8 = 2;

pub fn cases() -> Vec<Case> {
    let mut cases = initialized();
    cases.extend(reads());
    cases.extend(writes());
    cases.extend(deletes());
    cases.extend(summaries());
    cases
}

/// A partition that nothing is stored of yet, once whoever coordinates it has heard of its topic.
fn fresh(at: &mut Scene) -> Result<Topic> {
    let topic = at.topic()?;
    let key = format!("{}:{}:0", at.name(), topic.id);
    let find = FindCoordinatorRequest {
        key_type: SHARE,
        coordinator_keys: vec![key.into()],
        ..Default::default()
    };
    let sum = sum(at.name(), topic.id);
    at.wait_for("the coordinator of a share partition", |at| {
        let found = at.call(6, &find)?;
        ensure!(found.coordinators[0].error_code == 0, "{found:?}");
        let answer = at.call(0, &sum)?;
        ensure!(answer.results[0].partitions[0].error_code == 0, "{answer:?}");
        Ok(())
    });
    Ok(topic)
}

/// A partition whose delivery begins at an offset, in a state epoch.
fn begun(at: &mut Scene, state_epoch: i32, start: i64) -> Result<Topic> {
    let topic = fresh(at)?;
    let answer = at.call(0, &begin(at.name(), topic.id, state_epoch, start))?;
    ensure!(answer.results[0].partitions[0].error_code == 0, "{answer:?}");
    Ok(topic)
}

fn begin(group_id: Str, topic_id: Uuid, state_epoch: i32, start: i64) -> InitializeShareGroupStateRequest {
    InitializeShareGroupStateRequest {
        group_id,
        topics: vec![initialize::InitializeStateData {
            topic_id,
            partitions: vec![initialize::PartitionData {
                partition: 0,
                state_epoch,
                start_offset: start,
            }],
        }],
    }
}

fn read_by(group_id: Str, topic_id: Uuid, leader_epoch: i32) -> ReadShareGroupStateRequest {
    ReadShareGroupStateRequest {
        group_id,
        topics: vec![read::ReadStateData {
            topic_id,
            partitions: vec![read::PartitionData {
                partition: 0,
                leader_epoch,
            }],
        }],
    }
}

/// From the start on two records are acknowledged.
fn write_by(
    group_id: Str,
    topic_id: Uuid,
    (state_epoch, leader_epoch): (i32, i32),
) -> WriteShareGroupStateRequest {
    WriteShareGroupStateRequest {
        group_id,
        topics: vec![write::WriteStateData {
            topic_id,
            partitions: vec![write::PartitionData {
                state_epoch,
                leader_epoch,
                start_offset: 5,
                state_batches: vec![write::StateBatch {
                    first_offset: 6,
                    last_offset: 7,
                    delivery_state: ACKNOWLEDGED,
                    delivery_count: 1,
                }],
                ..Default::default()
            }],
        }],
    }
}

fn sum(group_id: Str, topic_id: Uuid) -> ReadShareGroupStateSummaryRequest {
    ReadShareGroupStateSummaryRequest {
        group_id,
        topics: vec![summary::ReadStateSummaryData {
            topic_id,
            partitions: vec![summary::PartitionData {
                partition: 0,
                leader_epoch: -1,
            }],
        }],
    }
}

fn deleted(group_id: Str, topic_id: Uuid) -> DeleteShareGroupStateRequest {
    DeleteShareGroupStateRequest {
        group_id,
        topics: vec![delete::DeleteStateData {
            topic_id,
            partitions: vec![delete::PartitionData { partition: 0 }],
        }],
    }
}

fn initialized() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a share partition", E::None, |at| {
            let topic = fresh(at)?;
            Ok(begin(at.name(), topic.id, 0, 5))
        }),
        case("a share partition once more", E::None, |at| {
            let topic = begun(at, 0, 5)?;
            Ok(begin(at.name(), topic.id, 0, 5))
        }),
        case("a state epoch of the past", E::FencedStateEpoch, |at| {
            let topic = begun(at, 3, 5)?;
            Ok(begin(at.name(), topic.id, 2, 5))
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            fresh(at)?;
            Ok(begin(at.name(), Uuid([7; 16]), 0, 5))
        }),
        case("a negative partition", E::InvalidRequest, |at| {
            let topic = fresh(at)?;
            let mut request = begin(at.name(), topic.id, 0, 5);
            request.topics[0].partitions[0].partition = -1;
            Ok(request)
        }),
        case("by nobody", E::ClusterAuthorizationFailed, |at| {
            Ok(begin(at.name(), Uuid([7; 16]), 0, 5))
        })
        .by_nobody(),
    ]
}

fn reads() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("what was stored", E::None, |at| {
            let topic = begun(at, 0, 5)?;
            let answer = at.call(0, &write_by(at.name(), topic.id, (0, 3)))?;
            ensure!(answer.results[0].partitions[0].error_code == 0, "{answer:?}");
            Ok(read_by(at.name(), topic.id, 3))
        }),
        case("a later leader", E::None, |at| {
            let topic = begun(at, 0, 5)?;
            at.call(0, &read_by(at.name(), topic.id, 3))?;
            Ok(read_by(at.name(), topic.id, 4))
        }),
        case("a leader of the past", E::FencedLeaderEpoch, |at| {
            let topic = begun(at, 0, 5)?;
            at.call(0, &read_by(at.name(), topic.id, 3))?;
            Ok(read_by(at.name(), topic.id, 2))
        }),
        case("what is not stored", E::InvalidRequest, |at| {
            let topic = fresh(at)?;
            Ok(read_by(at.name(), topic.id, 3))
        }),
        case("an unknown topic", E::InvalidRequest, |at| {
            fresh(at)?;
            Ok(read_by(at.name(), Uuid([7; 16]), 3))
        }),
        case("by nobody", E::ClusterAuthorizationFailed, |at| {
            Ok(read_by(at.name(), Uuid([7; 16]), 3))
        })
        .by_nobody(),
    ]
}

fn writes() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("what became of records", E::None, |at| {
            let topic = begun(at, 0, 5)?;
            Ok(write_by(at.name(), topic.id, (0, 3)))
        }),
        case("a leader of the past", E::FencedLeaderEpoch, |at| {
            let topic = begun(at, 0, 5)?;
            at.call(0, &read_by(at.name(), topic.id, 3))?;
            Ok(write_by(at.name(), topic.id, (0, 2)))
        }),
        case("a state epoch of the past", E::FencedStateEpoch, |at| {
            let topic = begun(at, 3, 5)?;
            Ok(write_by(at.name(), topic.id, (2, 3)))
        }),
        case("what is not stored yet", E::InvalidRequest, |at| {
            let topic = fresh(at)?;
            Ok(write_by(at.name(), topic.id, (0, 3)))
        }),
        case("an unknown topic", E::InvalidRequest, |at| {
            fresh(at)?;
            Ok(write_by(at.name(), Uuid([7; 16]), (0, 3)))
        }),
        case("by nobody", E::ClusterAuthorizationFailed, |at| {
            Ok(write_by(at.name(), Uuid([7; 16]), (0, 3)))
        })
        .by_nobody(),
    ]
}

fn deletes() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("what was stored", E::None, |at| {
            let topic = begun(at, 0, 5)?;
            Ok(deleted(at.name(), topic.id))
        }),
        case("what is not stored", E::None, |at| {
            let topic = fresh(at)?;
            Ok(deleted(at.name(), topic.id))
        }),
        case("a negative partition", E::InvalidRequest, |at| {
            let topic = fresh(at)?;
            let mut request = deleted(at.name(), topic.id);
            request.topics[0].partitions[0].partition = -1;
            Ok(request)
        }),
        case("by nobody", E::ClusterAuthorizationFailed, |at| {
            Ok(deleted(at.name(), Uuid([7; 16])))
        })
        .by_nobody(),
    ]
}

fn summaries() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("what was stored", E::None, |at| {
            let topic = begun(at, 2, 5)?;
            Ok(sum(at.name(), topic.id))
        }),
        case("what is not stored", E::None, |at| {
            let topic = fresh(at)?;
            Ok(sum(at.name(), topic.id))
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            fresh(at)?;
            Ok(sum(at.name(), Uuid([7; 16])))
        }),
        case("a negative partition", E::InvalidRequest, |at| {
            let topic = fresh(at)?;
            let mut request = sum(at.name(), topic.id);
            request.topics[0].partitions[0].partition = -1;
            Ok(request)
        }),
        case("by nobody", E::ClusterAuthorizationFailed, |at| {
            Ok(sum(at.name(), Uuid([7; 16])))
        })
        .by_nobody(),
    ]
}
