//! What must always hold. One rule a file; each says where the rule comes from, and its tests show that it finds what
//! breaks it.

mod acknowledged_is_kept;
mod consumer_never_skips;
mod group_offsets_never_go_back;
mod high_watermark_never_goes_back;
mod idempotent_appears_once;
mod in_sync_is_registered;
mod metadata_is_linearizable;
mod one_leader_an_epoch;
mod replicas_agree;

use super::plan::Plan;
use crate::outcome::Violation;
use acknowledged_is_kept::Acknowledged;
use bytes::Bytes;
use consumer_never_skips::Consumed;
use flotilla_broker::replica::PartitionKey;
use flotilla_protocol::records::{HEADER_BYTES, Records, parse_batches};
use flotilla_protocol::{LeaderEpoch, Offset};
use group_offsets_never_go_back::GroupOffsets;
use high_watermark_never_goes_back::Watermarks;
use metadata_is_linearizable::Metadata;
use one_leader_an_epoch::Leaders;
use replicas_agree::Committed;
use std::collections::BTreeMap;

pub(super) use idempotent_appears_once::appears_once;
pub(super) use in_sync_is_registered::{Held, holds_committed, is_registered};

/// A record of the simulation, as it stands in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub offset: Offset,
    /// The epoch of the leader that appended it.
    pub epoch: LeaderEpoch,
    /// What its producer calls it: no two records are the same.
    pub value: u64,
}

/// The records in whole batches.
///
/// # Panics
/// Where a broker hands out what is no batch.
pub(super) fn records_of(batches: &[Bytes]) -> Vec<Record> {
    let mut records = Vec::new();
    for piece in batches {
        for batch in parse_batches(piece) {
            let (_, header, bytes) = batch.expect("a broker hands out whole batches");
            for record in Records::new(&header, &bytes[HEADER_BYTES..]) {
                let record = record.expect("a broker hands out whole records");
                let value = match record.key {
                    None => record.value.unwrap_or_default().first_chunk().copied(),
                    Some(_) => None,
                };
                // What a coordinator wrote is told apart by all of it.
                let value = value.map_or_else(|| digest(&record), u64::from_be_bytes);
                records.push(Record {
                    offset: record.offset,
                    epoch: header.partition_leader_epoch,
                    value,
                });
            }
        }
    }
    records
}

fn digest(record: &flotilla_protocol::records::Record<'_>) -> u64 {
    let key = record.key.unwrap_or_default().iter();
    let bytes = key.chain(&[0]).chain(record.value.unwrap_or_default());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// All rules, with what they remember.
pub(super) struct Laws {
    pub names: BTreeMap<PartitionKey, String>,
    pub acknowledged: Acknowledged,
    pub leaders: Leaders,
    pub committed: Committed,
    pub watermarks: Watermarks,
    pub metadata: Metadata,
    pub consumed: Consumed,
    pub group_offsets: GroupOffsets,
    /// Whether records may be lost in this seed.
    pub is_lossy: bool,
}

impl Laws {
    pub fn new(plan: &Plan) -> Self {
        Self {
            names: BTreeMap::new(),
            acknowledged: Acknowledged::default(),
            leaders: Leaders::default(),
            committed: Committed::default(),
            watermarks: Watermarks::default(),
            metadata: Metadata::default(),
            consumed: Consumed::default(),
            group_offsets: GroupOffsets::default(),
            is_lossy: plan.is_lossy(),
        }
    }

    /// What a partition is called.
    pub fn name(&self, key: PartitionKey) -> String {
        self.names
            .get(&key)
            .cloned()
            .unwrap_or_else(|| format!("{key:?}"))
    }
}

fn violation(invariant: &'static str, message: String) -> Result<(), Violation> {
    Err(Violation { invariant, message })
}

#[cfg(test)]
mod testing {
    use super::*;
    use flotilla_protocol::{PartitionIndex, Uuid};

    pub const KEY: PartitionKey = PartitionKey {
        topic_id: Uuid([1; 16]),
        partition: PartitionIndex(0),
    };

    pub fn record(offset: i64, epoch: i32, value: u64) -> Record {
        Record {
            offset: Offset(offset),
            epoch: LeaderEpoch(epoch),
            value,
        }
    }
}
