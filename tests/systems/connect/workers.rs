//! Workers of one Connect cluster, and their REST interface.

use std::time::Duration;

use serde_json::Value;

use crate::apache::server::free_ports;
use crate::eventually::eventually;
use crate::process::Process;
use crate::{java, rest};

const WITHIN: Duration = Duration::from_secs(90);

pub struct Worker {
    pub process: Process,
    port: u16,
}

pub struct Workers {
    bootstrap: String,
    directory: tempfile::TempDir,
    workers: Vec<Worker>,
}

impl Workers {
    /// Starts two.
    pub fn start(bootstrap: &str) -> Self {
        let mut workers = Self {
            bootstrap: bootstrap.to_owned(),
            directory: tempfile::tempdir().expect("a directory"),
            workers: Vec::new(),
        };
        let both = [workers.begin(), workers.begin()];
        workers.workers.extend(both);
        workers.wait_until_they_answer();
        workers
    }

    /// Starts one more.
    pub fn add(&mut self) {
        let worker = self.begin();
        self.workers.push(worker);
        self.wait_until_they_answer();
    }

    fn begin(&self) -> Worker {
        let port = free_ports(1).expect("a free port")[0];
        let file = self.directory.path().join(format!("worker-{port}.properties"));
        std::fs::write(&file, properties(&self.bootstrap, port)).expect("write the worker's properties");
        let mut command = java::jvm("connect", self.directory.path(), &["-Xmx256m"]);
        command
            .arg("org.apache.kafka.connect.cli.ConnectDistributed")
            .arg(file);
        Worker {
            process: Process::start(&format!("Connect's worker at port {port}"), &mut command),
            port,
        }
    }

    fn wait_until_they_answer(&self) {
        for worker in &self.workers {
            eventually(WITHIN, "a worker to answer", || {
                rest::ask(worker.port, "GET", "/connectors", None)
            });
        }
    }

    /// Puts something. Workers refuse it while they share their work anew.
    pub fn put(&self, path: &str, body: Option<&Value>) {
        eventually(WITHIN, path, || {
            rest::ask(self.workers[0].port, "PUT", path, body)
        });
    }

    /// Takes out the worker that runs a connector's only task.
    pub fn take(&mut self, connector: &str) -> Worker {
        let id = self.wait_for_task(connector, "");
        let port = id.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let which = self.workers.iter().position(|worker| Some(worker.port) == port);
        self.workers.remove(which.expect("it is one of ours"))
    }

    /// Waits until a connector's only task is in this state, or in whichever but a failed one; says which worker has it.
    pub fn wait_for_task(&self, connector: &str, state: &str) -> String {
        let path = format!("/connectors/{connector}/status");
        eventually(WITHIN, &path, || {
            let status = rest::ask(self.workers[0].port, "GET", &path, None)?;
            let task = &status["tasks"][0];
            let (found, worker) = (&task["state"], &task["worker_id"]);
            assert!(found != "FAILED", "{status:#}");
            match worker.as_str() {
                Some(worker) if state.is_empty() || found == state => Ok(worker.to_owned()),
                _ => Err(status.to_string()),
            }
        })
    }
}

fn properties(bootstrap: &str, port: u16) -> String {
    format!(
        "bootstrap.servers={bootstrap}\n\
         group.id=connect\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.storage.StringConverter\n\
         config.storage.topic=connect-configs\n\
         offset.storage.topic=connect-offsets\n\
         offset.storage.partitions=3\n\
         status.storage.topic=connect-status\n\
         status.storage.partitions=3\n\
         offset.flush.interval.ms=1000\n\
         exactly.once.source.support=enabled\n\
         consumer.isolation.level=read_committed\n\
         session.timeout.ms=6000\n\
         heartbeat.interval.ms=2000\n\
         scheduled.rebalance.max.delay.ms=0\n\
         plugin.discovery=service_load\n\
         listeners=http://127.0.0.1:{port}\n"
    )
}
