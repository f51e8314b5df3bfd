//! Flink: a job with state that reads and writes exactly once, in a cluster of its own process.

use std::path::Path;
use std::time::Duration;

use crate::committed::Reader;
use crate::process::Process;
use crate::system::{System, kill_broker};
use crate::words::{self, Words};
use crate::{feed, java};

const FLINK: System = System {
    name: "Flink",
    version: "2.2.1, connector 5.0.0-2.2",
};
const RAN: &str = "word count with state, source and sink of the connector, exactly once; kill -9 of a broker and of the cluster, which goes \
                   on from its checkpoint; stopped with a savepoint and started from it: every count once and in order";
/// Which Java's modules Flink reaches into.
const OPENS: [&str; 4] = [
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "-Xmx512m",
];
/// So many counts are written between two events.
const BETWEEN: usize = 1_000;
const WITHIN: Duration = Duration::from_secs(150);

#[test]
fn flink_counts_exactly_once_through_kills_and_from_checkpoints_and_savepoints() {
    FLINK.test(&words::TOPICS, RAN, |fleet| {
        let bootstrap = fleet.bootstrap();
        let directory = tempfile::tempdir().expect("a directory");
        let classes = java::compile("flink", "flink/Words.java");
        let start = || start(bootstrap, classes.path(), directory.path());
        let words = Words::to(bootstrap);
        let (written, last) = feed::beside(
            |number| words.give(number),
            || {
                let mut counts = Reader::of(bootstrap, words::COUNTS);
                let mut more = || counts.wait_for_more(BETWEEN, WITHIN);
                let mut job = start();
                more();
                kill_broker(fleet, fleet.leader(words::COUNTS, 0));
                more();
                job.kill();
                job = start();
                assert!(job.ask("from")[0].starts_with("from chk-"), "from a checkpoint");
                more();
                job.ask("stop");
                drop(job);
                job = start();
                assert!(
                    job.ask("from")[0].starts_with("from savepoint-"),
                    "from a savepoint"
                );
                more();
                job
            },
        );
        words.finish(written);
        words::wait_until_done(bootstrap, written, WITHIN);
        drop(last);
        words::check(bootstrap, written);
    });
}

/// The job, once it has made a checkpoint.
fn start(bootstrap: &str, classes: &Path, directory: &Path) -> Process {
    let states = directory.join("states");
    std::fs::create_dir_all(&states).expect("a directory for checkpoints");
    let mut command = java::jvm_with("flink", Some(classes), directory, &OPENS);
    command.arg("Words").arg(bootstrap).arg(states);
    let mut job = Process::start("Flink", &mut command);
    job.ask("run");
    job
}
