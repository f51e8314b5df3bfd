//! What a state machine has to be, for a host to keep it on a partition of an internal topic.

use bytes::Bytes;
use flotilla_control::settings::BrokerSettings;
use flotilla_protocol::records::BatchHeader;

use super::partitions::Place;
use crate::group::{self, EndTransaction, Producer, Ticket, WriteError, WriteId};
use crate::metadata::Image;

/// Why a host says no to a request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The partition is not led here.
    NotCoordinator,
    /// Its log is still being read.
    LoadInProgress,
}

/// What is appended together.
#[derive(Debug)]
pub enum Content<R> {
    /// Records that count once they are committed.
    Records(std::sync::Arc<[R]>),
    /// Records that count once a producer's transaction is committed.
    InTransaction(Producer, std::sync::Arc<[R]>),
    /// The end of such a transaction.
    Marker(EndTransaction),
}

/// What a machine wants done, in this order.
#[derive(Debug)]
pub enum Effect<M: Machine> {
    /// Answer a request.
    Reply {
        /// Which.
        to: Ticket,
        /// With what.
        reply: M::Reply,
    },
    /// Append, then report [`Machine::committed`] or [`Machine::failed`].
    Append {
        /// The write's name.
        write: WriteId,
        /// What.
        content: Content<M::Record>,
    },
    /// Something outside of the partition, which is reported by a request if at all.
    Errand(M::Errand),
}

/// The internal topic of a kind of machine, as it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicShape {
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas, or as many as there are brokers where they are fewer.
    pub replication_factor: i16,
    /// The size of a segment, in bytes.
    pub segment_bytes: i32,
    /// `min.insync.replicas`, where it is not the fleet's.
    pub min_insync_replicas: Option<i32>,
}

/// A state machine whose state lives in one partition of an internal topic: groups, or transactional ids.
pub trait Machine: Sized + Send + 'static {
    /// Its settings.
    type Config: Clone + Send + Sync + 'static;
    /// What it is asked.
    type Request: Send + 'static;
    /// What it answers.
    type Reply: Send + 'static;
    /// What it stores.
    type Record: Send + Sync + 'static;
    /// What it wants done elsewhere.
    type Errand: Send + 'static;

    /// The topic.
    const TOPIC: &'static str;

    /// An empty one.
    fn new(config: Self::Config, place: Place) -> Self;
    /// How the topic is created.
    fn topic_shape(settings: &BrokerSettings) -> TopicShape;
    /// Takes over changed settings.
    fn configure(&mut self, config: Self::Config);
    /// Folds one record of the log in. False: it is not known, or not laid out as it should be.
    fn replay(&mut self, header: &BatchHeader, key: &[u8], value: Option<&[u8]>) -> bool;
    /// A producer's transaction ends here.
    fn replay_marker(&mut self, header: &BatchHeader, committed: bool);
    /// All has been replayed, and is committed.
    fn loaded(&mut self, now_ms: u64) -> Vec<Effect<Self>>;
    /// Serves a request.
    fn apply(&mut self, now_ms: u64, to: Ticket, request: Self::Request) -> Vec<Effect<Self>>;
    /// Does what is due.
    fn tick(&mut self, now_ms: u64) -> Vec<Effect<Self>>;
    /// When something is due next, in ms.
    fn next_deadline(&self) -> Option<u64>;
    /// A write, and with it all before it, is committed.
    fn committed(&mut self, now_ms: u64, write: WriteId) -> Vec<Effect<Self>>;
    /// A write could not be appended, and none after it will be.
    fn failed(&mut self, now_ms: u64, write: WriteId, error: WriteError) -> Vec<Effect<Self>>;
    /// Another broker takes over.
    fn unload(self) -> Vec<Effect<Self>>;
    /// Key and value of a record; none where they do not fit into one.
    fn encode(record: &Self::Record) -> Option<(Bytes, Option<Bytes>)>;
    /// The answer of a host that cannot ask.
    fn refused(request: &Self::Request, refusal: Refusal) -> Self::Reply;
    /// What a machine has to be told when the metadata changed, if anything.
    fn changed(old: &Image, new: &Image) -> Option<Self::Request>;
    /// The same request once more, for the next shard. Only those of [`Machine::changed`] are copied.
    fn copied(request: &Self::Request) -> Self::Request;
}

/// The partition of an internal topic that a group or a transactional id lives in.
#[must_use]
pub(super) fn partition_of(key: &str, partitions: i32) -> i32 {
    group::partition_of(key, partitions)
}
