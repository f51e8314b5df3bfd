//! Connections that read.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, bail};
use flotilla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use flotilla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use flotilla_protocol::messages::{FetchRequest, ListOffsetsRequest};
use flotilla_protocol::records::parse_batches;
use flotilla_protocol::{ErrorCode, Str};
use tokio::sync::watch;

use super::client::{self, Connection};
use super::cluster::{Partition, Versions};
use super::endpoint::Security;
use super::load;
use super::measure::Meter;
use super::options::Reading;

/// ListOffsets' timestamps for the beginning and the end of a log.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// As Kafka's consumers say: `fetch.max.wait.ms`, `fetch.min.bytes`, `fetch.max.bytes`.
const WAIT_MS: i32 = 500;
const BYTES_MIN: i32 = 1;
const BYTES_MAX: i32 = 50 << 20;
/// Everything is asked for each time, without a session (KIP-227).
const NO_SESSION: i32 = -1;

/// What all connections that read have in common.
#[derive(Clone)]
pub struct ReadPlan {
    /// How to read.
    pub reading: Reading,
    /// How to connect.
    pub security: Security,
    /// Of Fetch and ListOffsets.
    pub versions: Versions,
    /// Where to read, and what of it counts.
    pub from: From,
    /// What was read.
    pub meter: Meter,
    /// When the run began.
    pub began: Instant,
    /// Says when to stop.
    pub stop: watch::Receiver<bool>,
}

/// Where to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// All that is there, and again.
    Beginning,
    /// What is written from now on, whose records say when they were due.
    End,
}

/// One partition as it is read.
#[derive(Clone, Copy, Debug)]
struct Place {
    beginning: i64,
    end: i64,
    next: i64,
}

type Places = BTreeMap<(Str, i32), Place>;

/// A connection that knows where to read.
pub struct Reader {
    plan: ReadPlan,
    connection: Connection,
    address: String,
    places: Places,
}

impl Reader {
    /// Connects, and looks where the partitions begin and end.
    pub async fn open(plan: ReadPlan, address: String, partitions: &[Partition]) -> anyhow::Result<Self> {
        let mut connection = Connection::open(&address, &plan.security).await?;
        let beginnings = offsets(&mut connection, &plan, partitions, EARLIEST).await?;
        let ends = offsets(&mut connection, &plan, partitions, LATEST).await?;
        let places: Places = beginnings
            .into_iter()
            .zip(ends.into_values())
            .map(|((partition, beginning), end)| {
                let next = match plan.from {
                    From::Beginning => beginning,
                    From::End => end,
                };
                (partition, Place { beginning, end, next })
            })
            .collect();
        Ok(Self {
            plan,
            connection,
            address,
            places,
        })
    }

    /// How many records are there to read, as far as offsets tell.
    pub fn available(&self) -> u64 {
        let count = |place: &Place| u64::try_from(place.end - place.beginning).unwrap_or(0);
        self.places.values().map(count).sum()
    }

    /// Reads until the load stops or something fails.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut stop = self.plan.stop.clone();
        if self.plan.from == From::Beginning {
            self.places.retain(|_, place| place.end > place.beginning);
        }
        loop {
            let request = self.request();
            let version = self.plan.versions.fetch;
            let answered = tokio::select! {
                answered = self.connection.call(version, &request) => answered,
                _ = stop.changed() => return Ok(()),
            };
            let response = answered.with_context(|| format!("broker {}", self.address))?;
            client::check(response.error_code)?;
            let now = Instant::now();
            let (mut records, mut bytes) = (0, 0);
            for topic in response.responses {
                for partition in topic.partitions {
                    let index = partition.partition_index;
                    if partition.error_code != 0 {
                        let error = ErrorCode::from(partition.error_code);
                        bail!("partition {}-{index} cannot be read: {error:?}", topic.topic);
                    }
                    let Some(place) = self.places.get_mut(&(topic.topic.clone(), index)) else {
                        bail!(
                            "the broker answers for {}-{index}, which was not asked for",
                            topic.topic
                        );
                    };
                    let data = partition.records.unwrap_or_default().into_bytes();
                    bytes += data.len() as u64;
                    records += take(&self.plan, place, &data, now)?;
                }
            }
            if records > 0 {
                self.plan.meter.count(records, bytes);
            }
        }
    }

    fn request(&self) -> FetchRequest {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for ((topic, partition), place) in &self.places {
            if topics.last().is_none_or(|last| last.topic != *topic) {
                topics.push(FetchTopic {
                    topic: topic.clone(),
                    ..FetchTopic::default()
                });
            }
            let last = topics.last_mut().expect("one was just added, if there was none");
            last.partitions.push(FetchPartition {
                partition: *partition,
                current_leader_epoch: -1,
                fetch_offset: place.next,
                last_fetched_epoch: -1,
                log_start_offset: -1,
                partition_max_bytes: self.plan.reading.fetch_size,
                ..FetchPartition::default()
            });
        }
        FetchRequest {
            replica_id: -1,
            max_wait_ms: WAIT_MS,
            min_bytes: BYTES_MIN,
            max_bytes: BYTES_MAX,
            session_epoch: NO_SESSION,
            topics,
            ..FetchRequest::default()
        }
    }
}

/// Looks at what came of one partition: how many records, how old, and where to go on.
fn take(plan: &ReadPlan, place: &mut Place, data: &[u8], now: Instant) -> anyhow::Result<u64> {
    let mut records = 0;
    for batch in parse_batches(data) {
        // The last batch may be cut off.
        let Ok((_, header, batch)) = batch else { break };
        place.next = header.next_offset().0;
        if header.is_control() {
            continue;
        }
        records += u64::try_from(header.records_count).unwrap_or(0);
        if plan.from == From::End {
            for age in load::ages(batch, &header, plan.began, now)? {
                plan.meter.took(age, 1);
            }
        }
    }
    if plan.from == From::Beginning && place.next >= place.end {
        place.next = place.beginning;
    }
    Ok(records)
}

async fn offsets(
    connection: &mut Connection,
    plan: &ReadPlan,
    partitions: &[Partition],
    timestamp: i64,
) -> anyhow::Result<BTreeMap<(Str, i32), i64>> {
    let mut topics: BTreeMap<&Str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for partition in partitions {
        topics
            .entry(&partition.topic)
            .or_default()
            .push(ListOffsetsPartition {
                partition_index: partition.index,
                current_leader_epoch: -1,
                timestamp,
            });
    }
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: topics
            .into_iter()
            .map(|(name, partitions)| ListOffsetsTopic {
                name: name.clone(),
                partitions,
            })
            .collect(),
        ..ListOffsetsRequest::default()
    };
    let response = connection.call(plan.versions.list_offsets, &request).await?;
    let mut found = BTreeMap::new();
    for topic in response.topics {
        for partition in topic.partitions {
            client::check(partition.error_code)
                .with_context(|| format!("partition {}-{}", topic.name, partition.partition_index))?;
            found.insert((topic.name.clone(), partition.partition_index), partition.offset);
        }
    }
    if found.len() != partitions.len() {
        bail!(
            "the broker told the ends of {} of {} partitions",
            found.len(),
            partitions.len()
        );
    }
    Ok(found)
}
