//! The libraries, each with the test that runs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{run, table};

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

static LIBRARIES: [Library; 1] = [Library {
    name: "kafkajs",
    start: || javascript("kafkajs.js"),
}];

/// Where `tests/clients/install` put things.
fn installed(place: &str) -> PathBuf {
    let cache = match std::env::var_os("FLOTILLA_CACHE") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/flotilla"),
    };
    let path = cache.join("clients").join(place);
    assert!(
        path.exists(),
        "{} is not there: run tests/clients/install",
        path.display()
    );
    path
}

fn program(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/clients/programs")
        .join(path)
}

fn javascript(file: &str) -> Command {
    let mut command = Command::new("node");
    command
        .env("NODE_PATH", installed("javascript/node_modules"))
        .arg(program("javascript").join(file));
    command
}

fn run_named(name: &str) {
    run(LIBRARIES
        .iter()
        .find(|library| library.name == name)
        .expect("it is in the list"));
}

#[test]
fn kafkajs_works_unchanged() {
    run_named("kafkajs");
}

#[test]
fn table_of_clients_has_no_row_without_its_library() {
    for name in table::names() {
        assert!(
            LIBRARIES.iter().any(|library| library.name == name),
            "the README has a row of {name}, which no test runs: take it out"
        );
    }
}
