//! Kafka Connect: two workers that share a connector from a file and one to a file.

mod files;
mod workers;

use std::time::Duration;

use serde_json::json;

use crate::committed::Reader;
use crate::eventually::eventually;
use crate::fleet::Fleet;
use crate::system::System;
use crate::{feed, topics};
use files::Files;
use workers::Workers;

const CONNECT: System = System {
    name: "Kafka Connect",
    version: "4.3.1",
};
const RAN: &str = "two distributed workers, file source (exactly once) and file sink; internal topics compacted; a connector paused and \
                   resumed by REST; a worker stopped and one killed while it works, others take over: topic and sink file equal the \
                   source file, line by line";
const TOPIC: &str = "lines";
const INTERNAL: [&str; 3] = ["connect-configs", "connect-offsets", "connect-status"];
const WITHIN: Duration = Duration::from_secs(90);
/// Lines that are written between two events.
const LINES: usize = 1_000;

#[test]
fn connect_copies_each_line_once_through_a_pause_and_the_loss_of_workers() {
    CONNECT.test(&[(TOPIC, 1)], RAN, |fleet| {
        let files = Files::new();
        files.append(LINES);
        let mut workers = Workers::start(fleet.bootstrap());
        workers.put(
            "/connectors/from-file/config",
            Some(&json!({
                "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
                "tasks.max": "1",
                "file": files.source(),
                "topic": TOPIC,
                "exactly.once.support": "required",
            })),
        );
        workers.put(
            "/connectors/to-file/config",
            Some(&json!({
                "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
                "tasks.max": "1",
                "file": files.sink(),
                "topics": TOPIC,
            })),
        );
        files.wait_until_copied();
        internal_topics_are_compacted(fleet);
        paused_and_resumed(fleet, &workers, &files);
        stopped(&mut workers, &files);
        killed_while_it_reads(fleet, &mut workers, &files);
        let lines: Vec<_> = Reader::all(fleet.bootstrap(), TOPIC);
        let lines = lines.iter().map(|line| line.value.as_str());
        assert!(
            lines.eq(files.written().lines()),
            "the topic has each line once, in order"
        );
    });
}

fn internal_topics_are_compacted(fleet: &Fleet) {
    for topic in INTERNAL {
        let settings = topics::settings(fleet.bootstrap(), topic).expect("an internal topic");
        let policy = settings.get("cleanup.policy").map(String::as_str);
        assert_eq!(policy, Some("compact"), "{topic}");
    }
}

/// While the sink is paused the topic grows and its file does not.
fn paused_and_resumed(fleet: &Fleet, workers: &Workers, files: &Files) {
    pause(fleet, workers, files);
    let before = files.copied();
    files.append(LINES);
    let written = files.written().lines().count();
    Reader::of(fleet.bootstrap(), TOPIC).wait_for(written, WITHIN);
    assert_eq!(files.copied(), before, "nothing is written while it is paused");
    workers.put("/connectors/to-file/resume", None);
    files.wait_until_copied();
}

/// Pauses the sink once it has committed all that it wrote.
fn pause(fleet: &Fleet, workers: &Workers, files: &Files) {
    files.wait_until_copied();
    let records = Reader::all(fleet.bootstrap(), TOPIC);
    let last = records.last().expect("there are lines").offset;
    eventually(WITHIN, "the sink to commit what it wrote", || {
        let committed = topics::committed(fleet.bootstrap(), "connect-to-file", TOPIC, 0)?;
        (committed > last)
            .then_some(())
            .ok_or(format!("{committed} is committed, not {}", last + 1))
    });
    workers.put("/connectors/to-file/pause", None);
    workers.wait_for_task("to-file", "PAUSED");
}

/// The worker with the sink's task stops in order; the other one goes on, and a new one joins it.
fn stopped(workers: &mut Workers, files: &Files) {
    let mut worker = workers.take("to-file");
    files.append(LINES);
    worker.process.stop(WITHIN);
    files.append(LINES);
    files.wait_until_copied();
    workers.add();
}

/// The worker with the source's task is killed while lines are written. What it had not committed is written again by the other.
fn killed_while_it_reads(fleet: &Fleet, workers: &mut Workers, files: &Files) {
    // What a sink wrote after its last commit is written twice when it is killed, if it is there.
    pause(fleet, workers, files);
    let mut topic = Reader::of(fleet.bootstrap(), TOPIC);
    topic.wait_for(files.written().lines().count(), WITHIN);
    let mut more = || {
        let wanted = topic.records.len() + LINES;
        topic.wait_for(wanted, WITHIN);
    };
    feed::beside(
        |_| files.append(1),
        || {
            more();
            workers.take("from-file").process.kill();
            more();
            workers.add();
            more();
        },
    );
    workers.put("/connectors/to-file/resume", None);
    files.wait_until_copied();
}
