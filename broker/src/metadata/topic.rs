//! Topics and the states of their partitions.

use std::sync::Arc;

use flotilla_control::proto::metadata as proto;
use flotilla_protocol::{BrokerId, LeaderEpoch, PartitionIndex, Uuid};
use imbl::OrdMap;

use super::{Owner, fold::UnknownRecord};

/// A topic and its partitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its name. Another topic may get it once this one is deleted; the id stays its own (KIP-516).
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// The Topic resource that declares it, if one does.
    pub owner: Option<Owner>,
    pub(super) partitions: OrdMap<PartitionIndex, Arc<Partition>>,
}

impl Topic {
    /// How many partitions it has. They are numbered from 0 without gaps.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    /// One partition.
    #[must_use]
    pub fn partition(&self, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.partitions.get(&index)
    }

    /// All partitions, in order.
    pub fn partitions(&self) -> impl DoubleEndedIterator<Item = (PartitionIndex, &Arc<Partition>)> + '_ {
        self.partitions
            .iter()
            .map(|(index, partition)| (*index, partition))
    }

    /// How many replicas its first partition has, as Kafka's tools show it.
    #[must_use]
    pub fn replication_factor(&self) -> usize {
        self.partitions
            .get_min()
            .map_or(0, |(_, partition)| partition.replicas.len())
    }
}

/// The whole state of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Who stores it; the first is the preferred leader.
    pub replicas: Vec<BrokerId>,
    /// The in-sync replicas. Empty exactly while there is no leader: the last member then is an eligible leader replica
    /// (KIP-966).
    pub isr: Vec<BrokerId>,
    /// Who leads it, if anyone can.
    pub leader: Option<BrokerId>,
    /// Grows with each change of leadership (KIP-101).
    pub leader_epoch: LeaderEpoch,
    /// Grows with every change.
    pub partition_epoch: i32,
    /// Replicas that a reassignment adds (KIP-455). They are among `replicas`.
    pub adding: Vec<BrokerId>,
    /// Replicas that a reassignment removes once it completes. They are among `replicas`.
    pub removing: Vec<BrokerId>,
    /// Eligible leader replicas: not in sync any more, yet holding all that is committed, because nothing is committed
    /// while fewer than the minimum are in sync (KIP-966).
    pub elr: Vec<BrokerId>,
    /// The last leader, from when nobody was in sync until enough are again (KIP-966).
    pub last_known_elr: Vec<BrokerId>,
}

impl Partition {
    /// Whether replicas are being added or removed.
    #[must_use]
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The replica that should lead while it can.
    #[must_use]
    pub fn preferred_leader(&self) -> Option<BrokerId> {
        self.replicas.first().copied()
    }

    /// Whether a broker stores it.
    #[must_use]
    pub fn is_replica(&self, broker: BrokerId) -> bool {
        self.replicas.contains(&broker)
    }

    /// Whether a broker is in sync.
    #[must_use]
    pub fn is_in_sync(&self, broker: BrokerId) -> bool {
        self.isr.contains(&broker)
    }

    /// How many replicas must be in sync before an acks=all write is acknowledged and the high watermark moves:
    /// `min(replication factor, min.insync.replicas)` (KIP-966).
    #[must_use]
    pub fn effective_min_isr(&self, min_insync_replicas: usize) -> usize {
        min_insync_replicas.min(self.replicas.len())
    }

    /// As a record.
    #[must_use]
    pub fn to_record(&self, topic_id: Uuid, index: PartitionIndex) -> proto::Partition {
        proto::Partition {
            topic_id: topic_id.0.to_vec(),
            partition: index.0,
            replicas: numbers(&self.replicas),
            isr: numbers(&self.isr),
            eligible_leader_replicas: numbers(&self.elr),
            last_known_elr: numbers(&self.last_known_elr),
            leader: self.leader.map_or(-1, |leader| leader.0),
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch,
            adding_replicas: numbers(&self.adding),
            removing_replicas: numbers(&self.removing),
        }
    }

    /// From a record.
    ///
    /// # Errors
    /// When an epoch or the index is negative, or nobody stores it: such a record was never decided.
    pub fn from_record(record: &proto::Partition) -> Result<Self, UnknownRecord> {
        if record.replicas.is_empty() {
            return Err(UnknownRecord("a partition without replicas"));
        }
        if record.partition < 0 || record.leader_epoch < 0 || record.partition_epoch < 0 || record.leader < -1
        {
            return Err(UnknownRecord("a partition with negative numbers"));
        }
        Ok(Self {
            replicas: brokers(&record.replicas),
            isr: brokers(&record.isr),
            leader: (record.leader >= 0).then_some(BrokerId(record.leader)),
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: record.partition_epoch,
            adding: brokers(&record.adding_replicas),
            removing: brokers(&record.removing_replicas),
            elr: brokers(&record.eligible_leader_replicas),
            last_known_elr: brokers(&record.last_known_elr),
        })
    }
}

fn numbers(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|broker| broker.0).collect()
}

fn brokers(numbers: &[i32]) -> Vec<BrokerId> {
    numbers.iter().copied().map(BrokerId).collect()
}
