//! The records of the scenario, and the lines that tell of them.

use std::collections::BTreeMap;

use chrono::Utc;
use rskafka::record::{Record, RecordAndOffset};

/// The record of a number.
pub fn record(number: usize) -> Record {
    Record {
        key: Some(format!("k-{number:06}").into_bytes()),
        value: Some(format!("v-{number:06}-{}", "abcdefgh".repeat(40)).into_bytes()),
        headers: BTreeMap::from([("number".to_owned(), format!("{number:06}").into_bytes())]),
        timestamp: Utc::now(),
    }
}

/// Says whether a record was acknowledged.
pub fn say_outcome(number: usize, outcome: Result<(), String>) {
    match outcome {
        Ok(()) => println!("acknowledged {number}"),
        Err(error) => println!("refused {number} {}", one_line(&error)),
    }
}

/// Says what was read; the one member of this program is number 0.
pub fn say_record(partition: i32, read: &RecordAndOffset) -> anyhow::Result<()> {
    let text = |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap_or_default());
    let mut headers = Vec::new();
    for (name, value) in &read.record.headers {
        headers.push(format!("{name}={}", String::from_utf8(value.clone())?));
    }
    if headers.is_empty() {
        headers.push("-".to_owned());
    }
    let (key, value) = (text(&read.record.key)?, text(&read.record.value)?);
    println!(
        "record 0 {partition} {} {key} {value} {}",
        read.offset,
        headers.join(",")
    );
    Ok(())
}

/// A message in one line.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
