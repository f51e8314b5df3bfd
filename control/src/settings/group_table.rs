//! Every group setting of Kafka 4.3.1.

use super::Allowed::{Any, AtLeast, OffsetReset, OneOf};
use super::Kind::{Bool, Int, String};
use super::{Allowed, Fallback, Kind, Scope, Setting, Update};

const fn s(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    allowed: Allowed,
    fallbacks: &'static [Fallback],
) -> Setting {
    Setting::new(
        Scope::Group,
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

/// Sorted by name.
#[rustfmt::skip]
pub(super) static SETTINGS: &[Setting] = &[
    s("consumer.assignment.interval.ms", Int, "1000", AtLeast(0), &[f("group.consumer.assignment.interval.ms")]),
    s("consumer.heartbeat.interval.ms", Int, "5000", AtLeast(1), &[f("group.consumer.heartbeat.interval.ms")]),
    s("consumer.session.timeout.ms", Int, "45000", AtLeast(1), &[f("group.consumer.session.timeout.ms")]),
    s("share.assignment.interval.ms", Int, "1000", AtLeast(0), &[f("group.share.assignment.interval.ms")]),
    s("share.auto.offset.reset", String, "latest", OffsetReset, &[]),
    s("share.delivery.count.limit", Int, "5", AtLeast(2), &[f("group.share.delivery.count.limit")]),
    s("share.heartbeat.interval.ms", Int, "5000", AtLeast(1), &[f("group.share.heartbeat.interval.ms")]),
    s("share.isolation.level", String, "read_uncommitted", OneOf(&["read_committed", "read_uncommitted"]), &[]),
    s("share.partition.max.record.locks", Int, "2000", AtLeast(100), &[f("group.share.partition.max.record.locks")]),
    s("share.record.lock.duration.ms", Int, "30000", AtLeast(1000), &[f("group.share.record.lock.duration.ms")]),
    s("share.renew.acknowledge.enable", Bool, "true", Any, &[]),
    s("share.session.timeout.ms", Int, "45000", AtLeast(1), &[f("group.share.session.timeout.ms")]),
    s("streams.assignment.interval.ms", Int, "1000", AtLeast(0), &[f("group.streams.assignment.interval.ms")]),
    s("streams.heartbeat.interval.ms", Int, "5000", AtLeast(1), &[f("group.streams.heartbeat.interval.ms")]),
    s("streams.initial.rebalance.delay.ms", Int, "3000", AtLeast(0), &[f("group.streams.initial.rebalance.delay.ms")]),
    s("streams.num.standby.replicas", Int, "0", AtLeast(0), &[f("group.streams.num.standby.replicas")]),
    s("streams.session.timeout.ms", Int, "45000", AtLeast(1), &[f("group.streams.session.timeout.ms")]),
];

/// The settings that have an effect here.
pub(super) const DOCS: &[(&str, &str)] = &[
    (
        "consumer.assignment.interval.ms",
        "How long after an assignment the group is not assigned anew, in milliseconds; within what the brokers allow (KIP-1263).",
    ),
    (
        "consumer.heartbeat.interval.ms",
        "How often members send heartbeats, in milliseconds; within what the brokers allow.",
    ),
    (
        "consumer.session.timeout.ms",
        "After how many milliseconds of silence a member is put out; within what the brokers allow.",
    ),
    (
        "share.assignment.interval.ms",
        "How long after an assignment the group is not assigned anew, in milliseconds; within what the brokers allow (KIP-1263).",
    ),
    (
        "share.auto.offset.reset",
        "Where the group begins to read a partition: earliest, latest, or by_duration: with how far back.",
    ),
    (
        "share.delivery.count.limit",
        "How often a record is delivered at most; within what the brokers allow.",
    ),
    (
        "share.heartbeat.interval.ms",
        "How often members send heartbeats, in milliseconds; within what the brokers allow.",
    ),
    (
        "share.isolation.level",
        "Whether only what is committed is delivered (read_committed), or all (read_uncommitted).",
    ),
    (
        "share.partition.max.record.locks",
        "How many records of a partition may be locked; within what the brokers allow.",
    ),
    (
        "share.record.lock.duration.ms",
        "How long a record is locked for the member that it was delivered to, in milliseconds; within what the brokers allow.",
    ),
    (
        "share.renew.acknowledge.enable",
        "Whether members may renew locks (KIP-1222).",
    ),
    (
        "share.session.timeout.ms",
        "After how many milliseconds of silence a member is put out; within what the brokers allow.",
    ),
    (
        "streams.assignment.interval.ms",
        "How long after an assignment a streams group is not assigned anew, in milliseconds; within what the brokers allow (KIP-1263).",
    ),
    (
        "streams.heartbeat.interval.ms",
        "How often members of a streams group send heartbeats, in milliseconds; within what the brokers allow.",
    ),
    (
        "streams.initial.rebalance.delay.ms",
        "How long an empty streams group waits for more members before tasks are assigned, in milliseconds.",
    ),
    (
        "streams.num.standby.replicas",
        "How many standbys each task with state has; as many as the brokers allow.",
    ),
    (
        "streams.session.timeout.ms",
        "After how many milliseconds of silence a member of a streams group is put out; within what the brokers allow.",
    ),
];
