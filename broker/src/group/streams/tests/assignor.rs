//! Who gets which tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::group::streams::Assignment;
use crate::group::streams::assignor::{MemberSpec, assign};
use crate::group::streams::configure::Shape;

type Members = BTreeMap<Text, MemberSpec>;
type Shapes = BTreeMap<Text, Shape>;

/// Members by their names, and the process that each is a thread of.
fn members(all: &[(&str, &str)]) -> Members {
    let spec = |process: &str| MemberSpec {
        process: text(process),
        before: Arc::default(),
    };
    all.iter()
        .map(|(member, process)| (text(member), spec(process)))
        .collect()
}

fn shapes(all: &[(&str, i32, bool)]) -> Shapes {
    all.iter()
        .map(|(id, tasks, is_stateful)| {
            let shape = Shape {
                tasks: *tasks,
                is_stateful: *is_stateful,
            };
            (text(id), shape)
        })
        .collect()
}

/// The same members, with what they were given.
fn after(members: &Members, given: &BTreeMap<Text, Assignment>) -> Members {
    let spec = |(id, spec): (&Text, &MemberSpec)| {
        let before = given.get(id).cloned().unwrap_or_default();
        let spec = MemberSpec {
            process: spec.process.clone(),
            before: Arc::new(before),
        };
        (id.clone(), spec)
    };
    members.iter().map(spec).collect()
}

#[test]
fn tasks_are_first_given_in_ranges_between_processes_and_then_their_threads() {
    let members = members(&[("a", "p"), ("b", "p"), ("c", "q"), ("d", "q")]);
    let given = assign(&members, &shapes(&[("0", 4, false)]), 0);
    let active: Vec<(&str, Tasks)> = given.iter().map(|(id, of)| (&**id, of.active.clone())).collect();
    assert_eq!(
        active,
        [
            ("a", tasks(&[("0", 0)])),
            ("b", tasks(&[("0", 2)])),
            ("c", tasks(&[("0", 1)])),
            ("d", tasks(&[("0", 3)])),
        ]
    );
}

#[test]
fn what_a_member_had_it_keeps_as_long_as_it_has_no_more_than_its_share() {
    let alone = members(&[("a", "p")]);
    let shapes = shapes(&[("0", 4, true)]);
    let given = assign(&alone, &shapes, 0);
    let mut two = after(&alone, &given);
    two.extend(members(&[("b", "q")]));
    let given = assign(&two, &shapes, 0);
    assert_eq!(given["a"].active, tasks(&[("0", 0), ("0", 1)]));
    assert_eq!(given["b"].active, tasks(&[("0", 2), ("0", 3)]));
}

#[test]
fn a_task_whose_member_is_gone_goes_to_its_standby() {
    let mut two = members(&[("b", "q"), ("c", "r")]);
    let before = |active: &[(&str, i32)], standby: &[(&str, i32)]| {
        Arc::new(Assignment {
            active: tasks(active),
            standby: tasks(standby),
            ..Assignment::default()
        })
    };
    // Both have as much to do: without the standby it would go to the first.
    two.insert(
        text("b"),
        MemberSpec {
            before: before(&[("0", 0)], &[]),
            ..two["b"].clone()
        },
    );
    two.insert(
        text("c"),
        MemberSpec {
            before: before(&[("0", 1)], &[("0", 2)]),
            ..two["c"].clone()
        },
    );
    let given = assign(&two, &shapes(&[("0", 3, true)]), 0);
    assert_eq!(given["b"].active, tasks(&[("0", 0)]));
    assert_eq!(given["c"].active, tasks(&[("0", 1), ("0", 2)]));
}

#[test]
fn standbys_are_only_kept_of_what_has_state_and_never_where_the_task_is() {
    let members = members(&[("a", "p"), ("b", "p"), ("c", "q")]);
    let given = assign(&members, &shapes(&[("0", 2, false), ("1", 2, true)]), 2);
    let standby: Vec<(Text, i32)> = given.values().flat_map(|of| of.standby.iter()).collect();
    assert_eq!(
        standby.len(),
        2,
        "one for each, since there are two processes: {given:?}"
    );
    assert!(standby.iter().all(|(subtopology, _)| **subtopology == *"1"));
}

#[test]
fn nobody_gets_nothing() {
    assert_eq!(
        assign(&Members::new(), &shapes(&[("0", 3, true)]), 1),
        BTreeMap::new()
    );
    let idle = assign(&members(&[("a", "p")]), &Shapes::new(), 1);
    assert_eq!(idle, [(text("a"), Assignment::default())].into());
}

fn some_members() -> impl Strategy<Value = Members> {
    proptest::collection::btree_map(0_u8..9, 0_u8..4, 1..8).prop_map(|all| {
        let names: Vec<(String, String)> = all
            .iter()
            .map(|(member, process)| (format!("m{member}"), format!("p{process}")))
            .collect();
        let names: Vec<(&str, &str)> = names.iter().map(|(m, p)| (&**m, &**p)).collect();
        members(&names)
    })
}

fn some_shapes() -> impl Strategy<Value = Shapes> {
    proptest::collection::btree_map(0_u8..4, (0_i32..9, any::<bool>()), 0..4).prop_map(|all| {
        let shape = |(id, (tasks, is_stateful)): (u8, (i32, bool))| {
            (text(&id.to_string()), Shape { tasks, is_stateful })
        };
        all.into_iter().map(shape).collect()
    })
}

/// What must hold of every assignment.
fn check(members: &Members, shapes: &Shapes, replicas: usize, given: &BTreeMap<Text, Assignment>) {
    assert!(given.keys().eq(members.keys()), "every member is told");
    let mut active = BTreeSet::new();
    let mut by_process: BTreeSet<(Text, (Text, i32))> = BTreeSet::new();
    for (id, of) in given {
        for task in of.active.iter() {
            assert!(active.insert(task), "active twice: {given:?}");
        }
        for task in of.active.iter().chain(of.standby.iter()) {
            let place = (members[id].process.clone(), task);
            assert!(by_process.insert(place), "twice in a process: {given:?}");
        }
        for (subtopology, _) in of.standby.iter() {
            assert!(shapes[&subtopology].is_stateful);
        }
        assert!(of.warmup.is_empty());
    }
    let all: usize = shapes.values().map(|shape| shape.tasks as usize).sum();
    assert_eq!(active.len(), all, "every task is active somewhere");
    let most = given.values().map(|of| of.active.len()).max().unwrap_or(0);
    assert!(
        most <= all.div_ceil(members.len()),
        "no member has more than its share: {given:?}"
    );
    let processes: BTreeSet<&Text> = members.values().map(|member| &member.process).collect();
    let stateful: usize = shapes
        .values()
        .filter(|shape| shape.is_stateful)
        .map(|shape| shape.tasks as usize)
        .sum();
    let standby: usize = given.values().map(|of| of.standby.len()).sum();
    assert_eq!(
        standby,
        stateful * replicas.min(processes.len() - 1),
        "as many standbys as there are processes for: {given:?}"
    );
}

proptest! {
    #[test]
    fn every_task_is_active_once_and_no_process_has_one_twice(
        first in some_members(),
        then in some_members(),
        shapes in some_shapes(),
        replicas in 0_usize..3,
    ) {
        let given = assign(&first, &shapes, replicas);
        check(&first, &shapes, replicas, &given);
        // Others are there now, and some of those that were there still are.
        let before = after(&first, &given);
        let members: Members = then
            .iter()
            .map(|(id, spec)| (id.clone(), before.get(id).unwrap_or(spec).clone()))
            .collect();
        let given = assign(&members, &shapes, replicas);
        check(&members, &shapes, replicas, &given);
    }

    #[test]
    fn active_tasks_stay_where_they_are_while_nothing_changes(
        members in some_members(),
        shapes in some_shapes(),
        replicas in 0_usize..3,
    ) {
        let given = assign(&members, &shapes, replicas);
        let again = assign(&after(&members, &given), &shapes, replicas);
        let active = |of: &BTreeMap<Text, Assignment>| -> Vec<Tasks> {
            of.values().map(|of| of.active.clone()).collect()
        };
        prop_assert_eq!(active(&given), active(&again));
    }
}
