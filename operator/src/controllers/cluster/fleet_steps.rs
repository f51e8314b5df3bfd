//! What the fleet is told: where brokers stand, settings, who gets replicas, who votes. Only where it differs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use flotilla_control::proto::metadata::{
    BrokerPlacement, Reassignment, Replicas, ResourceConfigs, ResourceType,
};
use flotilla_control::{BrokerId, Uuid};
use flotilla_crds::{Reason, Role};

use super::Reconcile;
use super::memory::Memory;
use crate::Problem;
use crate::cluster::scale::{self, Scale, Step};
use crate::cluster::{Member, Names, Voter, dynamic, placement, stale_voter, throttle};
use crate::fleet::{self, Fleet, View};

/// Partitions that one call moves: the controller decides them at once.
const MOVES_MAX: usize = 1_000;
/// Preferred leaders are asked for no more often.
const ELECTION_PAUSE: Duration = Duration::from_secs(10);
/// What the fleet refused for now is asked for again after this.
const AGAIN: Duration = Duration::from_secs(2);

/// What came of what the fleet was told.
#[derive(Default)]
pub(super) struct Told {
    /// The settings that were changed while brokers ran.
    pub(super) managed_config: Option<Vec<String>>,
    /// What it refuses.
    pub(super) problem: Option<Problem>,
    /// When to try again.
    pub(super) again: Option<Duration>,
}

impl Told {
    fn note(&mut self, field: &str, answer: Result<fleet::Answer, fleet::Error>) -> bool {
        match answer {
            Ok(_) => true,
            Err(error) => {
                self.again = Some(AGAIN);
                if !error.is_transient() {
                    let problem = Problem::because(Reason::InvalidSpec, field, error.to_string());
                    self.problem.get_or_insert(problem);
                } else {
                    tracing::debug!(%error, field, "the fleet refused for now");
                }
                false
            }
        }
    }
}

impl Reconcile<'_> {
    /// Racks and external addresses, of brokers whose pods have a node: one that is on its way from node to node stays known where it was.
    pub(super) async fn place_brokers(
        &self,
        members: &[Member],
        view: &View,
        fleet: &Fleet,
        told: &mut Told,
    ) {
        for member in members {
            let pod = Names::of(self.cluster).pod(member);
            if !self.observed.reach.pods.contains_key(&pod) {
                continue;
            }
            let wanted = placement(self.cluster, member, &self.observed.reach);
            let nothing = BrokerPlacement {
                broker_id: member.id.0,
                ..BrokerPlacement::default()
            };
            let known = view.placements.get(&member.id.0).map_or(&nothing, AsRef::as_ref);
            if *known != wanted {
                told.note("spec.listeners", fleet.apply_broker(wanted).await);
            }
        }
    }

    /// Settings that need no restart, and the throttle while replicas move.
    pub(super) async fn settings(&self, view: &View, moving: bool, fleet: &Fleet, told: &mut Told) {
        let meanwhile = match throttle(self.cluster) {
            Ok(throttle) if moving => throttle,
            Ok(_) => BTreeMap::new(),
            Err(problem) => {
                told.problem.get_or_insert(problem);
                BTreeMap::new()
            }
        };
        let status = self.cluster.status.as_ref();
        let managed = status
            .map(|status| status.managed_config.as_slice())
            .unwrap_or_default();
        let dynamic = dynamic(self.cluster, &view.settings, managed, &meanwhile);
        if !dynamic.changes.is_empty() {
            let names: Vec<&str> = dynamic.changes.iter().map(|change| change.key.as_str()).collect();
            let what = format!("settings change while brokers run: {}", names.join(", "));
            let request = ResourceConfigs {
                resource_type: ResourceType::Broker.into(),
                resource_name: String::new(),
                changes: dynamic.changes.clone(),
                replace: false,
            };
            let answer = fleet.apply_config(vec![request]).await;
            let changed = answer.as_ref().is_ok_and(|answer| answer.changed);
            if told.note("spec.config", answer) && changed {
                self.say("SettingsChanged", &what).await;
            }
        }
        told.managed_config = Some(dynamic.managed);
    }

    /// What brings the fleet to its size.
    pub(super) async fn resize(&self, scale: &Scale, view: &View, fleet: &Fleet, told: &mut Told) {
        let registered: BTreeMap<BrokerId, Uuid> = view
            .brokers
            .values()
            .filter_map(|broker| {
                Some((
                    BrokerId(broker.broker_id),
                    Uuid::from_slice(&broker.directory_id)?,
                ))
            })
            .collect();
        if let Some((voter, directory)) = stale_voter(&view.voters, &registered) {
            let what = format!(
                "broker {voter} lost its volume: it leaves the quorum, and comes back as a new voter"
            );
            self.warn("VoterReplaced", &what).await;
            told.note("coordinators", fleet.remove_voter(voter, Some(directory)).await);
            told.again = Some(Duration::from_millis(200));
            return;
        }
        for step in &scale.steps {
            match step {
                Step::Drain(broker, draining) => {
                    if told.note("spec.replicas", fleet.drain(*broker, *draining).await) && *draining {
                        let what = format!("broker {broker} hands its replicas over, and then goes");
                        self.say("Draining", &what).await;
                    }
                }
                Step::Assign(moves) => {
                    let what = format!("{} partitions get other replicas", moves.len());
                    let mut all = true;
                    for moves in moves.chunks(MOVES_MAX) {
                        let partitions = moves.iter().map(|step| Reassignment {
                            topic: step.topic.clone(),
                            partition: step.partition,
                            target: Some(Replicas {
                                broker_ids: step.replicas.iter().map(|id| id.0).collect(),
                            }),
                        });
                        let answer = fleet.assign(partitions.collect()).await;
                        if let Some((item, error)) = answer.iter().flat_map(fleet::Answer::refused).next() {
                            tracing::info!(cluster = %self.key, topic = item.name, %error, "a partition is not moved");
                            told.again = Some(AGAIN);
                        }
                        all &= told.note("spec.replicas", answer);
                    }
                    if all {
                        self.say("Rebalancing", &what).await;
                    }
                }
                Step::Voter(Voter::Add(broker)) => {
                    let directory = registered.get(broker).copied();
                    if told.note("spec.coordinators", fleet.add_voter(*broker, directory).await) {
                        self.say("VoterAdded", &format!("broker {broker} votes")).await;
                    }
                    told.again = Some(Duration::from_millis(200));
                }
                Step::Voter(Voter::Remove(broker)) => {
                    let directory = view.voters.get(broker).copied();
                    if told.note("spec.coordinators", fleet.remove_voter(*broker, directory).await) {
                        self.say("VoterRemoved", &format!("broker {broker} votes no longer"))
                            .await;
                    }
                    told.again = Some(Duration::from_millis(200));
                }
                Step::Unregister(broker) => {
                    if told.note("spec.replicas", fleet.unregister(*broker).await) {
                        self.say("Unregistered", &format!("broker {broker} is gone"))
                            .await;
                    }
                }
            }
        }
    }

    /// Gives leaderships back to preferred leaders once everything is in sync again.
    pub(super) async fn elect(
        &self,
        view: &View,
        quiet: bool,
        fleet: &Fleet,
        memory: &mut Memory,
    ) -> Option<Duration> {
        let now = Instant::now();
        if !quiet || !view.askew() || !topics_in_sync(view) {
            return None;
        }
        if let Some(left) = memory
            .elected
            .and_then(|last| ELECTION_PAUSE.checked_sub(now.saturating_duration_since(last)))
        {
            return Some(left);
        }
        memory.elected = Some(now);
        if let Err(error) = fleet.elect_leaders(Vec::new()).await {
            tracing::debug!(cluster = %self.key, %error, "preferred leaders were not elected");
        }
        Some(ELECTION_PAUSE)
    }
}

/// The fleet as scaling sees it. Of a fleet that is as large as it should be, nobody asks where each partition is: with very many that
/// would cost far more than all the rest.
pub(super) fn scale_view(view: &View, members: &[Member], racks_required: bool) -> scale::View {
    let held = view.held();
    let wanted: BTreeSet<i32> = members.iter().map(|member| member.id.0).collect();
    let registered: BTreeSet<i32> = view.brokers.keys().copied().collect();
    let settled = wanted == registered
        && view.draining.is_empty()
        && members.iter().all(|member| {
            let holds = held.get(&member.id).is_some_and(|held| *held > 0);
            holds == member.roles.contains(&Role::Broker)
        });
    if settled {
        return scale::View {
            fleet: view.registered(racks_required),
            placed: Vec::new(),
            held,
            moving: view.moving(),
            voters: view.voters.keys().copied().collect(),
        };
    }
    view.scale(racks_required)
}

/// Whether everything that is replicated is in sync.
pub(super) fn topics_in_sync(view: &View) -> bool {
    view.partitions().all(|partition| {
        partition.leader >= 0
            && partition
                .replicas
                .iter()
                .all(|replica| partition.isr.contains(replica))
    })
}

/// Whether replicas are moved, or are about to be.
pub(super) fn moves(scale: &Scale, view: &View) -> bool {
    view.moving() > 0 || scale.steps.iter().any(|step| matches!(step, Step::Assign(_)))
}
