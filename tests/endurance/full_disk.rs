//! The disk of one of three brokers is full for a long time, half of it to the last byte: what it leads can be read and not written,
//! what it follows goes on without it, and all comes back by itself when there is room.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flotilla_control::BrokerId;
use flotilla_operator::fleet::View;
use flotilla_protocol::messages::ProduceRequest;
use flotilla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use flotilla_protocol::records::BatchBuilder;
use flotilla_protocol::{ErrorCode, Offset, Str};

use crate::eventually::eventually;
use crate::figures::{Figures, ms};
use crate::fleet::{Fleet, manifests};
use crate::kafka::read_all;
use crate::probe::{Probe, audit, client};
use crate::raw::Connection;
use crate::report;
use crate::sight::{Sight, epoch};
use crate::volumes::{Volumes, data_of};

const BROKERS: i32 = 3;
const PARTITIONS: i32 = 3;
/// The broker whose disk becomes full.
const FULL: i32 = 1;
const WHOLE_WITHIN: Duration = Duration::from_secs(120);
/// Partitions that the full broker only follows take records again within this.
const TARGET: Duration = Duration::from_secs(10);
/// Writes come back within this once there is room: space is looked at every second, and clients wait a little between attempts.
const BACK_TARGET: Duration = Duration::from_secs(10);

#[test]
fn full_disk_refuses_writes_serves_reads_and_heals_by_itself() {
    let seconds = report::argument("FLOTILLA_SECONDS", 40);
    let volumes = Volumes::make(&[(0, 1024), (1, 256), (2, 1024)]);
    let mut fleet = Fleet::prepare(&manifests(
        3,
        &[
            ("orders", PARTITIONS as u32, 3),
            ("by-hand", PARTITIONS as u32, 3),
        ],
    ));
    volumes.up(&mut fleet);
    let sight = Sight::of(&fleet);
    // A record waits as long as it must: after five minutes, as it comes, librdkafka gives up, and its idempotent producer for good.
    let mut patient = client(fleet.bootstrap());
    patient.set("message.timeout.ms", "0");
    let probe = Probe::start_as(patient, "orders", PARTITIONS, Duration::from_millis(20), 0);
    probe.warmed_up(PARTITIONS);
    let before = sight.wait_even(WHOLE_WITHIN, BROKERS);
    let (led, pid) = (led_by(&before, "orders"), fleet.pid_of(i64::from(FULL)));
    let by_hand = led_by(&before, "by-hand");
    let leader = address(&fleet, FULL);
    let reader = Reader::start(fleet.bootstrap(), probe.acknowledged() / 2);

    let ballast = Ballast::at(&fleet.seen_by_up(&data_of(&fleet, i64::from(FULL))));
    let full = Instant::now();
    let end = full + Duration::from_secs(seconds);
    let to_the_last_byte = full + Duration::from_secs(seconds) / 2;
    ballast.leave(32 << 20);
    eventually(
        Duration::from_secs(10),
        "the volume to be full",
        || match produce(&leader, by_hand) {
            Some(ErrorCode::KafkaStorageError) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    );
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let mut told = full;
    while Instant::now() < end {
        if Instant::now() >= to_the_last_byte {
            ballast.leave(0);
        }
        let answer =
            produce(&leader, by_hand).map_or_else(|| "no answer".to_owned(), |code| format!("{code:?}"));
        *answers.entry(answer).or_default() += 1;
        if told.elapsed() > Duration::from_secs(30) {
            told = Instant::now();
            println!(
                "full for {} s: {answers:?}, {} passes of reading, {} records acknowledged",
                full.elapsed().as_secs(),
                reader.passes(),
                probe.acknowledged()
            );
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let log = fleet.broker_log(i64::from(FULL));
    let during = sight.now();
    assert_eq!(fleet.pid_of(i64::from(FULL)), pid, "the broker stays up:\n{log}");
    assert!(during.online(BrokerId(FULL)), "the broker serves");
    assert_eq!(epoch(&during, FULL), epoch(&before, FULL), "it was never lost");

    ballast.remove();
    let room = Instant::now();
    let back = probe
        .resumed(room, PARTITIONS, WHOLE_WITHIN)
        .expect("writes come back");
    sight.wait_whole(WHOLE_WITHIN, BROKERS);
    let whole = room.elapsed();
    // By now those are answered, too, that waited all the while.
    assert!(probe.settled(room, WHOLE_WITHIN), "a produce is not answered");
    let others = Figures::of(probe.waits_of(full, |partition| partition != led));
    let reads = reader.finish();
    let failures = probe.failures();
    let produced = probe.finish();
    let audit = audit(fleet.bootstrap(), "orders", &produced);
    println!(
        "answers of the full leader: {answers:?}; failures at the client: {}",
        failures.len()
    );
    assert!(
        audit.lost.is_empty() && audit.out_of_order.is_empty(),
        "{audit:?}"
    );
    let refused = answers.get("KafkaStorageError").copied().unwrap_or_default();
    assert_eq!(
        answers.len(),
        1,
        "the full leader answers with Kafka's error and no other: {answers:?}"
    );
    assert!(refused > 0 && reads.len() > 1);
    assert!(fleet.stop().success());
    volumes.wait_until_unmounted();
    let met = others.max() <= TARGET && back <= BACK_TARGET;
    report::add(
        "Full disk",
        &[
            seconds.to_string(),
            refused.to_string(),
            reads.len().to_string(),
            ms(reads.max()),
            others.len().to_string(),
            ms(others.max()),
            ms(back),
            ms(whole),
        ],
        met,
    );
    // Seconds where there were half a minute and more: that much can be told on a busy machine, too.
    assert!(met, "others waited {:?}, back after {back:?}", others.max());
}

/// The partition of a topic that the broker leads whose disk becomes full.
fn led_by(view: &View, topic: &str) -> i32 {
    let topic = view.topic(topic).expect("the topic");
    let led = topic.partitions.iter().find(|partition| partition.leader == FULL);
    led.expect("each broker leads one").partition
}

/// Where a broker serves clients.
fn address(fleet: &Fleet, broker: i32) -> String {
    let status = fleet.status().expect("the status of the fleet");
    let brokers = status["brokers"].as_array().expect("brokers");
    let found = brokers.iter().find(|candidate| candidate["id"] == broker);
    let address = found.expect("the broker is known")["bootstrap"].as_str();
    address.expect("an address").to_owned()
}

/// One record by hand, for the very code of the answer. `None`: there was none.
fn produce(leader: &str, partition: i32) -> Option<ErrorCode> {
    let mut batch = BatchBuilder::new(Offset(0));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ms = now.expect("it is after 1970").as_millis() as i64;
    batch.push(now_ms, None, Some(b"a record"), &[]);
    let request = ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 5_000,
        topic_data: vec![TopicProduceData {
            name: Str::from_static("by-hand"),
            partition_data: vec![PartitionProduceData {
                index: partition,
                records: Some(batch.build().freeze().into()),
            }],
            ..TopicProduceData::default()
        }],
    };
    let answer = Connection::open(leader).call(9, &request).ok()?;
    let answered = answer.responses.first()?.partition_responses.first()?;
    Some(ErrorCode::from(answered.error_code))
}

/// A file that takes the room away.
struct Ballast(PathBuf);

impl Ballast {
    fn at(directory: &Path) -> Self {
        Self(directory.join("lost+found/ballast"))
    }

    /// Grows until no more than so many bytes are free.
    fn leave(&self, free_bytes: u64) {
        let file = File::options()
            .create(true)
            .append(true)
            .open(&self.0)
            .expect("a ballast");
        loop {
            let space = rustix::fs::statvfs(&self.0).expect("the file system tells its space");
            let free = space.f_bavail * space.f_frsize;
            if free <= free_bytes {
                return;
            }
            let size = file.metadata().expect("it is there").len();
            // In small steps: where the whole does not fit any more, a part of it does.
            let step = (free - free_bytes).min(8 << 20);
            if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), size, step).is_err() {
                return;
            }
        }
    }

    fn remove(&self) {
        std::fs::remove_file(&self.0).expect("remove the ballast");
    }
}

/// Reads the topic from its beginning, again and again.
struct Reader {
    stop: Arc<AtomicBool>,
    passes: Arc<std::sync::Mutex<Vec<Duration>>>,
    thread: std::thread::JoinHandle<()>,
}

impl Reader {
    /// Each pass finds at least so many records.
    fn start(bootstrap: &str, at_least: usize) -> Self {
        let (stop, passes) = (
            Arc::<AtomicBool>::default(),
            Arc::<std::sync::Mutex<Vec<Duration>>>::default(),
        );
        let thread = std::thread::spawn({
            let (stop, passes, bootstrap) = (stop.clone(), passes.clone(), bootstrap.to_owned());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let read = read_all(&client(&bootstrap), "orders").len();
                    assert!(read >= at_least, "{read} records read, and {at_least} were there");
                    passes.lock().expect("not poisoned").push(begun.elapsed());
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        });
        Self { stop, passes, thread }
    }

    fn passes(&self) -> usize {
        self.passes.lock().expect("not poisoned").len()
    }

    fn finish(self) -> Figures {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("every pass finds what was there");
        Figures::of(self.passes.lock().expect("not poisoned").iter().copied())
    }
}
