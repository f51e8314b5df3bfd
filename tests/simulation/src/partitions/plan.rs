//! What a seed plays: how large the fleet is, how it is set up, which faults there are.

use super::faults::Fault;
use crate::dice::Dice;
use std::collections::BTreeMap;

/// Where groups live.
pub(super) const GROUPS: &str = flotilla_broker::group::TOPIC;

/// One topic.
#[derive(Clone, Debug)]
pub(super) struct TopicPlan {
    pub name: String,
    /// The replicas of each partition, the preferred leader first.
    pub partitions: Vec<Vec<i32>>,
    pub configs: BTreeMap<String, String>,
}

/// Drawn from the seed before anything happens.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub brokers: usize,
    /// How many of the first brokers vote.
    pub voters: usize,
    /// Brokers that start late.
    pub latecomers: usize,
    /// `flush.policy=sync`: what is acknowledged survives the loss of all that was not synced, everywhere at once.
    pub synced: bool,
    /// `unclean.leader.election.enable`: then records may be lost, and only what does not depend on that is checked.
    pub unclean: bool,
    pub topics: Vec<TopicPlan>,
    /// Of all brokers' files.
    pub settings: BTreeMap<String, String>,
    /// For how long there are faults, in milliseconds.
    pub faults_ms: u64,
    /// How far they are apart on average, in milliseconds.
    pub fault_every_ms: u64,
    /// The kinds of faults of this seed: some only, so that each gets room to matter.
    pub faults: Vec<Fault>,
    pub producers: usize,
    /// Consumer groups, of two members each.
    pub groups: usize,
}

impl Plan {
    /// Whether acknowledged records may be lost: by an unclean election, or with what was not synced.
    pub fn is_lossy(&self) -> bool {
        self.unclean || (!self.synced && self.faults.iter().any(|fault| fault.loses_unsynced()))
    }

    /// `min.insync.replicas` of a topic.
    pub fn min_isr(&self, name: &str) -> usize {
        let topic = self.topics.iter().find(|topic| topic.name == name);
        let set = topic.and_then(|topic| topic.configs["min.insync.replicas"].parse().ok());
        set.unwrap_or(1)
    }

    /// What producers write to.
    pub fn data_topics(&self) -> impl Iterator<Item = &TopicPlan> {
        self.topics.iter().filter(|topic| topic.name != GROUPS)
    }

    pub fn draw(dice: &mut Dice) -> Self {
        let brokers = dice.between(3, 5) as usize;
        let synced = dice.chance(4, 5);
        let unclean = dice.chance(1, 16);
        let latecomers = usize::from(brokers > 3 && dice.chance(1, 3));
        let topics = (0..dice.between(1, 2))
            .map(|number| topic(dice, &format!("t{number}"), brokers - latecomers, synced, unclean))
            .collect::<Vec<_>>();
        let mut topics = topics;
        topics.push(topic(dice, GROUPS, brokers - latecomers, synced, unclean));
        let mut settings: BTreeMap<String, String> = [
            ("num.recovery.threads.per.data.dir", "1".to_owned()),
            ("replica.socket.timeout.ms", "1000".to_owned()),
            ("replica.fetch.wait.max.ms", "200".to_owned()),
            ("replica.lag.time.max.ms", dice.between(500, 3_000).to_string()),
            // Smaller than a topic may say: segments are to end often.
            ("log.segment.bytes", (dice.between(1, 8) * 1_024).to_string()),
            ("num.replica.fetchers", dice.between(1, 2).to_string()),
            (
                "leader.imbalance.check.interval.seconds",
                dice.between(2, 20).to_string(),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if dice.chance(1, 3) {
            settings.insert("auto.leader.rebalance.enable".to_owned(), "false".to_owned());
        }
        // Where nothing is synced before it is acknowledged, half of the seeds lose power, and are believed less.
        let keeps_power = !synced && dice.chance(1, 2);
        let possible: Vec<Fault> = Fault::all()
            .into_iter()
            .filter(|fault| !(keeps_power && fault.loses_unsynced()))
            .collect();
        let mut faults: Vec<Fault> = possible.iter().copied().filter(|_| dice.chance(1, 2)).collect();
        if faults.is_empty() {
            faults = possible;
        }
        Self {
            brokers,
            voters: if dice.chance(1, 5) { 1 } else { 3 },
            latecomers,
            synced,
            unclean,
            topics,
            settings,
            faults_ms: dice.between(4_000, 20_000) as u64,
            fault_every_ms: dice.between(150, 2_500) as u64,
            faults,
            groups: dice.between(1, 2) as usize,
            producers: dice.between(2, 4) as usize,
        }
    }
}

fn topic(dice: &mut Dice, name: &str, brokers: usize, synced: bool, unclean: bool) -> TopicPlan {
    let factor = if dice.chance(1, 10) { 2 } else { 3 };
    // Among two replicas, one that may lack what is acknowledged leaves none to spare.
    let min_isr = if dice.chance(1, 4) { 1 } else { 2 };
    let partitions = (0..dice.between(1, 3))
        .map(|_| {
            let mut replicas: Vec<i32> = (0..brokers as i32).collect();
            dice.shuffle(&mut replicas);
            replicas.truncate(factor);
            replicas
        })
        .collect();
    let mut configs: BTreeMap<String, String> = [
        ("min.insync.replicas", min_isr.to_string()),
        ("retention.ms", "-1".to_owned()),
        (
            "index.interval.bytes",
            dice.pick(&["1", "256", "4096"]).to_string(),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if !synced {
        configs.insert("flush.policy".to_owned(), "os".to_owned());
    }
    if unclean {
        configs.insert("unclean.leader.election.enable".to_owned(), "true".to_owned());
    }
    TopicPlan {
        name: name.to_owned(),
        partitions,
        configs,
    }
}
