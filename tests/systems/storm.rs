//! Storm: a topology that reads by its spout for Kafka and writes by its bolt, in a cluster of its own process.

use std::path::Path;
use std::time::Duration;

use crate::committed::Reader;
use crate::process::Process;
use crate::system::{System, kill_broker};
use crate::words::{self, COPIES, LINES, PARTITIONS, Words};
use crate::{feed, java};

const STORM: System = System {
    name: "Storm",
    version: "2.8.3",
};
const RAN: &str = "spout and bolt of storm-kafka-client, at least once; kill -9 of a broker and of the cluster, which goes on from what it \
                   committed: no line lost";
const TOPICS: [(&str, u32); 2] = [(LINES, PARTITIONS), (COPIES, PARTITIONS)];
/// So many lines are copied between two events.
const BETWEEN: usize = 500;
const WITHIN: Duration = Duration::from_secs(150);

#[test]
fn storm_copies_without_loss_through_kills() {
    STORM.test(&TOPICS, RAN, |fleet| {
        let bootstrap = fleet.bootstrap();
        let directory = tempfile::tempdir().expect("a directory");
        let words = Words::to(bootstrap);
        let (written, _storm) = feed::beside(
            |number| words.give(number),
            || {
                let mut copies = Reader::of(bootstrap, COPIES);
                let mut more = || copies.wait_for_more(BETWEEN, WITHIN);
                let mut storm = start(bootstrap, directory.path());
                more();
                kill_broker(fleet, fleet.leader(COPIES, 0));
                more();
                storm.kill();
                storm = start(bootstrap, directory.path());
                more();
                storm
            },
        );
        words.finish(written);
        words::wait_until_copied(bootstrap, WITHIN);
    });
}

fn start(bootstrap: &str, directory: &Path) -> Process {
    let mut command = java::jvm("storm", directory, &["-Xmx512m"]);
    command.arg(java::program("storm/Copy.java")).arg(bootstrap);
    Process::start("Storm", &mut command)
}
