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
const REPARTITION: &str = "words-words-repartition";
/// So many counts are written between two kills.
const BETWEEN: usize = 2_000;
const WITHIN: Duration = Duration::from_secs(90);

#[test]
fn streams_counts_and_joins_exactly_once_through_kills_and_finds_its_state_again() {
    STREAMS.test(&work::TOPICS, RAN, |fleet| {
        let directory = tempfile::tempdir().expect("a directory");
        let bootstrap = fleet.bootstrap();
        let work = Work::begin(bootstrap);
        let (written, mut application) = feed::beside(
            |number| work.give(number),
            || killed_while_it_works(fleet, directory.path()),
        );
        work.finish(written);
        work::wait_until_done(bootstrap, written, WITHIN);
        assert_eq!(state(&mut application), words::counts(written));
        internal_topics_are_as_streams_wants_them(bootstrap);
        application.ask("stop");
        drop(application);

        std::fs::remove_dir_all(directory.path().join("state")).expect("forget the state");
        let mut application = start(bootstrap, directory.path());
        assert_eq!(
            state(&mut application),
            words::counts(written),
            "from the changelog"
        );
        application.ask("stop");
        work::check(bootstrap, written);
    });
}

/// An instance of the application, with its state there.
fn instance(bootstrap: &str, directory: &Path) -> Process {
    let state = directory.join("state");
    std::fs::create_dir_all(&state).expect("a directory for state");
    let mut command = java::jvm("streams", directory, &["-Xmx256m"]);
    command
        .arg(java::program("streams/Application.java"))
        .arg(bootstrap)
        .arg(state);
    Process::start("Kafka Streams", &mut command)
}

/// The same, once it runs.
fn start(bootstrap: &str, directory: &Path) -> Process {
    let mut application = instance(bootstrap, directory);
    application.ask("run");
    application
}

fn killed_while_it_works(fleet: &Fleet, directory: &Path) -> Process {
    let bootstrap = fleet.bootstrap();
    let mut counts = Reader::of(bootstrap, "counts");
    let mut more = || {
        let wanted = counts.records.len() + BETWEEN;
        counts.wait_for(wanted, WITHIN);
    };
    let mut application = start(bootstrap, directory);
    more();
    kill_broker(fleet, fleet.leader(REPARTITION, 0));
    more();
    application.kill();
    application = start(bootstrap, directory);
    more();
    kill_broker(fleet, fleet.leader("counts", 1));
    application.kill();
    application = start(bootstrap, directory);
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
