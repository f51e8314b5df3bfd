//! What a specification asks for, as long as nothing is wrong with it: the fleet's size, its objects, what it is told, and who restarts.

use std::collections::BTreeMap;
use std::time::Duration;

use flotilla_control::BrokerId;

use super::fleet_steps::{Told, moves, scale_view};
use super::memory::Memory;
use super::{Error, Reconcile, sooner};
use crate::Problem;
use crate::cluster::rollout::{Observed as RolloutObserved, Pod, Rollout};
use crate::cluster::scale::{self, Scale};
use crate::cluster::{Desired, Identity, Member, desired, maintenance};
use crate::fleet::{Fleet, View};

/// What one look found, besides what Kubernetes has.
pub(super) struct Scene<'a> {
    pub(super) identity: &'a Identity,
    /// How many pods each pool has.
    pub(super) sizes: &'a BTreeMap<String, i32>,
    pub(super) members: &'a [Member],
    pub(super) pods: &'a [Pod],
    /// The fleet as it says it is; none while its quorum has no leader.
    pub(super) view: Option<&'a View>,
    pub(super) fleet: Option<&'a Fleet>,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Followed {
    pub(super) scale: Scale,
    pub(super) rollout: Rollout,
    pub(super) told: Told,
    /// What is wrong with the specification. Nothing was done that it says.
    pub(super) problem: Option<Problem>,
    /// When to look again.
    pub(super) again: Option<Duration>,
}

impl<'a> Scene<'a> {
    /// The fleet that answers, and how it sees itself.
    pub(super) fn answers(&self) -> Option<(&'a View, &'a Fleet)> {
        self.view.zip(self.fleet)
    }

    /// Whom the brokers take for the leader of the quorum.
    fn controller(&self) -> Option<BrokerId> {
        self.view.and_then(|view| view.controller).map(BrokerId)
    }
}

impl Reconcile<'_> {
    /// Does what is asked for, unless something is wrong with it already: then everything is left as it is.
    pub(super) async fn follow(
        &self,
        problem: Option<Problem>,
        scene: &Scene<'_>,
        memory: &mut Memory,
    ) -> Result<Followed, Error> {
        let mut followed = Followed {
            scale: Scale {
                sizes: scene.sizes.clone(),
                ..Scale::default()
            },
            problem,
            ..Followed::default()
        };
        if followed.problem.is_some() {
            return Ok(followed);
        }
        match self.planned(scene) {
            Ok((scale, desired)) => {
                followed.scale = scale;
                self.make(&desired, scene, &mut followed, memory).await?;
            }
            Err(problem) => followed.problem = Some(problem),
        }
        Ok(followed)
    }

    /// The size that the fleet has next, and the objects for that.
    fn planned(&self, scene: &Scene<'_>) -> Result<(Scale, Desired), Problem> {
        let racks_required = self.cluster.spec.rack_topology_key.is_some();
        let seen = scene
            .view
            .map(|view| scale_view(view, scene.members, racks_required));
        let coming = self.coming(scene.members, scene.pods);
        let scale = scale::scale(self.cluster, scene.identity, scene.sizes, seen.as_ref(), coming)?;
        let desired = desired(self.cluster, scene.identity, &self.context.site, &scale.sizes)?;
        Ok((scale, desired))
    }

    /// First the objects, then what the fleet is told, then who restarts.
    async fn make(
        &self,
        desired: &Desired,
        scene: &Scene<'_>,
        followed: &mut Followed,
        memory: &mut Memory,
    ) -> Result<(), Error> {
        let made = self.objects(desired, &followed.scale, memory).await?;
        followed.told.problem = made.noted;
        followed.problem = made.problem;
        if followed.problem.is_some() {
            return Ok(());
        }
        if let Some((view, fleet)) = scene.answers() {
            let (scale, told) = (&followed.scale, &mut followed.told);
            self.place_brokers(scene.members, view, fleet, told).await;
            self.settings(view, moves(scale, view), fleet, told).await;
            self.resize(scale, view, fleet, told).await;
        }
        let now = i64::try_from(self.now_unix_s).unwrap_or(i64::MAX);
        let observed = RolloutObserved {
            pods: scene.pods,
            wanted: &desired.revisions,
            controller: scene.controller(),
            maintenance: maintenance(&self.cluster.spec.maintenance_windows, now),
        };
        let fleet = scene.answers().map(|(_, fleet)| fleet);
        let (rollout, soon) = self.roll(&observed, scene.members, fleet).await?;
        followed.rollout = rollout;
        followed.again = sooner(soon, followed.told.again);
        Ok(())
    }
}
