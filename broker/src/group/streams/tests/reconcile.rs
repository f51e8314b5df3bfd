//! Steps of a member towards its target.

use super::*;
use crate::group::assigned::TasksByEpoch;
use crate::group::streams::reconcile::{Goal, Lost};
use crate::group::streams::{Assignment, Current, Held, MemberState};

fn active(all: &[(&str, i32, i32)]) -> Held {
    let active: TasksByEpoch = all
        .iter()
        .map(|(subtopology, partition, epoch)| (text(subtopology), *partition, *epoch))
        .collect();
    Held {
        active,
        ..Held::default()
    }
}

fn to(active: &[(&str, i32)], standby: &[(&str, i32)]) -> Assignment {
    Assignment {
        active: tasks(active),
        standby: tasks(standby),
        ..Assignment::default()
    }
}

/// A step to that target of epoch 7, while others have these tasks as active ones, and the member's process has those.
fn step(
    now: &Current,
    target: &Assignment,
    owned: Option<&Assignment>,
    others: &[(&str, i32)],
    process: &[(&str, i32)],
) -> Result<Current, Lost> {
    let (others, process) = (tasks(others), tasks(process));
    Goal {
        epoch: 7,
        target,
        owned,
        is_active: &|subtopology, partition| others.contains(subtopology, partition),
        has_process: &|subtopology, partition| process.contains(subtopology, partition),
    }
    .step(now)
}

fn stable(epoch: i32, assigned: Held) -> Current {
    Current {
        epoch,
        previous_epoch: epoch - 1,
        assigned,
        ..Current::default()
    }
}

#[test]
fn a_member_gives_up_before_it_gets() {
    let now = stable(5, active(&[("0", 0, 3), ("0", 1, 4)]));
    let target = to(&[("0", 0), ("1", 0)], &[]);
    let revoking = Current {
        epoch: 5,
        previous_epoch: 5,
        state: MemberState::UnrevokedTasks,
        assigned: active(&[("0", 0, 3)]),
        revoking: active(&[("0", 1, 4)]),
    };
    assert_eq!(step(&now, &target, None, &[], &[]), Ok(revoking.clone()));
    let still = to(&[("0", 0), ("0", 1)], &[]);
    assert_eq!(
        step(&revoking, &target, Some(&still), &[], &[]),
        Ok(revoking.clone())
    );
    let given_up = to(&[("0", 0)], &[]);
    assert_eq!(
        step(&revoking, &target, Some(&given_up), &[], &[]),
        Ok(Current {
            epoch: 7,
            previous_epoch: 5,
            state: MemberState::Stable,
            assigned: active(&[("0", 0, 3), ("1", 0, 7)]),
            revoking: Held::default(),
        })
    );
}

#[test]
fn a_member_that_has_to_give_up_more_meanwhile_does_so_in_the_next_epoch() {
    let revoking = Current {
        epoch: 5,
        previous_epoch: 5,
        state: MemberState::UnrevokedTasks,
        assigned: active(&[("0", 0, 3)]),
        revoking: active(&[("0", 1, 4)]),
    };
    let owned = to(&[("0", 0)], &[]);
    assert_eq!(
        step(&revoking, &to(&[], &[]), Some(&owned), &[], &[]),
        Ok(Current {
            epoch: 6,
            previous_epoch: 5,
            state: MemberState::UnrevokedTasks,
            assigned: Held::default(),
            revoking: active(&[("0", 0, 3)]),
        })
    );
}

#[test]
fn a_task_that_another_has_is_waited_for() {
    let now = stable(5, Held::default());
    let target = to(&[("0", 0), ("0", 1)], &[]);
    let waiting = Current {
        epoch: 7,
        previous_epoch: 5,
        state: MemberState::UnreleasedTasks,
        assigned: active(&[("0", 1, 7)]),
        revoking: Held::default(),
    };
    assert_eq!(step(&now, &target, None, &[("0", 0)], &[]), Ok(waiting.clone()));
    let next = step(&waiting, &target, None, &[], &[]).expect("a step");
    assert_eq!(next.state, MemberState::Stable);
    assert_eq!(next.assigned, active(&[("0", 0, 7), ("0", 1, 7)]));
}

#[test]
fn a_task_is_not_taken_in_another_role_while_the_process_has_it() {
    let now = stable(5, Held::default());
    for target in [to(&[("0", 0)], &[]), to(&[], &[("0", 0)])] {
        let waiting = step(&now, &target, None, &[], &[("0", 0)]).expect("a step");
        assert_eq!(waiting.state, MemberState::UnreleasedTasks);
        assert_eq!(waiting.assigned, Held::default());
    }
    // A standby does not mind that another process has the task.
    let next = step(&now, &to(&[], &[("0", 0)]), None, &[("0", 0)], &[]).expect("a step");
    assert_eq!(next.state, MemberState::Stable);
    assert_eq!(next.assigned.standby, tasks(&[("0", 0)]));
}

#[test]
fn a_member_in_a_state_that_nobody_knows_joins_anew() {
    let unknown = Current {
        state: MemberState::Unknown,
        ..stable(5, active(&[("0", 0, 3)]))
    };
    let target = to(&[("0", 0)], &[]);
    assert_eq!(step(&unknown, &target, None, &[], &[]), Err(Lost));
    assert_eq!(step(&unknown, &target, Some(&target), &[], &[]), Err(Lost));
    let next = step(&unknown, &target, Some(&Assignment::default()), &[], &[]).expect("a step");
    assert_eq!((next.epoch, next.state), (7, MemberState::Stable));
}
