//! Spark Structured Streaming: queries that go on from their checkpoints.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::committed::{Reader, Record};
use crate::eventually::eventually;
use crate::fleet::signal;
use crate::process::Process;
use crate::system::{System, kill_broker};
use crate::words::{self, COPIES, COUNTS, LINES, PARTITIONS, Words};
use crate::{feed, java};

const SPARK: System = System {
    name: "Spark Structured Streaming",
    version: "4.2.0 (PySpark)",
};
const RAN: &str = "lines copied and words counted from topic to topic; kill -9 of a broker and of Spark, which goes on from its checkpoints; \
                   stopped and started again: no line lost, counts exact";
const TOPICS: [(&str, u32); 3] = [(LINES, PARTITIONS), (COPIES, PARTITIONS), (COUNTS, PARTITIONS)];
/// So many lines are copied between two events.
const BETWEEN: usize = 500;
/// Spark answers the first question once it has started, which takes its time on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(300);
const WITHIN: Duration = Duration::from_secs(150);

#[test]
fn spark_copies_and_counts_without_loss_through_kills_and_from_its_checkpoints() {
    SPARK.test(&TOPICS, RAN, |fleet| {
        let bootstrap = fleet.bootstrap();
        let directory = tempfile::tempdir().expect("a directory for checkpoints");
        let words = Words::to(bootstrap);
        let (written, mut last) = feed::beside(
            |number| words.give(number),
            || {
                let mut copies = Reader::of(bootstrap, COPIES);
                let mut more = || copies.wait_for(copies.records.len() + BETWEEN, WITHIN);
                let mut spark = start(bootstrap, directory.path());
                more();
                kill_broker(fleet, fleet.leader(COPIES, 0));
                more();
                kill(spark);
                spark = start(bootstrap, directory.path());
                more();
                spark.ask("stop");
                drop(spark);
                spark = start(bootstrap, directory.path());
                more();
                spark
            },
        );
        words.finish(written);
        eventually(WITHIN, "the last counts", || {
            let (found, expected) = (last_counts(bootstrap), words::counts(written));
            (found == expected)
                .then_some(())
                .ok_or(format!("{found:?}, not {expected:?}"))
        });
        words::wait_until_copied(bootstrap, WITHIN);
        last.ask("stop");
    });
}

fn start(bootstrap: &str, directory: &Path) -> Process {
    start_with(bootstrap, directory, &[])
}

/// The program of Spark, with further arguments.
pub fn start_with(bootstrap: &str, directory: &Path, arguments: &[String]) -> Process {
    let mut command = java::bound();
    command
        .arg(java::installed("spark-python").join("bin/python"))
        .arg(java::program("spark/words.py"))
        .arg(bootstrap)
        .arg(directory)
        .arg(java::installed("spark").join("*"))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SPARK_LOCAL_IP", "127.0.0.1");
    Process::start("Spark", &mut command).answering_within(STARTS_WITHIN)
}

/// Spark is a JVM, which Python starts and speaks to; it ends by itself when Python is gone.
pub fn kill(mut spark: Process) {
    let said = spark.ask("pid");
    let pid = said[0].strip_prefix("pid ").and_then(|pid| pid.parse().ok());
    signal(pid.expect("the number of a process"), Signal::KILL);
    spark.kill();
}

fn last_counts(bootstrap: &str) -> BTreeMap<String, u64> {
    let counts = Reader::all(bootstrap, COUNTS).into_iter();
    counts
        .map(|Record { key, value, .. }| (key, value.parse().expect("a count")))
        .collect()
}
