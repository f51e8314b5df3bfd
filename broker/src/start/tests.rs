//! A whole broker in this process, on loopback and on a real disk.

use super::*;
use crate::coordination::testing::Authority;
use crate::net::tests::client::Client;
use flotilla_control::config::{self, Advertised, Internal, Listener, Peer, Voter};
use flotilla_control::tls::Identity as Member;
use flotilla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use flotilla_protocol::messages::metadata_request::MetadataRequestTopic;
use flotilla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use flotilla_protocol::messages::{FetchRequest, MetadataRequest, ProduceRequest};
use flotilla_protocol::records::{self, BatchBuilder, Batches, parse_batches};
use flotilla_protocol::{BrokerId, ErrorCode, Offset};
use tokio::net::TcpStream;

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
}

/// The only broker and voter of its cluster, in that directory.
fn alone(dir: &Path) -> BrokerConfig {
    let mut config = crate::broker::testing::config();
    let authority = Authority::new(dir);
    config.internal_tls = authority.issue(config.cluster_id, Member::Broker(config.broker_id));
    let control = free_address();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let advertised = |port| Advertised {
        host: "127.0.0.1".into(),
        port,
    };
    config.data_dirs = vec![dir.join("data"), dir.join("more")];
    config.listeners = vec![Listener {
        name: "internal".into(),
        bind: any,
        advertised: Some(advertised(0)),
        tls: None,
        authentication: Vec::new(),
    }];
    config.replication = Internal {
        bind: any,
        advertised: advertised(0),
    };
    config.control = Internal {
        bind: control,
        advertised: advertised(control.port()),
    };
    config.quorum = config::Quorum {
        voters: vec![Voter {
            broker_id: BrokerId(0),
            directory_id: Uuid([3; 16]),
            address: control.to_string(),
        }],
        bootstrapped: false,
        peers: vec![Peer {
            broker_id: BrokerId(0),
            address: control.to_string(),
        }],
    };
    config
}

async fn running(config: &BrokerConfig) -> (Running, Client) {
    let running = Box::pin(start(config.clone(), log::Level::default()))
        .await
        .unwrap();
    let stream = TcpStream::connect(running.address("internal").unwrap())
        .await
        .unwrap();
    (running, Client::of(stream))
}

/// The id of a topic, which comes into being by asking for it.
async fn topic(client: &mut Client, name: &'static str) -> Uuid {
    let topic = MetadataRequestTopic {
        name: Some(name.into()),
        topic_id: Uuid::ZERO,
    };
    let request = MetadataRequest {
        topics: Some(vec![topic]),
        ..MetadataRequest::default()
    };
    let response = client.call(13, &request).await.unwrap();
    assert_eq!(response.topics[0].error_code, ErrorCode::None);
    assert_eq!(response.topics[0].partitions[0].leader_id, 0);
    response.topics[0].topic_id
}

/// Produces as clients do: a partition that was made a moment ago may not be led yet by whom the metadata names.
async fn produce(client: &mut Client, topic_id: Uuid, value: &[u8]) -> Offset {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (error, offset) = try_produce(client, topic_id, value).await;
        if error == ErrorCode::NotLeaderOrFollower && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        assert_eq!(error, ErrorCode::None);
        return offset;
    }
}

async fn try_produce(client: &mut Client, topic_id: Uuid, value: &[u8]) -> (ErrorCode, Offset) {
    let mut batch = BatchBuilder::new(Offset(0));
    batch.push(clock::now_ms(), None, Some(value), &[]);
    let partition = PartitionProduceData {
        index: 0,
        records: Some(batch.build().freeze().into()),
    };
    let topic = TopicProduceData {
        name: "".into(),
        topic_id,
        partition_data: vec![partition],
    };
    let request = ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![topic],
    };
    let response = client.call(13, &request).await.unwrap();
    let partition = &response.responses[0].partition_responses[0];
    (
        ErrorCode::from(partition.error_code),
        Offset(partition.base_offset),
    )
}

async fn values(client: &mut Client, topic_id: Uuid) -> Vec<Vec<u8>> {
    let partition = FetchPartition {
        partition: 0,
        fetch_offset: 0,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic: "".into(),
        topic_id,
        partitions: vec![partition],
    };
    let request = FetchRequest {
        max_bytes: 1 << 20,
        topics: vec![topic],
        session_epoch: -1,
        ..FetchRequest::default()
    };
    // A broker that has just started is ready before it has taken its roles.
    let deadline = Instant::now() + Duration::from_secs(10);
    let response = loop {
        let response = client.call(17, &request).await.unwrap();
        let code = ErrorCode::from(response.responses[0].partitions[0].error_code);
        if code != ErrorCode::NotLeaderOrFollower || Instant::now() >= deadline {
            break response;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let partition = &response.responses[0].partitions[0];
    assert_eq!(partition.error_code, ErrorCode::None);
    let bytes = partition.records.clone().unwrap().into_bytes();
    let batches: Batches<'_> = parse_batches(&bytes);
    let mut values = Vec::new();
    for batch in batches {
        let (_, header, batch) = batch.unwrap();
        for record in records::Records::new(&header, &batch[records::HEADER_BYTES..]) {
            values.push(record.unwrap().value.unwrap().to_vec());
        }
    }
    values
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_survive_an_orderly_stop() {
    let dir = tempfile::tempdir().unwrap();
    let config = alone(dir.path());
    let (broker, mut client) = running(&config).await;
    assert_eq!(broker.broker().telemetry.readiness.phase(), Phase::Ready);
    let id = topic(&mut client, "orders").await;
    assert_eq!(produce(&mut client, id, b"one").await, Offset(0));
    assert_eq!(produce(&mut client, id, b"two").await, Offset(1));
    assert_eq!(values(&mut client, id).await, [b"one", b"two"]);
    broker.drain().await;
    assert!(!client.is_served().await);
    assert!(dir.path().join("data/.kafka_cleanshutdown").exists());

    let (broker, mut client) = running(&config).await;
    assert_eq!(topic(&mut client, "orders").await, id);
    assert_eq!(values(&mut client, id).await, [b"one", b"two"]);
    assert_eq!(produce(&mut client, id, b"three").await, Offset(2));
    broker.drain().await;
}

async fn refusal(config: BrokerConfig) -> String {
    match Box::pin(start(config, log::Level::default())).await {
        Ok(_) => panic!("it starts"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn port_that_is_taken_costs_no_data() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let mut config = alone(dir.path());
    config.listeners[0].bind = address;
    let error = refusal(config.clone()).await;
    let expected = format!("listener `internal` cannot listen on {address}: another process has that port.");
    assert!(error.starts_with(&expected), "{error}");
    config.listeners[0].bind = SocketAddr::from(([127, 0, 0, 1], 0));
    config.control.bind = address;
    let error = refusal(config).await;
    assert!(
        error.starts_with(&format!("listener `control` cannot listen on {address}")),
        "{error}"
    );
    assert!(!dir.path().join("data").exists());
}

#[tokio::test]
async fn directory_of_another_broker_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = alone(dir.path());
    let disk = RealDisk::new(10);
    let identity = Identity {
        cluster_id: config.cluster_id.to_string(),
        broker_id: BrokerId(7),
        directory_id: Uuid([1; 16]),
    };
    Volume::format(&disk, &config.data_dirs[1], &identity).unwrap();
    let error = refusal(config.clone()).await;
    assert!(error.contains("more"), "{error}");
    config.data_dirs.clear();
    assert_eq!(refusal(config).await, StartError::NoDataDirs.to_string());
}

#[tokio::test]
async fn listeners_that_cannot_be_safe_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = alone(dir.path());
    config.listeners[0].authentication = vec![config::Authentication::Plain];
    assert!(refusal(config.clone()).await.contains("PLAIN shows passwords"));
    config.listeners[0].authentication = vec![config::Authentication::Mtls];
    assert!(
        refusal(config.clone())
            .await
            .contains("client certificates need TLS")
    );
    config.listeners[0].authentication = vec![config::Authentication::OauthBearer];
    assert!(refusal(config.clone()).await.contains("OAUTHBEARER shows tokens"));
    config.listeners[0].authentication = Vec::new();
    config.listeners[0].tls = Some(config::ListenerTls {
        certificate: dir.path().join("none.pem"),
        key: dir.path().join("none.key"),
        client_ca: None,
    });
    assert!(refusal(config).await.contains("cannot read"));
}
