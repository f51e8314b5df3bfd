use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const ORDERS: Uuid = Uuid([1; 16]);
const BILLS: Uuid = Uuid([2; 16]);

fn members(specs: &[(&str, &[(Uuid, i32)])]) -> BTreeMap<Text, MemberSpec> {
    specs
        .iter()
        .map(|(id, topics)| {
            let spec = MemberSpec {
                topics: topics.iter().copied().collect(),
                ..MemberSpec::default()
            };
            (Text::from(*id), spec)
        })
        .collect()
}

fn shown(assigned: &BTreeMap<Text, Partitions>) -> Vec<(&str, Vec<(u8, i32)>)> {
    assigned
        .iter()
        .map(|(id, own)| {
            let own = own
                .iter()
                .map(|(topic, partition)| (topic.0[0], partition))
                .collect();
            (&**id, own)
        })
        .collect()
}

/// The same members, who have what they were given.
fn next(
    members: &BTreeMap<Text, MemberSpec>,
    given: &BTreeMap<Text, Partitions>,
) -> BTreeMap<Text, MemberSpec> {
    let mut members = members.clone();
    for (id, spec) in &mut members {
        spec.before = Arc::new(given.get(id).cloned().unwrap_or_default());
    }
    members
}

#[test]
fn range_gives_equal_partitions_of_several_topics_to_the_same_member() {
    let topics: &[(Uuid, i32)] = &[(ORDERS, 5), (BILLS, 5)];
    let assigned = Assignor::Range.assign(&members(&[("a", topics), ("b", topics)]));
    assert_eq!(
        shown(&assigned),
        [
            ("a", vec![(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]),
            ("b", vec![(1, 3), (1, 4), (2, 3), (2, 4)]),
        ]
    );
}

#[test]
fn range_puts_static_members_first_whatever_their_ids_are() {
    let mut group = members(&[("a", &[(ORDERS, 3)]), ("z", &[(ORDERS, 3)])]);
    group.get_mut("z").expect("a member").instance_id = Some("i".into());
    let assigned = Assignor::Range.assign(&group);
    assert_eq!(
        shown(&assigned),
        [("a", vec![(1, 2)]), ("z", vec![(1, 0), (1, 1)])]
    );
}

#[test]
fn range_leaves_members_without_where_there_are_more_of_them_than_partitions() {
    let topics: &[(Uuid, i32)] = &[(ORDERS, 1)];
    let assigned = Assignor::Range.assign(&members(&[("a", topics), ("b", topics)]));
    assert_eq!(shown(&assigned), [("a", vec![(1, 0)]), ("b", vec![])]);
}

#[test]
fn uniform_moves_no_more_than_it_must() {
    let topics: &[(Uuid, i32)] = &[(ORDERS, 5)];
    let two = members(&[("a", topics), ("b", topics)]);
    let first = Assignor::Uniform.assign(&two);
    assert_eq!(
        shown(&first),
        [("a", vec![(1, 0), (1, 2), (1, 4)]), ("b", vec![(1, 1), (1, 3)])]
    );
    assert_eq!(Assignor::Uniform.assign(&next(&two, &first)), first);
    let three = members(&[("a", topics), ("b", topics), ("c", topics)]);
    let second = Assignor::Uniform.assign(&next(&three, &first));
    assert_eq!(
        shown(&second),
        [
            ("a", vec![(1, 0), (1, 2)]),
            ("b", vec![(1, 1), (1, 3)]),
            ("c", vec![(1, 4)])
        ]
    );
    let without_a = members(&[("b", topics), ("c", topics)]);
    let third = Assignor::Uniform.assign(&next(&without_a, &second));
    assert_eq!(
        shown(&third),
        [("b", vec![(1, 1), (1, 2), (1, 3)]), ("c", vec![(1, 0), (1, 4)])]
    );
}

#[test]
fn uniform_evens_out_where_members_read_different_topics() {
    let assigned = Assignor::Uniform.assign(&members(&[
        ("a", &[(ORDERS, 4)]),
        ("b", &[(ORDERS, 4), (BILLS, 2)]),
        ("c", &[(BILLS, 2)]),
    ]));
    let loads: Vec<usize> = assigned.values().map(Partitions::len).collect();
    assert_eq!(loads, [2, 2, 2], "{assigned:?}");
}

proptest! {
    /// Each partition of a topic that anybody reads is with exactly one of those who read it; and no move of one partition
    /// would make the loads more even.
    #[test]
    fn every_partition_is_assigned_once_and_evenly(
        is_range in any::<bool>(),
        steps in proptest::collection::vec(
            proptest::collection::vec((0_u8..6, proptest::collection::btree_set(0_u8..4, 0..4)), 1..6),
            1..5,
        ),
        sizes in proptest::collection::vec(1_i32..7, 4),
    ) {
        let assignor = if is_range { Assignor::Range } else { Assignor::Uniform };
        let mut given = BTreeMap::new();
        for step in steps {
            let mut group: BTreeMap<Text, MemberSpec> = BTreeMap::new();
            for (id, topics) in step {
                let topics = topics.iter().map(|topic| (Uuid([*topic; 16]), sizes[usize::from(*topic)]));
                let spec = MemberSpec { topics: topics.collect(), ..MemberSpec::default() };
                group.insert(format!("m{id}").into(), spec);
            }
            let group = next(&group, &given);
            given = assignor.assign(&group);
            prop_assert!(given.keys().eq(group.keys()));
            let mut seen = BTreeSet::new();
            for (id, own) in &given {
                for (topic, partition) in own.iter() {
                    prop_assert!(group[id].topics.get(&topic).is_some_and(|count| partition < *count));
                    prop_assert!(seen.insert((topic, partition)), "twice");
                }
            }
            let wanted: BTreeSet<(Uuid, i32)> = group
                .values()
                .flat_map(|spec| &spec.topics)
                .flat_map(|(topic, count)| (0..*count).map(|partition| (*topic, partition)))
                .collect();
            prop_assert_eq!(&seen, &wanted);
            if !is_range {
                for (from, own) in &given {
                    for (topic, _) in own.topics() {
                        for (to, spec) in &group {
                            let fits = spec.topics.contains_key(&topic);
                            prop_assert!(!fits || own.len() <= given[to].len() + 1, "{} to {}", from, to);
                        }
                    }
                }
            }
        }
    }
}
