//! Both brokers, started alike: one server, the same settings, a plaintext listener whose clients may do everything and a SASL listener
//! for those who may nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use flotilla_control::config::BrokerConfig;

use crate::apache::process::Process;
use crate::apache::server::{Listener, Server, free_ports};
use crate::broker::{Addresses, Broker};
use crate::eventually::eventually;
use crate::fleet::Fleet;
use crate::receiver;

const KAFKA_STARTS_WITHIN: Duration = Duration::from_secs(120);

/// Settings of both, so that nothing waits, internal topics are small, and there are delegation tokens.
const SETTINGS: [(&str, &str); 10] = [
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.num.partitions", "1"),
    ("transaction.state.log.num.partitions", "1"),
    ("transaction.max.timeout.ms", "900000"),
    ("group.max.session.timeout.ms", "1800000"),
    ("auto.create.topics.enable", "true"),
    ("delegation.token.secret.key", "for tests only"),
    ("share.coordinator.state.topic.num.partitions", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
];

/// Apache Kafka, which ends with the value.
pub struct Kafka {
    process: Process,
    addresses: Addresses,
}

impl Kafka {
    pub fn start(directory: &Path) -> anyhow::Result<Self> {
        let ports = free_ports(3)?;
        let server = Server {
            id: 0,
            controllers: &ports[2..],
            listeners: vec![
                Listener {
                    name: "PLAIN",
                    protocol: "PLAINTEXT",
                    port: ports[0],
                },
                Listener {
                    name: "SASL",
                    protocol: "SASL_PLAINTEXT",
                    port: ports[1],
                },
            ],
            data: &directory.join("data"),
            replicas: 1,
        };
        let mut more = String::from(
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS\n\
             listener.name.sasl.sasl.enabled.mechanisms=SCRAM-SHA-512\n\
             listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n",
        );
        for (name, value) in SETTINGS {
            more += &format!("{name}={value}\n");
        }
        more += &format!("metric.reporters={}\n", receiver::CLASS);
        let mut command = server.prepare(directory.join("server.properties"), &more)?;
        receiver::add_to(&mut command, directory)?;
        Ok(Self {
            process: Process::start(None, &command, &directory.join("kafka.log"))?,
            addresses: Addresses {
                plain: format!("127.0.0.1:{}", ports[0]),
                sasl: format!("127.0.0.1:{}", ports[1]),
            },
        })
    }

    /// Once it answers.
    pub fn broker(&mut self) -> Broker {
        let mut broker = Broker::new(self.addresses.clone());
        eventually(KAFKA_STARTS_WITHIN, "Apache Kafka to answer", || {
            if let Ok(Some(status)) = self.process.ended() {
                panic!("Apache Kafka ended: {status}");
            }
            broker.announced().map_err(|error| format!("{error:#}"))
        });
        broker
    }
}

/// Starts a fleet of ours.
pub fn fleet() -> Fleet {
    let mut manifest = String::from(
        "apiVersion: flotilla.dev/v1alpha1\n\
         kind: Cluster\n\
         metadata: {name: test}\n\
         spec:\n\
         \x20 replicas: 1\n\
         \x20 listeners:\n\
         \x20   - {name: plain, port: 9092}\n\
         \x20   - {name: sasl, port: 9093, authentication: [scram-sha-512]}\n\
         \x20 authorization: {type: acl, superUsers: [ANONYMOUS]}\n\
         \x20 config:\n",
    );
    for (name, value) in SETTINGS {
        manifest += &format!("    {name}: \"{value}\"\n");
    }
    Fleet::start(&BTreeMap::from([("cluster.yaml".to_owned(), manifest)]))
}

/// Its broker.
pub fn broker_of(fleet: &Fleet) -> Broker {
    let file = fleet.data().join("brokers/0/broker.yaml");
    let config = BrokerConfig::load(&file).expect("up wrote a configuration");
    let address = |name: &str| {
        let listener = config.listeners.iter().find(|listener| listener.name == name);
        listener.expect("the manifest has it").bind.to_string()
    };
    Broker::new(Addresses {
        plain: address("plain"),
        sasl: address("sasl"),
    })
}
