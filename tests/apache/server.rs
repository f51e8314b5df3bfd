//! A server of Apache Kafka: KRaft, broker and controller in one process, as its distribution's `server.properties` begins.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::java;
use super::process::CommandLine;

/// Any id will do: nothing but these brokers ever sees it.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qk";
/// What `kafka-server-start.sh` says.
const HEAP: [&str; 2] = ["-Xmx1G", "-Xms1G"];

/// Where clients connect.
pub struct Listener {
    pub name: &'static str,
    /// Kafka's word, such as `SASL_PLAINTEXT`.
    pub protocol: &'static str,
    pub port: u16,
}

/// What a server must know. The first listener is also that of the brokers themselves.
pub struct Server<'a> {
    pub id: usize,
    /// The controllers' ports, in the order of the ids.
    pub controllers: &'a [u16],
    pub listeners: Vec<Listener>,
    pub data: &'a Path,
    /// Of internal topics.
    pub replicas: usize,
}

impl Server<'_> {
    /// Writes its configuration with some lines more, formats its storage, and gives the command that starts it.
    pub fn prepare(&self, file: PathBuf, more: &str) -> anyhow::Result<CommandLine> {
        std::fs::write(&file, self.properties() + more)?;
        format(&file)?;
        let mut command = java::command(&HEAP, "kafka.Kafka")?;
        command.push(file.into());
        Ok(command)
    }

    fn properties(&self) -> String {
        let voters = self.controllers.iter().enumerate();
        let voters: Vec<_> = voters
            .map(|(id, port)| format!("{id}@127.0.0.1:{port}"))
            .collect();
        let (mut listeners, mut protocols) = (Vec::new(), Vec::new());
        for Listener { name, protocol, port } in &self.listeners {
            listeners.push(format!("{name}://127.0.0.1:{port}"));
            protocols.push(format!("{name}:{protocol}"));
        }
        let (listeners, protocols) = (listeners.join(","), protocols.join(","));
        format!(
            "process.roles=broker,controller\n\
             node.id={id}\n\
             controller.quorum.voters={voters}\n\
             listeners={listeners},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners={listeners}\n\
             listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name={inner}\n\
             controller.listener.names=CONTROLLER\n\
             log.dirs={data}\n\
             offsets.topic.replication.factor={replicas}\n\
             share.coordinator.state.topic.replication.factor={replicas}\n\
             transaction.state.log.replication.factor={replicas}\n\
             transaction.state.log.min.isr={in_sync}\n",
            id = self.id,
            voters = voters.join(","),
            controller = self.controllers[self.id],
            inner = self.listeners[0].name,
            data = self.data.display(),
            replicas = self.replicas,
            in_sync = self.replicas.min(2),
        )
    }
}

/// Ports that nobody listens on now, all different.
pub fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let listeners = (0..count).map(|_| TcpListener::bind("127.0.0.1:0"));
    let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
    let ports = listeners.iter().map(|listener| Ok(listener.local_addr()?.port()));
    ports.collect()
}

/// `kafka-storage.sh format`.
fn format(file: &Path) -> anyhow::Result<()> {
    let mut line = java::command(&["-XX:TieredStopAtLevel=1"], "kafka.tools.StorageTool")?;
    line.extend([
        "format".into(),
        "--cluster-id".into(),
        CLUSTER_ID.into(),
        "--config".into(),
    ]);
    line.push(file.into());
    let output = Command::new(&line[0])
        .args(&line[1..])
        .output()
        .context("cannot start java")?;
    anyhow::ensure!(
        output.status.success(),
        "Kafka's storage is not formatted: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
