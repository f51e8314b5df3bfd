//! A compacted topic, as applications see it and as it lies on the disks.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests, topic};
use crate::kafka::{config, produce, read_all};
use crate::on_disk::{Table, is_compacting, replicas, table};

const KEYS: usize = 400;
const UPDATES: usize = 40_000;

/// A fleet whose cleaners are awake, and slow enough to be met at work; with a topic of one partition on all three brokers.
fn fleet() -> Fleet {
    let mut files = manifests(3, &[]);
    let cluster = files.get_mut("cluster.yaml").expect("the cluster's manifest");
    cluster.push_str("    log.cleaner.backoff.ms: 100\n    log.cleaner.io.max.bytes.per.second: 3000000\n");
    let settings = "cleanup.policy: compact, segment.bytes: 1048576, min.cleanable.dirty.ratio: 0, max.compaction.lag.ms: 1000";
    files.insert("topic-table.yaml".to_owned(), topic("table", 1, 3, settings));
    Fleet::start(&files)
}

/// The last of these records for each key, as a table has it.
fn last(records: &[crate::kafka::Record]) -> Table {
    let mut last: BTreeMap<String, (i64, String)> = BTreeMap::new();
    for record in records {
        let key = record.key.clone().expect("every record has a key");
        let of_key = last.entry(key).or_insert((-1, String::new()));
        if record.offset > of_key.0 {
            *of_key = (record.offset, record.value.clone());
        }
    }
    last.into_iter()
        .map(|(key, record)| (key, vec![record]))
        .collect()
}

#[test]
fn last_value_of_each_key_and_no_other_is_left_on_every_replica_through_a_kill() {
    let fleet = fleet();
    let keys: Vec<String> = (0..KEYS).map(|n| format!("key-{n:03}")).collect();
    let updates: Vec<(Option<&str>, String)> = (0..UPDATES)
        .map(|n| {
            (
                Some(keys[n * 7 % KEYS].as_str()),
                format!("{n:06} {}", "v".repeat(90)),
            )
        })
        .collect();
    let acknowledged = produce(fleet.bootstrap(), "table", &updates, "none");
    assert_eq!(acknowledged.len(), UPDATES);
    let expected = last(&acknowledged);
    assert_eq!(expected.len(), KEYS);

    let leader = fleet.leader("table", 0);
    eventually(
        Duration::from_secs(60),
        "the leader to write a compacted segment",
        || {
            is_compacting(&fleet.data(), "table", leader)
                .then_some(())
                .ok_or_else(|| "it does not".to_owned())
        },
    );
    fleet.kill_broker(leader);

    eventually(
        Duration::from_secs(180),
        "all three replicas to be compacted",
        || {
            let replicas = replicas(&fleet.data(), "table");
            if replicas.len() != 3 {
                return Err(format!("{replicas:?}"));
            }
            for (replica, dir) in replicas {
                let found = table(&dir)?;
                if found != expected {
                    let records: usize = found.values().map(Vec::len).sum();
                    return Err(format!("{replica:?}: {records} records of {} keys", found.len()));
                }
            }
            Ok(())
        },
    );
    // What a client reads is the same, in the order of the offsets.
    let read = read_all(&config(fleet.bootstrap()), "table");
    assert!(read.is_sorted_by_key(|record| record.offset));
    assert_eq!(read.len(), KEYS);
    assert_eq!(last(&read), expected);
    // It goes on behind the gaps.
    let more = produce(fleet.bootstrap(), "table", &updates[..10], "none");
    assert_eq!(
        more.iter().map(|record| record.offset).min(),
        Some(UPDATES as i64)
    );
}

#[test]
fn record_without_a_key_is_refused() {
    let fleet = fleet();
    let refused = crate::kafka::try_produce(fleet.bootstrap(), "table", &[(None, "no key".to_owned())]);
    assert_eq!(refused, []);
    let taken = crate::kafka::try_produce(fleet.bootstrap(), "table", &[(Some("key"), "value".to_owned())]);
    assert_eq!(taken.len(), 1);
}
