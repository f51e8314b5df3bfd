//! The assignor: as much as before as can be, and else as even as can be (Kafka's `sticky`). The same question always gets the same
//! answer.
//!
//! Tasks stay where they were as long as their member has no more than its share; a task whose member is gone goes to one that has its
//! state as a standby; the rest goes where the load is least, first between processes, then between the members of one, which are its
//! threads. Standbys then go to processes that do not have the task yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::assignment::Assignment;
use super::configure::Shape;
use crate::group::Text;

/// What the assignor knows of a member.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberSpec {
    /// The process that it is a thread of.
    pub(super) process: Text,
    /// What it was to have until now.
    pub(super) before: Arc<Assignment>,
}

/// A subtopology, and one partition of what it reads.
type Task = (Text, i32);

/// Gives each task to one member, and so many standbys of each that has state to others. Every member is in the answer.
pub(super) fn assign(
    members: &BTreeMap<Text, MemberSpec>,
    shapes: &BTreeMap<Text, Shape>,
    standby_replicas: usize,
) -> BTreeMap<Text, Assignment> {
    let mut work = Work::begin(members, shapes, standby_replicas);
    work.assign_active(tasks(shapes, |_| true));
    if standby_replicas > 0 {
        work.assign_standby(tasks(shapes, |shape| shape.is_stateful), standby_replicas);
    }
    let names = work.members.iter().map(|member| member.id.clone());
    names
        .zip(work.members.iter().map(|member| member.assigned.clone()))
        .collect()
}

/// By partition first: equal partitions of several subtopologies come together.
fn tasks(shapes: &BTreeMap<Text, Shape>, wanted: impl Fn(&Shape) -> bool) -> Vec<Task> {
    let of = |(id, shape): (&Text, &Shape)| {
        let id = id.clone();
        (0..shape.tasks).map(move |partition| (id.clone(), partition))
    };
    let mut tasks: Vec<Task> = shapes
        .iter()
        .filter(|(_, shape)| wanted(shape))
        .flat_map(of)
        .collect();
    tasks.sort_by(|(one, at), (other, beside)| (at, one).cmp(&(beside, other)));
    tasks
}

/// How many of so many tasks each of so many members may have. Who has its share full is left out, and the shares of the others are
/// counted anew.
#[derive(Clone, Copy)]
struct Share {
    tasks: usize,
    members: usize,
}

impl Share {
    fn each(self) -> usize {
        match self.members {
            0 => 0,
            members => self.tasks.div_ceil(members),
        }
    }

    fn note(&mut self, count: usize) {
        if count == self.each() && self.members > 0 {
            self.members -= 1;
            self.tasks -= count.min(self.tasks);
        }
    }
}

struct Member {
    id: Text,
    process: usize,
    assigned: Assignment,
    count: usize,
}

#[derive(Default)]
struct Process {
    members: Vec<usize>,
    count: usize,
    tasks: BTreeSet<Task>,
}

/// Tasks by member of a process: compared without dividing.
#[derive(Clone, Copy)]
struct Load {
    tasks: usize,
    members: usize,
}

impl Ord for Load {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let (one, another) = (self.tasks * other.members, other.tasks * self.members);
        one.cmp(&another)
    }
}

impl PartialEq for Load {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Load {}

impl PartialOrd for Load {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

struct Work {
    members: Vec<Member>,
    processes: Vec<Process>,
    was_active: BTreeMap<Task, usize>,
    was_standby: BTreeMap<Task, Vec<usize>>,
    active_share: Share,
    share: Share,
}

impl Work {
    fn begin(
        specs: &BTreeMap<Text, MemberSpec>,
        shapes: &BTreeMap<Text, Shape>,
        standby_replicas: usize,
    ) -> Self {
        let count = |shape: &Shape| usize::try_from(shape.tasks).unwrap_or(0);
        let active: usize = shapes.values().map(count).sum();
        let stateful: usize = shapes.values().filter(|shape| shape.is_stateful).map(count).sum();
        let share_of = |tasks| Share {
            tasks,
            members: specs.len(),
        };
        let mut work = Self {
            members: Vec::with_capacity(specs.len()),
            processes: Vec::new(),
            was_active: BTreeMap::new(),
            was_standby: BTreeMap::new(),
            active_share: share_of(active),
            share: share_of(active + stateful * standby_replicas),
        };
        let mut processes: BTreeMap<&Text, usize> = BTreeMap::new();
        for (place, (id, spec)) in specs.iter().enumerate() {
            let process = *processes.entry(&spec.process).or_insert(work.processes.len());
            if process == work.processes.len() {
                work.processes.push(Process::default());
            }
            work.processes[process].members.push(place);
            work.members.push(Member {
                id: id.clone(),
                process,
                assigned: Assignment::default(),
                count: 0,
            });
            for task in spec.before.active.iter() {
                work.was_active.insert(task, place);
            }
            for task in spec.before.standby.iter() {
                work.was_standby.entry(task).or_default().push(place);
            }
        }
        work
    }

    fn give(&mut self, member: usize, (subtopology, partition): Task, is_active: bool) {
        let member = &mut self.members[member];
        member.count += 1;
        let process = &mut self.processes[member.process];
        process.count += 1;
        process.tasks.insert((subtopology.clone(), partition));
        if is_active {
            member.assigned.active.insert(subtopology, partition);
            self.active_share.note(member.count);
        } else {
            member.assigned.standby.insert(subtopology, partition);
        }
        self.share.note(member.count);
    }

    fn load(&self, process: usize) -> Load {
        Load {
            tasks: self.processes[process].count,
            members: self.processes[process].members.len(),
        }
    }

    fn has(&self, process: usize, task: &Task) -> bool {
        self.processes[process].tasks.contains(task)
    }

    fn least_loaded_member(&self, process: usize) -> Option<usize> {
        let members = self.processes[process].members.iter().copied();
        members.min_by_key(|member| self.members[*member].count)
    }

    /// The one with the least to do of those that had it as a standby, and whose process does not have it yet.
    fn former_standby(&self, task: &Task) -> Option<usize> {
        let before = self.was_standby.get(task)?.iter().copied();
        before
            .filter(|member| !self.has(self.members[*member].process, task))
            .min_by_key(|member| {
                (
                    self.load(self.members[*member].process),
                    self.members[*member].count,
                )
            })
    }

    fn assign_active(&mut self, tasks: Vec<Task>) {
        let mut open = Vec::new();
        for task in tasks {
            match self.was_active.get(&task).copied() {
                Some(member) if self.members[member].count < self.active_share.each() => {
                    self.give(member, task, true);
                }
                _ => open.push(task),
            }
        }
        let mut rest = Vec::new();
        for task in open {
            match self.former_standby(&task) {
                Some(member) if self.members[member].count < self.active_share.each() => {
                    self.give(member, task, true);
                }
                _ => rest.push(task),
            }
        }
        // By subtopology: what is assigned for the first time comes in ranges.
        rest.sort();
        let mut by_load = self.by_load();
        for task in rest {
            let Some((_, process)) = by_load.pop_first() else {
                return;
            };
            if let Some(member) = self.least_loaded_member(process) {
                self.give(member, task, true);
            }
            by_load.insert((self.load(process), process));
        }
    }

    fn by_load(&self) -> BTreeSet<(Load, usize)> {
        let processes = 0..self.processes.len();
        processes.map(|process| (self.load(process), process)).collect()
    }

    fn assign_standby(&mut self, mut tasks: Vec<Task>, replicas: usize) {
        tasks.reverse();
        let mut open: Vec<(Task, usize)> = Vec::new();
        for task in tasks {
            let mut left = replicas;
            while left > 0 && self.give_former(&task) {
                left -= 1;
            }
            if left > 0 {
                open.push((task, left));
            }
        }
        open.sort_by(|one, other| other.cmp(one));
        let mut by_load = self.by_load();
        for (task, left) in open {
            for _ in 0..left {
                // Where no process is left that does not have it, there are fewer standbys than were asked for.
                let free = by_load
                    .iter()
                    .find(|(_, process)| !self.has(*process, &task))
                    .copied();
                let Some((load, process)) = free else {
                    break;
                };
                by_load.remove(&(load, process));
                if let Some(member) = self.least_loaded_member(process) {
                    self.give(member, task.clone(), false);
                }
                by_load.insert((self.load(process), process));
            }
        }
    }

    /// Gives a standby to who had the task before, active or standby, if there is one that may have it.
    fn give_former(&mut self, task: &Task) -> bool {
        let was_active = self.was_active.get(task).copied();
        let was_active = was_active.filter(|member| !self.has(self.members[*member].process, task));
        for member in [was_active, self.former_standby(task)].into_iter().flatten() {
            if self.members[member].count < self.share.each() {
                self.give(member, task.clone(), false);
                return true;
            }
        }
        false
    }
}
