//! Hadoop's file system, into which Spark writes what it reads from a topic.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::eventually::eventually;
use crate::process::Process;
use crate::system::{System, kill_broker};
use crate::words::{self, LINES, PARTITIONS, Words};
use crate::{feed, java, spark};

const HADOOP: System = System {
    name: "Hadoop's file system",
    version: "3.5.0 (Spark 4.2.0)",
};
const RAN: &str = "lines written from a topic into HDFS by Spark Structured Streaming; kill -9 of a broker and of Spark, which goes on from its \
                   checkpoint in HDFS: each line once";
/// So many lines are written between two events.
const BETWEEN: u32 = 500;
const WITHIN: Duration = Duration::from_secs(150);

#[test]
fn hadoop_has_each_line_once_that_spark_writes_through_kills() {
    HADOOP.test(&[(LINES, PARTITIONS)], RAN, |fleet| {
        let bootstrap = fleet.bootstrap();
        let directory = tempfile::tempdir().expect("a directory");
        let mut hadoop = start(directory.path());
        let place = hadoop.ask("uri").concat();
        let start = || spark::start_with(bootstrap, directory.path(), std::slice::from_ref(&place));
        let words = Words::to(bootstrap);
        let (written, mut last) = feed::beside(
            |number| words.give(number),
            || {
                let mut spark = start();
                more(&mut spark);
                kill_broker(fleet, fleet.leader(LINES, 0));
                more(&mut spark);
                spark::kill(spark);
                spark = start();
                more(&mut spark);
                spark
            },
        );
        words.finish(written);
        let expected = words::times(bootstrap, LINES);
        eventually(WITHIN, "all lines in HDFS", || {
            let found = lines(&mut last);
            let (found_count, count) = (found.values().sum::<u32>(), expected.values().sum::<u32>());
            (found_count >= count)
                .then_some(())
                .ok_or(format!("{found_count} of {count}"))
        });
        last.ask("stop");
        assert_eq!(lines(&mut last), expected);
    });
}

fn start(directory: &Path) -> Process {
    let mut command = java::jvm("hadoop", directory, &["-Xmx512m"]);
    command
        .arg(java::program("hadoop/FileSystem.java"))
        .arg(directory.join("hdfs"));
    Process::start("Hadoop's file system", &mut command)
}

/// Waits until there are more lines.
fn more(spark: &mut Process) {
    let count = |spark: &mut Process| lines(spark).values().sum::<u32>();
    let before = count(spark);
    eventually(WITHIN, "more lines in HDFS", || {
        let now = count(spark);
        (now >= before + BETWEEN)
            .then_some(())
            .ok_or(format!("{now} after {before}"))
    });
}

/// How often each line is there.
fn lines(spark: &mut Process) -> BTreeMap<String, u32> {
    let said = spark.ask("lines");
    let entries = said.iter().map(|said| {
        let entry = said.strip_prefix("line ").and_then(|entry| entry.split_once(' '));
        let (count, line) = entry.expect("a count and a line");
        (line.to_owned(), count.parse().expect("a number"))
    });
    entries.collect()
}
