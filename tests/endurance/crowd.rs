//! Groups of two members each, by the thousand.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::figures::Figures;
use crate::fleet::Fleet;
use crate::member::Member;
use crate::modern_member::ModernMember;
use crate::reading::Reading;

const BROKERS: i64 = 3;
const WHOLE_WITHIN: Duration = Duration::from_secs(300);
/// Between two looks at what groups have come to.
const LOOK: Duration = Duration::from_millis(50);

/// `group.protocol` of the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Classic,
    /// KIP-848.
    Consumer,
}

/// What all members tell.
pub struct Told {
    /// Heartbeats and how long their answers took.
    pub heartbeats: mpsc::UnboundedSender<Duration>,
    /// Members that the coordinator no longer knew.
    pub expired: AtomicUsize,
}

/// A group of two, and what it has come to.
#[derive(Default)]
pub struct Group {
    pub name: String,
    /// Both have their assignment.
    pub whole: AtomicBool,
    /// The second member leaves and joins anew.
    pub change: Notify,
    pub changes: AtomicUsize,
    /// How many partitions each member of the new protocol has and has told that it has: the one that stays, and the restless one.
    pub held: [watch::Sender<usize>; 2],
}

/// What was seen in a stretch of time.
pub struct Phase {
    pub heartbeats: Figures,
    /// Processor time of all brokers.
    pub cores: f64,
    pub resident_mb: f64,
}

/// All groups with all their members.
pub struct Crowd {
    groups: Vec<Arc<Group>>,
    told: Arc<Told>,
    heartbeats: mpsc::UnboundedReceiver<Duration>,
    /// They end with the value.
    members: JoinSet<io::Result<()>>,
}

impl Crowd {
    /// Of so many groups, each of two members.
    pub fn of(fleet: &Fleet, protocol: Protocol, groups: usize) -> Self {
        let (sender, heartbeats) = mpsc::unbounded_channel();
        let told = Arc::new(Told {
            heartbeats: sender,
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
                let (bootstrap, group, told) = (fleet.bootstrap().to_owned(), group.clone(), told.clone());
                members.spawn(async move {
                    match protocol {
                        Protocol::Classic => Member::of(bootstrap, group, restless, told).await?.stay().await,
                        Protocol::Consumer => {
                            let member = ModernMember::of(&bootstrap, group, restless, told).await?;
                            member.stay().await
                        }
                    }
                });
            }
        }
        Self {
            groups,
            told,
            heartbeats,
            members,
        }
    }

    /// Members that expired by now.
    pub fn expired(&self) -> usize {
        self.told.expired.load(Ordering::Relaxed)
    }

    /// How often members left by now.
    pub fn changes(&self) -> usize {
        let changes = self
            .groups
            .iter()
            .map(|group| group.changes.load(Ordering::Relaxed));
        changes.sum()
    }

    /// Waits until both members of all groups have their assignments.
    pub async fn wait_whole(&mut self) {
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
    pub async fn during(&mut self, fleet: &Fleet, time: Duration, change: bool) -> Phase {
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
}
