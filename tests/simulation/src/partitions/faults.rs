//! What goes wrong, and is set right again.

use super::event::{Event, Mend, Place};
use super::world::World;
use std::collections::BTreeSet;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A process dies; its machine goes on.
    Kill,
    /// A machine loses what it had not synced, and tears its last write.
    PowerLoss,
    /// All machines do, at once.
    PowerLossEverywhere,
    /// A disk comes back empty.
    Wipe,
    /// Nothing goes between two brokers.
    Cut,
    /// Nothing goes from one broker to another.
    CutOneWay,
    /// A broker reaches no other, though clients may reach it.
    Isolate,
    /// Messages are lost, doubled, late and out of order.
    BadNetwork,
    SlowDisk,
    FullDisk,
    /// A sync fails: the broker stops, and its machine loses what was not synced.
    FailedSync,
    ClockJump,
    ClockDrift,
    /// A controlled shutdown, and a start after it.
    Shutdown,
    /// Another broker becomes the controller.
    Depose,
    SlowQuorum,
    SlowObserver,
    Reassign,
    ElectLeaders,
    /// A broker joins that was not there.
    Join,
}

impl Fault {
    pub fn all() -> Vec<Self> {
        vec![
            Self::Kill,
            Self::PowerLoss,
            Self::PowerLossEverywhere,
            Self::Wipe,
            Self::Cut,
            Self::CutOneWay,
            Self::Isolate,
            Self::BadNetwork,
            Self::SlowDisk,
            Self::FullDisk,
            Self::FailedSync,
            Self::ClockJump,
            Self::ClockDrift,
            Self::Shutdown,
            Self::Depose,
            Self::SlowQuorum,
            Self::SlowObserver,
            Self::Reassign,
            Self::ElectLeaders,
            Self::Join,
        ]
    }

    /// Whether it takes away what was written and not synced.
    pub fn loses_unsynced(self) -> bool {
        matches!(
            self,
            Self::PowerLoss | Self::PowerLossEverywhere | Self::FailedSync
        )
    }

    /// Under which it is counted.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "fault: kill",
            Self::PowerLoss => "fault: power loss",
            Self::PowerLossEverywhere => "fault: power loss everywhere",
            Self::Wipe => "fault: emptied disk",
            Self::Cut => "fault: cut",
            Self::CutOneWay => "fault: one-way cut",
            Self::Isolate => "fault: isolated broker",
            Self::BadNetwork => "fault: bad network",
            Self::SlowDisk => "fault: slow disk",
            Self::FullDisk => "fault: full disk",
            Self::FailedSync => "fault: failed sync",
            Self::ClockJump => "fault: clock jump",
            Self::ClockDrift => "fault: clock drift",
            Self::Shutdown => "fault: controlled shutdown",
            Self::Depose => "fault: deposed controller",
            Self::SlowQuorum => "fault: slow quorum",
            Self::SlowObserver => "fault: slow observer",
            Self::Reassign => "fault: reassignment",
            Self::ElectLeaders => "fault: leader election",
            Self::Join => "fault: broker joins",
        }
    }
}

/// What is out of order now.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Brokers whose disk lacks what it had, and who have not registered since.
    pub damaged: BTreeSet<usize>,
}

impl World {
    /// One fault, and the next after a while.
    pub(super) fn strike(&mut self) {
        if self.is_healed {
            return;
        }
        let fault = *self.dice.fault.pick(&self.plan.faults);
        let place = self.dice.fault.below(self.sites.len() as u64) as usize;
        self.note(format_args!("{} at broker {place}", fault.name()));
        if self.inflict(fault, place) {
            self.counts.count(fault.name());
        }
        let every_us = self.plan.fault_every_ms * 1_000;
        let us = self.dice.fault.between(every_us as i64 / 8, every_us as i64 * 2) as u64;
        self.after(us, Event::Fault);
    }

    /// Whether it made a difference.
    fn inflict(&mut self, fault: Fault, place: usize) -> bool {
        let me = Place::Broker(place);
        let for_us = self.dice.fault.between(50_000, 4_000_000) as u64;
        let runs = self.sites[place].process.is_some();
        let other = {
            let step = self.dice.fault.between(1, self.sites.len() as i64 - 1) as usize;
            Place::Broker((place + step) % self.sites.len())
        };
        match fault {
            Fault::Kill if runs => {
                self.kill(place);
                self.start_after(place, for_us);
            }
            Fault::PowerLoss if runs => {
                self.lose_power(place);
                self.start_after(place, for_us);
            }
            Fault::PowerLossEverywhere => {
                for site in 0..self.sites.len() {
                    self.lose_power(site);
                    let us = self.dice.fault.between(50_000, 3_000_000) as u64;
                    self.start_after(site, us);
                }
            }
            // One at a time, until the fleet knows of it: who has lost two disks of three may be left with what nobody may lead.
            // Without syncs that holds for a disk and a process already, which comes back as one that may have lost something.
            Fault::Wipe
                if self.plan.synced
                    && self.faults.damaged.is_empty()
                    && self.sites[place].is_wanted
                    && self.can_spare(place) =>
            {
                self.kill(place);
                self.sites[place].disk = std::sync::Arc::default();
                self.faults.damaged.insert(place);
                self.start_after(place, for_us);
            }
            Fault::Cut => {
                for (from, to) in [(me, other), (other, me)] {
                    self.network.cut(from, to);
                    self.after(for_us, Event::Mend(Mend::Link(from, to)));
                }
                self.elect_if_needed();
            }
            Fault::CutOneWay => {
                self.network.cut(me, other);
                self.after(for_us, Event::Mend(Mend::Link(me, other)));
                self.elect_if_needed();
            }
            Fault::Isolate => {
                let ways = self.dice.fault.below(3);
                for site in (0..self.sites.len()).filter(|site| *site != place) {
                    let site = Place::Broker(site);
                    for (way, (from, to)) in [(me, site), (site, me)].into_iter().enumerate() {
                        if ways == way as u64 {
                            continue;
                        }
                        self.network.cut(from, to);
                        self.after(for_us, Event::Mend(Mend::Link(from, to)));
                    }
                }
                self.elect_if_needed();
            }
            Fault::BadNetwork => {
                let dice = &mut self.dice.fault;
                self.network.lost = dice.below(200);
                self.network.doubled = dice.below(100);
                self.network.late = (dice.below(300), dice.below(400_000) + 1);
                self.after(for_us, Event::Mend(Mend::Network));
            }
            Fault::SlowDisk => {
                self.sites[place].slow_us = self.dice.fault.between(20_000, 800_000) as u64;
                self.after(for_us, Event::Mend(Mend::SlowDisk(place)));
            }
            Fault::FullDisk => {
                let disk = &self.sites[place].disk;
                let room = self.dice.fault.below(12_000);
                disk.set_capacity(Some(disk.used_bytes() + room));
                self.after(for_us, Event::Mend(Mend::FullDisk(place)));
            }
            Fault::FailedSync if runs => self.sites[place].disk.fail_syncs_of(".log"),
            Fault::ClockJump => {
                let most_ms = *self.dice.fault.pick(&[50, 2_000, 60_000, 600_000]);
                self.sites[place].offset_ms += self.dice.fault.between(-most_ms, most_ms);
            }
            Fault::ClockDrift => self.sites[place].drift_ppm = self.dice.fault.between(-50_000, 50_000),
            Fault::Shutdown if runs => {
                if let Some(process) = self.sites[place].process.as_mut() {
                    process.is_stopping = true;
                }
            }
            Fault::Depose => self.elect(),
            Fault::SlowQuorum => {
                self.quorum.slow_us = self.dice.fault.between(10_000, 600_000) as u64;
                self.after(for_us, Event::Mend(Mend::SlowQuorum));
            }
            Fault::SlowObserver => {
                self.sites[place].observe_slow_us = self.dice.fault.between(10_000, 2_000_000) as u64;
                self.after(for_us, Event::Mend(Mend::SlowObserver(place)));
            }
            Fault::Reassign => self.reassign(),
            Fault::ElectLeaders => self.elect_leaders(),
            Fault::Join if !self.sites[place].is_wanted => {
                self.sites[place].is_wanted = true;
                self.start_after(place, 0);
            }
            _ => return false,
        }
        true
    }

    /// The machine loses power: what is left of its disk is what was synced, and some of the rest.
    fn lose_power(&mut self, place: usize) {
        self.kill(place);
        let seed = self.dice.disk.bits();
        self.sites[place].disk.crash(seed);
        if !self.plan.synced {
            self.faults.damaged.insert(place);
        }
    }

    /// Whether all that is acknowledged is also on a disk elsewhere that the fleet would elect: otherwise emptying this one
    /// loses records, and has to.
    fn can_spare(&self, place: usize) -> bool {
        let me = flotilla_protocol::BrokerId(place as i32);
        let whole = |broker: &flotilla_protocol::BrokerId| {
            *broker != me && !self.faults.damaged.contains(&(broker.0 as usize))
        };
        [
            self.quorum.foreseen(),
            flotilla_broker::metadata::Image::clone(&self.quorum.latest()),
        ]
        .iter()
        .all(|image| {
            image.partitions().all(|(topic, _, partition)| {
                if !partition.is_replica(me) {
                    return true;
                }
                // A leader may be about to add it: nobody knows of that proposal yet, and only who is fenced is refused.
                let is_fenced = image.broker(me).is_none_or(|broker| broker.fenced);
                let named = !is_fenced || partition.isr.contains(&me) || partition.elr.contains(&me);
                let min_isr = self.plan.min_isr(&topic.name).min(partition.replicas.len());
                // With a minimum of one, the last in sync is the only one that may lead.
                let safe = !named || min_isr > 1;
                safe && partition.isr.iter().chain(&partition.elr).any(whole)
            })
        })
    }

    /// What was wrong is right again.
    pub(super) fn mend(&mut self, mend: Mend) {
        match mend {
            Mend::Link(from, to) => self.network.mend(from, to),
            Mend::Network => {
                self.network.lost = 0;
                self.network.doubled = 0;
                self.network.late = (0, 0);
            }
            Mend::SlowDisk(place) => self.sites[place].slow_us = 0,
            Mend::FullDisk(place) => self.sites[place].disk.set_capacity(None),
            Mend::SlowQuorum => self.quorum.slow_us = 0,
            Mend::SlowObserver(place) => self.sites[place].observe_slow_us = 0,
        }
    }

    /// Everything is right again, and every broker runs.
    pub(super) fn heal_faults(&mut self) {
        self.network.heal();
        self.quorum.slow_us = 0;
        for place in 0..self.sites.len() {
            let site = &mut self.sites[place];
            site.slow_us = 0;
            site.observe_slow_us = 0;
            site.drift_ppm = 0;
            site.is_wanted = true;
            site.disk.set_capacity(None);
            if site.process.is_none() {
                self.start_after(place, 1_000);
            }
        }
        for client in 0..self.clients.count() {
            self.client_after(client, 1_000);
        }
    }
}
