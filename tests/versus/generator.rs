//! `flotilla bench` and Apache Kafka's tools, on the core of this process.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::Context as _;
use serde_json::Value;

use crate::apache::java;
use crate::scenario::{Load, Tool};

/// No load of ours takes longer, in seconds.
const PATIENCE: &str = "1800";
/// What `kafka-producer-perf-test.sh` says.
const HEAP: [&str; 1] = ["-Xmx512M"];

/// What is under load.
pub struct Generator<'a> {
    /// Our binary.
    pub flotilla: &'a Path,
    /// Where files go that it needs.
    pub directory: &'a Path,
    /// Brokers as clients of this scenario reach them.
    pub bootstrap: String,
    /// Whom to trust, where clients speak TLS.
    pub authority: Option<PathBuf>,
}

/// How long a load goes on.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// It has been measured for so many seconds.
    Seconds(u64),
    /// So many records are through.
    Records(u64),
}

/// Who reads a topic.
#[derive(Clone, Copy, Debug)]
pub struct Readers {
    /// Of all of them.
    pub connections: u32,
    /// Each reads all of it.
    pub consumers: u32,
}

impl Generator<'_> {
    /// Writes, or writes and reads, to a topic that is there.
    pub fn load(&self, work: &str, topic: &str, load: &Load, until: Until) -> anyhow::Result<Value> {
        let mut arguments = vec![
            work.to_owned(),
            format!("--topic={topic}"),
            format!("--record-size={}", load.record_size),
            format!("--batch-size={}", load.batch_size),
            format!("--acks={}", load.acks),
            format!("--in-flight={}", load.in_flight),
            format!("--connections={}", load.connections),
        ];
        // With a rate records are due while connections are still being made.
        arguments.push(
            if load.rate.is_some() {
                "--warmup=2s"
            } else {
                "--warmup=0s"
            }
            .to_owned(),
        );
        arguments.extend(load.rate.map(|rate| format!("--rate={rate}")));
        self.bench(arguments, until)
    }

    /// Reads a topic from its beginning to its end, again and again.
    pub fn read(&self, topic: &str, readers: Readers, until: Until) -> anyhow::Result<Value> {
        let arguments = vec![
            "consume".to_owned(),
            format!("--topic={topic}"),
            format!("--connections={}", readers.connections),
            format!("--consumers={}", readers.consumers),
            "--warmup=0s".to_owned(),
        ];
        self.bench(arguments, until)
    }

    fn bench(&self, mut arguments: Vec<String>, until: Until) -> anyhow::Result<Value> {
        let json = self.directory.join("bench.json");
        arguments.push(format!("--bootstrap-server={}", self.bootstrap));
        arguments.push(format!("--json={}", json.display()));
        arguments.push(match until {
            Until::Seconds(seconds) => format!("--duration={seconds}s"),
            Until::Records(records) => format!("--records={records}"),
        });
        if let Some(authority) = &self.authority {
            let properties = self.directory.join("client.properties");
            let authority = authority.display();
            std::fs::write(
                &properties,
                format!(
                    "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location={authority}\n"
                ),
            )?;
            arguments.push(format!("--command-config={}", properties.display()));
        }
        let mut command = bounded();
        command.arg(self.flotilla).arg("bench").args(&arguments);
        ran(command, &format!("flotilla bench {}", arguments[0]))?;
        Ok(serde_json::from_str(&std::fs::read_to_string(json)?)?)
    }

    /// Runs one of Kafka's tools on a topic that is there, and gives what it said.
    pub fn tool(&self, tool: Tool, topic: &str, records: u64) -> anyhow::Result<String> {
        let line = java::command(&HEAP, &format!("org.apache.kafka.tools.{}", tool.class()))?;
        let mut command = bounded();
        command.args(line);
        let records = records.to_string();
        match tool {
            Tool::Producer => command
                .args([
                    "--bootstrap-server",
                    &self.bootstrap,
                    "--topic",
                    topic,
                    "--num-records",
                    &records,
                ])
                .args([
                    "--record-size",
                    "1000",
                    "--throughput",
                    "-1",
                    "--command-property",
                ])
                .args(["acks=1", "batch.size=131072", "linger.ms=5"]),
            Tool::Consumer => command
                .args([
                    "--bootstrap-server",
                    &self.bootstrap,
                    "--topic",
                    topic,
                    "--num-records",
                    &records,
                ])
                .args(["--timeout", "60000"]),
            Tool::EndToEnd => command.args([&self.bootstrap, topic, &records, "all", "1000"]),
        };
        let output = ran(command, tool.class())?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// What hangs is a finding, not a reason to hang with it.
fn bounded() -> Command {
    let mut command = Command::new("timeout");
    command.arg(PATIENCE).env_remove("LD_LIBRARY_PATH");
    command
}

fn ran(mut command: Command, name: &str) -> anyhow::Result<Output> {
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "{name} failed ({}): {}",
        output.status,
        errors.trim()
    );
    Ok(output)
}
