//! Requests for share coordinators on their way: those of one kind and one group go together.

use std::collections::BTreeMap;

use flotilla_protocol::messages::{
    DeleteShareGroupStateRequest, DeleteShareGroupStateResponse, InitializeShareGroupStateRequest,
    InitializeShareGroupStateResponse, ReadShareGroupStateRequest, ReadShareGroupStateResponse,
    ReadShareGroupStateSummaryRequest, ReadShareGroupStateSummaryResponse, WriteShareGroupStateRequest,
    WriteShareGroupStateResponse,
};
use flotilla_protocol::messages::{
    delete_share_group_state_request as delete, initialize_share_group_state_request as initialize,
    read_share_group_state_request as read, read_share_group_state_summary_request as summary,
    write_share_group_state_request as write,
};
use flotilla_protocol::{ErrorCode, LeaderEpoch, Offset, Str, Uuid};
use futures::future::BoxFuture;

use super::{Parcel, Peer};
use crate::group::Text;
use crate::replica::LinkError;
use crate::share::{Batch, Error, RecordState, Reply, Request, SharePartition, Stored, Summary};

/// One of the requests between brokers about the states of share groups.
#[derive(Clone, Debug)]
pub enum StateQuestion {
    /// InitializeShareGroupState.
    Initialize(InitializeShareGroupStateRequest),
    /// ReadShareGroupState.
    Read(ReadShareGroupStateRequest),
    /// WriteShareGroupState.
    Write(WriteShareGroupStateRequest),
    /// DeleteShareGroupState.
    Delete(DeleteShareGroupStateRequest),
    /// ReadShareGroupStateSummary.
    Summary(ReadShareGroupStateSummaryRequest),
}

/// The answer to the [`StateQuestion`] of the same name.
#[derive(Clone, Debug)]
pub enum StateAnswer {
    /// InitializeShareGroupState.
    Initialize(InitializeShareGroupStateResponse),
    /// ReadShareGroupState.
    Read(ReadShareGroupStateResponse),
    /// WriteShareGroupState.
    Write(WriteShareGroupStateResponse),
    /// DeleteShareGroupState.
    Delete(DeleteShareGroupStateResponse),
    /// ReadShareGroupStateSummary.
    Summary(ReadShareGroupStateSummaryResponse),
}

/// One request, of those that name a share partition.
#[derive(Clone, Debug)]
pub(super) struct Stating(pub(super) Request);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Initialize,
    Read,
    Write,
    Delete,
    Summary,
}

impl Stating {
    fn place(&self) -> Option<(Kind, &SharePartition)> {
        match &self.0 {
            Request::Initialize { of, .. } => Some((Kind::Initialize, of)),
            Request::Read { of, .. } => Some((Kind::Read, of)),
            Request::Write { of, .. } => Some((Kind::Write, of)),
            Request::Delete(of) => Some((Kind::Delete, of)),
            Request::Summary(of) => Some((Kind::Summary, of)),
            Request::TopicsDeleted(_) => None,
        }
    }
}

impl Parcel for Stating {
    type Key = Option<(Kind, SharePartition)>;
    type Answer = Reply;

    fn key(&self) -> Self::Key {
        self.place().map(|(kind, of)| (kind, of.clone()))
    }

    fn exchange<'a>(
        peer: &'a mut dyn Peer,
        parcels: &'a [Self],
    ) -> BoxFuture<'a, Result<Vec<Reply>, LinkError>> {
        Box::pin(async move {
            let mut together: BTreeMap<(Kind, &Text), Vec<&Request>> = BTreeMap::new();
            for parcel in parcels {
                if let Some((kind, of)) = parcel.place() {
                    together.entry((kind, &of.group)).or_default().push(&parcel.0);
                }
            }
            let mut answered: BTreeMap<(Kind, SharePartition), Reply> = BTreeMap::new();
            for ((kind, group), requests) in together {
                let answer = peer.share_state(question(kind, group, &requests)).await?;
                for ((topic_id, partition), reply) in replies(answer) {
                    let of = SharePartition {
                        group: group.clone(),
                        topic_id,
                        partition,
                    };
                    answered.insert((kind, of), reply);
                }
            }
            // One that was not answered for may have been done or not: it is asked once more.
            let replies = parcels.iter().map(|parcel| {
                let key = parcel.key();
                let reply = key.and_then(|key| answered.remove(&key));
                reply.unwrap_or_else(|| parcel.0.refused(Error::NotAvailable))
            });
            Ok(replies.collect())
        })
    }
}

fn question(kind: Kind, group: &Text, requests: &[&Request]) -> StateQuestion {
    let group_id = Str::copy_from(group);
    match kind {
        Kind::Initialize => StateQuestion::Initialize(InitializeShareGroupStateRequest {
            group_id,
            topics: requests.iter().filter_map(|one| to_initialize(one)).collect(),
        }),
        Kind::Read => StateQuestion::Read(ReadShareGroupStateRequest {
            group_id,
            topics: requests.iter().filter_map(|one| to_read(one)).collect(),
        }),
        Kind::Write => StateQuestion::Write(WriteShareGroupStateRequest {
            group_id,
            topics: requests.iter().filter_map(|one| to_write(one)).collect(),
        }),
        Kind::Delete => StateQuestion::Delete(DeleteShareGroupStateRequest {
            group_id,
            topics: requests.iter().filter_map(|one| to_delete(one)).collect(),
        }),
        Kind::Summary => StateQuestion::Summary(ReadShareGroupStateSummaryRequest {
            group_id,
            topics: requests.iter().filter_map(|one| to_summary(one)).collect(),
        }),
    }
}

fn to_initialize(request: &Request) -> Option<initialize::InitializeStateData> {
    let Request::Initialize {
        of,
        state_epoch,
        start,
    } = request
    else {
        return None;
    };
    Some(initialize::InitializeStateData {
        topic_id: of.topic_id,
        partitions: vec![initialize::PartitionData {
            partition: of.partition,
            state_epoch: *state_epoch,
            start_offset: start.0,
        }],
    })
}

fn to_read(request: &Request) -> Option<read::ReadStateData> {
    let Request::Read { of, leader_epoch } = request else {
        return None;
    };
    Some(read::ReadStateData {
        topic_id: of.topic_id,
        partitions: vec![read::PartitionData {
            partition: of.partition,
            leader_epoch: leader_epoch.0,
        }],
    })
}

fn to_write(request: &Request) -> Option<write::WriteStateData> {
    let Request::Write { of, change } = request else {
        return None;
    };
    let batches = change.batches.iter().map(|batch| write::StateBatch {
        first_offset: batch.first.0,
        last_offset: batch.last.0,
        delivery_state: batch.state.code(),
        delivery_count: batch.delivery_count,
    });
    Some(write::WriteStateData {
        topic_id: of.topic_id,
        partitions: vec![write::PartitionData {
            partition: of.partition,
            state_epoch: change.state_epoch,
            leader_epoch: change.leader_epoch.0,
            start_offset: change.start.0,
            delivery_complete_count: change.finished,
            state_batches: batches.collect(),
        }],
    })
}

fn to_delete(request: &Request) -> Option<delete::DeleteStateData> {
    let Request::Delete(of) = request else {
        return None;
    };
    Some(delete::DeleteStateData {
        topic_id: of.topic_id,
        partitions: vec![delete::PartitionData {
            partition: of.partition,
        }],
    })
}

fn to_summary(request: &Request) -> Option<summary::ReadStateSummaryData> {
    let Request::Summary(of) = request else {
        return None;
    };
    Some(summary::ReadStateSummaryData {
        topic_id: of.topic_id,
        partitions: vec![summary::PartitionData {
            partition: of.partition,
            // Asked by a group's coordinator, which has none.
            leader_epoch: -1,
        }],
    })
}

type Told = ((Uuid, i32), Reply);

fn replies(answer: StateAnswer) -> Vec<Told> {
    match answer {
        StateAnswer::Initialize(it) => {
            let topics = it.results.iter().flat_map(|topic| {
                let partitions = topic.partitions.iter();
                partitions.map(move |one| done(topic.topic_id, one.partition, one.error_code))
            });
            topics.collect()
        }
        StateAnswer::Write(it) => {
            let topics = it.results.iter().flat_map(|topic| {
                let partitions = topic.partitions.iter();
                partitions.map(move |one| done(topic.topic_id, one.partition, one.error_code))
            });
            topics.collect()
        }
        StateAnswer::Delete(it) => {
            let topics = it.results.iter().flat_map(|topic| {
                let partitions = topic.partitions.iter();
                partitions.map(move |one| done(topic.topic_id, one.partition, one.error_code))
            });
            topics.collect()
        }
        StateAnswer::Read(it) => read_replies(&it),
        StateAnswer::Summary(it) => summary_replies(&it),
    }
}

fn done(topic_id: Uuid, partition: i32, code: i16) -> Told {
    ((topic_id, partition), Reply::Done(outcome(code)))
}

fn read_replies(response: &ReadShareGroupStateResponse) -> Vec<Told> {
    let mut replies = Vec::new();
    for topic in &response.results {
        for one in &topic.partitions {
            let stored = outcome(one.error_code).and_then(|()| {
                let batches = one.state_batches.iter().map(|batch| {
                    Some(Batch {
                        first: Offset(batch.first_offset),
                        last: Offset(batch.last_offset),
                        state: RecordState::stored(batch.delivery_state)?,
                        delivery_count: batch.delivery_count,
                    })
                });
                Ok(Stored {
                    state_epoch: one.state_epoch,
                    // As it was asked for.
                    leader_epoch: LeaderEpoch::UNKNOWN,
                    start: Offset(one.start_offset),
                    finished: -1,
                    batches: batches.collect::<Option<Vec<_>>>().ok_or(Error::Unexpected)?,
                })
            });
            replies.push(((topic.topic_id, one.partition), Reply::Read(stored)));
        }
    }
    replies
}

fn summary_replies(response: &ReadShareGroupStateSummaryResponse) -> Vec<Told> {
    let mut replies = Vec::new();
    for topic in &response.results {
        for one in &topic.partitions {
            let summary = outcome(one.error_code).map(|()| {
                let summary = Summary {
                    state_epoch: one.state_epoch,
                    leader_epoch: LeaderEpoch(one.leader_epoch),
                    start: Offset(one.start_offset),
                    finished: one.delivery_complete_count,
                };
                // What is not stored has no start, and nothing is known of its end.
                (summary.start.0 >= 0 || summary.finished >= 0).then_some(summary)
            });
            replies.push(((topic.topic_id, one.partition), Reply::Summary(summary)));
        }
    }
    replies
}

fn outcome(code: i16) -> Result<(), Error> {
    match ErrorCode::from(code) {
        ErrorCode::None => Ok(()),
        ErrorCode::FencedLeaderEpoch => Err(Error::FencedLeaderEpoch),
        ErrorCode::FencedStateEpoch => Err(Error::FencedStateEpoch),
        ErrorCode::UnknownTopicOrPartition => Err(Error::UnknownPartition),
        ErrorCode::InvalidRequest => Err(Error::InvalidRequest),
        ErrorCode::NotCoordinator => Err(Error::NotCoordinator),
        ErrorCode::CoordinatorLoadInProgress => Err(Error::LoadInProgress),
        ErrorCode::CoordinatorNotAvailable => Err(Error::NotAvailable),
        _ => Err(Error::Unexpected),
    }
}
