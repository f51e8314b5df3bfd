//! The simulated fleet: its brokers, what they run on, and who watches them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flotilla_broker::coordination::simulation::{Call, Glance, Machine, Seated, Start};
use flotilla_broker::coordination::{Lifecycle, Options, Registration, Timing, VoterId, VoterNode};
use flotilla_broker::metadata::FLOTILLA_VERSION;
use flotilla_control::proto::coordination::RaftMessage;
use flotilla_protocol::{BrokerId, Uuid};
use tokio::time::{Instant, sleep};

use super::carrier::{Line, Weather};
use super::disk::FrailDisk;
use super::invariants::Invariants;
use super::{faults, operator, watcher, workload};
use crate::dice::Dice;
use crate::outcome::{Counts, Outcome, Violation};
use crate::trace::Trace;

/// The fleet.
pub const CLUSTER: Uuid = Uuid([7; 16]);
/// How long faults go on, at most and at least, milliseconds of virtual time.
const FAULTS_MS: (i64, i64) = (15_000, 45_000);
/// Within this all must be well again once the faults are over.
const RECOVERY: Duration = Duration::from_secs(60);
/// The wall clock when a simulation begins, milliseconds.
const EPOCH_MS: i64 = 1_800_000_000_000;

/// One broker and what it runs on.
#[derive(Default)]
struct Slot {
    directory: Uuid,
    disk: Arc<FrailDisk>,
    /// How often a process began here.
    incarnation: u64,
    /// What its process runs on, from before it has started.
    machine: Option<Machine>,
    running: Option<Running>,
}

struct Running {
    seated: Arc<Seated>,
    lifecycle: Arc<Lifecycle>,
}

/// Everything, shared by all that goes on.
pub struct World {
    dice: Dice,
    begun: Instant,
    drawn: AtomicU64,
    is_calm: AtomicBool,
    is_operating: AtomicBool,
    applied: Mutex<BTreeMap<VoterId, u64>>,
    slots: Mutex<BTreeMap<BrokerId, Slot>>,
    weather: Mutex<Weather>,
    trace: Mutex<Trace>,
    counts: Mutex<Counts>,
    invariants: Mutex<Invariants>,
    first_voters: BTreeMap<VoterId, VoterNode>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> i64 {
    // The machine's wall clock: what passed in the simulation, from a day that never changes.
    BEGUN.with(|begun| {
        let passed = begun.get().map_or(Duration::ZERO, |begun| begun.elapsed());
        EPOCH_MS + i64::try_from(passed.as_millis()).unwrap_or_default()
    })
}

thread_local! {
    static BEGUN: std::cell::Cell<Option<Instant>> = const { std::cell::Cell::new(None) };
}

/// Plays one seed to its end.
pub async fn simulate(seed: u64, trace: Trace) -> Outcome {
    let world = World::new(seed, trace);
    let played = world.clone().play();
    tokio::pin!(played);
    let violated = async {
        while world.violation().is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        biased;
        () = violated => {}
        () = &mut played => {}
    }
    world.outcome()
}

impl World {
    fn new(seed: u64, trace: Trace) -> Arc<Self> {
        let dice = Dice::new(seed);
        let mut shape = dice.fork("shape");
        let begun = Instant::now();
        BEGUN.set(Some(begun));
        let brokers = shape.between(3, 6) as i32;
        let voters = match shape.below(10) {
            0 => 1,
            1..=2 if brokers >= 5 => 5,
            _ => 3,
        };
        let mut slots = BTreeMap::new();
        for broker in (0..brokers).map(BrokerId) {
            let slot = Slot {
                directory: directory(broker, 0),
                ..Slot::default()
            };
            slots.insert(broker, slot);
        }
        let first_voters = slots.iter().take(voters).map(|(broker, slot)| {
            let id = VoterId::new(*broker, slot.directory);
            (id, node(*broker))
        });
        Arc::new(Self {
            first_voters: first_voters.collect(),
            begun,
            drawn: AtomicU64::new(0),
            is_calm: AtomicBool::new(false),
            is_operating: AtomicBool::new(false),
            applied: Mutex::default(),
            slots: Mutex::new(slots),
            weather: Mutex::new(Weather::fair(dice.fork("network"))),
            trace: Mutex::new(trace),
            counts: Mutex::default(),
            invariants: Mutex::default(),
            dice,
        })
    }

    async fn play(self: Arc<Self>) {
        let brokers = self.broker_ids();
        self.note(format_args!(
            "{} brokers, {} of them vote",
            brokers.len(),
            self.first_voters.len()
        ));
        for broker in brokers {
            tokio::spawn(self.clone().keep_started(broker));
        }
        let workload = tokio::spawn(workload::run(self.clone(), self.dice.fork("workload")));
        let operator = tokio::spawn(operator::run(self.clone(), self.dice.fork("operator")));
        let mut dice = self.dice.fork("faults");
        let length = Duration::from_millis(dice.between(FAULTS_MS.0, FAULTS_MS.1).unsigned_abs());
        faults::run(&self, &mut dice, length).await;
        self.recover(&workload).await;
        operator.abort();
    }

    /// All faults are over: within some time there is one leader, everything works, and everybody agrees.
    async fn recover(self: &Arc<Self>, workload: &tokio::task::JoinHandle<()>) {
        faults::end(self).await;
        self.note(format_args!("the faults are over"));
        let deadline = Instant::now() + RECOVERY;
        let written = workload::last_write(self, deadline).await;
        if let Err(why) = written {
            self.violate(
                "recovers",
                format!("nothing can be written after {RECOVERY:?}: {why}"),
            );
            return;
        }
        workload.abort();
        while Instant::now() < deadline {
            sleep(Duration::from_millis(100)).await;
            if self.agree() {
                self.note(format_args!("all agree"));
                let ended = self.invariants().linearizable.ended();
                self.check(ended);
                return;
            }
        }
        self.violate(
            "recovers",
            format!("after {RECOVERY:?} brokers do not agree: {}", self.stand()),
        );
    }

    /// Whether all brokers have the same metadata and know the same leader.
    fn agree(&self) -> bool {
        self.look_at_all();
        let slots = locked(&self.slots);
        let mut indexes = BTreeSet::new();
        let mut leaders = 0;
        for slot in slots.values() {
            let Some(running) = &slot.running else {
                return false;
            };
            indexes.insert(running.seated.metadata().index());
            let glance = running.seated.glance();
            leaders += u64::from(glance.leads);
            // A member that was taken out without hearing of it sees the change half done for ever.
            if running.lifecycle.standing().fenced || (glance.leads && glance.is_changing) {
                return false;
            }
        }
        // Heartbeats write nothing while all is well, so nothing is on its way for long.
        indexes.len() == 1 && leaders == 1
    }

    /// Where each broker stands, for messages.
    fn stand(&self) -> String {
        let slots = locked(&self.slots);
        let each = slots.iter().map(|(broker, slot)| match &slot.running {
            None => format!("{broker}: down"),
            Some(running) => {
                let glance = running.seated.glance();
                let index = running.seated.metadata().index();
                let standing = running.lifecycle.standing();
                format!("{broker}: metadata at {index}, {standing:?}, {glance:?}")
            }
        });
        each.collect::<Vec<_>>().join("; ")
    }

    fn outcome(&self) -> Outcome {
        let stale = self.invariants().stale_entries();
        locked(&self.counts).add("entries of an old term", stale);
        let trace = locked(&self.trace);
        let violation = self.violation();
        Outcome {
            hash: trace.hash(),
            simulated_ms: self.begun.elapsed().as_millis() as u64,
            counts: locked(&self.counts).clone(),
            violation,
        }
    }

    /// Starts a broker, and again when it ends by itself because its disk went dark.
    async fn keep_started(self: Arc<Self>, broker: BrokerId) {
        self.start(broker).await;
        loop {
            sleep(Duration::from_millis(5)).await;
            let is_dark = {
                let slots = locked(&self.slots);
                let slot = slots.get(&broker);
                slot.is_some_and(|slot| slot.disk.is_dark())
            };
            if is_dark {
                self.note(format_args!(
                    "broker {broker}: the power fails in the middle of a write"
                ));
                self.count("power lost within a write");
                self.kill(broker, Loss::Power);
                sleep(Duration::from_millis(300)).await;
                self.start(broker).await;
            }
        }
    }

    /// Starts a broker's process on its disk, unless it runs.
    pub async fn start(self: &Arc<Self>, broker: BrokerId) {
        let (directory, disk, incarnation) = {
            let mut slots = locked(&self.slots);
            let Some(slot) = slots.get_mut(&broker) else {
                return;
            };
            if slot.machine.is_some() {
                return;
            }
            slot.incarnation += 1;
            (slot.directory, slot.disk.clone(), slot.incarnation)
        };
        let mut dice = self.dice.fork(&format!("machine {broker} {incarnation}"));
        let machine = Machine::new(dice.bits(), dice.between(-20_000, 20_000));
        if let Some(slot) = locked(&self.slots).get_mut(&broker) {
            slot.machine = Some(machine.clone());
        }
        // What it has applied before is applied, and looked at, again.
        locked(&self.applied).remove(&VoterId::new(broker, directory));
        let line = Line {
            world: self.clone(),
            from: broker,
        };
        let id = VoterId::new(broker, directory);
        let ids = Arc::new(Mutex::new(dice.fork("ids")));
        let first = directory == self::directory(broker, 0);
        let start = Start {
            machine: machine.clone(),
            cluster_id: CLUSTER,
            id,
            dir: PathBuf::from("/metadata"),
            disk,
            voters: self.first_voters.clone(),
            bootstrapped: !first,
            options: Options {
                session_timeout: TIMING.session,
                settings: Arc::new(|_| None),
                now_ms,
                fresh_id: Arc::new(move || fresh_id(&mut locked(&ids))),
            },
            carrier: Arc::new(line),
        };
        let seated = match Seated::start(start).await {
            Ok(seated) => Arc::new(seated),
            Err(why) => {
                if !self.has_ended(broker, incarnation) {
                    self.violate("starts", format!("broker {broker} does not start: {why}"));
                }
                return;
            }
        };
        if self.has_ended(broker, incarnation) {
            return;
        }
        let registration = Registration {
            broker,
            cluster_id: CLUSTER,
            directory_id: directory,
            incarnation_id: fresh_id(&mut dice.fork("incarnation")),
            endpoints: Vec::new(),
            replication: None,
            control_address: node(broker).address,
            rack: String::new(),
            roles: vec!["broker".to_owned(), "coordinator".to_owned()],
            version: "0".to_owned(),
            flotilla_version_max: FLOTILLA_VERSION,
            clean_shutdown: false,
        };
        let lifecycle = Arc::new(seated.join(registration, TIMING));
        lifecycle.set_ready(true);
        self.note(format_args!(
            "broker {broker}: process {incarnation} of {id} runs"
        ));
        let running = Running {
            seated: seated.clone(),
            lifecycle,
        };
        if let Some(slot) = locked(&self.slots).get_mut(&broker) {
            slot.running = Some(running);
        }
        tokio::spawn(watcher::follow(self.clone(), id, incarnation, seated));
    }

    /// Ends a broker's process at once.
    pub fn kill(&self, broker: BrokerId, loss: Loss) {
        let seed = self.draw();
        let mut slots = locked(&self.slots);
        let Some(slot) = slots.get_mut(&broker) else {
            return;
        };
        slot.running = None;
        if let Some(machine) = slot.machine.take() {
            machine.kill();
        }
        match loss {
            Loss::Process => slot.disk.lose_process(),
            Loss::Power => slot.disk.lose_power(seed),
            Loss::Disk => {
                slot.disk = Arc::default();
                slot.directory = directory(broker, slot.incarnation);
            }
        }
    }

    /// Whether a process was killed, or is about to be because its power has failed.
    fn has_ended(&self, broker: BrokerId, incarnation: u64) -> bool {
        let slots = locked(&self.slots);
        slots.get(&broker).is_none_or(|slot| {
            slot.incarnation != incarnation || slot.machine.is_none() || slot.disk.is_dark()
        })
    }

    /// A process says that it cannot go on.
    pub fn failed(&self, who: VoterId, incarnation: u64, why: &str) {
        if !self.has_ended(who.broker, incarnation) {
            self.violate("keeps_running", format!("{who} stops: {why}"));
        }
    }

    /// Panics of tasks are violations; the code under test never means to.
    pub fn tell_panics(&self, broker: BrokerId, machine: &Machine) {
        if machine.panics() > 0 {
            self.violate(
                "no_panic",
                format!("{} tasks of broker {broker} panicked", machine.panics()),
            );
        }
    }

    /// Stops a broker where it is, or lets it go on.
    pub fn pause(&self, broker: BrokerId, is_paused: bool) {
        let machine = locked(&self.slots)
            .get(&broker)
            .and_then(|slot| slot.machine.clone());
        if let Some(machine) = machine {
            if is_paused {
                machine.pause();
            } else {
                machine.resume();
            }
        }
    }

    /// How a broker's disk is from now on: so many milliseconds for whatever waits for it.
    pub fn set_disk_ms(&self, broker: BrokerId, least: u64, most: u64) {
        if let Some(seated) = self.seated(broker) {
            seated.machine().set_disk_ms(least, most);
        }
    }

    /// Lets the power of a broker fail after so many changes of its disk.
    pub fn fail_within(&self, broker: BrokerId, changes: u64) {
        if let Some(slot) = locked(&self.slots).get(&broker) {
            slot.disk.fail_after(changes);
        }
    }

    /// All brokers.
    pub fn broker_ids(&self) -> Vec<BrokerId> {
        locked(&self.slots).keys().copied().collect()
    }

    /// The brokers that run, paused or not.
    pub fn running(&self) -> Vec<BrokerId> {
        let slots = locked(&self.slots);
        let runs = slots.iter().filter(|(_, slot)| slot.running.is_some());
        runs.map(|(broker, _)| *broker).collect()
    }

    /// A broker's seat, while its process runs.
    pub fn seated(&self, broker: BrokerId) -> Option<Arc<Seated>> {
        let slots = locked(&self.slots);
        Some(slots.get(&broker)?.running.as_ref()?.seated.clone())
    }

    /// A broker's place in the fleet, while its process runs.
    pub fn lifecycle(&self, broker: BrokerId) -> Option<Arc<Lifecycle>> {
        let slots = locked(&self.slots);
        Some(slots.get(&broker)?.running.as_ref()?.lifecycle.clone())
    }

    /// The voter that a broker would be with the disk that it has now.
    pub fn voter_id(&self, broker: BrokerId) -> VoterId {
        let slots = locked(&self.slots);
        let directory = slots.get(&broker).map(|slot| slot.directory);
        VoterId::new(broker, directory.unwrap_or(Uuid::ZERO))
    }

    /// The leader with the newest term, and who votes as it knows it.
    pub fn leader(&self) -> Option<(BrokerId, Glance)> {
        let slots = locked(&self.slots);
        let leaders = slots.iter().filter_map(|(broker, slot)| {
            let glance = slot.running.as_ref()?.seated.glance();
            glance.leads.then_some((*broker, glance))
        });
        leaders.max_by_key(|(_, glance)| glance.term)
    }

    /// Whether every voter runs with the disk that it votes from, all agree on who votes, and nobody is about to change that:
    /// one of them may lose its disk then, and nothing is lost.
    pub fn may_lose_a_disk(&self) -> bool {
        if self.is_operating.load(Ordering::SeqCst) {
            return false;
        }
        let Some((_, leader)) = self.leader() else {
            return false;
        };
        let slots = locked(&self.slots);
        let has_all = |voter: &VoterId| {
            let running = slots
                .get(&voter.broker)
                .filter(|slot| slot.directory == voter.directory)
                .and_then(|slot| slot.running.as_ref());
            running.is_some_and(|running| {
                let glance = running.seated.glance();
                glance.voters == leader.voters && glance.leader == leader.leader && !glance.is_changing
            })
        };
        leader.voters.len() >= 3 && leader.voters.iter().all(has_all)
    }

    /// How many voters there were at first.
    pub fn first_voters(&self) -> usize {
        self.first_voters.len()
    }

    /// No more faults.
    pub fn calm(&self) {
        self.is_calm.store(true, Ordering::SeqCst);
    }

    /// Whether the faults are over.
    pub fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::SeqCst)
    }

    /// A change of the voters begins or has ended.
    pub fn set_operating(&self, is_operating: bool) {
        self.is_operating.store(is_operating, Ordering::SeqCst);
    }

    /// The last entry that a member was seen to have applied.
    pub fn applied_by(&self, who: VoterId) -> u64 {
        locked(&self.applied).get(&who).copied().unwrap_or(0)
    }

    /// A member was seen to have applied an entry. A process that starts anew applies some of them again.
    pub fn note_applied(&self, who: VoterId, index: u64) {
        locked(&self.applied).insert(who, index);
    }

    /// The weather.
    pub fn weather(&self) -> MutexGuard<'_, Weather> {
        locked(&self.weather)
    }

    /// What is held against the rules.
    pub fn invariants(&self) -> MutexGuard<'_, Invariants> {
        locked(&self.invariants)
    }

    /// Draws a number that nothing else in this run has.
    pub fn draw(&self) -> u64 {
        let count = self.drawn.fetch_add(1, Ordering::SeqCst);
        self.dice.fork(&format!("drawn {count}")).bits()
    }

    /// Notes what happens.
    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        let now_us = self.begun.elapsed().as_micros() as u64;
        locked(&self.trace).note(now_us, what);
    }

    /// It happened once more.
    pub fn count(&self, kind: &'static str) {
        locked(&self.counts).count(kind);
    }

    /// A rule did not hold.
    pub fn violate(&self, invariant: &'static str, message: String) {
        self.note(format_args!("VIOLATION of {invariant}: {message}"));
        self.invariants().violate(Violation { invariant, message });
    }

    fn violation(&self) -> Option<Violation> {
        self.invariants().violation().cloned()
    }

    /// Looks at all brokers, so that nothing that any of them has applied is unknown here.
    pub fn look_at_all(&self) {
        for broker in self.running() {
            let id = self.voter_id(broker);
            if let Some(seated) = self.seated(broker) {
                watcher::look(self, id, &seated);
            }
        }
    }

    /// A message of Raft leaves.
    pub fn note_sent(&self, call: Call, from: BrokerId, to: VoterId, message: &RaftMessage) {
        self.note(format_args!(
            "{from} -> {to}: {call:?}, {} bytes",
            message.payload.len()
        ));
    }

    /// A message of Raft was answered where it arrived.
    pub fn note_answered(
        &self,
        call: Call,
        by: VoterId,
        message: &RaftMessage,
        answer: &Result<RaftMessage, String>,
    ) {
        let Ok(answer) = answer else { return };
        self.note(format_args!(
            "{by} answers {call:?}: {} bytes",
            answer.payload.len()
        ));
        let is_emptied = self.voter_id(by.broker) != by;
        let checked = self
            .invariants()
            .answered(call, by, is_emptied, &message.payload, &answer.payload);
        self.check(checked);
    }

    /// Takes what a checker says.
    pub fn check(&self, checked: Result<(), Violation>) {
        if let Err(violation) = checked {
            self.violate(violation.invariant, violation.message);
        }
    }
}

/// What is lost with a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing more.
    Process,
    /// What was not synced.
    Power,
    /// All of the disk.
    Disk,
}

/// Heartbeats and sessions, as brokers have them by default.
const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(250),
    session: Duration::from_millis(1_000),
};

/// Where a broker is; nothing looks at it but metadata.
pub fn node(broker: BrokerId) -> VoterNode {
    VoterNode {
        address: format!("broker-{broker}:9093"),
    }
}

/// The directory id of a broker's disk, which was formatted by its process of that number.
fn directory(broker: BrokerId, incarnation: u64) -> Uuid {
    let mut bytes = [1; 16];
    bytes[..4].copy_from_slice(&broker.0.to_be_bytes());
    bytes[4..12].copy_from_slice(&incarnation.to_be_bytes());
    Uuid(bytes)
}

fn fresh_id(dice: &mut Dice) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&dice.bits().to_be_bytes());
    bytes[8..].copy_from_slice(&dice.bits().to_be_bytes());
    Uuid(bytes)
}
