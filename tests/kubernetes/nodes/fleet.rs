//! Manifests of fleets and topics, and a Kafka client in the test's own process.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::cluster::Namespace;

/// How long a fleet may take from nothing to Ready, on a machine that does other things too.
pub const READY_WITHIN: Duration = Duration::from_secs(60);

/// How long a fleet may leave a client without an answer while its brokers change.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A Cluster `events` whose listener `outside` is reached without a password at a port of the nodes.
pub fn cluster(replicas: u32) -> String {
    format!(
        "apiVersion: flotilla.dev/v1alpha1
kind: Cluster
metadata: {{name: events}}
spec:
  replicas: {replicas}
  rackTopologyKey: topology.kubernetes.io/zone
  pools: [{{name: main, volumes: [{{name: data, size: 1Gi}}]}}]
  listeners:
    - {{name: internal, port: 9092, tls: true, authentication: [scram-sha-512]}}
    - {{name: outside, port: 9094, exposure: {{type: NodePort}}}}
  config:
    min.insync.replicas: {}
    default.replication.factor: {}
    auto.create.topics.enable: false
",
        if replicas >= 3 { 2 } else { 1 },
        replicas.min(3),
    )
}

/// A Topic of it; `config` is the inside of a YAML mapping, such as `retention.ms: 1000`.
pub fn topic(name: &str, partitions: u32, replicas: u32, config: &str) -> String {
    format!(
        "---
apiVersion: flotilla.dev/v1alpha1
kind: Topic
metadata: {{name: {name}}}
spec:
  cluster: {{name: events}}
  partitions: {partitions}
  replicas: {replicas}
  config: {{{config}}}
"
    )
}

/// A User of it with a password that the operator draws.
pub fn user(name: &str) -> String {
    format!(
        "---
apiVersion: flotilla.dev/v1alpha1
kind: User
metadata: {{name: {name}}}
spec:
  cluster: {{name: events}}
  authentication: {{type: scram-sha-512}}
"
    )
}

/// librdkafka in this process, outside of Kubernetes: it comes in at a port of the nodes.
pub struct Outside {
    config: ClientConfig,
}

/// A partition, as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub id: i32,
    pub leader: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
}

impl Outside {
    /// A client of the Cluster `events` in a namespace, which must be Ready.
    pub fn of(namespace: &Namespace<'_>) -> Self {
        let cluster = namespace
            .get("cluster.flotilla.dev/events")
            .expect("there is a Cluster");
        let servers = cluster["status"]["listeners"]["outside"]
            .as_str()
            .unwrap_or_else(|| panic!("no bootstrap servers in {cluster}"));
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", servers);
        Self { config }
    }

    /// A configuration to make producers and consumers from.
    pub fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// Writes records, each under a key of its own, until all are acknowledged by all replicas in sync.
    pub fn write(&self, topic: &str, values: impl IntoIterator<Item = String>) {
        let producer: ThreadedProducer<DefaultProducerContext> = self
            .config()
            .set("enable.idempotence", "true")
            .create()
            .expect("a producer");
        for (number, value) in values.into_iter().enumerate() {
            let key = number.to_string();
            producer
                .send(BaseRecord::to(topic).key(&key).payload(&value))
                .map_err(|(error, _)| error)
                .expect("room for a record");
        }
        producer.flush(Duration::from_secs(30)).expect("all is written");
    }

    /// The partitions of a topic; empty while there is no such topic. Asks again while no broker answers.
    pub fn partitions(&self, topic: &str) -> Vec<Partition> {
        let client: BaseConsumer = self.config.create().expect("a client");
        let deadline = Instant::now() + ANSWER_WITHIN;
        let metadata = loop {
            match client.fetch_metadata(Some(topic), Duration::from_secs(5)) {
                Ok(metadata) => break metadata,
                Err(error) => assert!(Instant::now() < deadline, "metadata of {topic}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        let mut partitions: Vec<_> = metadata.topics()[0]
            .partitions()
            .iter()
            .map(|partition| Partition {
                id: partition.id(),
                leader: partition.leader(),
                replicas: sorted(partition.replicas()),
                isr: sorted(partition.isr()),
            })
            .collect();
        partitions.sort_by_key(|partition| partition.id);
        partitions
    }

    /// How many records a topic has, from the watermarks of its partitions.
    pub fn records(&self, topic: &str) -> i64 {
        let consumer: BaseConsumer = self.config.create().expect("a client");
        self.partitions(topic)
            .iter()
            .map(|partition| {
                let (low, high) = consumer
                    .fetch_watermarks(topic, partition.id, ANSWER_WITHIN)
                    .expect("an answer");
                high - low
            })
            .sum()
    }

    /// The value of a topic's setting.
    pub fn setting(&self, topic: &str, name: &str) -> Option<String> {
        let described = wait(
            self.admin()
                .describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new()),
        )
        .expect("an answer");
        let config = described
            .into_iter()
            .next()
            .expect("one topic")
            .expect("its settings");
        config.get(name).and_then(|entry| entry.value.clone())
    }

    /// Sets a topic's setting, as somebody with Kafka's tools would.
    pub fn set(&self, topic: &str, name: &str, value: &str) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
        let answers = wait(self.admin().alter_configs([&change], &AdminOptions::new())).expect("an answer");
        answers.into_iter().next().expect("one topic").expect("it is set");
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config.create().expect("a client")
    }
}

fn sorted(ids: &[i32]) -> Vec<i32> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}
