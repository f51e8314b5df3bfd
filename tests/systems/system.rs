//! What every system's test begins and ends with: a fleet, and a row in the README.

use std::fmt::Write as _;
use std::time::Duration;

use crate::fleet::{Fleet, manifests};
use crate::java::bound;
use crate::machine;
use crate::table::Table;

const TABLE: Table = Table {
    name: "systems",
    of: "system",
    recipe: "just test-systems",
};

/// A system that is tested: its name and version, for its row.
pub struct System {
    pub name: &'static str,
    pub version: &'static str,
}

impl System {
    /// Runs the test on a fleet of three with these topics, each of so many partitions and three replicas; then the README says what
    /// was run.
    pub fn test(&self, topics: &[(&str, u32)], ran: &str, run: impl FnOnce(&Fleet)) {
        self.test_with(&[], topics, ran, run);
    }

    /// The same with settings of the brokers.
    pub fn test_with(
        &self,
        config: &[(&str, &str)],
        topics: &[(&str, u32)],
        ran: &str,
        run: impl FnOnce(&Fleet),
    ) {
        TABLE.withdraw(self.name);
        run(&fleet_of_three_with(config, topics));
        let date = machine::date();
        let day = date.split(' ').next().expect("a day");
        TABLE.enter(self.name, self.version, ran, &format!("passed, {day}"));
    }
}

/// Three brokers, of which two must have what is acknowledged. They end with this program, however it ends.
pub fn fleet_of_three(topics: &[(&str, u32)]) -> Fleet {
    fleet_of_three_with(&[], topics)
}

fn fleet_of_three_with(config: &[(&str, &str)], topics: &[(&str, u32)]) -> Fleet {
    let topics: Vec<_> = topics
        .iter()
        .map(|(name, partitions)| (*name, *partitions, 3))
        .collect();
    let mut files = manifests(3, &topics);
    let cluster = files.get_mut("cluster.yaml").expect("the cluster's manifest");
    // The manifest ends with the settings.
    for (name, value) in config {
        writeln!(cluster, "    {name}: {value}").expect("a string takes all");
    }
    let mut fleet = Fleet::prepare(&files);
    fleet.up_within(bound());
    for (topic, partitions, _) in topics {
        for partition in 0..partitions {
            fleet.leader(topic, i64::from(partition));
        }
    }
    fleet
}

/// `kill -9` of a broker, once all of them run.
pub fn kill_broker(fleet: &Fleet, id: i64) {
    fleet.wait_for_status(Duration::from_secs(60), "all brokers", |status| {
        let brokers = status["brokers"].as_array();
        brokers.is_some_and(|all| all.iter().all(|broker| broker["pid"].is_u64()))
    });
    fleet.kill_broker(id);
}
