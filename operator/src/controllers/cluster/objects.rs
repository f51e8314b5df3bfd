//! The objects of a Cluster: applied where they differ, StatefulSets last, and taken away when they are no longer wanted.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::ApiResource;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::memory::Memory;
use super::observed::Kind;
use super::{Error, Reconcile};
use crate::cluster::scale::Scale;
use crate::cluster::{Desired, Growth, Names, claims_differ, growth, pools};
use crate::{Problem, apply};

impl Kind {
    fn resource(self) -> ApiResource {
        match self {
            Self::Ingress => ApiResource::erase::<Ingress>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::Secret => ApiResource::erase::<Secret>(&()),
        }
    }
}

/// What came of the objects.
#[derive(Default)]
pub(super) struct Made {
    /// Why some were left as they are: the API server does not take what was asked for. Then the fleet is left alone too.
    pub(super) problem: Option<Problem>,
    /// What is wrong besides, and keeps nothing else from going on.
    pub(super) noted: Option<Problem>,
}

impl Made {
    fn not(problem: Problem) -> Self {
        Self {
            problem: Some(problem),
            noted: None,
        }
    }
}

impl Reconcile<'_> {
    /// Makes all objects so.
    pub(super) async fn objects(
        &self,
        desired: &Desired,
        scale: &Scale,
        memory: &mut Memory,
    ) -> Result<Made, Error> {
        let mut made = Made::default();
        let growing = match self.growth() {
            Ok(growing) => growing,
            Err(problem) => return Ok(Made::not(problem)),
        };
        if let Some(problem) = self.checked(desired, memory).await? {
            return Ok(Made::not(problem));
        }
        for claim in growing {
            if let Some(problem) = self.grow(&claim, memory).await? {
                made.noted.get_or_insert(problem);
            }
        }
        let problem = &mut made.problem;
        for object in &desired.objects {
            let (kind, name) = (word(object, "kind"), name_of(object));
            let live = self.observed.live(kind, name);
            if kind == "StatefulSet" && !self.replaced(object, live.as_ref()).await? {
                continue;
            }
            match self.context.writer.apply(object, live.as_ref()).await {
                Ok(_) => {}
                // One that is refused, or that somebody else's stands in the way of, keeps none of the others back.
                Err(
                    error @ (apply::Error::Invalid(_) | apply::Error::Forbidden(_) | apply::Error::Exists(_)),
                ) => {
                    let found = Problem::because(error.reason(), format!("{kind} {name}"), error.to_string());
                    problem.get_or_insert(found);
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.shrink_leaving(scale).await?;
        self.prune(desired, scale).await?;
        Ok(made)
    }

    /// Whether the API server would take the pods with the user's overlays on them. It is asked about a StatefulSet of another name: of
    /// one that is there, much cannot change, and is replaced instead.
    async fn checked(&self, desired: &Desired, memory: &mut Memory) -> Result<Option<Problem>, Error> {
        for (pool, _) in pools(self.cluster) {
            if pool.template.is_none() {
                continue;
            }
            let name = Names::of(self.cluster).pool(&pool.name);
            let set = desired
                .objects
                .iter()
                .find(|object| word(object, "kind") == "StatefulSet" && name_of(object) == name);
            let Some(set) = set else { continue };
            let mut trial = set.clone();
            trial["metadata"]["name"] = format!("{name}-dry-run").into();
            trial["spec"]["replicas"] = 0.into();
            let said = hex(&trial);
            if memory.accepted.get(&pool.name) == Some(&said) {
                continue;
            }
            match self.context.writer.dry_run(&trial).await {
                Ok(_) => {
                    memory.accepted.insert(pool.name.clone(), said);
                }
                Err(apply::Error::Invalid(message)) => {
                    let field = format!("spec.pools[{}].template", pool.name);
                    // What the trial was called is of no interest.
                    let why = message.split_once("`: ").map_or(message.as_str(), |(_, why)| why);
                    return Ok(Some(Problem::spec(
                        field,
                        format!("the pod is refused with it: {why}"),
                    )));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// The claims that are to become larger.
    fn growth(&self) -> Result<Vec<Growth>, Problem> {
        let claims: BTreeMap<String, String> = self
            .observed
            .claims
            .iter()
            .filter_map(|claim| {
                let asked = claim
                    .spec
                    .as_ref()?
                    .resources
                    .as_ref()?
                    .requests
                    .as_ref()?
                    .get("storage")?;
                Some((claim.metadata.name.clone()?, asked.0.clone()))
            })
            .collect();
        let mut growing = Vec::new();
        for (pool, _) in pools(self.cluster) {
            growing.extend(growth(self.cluster, &pool, &claims)?);
        }
        Ok(growing)
    }

    /// A volume whose class does not let it grow: brokers go on with what they have, and the user is told.
    async fn grow(&self, growth: &Growth, memory: &mut Memory) -> Result<Option<Problem>, Error> {
        let cannot = |why: &str| {
            let what = format!("volume {} cannot grow to {}: {why}", growth.claim, growth.size);
            Some(Problem::spec("spec.pools", what))
        };
        let known = memory.ungrowable.get(&growth.claim);
        if let Some((_, why)) = known.filter(|(size, _)| *size == growth.size) {
            return Ok(cannot(why));
        }
        let claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": growth.claim, "namespace": self.key.namespace},
            "spec": {"resources": {"requests": {"storage": growth.size}}},
        });
        match self.context.writer.apply(&claim, None).await {
            Ok(_) => {
                let what = format!("volume {} grows to {}", growth.claim, growth.size);
                self.say("VolumeGrows", &what).await;
                Ok(None)
            }
            Err(apply::Error::Invalid(why) | apply::Error::Forbidden(why)) => {
                let problem = cannot(&why);
                memory
                    .ungrowable
                    .insert(growth.claim.clone(), (growth.size.clone(), why));
                Ok(problem)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a StatefulSet can be applied now. One whose claims change cannot be changed: it goes, its pods stay, and the next look makes
    /// the new one, which takes them over.
    async fn replaced(&self, desired: &Value, live: Option<&Value>) -> Result<bool, Error> {
        let Some(live) = live else { return Ok(true) };
        if !live["metadata"]["deletionTimestamp"].is_null() {
            return Ok(false);
        }
        if !claims_differ(desired, live) {
            return Ok(true);
        }
        let (name, uid) = (
            name_of(live),
            live["metadata"]["uid"].as_str().unwrap_or_default(),
        );
        let resource = Kind::StatefulSet.resource();
        self.context
            .writer
            .orphan(&resource, &self.key.namespace, name, uid)
            .await?;
        self.say(
            "StatefulSetReplaced",
            &format!("the volumes of {name} change; its pods stay"),
        )
        .await;
        Ok(false)
    }

    /// Pools that the Cluster no longer has lose their brokers as they become empty.
    async fn shrink_leaving(&self, scale: &Scale) -> Result<(), Error> {
        let stays: BTreeSet<String> = pools(self.cluster)
            .into_iter()
            .map(|(pool, _)| pool.name)
            .collect();
        for (pool, set) in &self.observed.sets {
            let now = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let size = scale.sizes.get(pool).copied().unwrap_or(now);
            if !stays.contains(pool) && size < now {
                let name = Names::of(self.cluster).pool(pool);
                let patch = json!({"spec": {"replicas": size}});
                let resource = Kind::StatefulSet.resource();
                self.context
                    .writer
                    .merge(&resource, &self.key.namespace, &name, &patch)
                    .await?;
            }
        }
        Ok(())
    }

    /// Takes away what is no longer wanted. What a pool needs stays as long as it has pods, or should have some.
    async fn prune(&self, desired: &Desired, scale: &Scale) -> Result<(), Error> {
        let names = Names::of(self.cluster);
        let mut kept: BTreeSet<(String, String)> = desired
            .objects
            .iter()
            .map(|object| (word(object, "kind").to_owned(), name_of(object).to_owned()))
            .collect();
        let mut keep = |kind: &str, name: String| kept.insert((kind.to_owned(), name));
        keep("ConfigMap", names.identity());
        keep("ConfigMap", names.pending());
        for authority in ["internal", "cluster", "clients"] {
            keep("Secret", names.authority(authority));
        }
        let staying = pools(self.cluster).into_iter().map(|(pool, _)| pool.name);
        let holding = scale
            .sizes
            .iter()
            .filter(|(_, size)| **size > 0)
            .map(|(pool, _)| pool.clone());
        let pods = self
            .observed
            .pods
            .iter()
            .filter_map(|pod| super::observed::pool_of(&pod.metadata));
        let pools: BTreeSet<String> = staying.chain(holding).chain(pods.map(str::to_owned)).collect();
        for pool in pools {
            keep("StatefulSet", names.pool(&pool));
            keep("ConfigMap", names.pool(&pool));
            keep("Secret", names.certificates(&pool));
        }
        for (kind, name, uid) in self.observed.owned_by(self.cluster) {
            if !kept.contains(&(format!("{kind:?}"), name.clone())) {
                let gone = self
                    .context
                    .writer
                    .delete(&kind.resource(), &self.key.namespace, &name, &uid)
                    .await;
                match gone {
                    Ok(_) | Err(apply::Error::Conflict(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

fn word<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn hex(object: &Value) -> String {
    digest(&SHA256, object.to_string().as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
