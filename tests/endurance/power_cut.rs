//! The power of all brokers is cut at once, over and over, while clients write: what was acknowledged to acks=all is there
//! afterwards, once and in order, and the quorum comes back by itself.

use std::time::{Duration, Instant};

use flotilla_protocol::messages::CreateTopicsRequest;
use flotilla_protocol::messages::create_topics_request::CreatableTopic;
use flotilla_protocol::{ErrorCode, Str};

use crate::eventually::eventually;
use crate::figures::{Figures, ms};
use crate::fleet::{Fleet, manifests};
use crate::probe::{Probe, audit};
use crate::raw::Connection;
use crate::report;
use crate::sight::Sight;
use crate::volumes::Volumes;

const BROKERS: i32 = 3;
const PARTITIONS: i32 = 3;
const WHOLE_WITHIN: Duration = Duration::from_secs(120);
/// Each round runs so much longer than the one before, so that cuts meet checkpoints and file systems at other moments.
const STEP: Duration = Duration::from_millis(370);

#[test]
fn power_cut_of_all_brokers_at_once_loses_nothing_acknowledged() {
    let rounds = report::argument("FLOTILLA_ROUNDS", 2);
    let volumes = Volumes::make(&[(0, 512), (1, 512), (2, 512)]);
    let mut fleet = Fleet::prepare(&manifests(3, &[("orders", PARTITIONS as u32, 3)]));
    volumes.up(&mut fleet);
    let sight = Sight::of(&fleet);
    sight.wait_whole(WHOLE_WITHIN, BROKERS);
    // The brokers keep their ports, so one client lives through it all.
    let probe = Probe::start(fleet.bootstrap(), "orders", PARTITIONS, Duration::from_millis(2));
    probe.warmed_up(PARTITIONS);
    let mut back = Vec::new();
    for round in 0..rounds {
        std::thread::sleep(Duration::from_secs(1) + STEP * (round % 20) as u32);
        create_topic(fleet.bootstrap(), &format!("round-{round}"));
        let acknowledged = probe.acknowledged();
        volumes.cut_power(&mut fleet);
        let cut = Instant::now();
        volumes.up(&mut fleet);
        let resumed = probe
            .resumed(cut, PARTITIONS, WHOLE_WITHIN)
            .expect("the fleet takes records again");
        let view = sight.wait_whole(WHOLE_WITHIN, BROKERS);
        for earlier in 0..=round {
            let name = format!("round-{earlier}");
            assert!(view.topic(&name).is_some(), "{name} was created before the cut");
        }
        println!(
            "cut {} of {rounds}, after {acknowledged} records: writes went on after {} ms",
            round + 1,
            ms(resumed)
        );
        back.push(resumed);
    }
    let failures = probe.failures();
    let produced = probe.finish();
    let audit = audit(fleet.bootstrap(), "orders", &produced);
    assert!(
        audit.is_clean(),
        "{audit:?}; failures at the client: {failures:?}"
    );
    stop(fleet, &volumes);
    let back = Figures::of(back);
    report::add(
        "Power cuts",
        &[
            rounds.to_string(),
            audit.acknowledged.to_string(),
            audit.lost.len().to_string(),
            audit.doubled.len().to_string(),
            audit.out_of_order.len().to_string(),
            ms(back.percentile(50.0)),
            ms(back.max()),
        ],
        true,
    );
}

/// The proof that a cut takes something away, and that it would be noticed: with `flush.policy=os`, an acknowledgement promises less.
#[test]
fn power_cut_loses_what_was_left_to_the_page_cache() {
    let volumes = Volumes::make(&[(0, 512), (1, 512), (2, 512)]);
    let mut files = manifests(3, &[("orders", PARTITIONS as u32, 3)]);
    let cluster = files.get_mut("cluster.yaml").expect("a Cluster");
    cluster.push_str("    log.flush.policy: os\n");
    let mut fleet = Fleet::prepare(&files);
    volumes.up(&mut fleet);
    let sight = Sight::of(&fleet);
    sight.wait_whole(WHOLE_WITHIN, BROKERS);
    let probe = Probe::start(fleet.bootstrap(), "orders", PARTITIONS, Duration::from_millis(2));
    probe.warmed_up(PARTITIONS);
    std::thread::sleep(Duration::from_secs(1));
    let produced = probe.finish();
    volumes.cut_power(&mut fleet);
    volumes.up(&mut fleet);
    sight.wait_whole(WHOLE_WITHIN, BROKERS);
    let audit = audit(fleet.bootstrap(), "orders", &produced);
    println!(
        "with flush.policy=os, {} of {} acknowledged records are gone",
        audit.lost.len(),
        audit.acknowledged
    );
    assert!(audit.acknowledged > 100 && !audit.lost.is_empty(), "{audit:?}");
    stop(fleet, &volumes);
}

/// The images go with the volumes, and nothing may hold them by then.
fn stop(mut fleet: Fleet, volumes: &Volumes) {
    assert!(fleet.stop().success());
    volumes.wait_until_unmounted();
}

/// Creates a topic of one partition, and waits until that is committed.
fn create_topic(bootstrap: &str, name: &str) {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: Str::copy_from(name),
            num_partitions: 1,
            replication_factor: 3,
            ..CreatableTopic::default()
        }],
        timeout_ms: 10_000,
        validate_only: false,
    };
    eventually(Duration::from_secs(30), "a topic to be created", || {
        let answer = Connection::open(bootstrap).call(7, &request);
        let answer = answer.map_err(|error| error.to_string())?;
        match ErrorCode::from(answer.topics[0].error_code) {
            ErrorCode::None | ErrorCode::TopicAlreadyExists => Ok(()),
            refused => Err(format!("{refused:?}")),
        }
    });
}
