//! Kafka's protocol over the reserved listener of brokers, with the certificate of the command line: for what only brokers
//! know, whatever listeners, users and rules the Cluster has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use flotilla_control::config::BrokerConfig;
use flotilla_control::tls::{self, Credentials};
use flotilla_control::{BrokerId, Uuid};
use flotilla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use flotilla_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use flotilla_protocol::{Message as _, Request, Str, frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::home::Home;

/// How long a broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// No answer that is asked for here is larger.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// ListOffsets' version, and its timestamp for the end of a log.
const LIST_OFFSETS: i16 = 7;
const LATEST: i64 = -1;

/// Connections to the brokers of a fleet, made when they are needed.
pub struct Brokers {
    cluster_id: Uuid,
    connector: TlsConnector,
    addresses: BTreeMap<BrokerId, String>,
    connections: BTreeMap<BrokerId, Connection>,
}

impl Brokers {
    /// To the fleet in a directory.
    pub fn of(home: &Home, configs: &[BrokerConfig]) -> anyhow::Result<Self> {
        let first = configs.first().context("no broker has been started here yet")?;
        let config = Credentials::read(&home.operator_tls())?.client_config()?;
        Ok(Self {
            cluster_id: first.cluster_id,
            connector: TlsConnector::from(Arc::new(config)),
            addresses: configs
                .iter()
                .map(|config| (config.broker_id, config.replication.advertised.to_string()))
                .collect(),
            connections: BTreeMap::new(),
        })
    }

    /// Asks one broker.
    pub async fn ask<R: Request>(
        &mut self,
        broker: BrokerId,
        version: i16,
        request: &R,
    ) -> anyhow::Result<R::Response> {
        let asked = tokio::time::timeout(TIMEOUT, self.ask_patiently(broker, version, request)).await;
        match asked {
            Ok(Ok(response)) => Ok(response),
            failed => {
                // Nobody knows what would come next on this connection.
                self.connections.remove(&broker);
                match failed {
                    Ok(Err(error)) => Err(error).with_context(|| format!("broker {broker}")),
                    _ => bail!(
                        "broker {broker} does not answer within {} seconds",
                        TIMEOUT.as_secs()
                    ),
                }
            }
        }
    }

    async fn ask_patiently<R: Request>(
        &mut self,
        broker: BrokerId,
        version: i16,
        request: &R,
    ) -> anyhow::Result<R::Response> {
        if !self.connections.contains_key(&broker) {
            let connection = self.connect(broker).await?;
            self.connections.insert(broker, connection);
        }
        let connection = self
            .connections
            .get_mut(&broker)
            .expect("it was put there just now");
        connection.ask(version, request).await
    }

    async fn connect(&self, broker: BrokerId) -> anyhow::Result<Connection> {
        let address = self.addresses.get(&broker).context("its address is not known")?;
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(tls::server_name(self.cluster_id, broker))?;
        let stream = self.connector.connect(name, stream).await?;
        Ok(Connection {
            stream,
            received: BytesMut::new(),
            correlation_id: 0,
        })
    }

    /// The ends of partitions, by topic and partition: where the next record goes that consumers see. `leaders` says whom to
    /// ask; what has no leader, or whose leader does not answer, is left out.
    pub async fn latest(
        &mut self,
        leaders: &BTreeMap<(String, i32), BrokerId>,
    ) -> BTreeMap<(String, i32), i64> {
        let mut by_leader: BTreeMap<BrokerId, BTreeMap<&str, Vec<i32>>> = BTreeMap::new();
        for ((topic, partition), leader) in leaders {
            by_leader
                .entry(*leader)
                .or_default()
                .entry(topic)
                .or_default()
                .push(*partition);
        }
        let mut found = BTreeMap::new();
        for (leader, topics) in by_leader {
            let request = ListOffsetsRequest {
                replica_id: -1,
                topics: topics
                    .into_iter()
                    .map(|(name, partitions)| ListOffsetsTopic {
                        name: Str::from(name.to_owned()),
                        partitions: partitions
                            .into_iter()
                            .map(|partition_index| ListOffsetsPartition {
                                partition_index,
                                current_leader_epoch: -1,
                                timestamp: LATEST,
                            })
                            .collect(),
                    })
                    .collect(),
                ..ListOffsetsRequest::default()
            };
            let Ok(response) = self.ask(leader, LIST_OFFSETS, &request).await else {
                continue;
            };
            collect(response, &mut found);
        }
        found
    }
}

fn collect(response: ListOffsetsResponse, found: &mut BTreeMap<(String, i32), i64>) {
    for topic in response.topics {
        for partition in topic.partitions {
            if partition.error_code == 0 {
                found.insert(
                    (topic.name.to_string(), partition.partition_index),
                    partition.offset,
                );
            }
        }
    }
}

struct Connection {
    stream: TlsStream<TcpStream>,
    received: BytesMut,
    correlation_id: i32,
}

impl Connection {
    async fn ask<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<R::Response> {
        self.correlation_id += 1;
        let client = Str::from("flotilla-cli");
        for segment in frame::request(version, self.correlation_id, Some(&client), request)? {
            self.stream.write_all(&segment).await?;
        }
        self.stream.flush().await?;
        let frame = loop {
            if let Some(frame) = frame::split(&mut self.received, FRAME_BYTES_MAX)? {
                break frame;
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                bail!("it closed the connection without an answer");
            }
        };
        let (correlation_id, mut reader) = frame::decode_response(frame, R::KEY, version)?;
        if correlation_id != self.correlation_id {
            bail!("it answered another request than the one asked");
        }
        Ok(R::Response::decode(&mut reader, version)?)
    }
}
