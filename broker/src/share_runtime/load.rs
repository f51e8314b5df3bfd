//! Where a delivery begins: where the stored one stood, or where the group's settings say.

use std::sync::Arc;

use flotilla_protocol::{LeaderEpoch, Offset};

use super::settings::{Reset, isolation, reset};
use super::{Failure, Hosted, client};
use crate::broker::Broker;
use crate::clock;
use crate::group::Text;
use crate::replica::{At, PartitionKey, ReadError, Reader, Unavailable};
use crate::share::{self, Delivery, Reply, Request, SharePartition, Stored};

/// By the group's `share.auto.offset.reset`, when somebody reads.
const NOWHERE: Offset = Offset(-1);

pub(super) async fn load(
    broker: &Arc<Broker>,
    group: &Text,
    key: PartitionKey,
    leader_epoch: LeaderEpoch,
) -> Result<Hosted, Failure> {
    let of = SharePartition {
        group: group.clone(),
        topic_id: key.topic_id,
        partition: key.partition.0,
    };
    let stored = match read(broker, &of, leader_epoch).await {
        // It was deleted after the group had it stored, or about then: it begins anew.
        Err(share::Error::Uninitialized | share::Error::InvalidRequest) => {
            let begin = Request::Initialize {
                of: of.clone(),
                state_epoch: 0,
                start: NOWHERE,
            };
            client::ask(broker, begin).await;
            read(broker, &of, leader_epoch).await?
        }
        read => read?,
    };
    let delivery = if stored.start.0 >= 0 {
        Delivery::load(&stored)
    } else {
        Delivery::begin(beginning(broker, group, key, leader_epoch).await?)
    };
    Ok(Hosted::new(of, key, leader_epoch, stored.state_epoch, delivery))
}

async fn read(
    broker: &Arc<Broker>,
    of: &SharePartition,
    leader_epoch: LeaderEpoch,
) -> Result<Stored, share::Error> {
    let request = Request::Read {
        of: of.clone(),
        leader_epoch,
    };
    match client::ask(broker, request).await {
        Reply::Read(stored) => stored,
        _ => Err(share::Error::Unexpected),
    }
}

async fn beginning(
    broker: &Broker,
    group: &Text,
    key: PartitionKey,
    leader_epoch: LeaderEpoch,
) -> Result<Offset, Failure> {
    let image = broker.metadata.image();
    let at = match reset(&image, group) {
        Reset::Earliest => At::Earliest,
        Reset::Latest => At::Latest,
        Reset::Within(ms) => At::Timestamp(clock::now_ms().saturating_sub(ms)),
    };
    let reader = Some(Reader::Consumer {
        read_committed: isolation(&image, group),
    });
    let list = |at| broker.replicas.list_offset(key, at, leader_epoch, reader);
    // Where nothing is as young as that, with what is written from now on.
    let found = match list(at).await? {
        Some(found) => Some(found),
        None => list(At::Latest).await?,
    };
    let nowhere = ReadError::Unavailable(Unavailable::NotLeader);
    found.map(|found| found.offset).ok_or(nowhere.into())
}
