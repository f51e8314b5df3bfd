//! `range`: members stand in an order, and of each topic the first get the first partitions.

use std::collections::BTreeMap;

use flotilla_protocol::Uuid;

use super::MemberSpec;
use crate::group::Text;
use crate::group::consumer::Partitions;

/// Ranges of equal length, or longer by one for those who come first. The order is that of instance ids, so that a static
/// member keeps its range when it comes back under another id; those without one stand behind them, by their ids.
pub(super) fn assign(members: &BTreeMap<Text, MemberSpec>) -> BTreeMap<Text, Partitions> {
    let mut order: Vec<(&Text, &MemberSpec)> = members.iter().collect();
    order.sort_by_key(|(id, spec)| {
        (
            spec.instance_id.is_none(),
            spec.instance_id.clone(),
            (*id).clone(),
        )
    });
    let mut readers: BTreeMap<Uuid, (i32, Vec<&Text>)> = BTreeMap::new();
    for (id, spec) in order {
        for (topic, partitions) in &spec.topics {
            let (_, of_topic) = readers.entry(*topic).or_insert((*partitions, Vec::new()));
            of_topic.push(id);
        }
    }
    let mut assigned: BTreeMap<Text, Partitions> = members
        .keys()
        .map(|id| (id.clone(), Partitions::default()))
        .collect();
    for (topic, (partitions, of_topic)) in readers {
        let count = i32::try_from(of_topic.len()).unwrap_or(i32::MAX);
        let (each, extra) = (partitions / count, partitions % count);
        let mut next = 0;
        for (place, id) in (0..).zip(of_topic) {
            let until = next + each + i32::from(place < extra);
            if let Some(own) = assigned.get_mut(id) {
                own.insert_range(topic, next, until);
            }
            next = until;
        }
    }
    assigned
}
