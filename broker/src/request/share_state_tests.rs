//! What a partition's leader and a group's coordinator have stored by the share coordinators of another broker: over the
//! messages between brokers, and what these are refused with (KIP-932).

use std::sync::Arc;

use flotilla_protocol::messages::*;
use flotilla_protocol::{BrokerId, LeaderEpoch, Offset};
use futures::future::BoxFuture;

use super::testing::context_of;
use super::*;
use crate::auth::Principal;
use crate::broker::Broker;
use crate::courier::{Courier, DialPeer, Peer, StateAnswer, StateQuestion};
use crate::metadata::{self, Image};
use crate::replica::LinkError;
use crate::replica::testing::{broker, image, partition, topic, topic_id};
use crate::share::{Batch, Error, RecordState, Reply, Request, SharePartition, Stored, Summary, WriteState};

/// The broker at the other end, reached through its handlers.
struct Other(Arc<Broker>);

impl Peer for Other {
    fn write_markers(
        &mut self,
        _: WriteTxnMarkersRequest,
    ) -> BoxFuture<'_, Result<WriteTxnMarkersResponse, LinkError>> {
        Box::pin(std::future::pending())
    }

    fn add_partitions(
        &mut self,
        _: AddPartitionsToTxnRequest,
    ) -> BoxFuture<'_, Result<AddPartitionsToTxnResponse, LinkError>> {
        Box::pin(std::future::pending())
    }

    fn share_state(&mut self, question: StateQuestion) -> BoxFuture<'_, Result<StateAnswer, LinkError>> {
        let ctx = context_of(self.0.clone(), Principal::anonymous(), 1);
        Box::pin(async move {
            Ok(match question {
                StateQuestion::Initialize(it) => {
                    StateAnswer::Initialize(initialize_share_group_state::handle(&ctx, it).await)
                }
                StateQuestion::Read(it) => StateAnswer::Read(read_share_group_state::handle(&ctx, it).await),
                StateQuestion::Write(it) => {
                    StateAnswer::Write(write_share_group_state::handle(&ctx, it).await)
                }
                StateQuestion::Delete(it) => {
                    StateAnswer::Delete(delete_share_group_state::handle(&ctx, it).await)
                }
                StateQuestion::Summary(it) => {
                    StateAnswer::Summary(read_share_group_state_summary::handle(&ctx, it).await)
                }
            })
        })
    }
}

impl DialPeer for Other {
    fn dial_peer<'a>(&'a self, _: &'a metadata::Broker) -> BoxFuture<'a, Result<Box<dyn Peer>, LinkError>> {
        Box::pin(async { Ok(Box::new(Self(self.0.clone())) as Box<dyn Peer>) })
    }
}

fn fleet() -> Image {
    image([
        broker(0, 1),
        broker(1, 1),
        topic("orders", 1),
        partition(1, 0, &[0], &[0], 3),
        topic(crate::share::TOPIC, 3),
        partition(3, 0, &[0], &[0], 1),
    ])
}

/// The way to a broker that coordinates all share partitions.
async fn courier() -> Courier {
    let other = Broker::in_memory(fleet());
    other.share_states.lead(topic_id(3)).await;
    let metadata = other.metadata.clone();
    let dial: Arc<dyn DialPeer> = Arc::new(Other(other));
    Courier::new(&metadata, &dial)
}

async fn ask(courier: &Courier, request: Request) -> Reply {
    courier.share_state(BrokerId(1), request).await.expect("answered")
}

fn of(partition: i32) -> SharePartition {
    SharePartition {
        group: "g".into(),
        topic_id: topic_id(1),
        partition,
    }
}

fn initialize(state_epoch: i32, start: i64) -> Request {
    Request::Initialize {
        of: of(0),
        state_epoch,
        start: Offset(start),
    }
}

fn write(leader_epoch: i32, batches: &[Batch]) -> Request {
    Request::Write {
        of: of(0),
        change: WriteState {
            state_epoch: 2,
            leader_epoch: LeaderEpoch(leader_epoch),
            start: Offset(5),
            finished: 3,
            batches: batches.to_vec(),
        },
    }
}

const DONE: Reply = Reply::Done(Ok(()));

#[tokio::test]
async fn what_is_stored_goes_over_the_wire_and_comes_back() {
    let courier = courier().await;
    let summary = || Request::Summary(of(0));
    assert_eq!(ask(&courier, summary()).await, Reply::Summary(Ok(None)));
    assert_eq!(ask(&courier, initialize(2, 5)).await, DONE);
    let batches = [
        Batch {
            first: Offset(6),
            last: Offset(7),
            state: RecordState::Acknowledged,
            delivery_count: 1,
        },
        Batch {
            first: Offset(8),
            last: Offset(8),
            state: RecordState::Available,
            delivery_count: 2,
        },
    ];
    assert_eq!(ask(&courier, write(4, &batches)).await, DONE);
    let read = Request::Read {
        of: of(0),
        leader_epoch: LeaderEpoch(4),
    };
    let stored = Stored {
        state_epoch: 2,
        leader_epoch: LeaderEpoch::UNKNOWN,
        start: Offset(5),
        finished: -1,
        batches: batches.to_vec(),
    };
    assert_eq!(ask(&courier, read).await, Reply::Read(Ok(stored)));
    let known = Summary {
        state_epoch: 2,
        leader_epoch: LeaderEpoch(4),
        start: Offset(5),
        finished: 3,
    };
    assert_eq!(ask(&courier, summary()).await, Reply::Summary(Ok(Some(known))));
    assert_eq!(ask(&courier, Request::Delete(of(0))).await, DONE);
    assert_eq!(ask(&courier, summary()).await, Reply::Summary(Ok(None)));
}

#[tokio::test]
async fn refusals_come_back_as_what_they_are() {
    let courier = courier().await;
    let refused = |error| Reply::Done(Err(error));
    let read = |partition, leader_epoch| Request::Read {
        of: of(partition),
        leader_epoch: LeaderEpoch(leader_epoch),
    };
    assert_eq!(
        ask(&courier, read(0, 1)).await,
        Reply::Read(Err(Error::InvalidRequest))
    );
    assert_eq!(
        ask(&courier, read(9, 1)).await,
        Reply::Read(Err(Error::UnknownPartition))
    );
    ask(&courier, initialize(2, 5)).await;
    ask(&courier, write(4, &[])).await;
    assert_eq!(
        ask(&courier, write(3, &[])).await,
        refused(Error::FencedLeaderEpoch)
    );
    assert_eq!(
        ask(&courier, initialize(1, 5)).await,
        refused(Error::FencedStateEpoch)
    );
    ask(&courier, initialize(3, 5)).await;
    assert_eq!(
        ask(&courier, write(4, &[])).await,
        refused(Error::FencedStateEpoch)
    );
}

#[tokio::test]
async fn brokers_that_do_not_coordinate_say_so() {
    let other = Broker::in_memory(fleet());
    let metadata = other.metadata.clone();
    let dial: Arc<dyn DialPeer> = Arc::new(Other(other.clone()));
    let courier = Courier::new(&metadata, &dial);
    let refused = |error| Reply::Done(Err(error));
    assert_eq!(
        ask(&courier, initialize(0, 0)).await,
        refused(Error::NotCoordinator)
    );
    other.share_states.load_for_ever(topic_id(3));
    assert_eq!(
        ask(&courier, initialize(0, 0)).await,
        refused(Error::LoadInProgress)
    );
}
