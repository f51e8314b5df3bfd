//! Draws faults by chance, makes them happen, several at a time, and undoes them.
//!
//! What the fleet promises is kept in mind: with three replicas, of which two must be in sync, no disk is destroyed before the fleet
//! is whole again after the last one. Everything else may fall together.

mod act;

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::care::Care;
use crate::chance::Chance;
use crate::fault::{Happened, Kind};
use crate::fleet::Fleet;
use crate::recorder::Recorder;
use crate::soundness::Soundness;
use crate::switch::{Port, Switch};

/// Faults at a time, at most.
const AT_ONCE: usize = 3;

/// How long a fleet may take to be whole once there are no faults. Generous: the machine has other work.
const WHOLE_WITHIN: Duration = Duration::from_secs(180);

/// After so many faults there is a calm, in which the fleet must become whole.
const FAULTS_TO_CALM: u32 = 8;

/// How long a broker may take to end in order, as long as Kubernetes would wait.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// What takes a fault back.
enum Undo {
    Start(Vec<usize>),
    /// It reads what was changed under it only when it starts.
    StartAnew(usize),
    Resume(usize),
    Join(Vec<(Port, Port)>),
    Smooth(Vec<(Port, Port)>),
    Relieve(usize),
    SetClock(usize),
}

struct Active {
    until: Instant,
    undo: Undo,
    happened: usize,
}

/// The one who makes faults.
pub struct Nemesis {
    pub fleet: Fleet,
    switch: Switch,
    care: Care,
    chance: Chance,
    recorder: Recorder,
    kinds: Vec<(u64, Kind)>,
    active: Vec<Active>,
    /// The broker whose disk was destroyed since the fleet was whole last, and whether it was damaged rather than emptied.
    destroyed: Option<(usize, bool)>,
    pub happened: Vec<Happened>,
    /// What went wrong with the brokers themselves.
    pub complaints: Vec<String>,
    /// How long the fleet took to be whole in each calm.
    pub calms: Vec<Duration>,
}

impl Nemesis {
    pub fn new(
        fleet: Fleet,
        switch: Switch,
        care: Care,
        chance: Chance,
        recorder: Recorder,
        kinds: &[Kind],
    ) -> Self {
        let drawn = Kind::DRAWN.into_iter();
        Self {
            fleet,
            switch,
            care,
            chance,
            recorder,
            kinds: drawn
                .filter(|(_, kind)| kinds.is_empty() || kinds.contains(kind))
                .collect(),
            active: Vec::new(),
            destroyed: None,
            happened: Vec::new(),
            complaints: Vec::new(),
            calms: Vec::new(),
        }
    }

    /// Starts all brokers and waits until the fleet is whole.
    pub fn begin(&mut self) -> anyhow::Result<()> {
        for id in 0..self.fleet.size() {
            self.fleet.start(id)?;
        }
        let missing = self.become_whole()?;
        anyhow::ensure!(
            missing.is_none(),
            "the fleet does not start: {}",
            missing.unwrap_or_default()
        );
        self.fleet.bootstrapped()
    }

    /// Makes faults for so long, and ends with a fleet that is whole, or a complaint that it is not.
    pub fn rage(&mut self, duration: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + duration;
        let mut next = Instant::now();
        let mut since_calm = 0;
        while Instant::now() < end {
            self.tend()?;
            if Instant::now() < next || self.active.len() >= AT_ONCE {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            let kind = *self.chance.weighted(&self.kinds);
            if since_calm >= FAULTS_TO_CALM || (kind.destroys() && self.destroyed.is_some()) {
                if !self.calm()? {
                    return Ok(());
                }
                since_calm = 0;
            }
            if kind.destroys() && !self.is_whole_for_destruction()? {
                return Ok(());
            }
            self.act(kind)?;
            since_calm += 1;
            next = Instant::now() + Duration::from_millis(self.chance.between(200, 6_000));
        }
        self.calm().map(drop)
    }

    /// Disks are destroyed while nothing else is wrong; what else goes wrong comes on top later.
    fn is_whole_for_destruction(&mut self) -> anyhow::Result<bool> {
        if self.active.is_empty() && self.destroyed.is_none() && self.care.whole().is_ok() {
            return Ok(true);
        }
        self.calm()
    }

    /// Undoes all faults, and waits until the fleet is whole. Says whether it is; a fleet that is not is a complaint.
    pub fn calm(&mut self) -> anyhow::Result<bool> {
        for active in std::mem::take(&mut self.active) {
            self.undo(active)?;
        }
        match self.become_whole()? {
            None => {
                self.destroyed = None;
                Ok(true)
            }
            Some(missing) => {
                self.complain(format!(
                    "the fleet is not whole {WHOLE_WITHIN:?} after the last fault: {missing}"
                ));
                Ok(false)
            }
        }
    }

    fn become_whole(&mut self) -> anyhow::Result<Option<String>> {
        let began = Instant::now();
        let mut whole_since: Option<Instant> = None;
        let mut damaged = self.destroyed.map(|(id, _)| Soundness::of(id));
        loop {
            self.tend()?;
            let whole = self.care.whole();
            match whole.and_then(|()| damaged.as_mut().map_or(Ok(()), Soundness::is_shown)) {
                // What is seen may be a moment old: it has to hold.
                Ok(()) => {
                    let since = *whole_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > Duration::from_secs(2) {
                        self.calms.push(since.duration_since(began));
                        return Ok(None);
                    }
                }
                Err(missing) if began.elapsed() > WHOLE_WITHIN => return Ok(Some(missing)),
                Err(_) => whole_since = None,
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Undoes what is due, and looks after brokers that ended by themselves.
    pub fn tend(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let (due, active) = std::mem::take(&mut self.active)
            .into_iter()
            .partition(|active: &Active| active.until <= now);
        self.active = active;
        for active in Vec::from_iter::<Vec<Active>>(due) {
            self.undo(active)?;
        }
        for (id, status) in self.fleet.ended() {
            let words = self.fleet.last_words(id);
            if self.destroyed == Some((id, true)) {
                // Refusing damaged files is right. What the message asks for is done: the broker begins with an empty disk.
                println!("  broker {id} refuses what was damaged, and gets an empty disk: {words}");
                self.fleet.disk(id).empty()?;
                self.destroyed = Some((id, false));
            } else {
                self.complain(format!(
                    "broker {id} ended by itself, {status}; it said last: {words}"
                ));
            }
            self.fleet.start(id)?;
        }
        Ok(())
    }

    fn complain(&mut self, complaint: String) {
        println!("  WRONG: {complaint}");
        self.complaints.push(complaint);
    }

    /// Who holds each partition of these topics: (name of its directory, brokers).
    pub fn replicas(&self, topics: &[&str]) -> Vec<(String, Vec<usize>)> {
        let Some(view) = self.care.view() else {
            return Vec::new();
        };
        let mut held = Vec::new();
        for name in topics {
            for partition in view.topic(name).iter().flat_map(|topic| &topic.partitions) {
                let replicas = partition.replicas.iter().map(|id| *id as usize).collect();
                held.push((format!("{name}-{}", partition.partition), replicas));
            }
        }
        held
    }

    /// Ends all brokers in order.
    pub fn end(&mut self) -> anyhow::Result<()> {
        for id in 0..self.fleet.size() {
            if !self.fleet.terminate(id, STOP_WITHIN)? {
                self.complain(format!(
                    "broker {id} does not end within {STOP_WITHIN:?} of SIGTERM"
                ));
            }
        }
        Ok(())
    }

    fn note(&mut self, kind: Kind, what: String) -> usize {
        let now = self.recorder.now();
        println!("{:>7.1} s  {what}", now as f64 / 1_000.0);
        self.happened.push(Happened {
            kind,
            what,
            from_ms: now,
            to_ms: now,
        });
        self.happened.len() - 1
    }

    fn undo(&mut self, active: Active) -> anyhow::Result<()> {
        match active.undo {
            Undo::Start(ids) => {
                for id in ids {
                    self.fleet.start(id)?;
                }
            }
            Undo::StartAnew(id) => {
                self.fleet.kill(id)?;
                self.fleet.start(id)?;
            }
            Undo::Resume(id) => self.fleet.resume(id),
            Undo::Join(links) => {
                for (from, to) in links {
                    self.switch
                        .change(from, to, |link| link.cuts = link.cuts.saturating_sub(1));
                }
            }
            Undo::Smooth(links) => {
                for (from, to) in links {
                    self.switch.change(from, to, |link| {
                        (link.loss_percent, link.delay) = (0, Duration::ZERO);
                    });
                }
            }
            Undo::Relieve(id) => self
                .fleet
                .disk(id)
                .relieve()
                .context("cannot make room on a disk")?,
            Undo::SetClock(id) => self.fleet.set_clock(id, 0)?,
        }
        self.happened[active.happened].to_ms = self.recorder.now();
        Ok(())
    }
}
