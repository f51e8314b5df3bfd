//! Kafka's own clients, driven by the tools that Kafka's system tests use: each is a process that tells what it does as JSON.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::Worker;
use crate::chance::Chance;
use crate::history::{Event, Id, Member, Partition};
use crate::recorder::Recorder;

#[path = "../../clients/libraries.rs"]
mod libraries;

/// How long a client may take to end after it was asked to: it finishes what is in flight.
const END_WITHIN: Duration = Duration::from_secs(100);

fn java(class: &str) -> anyhow::Result<Command> {
    let mut command = Command::new("java");
    command
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx192m", "-cp"])
        .arg(libraries::class_path().map_err(anyhow::Error::msg)?)
        .arg(format!("org.apache.kafka.tools.{class}"))
        .env_remove("LD_LIBRARY_PATH");
    Ok(command)
}

/// A client that runs.
struct Client {
    name: String,
    child: Child,
    listening: JoinHandle<()>,
}

impl Client {
    /// Starts a tool, whose lines go to `listen` and whose complaints go to a file.
    fn start(
        name: &str,
        mut command: Command,
        logs: &Path,
        mut listen: impl FnMut(&Value) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let complaints = std::fs::File::create(logs.join(format!("{name}.log")))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .context("cannot start java")?;
        let lines = BufReader::new(child.stdout.take().context("standard output is piped")?);
        let listening = std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str(&line) {
                    listen(&value);
                }
            }
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            listening,
        })
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Asks it to end, and waits until all that it said was heard. One that hangs is killed, and said so.
    fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + END_WITHIN;
        while !self.has_ended() {
            if Instant::now() > deadline {
                println!("  {} does not end, and is killed", self.name);
                self.child.kill()?;
                self.child.wait()?;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.listening
            .join()
            .map_err(|_| anyhow::anyhow!("the thread that listens to {} panicked", self.name))
    }
}

/// Kafka's `VerifiableProducer`, one after another: the next one begins when one has failed for good.
pub fn writer(recorder: &Recorder, bootstrap: &str, topic: &Arc<str>, rate: u64, directory: &Path) -> Worker {
    let (recorder, bootstrap) = (recorder.clone(), bootstrap.to_owned());
    let (topic, directory) = (topic.clone(), directory.to_owned());
    Worker::start(move |stop| {
        while !stop.is_set() {
            let failing = Arc::new(AtomicBool::new(false));
            let mut client = producer(&recorder, &bootstrap, &topic, rate, &directory, failing.clone())
                .expect("Kafka's producer starts");
            while !stop.is_set() && !client.has_ended() && !failing.load(Ordering::Relaxed) {
                stop.sleep(Duration::from_millis(200));
            }
            client.stop().expect("Kafka's producer ends");
        }
    })
}

/// With idempotence, which the tool turns off when nobody says otherwise, and with keys. `failing` is whether the last that it said
/// is that a record was not sent: a producer that has failed says so of each record from then on.
fn producer(
    recorder: &Recorder,
    bootstrap: &str,
    topic: &Arc<str>,
    rate: u64,
    directory: &Path,
    failing: Arc<AtomicBool>,
) -> anyhow::Result<Client> {
    let session = recorder.open_session(topic);
    let settings = directory.join("producer.properties");
    std::fs::write(
        &settings,
        "enable.idempotence=true\nretries=2147483647\ndelivery.timeout.ms=90000\nrequest.timeout.ms=10000\nlinger.ms=10\n\
         reconnect.backoff.max.ms=1000\nmetadata.max.age.ms=5000\n",
    )?;
    let mut command = java("VerifiableProducer")?;
    command.args(["--bootstrap-server", bootstrap, "--topic", topic]);
    command.args([
        "--throughput",
        &rate.to_string(),
        "--value-prefix",
        &session.to_string(),
    ]);
    command
        .args(["--repeating-keys", "20", "--command-config"])
        .arg(settings);
    // It does not say what it is about to send.
    recorder.attempts(session, u64::MAX);
    let (recorder, topic) = (recorder.clone(), topic.clone());
    let name = format!("java-producer-{session}");
    Client::start(&name, command, &directory.join("logs"), move |said| {
        match said["name"].as_str() {
            Some("producer_send_success") => {
                if let (Some(id), Some(index), Some(offset)) = (
                    said["value"].as_str().and_then(Id::of_value),
                    said["partition"].as_i64(),
                    said["offset"].as_i64(),
                ) {
                    let partition = Partition {
                        topic: topic.clone(),
                        index: index as i32,
                    };
                    recorder.acknowledged(id, partition, Some(offset));
                    failing.store(false, Ordering::Relaxed);
                }
            }
            Some("producer_send_error") => {
                recorder.failed();
                failing.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
    })
}

/// Kafka's `VerifiableConsumer` as a member of a group, one after another: each lives for a time that chance draws.
pub fn members(
    recorder: &Recorder,
    bootstrap: &str,
    group: &Arc<str>,
    topic: &Arc<str>,
    directory: &Path,
    mut chance: Chance,
) -> Worker {
    let (recorder, bootstrap, group) = (recorder.clone(), bootstrap.to_owned(), group.clone());
    let (topic, directory) = (topic.clone(), directory.to_owned());
    Worker::start(move |stop| {
        let mut nth = 0;
        while !stop.is_set() {
            nth += 1;
            let member = Member {
                group: group.clone(),
                name: format!("java-{nth}"),
            };
            let until = Instant::now() + Duration::from_secs(chance.between(40, 120));
            let mut client =
                consumer(&recorder, &bootstrap, member, &topic, &directory).expect("Kafka's consumer starts");
            while !stop.is_set() && !client.has_ended() && Instant::now() < until {
                stop.sleep(Duration::from_millis(200));
            }
            client.stop().expect("Kafka's consumer ends");
        }
    })
}

/// It commits after each poll.
fn consumer(
    recorder: &Recorder,
    bootstrap: &str,
    member: Member,
    topic: &Arc<str>,
    directory: &Path,
) -> anyhow::Result<Client> {
    let settings = directory.join("consumer.properties");
    std::fs::write(
        &settings,
        "request.timeout.ms=10000\ndefault.api.timeout.ms=20000\nreconnect.backoff.max.ms=1000\nmetadata.max.age.ms=5000\n",
    )?;
    let mut command = java("VerifiableConsumer")?;
    command.args(["--bootstrap-server", bootstrap, "--topic", topic, "--verbose"]);
    command.args(["--group-id", &member.group, "--session-timeout", "10000"]);
    command
        .args(["--reset-policy", "earliest", "--command-config"])
        .arg(settings);
    let (recorder, topic, member) = (recorder.clone(), topic.clone(), Arc::new(member));
    let name = member.name.clone();
    Client::start(&name, command, &directory.join("logs"), move |said| {
        for event in events(said, &member, &topic) {
            recorder.event(event);
        }
    })
}

/// What a line of the consumer says.
fn events(said: &Value, member: &Arc<Member>, topic: &Arc<str>) -> Vec<Event> {
    let partition = |of: &Value| {
        of["partition"].as_i64().map(|index| Partition {
            topic: topic.clone(),
            index: index as i32,
        })
    };
    let each = |list: &str| said[list].as_array().cloned().unwrap_or_default();
    match said["name"].as_str() {
        Some("partitions_assigned") => each("partitions")
            .iter()
            .filter_map(partition)
            .map(|partition| Event::Assigned {
                member: member.clone(),
                partition,
            })
            .collect(),
        Some("partitions_revoked") => each("partitions")
            .iter()
            .filter_map(partition)
            .map(|partition| Event::Revoked {
                member: member.clone(),
                partition,
            })
            .collect(),
        Some("record_data") => partition(said)
            .zip(said["offset"].as_i64())
            .map(|(partition, offset)| Event::Delivered {
                member: member.clone(),
                partition,
                offset,
                id: said["value"].as_str().and_then(Id::of_value),
            })
            .into_iter()
            .collect(),
        Some("offsets_committed") if said["success"] == true => each("offsets")
            .iter()
            .filter_map(|of| partition(of).zip(of["offset"].as_i64()))
            .map(|(partition, offset)| Event::Committed {
                member: member.clone(),
                partition,
                offset,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Moves replicas with Kafka's tool: (topic, partition, replicas). Says what the tool said when it did not work.
pub fn reassign(bootstrap: &str, moves: &[(String, i32, Vec<i32>)], directory: &Path) -> anyhow::Result<()> {
    let plan = directory.join("reassignment.json");
    let partitions: Vec<Value> = moves
        .iter()
        .map(|(topic, partition, replicas)| {
            serde_json::json!({"topic": topic, "partition": partition, "replicas": replicas})
        })
        .collect();
    std::fs::write(
        &plan,
        serde_json::json!({"version": 1, "partitions": partitions}).to_string(),
    )?;
    let output = java("reassign.ReassignPartitionsCommand")?
        .args([
            "--bootstrap-server",
            bootstrap,
            "--execute",
            "--reassignment-json-file",
        ])
        .arg(&plan)
        .stdin(Stdio::null())
        .output()
        .context("cannot start java")?;
    anyhow::ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
