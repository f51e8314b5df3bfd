//! The records that programs write, and the lines in which they tell what they read.

use std::ops::Range;

/// Numbers a record within a topic.
pub type Number = u32;

/// The key of a record.
pub fn key(number: Number) -> String {
    format!("k-{number:06}")
}

/// The value of a record: long and even enough that every codec makes it smaller.
pub fn value(number: Number) -> String {
    format!("v-{number:06}-{}", "abcdefgh".repeat(40))
}

/// A record as a program read it: `record MEMBER PARTITION OFFSET KEY VALUE HEADERS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub member: u32,
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub value: String,
    /// `NAME=VALUE`, or `-` where there are none.
    pub headers: String,
}

impl Record {
    /// The records among a program's answers.
    pub fn all(answers: &[String]) -> Vec<Self> {
        answers
            .iter()
            .filter_map(|line| line.strip_prefix("record "))
            .map(Self::parse)
            .collect()
    }

    fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let [member, partition, offset, key, value, headers] = words[..] else {
            panic!("not a record: {line}");
        };
        Self {
            member: member.parse().expect("the number of a member"),
            partition: partition.parse().expect("a partition"),
            offset: offset.parse().expect("an offset"),
            key: key.to_owned(),
            value: value.to_owned(),
            headers: headers.to_owned(),
        }
    }
}

/// These records were read once each and no others, with the headers that say their number where the library has headers.
pub fn assert_each_once(read: &[Record], numbers: Range<Number>, headers: bool) {
    let mut keys: Vec<_> = read.iter().map(|record| record.key.clone()).collect();
    keys.sort();
    assert_eq!(
        keys,
        numbers.map(key).collect::<Vec<_>>(),
        "each record once, and no other"
    );
    for record in read.iter().filter(|_| headers) {
        let number = record.key.trim_start_matches("k-");
        assert_eq!(record.headers, format!("number={number}"), "{record:?}");
    }
}
