//! Two thousand groups of two members each on three brokers: they rebalance and heartbeat, nobody expires, and the brokers hardly notice.

use std::time::{Duration, Instant};

use crate::crowd::{Crowd, Phase, Protocol};
use crate::figures::ms;
use crate::fleet::{Fleet, manifests};
use crate::report;

/// Processor time of all brokers in each phase, in cores.
const CORES_MAX: f64 = 0.5;
/// A change of each group is two rebalances: one without the member that left, one with it.
const REBALANCES_A_CHANGE: usize = 2;

#[tokio::test]
async fn thousands_of_members_rebalance_and_heartbeat_and_nobody_expires() {
    rebalance_and_heartbeat(Protocol::Classic).await;
}

#[tokio::test]
async fn thousands_of_members_of_the_new_protocol_rebalance_and_heartbeat_and_nobody_expires() {
    rebalance_and_heartbeat(Protocol::Consumer).await;
}

async fn rebalance_and_heartbeat(protocol: Protocol) {
    let groups = report::argument("FLOTILLA_GROUPS", 100) as usize;
    let seconds = report::argument("FLOTILLA_SECONDS", 10);
    let phase = Duration::from_secs(seconds);
    let fleet = Fleet::start(&manifests(3, &[("t", 2, 3)]));
    fleet.leader("t", 0);
    let mut crowd = Crowd::of(&fleet, protocol, groups);

    let begun = Instant::now();
    crowd.wait_whole().await;
    println!(
        "{groups} groups have their assignments after {} ms",
        ms(begun.elapsed())
    );

    let changes = crowd.during(&fleet, phase, true).await;
    let quiet = crowd.during(&fleet, phase, false).await;
    judge(protocol, &crowd, groups, seconds, &changes, &quiet);
}

/// Adds a line to the report, and holds what was seen to its targets.
fn judge(protocol: Protocol, crowd: &Crowd, groups: usize, seconds: u64, changes: &Phase, quiet: &Phase) {
    let expired = crowd.expired();
    let met = expired == 0 && changes.cores < CORES_MAX && quiet.cores < CORES_MAX;
    let section = match protocol {
        Protocol::Classic => "Many groups",
        Protocol::Consumer => "Many groups of the new protocol",
    };
    report::add(
        section,
        &[
            groups.to_string(),
            seconds.to_string(),
            (crowd.changes() * REBALANCES_A_CHANGE).to_string(),
            format!("{:.2}", changes.cores),
            (changes.heartbeats.len() + quiet.heartbeats.len()).to_string(),
            ms(quiet.heartbeats.percentile(99.0)),
            ms(quiet.heartbeats.max()),
            format!("{:.2}", quiet.cores),
            format!("{:.0}", quiet.resident_mb),
            expired.to_string(),
        ],
        met,
    );
    assert_eq!(crowd.changes(), groups, "each group was to change once");
    assert_eq!(expired, 0, "members expired");
    assert!(
        met || !report::is_judged(),
        "the brokers took {:.2} cores while groups changed, {:.2} while they did not",
        changes.cores,
        quiet.cores
    );
}
