//! Each broker in turn is stopped in order and started again while clients write: none of them may notice.

use std::time::{Duration, Instant};

use flotilla_control::BrokerId;
use rustix::process::Signal;

use crate::figures::{Figures, ms};
use crate::fleet::{Fleet, manifests, signal};
use crate::probe::{Probe, audit};
use crate::report;
use crate::sight::{Sight, epoch};

const BROKERS: i32 = 3;
const PARTITIONS: i32 = 6;
/// No produce waits longer.
const TARGET: Duration = Duration::from_millis(500);
const WHOLE_WITHIN: Duration = Duration::from_secs(120);

#[test]
fn no_produce_waits_long_while_brokers_restart_in_turn() {
    let rounds = report::argument("FLOTILLA_ROUNDS", 1);
    let fleet = Fleet::start(&manifests(3, &[("orders", PARTITIONS as u32, 3)]));
    let sight = Sight::of(&fleet);
    sight.wait_even(WHOLE_WITHIN, BROKERS);
    let probe = Probe::start(fleet.bootstrap(), "orders", PARTITIONS, Duration::from_millis(5));
    probe.warmed_up(PARTITIONS);
    let begun = Instant::now();
    for round in 0..rounds {
        for id in 0..BROKERS {
            let (since, view) = (Instant::now(), sight.wait_even(WHOLE_WITHIN, BROKERS));
            let before = epoch(&view, id);
            signal(fleet.pid_of(i64::from(id)), Signal::TERM);
            sight.wait(WHOLE_WITHIN, "the broker to be back in sync", |view| {
                let back = epoch(view, id).is_some_and(|epoch| Some(epoch) != before);
                back && view.online(BrokerId(id)) && view.in_sync(BrokerId(id))
            });
            let took = since.elapsed();
            assert!(
                probe.settled(Instant::now(), WHOLE_WITHIN),
                "a produce is not answered"
            );
            let waits = Figures::of(probe.waits(since));
            println!(
                "round {} of {rounds}, broker {id}: over after {} ms; of {} produces half waited {} ms, one {} ms",
                round + 1,
                ms(took),
                waits.len(),
                ms(waits.percentile(50.0)),
                ms(waits.max())
            );
        }
    }
    sight.wait_even(WHOLE_WITHIN, BROKERS);
    let waits = probe.waits(begun);
    let failures = probe.failures();
    let produced = probe.finish();
    let audit = audit(fleet.bootstrap(), "orders", &produced);
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(failures, Vec::<String>::new());
    let over = waits.iter().filter(|wait| **wait > TARGET).count();
    let waits = Figures::of(waits);
    let met = over == 0;
    report::add(
        "Controlled restarts",
        &[
            (rounds * BROKERS as u64).to_string(),
            waits.len().to_string(),
            failures.len().to_string(),
            ms(waits.percentile(50.0)),
            ms(waits.percentile(99.9)),
            ms(waits.max()),
            over.to_string(),
        ],
        met,
    );
    assert!(
        met || !report::is_judged(),
        "{over} produces waited more than {TARGET:?}"
    );
}
