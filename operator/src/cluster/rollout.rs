//! Which pod is deleted next so that every broker runs what it should, and why not the others.

use std::collections::BTreeMap;

use flotilla_control::BrokerId;
use flotilla_control::proto::fleet::PlanRestartResponse;

use super::Revision;
use super::schedule::{Maintenance, written};

/// A broker's pod, as far as restarts are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Whose it is.
    pub broker: BrokerId,
    /// The pool that it belongs to.
    pub pool: String,
    /// What it was made from.
    pub revision: Revision,
    /// How it is.
    pub state: PodState,
}

/// How a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodState {
    /// It serves.
    Ready,
    /// Its process runs but does not serve: it starts, recovers or waits for the quorum.
    Starting,
    /// Its process does not run, and will not by itself: what the kubelet or the scheduler says.
    Broken(String),
    /// It is being deleted, or has not been made yet.
    Gone,
}

/// What a rollout begins from.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The pod of every broker that there should be, by broker.
    pub pods: &'a [Pod],
    /// What the pods of each pool should be made from.
    pub wanted: &'a BTreeMap<String, Revision>,
    /// The broker that leads the quorum, which goes last: each change of leader costs a moment.
    pub controller: Option<BrokerId>,
    /// Whether brokers that serve may be restarted now.
    pub maintenance: Maintenance,
}

/// A broker that runs something else than it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    /// Which.
    pub broker: BrokerId,
    /// The parts of its pool's specification that changed, such as `image`.
    pub changes: Vec<String>,
}

/// What to do next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// Everything is as it should be.
    #[default]
    Nothing,
    /// Delete this broker's pod.
    Restart {
        /// Whose.
        broker: BrokerId,
        /// Whether the fleet must grant it first. What does not run takes nothing away.
        needs_grant: bool,
    },
    /// Nothing now; the text says what for.
    Wait(String),
}

/// How a rollout stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Whoever is left, in the order in which they go. [`PlanRestartResponse`] is asked for in this order.
    pub outdated: Vec<Outdated>,
    /// What to do next.
    pub next: Next,
    /// Brokers that cannot go now even alone, and why.
    pub blocked: BTreeMap<BrokerId, String>,
}

impl Observed<'_> {
    /// Whoever runs something else than they should, in the order in which they go: those that do not serve, then the others, the
    /// leader of the quorum last.
    #[must_use]
    pub fn outdated(&self) -> Vec<Outdated> {
        let mut outdated: Vec<&Pod> = self.pods.iter().filter(|pod| self.is_outdated(pod)).collect();
        outdated.sort_by_key(|pod| {
            (
                pod.state == PodState::Ready,
                Some(pod.broker) == self.controller,
                pod.broker,
            )
        });
        outdated
            .into_iter()
            .map(|pod| Outdated {
                broker: pod.broker,
                changes: self.changes(pod),
            })
            .collect()
    }

    /// What to do next, given what the fleet said about restarting those who are outdated. `None`: it did not answer.
    #[must_use]
    pub fn rollout(&self, plan: Option<&PlanRestartResponse>) -> Rollout {
        let outdated = self.outdated();
        let blocked = plan
            .iter()
            .flat_map(|plan| &plan.blocked)
            .map(|blocked| (BrokerId(blocked.broker_id), blocked.reason.clone()))
            .collect();
        let next = self.next(&outdated, plan);
        Rollout {
            outdated,
            next,
            blocked,
        }
    }

    fn next(&self, outdated: &[Outdated], plan: Option<&PlanRestartResponse>) -> Next {
        if outdated.is_empty() {
            return Next::Nothing;
        }
        // A change that broke them must be mendable by another change, also when that leaves no quorum to ask.
        if let Some(broken) = self
            .pods
            .iter()
            .find(|pod| matches!(pod.state, PodState::Broken(_)) && self.is_outdated(pod))
        {
            return Next::Restart {
                broker: broken.broker,
                needs_grant: false,
            };
        }
        if let Some(away) = self
            .pods
            .iter()
            .find(|pod| pod.state != PodState::Ready && !self.is_outdated(pod))
        {
            return Next::Wait(waiting_for(away));
        }
        if let Maintenance::Closed(until) = self.maintenance {
            return Next::Wait(match until {
                Some(until) => format!("the next maintenance window opens at {}", written(until)),
                None => "no maintenance window will open: correct `spec.maintenanceWindows`".to_owned(),
            });
        }
        let Some(plan) = plan else {
            return Next::Wait("the fleet does not say who may be restarted".to_owned());
        };
        let granted = plan.batches.iter().flat_map(|batch| &batch.broker_ids).copied();
        match granted
            .map(BrokerId)
            .find(|id| outdated.iter().any(|outdated| outdated.broker == *id))
        {
            Some(broker) => Next::Restart {
                broker,
                needs_grant: true,
            },
            None => Next::Wait(match plan.blocked.first() {
                Some(blocked) => format!("broker {}: {}", blocked.broker_id, blocked.reason),
                None => "the fleet names nobody who may be restarted".to_owned(),
            }),
        }
    }

    fn is_outdated(&self, pod: &Pod) -> bool {
        pod.state != PodState::Gone && !self.changes(pod).is_empty()
    }

    fn changes(&self, pod: &Pod) -> Vec<String> {
        let Some(wanted) = self.wanted.get(&pod.pool) else {
            return Vec::new();
        };
        wanted
            .changes(&pod.revision)
            .into_iter()
            .map(str::to_owned)
            .collect()
    }
}

fn waiting_for(pod: &Pod) -> String {
    let broker = pod.broker;
    match &pod.state {
        PodState::Broken(why) => {
            format!("broker {broker} does not start: {why}; the others are left as they are")
        }
        PodState::Gone => format!("broker {broker} is being restarted"),
        PodState::Starting | PodState::Ready => format!("broker {broker} is not ready yet"),
    }
}

#[cfg(test)]
mod tests {
    use flotilla_control::proto::fleet::{RestartBatch, RestartBlocked};

    use super::*;

    const OLD: &str = "image=1 config=1";
    const NEW: &str = "image=2 config=1";

    fn pod(broker: i32, revision: &str, state: PodState) -> Pod {
        Pod {
            broker: BrokerId(broker),
            pool: "main".into(),
            revision: Revision::parse(revision),
            state,
        }
    }

    fn roll(
        pods: &[Pod],
        controller: i32,
        maintenance: Maintenance,
        plan: Option<&PlanRestartResponse>,
    ) -> Rollout {
        let wanted = BTreeMap::from([("main".to_owned(), Revision::parse(NEW))]);
        Observed {
            pods,
            wanted: &wanted,
            controller: Some(BrokerId(controller)),
            maintenance,
        }
        .rollout(plan)
    }

    fn plan(batches: &[&[i32]]) -> PlanRestartResponse {
        PlanRestartResponse {
            batches: batches
                .iter()
                .map(|batch| RestartBatch {
                    broker_ids: batch.to_vec(),
                    unavailable: vec![],
                })
                .collect(),
            blocked: vec![],
        }
    }

    fn outdated(broker: i32) -> Outdated {
        Outdated {
            broker: BrokerId(broker),
            changes: vec!["image".into()],
        }
    }

    fn restart(broker: i32, needs_grant: bool) -> Next {
        Next::Restart {
            broker: BrokerId(broker),
            needs_grant,
        }
    }

    #[test]
    fn brokers_go_one_by_one_and_the_controller_last() {
        let mut pods = [0, 1, 2].map(|id| pod(id, OLD, PodState::Ready));
        let rollout = roll(&pods, 0, Maintenance::Open, Some(&plan(&[&[1], &[2], &[0]])));
        assert_eq!(
            rollout,
            Rollout {
                outdated: vec![outdated(1), outdated(2), outdated(0)],
                next: restart(1, true),
                blocked: BTreeMap::new(),
            }
        );
        pods[1] = pod(1, NEW, PodState::Gone);
        let waits = |pods: &[Pod]| roll(pods, 0, Maintenance::Open, Some(&plan(&[&[2, 0]]))).next;
        assert_eq!(waits(&pods), Next::Wait("broker 1 is being restarted".into()));
        pods[1].state = PodState::Starting;
        assert_eq!(waits(&pods), Next::Wait("broker 1 is not ready yet".into()));
        pods[1].state = PodState::Ready;
        assert_eq!(waits(&pods), restart(2, true));
    }

    #[test]
    fn fleet_as_it_should_be_restarts_nobody() {
        let pods = [0, 1].map(|id| pod(id, NEW, PodState::Ready));
        assert_eq!(
            roll(&pods, 0, Maintenance::Closed(None), None).next,
            Next::Nothing
        );
    }

    #[test]
    fn change_that_breaks_the_first_broker_stops_there() {
        let pods = [
            pod(0, OLD, PodState::Ready),
            pod(1, NEW, PodState::Broken("ImagePullBackOff: no such image".into())),
            pod(2, OLD, PodState::Ready),
        ];
        let rollout = roll(&pods, 0, Maintenance::Open, Some(&plan(&[&[2], &[0]])));
        assert_eq!(
            rollout.next,
            Next::Wait(
                "broker 1 does not start: ImagePullBackOff: no such image; the others are left as they are"
                    .into()
            )
        );
    }

    #[test]
    fn broken_brokers_take_a_correction_without_window_and_without_a_fleet_to_ask() {
        let broken = || PodState::Broken("CrashLoopBackOff".into());
        let pods = [
            pod(0, OLD, broken()),
            pod(1, OLD, broken()),
            pod(2, NEW, PodState::Gone),
        ];
        assert_eq!(
            roll(&pods, 1, Maintenance::Closed(Some(0)), None).next,
            restart(0, false)
        );
    }

    #[test]
    fn brokers_that_serve_wait_for_the_window_and_for_the_fleet() {
        let pods = [0, 1].map(|id| pod(id, OLD, PodState::Ready));
        let closed = Maintenance::Closed(Some(1_800_000_000));
        assert_eq!(
            roll(&pods, 0, closed, Some(&plan(&[&[1]]))).next,
            Next::Wait("the next maintenance window opens at 2027-01-15T08:00:00Z".into())
        );
        assert_eq!(
            roll(&pods, 0, Maintenance::Open, None).next,
            Next::Wait("the fleet does not say who may be restarted".into())
        );
        let blocked = PlanRestartResponse {
            batches: vec![],
            blocked: vec![RestartBlocked {
                broker_id: 1,
                reason: "2 partitions would fall below their minimum".into(),
                partitions: vec![],
            }],
        };
        let rollout = roll(&pods, 0, Maintenance::Open, Some(&blocked));
        assert_eq!(
            rollout.next,
            Next::Wait("broker 1: 2 partitions would fall below their minimum".into())
        );
        assert_eq!(
            rollout.blocked,
            BTreeMap::from([(BrokerId(1), "2 partitions would fall below their minimum".into())])
        );
    }

    #[test]
    fn broker_that_recovers_is_restarted_only_with_a_grant() {
        let pods = [pod(0, OLD, PodState::Ready), pod(1, OLD, PodState::Starting)];
        let rollout = roll(&pods, 1, Maintenance::Open, Some(&plan(&[&[1], &[0]])));
        assert_eq!(rollout.outdated, [outdated(1), outdated(0)]);
        assert_eq!(rollout.next, restart(1, true));
    }
}
