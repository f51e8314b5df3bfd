//! A scenario: what is done to both contenders, and which figures of it are held to which targets.

mod table;

use crate::figure::Row;

pub use table::SCENARIOS;

/// One comparison.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    pub brokers: usize,
    pub partitions: i32,
    pub replicas: i16,
    /// Clients speak TLS with the brokers.
    pub tls: bool,
    /// The log is bounded by retention, so that the disk is not the limit; otherwise all is kept.
    pub bounded: bool,
    /// Our `flush.policy` of the topic, where it is not the default.
    pub flush_policy: Option<&'static str>,
    pub work: Work,
    /// How long it is measured, where the work does not end by itself.
    pub seconds: u64,
    pub warmup_seconds: u64,
    pub rows: &'static [Row],
    /// What a reader of the table must know besides.
    pub note: &'static str,
}

/// What is done.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// `flotilla bench produce`.
    Produce(Load),
    /// `flotilla bench end-to-end`.
    EndToEnd(Load),
    /// `flotilla bench consume`, of so many records of 1,000 B that were written before.
    Consume {
        connections: u32,
        /// Each of which reads all of it.
        consumers: u32,
        records: u64,
        /// Read from memory, again and again, for a time; otherwise once, from a disk of which nothing is in memory.
        from_memory: bool,
    },
    /// Nothing at all.
    Idle,
    /// A start, until a record is acknowledged.
    FirstRecord,
    /// A start after a clean stop, until every partition has acknowledged a record.
    Restart,
    /// A topic is created, until every partition has acknowledged a record with acks=all.
    Create,
    /// The same load on a topic of a hundred partitions, and then on one of as many as the scenario has.
    Many(Load),
    /// One of Apache Kafka's own tools.
    Tool(Tool, u64),
}

/// Apache Kafka's tools that measure, each for a number of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Producer,
    Consumer,
    EndToEnd,
}

/// What `flotilla bench` is told.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub record_size: u32,
    pub batch_size: u32,
    pub acks: &'static str,
    pub connections: u32,
    pub in_flight: u32,
    /// Records a second; as fast as it goes where there is none.
    pub rate: Option<u32>,
}

/// Bounds of a log that retention keeps small: on each partition, the same on both sides.
const BOUNDS: [(&str, &str); 3] = [
    ("retention.bytes", "268435456"),
    ("segment.bytes", "67108864"),
    ("file.delete.delay.ms", "1000"),
];

/// How often logs that are bounded are looked at, on both sides.
pub const RETENTION_CHECK_MS: u64 = 1_000;

/// Records of 1,000 B that a generator on one core writes in a second at the least, for estimates.
const FILLED_A_SECOND: u64 = 80_000;

/// Seconds that it takes to start a contender and to stop it.
const START_AND_STOP_S: u64 = 14;

impl Scenario {
    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// The settings of the topic. `ours`: with those that only our broker knows.
    pub fn topic_settings(&self, ours: bool) -> Vec<(String, String)> {
        let bounds = BOUNDS.iter().filter(|_| self.bounded);
        let flush = self.flush_policy.filter(|_| ours);
        bounds
            .copied()
            .chain(flush.map(|policy| ("flush.policy", policy)))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// How long it is measured and warmed up, with what was asked for instead.
    pub fn for_seconds(&self, seconds: Option<u64>) -> Self {
        match seconds {
            None => *self,
            Some(seconds) => Self {
                seconds,
                warmup_seconds: self.warmup_seconds.min(seconds),
                ..*self
            },
        }
    }

    /// About how long a run of one contender takes, in seconds.
    pub fn seconds_a_run(&self) -> u64 {
        let timed = self.warmup_seconds + self.seconds;
        let work = match self.work {
            Work::Produce(_) | Work::EndToEnd(_) | Work::Idle => timed,
            Work::Consume {
                records,
                from_memory: true,
                ..
            } => records / FILLED_A_SECOND + timed,
            Work::Consume { records, .. } => records / FILLED_A_SECOND * 2 + self.warmup_seconds,
            Work::FirstRecord => 5,
            Work::Restart | Work::Create => 90,
            Work::Many(_) => 60 + 2 * timed,
            Work::Tool(Tool::Producer, records) => records / FILLED_A_SECOND,
            Work::Tool(Tool::Consumer, records) => 2 * records / FILLED_A_SECOND,
            Work::Tool(Tool::EndToEnd, records) => records / 200,
        };
        START_AND_STOP_S + work
    }

    /// In words: brokers, partitions, connections, batches, requests in flight, acknowledgement.
    pub fn settings(&self) -> String {
        let plural =
            |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        let mut parts = vec![plural(self.brokers, "broker")];
        if self.partitions > 0 {
            parts.push(format!(
                "{} × {}",
                plural(self.partitions as usize, "partition"),
                self.replicas
            ));
        }
        match self.work {
            Work::Produce(load) | Work::EndToEnd(load) | Work::Many(load) => parts.push(load.settings()),
            Work::Consume {
                connections,
                consumers,
                ..
            } => {
                if consumers > 1 {
                    parts.push(plural(consumers as usize, "consumer"));
                }
                parts.push(format!(
                    "{}, 1 MiB a partition and fetch, 1 request in flight, records of 1,000 B",
                    plural(connections as usize, "connection")
                ));
            }
            Work::Tool(tool, records) => {
                parts.push(format!("{}, {records} records of 1,000 B", tool.class()))
            }
            Work::Idle | Work::FirstRecord | Work::Restart | Work::Create => {}
        }
        if self.tls {
            parts.push("TLS".to_owned());
        }
        if self.bounded && self.partitions > 0 {
            parts.push("log bounded to 256 MiB a partition".to_owned());
        }
        parts.join(", ")
    }
}

impl Load {
    fn settings(&self) -> String {
        let rate = self.rate.map(|rate| format!(" at {rate} records/s"));
        format!(
            "records of {} B{}, batches of {} KiB, {} connections, {} in flight each, acks={}",
            self.record_size,
            rate.unwrap_or_default(),
            self.batch_size / 1_024,
            self.connections,
            self.in_flight,
            self.acks
        )
    }
}

impl Tool {
    /// Its class.
    pub fn class(self) -> &'static str {
        match self {
            Self::Producer => "ProducerPerformance",
            Self::Consumer => "ConsumerPerformance",
            Self::EndToEnd => "EndToEndLatency",
        }
    }
}

#[test]
fn scenarios_have_names_of_their_own_and_say_how_they_are_run() {
    let mut names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SCENARIOS.len());
    assert!(SCENARIOS.iter().all(|scenario| !scenario.rows.is_empty()));
    let produce = Scenario::named("produce-1000").expect("it is in the table");
    assert_eq!(
        produce.settings(),
        "1 broker, 6 partitions × 1, records of 1000 B, batches of 128 KiB, 4 connections, 5 in flight each, acks=1, \
         log bounded to 256 MiB a partition"
    );
    assert!(Scenario::named("nothing").is_none());
}

#[test]
fn only_our_broker_is_told_of_its_own_settings_and_bounds_are_alike() {
    let scenario = Scenario::named("replicated-page-cache").expect("it is in the table");
    let (kafka, ours) = (scenario.topic_settings(false), scenario.topic_settings(true));
    assert_eq!(kafka.len(), BOUNDS.len());
    assert_eq!(ours[..kafka.len()], kafka);
    assert_eq!(ours.last(), Some(&("flush.policy".to_owned(), "os".to_owned())));
}

#[test]
fn fewer_seconds_are_less_warming_up_too() {
    let latency = Scenario::named("latency").expect("it is in the table");
    let short = latency.for_seconds(Some(5));
    assert_eq!((short.seconds, short.warmup_seconds), (5, 5));
    assert!(short.seconds_a_run() < latency.seconds_a_run());
    assert_eq!(latency.for_seconds(None).seconds, latency.seconds);
}
