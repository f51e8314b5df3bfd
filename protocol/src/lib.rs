//! The Kafka wire format: no sockets, no disk.

mod error;
pub mod frame;
mod ids;
pub mod messages;
pub mod records;
pub mod wire;

pub use error::ErrorCode;
pub use ids::{
    BrokerEpoch, BrokerId, InvalidUuid, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Uuid,
};
pub use messages::ApiKey;
pub use wire::{DecodeError, EncodeError, Message, Reader, Records, Request, Segment, Str, Writer};
