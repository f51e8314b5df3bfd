//! One fault of each kind.

use std::time::{Duration, Instant};

use super::{Active, Nemesis, STOP_WITHIN, Undo};
use crate::disk::Target;
use crate::fault::Kind;
use crate::switch::Port;

const MIB: u64 = 1 << 20;

impl Nemesis {
    /// Makes a fault of this kind happen, to whom chance says.
    pub(super) fn act(&mut self, kind: Kind) -> anyhow::Result<()> {
        let id = self.chance.below(self.fleet.size() as u64) as usize;
        match kind {
            Kind::Kill if self.fleet.runs(id) => {
                self.fleet.kill(id)?;
                self.hold(
                    kind,
                    format!("broker {id} is killed"),
                    (0, 8_000),
                    Undo::Start(vec![id]),
                );
            }
            Kind::Restart if self.fleet.runs(id) && self.active.is_empty() => self.restart(id)?,
            Kind::Pause if self.fleet.runs(id) => {
                self.fleet.pause(id);
                self.hold(
                    kind,
                    format!("broker {id} is stopped with SIGSTOP"),
                    (100, 10_000),
                    Undo::Resume(id),
                );
            }
            Kind::KillAll => {
                self.fleet.kill_all()?;
                let all = (0..self.fleet.size()).collect();
                self.hold(
                    kind,
                    "all brokers are killed".to_owned(),
                    (0, 3_000),
                    Undo::Start(all),
                );
            }
            Kind::Cut => self.cut(id),
            Kind::CutOneWay => self.cut_one_way(id),
            Kind::Delay => self.delay(id),
            Kind::Loss => self.lose(id),
            Kind::FullDisk => {
                let leave = *self.chance.one_of(&[48, 16, 1]) * MIB;
                self.fleet.disk(id).fill(leave)?;
                let what = format!("the disk of broker {id} is full, but for {} MiB", leave / MIB);
                self.hold(kind, what, (1_000, 15_000), Undo::Relieve(id));
            }
            Kind::Clock => {
                let seconds = self.chance.between(1, 6_000) as i64 - 3_000;
                self.fleet.set_clock(id, seconds)?;
                let what = format!("the clock of broker {id} is set {seconds:+} s from the true time");
                self.hold(kind, what, (1_000, 15_000), Undo::SetClock(id));
            }
            Kind::EmptyDisk => {
                self.fleet.kill(id)?;
                self.fleet.disk(id).empty()?;
                self.destroyed = Some((id, false));
                self.hold(
                    kind,
                    format!("broker {id} is killed, and its data directory deleted"),
                    (0, 5_000),
                    Undo::Start(vec![id]),
                );
            }
            Kind::DamagedSegment => self.damage(kind, id, Target::Segment)?,
            Kind::DamagedIndex => self.damage(kind, id, Target::Index)?,
            Kind::DamagedCheckpoint => self.damage(kind, id, Target::Checkpoint)?,
            Kind::DamagedMetadata => self.damage(kind, id, Target::Metadata)?,
            Kind::Kill | Kind::Restart | Kind::Pause => {}
        }
        Ok(())
    }

    /// Remembers a fault, to be undone after a time between these, in milliseconds.
    fn hold(&mut self, kind: Kind, what: String, between_ms: (u64, u64), undo: Undo) {
        let happened = self.note(kind, what);
        let lasts = Duration::from_millis(self.chance.between(between_ms.0, between_ms.1));
        self.active.push(Active {
            until: Instant::now() + lasts,
            undo,
            happened,
        });
    }

    fn restart(&mut self, id: usize) -> anyhow::Result<()> {
        let noted = self.note(Kind::Restart, format!("broker {id} is asked to end"));
        let ended = self.fleet.terminate(id, STOP_WITHIN)?;
        if !ended {
            self.complain(format!(
                "broker {id} does not end within {STOP_WITHIN:?} of SIGTERM, and nothing else is wrong"
            ));
        }
        let lasts = Duration::from_millis(self.chance.between(0, 3_000));
        self.active.push(Active {
            until: Instant::now() + lasts,
            undo: Undo::Start(vec![id]),
            happened: noted,
        });
        Ok(())
    }

    /// The ports of the other brokers, and perhaps that of the clients.
    fn others(&mut self, id: usize) -> (Vec<Port>, &'static str) {
        let clients = self.fleet.size();
        let brokers = (0..clients).filter(|other| *other != id);
        if self.chance.percent(50) {
            (brokers.chain([clients]).collect(), "all others and the clients")
        } else {
            (brokers.collect(), "the other brokers")
        }
    }

    fn cut(&mut self, id: usize) {
        let (others, whom) = self.others(id);
        let links: Vec<(Port, Port)> = others
            .iter()
            .flat_map(|other| [(id, *other), (*other, id)])
            .collect();
        self.cut_links(&links);
        self.hold(
            Kind::Cut,
            format!("broker {id} is cut off from {whom}"),
            (200, 12_000),
            Undo::Join(links),
        );
    }

    fn cut_one_way(&mut self, id: usize) {
        let (mut others, mut whom) = self.others(id);
        if self.chance.percent(30) {
            others = vec![*self.chance.one_of(&others)];
            whom = "one of the others";
        }
        let (links, what): (Vec<(Port, Port)>, _) = if self.chance.percent(50) {
            (
                others.iter().map(|other| (id, *other)).collect(),
                format!("nothing passes from broker {id} to {whom}"),
            )
        } else {
            (
                others.iter().map(|other| (*other, id)).collect(),
                format!("nothing passes to broker {id} from {whom}"),
            )
        };
        self.cut_links(&links);
        self.hold(Kind::CutOneWay, what, (200, 12_000), Undo::Join(links));
    }

    fn cut_links(&self, links: &[(Port, Port)]) {
        for (from, to) in links {
            self.switch.change(*from, *to, |link| link.cuts += 1);
        }
    }

    fn delay(&mut self, id: usize) {
        let (others, whom) = self.others(id);
        let ms = *self.chance.one_of(&[5, 20, 100, 400, 900]);
        let links: Vec<(Port, Port)> = others
            .iter()
            .flat_map(|other| [(id, *other), (*other, id)])
            .collect();
        for (from, to) in &links {
            self.switch
                .change(*from, *to, |link| link.delay = Duration::from_millis(ms));
        }
        let what = format!("broker {id} and {whom} hear each other {ms} ms later");
        self.hold(Kind::Delay, what, (1_000, 12_000), Undo::Smooth(links));
    }

    fn lose(&mut self, id: usize) {
        let (others, whom) = self.others(id);
        let percent = self.chance.between(2, 40);
        let links: Vec<(Port, Port)> = others
            .iter()
            .flat_map(|other| [(id, *other), (*other, id)])
            .collect();
        for (from, to) in &links {
            self.switch.change(*from, *to, |link| link.loss_percent = percent);
        }
        let what = format!("{percent} % of the packets between broker {id} and {whom} are lost");
        self.hold(Kind::Loss, what, (1_000, 12_000), Undo::Smooth(links));
    }

    /// Changes a bit under a broker that runs, or of one that is killed for it.
    fn damage(&mut self, kind: Kind, id: usize, target: Target) -> anyhow::Result<()> {
        let running = self.chance.percent(50);
        if !running {
            self.fleet.kill(id)?;
        }
        let done = self.fleet.disk(id).damage(target, &mut self.chance)?;
        let state = if running { "running" } else { "killed" };
        let undo = match target {
            Target::Checkpoint | Target::Metadata if running => Undo::StartAnew(id),
            _ => Undo::Start(vec![id]),
        };
        match done {
            Some(done) => {
                self.destroyed = Some((id, true));
                self.hold(kind, format!("on {state} broker {id}, {done}"), (0, 3_000), undo);
            }
            None => self.fleet.start(id)?,
        }
        Ok(())
    }
}
