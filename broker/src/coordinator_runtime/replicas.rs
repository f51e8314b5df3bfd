//! The replicas of this broker, as coordinators use them.

use std::sync::Arc;

use bytes::Bytes;
use flotilla_control::settings::IfSet;
use flotilla_protocol::Offset;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;

use super::partitions::{Chunk, Leadership, Partitions, Place, ReadError, Role};
use crate::group::{EndTransaction, WriteError};
use crate::partition::verification::Guard;
use crate::replica::{
    self, Acks, AppendError, LeadershipChange, Marker, Origin, PartitionKey, Replicas, Unavailable, Upto,
};

/// Size of the pieces that a log is loaded in where nothing is set: one of them is in memory at a time.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// See [`of_replicas`].
pub(super) struct OfReplicas {
    replicas: Arc<Replicas>,
    /// A log is read in pieces of so many bytes, or of one batch where that is larger.
    read_bytes_max: usize,
}

impl OfReplicas {
    /// Where nothing is set.
    pub(super) fn new(replicas: Arc<Replicas>) -> Self {
        Self {
            replicas,
            read_bytes_max: READ_BYTES_MAX,
        }
    }
}

/// Both sides that [`super::Coordinators`] need: the partitions, and what this broker is to those of a topic. `read_bytes` is the size
/// of the pieces that their logs are loaded in: `offsets.load.buffer.size` and its like.
#[must_use]
pub fn of_replicas(
    replicas: &Arc<Replicas>,
    topic: &str,
    read_bytes: IfSet<i32>,
) -> (Arc<dyn Partitions>, BoxStream<'static, Leadership>) {
    let changes = replicas.leadership(topic);
    let leadership = stream::unfold(changes, |mut changes: mpsc::UnboundedReceiver<_>| async {
        changes.recv().await.map(|change| (translate(&change), changes))
    });
    let mut partitions = OfReplicas::new(replicas.clone());
    if let Some(set) = read_bytes.0.and_then(|bytes| usize::try_from(bytes).ok()) {
        partitions.read_bytes_max = set;
    }
    (Arc::new(partitions), leadership.boxed())
}

fn translate(change: &LeadershipChange) -> Leadership {
    Leadership {
        topic_id: change.topic_id,
        partition: change.partition,
        role: match change.role {
            replica::Role::Leader(epoch) => Role::Leader(epoch),
            replica::Role::Follower | replica::Role::Gone => Role::Other,
        },
    }
}

fn key(place: Place) -> PartitionKey {
    PartitionKey {
        topic_id: place.topic_id,
        partition: place.partition,
    }
}

impl Partitions for OfReplicas {
    fn append(&self, place: Place, batch: Bytes, guard: Option<Guard>) -> Result<Offset, WriteError> {
        let origin = Origin::Coordinator {
            leader_epoch: place.leader_epoch,
            guard,
        };
        match self.replicas.append(key(place), &batch, Acks::All, origin) {
            Ok(appended) => Ok(appended.last_offset.plus(1)),
            Err(error) => Err(refusal(&error)),
        }
    }

    fn end_transaction(&self, place: Place, marker: &EndTransaction) -> Result<Offset, WriteError> {
        let marker = Marker {
            producer_id: marker.producer_id,
            producer_epoch: marker.epoch,
            committed: marker.committed,
            coordinator_epoch: marker.coordinator_epoch,
            is_bumped: marker.is_bumped,
        };
        let marked = self
            .replicas
            .end_transaction(key(place), &marker, Some(place.leader_epoch));
        match marked {
            Ok(marked) => Ok(marked.end),
            Err(error) => Err(refusal(&error)),
        }
    }

    fn wait_committed(&self, place: Place, end: Offset) -> BoxFuture<'static, Result<(), WriteError>> {
        let replicas = self.replicas.clone();
        Box::pin(async move {
            let committed = match replicas.commit_of(key(place), place.leader_epoch, end) {
                Ok(commit) => commit.outcome().await,
                Err(error) => Err(error),
            };
            match committed {
                // The mark has passed: what became of the in-sync set since does not matter here.
                Ok(()) | Err(AppendError::NotEnoughReplicasAfterAppend) => Ok(()),
                Err(error) => Err(refusal(&error)),
            }
        })
    }

    fn read(&self, place: Place, from: Offset) -> BoxFuture<'static, Result<Chunk, ReadError>> {
        let (replicas, read_bytes_max) = (self.replicas.clone(), self.read_bytes_max);
        Box::pin(async move {
            let part = replicas
                .read(key(place), from, read_bytes_max, Upto::LogEnd)
                .await;
            // Looked at afterwards: what was read is this epoch's log if it still leads now.
            if replicas.led(key(place)) != Some(place.leader_epoch) {
                return Err(ReadError::NotLeader);
            }
            match part {
                Ok(part) => Ok(Chunk {
                    log_start: part.log_start,
                    batches: part.records,
                }),
                Err(error) => Err(ReadError::Storage(error.to_string())),
            }
        })
    }
}

fn refusal(error: &AppendError) -> WriteError {
    match error {
        AppendError::Unavailable(Unavailable::Offline) | AppendError::Full | AppendError::Disk(_) => {
            WriteError::Storage
        }
        AppendError::Unavailable(_) => WriteError::NotLeader,
        AppendError::NotEnoughReplicas(_)
        | AppendError::NotEnoughReplicasAfterAppend
        | AppendError::Timeout => WriteError::NotReplicated,
        AppendError::Producer(error) => WriteError::Fenced(*error),
        // The rest is about batches that coordinators do not make, apart from their size.
        _ => WriteError::TooLarge,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use flotilla_protocol::records::parse_batches;
    use flotilla_protocol::{BrokerId, LeaderEpoch, PartitionIndex, Uuid};

    use super::*;
    use crate::coordination::{Indexed, Publisher};
    use crate::coordinator_runtime::Groups;
    use crate::group::{
        Commit, CommitPartition, Config, Error, Fetch, FetchedPartition, Reply, Request, TOPIC,
    };
    use crate::log::{Disk, SimDisk};
    use crate::metadata::{Fact, Image};
    use crate::replica::testing;

    const NUMBER: u8 = 5;

    /// Broker 0 has started for the `start`-th time; `leader` leads in that epoch.
    fn image(start: u8, leader: i32, epoch: i32) -> Image {
        let facts: [Fact; 4] = [
            testing::broker(0, start),
            testing::broker(1, 1),
            testing::topic(TOPIC, NUMBER),
            testing::partition(NUMBER, 0, &[0], &[leader], epoch),
        ];
        testing::image(facts)
    }

    fn commit(offset: i64) -> Request {
        Request::Commit(Commit {
            group: "g".into(),
            generation: -1,
            member_id: "".into(),
            instance_id: None,
            retention_ms: -1,
            knows_group_not_found: true,
            partitions: vec![CommitPartition {
                topic: "orders".into(),
                topic_id: Uuid::ZERO,
                partition: 0,
                offset,
                leader_epoch: -1,
                metadata: "".into(),
            }],
        })
    }

    struct Started {
        replicas: Arc<Replicas>,
        groups: Arc<Groups>,
        _publisher: Publisher,
    }

    fn start(disk: &Arc<dyn Disk>, number: u8) -> Started {
        let image = Arc::new(image(number, 0, i32::from(number)));
        let incarnation = testing::incarnation(BrokerId(0), number);
        let replicas = testing::open(disk, Path::new("/data"), BrokerId(0), incarnation);
        let (publisher, metadata) = Publisher::new(Indexed {
            index: 1,
            image: image.clone(),
        });
        let (partitions, leadership) = of_replicas(&replicas, TOPIC, IfSet(None));
        let (groups, _) = Groups::new(metadata, partitions, Config::default());
        tokio::spawn(groups.clone().run(leadership));
        replicas.apply(&image);
        Started {
            replicas,
            groups,
            _publisher: publisher,
        }
    }

    impl Started {
        async fn until(&self, wanted: impl Fn(&Reply) -> bool) {
            let reached = async {
                while !wanted(&self.groups.ask_shard(PartitionIndex(0), Request::List).await) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), reached)
                .await
                .expect("in time");
        }

        /// In how many pieces the log of the groups is read that a load would read.
        async fn pieces(&self, read_bytes: IfSet<i32>) -> usize {
            let (partitions, _) = of_replicas(&self.replicas, TOPIC, read_bytes);
            let place = Place {
                topic_id: Uuid([NUMBER; 16]),
                partition: PartitionIndex(0),
                leader_epoch: LeaderEpoch(1),
            };
            let mut from = Offset(0);
            for pieces in 0.. {
                let chunk = partitions.read(place, from).await.expect("it can be read");
                let parts = chunk.batches.iter().flat_map(|part| parse_batches(part));
                let Some(last) = parts.last() else {
                    return pieces;
                };
                let (_, header, _) = last.expect("a batch");
                from = header.next_offset();
            }
            unreachable!("a log ends")
        }

        async fn offset(&self) -> i64 {
            let fetch = Request::Fetch(Fetch {
                group: "g".into(),
                partitions: None,
                require_stable: false,
                member: None,
            });
            match self.groups.ask("g", fetch).await {
                Reply::Fetch(Ok(found)) => match &found[..] {
                    [
                        FetchedPartition {
                            committed: Ok(Some(found)),
                            ..
                        },
                    ] => found.offset,
                    other => panic!("one offset: {other:?}"),
                },
                other => panic!("fetched: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn groups_live_in_this_brokers_log_and_outlive_a_crash() {
        let power = Arc::new(SimDisk::new());
        let disk: Arc<dyn Disk> = power.clone();
        let first = start(&disk, 1);
        first.until(|reply| matches!(reply, Reply::List(Ok(_)))).await;
        for offset in 1..=3 {
            assert_eq!(
                first.groups.ask("g", commit(offset)).await,
                Reply::Commit(Ok(vec![Ok(())]))
            );
        }
        assert_eq!(first.offset().await, 3);
        assert_eq!(first.pieces(IfSet(None)).await, 1);
        assert_eq!(first.pieces(IfSet(Some(1))).await, 3, "a batch at a time");
        // Another broker leads: what is asked here is sent there.
        first.replicas.apply(&Arc::new(image(1, 1, 2)));
        first
            .until(|reply| *reply == Reply::List(Err(Error::NotCoordinator)))
            .await;
        drop(first);

        // Commits were answered synced: they survive the loss of all that was not.
        power.crash(7);
        let second = start(&disk, 3);
        second.until(|reply| matches!(reply, Reply::List(Ok(_)))).await;
        assert_eq!(second.offset().await, 3);
    }
}
