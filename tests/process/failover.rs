//! Brokers die while an idempotent producer with acks=all writes: writes go on within three seconds, and what was
//! acknowledged is read back exactly once.

use std::time::{Duration, Instant};

use crate::fleet::{Fleet, manifests, partition_of};
use crate::kafka::config;
use crate::writer::{Writer, check};

/// Within this after a kill, writes must go on.
const RESUME_WITHIN: Duration = Duration::from_secs(3);

#[test]
fn writes_go_on_when_the_leader_of_a_partition_is_killed() {
    let fleet = Fleet::start(&manifests(3, &[("orders", 1, 3)]));
    let writer = Writer::start(&config(fleet.bootstrap()), "orders");
    writer.wait_for_more(200, Duration::from_secs(20));
    let killed = fleet.leader("orders", 0);
    fleet.kill_broker(killed);
    assert_resumed(&writer, Instant::now());
    check(&config(fleet.bootstrap()), "orders", &writer.finish());
}

#[test]
fn writes_go_on_when_the_leader_of_the_quorum_is_killed() {
    let fleet = Fleet::start(&manifests(3, &[("orders", 3, 3)]));
    let writer = Writer::start(&config(fleet.bootstrap()), "orders");
    writer.wait_for_more(200, Duration::from_secs(20));
    let status = fleet.status().expect("the status");
    fleet.kill_broker(
        status["controller"]["brokerId"]
            .as_i64()
            .expect("there is a controller"),
    );
    assert_resumed(&writer, Instant::now());
    check(&config(fleet.bootstrap()), "orders", &writer.finish());
}

#[test]
fn nothing_acknowledged_is_lost_when_all_brokers_are_killed() {
    let mut fleet = Fleet::start(&manifests(3, &[("orders", 3, 3)]));
    // The three keep their ports, so one client lives through it all.
    let writer = Writer::start(&config(fleet.bootstrap()), "orders");
    writer.wait_for_more(500, Duration::from_secs(20));
    let before = fleet.bootstrap().to_owned();
    fleet.kill();
    fleet.up();
    assert_eq!(fleet.bootstrap(), before, "ports are kept");
    assert_resumed(&writer, Instant::now());
    check(&config(fleet.bootstrap()), "orders", &writer.finish());
}

#[test]
fn killed_broker_leads_again_what_it_should_once_it_is_back() {
    let fleet = Fleet::start(&manifests(3, &[("orders", 3, 3)]));
    let preferred = |status: &serde_json::Value| {
        (0..3).all(|number| {
            let partition = partition_of(status, "orders", number);
            partition.is_some_and(|partition| {
                partition["leader"] == partition["replicas"][0]
                    && partition["isr"].as_array().map(Vec::len) == Some(3)
            })
        })
    };
    fleet.wait_for_status(Duration::from_secs(20), "preferred leaders", preferred);
    for id in 0..3 {
        let killed = fleet.pid_of(id);
        fleet.kill_broker(id);
        fleet.wait_for_status(Duration::from_secs(40), "the broker to lead again", |status| {
            let pid = &status["brokers"][id as usize]["pid"];
            pid.is_number() && *pid != killed && preferred(status)
        });
    }
}

/// After `killed`, what was in flight then drains first; five hundred more cannot all have been in flight.
fn assert_resumed(writer: &Writer, killed: Instant) {
    writer.wait_for_more(1_001, Duration::from_secs(20));
    let took = killed.elapsed();
    println!("1,001 more records {took:?} after the kill");
    assert!(
        took < RESUME_WITHIN,
        "writes went on only {took:?} after the kill"
    );
}
