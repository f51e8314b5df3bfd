//! The Kafka wire format: no sockets, no disk.

mod ids;
pub mod records;

pub use ids::{
    BrokerEpoch, BrokerId, InvalidUuid, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Uuid,
};
