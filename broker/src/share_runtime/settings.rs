//! What holds for a share group: its own settings, within what the broker allows, else the broker's.

use flotilla_control::settings::duration_ms;

use crate::broker::Broker;
use crate::metadata::{Image, ResourceType};
use crate::share::Limits;

/// Where a group begins to read a partition (`share.auto.offset.reset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    /// With the first record that there is.
    Earliest,
    /// With what is written from now on.
    Latest,
    /// With what was written within so many milliseconds.
    Within(i64),
}

fn own<'a>(image: &'a Image, group: &str, name: &str) -> Option<&'a str> {
    image
        .config(ResourceType::Group, group)?
        .get(name)
        .map(String::as_str)
}

fn number(image: &Image, group: &str, name: &str, of_broker: i32, (min, max): (i32, i32)) -> i32 {
    match own(image, group, name).and_then(|value| value.parse().ok()) {
        Some(own) => i32::clamp(own, min, max.max(min)),
        None => of_broker,
    }
}

/// The limits of a group's deliveries.
#[must_use]
pub fn limits(broker: &Broker, image: &Image, group: &str) -> Limits {
    let set = broker.settings();
    let delivery_count = number(
        image,
        group,
        "share.delivery.count.limit",
        set.group_share_delivery_count_limit,
        (
            set.group_share_min_delivery_count_limit,
            set.group_share_max_delivery_count_limit,
        ),
    );
    let record_locks = number(
        image,
        group,
        "share.partition.max.record.locks",
        set.group_share_partition_max_record_locks,
        (
            set.group_share_min_partition_max_record_locks,
            set.group_share_max_partition_max_record_locks,
        ),
    );
    let lock_ms = number(
        image,
        group,
        "share.record.lock.duration.ms",
        set.group_share_record_lock_duration_ms,
        (
            set.group_share_min_record_lock_duration_ms,
            set.group_share_max_record_lock_duration_ms,
        ),
    );
    Limits {
        delivery_count: i16::try_from(delivery_count).unwrap_or(i16::MAX),
        record_locks: record_locks.into(),
        lock_ms: u64::try_from(lock_ms).unwrap_or(0),
        may_renew: own(image, group, "share.renew.acknowledge.enable") != Some("false"),
    }
}

/// Whether a group is given only what is committed (`share.isolation.level`).
#[must_use]
pub fn isolation(image: &Image, group: &str) -> bool {
    own(image, group, "share.isolation.level") == Some("read_committed")
}

pub(super) fn reset(image: &Image, group: &str) -> Reset {
    match own(image, group, "share.auto.offset.reset") {
        Some("earliest") => Reset::Earliest,
        Some(other) => match other.strip_prefix("by_duration:").and_then(duration_ms) {
            Some(ms) => Reset::Within(ms),
            None => Reset::Latest,
        },
        None => Reset::Latest,
    }
}
