//! The paths, each as often as it is told, on sixteen records of 1,000 bytes in one batch: what a producer of Kafka's sends at once.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::BytesMut;
use flotilla_broker::log::{Config, Log, OpenOptions, RealDisk, Storage};
use flotilla_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use flotilla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use flotilla_protocol::messages::{FetchResponse, ProduceRequest};
use flotilla_protocol::records::{BatchBuilder, Origin, check};
use flotilla_protocol::{ApiKey, LeaderEpoch, Message as _, Offset, Records, Uuid, frame};

/// A path.
pub struct Path {
    pub name: &'static str,
    pub what: &'static str,
    /// Prepares, and then does it so often.
    pub run: fn(u32) -> anyhow::Result<()>,
}

/// All of them.
pub const PATHS: [Path; 5] = [
    Path {
        name: "parse",
        what: "a Produce request is read and its batch checked",
        run: parse,
    },
    Path {
        name: "append",
        what: "a batch gets its offsets and is written to the log",
        run: append,
    },
    Path {
        name: "fetch-memory",
        what: "a batch is read from the end of the log, in memory",
        run: |rounds| fetch(rounds, Where::Memory),
    },
    Path {
        name: "fetch-disk",
        what: "a batch is read from the log's file and checked",
        run: |rounds| fetch(rounds, Where::Disk),
    },
    Path {
        name: "encode",
        what: "a Fetch response with one batch is written",
        run: encode,
    },
];

const RECORDS: usize = 16;
const RECORD_BYTES: usize = 1_000;
/// The newest versions that name topics instead of numbering them.
const PRODUCE: i16 = 12;
const FETCH: i16 = 12;
/// More than the log keeps in memory.
const BATCHES_ON_DISK: usize = 128;

fn batch() -> BytesMut {
    let mut builder = BatchBuilder::new(Offset(0));
    let value = [b'x'; RECORD_BYTES];
    for _ in 0..RECORDS {
        builder.push(0, None, Some(&value), &[]);
    }
    builder.build()
}

fn parse(rounds: u32) -> anyhow::Result<()> {
    let request = ProduceRequest {
        acks: 1,
        topic_data: vec![TopicProduceData {
            name: "orders".into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(Records::from(batch().freeze())),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    let segments = frame::request(PRODUCE, 1, Some(&"client".into()), &request)?;
    let sent: Vec<u8> = segments.concat();
    for _ in 0..rounds {
        let mut received = BytesMut::from(sent.as_slice());
        let frame = frame::split(&mut received, sent.len())?.context("a whole frame")?;
        let (header, mut body) = frame::decode_request(frame)?;
        let request = ProduceRequest::decode(&mut body, header.api_version)?;
        let records = request.topic_data[0].partition_data[0]
            .records
            .as_ref()
            .context("its records")?;
        let records = records.clone().into_bytes();
        black_box(check(&records, Origin::Producer)?);
    }
    Ok(())
}

/// A log in a directory that goes with it.
struct Scratch {
    log: Log,
    _directory: tempfile::TempDir,
}

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let storage = Storage::new(Arc::new(RealDisk::new(RealDisk::OPEN_FILES_MAX)));
        let options = OpenOptions {
            topic_id: Uuid([1; 16]),
            config: Config::default(),
            now_ms: 0,
            clean: true,
            start_offset: None,
            recovery_point: None,
        };
        let (log, _) = Log::open(&storage, &directory.path().join("orders-0"), options, &mut |_| {})?;
        Ok(Self {
            log,
            _directory: directory,
        })
    }

    fn append(&mut self, batch: BytesMut) -> anyhow::Result<()> {
        black_box(self.log.append_leader(batch, LeaderEpoch(0), 0)?);
        Ok(())
    }
}

fn append(rounds: u32) -> anyhow::Result<()> {
    let (mut scratch, batch) = (Scratch::new()?, batch());
    for _ in 0..rounds {
        scratch.append(BytesMut::from(&batch[..]))?;
    }
    Ok(())
}

/// Where the batch lies that is read.
enum Where {
    Memory,
    Disk,
}

fn fetch(rounds: u32, place: Where) -> anyhow::Result<()> {
    let (mut scratch, batch) = (Scratch::new()?, batch());
    for _ in 0..BATCHES_ON_DISK {
        scratch.append(BytesMut::from(&batch[..]))?;
    }
    let end = scratch.log.log_end();
    let from = match place {
        Where::Memory => end.plus(-(RECORDS as i64)),
        Where::Disk => scratch.log.log_start(),
    };
    for _ in 0..rounds {
        let read = scratch.log.read(from, batch.len(), end, true)?;
        anyhow::ensure!(read.size_bytes == batch.len(), "one batch is read, not {read:?}");
        black_box(read);
    }
    Ok(())
}

fn encode(rounds: u32) -> anyhow::Result<()> {
    let batch = batch().freeze();
    for _ in 0..rounds {
        let response = FetchResponse {
            responses: vec![FetchableTopicResponse {
                topic: "orders".into(),
                partitions: vec![PartitionData {
                    records: Some(Records::from(batch.clone())),
                    ..PartitionData::default()
                }],
                ..FetchableTopicResponse::default()
            }],
            ..FetchResponse::default()
        };
        black_box(frame::response(ApiKey::Fetch, FETCH, 1, &response)?);
    }
    Ok(())
}
