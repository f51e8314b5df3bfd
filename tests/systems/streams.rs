//! Kafka Streams: an application with state, killed together with brokers.

mod chain;
mod work;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::committed::Reader;
use crate::eventually::eventually;
use crate::fleet::Fleet;
use crate::process::Process;
use crate::system::{System, kill_broker};
use crate::{feed, java, topics, words};
use work::Work;

const STREAMS: System = System {
    name: "Kafka Streams",
    version: "4.3.1",
};
const RAN: &str = "word count and stream-table join with exactly_once_v2, two threads; kill -9 of a broker, of the application, and of both \
                   while it works: every count once and in order, every order joined once; state read by interactive queries, also \
                   rebuilt from its changelog alone; changelogs compacted, repartition topic purged";
const STREAMS_GROUP: System = System {
    name: "Kafka Streams with `group.protocol=streams`",
    version: "4.3.1",
};
const RAN_AS_STREAMS_GROUP: &str = "the same application as a streams group (KIP-1071): its repartition topic and changelogs created and its \
                                    tasks assigned by the coordinator; kill -9 of a broker, of the application, and of both while it works: \
                                    every count once and in order, every order joined once; state read by interactive queries, also rebuilt \
                                    from its changelog alone";
/// Members that were killed are put out as soon as those of the classic protocol.
const PROMPT: [(&str, &str); 5] = [
    ("group.streams.min.session.timeout.ms", "6000"),
    ("group.streams.session.timeout.ms", "6000"),
    ("group.streams.min.heartbeat.interval.ms", "1000"),
    ("group.streams.heartbeat.interval.ms", "1000"),
    ("group.streams.initial.rebalance.delay.ms", "200"),
];
const REPARTITION: &str = "words-words-repartition";
/// So many counts are written between two kills.
const BETWEEN: usize = 2_000;
const WITHIN: Duration = Duration::from_secs(90);

#[test]
fn streams_counts_and_joins_exactly_once_through_kills_and_finds_its_state_again() {
    STREAMS.test(&work::TOPICS, RAN, |fleet| counts_and_joins(fleet, &[], |_| ()));
}

#[test]
fn a_streams_group_counts_and_joins_exactly_once_through_kills_and_finds_its_state_again() {
    STREAMS_GROUP.test_with(&PROMPT, &work::TOPICS, RAN_AS_STREAMS_GROUP, |fleet| {
        counts_and_joins(fleet, &["group.protocol=streams"], every_task_is_active_once);
    });
}

fn counts_and_joins(fleet: &Fleet, settings: &[&str], look_at_group: impl FnOnce(&mut Process)) {
    let directory = tempfile::tempdir().expect("a directory");
    let bootstrap = fleet.bootstrap();
    let work = Work::begin(bootstrap);
    let (written, mut application) = feed::beside(
        |number| work.give(number),
        || killed_while_it_works(fleet, directory.path(), settings),
    );
    work.finish(written);
    work::wait_until_done(bootstrap, written, WITHIN);
    assert_eq!(state(&mut application), words::counts(written));
    internal_topics_are_as_streams_wants_them(bootstrap);
    look_at_group(&mut application);
    application.ask("stop");
    drop(application);

    std::fs::remove_dir_all(directory.path().join("state")).expect("forget the state");
    let mut application = start(bootstrap, directory.path(), settings);
    assert_eq!(
        state(&mut application),
        words::counts(written),
        "from the changelog"
    );
    application.ask("stop");
    work::check(bootstrap, written);
}

/// An instance of the application, with its state there, and further settings.
fn instance(bootstrap: &str, directory: &Path, settings: &[&str]) -> Process {
    let state = directory.join("state");
    std::fs::create_dir_all(&state).expect("a directory for state");
    let mut command = java::jvm("streams", directory, &["-Xmx256m"]);
    command
        .arg(java::program("streams/Application.java"))
        .arg(bootstrap)
        .arg(state)
        .args(settings);
    Process::start("Kafka Streams", &mut command)
}

/// The same, once it runs.
fn start(bootstrap: &str, directory: &Path, settings: &[&str]) -> Process {
    let mut application = instance(bootstrap, directory, settings);
    application.ask("run");
    application
}

fn killed_while_it_works(fleet: &Fleet, directory: &Path, settings: &[&str]) -> Process {
    let bootstrap = fleet.bootstrap();
    let mut counts = Reader::of(bootstrap, "counts");
    let mut more = || {
        let wanted = counts.records.len() + BETWEEN;
        counts.wait_for(wanted, WITHIN);
    };
    let mut application = start(bootstrap, directory, settings);
    more();
    kill_broker(fleet, fleet.leader(REPARTITION, 0));
    more();
    application.kill();
    application = start(bootstrap, directory, settings);
    more();
    kill_broker(fleet, fleet.leader("counts", 1));
    application.kill();
    application = start(bootstrap, directory, settings);
    more();
    application
}

/// What the application says that it counted.
fn state(application: &mut Process) -> BTreeMap<String, u64> {
    let said = application.ask("state");
    let entries = said
        .iter()
        .map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
            ["count", word, count] => (word.to_owned(), count.parse().expect("a number")),
            _ => panic!("not a count: {line}"),
        });
    entries.collect()
}

/// What an administrator sees of the group: three subtopologies, of as many tasks as their topics have partitions.
fn every_task_is_active_once(application: &mut Process) {
    let mut expected = vec!["group Stable".to_owned()];
    for subtopology in 0..3 {
        expected.extend((0..words::PARTITIONS).map(|partition| format!("task {subtopology} {partition}")));
    }
    eventually(WITHIN, "every task to be active once", || {
        let mut said = application.ask("group");
        said.sort();
        (said == expected).then_some(()).ok_or(format!("{said:?}"))
    });
}

fn internal_topics_are_as_streams_wants_them(bootstrap: &str) {
    let policy = |topic: &str| {
        let settings = topics::settings(bootstrap, topic).expect("the topic is there");
        settings.get("cleanup.policy").cloned()
    };
    assert_eq!(policy("words-counts-changelog").as_deref(), Some("compact"));
    assert_eq!(policy(REPARTITION).as_deref(), Some("delete"));
    eventually(WITHIN, "the repartition topic to be purged", || {
        let (begin, end) = topics::ends(bootstrap, REPARTITION, 0)?;
        (begin > 0).then_some(()).ok_or(format!("{begin} to {end}"))
    });
}
