//! Reading with a library that has no consumer groups.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::RECORDS;
use super::expected::{self, Record};
use super::program::{About, Program};
use crate::eventually::eventually;

const TOPIC: &str = "group";

/// One reader takes all partitions from their beginnings, and finds where the later half begins.
pub fn read_by_one(writer: &mut Program, reader: &mut Program, about: &About) -> Vec<String> {
    writer.produce(TOPIC, "none", 0..RECORDS);
    let between_ms = next_millisecond();
    writer.produce(TOPIC, "none", RECORDS..2 * RECORDS);
    let read = Record::all(&reader.ask(&format!("consume {TOPIC} - {}", 2 * RECORDS)));
    expected::assert_each_once(&read, 0..2 * RECORDS, about.can("headers"));
    let mut ran = vec!["all partitions read by one (the library has no consumer groups)".to_owned()];
    if about.can("headers") {
        ran.insert(0, "headers".to_owned());
    }
    if about.can("times") {
        let earlier = |record: &&Record| record.partition == 1 && record.key < expected::key(RECORDS);
        let found = reader.ask(&format!("offset-at {TOPIC} 1 {between_ms}"));
        assert_eq!(found, [format!("offset {}", read.iter().filter(earlier).count())]);
        ran.push("offset found by time".to_owned());
    }
    ran
}

/// A time that nothing which was written by now has, and that all which is written afterwards has or passes.
fn next_millisecond() -> u128 {
    let next = now_ms() + 1;
    eventually(Duration::from_secs(5), "the clock to go on", || {
        let now = now_ms();
        (now >= next).then_some(()).ok_or(format!("it is {now}"))
    });
    next
}

fn now_ms() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_millis()
}
