//! An exactly-once chain: source topics, an application with state, in two instances, and sink topics, while brokers and instances are
//! killed at random. `just test-exactly-once` plays it for ten minutes and writes `docs/exactly-once.md`; `FLOTILLA_CHAIN_SECONDS` says how
//! long it goes on otherwise.

use std::time::{Duration, Instant};

use super::{instance, work};
use crate::fleet::Fleet;
use crate::machine;
use crate::process::Process;
use crate::system::{fleet_of_three, kill_broker};
use crate::{committed::Reader, feed};

const SECONDS: &str = "FLOTILLA_CHAIN_SECONDS";
const REPORT: &str = "FLOTILLA_REPORT";
/// How long the application may take for what is left once the kills are over.
const DRAINED_WITHIN: Duration = Duration::from_secs(300);
const BROKERS: u64 = 3;
const INSTANCES: u64 = 2;

/// How often something was killed.
#[derive(Default)]
struct Kills {
    brokers: u32,
    instances: u32,
}

#[test]
fn chain_of_streams_loses_and_doubles_nothing_while_brokers_and_instances_are_killed() {
    let seconds = std::env::var(SECONDS).map_or(40, |text| text.parse().expect("a number of seconds"));
    let lasts = Duration::from_secs(seconds);
    let fleet = fleet_of_three(&work::TOPICS);
    let bootstrap = fleet.bootstrap();
    let work = work::Work::begin(bootstrap);
    let directories = [(); INSTANCES as usize].map(|()| tempfile::tempdir().expect("a directory for state"));
    let mut instances = directories
        .each_ref()
        .map(|directory| instance(bootstrap, directory.path(), &[]));
    let started = Instant::now();
    let (written, kills) = feed::beside(
        |number| work.give(number),
        || {
            kill_at_random(&fleet, lasts, &mut instances, |which| {
                instance(bootstrap, directories[which].path(), &[])
            })
        },
    );
    work.finish(written);
    let wrote_for = started.elapsed();
    let drained = Instant::now();
    let (counts, joined) = work::wait_until_done(bootstrap, written, DRAINED_WITHIN);
    let drained = drained.elapsed();
    for mut instance in instances {
        instance.ask("stop");
    }
    work::check(bootstrap, written);
    assert!(kills.brokers > 0 && kills.instances > 0, "both kinds were killed");
    report(&[
        (
            "lines and orders acknowledged in the sources",
            (2 * written).to_string(),
        ),
        (
            "counts committed to the sink, each once and in order",
            counts.to_string(),
        ),
        (
            "orders joined and committed to the sink, each once and in order",
            joined.to_string(),
        ),
        ("lost or doubled", "0".to_owned()),
        ("kills of brokers", kills.brokers.to_string()),
        (
            "kills of instances of the application",
            kills.instances.to_string(),
        ),
        (
            "how long records were written",
            format!("{} s", wrote_for.as_secs()),
        ),
        (
            "until all was in the sinks after that",
            format!("{} s", drained.as_secs()),
        ),
    ]);
}

/// Kills a broker or an instance every three to eight seconds, and once each of both kinds at least.
fn kill_at_random(
    fleet: &Fleet,
    lasts: Duration,
    instances: &mut [Process],
    again: impl Fn(usize) -> Process,
) -> Kills {
    // The first kill comes when there is something to lose.
    let started = Instant::now();
    Reader::of(fleet.bootstrap(), "counts").wait_for(1, DRAINED_WITHIN);
    println!("the first count came after {} s", started.elapsed().as_secs());
    let (began, mut kills) = (Instant::now(), Kills::default());
    let mut dice = u64::from(std::process::id()) | 1;
    while began.elapsed() < lasts || kills.brokers == 0 || kills.instances == 0 {
        // Xorshift: which one, and when, need not be told beforehand.
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        std::thread::sleep(Duration::from_millis(3_000 + dice % 5_000));
        let which = (dice >> 32) % (BROKERS + INSTANCES);
        if which < BROKERS {
            kill_broker(fleet, which as i64);
            kills.brokers += 1;
        } else {
            let which = (which - BROKERS) as usize;
            instances[which].kill();
            instances[which] = again(which);
            kills.instances += 1;
        }
    }
    kills
}

/// Tells what came out, also to the file that the environment names.
fn report(rows: &[(&str, String)]) {
    let rows: String = rows
        .iter()
        .map(|(what, value)| format!("| {what} | {value} |\n"))
        .collect();
    let text = format!(
        "# An exactly-once chain under kills\n\n\
         `just test-exactly-once` on {} UTC (commit {}, {} cores, {}): Kafka Streams 4.3.1 with\n\
         `exactly_once_v2`, in two instances of two threads, counts words over a repartition topic and joins orders with a table, on three\n\
         brokers with `min.insync.replicas=2`; every three to eight seconds a `kill -9` of a broker or an instance. The sinks are read with\n\
         `read_committed` and compared, key by key and in order, with what must come of the sources.\n\n\
         | what | |\n| --- | --- |\n{rows}",
        machine::date(),
        machine::commit(),
        machine::cores(),
        if cfg!(debug_assertions) {
            "a debug build"
        } else {
            "a release build"
        },
    );
    println!("{text}");
    if let Ok(path) = std::env::var(REPORT) {
        std::fs::write(path, text).expect("write the report");
    }
}
