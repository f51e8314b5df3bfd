//! The settings of one topic, as the broker works with them.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::{BrokerId, PartitionIndex};

use super::value::{Value, items};
use super::{Scope, find};

/// What happens to old records (`cleanup.policy`). Neither: they are kept for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Segments go by age and size.
    pub delete: bool,
    /// The last record of each key stays.
    pub compact: bool,
}

/// How batches are stored (`compression.type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As the producer sent them.
    #[default]
    Producer,
    /// Not compressed.
    Uncompressed,
    /// With gzip.
    Gzip,
    /// With snappy.
    Snappy,
    /// With LZ4.
    Lz4,
    /// With Zstandard.
    Zstd,
}

/// Whose clock a record's timestamp is (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The leader's, when it appends.
    LogAppendTime,
}

/// When records count as durable (`flush.policy`, ours).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushPolicy {
    /// Once they are synced to disk: the high watermark is the smallest synced log end over the ISR.
    #[default]
    Sync,
    /// Once they are in the page cache, as with Apache Kafka.
    Os,
}

/// Replicas that are held back while they are not in sync (KIP-73).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThrottledReplicas {
    /// Every one of the topic's.
    All,
    /// These: partition and broker.
    These(BTreeSet<(PartitionIndex, BrokerId)>),
}

impl ThrottledReplicas {
    /// Whether a broker's replica of a partition is one of them.
    #[must_use]
    pub fn contains(&self, partition: PartitionIndex, broker: BrokerId) -> bool {
        match self {
            Self::All => true,
            Self::These(replicas) => replicas.contains(&(partition, broker)),
        }
    }
}

impl Value for ThrottledReplicas {
    fn read(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::All);
        }
        let replica = |item: &str| {
            let (partition, broker) = item.split_once(':')?;
            Some((
                PartitionIndex(partition.parse().ok()?),
                BrokerId(broker.parse().ok()?),
            ))
        };
        items(text).map(replica).collect::<Option<_>>().map(Self::These)
    }
}

impl Value for CleanupPolicy {
    fn read(text: &str) -> Option<Self> {
        let mut policy = Self::default();
        for item in items(text) {
            match item {
                "delete" => policy.delete = true,
                "compact" => policy.compact = true,
                _ => return None,
            }
        }
        Some(policy)
    }
}

impl Value for Compression {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "producer" => Self::Producer,
            "uncompressed" => Self::Uncompressed,
            "gzip" => Self::Gzip,
            "snappy" => Self::Snappy,
            "lz4" => Self::Lz4,
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }
}

impl Value for TimestampType {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "CreateTime" => Self::CreateTime,
            "LogAppendTime" => Self::LogAppendTime,
            _ => return None,
        })
    }
}

impl Value for FlushPolicy {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "sync" => Self::Sync,
            "os" => Self::Os,
            _ => return None,
        })
    }
}

macro_rules! topic_config {
    ($($(#[doc = $doc:literal])* $field:ident: $kind:ty = $name:literal,)*) => {
        /// The settings of one topic that the broker acts on, resolved: what the topic says, else what its brokers say, else
        /// Kafka's default.
        #[derive(Clone, Debug, PartialEq)]
        pub struct TopicConfig {
            $($(#[doc = $doc])* #[doc = concat!(" (`", $name, "`)")] pub $field: $kind,)*
        }

        pub(super) const DOCS: &[(&str, &str)] = &[$(($name, concat!($($doc),*)),)*];

        impl TopicConfig {
            /// Resolves a topic's settings. `broker` answers what a broker setting is set to, if it is set at all (dynamic
            /// before static); the table knows the defaults. A value that its setting does not take counts as not set:
            /// values are checked where they are set.
            #[must_use]
            pub fn resolve(topic: &BTreeMap<String, String>, broker: &dyn Fn(&str) -> Option<String>) -> Self {
                Self {
                    $($field: resolve($name, topic, broker),)*
                }
            }
        }
    };
}

topic_config! {
    /// What happens to old records: delete, compact, both, or neither.
    cleanup_policy: CleanupPolicy = "cleanup.policy",
    /// How batches are stored.
    compression_type: Compression = "compression.type",
    /// The level of gzip, -1 for its default.
    compression_gzip_level: i32 = "compression.gzip.level",
    /// The level of Zstandard.
    compression_zstd_level: i32 = "compression.zstd.level",
    /// How long a tombstone stays on a compacted topic, in milliseconds.
    delete_retention_ms: i64 = "delete.retention.ms",
    /// How long the files of a deleted segment may stay, in milliseconds. They never stay for longer than that: who reads them
    /// has them open, so that they go at once.
    file_delete_delay_ms: i64 = "file.delete.delay.ms",
    /// After how many records the log is synced, with either flush policy.
    flush_messages: i64 = "flush.messages",
    /// After how many milliseconds the log is synced, with either flush policy.
    flush_ms: i64 = "flush.ms",
    /// Whether records count as durable once they are synced, or once they are in the page cache.
    flush_policy: FlushPolicy = "flush.policy",
    /// Followers that are fetched to no faster than `follower.replication.throttled.rate` while they are not in sync.
    follower_replication_throttled_replicas: ThrottledReplicas = "follower.replication.throttled.replicas",
    /// Bytes of log for each entry of the offset index.
    index_interval_bytes: i32 = "index.interval.bytes",
    /// Followers that are sent to no faster than `leader.replication.throttled.rate` while they are not in sync.
    leader_replication_throttled_replicas: ThrottledReplicas = "leader.replication.throttled.replicas",
    /// How long a record may stay uncompacted, in milliseconds.
    max_compaction_lag_ms: i64 = "max.compaction.lag.ms",
    /// The largest record batch taken, in bytes, after compression.
    max_message_bytes: i32 = "max.message.bytes",
    /// How far a record's timestamp may lie ahead of the leader's clock, in milliseconds.
    message_timestamp_after_max_ms: i64 = "message.timestamp.after.max.ms",
    /// How far a record's timestamp may lie behind the leader's clock, in milliseconds.
    message_timestamp_before_max_ms: i64 = "message.timestamp.before.max.ms",
    /// Whose clock timestamps are of.
    message_timestamp_type: TimestampType = "message.timestamp.type",
    /// How much of a log must be uncompacted before it is compacted, as a fraction.
    min_cleanable_dirty_ratio: f64 = "min.cleanable.dirty.ratio",
    /// How long a record stays uncompacted at least, in milliseconds.
    min_compaction_lag_ms: i64 = "min.compaction.lag.ms",
    /// How many replicas must be in sync for acks=all, capped by the replication factor.
    min_insync_replicas: i32 = "min.insync.replicas",
    /// Whether room for all of a segment is set aside with its first record.
    preallocate: bool = "preallocate",
    /// How large a partition may grow before its oldest segments go, in bytes; -1: without limit.
    retention_bytes: i64 = "retention.bytes",
    /// How old a segment may grow before it goes, in milliseconds; -1: without limit.
    retention_ms: i64 = "retention.ms",
    /// The size at which a segment is closed, in bytes.
    segment_bytes: i32 = "segment.bytes",
    /// The largest size of an index file, in bytes.
    segment_index_bytes: i32 = "segment.index.bytes",
    /// By up to how much sooner than its age says a segment is closed, each by another time, in milliseconds.
    segment_jitter_ms: i64 = "segment.jitter.ms",
    /// The age at which a segment is closed, in milliseconds.
    segment_ms: i64 = "segment.ms",
    /// Whether a replica outside the ISR may become leader, which loses records.
    unclean_leader_election_enable: bool = "unclean.leader.election.enable",
}

impl Default for TopicConfig {
    /// Kafka's defaults: what a topic has of which nothing is said anywhere.
    fn default() -> Self {
        Self::resolve(&BTreeMap::new(), &|_| None)
    }
}

fn resolve<T: Value>(
    name: &'static str,
    topic: &BTreeMap<String, String>,
    broker: &dyn Fn(&str) -> Option<String>,
) -> T {
    let setting =
        find(Scope::Topic, name).expect("every field names a setting of the table: a test reads them all");
    topic
        .get(name)
        .filter(|value| setting.check(value).is_ok())
        .and_then(|value| T::read(value))
        .or_else(|| {
            let inherited = setting.inherited(broker)?;
            setting.check(&inherited).ok()?;
            T::read(&inherited)
        })
        .or_else(|| T::read(setting.default?))
        .expect("every default is of its field's type: a test reads them all")
}
