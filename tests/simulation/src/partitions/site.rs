//! A broker: its machine, with disk and clock, and the process that runs on it, if one does.

use super::controller::Reign;
use super::event::{Chore, Event, Message, Place};
use super::submit::Submission;
use super::world::World;
use crate::dice::Dice;
use flotilla_broker::coordinator_runtime::Stepped;
use flotilla_broker::group::Reply;
use flotilla_broker::log::{Disk, Identity, SimDisk, TailBudget, Volume, VolumeOptions};
use flotilla_broker::metadata::Image;
use flotilla_broker::replica::{
    Altering, Asking, Blocking, Commit, Config, Fetch, Health, Lane, OpenError, Replicas, Round, Syncing,
};
use flotilla_broker::request::ReplicaFetch;
use flotilla_protocol::{BrokerEpoch, BrokerId, Offset, Uuid};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;

/// The cluster of all simulations.
pub(super) const CLUSTER: &str = "BwcHBwcHBwcHBwcHBwcHBw";
/// What all clocks show at the beginning: 2026, in milliseconds.
const EPOCH_MS: i64 = 1_767_225_600_000;
/// How long a broker heartbeats apart, microseconds.
pub(super) const BEAT_US: u64 = 250_000;

/// The machine of one broker.
pub(super) struct Site {
    pub disk: Arc<SimDisk>,
    pub clock: Arc<AtomicI64>,
    /// Milliseconds that the wall clock is off.
    pub offset_ms: i64,
    /// How much too fast it goes, in millionths.
    pub drift_ppm: i64,
    /// Microseconds that a sync takes beyond the usual, at most.
    pub slow_us: u64,
    /// Microseconds that metadata takes beyond the usual, at most.
    pub observe_slow_us: u64,
    /// How many processes there have been.
    pub life: u64,
    pub process: Option<Process>,
    /// It is meant to run: one that died is started again.
    pub is_wanted: bool,
    /// When a start is due, if one is: there is only one.
    pub is_starting: bool,
    pub dice: Dice,
}

/// What one loop does.
pub(super) enum Fetching {
    /// It may ask.
    Idle,
    /// It waits for its leader.
    Asked { id: u64, asking: Asking },
    /// It waits for its disk.
    Syncing(Syncing),
    /// It rests, until then: its leader did not answer.
    Resting { until_us: u64 },
    /// There is nothing to ask for before then, unless something changes.
    Looking { until_us: u64 },
}

/// A fetch that waits for more.
pub(super) struct Parked {
    pub from: Place,
    pub id: u64,
    pub waits: Waits,
    pub until_us: u64,
}

pub(super) enum Waits {
    Replica(ReplicaFetch),
    Consumer(Fetch),
}

/// An append that waits for its acknowledgement.
pub(super) struct Waiting {
    pub from: Place,
    pub id: u64,
    pub base_offset: Offset,
    pub commit: Commit,
    pub until_us: u64,
}

/// The controller's answer to a change of in-sync sets, held back until the metadata here shows it.
pub(super) enum Alter {
    None,
    Submitted(Altering),
    Answered {
        altering: Altering,
        response: Box<flotilla_control::proto::metadata::Response>,
        index: u64,
        until_us: u64,
    },
    /// Nobody answered: a rest, then the replicas are told.
    Resting {
        altering: Altering,
        until_us: u64,
    },
}

/// A running broker.
pub(super) struct Process {
    pub replicas: Arc<Replicas>,
    pub incarnation: Uuid,
    pub directory: Uuid,
    pub clean: bool,
    pub index: u64,
    pub image: Arc<Image>,
    pub epoch: Option<BrokerEpoch>,
    pub is_stopping: bool,
    pub lanes: BTreeMap<Lane, Fetching>,
    pub rests_us: BTreeMap<Lane, u64>,
    pub parked: Vec<Parked>,
    pub waiting: Vec<Waiting>,
    pub alter: Alter,
    pub rounds: Vec<Round>,
    pub submissions: BTreeMap<u64, Submission>,
    pub controller: Option<usize>,
    pub reign: Option<Reign>,
    pub wake_us: Option<u64>,
    pub is_observing: bool,
    pub groups: Stepped,
    /// Questions to groups that are not answered yet.
    pub group_asks: Vec<(Place, u64, Receiver<Reply>)>,
}

impl Site {
    pub fn new(dice: Dice) -> Self {
        Self {
            disk: Arc::default(),
            clock: Arc::new(AtomicI64::new(EPOCH_MS)),
            offset_ms: 0,
            drift_ppm: 0,
            slow_us: 0,
            observe_slow_us: 0,
            life: 0,
            process: None,
            is_wanted: true,
            is_starting: false,
            dice,
        }
    }

    /// Sets the wall clock of the machine to what it shows at `now_us`.
    pub fn set_clock(&self, now_us: u64) -> i64 {
        let now_us = i64::try_from(now_us).unwrap_or(i64::MAX);
        let drifted_us = now_us + now_us / 1_000 * self.drift_ppm / 1_000;
        let now_ms = EPOCH_MS + self.offset_ms + drifted_us / 1_000;
        self.clock.store(now_ms, Ordering::Relaxed);
        self.disk.set_now(now_ms);
        now_ms
    }

    fn open(&mut self, broker: BrokerId, settings: &BTreeMap<String, String>) -> Result<Process, String> {
        let dir = Path::new("/data");
        let disk: Arc<dyn Disk> = self.disk.clone();
        let directory = match Volume::inspect(&*disk, dir).map_err(|error| error.to_string())? {
            Some(identity) => identity.directory_id,
            None => {
                let identity = Identity {
                    cluster_id: CLUSTER.to_owned(),
                    broker_id: broker,
                    directory_id: uuid(&mut self.dice),
                };
                Volume::format(&*disk, dir, &identity).map_err(|error| error.to_string())?;
                identity.directory_id
            }
        };
        let options = VolumeOptions {
            reserve_bytes: Some(RESERVE_BYTES),
        };
        let (volume, opened) =
            Volume::open(&disk, dir, CLUSTER, broker, options).map_err(|error| error.to_string())?;
        let clean = opened.clean;
        let incarnation = uuid(&mut self.dice);
        let clock = self.clock.clone();
        let config = Config {
            broker,
            incarnation,
            settings: settings.clone(),
            volumes: vec![(volume, opened)],
            tail: TailBudget::new(1 << 20, 1 << 14),
            clock: Arc::new(move || clock.load(Ordering::Relaxed)),
            blocking: Blocking::InPlace,
        };
        let replicas = Replicas::open(config, |_| {}).map_err(|error: OpenError| error.to_string())?;
        let groups = Stepped::new(&replicas, group_config());
        Ok(Process {
            replicas,
            incarnation,
            directory,
            clean,
            index: 0,
            image: Arc::default(),
            epoch: None,
            is_stopping: false,
            lanes: BTreeMap::new(),
            rests_us: BTreeMap::new(),
            parked: Vec::new(),
            waiting: Vec::new(),
            alter: Alter::None,
            rounds: Vec::new(),
            submissions: BTreeMap::new(),
            controller: None,
            reign: None,
            wake_us: None,
            is_observing: false,
            groups,
            group_asks: Vec::new(),
        })
    }
}

fn group_config() -> flotilla_broker::group::Config {
    flotilla_broker::group::Config {
        initial_rebalance_delay_ms: 100,
        session_timeout_min_ms: 500,
        ..flotilla_broker::group::Config::default()
    }
}

/// What volumes keep free.
pub(super) const RESERVE_BYTES: u64 = 4_096;

pub(super) fn uuid(dice: &mut Dice) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&dice.bits().to_be_bytes());
    bytes[8..].copy_from_slice(&dice.bits().to_be_bytes());
    Uuid(bytes)
}

impl World {
    /// Starts the process of a broker, and has it register.
    pub fn start(&mut self, place: usize) {
        let now_us = self.now_us;
        let site = &mut self.sites[place];
        site.is_starting = false;
        if site.process.is_some() || !site.is_wanted {
            return;
        }
        site.set_clock(now_us);
        match site.open(BrokerId(place as i32), &self.plan.settings) {
            Ok(process) => {
                let clean = process.clean;
                site.life += 1;
                site.process = Some(process);
                self.counts.count("starts");
                if clean {
                    self.counts.count("clean starts");
                }
                self.note(format_args!(
                    "broker {place} starts{}",
                    if clean { ", cleanly" } else { "" }
                ));
                self.began(place);
                for (chore, every_us) in [
                    (Chore::Register, 0),
                    (Chore::Tick, self.tick_us()),
                    (Chore::Checkpoints, 700_000),
                    (Chore::Look, 1_000_000),
                    (Chore::Groups, 100_000),
                ] {
                    self.chore(place, chore, every_us);
                }
                self.observe_soon(place);
            }
            Err(why) => {
                // A full disk, such as it is: it is tried again, as a supervisor does.
                self.counts.count("starts that failed");
                self.note(format_args!("broker {place} does not start: {why}"));
                self.sites[place].disk.release();
                if why.contains("input/output error") {
                    // A disk whose syncs fail: the machine is started anew with another controller.
                    let seed = self.dice.disk.bits();
                    self.sites[place].disk.crash(seed);
                }
                self.start_after(place, 200_000);
            }
        }
    }

    pub fn start_after(&mut self, place: usize, us: u64) {
        if !std::mem::replace(&mut self.sites[place].is_starting, true) {
            self.after(us, Event::Start { site: place });
        }
    }

    /// Half of `replica.lag.time.max.ms`, in microseconds.
    pub fn tick_us(&self) -> u64 {
        let lag_ms: u64 = self.plan.settings["replica.lag.time.max.ms"]
            .parse()
            .unwrap_or(1_000);
        lag_ms * 500
    }

    /// Ends a process at once. What it has written to its disk is there, synced or not.
    pub fn kill(&mut self, place: usize) {
        let Some(process) = self.sites[place].process.take() else {
            return;
        };
        process.replicas.abandon();
        drop(process);
        self.sites[place].disk.release();
        self.ended(place);
        self.disconnected(place);
    }

    /// Goes on with all that can go on at a broker, until nothing can.
    pub fn settle(&mut self, place: usize) {
        let now_us = self.now_us;
        let Some(process) = &self.sites[place].process else {
            return;
        };
        self.sites[place].set_clock(now_us);
        if process
            .replicas
            .volumes()
            .iter()
            .any(|volume| volume.health() == Health::Offline)
        {
            self.counts.count("volumes failed");
            self.note(format_args!("broker {place} stops: its volume failed"));
            self.kill(place);
            // Only a machine that was started again can be believed: what was not synced is gone.
            let seed = self.dice.disk.bits();
            self.sites[place].disk.crash(seed);
            self.start_after(place, 300_000);
            return;
        }
        self.serve_groups(place);
        self.answer_fetches(place);
        self.answer_appends(place);
        self.fetch(place);
        self.alter(place);
        self.commit_groups(place);
        self.wake_later(place);
        self.check_site(place);
    }

    /// Lets the groups that this broker coordinates go on.
    fn serve_groups(&mut self, place: usize) {
        let now_ms = EPOCH_MS as u64 + self.now_us / 1_000;
        let Some(process) = self.sites[place].process.as_mut() else {
            return;
        };
        let loaded = process.groups.loaded();
        process.groups.step(now_ms);
        self.counts
            .add("group coordinators loaded", process.groups.loaded() - loaded);
        let mut answers = Vec::new();
        for (from, id, mut reply) in std::mem::take(&mut process.group_asks) {
            match reply.try_recv() {
                Ok(reply) => answers.push((from, id, reply)),
                Err(TryRecvError::Empty) => process.group_asks.push((from, id, reply)),
                // The shard is gone: the client learns that when its time is up.
                Err(TryRecvError::Closed) => {}
            }
        }
        for (to, id, reply) in answers {
            self.answer(place, to, id, super::event::Answer::Group(Box::new(reply)));
        }
    }

    fn answer_fetches(&mut self, place: usize) {
        let now_us = self.now_us;
        let Some(process) = self.sites[place].process.as_mut() else {
            return;
        };
        let mut answers = Vec::new();
        for parked in std::mem::take(&mut process.parked) {
            let last = parked.until_us <= now_us;
            let fetch = match &parked.waits {
                Waits::Replica(fetch) => fetch.fetch(),
                Waits::Consumer(fetch) => fetch,
            };
            match process.replicas.look_for(fetch, false, last) {
                Some(parts) => answers.push((parked.from, parked.id, answer(parked.waits, parts))),
                None => process.parked.push(parked),
            }
        }
        for (to, id, answer) in answers {
            self.answer(place, to, id, answer);
        }
    }

    fn answer_appends(&mut self, place: usize) {
        use flotilla_broker::replica::AppendError;
        let now_us = self.now_us;
        let Some(process) = self.sites[place].process.as_mut() else {
            return;
        };
        let mut answers = Vec::new();
        for mut waiting in std::mem::take(&mut process.waiting) {
            let outcome = match waiting.commit.now() {
                Some(outcome) => Some(outcome),
                None if waiting.until_us <= now_us => Some(Err(AppendError::Timeout)),
                None => None,
            };
            match outcome {
                Some(outcome) => {
                    let base_offset = waiting.base_offset;
                    answers.push((waiting.from, waiting.id, outcome.map(|()| base_offset)));
                }
                None => process.waiting.push(waiting),
            }
        }
        for (to, id, outcome) in answers {
            self.answer(place, to, id, super::event::Answer::Produced(outcome));
        }
    }

    /// Begins to sync what waits for it, one group commit at a time.
    fn commit_groups(&mut self, place: usize) {
        let Site {
            process: Some(process),
            slow_us,
            dice,
            ..
        } = &mut self.sites[place]
        else {
            return;
        };
        if !process.rounds.is_empty() {
            return;
        }
        process.rounds = process.replicas.begin_commits();
        if process.rounds.is_empty() {
            return;
        }
        let us = dice.between(100, 2_000) as u64 + dice.below(*slow_us + 1);
        self.chore(place, Chore::Synced, us);
    }

    /// A group commit is on the disk.
    pub fn synced(&mut self, place: usize) {
        if let Some(process) = self.sites[place].process.as_mut() {
            for round in std::mem::take(&mut process.rounds) {
                process.replicas.end_commit(round);
            }
        }
    }

    /// Sees to it that somebody looks when the next thing is due.
    fn wake_later(&mut self, place: usize) {
        let now_us = self.now_us;
        let Some(process) = self.sites[place].process.as_mut() else {
            return;
        };
        let parked = process.parked.iter().map(|parked| parked.until_us);
        let waiting = process.waiting.iter().map(|waiting| waiting.until_us);
        let resting = process.lanes.values().filter_map(|fetching| match fetching {
            Fetching::Resting { until_us } | Fetching::Looking { until_us } => Some(*until_us),
            _ => None,
        });
        let altering = match &process.alter {
            Alter::Answered { until_us, .. } | Alter::Resting { until_us, .. } => Some(*until_us),
            Alter::None | Alter::Submitted(_) => None,
        };
        let Some(due_us) = parked.chain(waiting).chain(resting).chain(altering).min() else {
            return;
        };
        let due_us = due_us.max(now_us + 1);
        if process
            .wake_us
            .is_none_or(|wake_us| wake_us > due_us || wake_us <= now_us)
        {
            process.wake_us = Some(due_us);
            self.chore(place, Chore::Settle, due_us - now_us);
        }
    }

    /// A question arrives at a broker that runs.
    pub fn asked(&mut self, place: usize, message: &Message, ask: super::event::Ask) {
        use super::event::{Answer, Ask};
        use flotilla_broker::replica::{Acks, Origin, Reader};
        let now_us = self.now_us;
        self.sites[place].set_clock(now_us);
        let Some(process) = self.sites[place].process.as_mut() else {
            self.answer(place, message.from, message.id, Answer::Refused);
            return;
        };
        let (from, id) = (message.from, message.id);
        let done = match ask {
            Ask::Submit(request) => {
                self.submitted(place, from, id, *request);
                return;
            }
            Ask::Fetch(request) => {
                let Place::Broker(peer) = from else { return };
                match ReplicaFetch::new(&process.image, BrokerId(peer as i32), &request) {
                    Err(refused) => Some(Answer::Fetched(refused)),
                    Ok(fetch) => {
                        let wait_max = fetch.fetch().wait_max;
                        let last = wait_max.is_zero();
                        match process.replicas.look_for(fetch.fetch(), true, last) {
                            Some(parts) => Some(answer(Waits::Replica(fetch), parts)),
                            None => {
                                process.parked.push(Parked {
                                    from,
                                    id,
                                    waits: Waits::Replica(fetch),
                                    until_us: now_us + wait_max.as_micros() as u64,
                                });
                                None
                            }
                        }
                    }
                }
            }
            Ask::Leader(key) => {
                let partition = process
                    .image
                    .topic_by_id(key.topic_id)
                    .and_then(|topic| topic.partition(key.partition));
                Some(Answer::Leader(partition.and_then(|partition| {
                    Some((partition.leader?, partition.leader_epoch))
                })))
            }
            Ask::Produce { key, records, acks } => {
                match process.replicas.append(key, &records, acks, Origin::Client) {
                    Err(error) => Some(Answer::Produced(Err(error))),
                    Ok(appended) => {
                        self.counts.count("batches appended");
                        match (acks, appended.commit) {
                            (Acks::All, Some(commit)) => {
                                process.waiting.push(Waiting {
                                    from,
                                    id,
                                    base_offset: appended.base_offset,
                                    commit,
                                    until_us: now_us + 1_000_000,
                                });
                                None
                            }
                            _ => Some(Answer::Produced(Ok(appended.base_offset))),
                        }
                    }
                }
            }
            Ask::Consume { key, query } => {
                let fetch = Fetch {
                    reader: Reader::Consumer {
                        read_committed: false,
                    },
                    // Consumers of today's clients: followers serve them, too.
                    near: Some(Vec::new()),
                    wait_max: std::time::Duration::from_millis(100),
                    bytes_min: 1,
                    bytes_max: 4_096,
                    partitions: vec![(key, query)],
                };
                match process.replicas.look_for(&fetch, true, false) {
                    Some(parts) => Some(answer(Waits::Consumer(fetch), parts)),
                    None => {
                        process.parked.push(Parked {
                            from,
                            id,
                            waits: Waits::Consumer(fetch),
                            until_us: now_us + 100_000,
                        });
                        None
                    }
                }
            }
            Ask::Group { partition, request } => {
                let reply = process.groups.ask(partition, *request);
                process.group_asks.push((from, id, reply));
                None
            }
            Ask::Latest { key, leader_epoch } => {
                Some(Answer::Latest(process.replicas.latest_offset(key, leader_epoch)))
            }
            Ask::EpochEnd { key, current, asked } => Some(Answer::EpochEnd(
                process.replicas.offset_for_epoch(key, current, asked),
            )),
        };
        if let Some(done) = done {
            self.answer(place, from, id, done);
        }
    }
}

fn answer(
    waits: Waits,
    mut parts: Vec<Result<flotilla_broker::replica::Part, flotilla_broker::replica::ReadError>>,
) -> super::event::Answer {
    use super::event::Answer;
    match waits {
        Waits::Replica(fetch) => Answer::Fetched(fetch.respond(parts)),
        Waits::Consumer(_) => Answer::Consumed(parts.pop().expect("one partition was asked for")),
    }
}
