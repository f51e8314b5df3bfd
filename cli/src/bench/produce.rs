//! Connections that write.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use flotilla_protocol::messages::ProduceRequest;
use flotilla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use flotilla_protocol::{ErrorCode, Records};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::sleep_until;

use super::client::{self, Connection, Receiver, Sender};
use super::cluster::Partition;
use super::endpoint::Security;
use super::load::Batches;
use super::measure::Meter;
use super::options::{Acks, Load};
use super::schedule::{self, Next, Schedule};

/// How long a broker may take to have a write acknowledged, as Kafka's producers say.
const TIMEOUT_MS: i32 = 30_000;

/// What all connections that write have in common.
#[derive(Clone)]
pub struct Writing {
    /// What to write.
    pub load: Load,
    /// How to connect.
    pub security: Security,
    /// Of Produce.
    pub version: i16,
    /// Whether records say when they were due, for those who read them.
    pub stamped: bool,
    /// What was acknowledged.
    pub meter: Meter,
    /// When the run began: the first record is due then.
    pub began: Instant,
    /// Says when to stop.
    pub stop: watch::Receiver<bool>,
}

/// A request that was sent.
struct Sent {
    correlation_id: i32,
    partition: usize,
    records: u64,
    bytes: u64,
    due: Due,
}

/// When the records of a batch were due.
#[derive(Clone, Copy)]
enum Due {
    /// When there was room for them.
    At(Instant),
    /// One after the other.
    From(u64),
}

/// One connection: its partitions in turn, until the load stops or something fails.
pub struct Writer {
    writing: Writing,
    partitions: Rc<Vec<Partition>>,
    schedule: Option<Schedule>,
    /// The first record is due so long after the run began.
    offset: Duration,
}

impl Writer {
    /// `rate` is this connection's share, and `offset` keeps connections from writing all at the same moments.
    pub fn new(writing: Writing, partitions: Vec<Partition>, rate: Option<f64>, offset: Duration) -> Self {
        Self {
            writing,
            partitions: Rc::new(partitions),
            schedule: rate.map(Schedule::new),
            offset,
        }
    }

    /// Writes.
    pub async fn run(self, address: String) -> anyhow::Result<()> {
        let (sender, receiver) = Connection::open(&address, &self.writing.security).await?.split();
        let (sent, answers) = mpsc::unbounded_channel();
        let room = Rc::new(Semaphore::new(self.writing.load.in_flight as usize));
        let failed = Rc::new(Cell::new(false));
        let write = async {
            let written = self.write(sender, sent, &room, &failed).await;
            written.with_context(|| format!("broker {address}"))
        };
        let read = async {
            let read = self.read(receiver, answers, &room).await;
            if read.is_err() {
                // The other half would wait for room for ever.
                failed.set(true);
                room.close();
            }
            read.with_context(|| format!("broker {address}"))
        };
        let (written, read) = tokio::join!(write, read);
        read.and(written)
    }

    /// When record `number` is due.
    fn due(&self, schedule: &Schedule, number: u64) -> Duration {
        self.offset + schedule.due(number)
    }

    async fn write(
        &self,
        mut sender: Sender,
        sent: mpsc::UnboundedSender<Sent>,
        room: &Semaphore,
        failed: &Cell<bool>,
    ) -> anyhow::Result<()> {
        let Writing { load, began, .. } = &self.writing;
        let mut stop = self.writing.stop.clone();
        let mut batches = Batches::new(load);
        let (mut number, mut turn) = (0, 0);
        loop {
            let Ok(permit) = room.acquire().await else {
                // The other half says why.
                return Ok(());
            };
            let wanted = match &self.schedule {
                None => Some(batches.full()),
                Some(schedule) => self.wanted(schedule, number, batches.full(), &mut stop).await,
            };
            let Some(records) = wanted.filter(|_| !*stop.borrow() && !failed.get()) else {
                return Ok(());
            };
            let now = Instant::now();
            let batch = match (&self.schedule, self.writing.stamped) {
                (_, false) => batches.prepared(records),
                (Some(schedule), true) => {
                    batches.stamped((number..number + records).map(|number| self.due(schedule, number)))
                }
                (None, true) => batches.stamped((0..records).map(|_| now.duration_since(*began))),
            };
            let partition = turn % self.partitions.len();
            let bytes = batch.len() as u64;
            let request = self.request(partition, batch);
            let correlation_id = sender.send(self.writing.version, &request).await?;
            if load.acks == Acks::Nobody {
                self.writing.meter.count(records, bytes);
            } else {
                permit.forget();
                let due = match self.schedule {
                    None => Due::At(now),
                    Some(_) => Due::From(number),
                };
                // It ends only after this half, or with an error that the next turn finds.
                let _ = sent.send(Sent {
                    correlation_id,
                    partition,
                    records,
                    bytes,
                    due,
                });
            }
            number += records;
            turn += 1;
        }
    }

    /// Waits until a batch is due, and says of how many records; `None` when the load stops before.
    async fn wanted(
        &self,
        schedule: &Schedule,
        sent: u64,
        full: u64,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<u64> {
        let zero = self.writing.began + self.offset;
        loop {
            let elapsed = Instant::now().saturating_duration_since(zero);
            match schedule::next(schedule, sent, full, self.writing.load.linger, elapsed) {
                Next::Batch(records) => return Some(records),
                Next::At(due) => tokio::select! {
                    () = sleep_until((zero + due).into()) => {}
                    _ = stop.changed() => return None,
                },
            }
        }
    }

    fn request(&self, partition: usize, batch: Bytes) -> ProduceRequest {
        let Partition { topic, index } = &self.partitions[partition];
        ProduceRequest {
            transactional_id: None,
            acks: self.writing.load.acks.code(),
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![TopicProduceData {
                name: topic.clone(),
                partition_data: vec![PartitionProduceData {
                    index: *index,
                    records: Some(Records::from(batch)),
                }],
                ..TopicProduceData::default()
            }],
        }
    }

    async fn read(
        &self,
        mut receiver: Receiver,
        mut sent: mpsc::UnboundedReceiver<Sent>,
        room: &Semaphore,
    ) -> anyhow::Result<()> {
        while let Some(request) = sent.recv().await {
            let response = receiver.receive().await?;
            let now = Instant::now();
            let response =
                client::decode::<ProduceRequest>(response, self.writing.version, request.correlation_id)?;
            for partition in response
                .responses
                .iter()
                .flat_map(|topic| &topic.partition_responses)
            {
                if partition.error_code != 0 {
                    let Partition { topic, index } = &self.partitions[request.partition];
                    bail!(
                        "partition {topic}-{index} refuses a batch: {:?} {}",
                        ErrorCode::from(partition.error_code),
                        partition.error_message.as_deref().unwrap_or_default()
                    );
                }
            }
            self.count(&request, now);
            room.add_permits(1);
        }
        Ok(())
    }

    fn count(&self, request: &Sent, now: Instant) {
        let meter = &self.writing.meter;
        meter.count(request.records, request.bytes);
        match (request.due, &self.schedule) {
            (Due::From(first), Some(schedule)) => {
                for number in first..first + request.records {
                    let due = self.writing.began + self.due(schedule, number);
                    meter.took(now.saturating_duration_since(due), 1);
                }
            }
            (Due::At(due), _) => meter.took(now.saturating_duration_since(due), request.records),
            (Due::From(_), None) => unreachable!("records are numbered only where there is a rate"),
        }
    }
}
