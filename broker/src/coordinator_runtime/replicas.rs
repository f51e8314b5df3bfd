//! The replicas of this broker, as coordinators use them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flotilla_protocol::Offset;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;

use super::partitions::{Chunk, Leadership, Partitions, Place, ReadError, Role};
use crate::group::{TOPIC, WriteError};
use crate::replica::{
    self, Acks, AppendError, LeadershipChange, Origin, PartitionKey, Replicas, Unavailable, Upto,
};

/// Size of the pieces that a log is loaded in: one of them is in memory at a time.
const READ_BYTES_MAX: usize = 1024 * 1024;
/// How long one wait for a commit takes before the next begins.
const WAIT: Duration = Duration::from_secs(60);

struct OfReplicas(Arc<Replicas>);

/// Both sides that [`super::Groups`] needs: the partitions, and what this broker is to those of `__consumer_offsets`.
#[must_use]
pub fn of_replicas(replicas: &Arc<Replicas>) -> (Arc<dyn Partitions>, BoxStream<'static, Leadership>) {
    let changes = replicas.leadership(TOPIC);
    let leadership = stream::unfold(changes, |mut changes: mpsc::UnboundedReceiver<_>| async {
        changes.recv().await.map(|change| (translate(&change), changes))
    });
    (Arc::new(OfReplicas(replicas.clone())), leadership.boxed())
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
    fn append(&self, place: Place, batch: Bytes) -> Result<Offset, WriteError> {
        let origin = Origin::Coordinator {
            leader_epoch: place.leader_epoch,
        };
        match self.0.append(key(place), &batch, Acks::All, origin) {
            Ok(appended) => Ok(appended.last_offset.plus(1)),
            Err(error) => Err(refusal(&error)),
        }
    }

    fn wait_committed(&self, place: Place, end: Offset) -> BoxFuture<'static, Result<(), WriteError>> {
        let replicas = self.0.clone();
        Box::pin(async move {
            loop {
                let waited = replicas.wait_high_watermark(key(place), place.leader_epoch, end, WAIT);
                match waited.await {
                    // The mark has passed: what became of the in-sync set since does not matter here.
                    Ok(()) | Err(AppendError::NotEnoughReplicasAfterAppend) => return Ok(()),
                    Err(AppendError::Timeout) => {}
                    Err(error) => return Err(refusal(&error)),
                }
            }
        })
    }

    fn read(&self, place: Place, from: Offset) -> BoxFuture<'static, Result<Chunk, ReadError>> {
        let replicas = self.0.clone();
        Box::pin(async move {
            let part = replicas
                .read(key(place), from, READ_BYTES_MAX, Upto::LogEnd)
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
        // The rest is about batches that coordinators do not make, apart from their size.
        _ => WriteError::TooLarge,
    }
}
