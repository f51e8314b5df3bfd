//! Puts together what the directory, the fleet and its brokers know.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use flotilla_control::config::BrokerConfig;
use flotilla_control::{BrokerId, Uuid};
use flotilla_operator::fleet::{Fleet, View};

use super::groups;
use super::report::{Broker, Controller, Partition, Report, State, Topic};
use crate::home::Home;
use crate::kafka::Brokers;

/// The fleet as far as it can be known, and why that is not everything, if it is not.
pub async fn collect(home: &Home) -> anyhow::Result<(Report, Option<anyhow::Error>)> {
    let configs = home.broker_configs()?;
    let cluster_id = configs
        .first()
        .context("no broker has been started here yet")?
        .cluster_id;
    let mut report = Report {
        cluster_id: cluster_id.to_string(),
        controller: Controller { broker_id: -1 },
        brokers: configs.iter().map(|config| broker(home, config)).collect(),
        topics: Vec::new(),
        groups: Vec::new(),
    };
    let trouble = ask(home, &configs, &mut report).await.err();
    Ok((report, trouble))
}

/// A broker as this machine knows it.
fn broker(home: &Home, config: &BrokerConfig) -> Broker {
    let pid = home.broker_process(config.broker_id);
    let address = |listener: &flotilla_control::config::Listener| {
        let advertised = listener.advertised.as_ref().map(ToString::to_string);
        advertised.unwrap_or_else(|| listener.bind.to_string())
    };
    Broker {
        id: config.broker_id.0,
        pid,
        state: if pid.is_some() {
            State::Fenced
        } else {
            State::Stopped
        },
        voter: false,
        bootstrap: config.listeners.first().map(address).unwrap_or_default(),
        listeners: config
            .listeners
            .iter()
            .map(|listener| (listener.name.clone(), address(listener)))
            .collect(),
    }
}

async fn ask(home: &Home, configs: &[BrokerConfig], report: &mut Report) -> anyhow::Result<()> {
    let fleet = Fleet::follow(home.access(configs)?);
    let view = fleet.seen().await?;
    let quorum = fleet.describe_quorum().await?;
    report.controller.broker_id = quorum.leader.map_or(-1, |leader| leader.broker_id);
    let voters: BTreeSet<i32> = quorum.voters.iter().map(|voter| voter.broker_id).collect();
    for broker in &mut report.brokers {
        broker.voter = voters.contains(&broker.id);
        let serves = view.brokers.get(&broker.id).is_some_and(|broker| !broker.fenced);
        broker.state = match (serves, broker.pid) {
            (true, _) => State::Online,
            (false, Some(_)) => State::Fenced,
            (false, None) => State::Stopped,
        };
    }
    report.topics = topics(&view);
    let leaders = leaders(&report.topics);
    let online: Vec<BrokerId> = report
        .brokers
        .iter()
        .filter(|broker| broker.state == State::Online)
        .map(|broker| BrokerId(broker.id))
        .collect();
    let mut brokers = Brokers::of(home, configs)?;
    report.groups = groups::collect(&mut brokers, &online, &leaders).await?;
    Ok(())
}

fn topics(view: &View) -> Vec<Topic> {
    view.topics
        .values()
        .filter_map(|state| {
            let topic = state.topic.as_ref()?;
            let partitions: Vec<Partition> = state
                .partitions
                .iter()
                .map(|partition| Partition {
                    partition: partition.partition,
                    leader: partition.leader,
                    leader_epoch: partition.leader_epoch,
                    replicas: partition.replicas.clone(),
                    isr: partition.isr.clone(),
                })
                .collect();
            Some(Topic {
                name: topic.name.clone(),
                id: Uuid::from_slice(&topic.topic_id).unwrap_or_default().to_string(),
                partitions,
            })
        })
        .collect()
}

fn leaders(topics: &[Topic]) -> BTreeMap<(String, i32), BrokerId> {
    topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)))
        .filter(|(_, partition)| partition.leader >= 0)
        .map(|(topic, partition)| {
            (
                (topic.name.clone(), partition.partition),
                BrokerId(partition.leader),
            )
        })
        .collect()
}
