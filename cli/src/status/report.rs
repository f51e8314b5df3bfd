//! What is shown, in the form that programs read: names here are a promise.

use serde::Serialize;
use std::collections::BTreeMap;

use super::table::Table;

/// A fleet at one moment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Kafka's id of the cluster.
    pub cluster_id: String,
    /// Who leads the quorum.
    pub controller: Controller,
    /// By id.
    pub brokers: Vec<Broker>,
    /// By name.
    pub topics: Vec<Topic>,
    /// By name.
    pub groups: Vec<Group>,
}

/// The leader of the quorum.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Controller {
    /// -1: none is known.
    pub broker_id: i32,
}

/// Whether a broker serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It does.
    Online,
    /// It runs, or is said to, and the fleet does not count on it.
    Fenced,
    /// It has no process.
    Stopped,
}

/// A broker.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// Its process, where it has one.
    pub pid: Option<i32>,
    /// Whether it serves.
    pub state: State,
    /// Whether it votes in the quorum.
    pub voter: bool,
    /// HOST:PORT of the first listener.
    pub bootstrap: String,
    /// HOST:PORT of each listener.
    pub listeners: BTreeMap<String, String>,
}

/// A topic.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Kafka's id of it.
    pub id: String,
    /// By number.
    pub partitions: Vec<Partition>,
}

/// A partition.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// Its number.
    pub partition: i32,
    /// -1: none.
    pub leader: i32,
    /// How often leadership changed.
    pub leader_epoch: i32,
    /// All replicas.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub isr: Vec<i32>,
}

/// A consumer group.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Its name.
    pub name: String,
    /// As Kafka names it.
    pub state: String,
    /// Records that it has not committed yet, over all partitions.
    pub lag: i64,
    /// By topic and number.
    pub partitions: Vec<GroupPartition>,
}

/// How far a group has come in a partition.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupPartition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset that the group committed.
    pub committed: i64,
    /// Where the next record goes; -1 where the leader does not say.
    pub end: i64,
    /// Records between the two.
    pub lag: i64,
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("cluster {}", self.cluster_id);
        match self.controller.broker_id {
            -1 => text.push_str(", no controller is known\n"),
            id => text.push_str(&format!(", controller is broker {id}\n")),
        }
        let mut brokers = Table::new(&["BROKER", "STATE", "PROCESS", "VOTES", "LISTENERS"]);
        for broker in &self.brokers {
            let listeners: Vec<String> = broker
                .listeners
                .iter()
                .map(|(name, at)| format!("{name}={at}"))
                .collect();
            brokers.row([
                broker.id.to_string(),
                format!("{:?}", broker.state).to_lowercase(),
                broker.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                if broker.voter { "yes" } else { "no" }.to_owned(),
                listeners.join(" "),
            ]);
        }
        text.push_str(&format!("\n{brokers}"));
        if !self.topics.is_empty() {
            let mut partitions =
                Table::new(&["TOPIC", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN SYNC"]);
            for topic in &self.topics {
                for partition in &topic.partitions {
                    partitions.row([
                        topic.name.clone(),
                        partition.partition.to_string(),
                        match partition.leader {
                            -1 => "none".to_owned(),
                            leader => leader.to_string(),
                        },
                        partition.leader_epoch.to_string(),
                        list(&partition.replicas),
                        list(&partition.isr),
                    ]);
                }
            }
            text.push_str(&format!("\n{partitions}"));
        }
        if !self.groups.is_empty() {
            let mut groups = Table::new(&["GROUP", "STATE", "TOPIC", "PARTITION", "COMMITTED", "END", "LAG"]);
            for group in &self.groups {
                let sum = ["(all)", "", "", ""].map(str::to_owned);
                let [topic, partition, committed, end] = sum;
                groups.row([
                    group.name.clone(),
                    group.state.clone(),
                    topic,
                    partition,
                    committed,
                    end,
                    group.lag.to_string(),
                ]);
                for at in &group.partitions {
                    groups.row([
                        group.name.clone(),
                        String::new(),
                        at.topic.clone(),
                        at.partition.to_string(),
                        at.committed.to_string(),
                        at.end.to_string(),
                        at.lag.to_string(),
                    ]);
                }
            }
            text.push_str(&format!("\n{groups}"));
        }
        text
    }
}

fn list(ids: &[i32]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            cluster_id: "AAECAwQFBgcICQoLDA0O_w".to_owned(),
            controller: Controller { broker_id: 1 },
            brokers: vec![Broker {
                id: 1,
                pid: Some(4_711),
                state: State::Online,
                voter: true,
                bootstrap: "127.0.0.1:9092".to_owned(),
                listeners: BTreeMap::from([("plain".to_owned(), "127.0.0.1:9092".to_owned())]),
            }],
            topics: vec![Topic {
                name: "orders".to_owned(),
                id: "AQECAwQFBgcICQoLDA0O_w".to_owned(),
                partitions: vec![Partition {
                    partition: 0,
                    leader: 1,
                    leader_epoch: 4,
                    replicas: vec![1, 2],
                    isr: vec![1],
                }],
            }],
            groups: vec![Group {
                name: "checkout-1".to_owned(),
                state: "Stable".to_owned(),
                lag: 7,
                partitions: vec![GroupPartition {
                    topic: "orders".to_owned(),
                    partition: 0,
                    committed: 3,
                    end: 10,
                    lag: 7,
                }],
            }],
        }
    }

    #[test]
    fn programs_read_the_names_that_were_promised() {
        assert_eq!(
            serde_json::to_value(report()).unwrap(),
            serde_json::json!({
                "clusterId": "AAECAwQFBgcICQoLDA0O_w",
                "controller": {"brokerId": 1},
                "brokers": [{
                    "id": 1, "pid": 4711, "state": "online", "voter": true, "bootstrap": "127.0.0.1:9092",
                    "listeners": {"plain": "127.0.0.1:9092"},
                }],
                "topics": [{
                    "name": "orders", "id": "AQECAwQFBgcICQoLDA0O_w",
                    "partitions": [{"partition": 0, "leader": 1, "leaderEpoch": 4, "replicas": [1, 2], "isr": [1]}],
                }],
                "groups": [{
                    "name": "checkout-1", "state": "Stable", "lag": 7,
                    "partitions": [{"topic": "orders", "partition": 0, "committed": 3, "end": 10, "lag": 7}],
                }],
            })
        );
    }

    #[test]
    fn people_read_tables() {
        assert_eq!(
            report().text(),
            "\
cluster AAECAwQFBgcICQoLDA0O_w, controller is broker 1

BROKER  STATE   PROCESS  VOTES  LISTENERS
1       online  4711     yes    plain=127.0.0.1:9092

TOPIC   PARTITION  LEADER  EPOCH  REPLICAS  IN SYNC
orders  0          1       4      1,2       1

GROUP       STATE   TOPIC   PARTITION  COMMITTED  END  LAG
checkout-1  Stable  (all)                              7
checkout-1          orders  0          3          10   7
"
        );
    }
}
