//! Every core is busy with something else for a long time: the fleet must not take that for the death of a broker.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::figures::{Figures, ms};
use crate::fleet::{Fleet, manifests};
use crate::probe::{Probe, audit};
use crate::report;
use crate::sight::Sight;

const BROKERS: i32 = 3;
const PARTITIONS: i32 = 3;
const WHOLE_WITHIN: Duration = Duration::from_secs(120);

/// Processes that do nothing but keep a core busy; they end with the value.
struct Busy(Vec<Child>);

impl Busy {
    fn on_every_core() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let spin = |_| {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            command.spawn().expect("start a shell")
        };
        Self((0..cores).map(spin).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn busy_machine_fences_no_broker_and_moves_no_leader() {
    let seconds = report::argument("FLOTILLA_SECONDS", 20);
    let fleet = Fleet::start(&manifests(3, &[("orders", PARTITIONS as u32, 3)]));
    let sight = Sight::of(&fleet);
    let probe = Probe::start(fleet.bootstrap(), "orders", PARTITIONS, Duration::from_millis(20));
    probe.warmed_up(PARTITIONS);
    let before = sight.wait_even(WHOLE_WITHIN, BROKERS);
    let logged = Logged::of(&fleet);
    let busy = Busy::on_every_core();
    let begun = Instant::now();
    let end = begun + Duration::from_secs(seconds);
    let mut told = begun;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(200).min(end.saturating_duration_since(Instant::now())));
        if told.elapsed() > Duration::from_secs(30) {
            told = Instant::now();
            println!(
                "after {} s: {:?}",
                begun.elapsed().as_secs(),
                Logged::of(&fleet).since(&logged)
            );
        }
    }
    drop(busy);
    let alarms = Logged::of(&fleet).since(&logged);
    let waits = Figures::of(probe.waits(begun));
    let after = sight.wait_even(WHOLE_WITHIN, BROKERS);
    let moved = before
        .partitions()
        .zip(after.partitions())
        .filter(|(before, after)| before.leader_epoch != after.leader_epoch)
        .count();
    let registered_anew = (0..BROKERS)
        .filter(|id| crate::sight::epoch(&before, *id) != crate::sight::epoch(&after, *id))
        .count();
    let produced = probe.finish();
    let audit = audit(fleet.bootstrap(), "orders", &produced);
    assert!(audit.is_clean(), "{audit:?}");
    let met = alarms == Logged::default() && moved == 0 && registered_anew == 0;
    report::add(
        "False alarms",
        &[
            seconds.to_string(),
            alarms.fenced.to_string(),
            alarms.elections.to_string(),
            moved.to_string(),
            ms(waits.percentile(50.0)),
            ms(waits.percentile(99.0)),
            ms(waits.max()),
        ],
        met,
    );
    assert!(
        met || !report::is_judged(),
        "{alarms:?}, {moved} leaders moved, {registered_anew} brokers registered anew"
    );
}

/// What the brokers' logs tell of alarms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Logged {
    fenced: usize,
    elections: usize,
}

impl Logged {
    fn of(fleet: &Fleet) -> Self {
        let logs: Vec<String> = (0..i64::from(BROKERS)).map(|id| fleet.broker_log(id)).collect();
        let count = |text: &str| logs.iter().map(|log| log.matches(text).count()).sum();
        Self {
            fenced: count("fencing silent brokers"),
            elections: count("taking the lead of the metadata quorum"),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            fenced: self.fenced - before.fenced,
            elections: self.elections - before.elections,
        }
    }
}
