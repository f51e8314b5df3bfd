//! Two thousand groups of two members each on three brokers: they rebalance and heartbeat, nobody expires, and the brokers hardly notice.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::figures::{Figures, ms};
use crate::fleet::{Fleet, manifests};
use crate::member::{Group, Member, Told};
use crate::reading::Reading;
use crate::report;

const BROKERS: i64 = 3;
/// Processor time of all brokers in each phase, in cores.
const CORES_MAX: f64 = 0.5;
const WHOLE_WITHIN: Duration = Duration::from_secs(300);
/// A change of each group is two rebalances: one without the member that left, one with it.
const REBALANCES_A_CHANGE: usize = 2;
/// Between two looks at what groups have come to.
const LOOK: Duration = Duration::from_millis(50);

#[tokio::test]
async fn thousands_of_members_rebalance_and_heartbeat_and_nobody_expires() {
    let groups = report::argument("FLOTILLA_GROUPS", 100) as usize;
    let seconds = report::argument("FLOTILLA_SECONDS", 10);
    let phase = Duration::from_secs(seconds);
    let fleet = Fleet::start(&manifests(3, &[("t", 2, 3)]));
    fleet.leader("t", 0);
    let mut crowd = Crowd::of(&fleet, groups);

    let begun = Instant::now();
    crowd.wait_whole().await;
    println!(
        "{groups} groups have their assignments after {} ms",
        ms(begun.elapsed())
    );

    let changes = crowd.during(&fleet, phase, true).await;
    let quiet = crowd.during(&fleet, phase, false).await;
    let expired = crowd.told.expired.load(Ordering::Relaxed);
    let met = expired == 0 && changes.cores < CORES_MAX && quiet.cores < CORES_MAX;
    report::add(
        "Many groups",
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

/// What was seen in a stretch of time.
struct Phase {
    heartbeats: Figures,
    /// Processor time of all brokers.
    cores: f64,
    resident_mb: f64,
}

struct Crowd {
    groups: Vec<Arc<Group>>,
    told: Arc<Told>,
    heartbeats: mpsc::UnboundedReceiver<Duration>,
    /// They end with the value.
    members: JoinSet<io::Result<()>>,
}

impl Crowd {
    fn of(fleet: &Fleet, groups: usize) -> Self {
        let (sender, heartbeats) = mpsc::unbounded_channel();
        let told = Arc::new(Told {
            heartbeats: sender,
            assigned: AtomicUsize::new(0),
            expired: AtomicUsize::new(0),
        });
        let groups: Vec<_> = (0..groups)
            .map(|number| {
                Arc::new(Group {
                    name: format!("group-{number}"),
                    ..Default::default()
                })
            })
            .collect();
        let mut members = JoinSet::new();
        for group in &groups {
            for restless in [false, true] {
                let member = Member::of(
                    fleet.bootstrap().to_owned(),
                    group.clone(),
                    restless,
                    told.clone(),
                );
                members.spawn(async move { member.await?.stay().await });
            }
        }
        Self {
            groups,
            told,
            heartbeats,
            members,
        }
    }

    async fn wait_whole(&mut self) {
        let begun = Instant::now();
        while !self
            .groups
            .iter()
            .all(|group| group.whole.load(Ordering::Relaxed))
        {
            assert!(begun.elapsed() < WHOLE_WITHIN, "groups are not whole");
            self.look().await;
        }
    }

    /// Waits a little; a member that ended is a failure.
    async fn look(&mut self) {
        if let Ok(Some(ended)) = tokio::time::timeout(LOOK, self.members.join_next()).await {
            panic!("a member ended: {ended:?}");
        }
    }

    /// Lets time pass; where they are to change, all groups do, one after the other, and are whole again at the end.
    async fn during(&mut self, fleet: &Fleet, time: Duration, change: bool) -> Phase {
        while self.heartbeats.try_recv().is_ok() {}
        let pids: Vec<_> = (0..BROKERS).map(|id| fleet.pid_of(id)).collect();
        let (before, begun, mut changed) = (Reading::of(&pids), Instant::now(), 0);
        while begun.elapsed() < time {
            let share = begun.elapsed().as_secs_f64() / time.as_secs_f64();
            let due = (share * self.groups.len() as f64) as usize;
            while change && changed < due {
                self.groups[changed].change.notify_one();
                changed += 1;
            }
            self.look().await;
        }
        if change {
            self.groups[changed..]
                .iter()
                .for_each(|group| group.change.notify_one());
            while self.changes() < self.groups.len() {
                assert!(begun.elapsed() < time + WHOLE_WITHIN, "members do not leave");
                self.look().await;
            }
            self.wait_whole().await;
        }
        let (after, took) = (Reading::of(&pids), begun.elapsed());
        let mut heartbeats = Vec::new();
        while let Ok(heartbeat) = self.heartbeats.try_recv() {
            heartbeats.push(heartbeat);
        }
        Phase {
            heartbeats: Figures::of(heartbeats),
            cores: (after.cpu_s - before.cpu_s) / took.as_secs_f64(),
            resident_mb: after.resident_mb,
        }
    }

    fn changes(&self) -> usize {
        let changes = self
            .groups
            .iter()
            .map(|group| group.changes.load(Ordering::Relaxed));
        changes.sum()
    }
}
