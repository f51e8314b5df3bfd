//! Every topic setting of Kafka 4.3.1, and `flush.policy`, which is ours.

use super::Allowed::{Any, AtLeast, Between, EachOf, Fraction, GzipLevel, OneOf, ThrottledReplicas};
use super::Kind::{Bool, Double, Int, List, Long, String};
use super::{Allowed, Fallback, Kind, Scope, Setting, Update, no_effect};

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
const MAX: &str = "9223372036854775807";

const fn s(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    allowed: Allowed,
    fallbacks: &'static [Fallback],
) -> Setting {
    Setting::new(
        Scope::Topic,
        name,
        kind,
        Some(default),
        allowed,
        Update::ClusterWide,
    )
    .falls_back_on(fallbacks)
}

const fn f(name: &'static str) -> Fallback {
    Fallback { name, factor: 1 }
}

const fn in_hours(name: &'static str) -> Fallback {
    Fallback {
        name,
        factor: HOUR_MS,
    }
}

const fn in_minutes(name: &'static str) -> Fallback {
    Fallback {
        name,
        factor: MINUTE_MS,
    }
}

/// Sorted by name.
#[rustfmt::skip]
pub(super) static SETTINGS: &[Setting] = &[
    s("cleanup.policy", List, "delete", EachOf(&["compact", "delete"]), &[f("log.cleanup.policy")]),
    s("compression.gzip.level", Int, "-1", GzipLevel, &[f("compression.gzip.level")]),
    s("compression.lz4.level", Int, "9", Between(1, 17), &[f("compression.lz4.level")]).without_effect(no_effect::LZ4_LEVEL),
    s("compression.type", String, "producer", OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), &[f("compression.type")]),
    s("compression.zstd.level", Int, "3", Between(-131_072, 22), &[f("compression.zstd.level")]),
    s("delete.retention.ms", Long, "86400000", AtLeast(0), &[f("log.cleaner.delete.retention.ms")]),
    s("file.delete.delay.ms", Long, "60000", AtLeast(0), &[f("log.segment.delete.delay.ms")]),
    s("flush.messages", Long, MAX, AtLeast(1), &[f("log.flush.interval.messages")]),
    s("flush.ms", Long, MAX, AtLeast(0), &[f("log.flush.interval.ms"), f("log.flush.scheduler.interval.ms")]),
    s("flush.policy", String, "sync", OneOf(&["sync", "os"]), &[f("log.flush.policy")]),
    s("follower.replication.throttled.replicas", List, "", ThrottledReplicas, &[]),
    s("index.interval.bytes", Int, "4096", AtLeast(0), &[f("log.index.interval.bytes")]),
    s("leader.replication.throttled.replicas", List, "", ThrottledReplicas, &[]),
    s("local.retention.bytes", Long, "-2", AtLeast(-2), &[f("log.local.retention.bytes")]).without_effect(no_effect::TIERED_STORAGE),
    s("local.retention.ms", Long, "-2", AtLeast(-2), &[f("log.local.retention.ms")]).without_effect(no_effect::TIERED_STORAGE),
    s("max.compaction.lag.ms", Long, MAX, AtLeast(1), &[f("log.cleaner.max.compaction.lag.ms")]),
    s("max.message.bytes", Int, "1048588", AtLeast(0), &[f("message.max.bytes")]),
    s("message.timestamp.after.max.ms", Long, "3600000", AtLeast(0), &[f("log.message.timestamp.after.max.ms")]),
    s("message.timestamp.before.max.ms", Long, MAX, AtLeast(0), &[f("log.message.timestamp.before.max.ms")]),
    s("message.timestamp.type", String, "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]), &[f("log.message.timestamp.type")]),
    s("min.cleanable.dirty.ratio", Double, "0.5", Fraction(0.0, 1.0), &[f("log.cleaner.min.cleanable.ratio")]),
    s("min.compaction.lag.ms", Long, "0", AtLeast(0), &[f("log.cleaner.min.compaction.lag.ms")]),
    s("min.insync.replicas", Int, "1", AtLeast(1), &[f("min.insync.replicas")]),
    s("preallocate", Bool, "false", Any, &[f("log.preallocate")]),
    s("remote.log.copy.disable", Bool, "false", Any, &[]).without_effect(no_effect::TIERED_STORAGE),
    s("remote.log.delete.on.disable", Bool, "false", Any, &[]).without_effect(no_effect::TIERED_STORAGE),
    s("remote.storage.enable", Bool, "false", Any, &[]).without_effect(no_effect::TIERED_STORAGE),
    s("retention.bytes", Long, "-1", Any, &[f("log.retention.bytes")]),
    s("retention.ms", Long, "604800000", AtLeast(-1), &[f("log.retention.ms"), in_minutes("log.retention.minutes"), in_hours("log.retention.hours")]),
    s("segment.bytes", Int, "1073741824", AtLeast(1_048_576), &[f("log.segment.bytes")]),
    s("segment.index.bytes", Int, "10485760", AtLeast(4), &[f("log.index.size.max.bytes")]),
    s("segment.jitter.ms", Long, "0", AtLeast(0), &[f("log.roll.jitter.ms"), in_hours("log.roll.jitter.hours")]),
    s("segment.ms", Long, "604800000", AtLeast(1), &[f("log.roll.ms"), in_hours("log.roll.hours")]),
    s("unclean.leader.election.enable", Bool, "false", Any, &[f("unclean.leader.election.enable")]),
];
