//! Keeps Clusters as they were asked for. What a reconcile does, in this order: who the fleet is; certificates, whatever else is wrong;
//! the objects that brokers run in; what the fleet is told, and who restarts, once it answers; and the status. Each part looks at what is
//! there and does only what is missing, so that it can be given up at any point and begun again.

mod asked;
mod authorities;
mod certificates;
mod fleet_steps;
mod identity;
mod memory;
mod objects;
mod observed;
mod pending;
mod report;
mod rollout;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_control::BrokerId;
use flotilla_control::tls::Credentials;
use flotilla_crds::{Cluster, Reason};
use k8s_openapi::api::core::v1::Pod as CorePod;
use k8s_openapi::jiff::Timestamp;

pub use authorities::{authority, trusted};
pub use memory::Memories;

use super::{Action, Context, Error};
use crate::cluster::rollout::{Pod, PodState};
use crate::cluster::{
    CONTROL_PORT, Identity, Member, Names, StatusInput, Work, pods, pool_counts, scale, silence, standing,
    trouble, validate,
};
use crate::fleet::{Access, Change, Fleet, View, What};
use crate::{Key, Problem, Standing, apply};
use asked::{Followed, Scene};
use fleet_steps::{moves, topics_in_sync};
use memory::Memory;
use observed::Observed;

/// One look at one Cluster.
struct Reconcile<'a> {
    context: &'a Context,
    key: Key,
    /// As users wrote it.
    asked: &'a Cluster,
    /// The same, with the version that runs where nobody says which.
    cluster: &'a Cluster,
    observed: Observed,
    /// The fleet as it says it is; none while it does not answer.
    view: Option<Arc<View>>,
    now_unix_s: u64,
}

/// Makes one Cluster so.
///
/// # Errors
/// What Kubernetes did not take or did not answer. What the fleet refuses stands in the status.
pub async fn reconcile(cluster: Arc<Cluster>, context: Arc<Context>) -> Result<Action, Error> {
    let key = Key::of(&cluster.metadata);
    if cluster.metadata.deletion_timestamp.is_some() || context.cache.namespace_terminating(&key.namespace) {
        // What is made for it goes by its owner references; what outlives it has none.
        forget(&context, &key);
        return Ok(Action::await_change());
    }
    let observed = Observed::read(&context.cache, &key);
    let running = running(&cluster, &observed, &context);
    let uid = cluster.metadata.uid.clone().unwrap_or_default();
    let mut memory = context.clusters.recall(&key, &uid);
    let run = Reconcile {
        view: context.fleets.get(&key).and_then(|fleet| fleet.view()),
        context: &context,
        key: key.clone(),
        asked: &cluster,
        cluster: &running,
        observed,
        now_unix_s: u64::try_from(Timestamp::now().as_second()).unwrap_or(0),
    };
    let done = run.all(&mut memory).await;
    context.clusters.keep(&key, memory);
    match done {
        // The cache is behind: what was to be made is there already. That is looked at again, and soon.
        Err(Error::Write(apply::Error::Exists(message))) => Err(apply::Error::Conflict(message).into()),
        done => done,
    }
}

/// Forgets a Cluster that is gone.
pub fn forget(context: &Context, cluster: &Key) {
    context.fleets.forget(cluster);
    context.clusters.forget(cluster);
    context.metrics.forget(cluster);
}

/// Whether a change of a fleet concerns its Cluster. Single topics do while replicas move or brokers restart.
#[must_use]
pub fn cares(change: &Change, context: &Context) -> bool {
    match change.what {
        What::User(_) => false,
        What::Topic(_) => context.clusters.watches_topics(&change.cluster),
        _ => true,
    }
}

/// A Cluster whose status does not say which version runs: its StatefulSets do.
fn running(cluster: &Cluster, observed: &Observed, context: &Context) -> Cluster {
    let mut running = cluster.clone();
    let status = running.status.get_or_insert_default();
    if status.version.is_none() {
        let image = observed.sets.values().find_map(|set| {
            let pod = set.spec.as_ref()?.template.spec.as_ref()?;
            pod.containers.first()?.image.clone()
        });
        let prefix = format!("{}:", context.site.broker_image);
        status.version = image.and_then(|image| image.strip_prefix(&prefix).map(str::to_owned));
    }
    running
}

/// The earlier of two.
fn sooner(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    [one, other].into_iter().flatten().min()
}

impl Reconcile<'_> {
    async fn all(&self, memory: &mut Memory) -> Result<Action, Error> {
        if self.asked.spec.paused {
            return self.paused(memory).await;
        }
        let mut problem = validate(self.cluster).into_iter().next();
        let identity = match self.identity(problem.is_none()).await? {
            Ok(identity) => identity,
            Err(found) => {
                let standing = Standing::of(problem.as_ref().unwrap_or(&found));
                self.report_standing(&standing).await?;
                return Ok(Action::await_change());
            }
        };
        let sizes = self.observed.sizes();
        let members = self.members(&identity, &sizes, &mut problem);
        let certificates = self
            .certificates(&identity, &members, problem.is_none(), memory)
            .await?;
        let fleet = self.reach(&identity, &members, certificates.operator);
        let core: Vec<&CorePod> = self.observed.pods.iter().map(AsRef::as_ref).collect();
        let pods = pods(self.cluster, &members, &core);
        let mut again = None;
        let silence = self.silence(&identity, &pods, memory, &mut again);
        let view = self.view.as_deref().filter(|view| view.controller.is_some());
        let scene = Scene {
            identity: &identity,
            sizes: &sizes,
            members: &members,
            pods: &pods,
            view,
            fleet: fleet.as_ref(),
        };
        let followed = self.follow(problem, &scene, memory).await?;
        again = sooner(again, followed.again);
        if let Some((view, fleet)) = scene.answers() {
            again = sooner(again, self.settle(&pods, &followed, view, fleet, memory).await?);
        }
        let problem = followed
            .problem
            .or(certificates.problem)
            .or(followed.told.problem);
        let trouble = core.iter().find_map(|pod| trouble(pod));
        let standing = standing(Work {
            problem: problem.as_ref(),
            trouble: trouble.as_ref(),
            pods: &pods,
            bootstrapped: identity.bootstrapped,
            silence: silence.as_ref(),
            scale: &followed.scale,
            rollout: &followed.rollout,
            granted: &view.map(granted).unwrap_or_default(),
            full: &view.map(full).unwrap_or_default(),
        });
        self.report(StatusInput {
            identity: Some(&identity),
            pools: &pool_counts(&pods),
            voters: &view
                .map(|view| view.voters.keys().copied().collect())
                .unwrap_or_default(),
            version: view.and_then(|view| one_version(view, &members)).as_deref(),
            brokers: &self.brokers(&members, &pods),
            managed_config: followed.told.managed_config.as_deref(),
            reach: &self.observed.reach,
            standing: &standing,
        })
        .await?;
        self.context.metrics.fleet(&self.key, view.is_some());
        Ok(again.map_or_else(Action::await_change, Action::requeue))
    }

    /// What is due once the fleet has been told all that was to tell: preferred leaders, deletions that waited for it.
    async fn settle(
        &self,
        pods: &[Pod],
        followed: &Followed,
        view: &View,
        fleet: &Fleet,
        memory: &mut Memory,
    ) -> Result<Option<Duration>, Error> {
        let still = pods.iter().all(|pod| pod.state == PodState::Ready)
            && followed.rollout.outdated.is_empty()
            && !moves(&followed.scale, view);
        let mut again = self.elect(view, still, fleet, memory).await;
        if self.delete_pending(fleet).await? {
            again = sooner(again, Some(Duration::from_secs(2)));
        }
        memory.watches_topics = !still || !topics_in_sync(view) || view.askew();
        Ok(again)
    }

    /// The brokers that there are or should be.
    fn members(
        &self,
        identity: &Identity,
        sizes: &BTreeMap<String, i32>,
        problem: &mut Option<Problem>,
    ) -> Vec<Member> {
        match scale::present(self.cluster, identity, sizes) {
            Ok(members) if problem.is_none() => members,
            Ok(_) => self.there_already(identity, sizes),
            Err(found) => {
                problem.get_or_insert(found);
                self.there_already(identity, sizes)
            }
        }
    }

    /// Nothing is written but that it is paused. The fleet is still followed: Topics and Users may have to go.
    async fn paused(&self, memory: &mut Memory) -> Result<Action, Error> {
        let name = Names::of(self.cluster).identity();
        let identity = self
            .observed
            .config_map(&name)
            .and_then(|map| crate::cluster::read_identity(map).ok());
        if let Some(identity) = &identity {
            let members = scale::present(self.cluster, identity, &self.observed.sizes()).unwrap_or_default();
            let operator = self.operator_certificate(identity, memory);
            if let Some(fleet) = self.reach(identity, &members, operator)
                && self.view.as_ref().is_some_and(|view| view.controller.is_some())
            {
                self.delete_pending(&fleet).await?;
            }
        }
        let standing = Standing::Working(Reason::Creating, "paused".to_owned());
        self.report(StatusInput {
            identity: identity.as_ref(),
            pools: &BTreeMap::new(),
            voters: &BTreeSet::new(),
            version: None,
            brokers: &[],
            managed_config: None,
            reach: &self.observed.reach,
            standing: &standing,
        })
        .await?;
        Ok(Action::await_change())
    }

    /// The brokers that there are, while the specification says what cannot be followed.
    fn there_already(&self, identity: &Identity, sizes: &BTreeMap<String, i32>) -> Vec<Member> {
        let mut members = Vec::new();
        for (pool, size) in sizes {
            if let Some(first) = identity.blocks.get(pool) {
                members.extend((0..*size).map(|ordinal| Member {
                    id: BrokerId(first.0 + ordinal),
                    pool: pool.clone(),
                    ordinal,
                    roles: Vec::new(),
                }));
            }
        }
        members.sort_by_key(|member| member.id);
        members
    }

    /// Follows the fleet at the addresses of its pods: they are known before DNS tells them, and brokers prove who they are by their
    /// certificates.
    fn reach(&self, identity: &Identity, members: &[Member], operator: Option<Credentials>) -> Option<Fleet> {
        let names = Names::of(self.cluster);
        let brokers: Vec<(BrokerId, String)> = members
            .iter()
            .filter_map(|member| {
                let pod = self.observed.pod(&names.pod(member))?;
                if pod.metadata.deletion_timestamp.is_some() {
                    return None;
                }
                let address = pod.status.as_ref()?.pod_ip.clone()?;
                let address = if address.contains(':') {
                    format!("[{address}]:{CONTROL_PORT}")
                } else {
                    format!("{address}:{CONTROL_PORT}")
                };
                Some((member.id, address))
            })
            .collect();
        match operator {
            Some(credentials) if !brokers.is_empty() => Some(self.context.fleets.reach(
                &self.key,
                Access {
                    cluster_id: identity.cluster_id,
                    credentials,
                    brokers,
                },
            )),
            _ => self.context.fleets.get(&self.key),
        }
    }

    /// What keeps the fleet from answering, once it lasts.
    fn silence(
        &self,
        identity: &Identity,
        pods: &[Pod],
        memory: &mut Memory,
        again: &mut Option<Duration>,
    ) -> Option<Problem> {
        let voters: BTreeSet<BrokerId> = match &self.view {
            Some(view) if !view.voters.is_empty() => view.voters.keys().copied().collect(),
            _ => {
                let known = self
                    .asked
                    .status
                    .as_ref()
                    .map(|status| status.coordinators.as_slice());
                match known {
                    Some(known) if !known.is_empty() => known.iter().copied().map(BrokerId).collect(),
                    _ => identity.voters.keys().copied().collect(),
                }
            }
        };
        let controller = self.view.as_ref().and_then(|view| view.controller).map(BrokerId);
        let silence = silence(&voters, pods, self.view.is_some(), controller);
        let left = memory.silence(silence.is_some() && identity.bootstrapped, Instant::now());
        if let Some(left) = left {
            *again = sooner(*again, Some(left));
            return None;
        }
        silence
    }

    /// Whether brokers are still on their way that nothing keeps from coming.
    fn coming(&self, members: &[Member], pods: &[Pod]) -> bool {
        let names = Names::of(self.cluster);
        members.iter().zip(pods).any(|(member, pod)| match pod.state {
            PodState::Ready | PodState::Broken(_) => false,
            PodState::Starting | PodState::Gone => {
                let found = self.observed.pod(&names.pod(member));
                found.is_none_or(|pod| trouble(pod).is_none())
            }
        })
    }

    /// How long until a moment.
    fn until(&self, unix_s: i64) -> Duration {
        let now = i64::try_from(self.now_unix_s).unwrap_or(i64::MAX);
        Duration::from_secs(u64::try_from(unix_s.saturating_sub(now)).unwrap_or(0).max(1))
    }
}

/// The brokers that the fleet let go for a restart.
fn granted(view: &View) -> BTreeSet<BrokerId> {
    view.grants.keys().copied().map(BrokerId).collect()
}

/// The brokers that say that a volume of theirs is full.
fn full(view: &View) -> BTreeSet<BrokerId> {
    let brokers = view.brokers.values();
    brokers
        .filter(|broker| broker.storage_full && !broker.fenced)
        .map(|broker| BrokerId(broker.broker_id))
        .collect()
}

/// The version that all brokers run, if it is one.
fn one_version(view: &View, members: &[Member]) -> Option<String> {
    let versions: BTreeSet<&str> = members
        .iter()
        .filter_map(|member| view.brokers.get(&member.id.0))
        .map(|broker| broker.version.as_str())
        .collect();
    let all = members
        .iter()
        .all(|member| view.brokers.contains_key(&member.id.0));
    match versions.into_iter().collect::<Vec<_>>().as_slice() {
        [version] if all && !version.is_empty() => Some((*version).to_owned()),
        _ => None,
    }
}
