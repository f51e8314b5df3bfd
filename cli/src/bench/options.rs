//! The command line of `flotilla bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use flotilla_protocol::records::Compression;

/// Puts load on any Kafka, and measures throughput and latency.
///
/// Ends with 0 when the load ran to its end, with 1 when it could not, and with 2 for a wrong command line.
///
/// As fast as it goes, for half a minute after five seconds of warming up:
///
///     flotilla bench produce --bootstrap-server 127.0.0.1:9092 --duration 30s
///
/// Latency at a fixed rate, counted from when each record was due, with a picture:
///
///     flotilla bench end-to-end --rate 20000 --acks all --duration 60s --svg latency.svg
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    pub work: Work,
}

/// What is done to the brokers.
#[derive(Subcommand)]
pub enum Work {
    /// Writes records; latency is the time until a record is acknowledged.
    Produce {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        load: Load,
    },
    /// Reads what topics hold, from the beginning; with --duration, again from the beginning at the end.
    Consume {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        reading: Reading,
    },
    /// Writes and reads at once; latency is the time until a consumer has a record.
    EndToEnd {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        reading: Reading,
    },
}

impl Work {
    /// What every load has.
    pub fn common(&self) -> &Common {
        match self {
            Self::Produce { common, .. } | Self::Consume { common, .. } | Self::EndToEnd { common, .. } => {
                common
            }
        }
    }

    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Produce { .. } => "produce",
            Self::Consume { .. } => "consume",
            Self::EndToEnd { .. } => "end-to-end",
        }
    }
}

/// Whom to ask, about which topics, for how long.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Brokers to begin with, separated by commas.
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092",
        value_delimiter = ','
    )]
    pub bootstrap_server: Vec<String>,
    /// Kafka's client properties: security.protocol, sasl.mechanism, sasl.jaas.config, ssl.truststore.location and
    /// ssl.keystore.location (PEM). The file that `flotilla up` writes for a User is one.
    #[arg(long, value_name = "FILE")]
    pub command_config: Option<PathBuf>,
    /// The topic; with several topics, the first part of their names.
    #[arg(long, default_value = "bench")]
    pub topic: String,
    /// How many topics: NAME-0, NAME-1 and so on when there are several.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub topics: u32,
    /// Partitions of a topic that is not there yet.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    pub partitions: i32,
    /// Replicas of a topic that is not there yet. Default: the broker's.
    #[arg(long, value_parser = clap::value_parser!(i16).range(1..))]
    pub replication_factor: Option<i16>,
    /// A setting of a topic that is not there yet, such as min.insync.replicas=2. May be given several times.
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = setting)]
    pub configs: Vec<(String, String)>,
    /// Connections that work, over all brokers; each leader gets at least one.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub connections: u32,
    /// How long to measure, such as 30s, 500ms or 2m. Default: 30s, where --records is not given.
    #[arg(long, value_parser = duration, conflicts_with = "records")]
    pub duration: Option<Duration>,
    /// How many records to measure.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub records: Option<u64>,
    /// How long to run before measuring begins. Default: 5s with a duration, none with a number of records.
    #[arg(long, value_parser = duration)]
    pub warmup: Option<Duration>,
    /// Writes all figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draws latency by percentile, and throughput and latency over time.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

impl Common {
    /// When to stop measuring.
    pub fn limit(&self) -> Limit {
        match self.records {
            Some(records) => Limit::Records(records),
            None => Limit::Duration(self.duration.unwrap_or(Duration::from_secs(30))),
        }
    }

    /// How long to run first.
    pub fn warmup(&self) -> Duration {
        self.warmup.unwrap_or(match self.limit() {
            Limit::Records(_) => Duration::ZERO,
            Limit::Duration(_) => Duration::from_secs(5),
        })
    }

    /// The topics' names.
    pub fn topic_names(&self) -> Vec<String> {
        match self.topics {
            1 => vec![self.topic.clone()],
            several => (0..several)
                .map(|index| format!("{}-{index}", self.topic))
                .collect(),
        }
    }
}

/// When a load ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After so many records.
    Records(u64),
    /// After so long.
    Duration(Duration),
}

/// What is written, and how.
#[derive(Args, Clone, Debug)]
pub struct Load {
    /// Bytes of a record's value.
    #[arg(long, value_name = "BYTES", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(8..=100_000_000))]
    pub record_size: u32,
    /// Bytes of a batch before compression: as many records as fit, at least one. Kafka's producers say 16384.
    #[arg(long, value_name = "BYTES", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub batch_size: u32,
    /// How batches are compressed.
    #[arg(long, value_enum, default_value_t = Codec::None)]
    pub compression: Codec,
    /// Whose acknowledgement to wait for.
    #[arg(long, value_enum, default_value_t = Acks::All)]
    pub acks: Acks,
    /// Requests that a connection may have in flight; Kafka's producers say 5.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub in_flight: u32,
    /// Records a second, over all connections; latency then counts from when each was due. Default: as fast as it goes.
    #[arg(long, value_name = "RECORDS", value_parser = rate)]
    pub rate: Option<f64>,
    /// How long a batch waits for more records where there is a rate; Kafka's producers say 5ms.
    #[arg(long, default_value = "5ms", value_parser = duration)]
    pub linger: Duration,
}

/// How it is read.
#[derive(Args, Clone, Debug)]
pub struct Reading {
    /// Independent consumers, each of which reads everything (fan-out).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub consumers: u32,
    /// Bytes of one partition in one response at most; Kafka's consumers say 1048576.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = clap::value_parser!(i32).range(1..))]
    pub fetch_size: i32,
}

/// Whose acknowledgement counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Acks {
    /// All replicas in sync.
    All,
    /// The leader's.
    #[value(name = "1")]
    Leader,
    /// Nobody's: the brokers do not answer.
    #[value(name = "0")]
    Nobody,
}

impl Acks {
    /// On the wire.
    pub fn code(self) -> i16 {
        match self {
            Self::All => -1,
            Self::Leader => 1,
            Self::Nobody => 0,
        }
    }
}

/// Kafka's codecs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    /// As they are.
    None,
    /// gzip.
    Gzip,
    /// Snappy, in Kafka's framing.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::None,
            Codec::Gzip => Self::Gzip,
            Codec::Snappy => Self::Snappy,
            Codec::Lz4 => Self::Lz4,
            Codec::Zstd => Self::Zstd,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: f64 = digits
        .parse()
        .map_err(|_| format!("`{text}` is no duration; write 500ms, 30s, 2m or 1h"))?;
    let seconds = match &text[digits.len()..] {
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(format!("`{text}` has no unit; write 500ms, 30s, 2m or 1h")),
    };
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("`{text}`: {error}"))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err(format!(
            "`{text}` is no rate; it is records a second, from 0.001 to 1000000000"
        )),
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is no setting; write KEY=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        let refused = ["30", "s", "-1s", "5 s", "1d", "", "NaNs", "infs"];
        assert!(refused.iter().all(|text| duration(text).is_err()), "{refused:?}");
    }

    #[test]
    fn rates_and_settings_are_checked() {
        assert_eq!(rate("20000"), Ok(20_000.0));
        assert!(
            ["0", "-1", "x", "NaN", "inf"]
                .iter()
                .all(|text| rate(text).is_err())
        );
        assert_eq!(
            setting("min.insync.replicas=2"),
            Ok(("min.insync.replicas".to_owned(), "2".to_owned()))
        );
        assert!(setting("=2").is_err() && setting("x").is_err());
    }
}
