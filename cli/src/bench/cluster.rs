//! The cluster under load: its brokers, the topics, and who leads each partition.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use flotilla_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use flotilla_protocol::messages::metadata_request::MetadataRequestTopic;
use flotilla_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, MetadataRequest, MetadataResponse,
};
use flotilla_protocol::{ApiKey, ErrorCode, Str, Uuid};

use super::client::{self, Connection};
use super::endpoint::Security;
use super::options::Common;

/// How long partitions of a new topic may take until each has a leader.
const LEADERS_PATIENCE: Duration = Duration::from_secs(120);
const LEADERS_PAUSE: Duration = Duration::from_millis(100);
/// Topics in one request to create them.
const CREATE_MAX: usize = 1000;
const CREATE_TIMEOUT_MS: i32 = 60_000;

/// A partition to write to or to read from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// The topic.
    pub topic: Str,
    /// Which of its partitions.
    pub index: i32,
}

/// Versions of the APIs that a load uses.
#[derive(Clone, Copy, Debug)]
pub struct Versions {
    /// Of Produce.
    pub produce: i16,
    /// Of Fetch.
    pub fetch: i16,
    /// Of ListOffsets.
    pub list_offsets: i16,
}

/// Brokers and partitions, as they were when the load began.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// `HOST:PORT` of each broker.
    pub addresses: BTreeMap<i32, String>,
    /// The partitions of each leader.
    pub leaders: BTreeMap<i32, Vec<Partition>>,
    /// What its brokers speak.
    pub versions: Versions,
}

impl Cluster {
    /// Asks the first bootstrap server that answers, and creates the topics that are missing where `create` says so.
    pub async fn discover(common: &Common, security: &Security, create: bool) -> anyhow::Result<Self> {
        let mut connection = bootstrap(common, security).await?;
        let offered = connection.call(0, &ApiVersionsRequest::default()).await?;
        client::check(offered.error_code)?;
        let offered: Vec<_> = offered
            .api_keys
            .iter()
            .map(|api| (api.api_key, api.min_version, api.max_version))
            .collect();
        let version = |api, floor, ours| client::version(&offered, api, floor, ours);
        let versions = Versions {
            // The newest that name topics; later ones say the same by id.
            produce: version(ApiKey::Produce, 3, 12)?,
            fetch: version(ApiKey::Fetch, 4, 12)?,
            list_offsets: version(ApiKey::ListOffsets, 1, 7)?,
        };
        let asking = version(ApiKey::Metadata, 4, 12)?;
        let mut described = describe(&mut connection, common, asking).await?;
        let missing = missing(&described)?;
        if !missing.is_empty() {
            if !create {
                bail!("topic `{}` does not exist; write to it first", missing[0]);
            }
            create_topics(
                &mut connection,
                common,
                &missing,
                version(ApiKey::CreateTopics, 4, 7)?,
            )
            .await?;
        }
        let deadline = Instant::now() + LEADERS_PATIENCE;
        loop {
            if let Some(cluster) = led(&described, versions) {
                return Ok(cluster);
            }
            if Instant::now() >= deadline {
                bail!(
                    "there are partitions without a leader after {} seconds",
                    LEADERS_PATIENCE.as_secs()
                );
            }
            tokio::time::sleep(LEADERS_PAUSE).await;
            described = describe(&mut connection, common, asking).await?;
        }
    }

    /// All partitions, in order.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.leaders.values().flatten()
    }

    /// Spreads at least `connections` over the leaders: the address of each with its partitions. With more connections than
    /// partitions several have the same one.
    pub fn spread(&self, connections: u32) -> Vec<(String, Vec<Partition>)> {
        let leaders = self.leaders.len().max(1);
        let mut spread = Vec::new();
        for (rank, (leader, partitions)) in self.leaders.iter().enumerate() {
            let of_leader = (connections as usize + leaders - 1 - rank) / leaders;
            let of_leader = of_leader.max(1);
            for place in 0..of_leader {
                let mine: Vec<_> = if partitions.len() >= of_leader {
                    partitions
                        .iter()
                        .skip(place)
                        .step_by(of_leader)
                        .cloned()
                        .collect()
                } else {
                    vec![partitions[place % partitions.len()].clone()]
                };
                spread.push((self.addresses[leader].clone(), mine));
            }
        }
        spread
    }
}

async fn bootstrap(common: &Common, security: &Security) -> anyhow::Result<Connection> {
    let mut failed = None;
    for address in &common.bootstrap_server {
        match Connection::open(address, security).await {
            Ok(connection) => return Ok(connection),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.context("--bootstrap-server names no broker")?)
}

async fn describe(
    connection: &mut Connection,
    common: &Common,
    version: i16,
) -> anyhow::Result<MetadataResponse> {
    let topics = common.topic_names().into_iter().map(|name| MetadataRequestTopic {
        name: Some(name.into()),
        topic_id: Uuid::ZERO,
    });
    let request = MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    connection.call(version, &request).await
}

/// The topics that are not there.
fn missing(described: &MetadataResponse) -> anyhow::Result<Vec<Str>> {
    let mut missing = Vec::new();
    for topic in &described.topics {
        let name = topic.name.clone().unwrap_or_default();
        match ErrorCode::from(topic.error_code) {
            ErrorCode::None | ErrorCode::LeaderNotAvailable => {}
            ErrorCode::UnknownTopicOrPartition => missing.push(name),
            error => bail!("topic `{name}`: the broker says {error:?}"),
        }
    }
    Ok(missing)
}

async fn create_topics(
    connection: &mut Connection,
    common: &Common,
    names: &[Str],
    version: i16,
) -> anyhow::Result<()> {
    let configs: Vec<_> = common
        .configs
        .iter()
        .map(|(key, value)| CreatableTopicConfig {
            name: key.clone().into(),
            value: Some(value.clone().into()),
        })
        .collect();
    for names in names.chunks(CREATE_MAX) {
        let topics = names.iter().map(|name| CreatableTopic {
            name: name.clone(),
            num_partitions: common.partitions,
            replication_factor: common.replication_factor.unwrap_or(-1),
            configs: configs.clone(),
            ..CreatableTopic::default()
        });
        let request = CreateTopicsRequest {
            topics: topics.collect(),
            timeout_ms: CREATE_TIMEOUT_MS,
            ..CreateTopicsRequest::default()
        };
        for topic in connection.call(version, &request).await?.topics {
            match ErrorCode::from(topic.error_code) {
                ErrorCode::None | ErrorCode::TopicAlreadyExists => {}
                error => {
                    let why = topic
                        .error_message
                        .map(|message| message.to_string())
                        .unwrap_or_default();
                    bail!("cannot create topic `{}`: {error:?}: {why}", topic.name);
                }
            }
        }
    }
    Ok(())
}

/// The cluster, if every topic is there and every partition has a leader with an address.
fn led(described: &MetadataResponse, versions: Versions) -> Option<Cluster> {
    let addresses: BTreeMap<_, _> = described
        .brokers
        .iter()
        .map(|broker| (broker.node_id, format!("{}:{}", broker.host, broker.port)))
        .collect();
    let mut leaders: BTreeMap<i32, Vec<Partition>> = BTreeMap::new();
    for topic in &described.topics {
        if topic.error_code != 0 || topic.partitions.is_empty() {
            return None;
        }
        for partition in &topic.partitions {
            if !addresses.contains_key(&partition.leader_id) {
                return None;
            }
            leaders.entry(partition.leader_id).or_default().push(Partition {
                topic: topic.name.clone().unwrap_or_default(),
                index: partition.partition_index,
            });
        }
    }
    leaders.values_mut().for_each(|partitions| partitions.sort());
    Some(Cluster {
        addresses,
        leaders,
        versions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(leaders: &[(i32, i32)]) -> Cluster {
        let mut by_leader: BTreeMap<i32, Vec<Partition>> = BTreeMap::new();
        for (index, leader) in leaders {
            by_leader.entry(*leader).or_default().push(Partition {
                topic: "t".into(),
                index: *index,
            });
        }
        Cluster {
            addresses: by_leader.keys().map(|id| (*id, format!("b{id}"))).collect(),
            leaders: by_leader,
            versions: Versions {
                produce: 12,
                fetch: 12,
                list_offsets: 7,
            },
        }
    }

    fn spread(leaders: &[(i32, i32)], connections: u32) -> Vec<(String, Vec<i32>)> {
        let of = |partitions: Vec<Partition>| partitions.iter().map(|partition| partition.index).collect();
        cluster(leaders)
            .spread(connections)
            .into_iter()
            .map(|(address, partitions)| (address, of(partitions)))
            .collect()
    }

    #[test]
    fn connections_share_the_partitions_of_their_leader() {
        let leaders = [(0, 1), (1, 2), (2, 1), (3, 1)];
        assert_eq!(
            spread(&leaders, 1),
            [("b1".into(), vec![0, 2, 3]), ("b2".into(), vec![1])]
        );
        assert_eq!(
            spread(&leaders, 3),
            [
                ("b1".into(), vec![0, 3]),
                ("b1".into(), vec![2]),
                ("b2".into(), vec![1])
            ]
        );
        let many = spread(&leaders, 8);
        assert_eq!(many.len(), 8);
        assert!(many.iter().all(|(_, partitions)| partitions.len() == 1));
    }
}
