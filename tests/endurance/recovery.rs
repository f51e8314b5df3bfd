//! A broker with very many partitions is killed and comes back: how long until it is in every in-sync set again?

use std::time::{Duration, Instant};

use flotilla_control::BrokerId;
use rustix::process::Signal;

use crate::figures::{Figures, ms};
use crate::fleet::{Fleet, manifests, signal};
use crate::probe::{Probe, audit, client};
use crate::report;
use crate::sight::{Sight, epoch};

const BROKERS: i32 = 3;
/// From the kill to the last in-sync set.
const TARGET: Duration = Duration::from_secs(10);
const WHOLE_WITHIN: Duration = Duration::from_secs(600);
/// Between two records: each partition is written to once in so many intervals.
const INTERVAL: Duration = Duration::from_millis(5);
/// What a record holds, and how many of them each partition has at least before the first kill: there is something to recover.
const VALUE_BYTES: usize = 64 << 10;
const RECORDS_BEFORE: usize = 4;
/// What was handed over so long before a kill is likely to wait for it, too.
const BEFORE: Duration = Duration::from_secs(1);

#[test]
fn killed_broker_with_many_partitions_is_soon_in_sync_everywhere() {
    let partitions = i32::try_from(report::argument("FLOTILLA_PARTITIONS", 100)).expect("fewer partitions");
    let rounds = report::argument("FLOTILLA_ROUNDS", 1);
    let fleet = Fleet::start(&manifests(3, &[("orders", partitions as u32, 3)]));
    let sight = Sight::of(&fleet);
    let begun = Instant::now();
    sight.wait(WHOLE_WITHIN, "the partitions to be made and in sync", |view| {
        view.partitions()
            .filter(|partition| partition.leader >= 0)
            .count()
            >= partitions as usize
    });
    sight.wait_even(WHOLE_WITHIN, BROKERS);
    println!("{partitions} partitions made after {} ms", ms(begun.elapsed()));
    // All partitions take records all the time: what is in memory only when a broker is killed must be found again.
    let probe = Probe::start_as(
        client(fleet.bootstrap()),
        "orders",
        partitions,
        INTERVAL,
        VALUE_BYTES,
    );
    probe.warmed_up(partitions);
    while probe.acknowledged() < RECORDS_BEFORE * partitions as usize {
        assert!(begun.elapsed() < WHOLE_WITHIN, "the partitions do not fill");
        std::thread::sleep(INTERVAL);
    }
    let (mut back, mut longest) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let view = sight.wait_even(WHOLE_WITHIN, BROKERS);
        let id = (round % BROKERS as u64) as i32;
        let before = epoch(&view, id);
        let killed = Instant::now();
        signal(fleet.pid_of(i64::from(id)), Signal::KILL);
        sight.wait(WHOLE_WITHIN, "the broker to register again", |view| {
            epoch(view, id).is_some_and(|epoch| Some(epoch) != before)
        });
        let registered = killed.elapsed();
        sight.wait(WHOLE_WITHIN, "the broker to be in sync everywhere", |view| {
            let anew = epoch(view, id).is_some_and(|epoch| Some(epoch) != before);
            anew && view.online(BrokerId(id)) && view.in_sync(BrokerId(id))
        });
        let took = killed.elapsed();
        assert!(
            probe.settled(Instant::now(), WHOLE_WITHIN),
            "a produce is not answered"
        );
        let waits = Figures::of(probe.waits(killed - BEFORE));
        println!(
            "round {} of {rounds}: broker {id} registered after {} ms, in sync everywhere after {} ms; of {} produces half waited {} ms, one {} ms",
            round + 1,
            ms(registered),
            ms(took),
            waits.len(),
            ms(waits.percentile(50.0)),
            ms(waits.max())
        );
        back.push(took);
        longest.push(waits.max());
    }
    let produced = probe.finish();
    let audit = audit(fleet.bootstrap(), "orders", &produced);
    assert!(audit.is_clean(), "{audit:?}");
    let (back, longest) = (Figures::of(back), Figures::of(longest));
    let met = back.max() <= TARGET;
    report::add(
        "Recovery with many partitions",
        &[
            partitions.to_string(),
            rounds.to_string(),
            ms(back.percentile(50.0)),
            ms(back.max()),
            ms(longest.max()),
            audit.acknowledged.to_string(),
            ((audit.acknowledged * VALUE_BYTES) >> 20).to_string(),
        ],
        met,
    );
    assert!(met || !report::is_judged(), "{back:?}");
}
