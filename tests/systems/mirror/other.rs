//! The other cluster: Apache Kafka itself, of one server.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::apache::process::Process;
use crate::apache::server::{Listener, Server, free_ports};
use crate::eventually::eventually;
use crate::kafka;

const WITHIN: Duration = Duration::from_secs(90);

/// A server that runs; it ends with the value, and its data with it.
pub struct Other {
    _process: Process,
    _directory: tempfile::TempDir,
    pub bootstrap: String,
}

impl Other {
    /// Starts it and waits until it answers.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let ports = free_ports(2).expect("free ports");
        let server = Server {
            id: 0,
            controllers: &ports[1..],
            listeners: vec![Listener {
                name: "PLAIN",
                protocol: "PLAINTEXT",
                port: ports[0],
            }],
            data: &directory.path().join("data"),
            replicas: 1,
        };
        let command = server.prepare(directory.path().join("server.properties"), "");
        let log = directory.path().join("server.log");
        let process = Process::start(None, &command.expect("its command"), &log).expect("start it");
        let bootstrap = format!("127.0.0.1:{}", ports[0]);
        let client: BaseConsumer = kafka::config(&bootstrap)
            .create()
            .expect("create a client that asks");
        eventually(WITHIN, "Apache Kafka to answer", || {
            let metadata = client.fetch_metadata(None, Duration::from_secs(5));
            let brokers = metadata.map_err(|error| error.to_string())?.brokers().len();
            (brokers == 1)
                .then_some(())
                .ok_or(format!("it knows {brokers} brokers"))
        });
        Self {
            _process: process,
            _directory: directory,
            bootstrap,
        }
    }
}
