//! Apache Kafka: KRaft, broker and controller in one process, as its distribution's `server.properties` begins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use flotilla_operator::certificate::Authority;

use super::{Addresses, Plan, java, validity};
use crate::process::CommandLine;

/// Any id will do: nothing but these brokers ever sees it.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qk";
/// What `kafka-server-start.sh` says.
const HEAP: [&str; 2] = ["-Xmx1G", "-Xms1G"];

pub fn prepare(
    plan: &Plan,
    addresses: &[Addresses],
    data: &[PathBuf],
    authority: &Authority,
) -> anyhow::Result<Vec<CommandLine>> {
    let keystore = plan.directory.join("listener.pem");
    let listener = authority.issue_listener(&["localhost", "127.0.0.1"], validity()?)?;
    // The key and the chain in one file, as `ssl.keystore.type=PEM` wants it.
    fs::write(&keystore, format!("{}{}", listener.key, listener.certificate))?;
    let voters: Vec<String> = addresses
        .iter()
        .enumerate()
        .map(|(id, of)| format!("{id}@127.0.0.1:{}", of.inner[0]))
        .collect();
    let mut commands = Vec::new();
    for (id, (of, data)) in addresses.iter().zip(data).enumerate() {
        let file = plan.directory.join(format!("server-{id}.properties"));
        fs::write(
            &file,
            properties(plan, id, of, data, &voters.join(","), &keystore),
        )?;
        format(&file)?;
        let mut command = java::command(&HEAP, "kafka.Kafka")?;
        command.push(file.into());
        commands.push(command);
    }
    Ok(commands)
}

fn properties(
    plan: &Plan,
    id: usize,
    addresses: &Addresses,
    data: &Path,
    voters: &str,
    keystore: &Path,
) -> String {
    let Addresses { plain, secure, inner } = addresses;
    let (mut listeners, mut protocols) = (format!("PLAIN://127.0.0.1:{plain}"), "PLAIN:PLAINTEXT".to_owned());
    if plan.tls {
        listeners += &format!(",SECURE://127.0.0.1:{secure}");
        protocols += ",SECURE:SSL";
    }
    let replicas = plan.brokers.min(3);
    let mut text = format!(
        "process.roles=broker,controller\n\
         node.id={id}\n\
         controller.quorum.voters={voters}\n\
         listeners={listeners},CONTROLLER://127.0.0.1:{}\n\
         advertised.listeners={listeners}\n\
         listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT\n\
         inter.broker.listener.name=PLAIN\n\
         controller.listener.names=CONTROLLER\n\
         log.dirs={}\n\
         offsets.topic.replication.factor={replicas}\n\
         share.coordinator.state.topic.replication.factor={replicas}\n\
         transaction.state.log.replication.factor={replicas}\n\
         transaction.state.log.min.isr={}\n",
        inner[0],
        data.display(),
        replicas.min(2),
    );
    if plan.tls {
        text += &format!(
            "listener.name.secure.ssl.keystore.type=PEM\nlistener.name.secure.ssl.keystore.location={}\n",
            keystore.display()
        );
    }
    if let Some(ms) = plan.retention_check_ms {
        // Without the second one Kafka begins to look only half a minute after it has started.
        text += &format!("log.retention.check.interval.ms={ms}\nlog.initial.task.delay.ms={ms}\n");
    }
    text
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
