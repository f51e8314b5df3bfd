//! Markers on their way: to every partition of a transaction, through changes of leaders, for as long as it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use flotilla_protocol::{BrokerId, ErrorCode, PartitionIndex};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::{Ending, Outcomes};
use crate::broker::Broker;
use crate::coordinator_runtime::{Errands, Place};
use crate::request;
use crate::transaction::{Error, Mark, Marked, Partition, Reply, Request, Shard};

/// The first rest after a marker could not be written; it doubles up to [`REST_MAX`].
const REST_FIRST: Duration = Duration::from_millis(10);
const REST_MAX: Duration = Duration::from_secs(1);

/// Carries the markers that this broker's coordinators decide on. No more transactions are under way than they have
/// transactional ids.
pub async fn run(broker: Weak<Broker>, mut errands: Errands<Shard>) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            errand = errands.recv() => match (errand, broker.upgrade()) {
                (Some((place, mark)), Some(broker)) => {
                    under_way.spawn(deliver(broker, place, mark));
                }
                _ => return,
            },
            Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
        }
    }
}

/// Delivers until all partitions have their marker, or another coordinator has taken over.
async fn deliver(broker: Arc<Broker>, place: Place, mark: Mark) {
    let mut left = mark.partitions.clone();
    let mut rest = REST_FIRST;
    while broker.transactions.is_hosted(place) {
        match round(&broker, &mark, &left).await {
            Round::Left(still) if still.is_empty() => return note(&broker, place, &mark).await,
            Round::Left(still) => left = still,
            Round::Fenced => {
                warn!(transactional_id = %mark.id, "a later coordinator has ended the transaction");
                return;
            }
        }
        sleep(rest).await;
        rest = (rest * 2).min(REST_MAX);
    }
}

enum Round {
    Left(BTreeSet<Partition>),
    Fenced,
}

/// Tries once, all leaders side by side.
async fn round(broker: &Arc<Broker>, mark: &Mark, partitions: &BTreeSet<Partition>) -> Round {
    let image = broker.metadata.image();
    let mut by_leader: BTreeMap<Option<BrokerId>, BTreeSet<Partition>> = BTreeMap::new();
    for partition in partitions {
        let known = image.partition(&partition.0, PartitionIndex(partition.1));
        // Of a topic that was deleted there is nothing to end.
        if let Some(known) = known {
            let leader = known.leader.filter(|leader| image.is_alive(*leader));
            by_leader.entry(leader).or_default().insert(partition.clone());
        }
    }
    let mut left = by_leader.remove(&None).unwrap_or_default();
    let asked = by_leader.into_iter().filter_map(|(leader, partitions)| {
        let ending = Ending {
            producer_id: mark.producer.id,
            producer_epoch: mark.producer.epoch,
            committed: mark.committed,
            coordinator_epoch: mark.coordinator_epoch,
            is_bumped: mark.is_bumped,
            partitions,
        };
        leader.map(|leader| ask(broker, leader, ending))
    });
    for (asked, outcomes) in futures::future::join_all(asked).await {
        left.extend(asked);
        for (partition, code) in outcomes {
            match code {
                ErrorCode::None => {
                    left.remove(&partition);
                }
                ErrorCode::TransactionCoordinatorFenced => return Round::Fenced,
                ErrorCode::InvalidProducerEpoch | ErrorCode::ProducerFenced => {
                    warn!(
                        transactional_id = %mark.id,
                        producer_id = %mark.producer.id,
                        epoch = %mark.producer.epoch,
                        topic = %partition.0,
                        partition = partition.1,
                        "the partition has records of a later incarnation of the producer, and takes no marker of this one"
                    );
                    left.remove(&partition);
                }
                code => {
                    debug!(topic = %partition.0, partition = partition.1, %code, "marker not written yet")
                }
            }
        }
    }
    Round::Left(left)
}

async fn ask(broker: &Arc<Broker>, leader: BrokerId, ending: Ending) -> (BTreeSet<Partition>, Outcomes) {
    let partitions = ending.partitions.clone();
    let outcomes = if leader == broker.id {
        request::end_transactions(broker, ending).await
    } else {
        broker.courier.end(leader, ending).await.unwrap_or_default()
    };
    (partitions, outcomes)
}

/// Tells the coordinator that all markers are written.
async fn note(broker: &Broker, place: Place, mark: &Mark) {
    while broker.transactions.is_hosted(place) {
        let marked = Request::Marked(Marked {
            id: mark.id.clone(),
            producer: mark.producer,
            coordinator_epoch: mark.coordinator_epoch,
        });
        match broker.transactions.ask_shard(place.partition, marked).await {
            Reply::Marked(Err(Error::LoadInProgress | Error::Concurrent | Error::NotAvailable)) => {
                sleep(REST_FIRST).await;
            }
            _ => return,
        }
    }
}
