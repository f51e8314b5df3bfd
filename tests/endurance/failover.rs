//! A partition's leader is killed while clients write, every other time the one that leads the quorum too: how long until
//! writes go on?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flotilla_operator::fleet::View;
use rustix::process::Signal;

use crate::figures::{Figures, ms};
use crate::fleet::{Fleet, manifests, signal};
use crate::probe::{Probe, audit};
use crate::report;
use crate::sight::{Sight, epoch};

const BROKERS: i32 = 3;
const PARTITIONS: i32 = 3;
/// At the 99th percentile.
const TARGET: Duration = Duration::from_millis(1_500);
/// For so long a broker runs, at least, before it is killed.
const STEADY: Duration = Duration::from_secs(11);
/// A fleet that takes longer is broken.
const LIMIT: Duration = Duration::from_secs(30);
const WHOLE_WITHIN: Duration = Duration::from_secs(120);

#[test]
fn writes_resume_after_the_kill_of_a_leader() {
    let kills = report::argument("FLOTILLA_KILLS", 4);
    let fleet = Fleet::start(&manifests(3, &[("orders", PARTITIONS as u32, 3)]));
    let sight = Sight::of(&fleet);
    let probe = Probe::start(fleet.bootstrap(), "orders", PARTITIONS, Duration::from_millis(5));
    probe.warmed_up(PARTITIONS);
    let (mut of_quorum, mut of_partition) = (Vec::new(), Vec::new());
    let mut back: BTreeMap<i32, Instant> = (0..BROKERS).map(|id| (id, Instant::now())).collect();
    for kill in 0..kills {
        let view = sight.wait_even(WHOLE_WITHIN, BROKERS);
        let leads_quorum = kill % 2 == 1;
        let victim = victim(&view, leads_quorum, kill);
        // `up` takes its time before it starts one again that died young.
        std::thread::sleep((back[&victim] + STEADY).saturating_duration_since(Instant::now()));
        // A client that still waits before it connects to the last victim again would be counted to this one.
        let flowing = probe.resumed(Instant::now(), PARTITIONS, LIMIT);
        assert!(flowing.is_some(), "writes do not go on in each partition");
        let before = epoch(&view, victim);
        // While `up` sleeps it starts nothing: a process that comes back at once would hasten what is measured.
        signal(fleet.up_pid(), Signal::STOP);
        println!("{} broker {victim} is killed", report::clock());
        let killed = Instant::now();
        signal(fleet.pid_of(i64::from(victim)), Signal::KILL);
        let resumed = probe
            .resumed(killed, PARTITIONS, LIMIT)
            .unwrap_or_else(|| panic!("no writes {LIMIT:?} after broker {victim} was killed"));
        signal(fleet.up_pid(), Signal::CONT);
        let leaders_of = if leads_quorum {
            &mut of_quorum
        } else {
            &mut of_partition
        };
        leaders_of.push(resumed);
        println!(
            "kill {} of {kills}: broker {victim}{}; writes went on after {} ms",
            kill + 1,
            if leads_quorum { " led the quorum too" } else { "" },
            ms(resumed)
        );
        sight.wait(WHOLE_WITHIN, "the broker to be back", |view| {
            epoch(view, victim) != before
        });
        back.insert(victim, Instant::now());
    }
    let produced = probe.finish();
    let audit = audit(fleet.bootstrap(), "orders", &produced);
    assert!(audit.is_clean(), "{audit:?}");
    let all = Figures::of(of_quorum.iter().chain(&of_partition).copied());
    let (of_quorum, of_partition) = (Figures::of(of_quorum), Figures::of(of_partition));
    let met = all.percentile(99.0) <= TARGET;
    report::add(
        "Failover",
        &[
            all.len().to_string(),
            ms(all.percentile(50.0)),
            ms(all.percentile(99.0)),
            ms(all.max()),
            ms(of_partition.percentile(50.0)),
            ms(of_quorum.percentile(50.0)),
            audit.acknowledged.to_string(),
        ],
        met,
    );
    assert!(met || !report::is_judged(), "{all:?}");
}

/// The broker to kill: each of them leads a partition.
fn victim(view: &View, leads_quorum: bool, kill: u64) -> i32 {
    let controller = view.controller.expect("the quorum is led");
    if leads_quorum {
        return controller;
    }
    let others: Vec<i32> = (0..BROKERS).filter(|id| *id != controller).collect();
    others[(kill / 2) as usize % others.len()]
}
