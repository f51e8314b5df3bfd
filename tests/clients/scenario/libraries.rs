//! The libraries, each with the test that runs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{TABLE, run};
use crate::tools::libraries::installed;

/// A client library, and how its program is started.
pub struct Library {
    pub name: &'static str,
    start: fn() -> Command,
}

impl Library {
    /// Starts its program, but for where the brokers are.
    pub fn command(&self) -> Command {
        (self.start)()
    }
}

static LIBRARIES: [Library; 13] = [
    Library {
        name: "Java kafka-clients 4",
        start: || java("4.3.1"),
    },
    Library {
        name: "Java kafka-clients 3",
        start: || java("3.9.2"),
    },
    Library {
        name: "Java kafka-clients 2",
        start: || java("2.8.2"),
    },
    Library {
        name: "aiokafka",
        start: || python("aio.py"),
    },
    Library {
        name: "confluent-kafka (JavaScript)",
        start: || javascript("confluent-javascript", "confluent.js"),
    },
    Library {
        name: "confluent-kafka (Python)",
        start: || python("confluent.py"),
    },
    Library {
        name: "franz-go",
        start: || go("franz-go"),
    },
    Library {
        name: "kafka-go",
        start: || go("kafka-go"),
    },
    Library {
        name: "kafka-python",
        start: || python("kafkapython.py"),
    },
    Library {
        name: "kafkajs",
        start: || javascript("javascript", "kafkajs.js"),
    },
    Library {
        name: "kcat",
        start: || python("kcat.py"),
    },
    Library {
        name: "rskafka",
        start: || Command::new(installed("rust/debug/rskafka")),
    },
    Library {
        name: "sarama",
        start: || go("sarama"),
    },
];

/// Where `tests/clients/install` put things.
fn installed(place: &str) -> PathBuf {
    installed::place(&format!("clients/{place}"), "tests/clients/install libraries")
        .expect("the client libraries")
}

fn program(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/clients/programs")
        .join(path)
}

fn javascript(place: &str, file: &str) -> Command {
    let mut command = Command::new("node");
    command
        .env("NODE_PATH", installed(place).join("node_modules"))
        .arg(program("javascript").join(file));
    command
}

fn python(file: &str) -> Command {
    let mut command = Command::new(installed("python/bin/python"));
    command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(program("python").join(file));
    command
}

fn go(name: &str) -> Command {
    Command::new(installed("go").join(name))
}

fn java(version: &str) -> Command {
    let libraries = installed(&format!("java-{version}")).join("*");
    let mut command = Command::new("java");
    command
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-cp"])
        .arg(libraries)
        .arg(program("java").join("Client.java"));
    command
}

fn run_named(name: &str) {
    run(LIBRARIES
        .iter()
        .find(|library| library.name == name)
        .expect("it is in the list"));
}

#[test]
fn java_4_works_unchanged() {
    run_named("Java kafka-clients 4");
}

#[test]
fn java_3_works_unchanged() {
    run_named("Java kafka-clients 3");
}

#[test]
fn java_2_works_unchanged() {
    run_named("Java kafka-clients 2");
}

#[test]
fn aiokafka_works_unchanged() {
    run_named("aiokafka");
}

#[test]
fn confluent_javascript_works_unchanged() {
    run_named("confluent-kafka (JavaScript)");
}

#[test]
fn confluent_python_works_unchanged() {
    run_named("confluent-kafka (Python)");
}

#[test]
fn franz_go_works_unchanged() {
    run_named("franz-go");
}

#[test]
fn kafka_go_works_unchanged() {
    run_named("kafka-go");
}

#[test]
fn kafka_python_works_unchanged() {
    run_named("kafka-python");
}

#[test]
fn kafkajs_works_unchanged() {
    run_named("kafkajs");
}

#[test]
fn kcat_works_unchanged() {
    run_named("kcat");
}

#[test]
fn rskafka_works_unchanged() {
    run_named("rskafka");
}

#[test]
fn sarama_works_unchanged() {
    run_named("sarama");
}

#[test]
fn table_of_clients_has_no_row_without_its_library() {
    for name in TABLE.names() {
        assert!(
            LIBRARIES.iter().any(|library| library.name == name),
            "the README has a row of {name}, which no test runs: take it out"
        );
    }
}
