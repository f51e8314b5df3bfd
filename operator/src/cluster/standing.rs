use std::collections::BTreeSet;

use flotilla_control::BrokerId;
use flotilla_crds::Reason;

use super::rollout::{Next, Pod, PodState, Rollout};
use super::scale::Scale;
use crate::{Problem, Standing};

/// All that a Cluster's standing is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// What is wrong with the specification.
    pub problem: Option<&'a Problem>,
    /// What keeps a pod from running, for the first that does not.
    pub trouble: Option<&'a (Reason, String)>,
    /// The pod of every broker that there should be.
    pub pods: &'a [Pod],
    /// Whether the fleet has been there before: then pods that start are not its first.
    pub bootstrapped: bool,
    /// What keeps the fleet from answering.
    pub silence: Option<&'a Problem>,
    /// How it gets to its size.
    pub scale: &'a Scale,
    /// How its brokers get to what they should run.
    pub rollout: &'a Rollout,
    /// The brokers that the fleet let go for a restart.
    pub granted: &'a BTreeSet<BrokerId>,
    /// The brokers that say that a volume of theirs is full.
    pub full: &'a BTreeSet<BrokerId>,
}

/// How a Cluster stands: what the user has to mend comes first, then what is broken, then what is under way.
#[must_use]
pub fn standing(work: Work<'_>) -> Standing {
    if let Some(problem) = work.problem.or(work.scale.problem.as_ref()) {
        return Standing::of(problem);
    }
    if let Some((reason, message)) = work.trouble {
        return Standing::of(&Problem::because(*reason, "pods", message.clone()));
    }
    let ready = work
        .pods
        .iter()
        .filter(|pod| pod.state == PodState::Ready)
        .count();
    let all = work.pods.len();
    let serving = format!("{ready} of {all} brokers are ready");
    if !work.bootstrapped {
        return Standing::Working(Reason::Creating, serving);
    }
    if let Some(silence) = work.silence {
        return Standing::of(silence);
    }
    if let Some(full) = full(work.full) {
        return Standing::of(&full);
    }
    if let Some(rolling) = rolling(work.rollout) {
        return Standing::Working(Reason::Rolling, rolling);
    }
    if let Some((reason, message)) = &work.scale.progress {
        return Standing::Working(*reason, message.clone());
    }
    let away = |pod: &&Pod| pod.state != PodState::Ready;
    if ready < all
        && work
            .pods
            .iter()
            .filter(away)
            .all(|pod| work.granted.contains(&pod.broker))
    {
        return Standing::Working(Reason::Rolling, format!("{serving}, and the others restart"));
    }
    if ready < all {
        return Standing::Working(Reason::Recovering, serving);
    }
    Standing::Ready(serving)
}

/// What keeps a fleet from answering, told apart. `voters` are those that vote as far as that is known, `controller` whom the brokers
/// that answer take for the leader of the quorum, and `answers` whether any broker does.
#[must_use]
pub fn silence(
    voters: &BTreeSet<BrokerId>,
    pods: &[Pod],
    answers: bool,
    controller: Option<BrokerId>,
) -> Option<Problem> {
    if answers && controller.is_some() {
        return None;
    }
    let serves = |voter: &&BrokerId| {
        pods.iter()
            .any(|pod| pod.broker == **voter && pod.state == PodState::Ready)
    };
    let away: Vec<String> = voters
        .iter()
        .filter(|voter| !serves(voter))
        .map(ToString::to_string)
        .collect();
    let left = voters.len() - away.len();
    if !voters.is_empty() && left * 2 <= voters.len() {
        return Some(Problem::because(
            Reason::QuorumLost,
            "coordinators",
            format!(
                "{left} of {} voters serve, and more than half are needed: brokers {} do not",
                voters.len(),
                away.join(", ")
            ),
        ));
    }
    Some(if answers {
        let what = "brokers answer, but the quorum has no leader yet";
        Problem::because(Reason::QuorumLost, "coordinators", what)
    } else {
        let what = "no broker answers the operator, though most voters are ready: look at network policies and at the brokers' logs";
        Problem::because(Reason::Unreachable, "brokers", what)
    })
}

/// What it means that volumes are full. It comes before all that goes on by itself: that may need the room.
fn full(brokers: &BTreeSet<BrokerId>) -> Option<Problem> {
    if brokers.is_empty() {
        return None;
    }
    let ids: Vec<String> = brokers.iter().map(ToString::to_string).collect();
    let whose = match ids.as_slice() {
        [id] => format!("a volume of broker {id} is full"),
        _ => format!("volumes of brokers {} are full", ids.join(", ")),
    };
    let what = format!(
        "{whose}: everything can be read, and nothing is written there until there is room. Make the volumes larger (`size`), shorten \
         retention, or delete topics"
    );
    Some(Problem::because(Reason::StorageFull, "spec.pools.volumes", what))
}

fn rolling(rollout: &Rollout) -> Option<String> {
    let first = rollout.outdated.first()?;
    let changes = first.changes.join(", ");
    let left = rollout.outdated.len();
    let next = match &rollout.next {
        Next::Nothing => return None,
        Next::Restart { broker, .. } => format!("broker {broker} is next"),
        Next::Wait(what) => what.clone(),
    };
    let brokers = if left == 1 {
        "1 broker is"
    } else {
        &format!("{left} brokers are")
    };
    Some(format!("{brokers} to restart for a change of {changes}: {next}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use flotilla_control::BrokerId;

    use super::super::Revision;
    use super::super::rollout::Outdated;
    use super::*;

    fn pods(states: &[PodState]) -> Vec<Pod> {
        (0..)
            .zip(states)
            .map(|(id, state)| Pod {
                broker: BrokerId(id),
                pool: "main".into(),
                revision: Revision::default(),
                state: state.clone(),
            })
            .collect()
    }

    fn rollout(next: Next) -> Rollout {
        let outdated = if next == Next::Nothing {
            vec![]
        } else {
            vec![Outdated {
                broker: BrokerId(1),
                changes: vec!["image".into(), "config".into()],
            }]
        };
        Rollout {
            outdated,
            next,
            blocked: BTreeMap::new(),
        }
    }

    #[test]
    fn what_the_user_must_mend_comes_before_what_is_under_way() {
        let nobody = BTreeSet::new();
        let serving = pods(&[PodState::Ready, PodState::Ready]);
        let starting = pods(&[PodState::Ready, PodState::Starting]);
        let (still, idle) = (rollout(Next::Nothing), Scale::default());
        let calm = Work {
            problem: None,
            trouble: None,
            pods: &serving,
            bootstrapped: true,
            silence: None,
            scale: &idle,
            rollout: &still,
            granted: &nobody,
            full: &nobody,
        };
        assert_eq!(standing(calm), Standing::Ready("2 of 2 brokers are ready".into()));

        let recovering = Work {
            pods: &starting,
            ..calm
        };
        let serving_one = || "1 of 2 brokers are ready".to_owned();
        assert_eq!(
            standing(recovering),
            Standing::Working(Reason::Recovering, serving_one())
        );
        let creating = Work {
            bootstrapped: false,
            ..recovering
        };
        assert_eq!(
            standing(creating),
            Standing::Working(Reason::Creating, serving_one())
        );

        let granted = (0..3).map(BrokerId).collect();
        let restarting = Work {
            granted: &granted,
            ..recovering
        };
        assert_eq!(
            standing(restarting),
            Standing::Working(
                Reason::Rolling,
                format!("{}, and the others restart", serving_one())
            )
        );

        let growing = Scale {
            progress: Some((Reason::Scaling, "1 brokers are added".into())),
            ..Scale::default()
        };
        let scaling = Work {
            scale: &growing,
            ..recovering
        };
        assert_eq!(
            standing(scaling),
            Standing::Working(Reason::Scaling, "1 brokers are added".into())
        );

        let next = rollout(Next::Restart {
            broker: BrokerId(1),
            needs_grant: true,
        });
        let rolling = Work {
            rollout: &next,
            ..scaling
        };
        assert_eq!(
            standing(rolling),
            Standing::Working(
                Reason::Rolling,
                "1 broker is to restart for a change of image, config: broker 1 is next".into()
            )
        );

        let two = [1, 2].map(BrokerId).into();
        let full = Work {
            full: &two,
            ..rolling
        };
        assert_eq!(
            standing(full),
            Standing::Stuck(
                Reason::StorageFull,
                "spec.pools.volumes: volumes of brokers 1, 2 are full: everything can be read, and nothing is written there until \
                 there is room. Make the volumes larger (`size`), shorten retention, or delete topics"
                    .into()
            )
        );

        let silence = Problem::because(Reason::Unreachable, "brokers", "none answers");
        let silent = Work {
            silence: Some(&silence),
            ..full
        };
        assert_eq!(
            standing(silent),
            Standing::Unknown(Reason::Unreachable, "brokers: none answers".into())
        );

        let trouble = (Reason::ImageUnavailable, "ErrImagePull: no such tag".to_owned());
        let broken = Work {
            trouble: Some(&trouble),
            ..silent
        };
        assert_eq!(
            standing(broken),
            Standing::Stuck(Reason::ImageUnavailable, "pods: ErrImagePull: no such tag".into())
        );

        let problem = Problem::spec("spec.version", "is wrong");
        let wrong = Work {
            problem: Some(&problem),
            ..broken
        };
        assert_eq!(
            standing(wrong),
            Standing::Stuck(Reason::InvalidSpec, "spec.version: is wrong".into())
        );
    }

    #[test]
    fn silence_of_a_quorum_is_told_from_that_of_a_network() {
        let pod = |id, state| Pod {
            broker: BrokerId(id),
            pool: "main".into(),
            revision: Revision::default(),
            state,
        };
        let voters = BTreeSet::from([BrokerId(0), BrokerId(1), BrokerId(2)]);
        let ready: Vec<Pod> = (0..3).map(|id| pod(id, PodState::Ready)).collect();
        let reason = |pods: &[Pod], answers, controller| {
            silence(&voters, pods, answers, controller).map(|problem| (problem.reason, problem.message))
        };
        assert_eq!(reason(&ready, true, Some(BrokerId(0))), None);
        assert_eq!(reason(&ready, false, None).unwrap().0, Reason::Unreachable);
        assert_eq!(reason(&ready, true, None).unwrap().0, Reason::QuorumLost);
        let (lost, message) =
            reason(&[pod(0, PodState::Ready), pod(1, PodState::Starting)], true, None).unwrap();
        assert_eq!(
            (lost, message.as_str()),
            (
                Reason::QuorumLost,
                "1 of 3 voters serve, and more than half are needed: brokers 1, 2 do not"
            )
        );
    }
}
