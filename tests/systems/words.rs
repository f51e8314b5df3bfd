//! Words to be counted, and what must come of it.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::producer::{Producer, ThreadedProducer};

use crate::committed::{Reader, Record};
use crate::eventually::eventually;
use crate::kafka::{self, Deliveries};

pub const LINES: &str = "lines";
pub const COUNTS: &str = "counts";
pub const COPIES: &str = "copies";
pub const PARTITIONS: u32 = 3;
pub const TOPICS: [(&str, u32); 2] = [(LINES, PARTITIONS), (COUNTS, PARTITIONS)];
const FLUSHED_WITHIN: Duration = Duration::from_secs(90);

/// Writes lines of words.
pub struct Words {
    producer: ThreadedProducer<Deliveries>,
    deliveries: Deliveries,
}

impl Words {
    pub fn to(bootstrap: &str) -> Self {
        let deliveries = Deliveries::default();
        let producer = kafka::config(bootstrap)
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            .create_with_context(deliveries.clone())
            .expect("create a producer");
        Self { producer, deliveries }
    }

    /// Writes a line.
    pub fn give(&self, number: u32) {
        self.send(LINES, None, &line(number));
    }

    /// Writes something else.
    pub fn send(&self, topic: &str, key: Option<&str>, value: &str) {
        kafka::send(&self.producer, topic, key, value);
    }

    /// All of so many records must be acknowledged.
    pub fn finish(self, written: u32) {
        self.producer
            .flush(FLUSHED_WITHIN)
            .expect("what was sent is acknowledged");
        let acknowledged = self.deliveries.acknowledged.lock().expect("not poisoned").len();
        assert_eq!(acknowledged, written as usize);
    }
}

fn line(number: u32) -> String {
    format!("w{} w{} w{}", number % 5, number % 11, number % 17)
}

/// How often each word comes in so many lines.
pub fn counts(lines: u32) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in (0..lines).map(line) {
        for word in line.split(' ') {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Waits until as many counts were committed as must be; gives how many.
pub fn wait_until_done(bootstrap: &str, lines: u32, within: Duration) -> usize {
    let wanted = counts(lines).values().sum::<u64>() as usize;
    Reader::of(bootstrap, COUNTS).wait_for(wanted, within);
    wanted
}

/// Of so many lines, every count came once and in order.
pub fn check(bootstrap: &str, lines: u32) {
    let expected = counts(lines).into_iter().map(|(word, count)| {
        let all: Vec<_> = (1..=count).map(|n| n.to_string()).collect();
        (word, all)
    });
    assert_same(by_key(Reader::all(bootstrap, COUNTS)), expected.collect());
}

/// Waits until every line was copied, as often as it was written at least.
pub fn wait_until_copied(bootstrap: &str, within: Duration) {
    let lines = times(bootstrap, LINES);
    eventually(within, "all lines", || {
        let copies = times(bootstrap, COPIES);
        let missing = lines
            .iter()
            .find(|(line, count)| copies.get(*line) < Some(*count));
        missing.map_or(Ok(()), |(line, count)| {
            let copied = copies.get(line).unwrap_or(&0);
            Err(format!(
                "`{line}` was written {count} times and copied {copied} times"
            ))
        })
    });
}

/// How often each value comes in a topic.
pub fn times(bootstrap: &str, topic: &str) -> BTreeMap<String, u32> {
    let mut times = BTreeMap::new();
    for record in Reader::all(bootstrap, topic) {
        *times.entry(record.value).or_default() += 1;
    }
    times
}

/// The values of each key, in their order.
pub fn by_key(records: Vec<Record>) -> BTreeMap<String, Vec<String>> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in records {
        values.entry(record.key).or_default().push(record.value);
    }
    values
}

/// The same; if not, where the first key's values part.
pub fn assert_same(found: BTreeMap<String, Vec<String>>, expected: BTreeMap<String, Vec<String>>) {
    assert!(found.keys().eq(expected.keys()), "keys {:?}", found.keys());
    for (key, expected) in expected {
        let found = &found[&key];
        let alike = found
            .iter()
            .zip(&expected)
            .take_while(|(found, expected)| found == expected);
        let part = alike.count();
        assert!(
            *found == expected,
            "{key}: {} values, not {}; they part at {part}: {:?}",
            found.len(),
            expected.len(),
            &found[part.saturating_sub(2)..found.len().min(part + 5)]
        );
    }
}
