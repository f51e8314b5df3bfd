//! Consumers that read from the replica of their rack (KIP-392), as librdkafka does it with `client.rack`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flotilla_control::proto::fleet::ApplyBrokerRequest;
use flotilla_control::proto::metadata::BrokerPlacement;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::message::Message;
use rdkafka::{ClientContext, Offset, Statistics, TopicPartitionList};

use crate::contract::Operator;
use crate::fleet::{Fleet, manifests, partition_of};
use crate::kafka::{config, produce};

const SELECTOR: &str =
    "    replica.selector.class: org.apache.kafka.common.replica.RackAwareReplicaSelector\n";
const SOON: Duration = Duration::from_secs(30);

/// From which broker partition 0 is fetched, as the client itself says.
#[derive(Clone, Default)]
struct Source(Arc<Mutex<Option<i32>>>);

impl ClientContext for Source {
    fn stats(&self, statistics: Statistics) {
        let topic = statistics.topics.get("orders");
        let partition = topic.and_then(|topic| topic.partitions.get(&0));
        *self.0.lock().expect("not poisoned") = partition.map(|partition| partition.broker);
    }
}

impl ConsumerContext for Source {}

/// A consumer in a rack, and the values that it got.
struct Reader {
    consumer: BaseConsumer<Source>,
    source: Source,
    values: Vec<String>,
}

impl Reader {
    fn start(bootstrap: &str, rack: &str) -> Self {
        let source = Source::default();
        let consumer: BaseConsumer<Source> = config(bootstrap)
            .set("group.id", "readers")
            .set("client.rack", rack)
            .set("statistics.interval.ms", "100")
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true")
            .create_with_context(source.clone())
            .expect("create a consumer");
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset("orders", 0, Offset::Offset(0))
            .expect("a valid offset");
        consumer.assign(&assignment).expect("assign");
        Self {
            consumer,
            source,
            values: Vec::new(),
        }
    }

    /// Reads until so many values are there and `holds` of the broker that they come from.
    fn read_until(&mut self, what: &str, count: usize, holds: impl Fn(Option<i32>) -> bool) {
        let deadline = Instant::now() + SOON;
        loop {
            let source = *self.source.0.lock().expect("not poisoned");
            if self.values.len() >= count && holds(source) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: {} of {count} values, the last from broker {source:?}",
                self.values.len()
            );
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let value = message.payload().expect("a value").to_vec();
                    self.values.push(String::from_utf8(value).expect("text"));
                }
                // A broker that was killed is gone, and the client says so.
                Some(Err(error)) => eprintln!("while reading: {error}"),
                None => {}
            }
        }
    }
}

fn place(operator: &Operator, broker: i32) {
    let request = ApplyBrokerRequest {
        placement: Some(BrokerPlacement {
            broker_id: broker,
            rack: format!("zone-{broker}"),
            endpoints: vec![],
        }),
        dry_run: false,
    };
    let answer = operator.call(async |mut client| client.apply_broker(request.clone()).await);
    assert_eq!(answer.expect("an answer").refusal, 0);
}

fn values(range: std::ops::Range<usize>) -> Vec<(Option<&'static str>, String)> {
    range.map(|number| (None, format!("value {number:04}"))).collect()
}

#[test]
fn consumer_reads_from_its_rack_and_from_the_leader_when_that_replica_dies() {
    let mut files: BTreeMap<String, String> = manifests(3, &[("orders", 1, 3)]);
    files
        .get_mut("cluster.yaml")
        .expect("there is a Cluster")
        .push_str(SELECTOR);
    let fleet = Fleet::start(&files);
    let operator = Operator::of(&fleet);
    (0..3).for_each(|broker| place(&operator, broker));
    let is_whole = |status: &serde_json::Value| {
        partition_of(status, "orders", 0).is_some_and(|p| p["isr"].as_array().map(Vec::len) == Some(3))
    };
    fleet.wait_for_status(SOON, "all in sync", is_whole);
    let leader = fleet.leader("orders", 0);
    let near = (leader + 1) % 3;
    let far = (leader + 2) % 3;

    produce(fleet.bootstrap(), "orders", &values(0..200), "none");
    let mut reader = Reader::start(fleet.bootstrap(), &format!("zone-{near}"));
    reader.read_until("the replica of the rack serves", 200, |source| {
        source == Some(near as i32)
    });
    // What is written from now on comes from there as well, as soon as it is committed.
    produce(fleet.bootstrap(), "orders", &values(200..400), "none");
    reader.read_until("it goes on there", 400, |source| source == Some(near as i32));

    let mut at_home = Reader::start(fleet.bootstrap(), &format!("zone-{leader}"));
    at_home.read_until("the leader serves its own rack", 400, |source| {
        source == Some(leader as i32)
    });
    let mut nowhere = Reader::start(fleet.bootstrap(), "zone-9");
    nowhere.read_until("the leader serves a rack without a replica", 400, |source| {
        source == Some(leader as i32)
    });

    fleet.kill_broker(near);
    produce(fleet.bootstrap(), "orders", &values(400..600), "none");
    reader.read_until("others serve while the replica is away", 600, |_| true);
    fleet.wait_for_status(SOON, "all in sync again", is_whole);

    // The leader dies: a replica that serves consumers goes on, whoever leads now.
    let far_reader = Reader::start(fleet.bootstrap(), &format!("zone-{far}"));
    let leader = fleet.leader("orders", 0);
    fleet.kill_broker(leader);
    produce(fleet.bootstrap(), "orders", &values(600..800), "none");
    for mut reader in [reader, at_home, nowhere, far_reader] {
        reader.read_until("all is read", 800, |_| true);
        let expected: Vec<_> = values(0..800).into_iter().map(|(_, value)| value).collect();
        assert_eq!(reader.values, expected, "each once, in order");
    }
}
