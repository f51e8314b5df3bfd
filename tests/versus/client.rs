//! A client that asks until it is answered: brokers that are about to start, topics that are about to be there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use flotilla_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use flotilla_protocol::messages::metadata_request::MetadataRequestTopic;
use flotilla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use flotilla_protocol::messages::{CreateTopicsRequest, MetadataRequest, MetadataResponse, ProduceRequest};
use flotilla_protocol::records::BatchBuilder;
use flotilla_protocol::{ErrorCode, Offset, Records};

use crate::raw::Connection;

/// Versions that both contenders speak; the newest of Produce that names topics.
const METADATA: i16 = 12;
const CREATE_TOPICS: i16 = 7;
const PRODUCE: i16 = 12;

const PAUSE: Duration = Duration::from_millis(5);
const CREATE_TIMEOUT_MS: i32 = 15_000;
const PRODUCE_TIMEOUT_MS: i32 = 5_000;
/// Partitions that are written to by one request.
const PARTITIONS_MAX: usize = 1_000;
/// How long all partitions of a topic may take. Kafka takes minutes for ten thousand.
const ALL_WITHIN: Duration = Duration::from_secs(300);

/// A topic to create.
pub struct Topic<'a> {
    pub name: &'a str,
    pub partitions: i32,
    pub replicas: i16,
    pub settings: Vec<(String, String)>,
}

/// When partitions acknowledged a record.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    pub first: Instant,
    pub all: Instant,
}

/// How many brokers the one at this address knows.
pub fn brokers(address: &str) -> io::Result<usize> {
    let request = MetadataRequest {
        topics: Some(Vec::new()),
        ..MetadataRequest::default()
    };
    let response: MetadataResponse = Connection::try_open(address)?.call(METADATA, &request)?;
    Ok(response.brokers.len())
}

/// Creates a topic at whichever broker answers first; asks again until it is there.
pub fn create(addresses: &[String], topic: &Topic) -> anyhow::Result<()> {
    let deadline = Instant::now() + ALL_WITHIN;
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.name.to_owned().into(),
            num_partitions: topic.partitions,
            replication_factor: topic.replicas,
            configs: topic
                .settings
                .iter()
                .map(|(name, value)| CreatableTopicConfig {
                    name: name.clone().into(),
                    value: Some(value.clone().into()),
                })
                .collect(),
            ..CreatableTopic::default()
        }],
        timeout_ms: CREATE_TIMEOUT_MS,
        ..CreateTopicsRequest::default()
    };
    let mut last = String::new();
    while Instant::now() < deadline {
        for address in addresses {
            let answered = Connection::try_open(address)
                .and_then(|mut connection| connection.call(CREATE_TOPICS, &request));
            match answered.map(|response| response.topics) {
                Err(error) => last = error.to_string(),
                Ok(topics) => match topics.first() {
                    None => last = "an empty answer".to_owned(),
                    Some(answer) => match ErrorCode::from(answer.error_code) {
                        ErrorCode::None | ErrorCode::TopicAlreadyExists => return Ok(()),
                        code => {
                            last = format!("{code:?} {}", answer.error_message.as_deref().unwrap_or_default())
                        }
                    },
                },
            }
        }
        std::thread::sleep(PAUSE);
    }
    anyhow::bail!(
        "topic {} is not created after {} s: {last}",
        topic.name,
        ALL_WITHIN.as_secs()
    )
}

/// Writes a record to each partition of a topic, until all of them have acknowledged one. `acks` is as in Produce.
pub fn acknowledge_all(
    addresses: &[String],
    topic: &str,
    partitions: i32,
    acks: i16,
) -> anyhow::Result<Acknowledged> {
    let deadline = Instant::now() + ALL_WITHIN;
    let mut pending: BTreeSet<i32> = (0..partitions).collect();
    let mut connections: BTreeMap<String, Connection> = BTreeMap::new();
    let (mut first, mut last) = (None, String::new());
    loop {
        let leaders = leaders(addresses, &mut connections, topic).unwrap_or_else(|error| {
            last = error.to_string();
            BTreeMap::new()
        });
        for (address, led) in leaders {
            let led: Vec<i32> = led
                .into_iter()
                .filter(|partition| pending.contains(partition))
                .collect();
            for led in led.chunks(PARTITIONS_MAX) {
                match write(&address, &mut connections, topic, led, acks) {
                    Ok(answers) => {
                        for (partition, code) in answers {
                            if code == ErrorCode::None {
                                pending.remove(&partition);
                                first.get_or_insert_with(Instant::now);
                            } else {
                                last = format!("{topic}-{partition}: {code:?}");
                            }
                        }
                    }
                    Err(error) => last = format!("broker {address}: {error}"),
                }
            }
        }
        if let (true, Some(first)) = (pending.is_empty(), first) {
            let all = Instant::now();
            return Ok(Acknowledged { first, all });
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "{} partitions of {topic} have acknowledged nothing after {} s: {last}",
            pending.len(),
            ALL_WITHIN.as_secs()
        );
        std::thread::sleep(PAUSE);
    }
}

/// Has the connection to a broker do something. One that failed is made anew the next time.
fn with<T>(
    address: &str,
    connections: &mut BTreeMap<String, Connection>,
    ask: impl FnOnce(&mut Connection) -> io::Result<T>,
) -> io::Result<T> {
    let mut connection = match connections.remove(address) {
        Some(connection) => connection,
        None => Connection::try_open(address)?,
    };
    let answer = ask(&mut connection)?;
    connections.insert(address.to_owned(), connection);
    Ok(answer)
}

/// The partitions of each leader, by its address.
fn leaders(
    addresses: &[String],
    connections: &mut BTreeMap<String, Connection>,
    topic: &str,
) -> io::Result<BTreeMap<String, Vec<i32>>> {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(topic.to_owned().into()),
            ..MetadataRequestTopic::default()
        }]),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    let mut answered = Err(io::ErrorKind::NotFound.into());
    for address in addresses {
        answered = with(address, connections, |connection| {
            connection.call(METADATA, &request)
        });
        if answered.is_ok() {
            break;
        }
    }
    let response: MetadataResponse = answered?;
    let address_of: BTreeMap<i32, String> = response
        .brokers
        .iter()
        .map(|broker| (broker.node_id, format!("{}:{}", broker.host, broker.port)))
        .collect();
    let mut leaders: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
        if let Some(address) = address_of.get(&partition.leader_id) {
            leaders
                .entry(address.clone())
                .or_default()
                .push(partition.partition_index);
        }
    }
    Ok(leaders)
}

fn write(
    address: &str,
    connections: &mut BTreeMap<String, Connection>,
    topic: &str,
    partitions: &[i32],
    acks: i16,
) -> io::Result<Vec<(i32, ErrorCode)>> {
    let mut builder = BatchBuilder::new(Offset(0));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    builder.push(
        now.map_or(0, |now| now.as_millis() as i64),
        None,
        Some(b"a record"),
        &[],
    );
    let batch = builder.build().freeze();
    let data = partitions.iter().map(|index| PartitionProduceData {
        index: *index,
        records: Some(Records::from(batch.clone())),
    });
    let request = ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: PRODUCE_TIMEOUT_MS,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned().into(),
            partition_data: data.collect(),
            ..TopicProduceData::default()
        }],
    };
    let response = with(address, connections, |connection| {
        connection.call(PRODUCE, &request)
    })?;
    let answers = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    Ok(answers
        .map(|answer| (answer.index, ErrorCode::from(answer.error_code)))
        .collect())
}
