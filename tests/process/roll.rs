//! Brokers are restarted one after another, as the operator does it, while clients write: nothing fails at the client.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::contract::Operator;
use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests, signal};
use crate::kafka::config;
use crate::writer::{Writer, check};

/// A record that waits longer has failed, as far as the producer is concerned.
const DELIVERY_TIMEOUT_MS: &str = "5000";
/// The pod's grace period is 60 s; without load, a broker needs far less.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn no_produce_fails_while_brokers_are_restarted_in_turn() {
    let fleet = Fleet::start(&manifests(3, &[("orders", 6, 3)]));
    let operator = Operator::of(&fleet);
    let writer = Writer::start_with(
        &config(fleet.bootstrap()),
        "orders",
        &[("message.timeout.ms", DELIVERY_TIMEOUT_MS)],
    );
    writer.wait_for_more(500, Duration::from_secs(20));
    for id in [0, 1, 2] {
        restart(&fleet, &operator, id);
        writer.wait_for_more(200, Duration::from_secs(10));
    }
    assert_eq!(writer.failures(), Vec::<String>::new());
    let acknowledged = writer.finish();
    println!("{} records acknowledged", acknowledged.len());
    check(&config(fleet.bootstrap()), "orders", &acknowledged);
}

/// Plan, grant, SIGTERM, start again (`up` does), in sync, grant given back.
fn restart(fleet: &Fleet, operator: &Operator, id: i32) {
    let began = Instant::now();
    eventually(Duration::from_secs(20), "a plan that has the broker", || {
        let plan = operator.plan_restart(&[id])?;
        match plan.batches.first() {
            Some(batch) if batch.broker_ids == [id] => Ok(()),
            _ => Err(format!("{plan:?}")),
        }
    });
    eventually(Duration::from_secs(20), "a grant", || {
        operator.prepare_restart(&[id], false)
    });
    let (pid, granted) = (fleet.broker_pid(i64::from(id)), began.elapsed());
    signal(pid, Signal::TERM);
    let stopping = Instant::now();
    fleet.wait_for_report(STOPPED_WITHIN, &format!("broker {id} stopped (exit status: 0"));
    let stopped = stopping.elapsed();
    fleet.wait_for_status(Duration::from_secs(30), "all replicas in sync", |status| {
        let brokers = status["brokers"].as_array().expect("brokers");
        let topics = status["topics"].as_array().expect("topics");
        let partitions = topics.iter().filter_map(|topic| topic["partitions"].as_array());
        brokers.iter().all(|broker| broker["state"] == "online")
            && brokers[id as usize]["pid"] != pid
            && partitions
                .flatten()
                .all(|partition| partition["isr"].as_array().map(Vec::len) == Some(3))
    });
    eventually(Duration::from_secs(20), "the grant to be given back", || {
        operator.prepare_restart(&[id], true)
    });
    println!(
        "broker {id}: granted after {granted:?}, stopped within {stopped:?}, all over after {:?}",
        began.elapsed()
    );
}
