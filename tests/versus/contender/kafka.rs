//! Apache Kafka, one server for each broker.

use std::fs;
use std::path::{Path, PathBuf};

use flotilla_operator::certificate::Authority;

use super::{Addresses, Plan, validity};
use crate::apache::process::CommandLine;
use crate::apache::server::{Listener, Server};

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
    let controllers: Vec<u16> = addresses.iter().map(|of| of.inner[0]).collect();
    let servers = addresses.iter().zip(data).enumerate();
    servers
        .map(|(id, (of, data))| {
            let server = Server {
                id,
                controllers: &controllers,
                listeners: listeners(plan, of),
                data,
                replicas: plan.brokers.min(3),
            };
            let file = plan.directory.join(format!("server-{id}.properties"));
            server.prepare(file, &properties(plan, &keystore))
        })
        .collect()
}

fn listeners(plan: &Plan, addresses: &Addresses) -> Vec<Listener> {
    let mut listeners = vec![Listener {
        name: "PLAIN",
        protocol: "PLAINTEXT",
        port: addresses.plain,
    }];
    if plan.tls {
        listeners.push(Listener {
            name: "SECURE",
            protocol: "SSL",
            port: addresses.secure,
        });
    }
    listeners
}

fn properties(plan: &Plan, keystore: &Path) -> String {
    let mut text = String::new();
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
