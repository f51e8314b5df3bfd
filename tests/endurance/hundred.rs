//! A hundred brokers on one machine, from `examples/hundred`: how soon they are ready, what they need while nothing happens, and how
//! soon the partitions of one that is killed have other leaders.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use flotilla_operator::fleet::View;
use rustix::process::Signal;

use crate::figures::{Figures, ms};
use crate::fleet::{Fleet, signal};
use crate::probe::{Probe, audit};
use crate::reading::Reading;
use crate::report;
use crate::sight::Sight;

const TOPIC: &str = "orders";
/// From the start of `up` to its line `ready:`.
const READY_TARGET: Duration = Duration::from_secs(60);
/// Of all brokers together, what they share counted for each.
const RESIDENT_MB_MAX: f64 = 4.0 * 1_073.741_824;
/// Processor time of all brokers while no client is there, in cores.
const IDLE_CORES_MAX: f64 = 0.5;
/// From the kill of a broker until each partition that it led has another leader.
const REPLACED_TARGET: Duration = Duration::from_secs(3);
const WHOLE_WITHIN: Duration = Duration::from_secs(300);
/// Between two records.
const INTERVAL: Duration = Duration::from_millis(5);
const VALUE_BYTES: usize = 1_000;

#[test]
fn hundred_brokers_start_idle_serve_and_replace_a_leader() {
    let brokers = report::argument("FLOTILLA_BROKERS", 5) as i32;
    let partitions = report::argument("FLOTILLA_PARTITIONS", 20) as i32;
    let kills = report::argument("FLOTILLA_KILLS", 1) as i32;
    let idle = Duration::from_secs(report::argument("FLOTILLA_SECONDS", 5));

    let mut fleet = Fleet::prepare(&manifests(brokers, partitions));
    let begun = Instant::now();
    fleet.up();
    let ready = begun.elapsed();
    let sight = Sight::of(&fleet);
    sight.wait(WHOLE_WITHIN, "the topic", |view| {
        view.partitions().count() == partitions as usize
    });
    sight.wait_whole(WHOLE_WITHIN, brokers);
    println!(
        "{brokers} brokers are ready after {} ms, and {partitions} partitions in sync after {} ms",
        ms(ready),
        ms(begun.elapsed())
    );

    let pids: Vec<u32> = (0..brokers).map(|id| fleet.pid_of(i64::from(id))).collect();
    let before = Reading::of(&pids);
    std::thread::sleep(idle);
    let after = Reading::of(&pids);
    let cores = (after.cpu_s - before.cpu_s) / idle.as_secs_f64();
    println!("idle: {cores:.2} cores, {:.0} MB", after.resident_mb);

    let probe = Probe::start_as(
        crate::probe::client(fleet.bootstrap()),
        TOPIC,
        partitions,
        INTERVAL,
        VALUE_BYTES,
    );
    probe.warmed_up(partitions);
    let served = Reading::of(&pids).resident_mb;
    let replaced = Figures::of((0..kills).map(|kill| {
        let view = sight.wait_whole(WHOLE_WITHIN, brokers);
        let took = replaced(&fleet, &sight, victim(&view, kill));
        println!(
            "kill {} of {kills}: other leaders after {} ms",
            kill + 1,
            ms(took)
        );
        took
    }));
    let produced = probe.finish();
    let audit = audit(fleet.bootstrap(), TOPIC, &produced);
    assert!(audit.is_clean(), "{audit:?}");

    let met = ready <= READY_TARGET
        && cores < IDLE_CORES_MAX
        && served.max(after.resident_mb) < RESIDENT_MB_MAX
        && replaced.max() <= REPLACED_TARGET;
    report::add(
        "A hundred brokers",
        &[
            brokers.to_string(),
            partitions.to_string(),
            ms(ready),
            format!("{cores:.2}"),
            format!("{:.0}", after.resident_mb),
            format!("{served:.0}"),
            replaced.len().to_string(),
            ms(replaced.percentile(50.0)),
            ms(replaced.max()),
            audit.acknowledged.to_string(),
        ],
        met,
    );
    assert!(met || !report::is_judged(), "the targets are not met");
}

/// Those of the example, with so many brokers and partitions.
fn manifests(brokers: i32, partitions: i32) -> BTreeMap<String, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hundred");
    let of = |file: &str, from: &str, to: String| {
        let path = directory.join(file);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.contains(from), "{} has no `{from}`", path.display());
        (file.to_owned(), text.replace(from, &to))
    };
    BTreeMap::from([
        of("cluster.yaml", "replicas: 100", format!("replicas: {brokers}")),
        of(
            "topics.yaml",
            "partitions: 1000",
            format!("partitions: {partitions}"),
        ),
    ])
}

/// A broker that leads a partition and not the quorum: another one with each kill.
fn victim(view: &View, kill: i32) -> i32 {
    let leaders: Vec<i32> = view
        .partitions()
        .map(|partition| partition.leader)
        .filter(|leader| Some(*leader) != view.controller)
        .collect();
    leaders[kill as usize % leaders.len()]
}

/// Kills a broker, and says how long it took until it led nothing any more.
fn replaced(fleet: &Fleet, sight: &Sight, victim: i32) -> Duration {
    // While `up` sleeps it starts nothing: a broker that comes back at once leads again.
    signal(fleet.up_pid(), Signal::STOP);
    let killed = Instant::now();
    signal(fleet.pid_of(i64::from(victim)), Signal::KILL);
    sight.wait(WHOLE_WITHIN, "other leaders", |view| {
        view.partitions()
            .all(|partition| partition.leader >= 0 && partition.leader != victim)
    });
    let took = killed.elapsed();
    signal(fleet.up_pid(), Signal::CONT);
    took
}
