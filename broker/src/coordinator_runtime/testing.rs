//! A partition in memory, for tests of what stands on coordinators.

use std::sync::Arc;

use bytes::Bytes;
use flotilla_control::settings::BrokerSettings;
use flotilla_protocol::records::{BatchHeader, EndTransactionMarker, set_base_offset};
use flotilla_protocol::{LeaderEpoch, Offset, PartitionIndex, Uuid};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::partitions::{Chunk, Leadership, Partitions, Place, ReadError, Role};
use super::{Coordinators, Errands, Groups, Machine, Phase, ShareStates, Transactions};
use crate::coordination::Metadata;
use crate::group::{Config, EndTransaction, WriteError};
use crate::partition::verification::Guard;
use crate::{share, transaction};

/// Whoever leads in this epoch does not come to read the log.
const LOADS_FOR_EVER: LeaderEpoch = LeaderEpoch(i32::MAX);

/// Whoever leads in this epoch has too few replicas to write anything.
const WRITES_NOTHING: LeaderEpoch = LeaderEpoch(i32::MAX - 1);

/// One partition's log and high watermark, kept in memory.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) batches: Vec<Bytes>,
    pub(crate) end: Offset,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) failure: Option<WriteError>,
    pub(crate) unreadable: bool,
}

/// A partition whose commits the test lets through.
pub(crate) struct Partition {
    pub(crate) log: Mutex<Log>,
    high_watermark: watch::Sender<Offset>,
    held: Mutex<bool>,
}

impl Partition {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            log: Mutex::default(),
            high_watermark: watch::Sender::new(Offset(0)),
            held: Mutex::new(false),
        })
    }

    /// Keeps commits back, or lets all of them through.
    pub(crate) fn hold(&self, held: bool) {
        *self.held.lock() = held;
        if !held {
            let end = self.log.lock().end;
            self.high_watermark.send_replace(end);
        }
    }
}

impl Partitions for Arc<Partition> {
    fn append(&self, place: Place, batch: Bytes, _guard: Option<Guard>) -> Result<Offset, WriteError> {
        let mut log = self.log.lock();
        if place.leader_epoch == WRITES_NOTHING {
            return Err(WriteError::NotReplicated);
        }
        if place.leader_epoch != log.epoch {
            return Err(WriteError::NotLeader);
        }
        if let Some(error) = log.failure {
            return Err(error);
        }
        let mut batch = batch.to_vec();
        set_base_offset(&mut batch, log.end);
        log.end = BatchHeader::parse(&batch).expect("a batch").next_offset();
        log.batches.push(batch.into());
        if !*self.held.lock() {
            self.high_watermark.send_replace(log.end);
        }
        Ok(log.end)
    }

    fn end_transaction(&self, place: Place, marker: &EndTransaction) -> Result<Offset, WriteError> {
        let record = EndTransactionMarker {
            committed: marker.committed,
            coordinator_epoch: marker.coordinator_epoch,
        };
        let batch = record.batch(marker.producer_id, marker.epoch, 0).build();
        self.append(place, batch.freeze(), None)
    }

    fn wait_committed(&self, place: Place, end: Offset) -> BoxFuture<'static, Result<(), WriteError>> {
        let mut reached = self.high_watermark.subscribe();
        let partition = self.clone();
        Box::pin(async move {
            let _ = reached.wait_for(|offset| *offset >= end).await;
            match partition.log.lock().epoch == place.leader_epoch || place.leader_epoch == WRITES_NOTHING {
                true => Ok(()),
                false => Err(WriteError::NotLeader),
            }
        })
    }

    fn read(&self, place: Place, from: Offset) -> BoxFuture<'static, Result<Chunk, ReadError>> {
        let log = self.log.lock();
        if log.unreadable || place.leader_epoch == LOADS_FOR_EVER {
            return Box::pin(async { Err(ReadError::Storage("broken".to_owned())) });
        }
        if place.leader_epoch != log.epoch && place.leader_epoch != WRITES_NOTHING {
            return Box::pin(async { Err(ReadError::NotLeader) });
        }
        // One batch at a time, so that reading goes in several steps.
        let next = log.batches.iter().find(|batch| {
            let header = BatchHeader::parse(batch).expect("a batch");
            header.next_offset() > from
        });
        let chunk = Chunk {
            log_start: Offset(0),
            batches: next.cloned().into_iter().collect(),
        };
        Box::pin(async move { Ok(chunk) })
    }
}

/// Groups over a partition in memory, with these settings but without the initial delay. They lead nothing yet.
pub(crate) fn groups(metadata: &Metadata, settings: &BrokerSettings) -> Arc<Groups> {
    let config = Config {
        initial_rebalance_delay_ms: 0,
        ..super::config(settings)
    };
    Groups::new(metadata.clone(), Arc::new(Partition::new()), config).0
}

/// Transactional ids over a partition in memory. They lead nothing yet.
pub(crate) fn transactions(metadata: &Metadata) -> (Arc<Transactions>, Errands<transaction::Shard>) {
    let config = transaction::Config::default();
    Transactions::new(metadata.clone(), Arc::new(Partition::new()), config)
}

/// Share partitions over a partition in memory. They lead nothing yet.
pub(crate) fn share_states(metadata: &Metadata) -> Arc<ShareStates> {
    let config = share::Config::default();
    ShareStates::new(metadata.clone(), Arc::new(Partition::new()), config).0
}

impl<M: Machine> Coordinators<M> {
    /// Leads partition 0 in the first epoch, and waits until it is loaded.
    pub(crate) async fn lead(&self, topic_id: Uuid) {
        self.lead_and_load(topic_id, LeaderEpoch(0)).await;
    }

    /// Leads partition 0 with what is there, and has too few replicas to write anything more.
    pub(crate) async fn lead_alone(&self, topic_id: Uuid) {
        self.lead_and_load(topic_id, WRITES_NOTHING).await;
    }

    async fn lead_and_load(&self, topic_id: Uuid, epoch: LeaderEpoch) {
        self.lead_in(topic_id, epoch);
        let mut phase = {
            let shards = self.shards.lock();
            shards[&PartitionIndex(0)].phase.clone()
        };
        let active = phase.wait_for(|phase| *phase == Phase::Active).await;
        active.expect("the shard runs");
    }

    /// Leads partition 0, and is loading it from then on.
    pub(crate) fn load_for_ever(&self, topic_id: Uuid) {
        self.lead_in(topic_id, LOADS_FOR_EVER);
    }

    fn lead_in(&self, topic_id: Uuid, epoch: LeaderEpoch) {
        self.take(Leadership {
            topic_id,
            partition: PartitionIndex(0),
            role: Role::Leader(epoch),
        });
    }
}
