//! Which instance of an application has the state of which partitions, for those who ask instances about their state (interactive
//! queries).

use std::collections::{BTreeMap, BTreeSet};

use super::group::Group;
use super::member::Member;
use super::record::Endpoint;
use super::topology::Topology;
use crate::group::Text;
use crate::group::assigned::Tasks;
use crate::group::consumer::Seen;

/// An instance, and the partitions whose state it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPartitions {
    /// Where it is asked.
    pub endpoint: Endpoint,
    /// By topic: what it processes.
    pub active: BTreeMap<Text, BTreeSet<i32>>,
    /// By topic: what it keeps up to date.
    pub standby: BTreeMap<Text, BTreeSet<i32>>,
}

/// Those of all members that have an endpoint.
pub(super) fn of_group(group: &Group, seen: &Seen) -> Vec<EndpointPartitions> {
    let Some(topology) = &group.topology else {
        return Vec::new();
    };
    let of = |member: &Member| {
        let held = &member.current.assigned;
        Some(EndpointPartitions {
            endpoint: member.told.endpoint.clone()?,
            active: partitions(&held.active.partitions(), topology, seen),
            standby: partitions(&held.standby, topology, seen),
        })
    };
    group.members().filter_map(|member| of(member)).collect()
}

/// The partitions that tasks read. A topic that has fewer than its subtopology has tasks is read by the first of them.
fn partitions(tasks: &Tasks, topology: &Topology, seen: &Seen) -> BTreeMap<Text, BTreeSet<i32>> {
    let mut all: BTreeMap<Text, BTreeSet<i32>> = BTreeMap::new();
    for (subtopology, of_subtopology) in tasks.topics() {
        let Some(part) = topology.subtopologies.get(&subtopology) else {
            continue;
        };
        for topic in part.sources() {
            let Some((_, count)) = seen.topic(topic) else {
                continue;
            };
            let there = of_subtopology
                .iter()
                .copied()
                .filter(|partition| *partition < count);
            all.entry(topic.clone()).or_default().extend(there);
        }
    }
    all
}
