//! Makes the fleet so as the manifests say, through the same calls that the operator on Kubernetes makes.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::config::BrokerConfig;
use flotilla_control::placement::Move;
use flotilla_control::proto::metadata::{
    AlterConfig, ConfigOperation, Owner, Reassignment, Refusal, Replicas, ResourceConfigs, ResourceType,
};
use flotilla_control::settings::{self, Scope, Update};
use flotilla_crds::{Cluster, ClusterRef, DeletionPolicy, Topic, User};
use flotilla_operator::fleet::{Answer, Error, Fleet, View};
use flotilla_operator::{DEFAULT_NAMESPACE, namespace_of, topic, user};

use super::credentials;
use super::manifests::{Manifest, Manifests, Reported, key_of};
use super::plan::Authorities;
use crate::home::{FollowedTopic, Home, Memory};

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What cannot be followed.
    pub problems: Vec<Reported>,
    /// What changed in the fleet, in words.
    pub changed: Vec<String>,
    /// Whether something failed that may work later.
    pub again: bool,
}

/// All that is needed to follow manifests.
pub struct Reconcile<'a> {
    /// The fleet's directory.
    pub home: &'a Home,
    /// The Cluster.
    pub cluster: &'a Manifest<Cluster>,
    /// Its brokers.
    pub brokers: &'a [BrokerConfig],
    /// For users with certificates.
    pub authorities: &'a Authorities,
    /// The fleet as it is.
    pub view: &'a View,
    /// What was followed before.
    pub memory: &'a mut Memory,
    /// The way to the fleet.
    pub fleet: &'a Fleet,
    /// What came of it so far.
    pub outcome: Outcome,
}

impl Reconcile<'_> {
    /// Follows settings, Topics and Users. What fails is reported, and the rest goes on.
    pub async fn run(&mut self, manifests: &Manifests) {
        self.settings().await;
        self.topics(manifests).await;
        self.users(manifests).await;
    }

    /// Broker settings that need no restart.
    async fn settings(&mut self) {
        let config = &self.cluster.resource.spec.config;
        let dynamic: BTreeMap<String, String> = config
            .iter()
            .filter(|(name, _)| is_dynamic(name))
            .map(|(name, value)| (name.clone(), value.to_string()))
            .collect();
        let gone = self
            .memory
            .dynamic_settings
            .iter()
            .filter(|name| !dynamic.contains_key(*name));
        let changes: Vec<AlterConfig> = dynamic
            .iter()
            .map(|(name, value)| alter(ConfigOperation::Set, name, Some(value.clone())))
            .chain(gone.map(|name| alter(ConfigOperation::Delete, name, None)))
            .collect();
        if changes.is_empty() {
            return;
        }
        let resource = ResourceConfigs {
            resource_type: ResourceType::Broker.into(),
            resource_name: String::new(),
            changes,
            replace: false,
        };
        let answer = self.fleet.apply_config(vec![resource]).await;
        let cluster = self.cluster;
        if self.judge(answer, "settings of the brokers", |message| {
            cluster.problem("spec.config", message)
        }) {
            self.memory.dynamic_settings = dynamic.into_keys().collect();
        }
    }

    async fn topics(&mut self, manifests: &Manifests) {
        let mut ours: Vec<&Manifest<Topic>> = Vec::new();
        for manifest in &manifests.topics {
            let resource = &manifest.resource;
            match self.belongs(&resource.spec.cluster, namespace_of(&resource.metadata)) {
                Ok(()) => ours.push(manifest),
                Err(message) => self
                    .outcome
                    .problems
                    .push(manifest.problem("spec.cluster", message)),
            }
        }
        let resources: Vec<&Topic> = ours.iter().map(|manifest| &manifest.resource).collect();
        let claims = topic::settle(&resources);
        for (manifest, (_, conflict)) in ours.iter().zip(claims) {
            if let Some(conflict) = conflict {
                self.outcome.problems.push(manifest.refused(&conflict));
                continue;
            }
            let scope = user::scope(
                &self.cluster.resource,
                namespace_of(&manifest.resource.metadata),
                labels(manifests, namespace_of(&manifest.resource.metadata)),
            );
            match scope {
                Ok(scope) if !may_name(&scope, topic::kafka_name(&manifest.resource)) => {
                    let message = format!(
                        "the Cluster takes from namespace `{}` only topics with the prefixes that its allowedNamespaces name",
                        namespace_of(&manifest.resource.metadata)
                    );
                    self.outcome.problems.push(manifest.problem("spec.name", message));
                }
                Ok(_) => self.topic(manifest).await,
                Err(problem) => self.outcome.problems.push(manifest.refused(&problem)),
            }
        }
    }

    async fn topic(&mut self, manifest: &Manifest<Topic>) {
        let name = topic::kafka_name(&manifest.resource).to_owned();
        let key = key_of(&manifest.resource);
        if let Some(before) = self.memory.topics.get(&key).filter(|before| before.name != name) {
            let message = format!(
                "spec.name cannot change: it was `{}`. Make a new Topic and copy the records",
                before.name
            );
            return self.outcome.problems.push(manifest.problem("spec.name", message));
        }
        let existing = self.view.topics.get(&name).map(|state| topic::Existing {
            partitions: state.partitions.len() as i32,
            managed_config: self
                .memory
                .topics
                .get(&key)
                .map(|topic| topic.settings.clone())
                .unwrap_or_default(),
        });
        let command = match topic::apply(&manifest.resource, existing.as_ref(), self.brokers.len()) {
            Ok(command) => command,
            Err(problem) => return self.outcome.problems.push(manifest.refused(&problem)),
        };
        let settings = command.configs.iter().map(|config| config.key.clone()).collect();
        let answer = self.fleet.apply_topic(command).await;
        let applied = self.judge(answer, &format!("topic {name}"), |message| {
            manifest.problem("spec", format!("topic `{name}`: {message}"))
        });
        if applied {
            let followed = FollowedTopic {
                name,
                settings,
                deletion_policy: manifest.resource.spec.deletion_policy,
            };
            self.memory.topics.insert(key, followed);
        }
    }

    async fn users(&mut self, manifests: &Manifests) {
        let mut names = BTreeSet::new();
        for manifest in &manifests.users {
            let resource = &manifest.resource;
            let name = resource.metadata.name.clone().unwrap_or_default();
            if let Err(message) = self.belongs(&resource.spec.cluster, namespace_of(&resource.metadata)) {
                self.outcome
                    .problems
                    .push(manifest.problem("spec.cluster", message));
            } else if !names.insert(name.clone()) {
                let message =
                    format!("another User is named `{name}`, in another namespace: the first one counts");
                self.outcome
                    .problems
                    .push(manifest.problem("metadata.name", message));
            } else if let Err(problem) = self.user(manifest, manifests).await {
                self.outcome.problems.push(problem);
            }
        }
    }

    async fn user(&mut self, manifest: &Manifest<User>, manifests: &Manifests) -> Result<(), Reported> {
        let resource = &manifest.resource;
        let name = resource.metadata.name.clone().unwrap_or_default();
        let namespace = namespace_of(&resource.metadata).to_owned();
        let given = match &resource.spec.authentication.password_from {
            None => None,
            Some(from) => {
                let secret = manifests.secrets.get(&(namespace.clone(), from.name.clone()));
                let password = secret.and_then(|secret| secret.get(&from.key));
                Some(password.cloned().ok_or_else(|| {
                    manifest.problem(
                        "spec.authentication.passwordFrom",
                        format!(
                            "there is no Secret `{}` with the key `{}` among the manifests of namespace `{namespace}`",
                            from.name, from.key
                        ),
                    )
                })?)
            }
        };
        let owned: Vec<&str> = manifests
            .topics
            .iter()
            .filter(|topic| namespace_of(&topic.resource.metadata) == namespace)
            .map(|manifest| topic::kafka_name(&manifest.resource))
            .collect();
        // What the User may do is checked before anything is written for it; the check needs no password of its own.
        let plan = |password: Option<&str>| {
            user::apply(
                resource,
                &self.cluster.resource,
                labels(manifests, &namespace),
                &owned,
                password,
            )
        };
        plan(Some("unknown yet")).map_err(|problem| manifest.refused(&problem))?;
        let password = credentials::write(
            self.home,
            resource,
            &self.cluster.resource,
            self.brokers,
            self.authorities,
            given,
        )
        .map_err(|error| manifest.problem("metadata.name", format!("{error:#}")))?;
        let request = plan(password.as_deref()).map_err(|problem| manifest.refused(&problem))?;
        let answer = self.fleet.apply_user(request).await;
        let applied = self.judge(answer, &format!("user {name}"), |message| {
            manifest.problem("spec", format!("user `{name}`: {message}"))
        });
        if applied {
            self.memory.users.insert(key_of(resource), name);
        }
        Ok(())
    }

    /// Deletes what Topics and Users made whose manifests are gone, by namespace/name, as their deletion policies say.
    pub async fn delete(&mut self, gone: &BTreeSet<String>) {
        let topics: Vec<_> = self
            .memory
            .topics
            .iter()
            .filter(|(key, _)| gone.contains(&format!("Topic {key}")))
            .map(|(key, topic)| (key.clone(), topic.clone()))
            .collect();
        for (key, topic) in topics {
            self.delete_topic(&key, &topic).await;
        }
        let users: Vec<_> = self
            .memory
            .users
            .iter()
            .filter(|(key, _)| gone.contains(&format!("User {key}")))
            .map(|(key, name)| (key.clone(), name.clone()))
            .collect();
        for (key, name) in users {
            let owner = owner(&key, DeletionPolicy::Delete);
            let answer = self.fleet.delete_user(&name, Some(owner)).await;
            let directory = self.home.user(&name);
            let deleted = self.judge(answer, &format!("user {name} is deleted"), |message| Reported {
                file: directory.clone(),
                line: 0,
                message: format!("user `{name}` is not deleted: {message}"),
            });
            if deleted {
                self.memory.users.remove(&key);
                // What is left behind are credentials of nobody.
                let _ = std::fs::remove_dir_all(&directory);
            }
        }
    }

    async fn delete_topic(&mut self, key: &str, topic: &FollowedTopic) {
        let name = &topic.name;
        if topic.deletion_policy == DeletionPolicy::Retain {
            self.memory.topics.remove(key);
            self.outcome
                .changed
                .push(format!("topic {name} is kept, as its deletionPolicy says"));
            return;
        }
        let owner = owner(key, topic.deletion_policy);
        let answer = self.fleet.delete_topic(name, Some(owner)).await;
        let home = self.home.path().to_owned();
        let deleted = self.judge(answer, &format!("topic {name} is deleted"), |message| Reported {
            file: home.clone(),
            line: 0,
            message: format!("topic `{name}`, whose manifest is gone, is not deleted: {message}"),
        });
        if deleted {
            self.memory.topics.remove(key);
        }
    }

    /// Moves partitions.
    pub async fn assign(&mut self, moves: Vec<Move>) -> bool {
        let moves = moves.into_iter().map(|step| Reassignment {
            topic: step.topic,
            partition: step.partition,
            target: Some(Replicas {
                broker_ids: step.replicas.into_iter().map(|id| id.0).collect(),
            }),
        });
        let answer = self.fleet.assign(moves.collect()).await.and_then(Answer::whole);
        let cluster = self.cluster;
        self.judge(answer, "the share of new brokers", |message| {
            cluster.problem(
                "spec.replicas",
                format!("partitions cannot be moved to the new brokers: {message}"),
            )
        })
    }

    /// Asks for leadership to go back to preferred leaders, so that no broker leads more than its share. Whether it did shows in what is seen
    /// of the fleet.
    pub async fn elect_preferred(&mut self) {
        let _ = self.fleet.elect_leaders(Vec::new()).await;
    }

    /// Whether a resource is this Cluster's.
    fn belongs(&self, wanted: &ClusterRef, namespace: &str) -> Result<(), String> {
        let (own, name) = (
            namespace_of(&self.cluster.resource.metadata),
            self.cluster.resource.metadata.name.as_deref().unwrap_or_default(),
        );
        let wanted_namespace = wanted.namespace.as_deref().unwrap_or(namespace);
        if wanted.name == name && wanted_namespace == own {
            return Ok(());
        }
        Err(format!(
            "there is no Cluster `{}` in namespace `{wanted_namespace}`: these manifests have `{name}` in namespace `{own}`",
            wanted.name
        ))
    }

    /// Whether the fleet did it. What it refused becomes a problem, what it could not answer is tried again.
    fn judge(
        &mut self,
        answer: Result<Answer, Error>,
        what: &str,
        problem: impl Fn(String) -> Reported,
    ) -> bool {
        let error = match answer {
            Ok(answer) => {
                if answer.changed {
                    self.outcome.changed.push(what.to_owned());
                }
                return true;
            }
            Err(error) => error,
        };
        match &error {
            Error::Unreachable(_) | Error::Timeout { .. } => self.outcome.again = true,
            Error::Refused {
                refusal: Refusal::NotController | Refusal::Throttled,
                ..
            } => self.outcome.again = true,
            Error::Refused { refusal, .. } => {
                // Brokers may be on their way: then it works by itself later.
                self.outcome.again |= *refusal == Refusal::NotEnoughBrokers;
                self.outcome.problems.push(problem(error.to_string()));
            }
            Error::Invalid { .. } => self.outcome.problems.push(problem(error.to_string())),
        }
        false
    }
}

/// Who owns what the resource `namespace/name` made.
fn owner(key: &str, deletion_policy: DeletionPolicy) -> Owner {
    let (namespace, name) = key.split_once('/').unwrap_or((DEFAULT_NAMESPACE, key));
    Owner {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: key.to_owned(),
        deletion_policy: format!("{deletion_policy:?}"),
    }
}

/// Whether a setting takes effect while brokers run.
pub fn is_dynamic(name: &str) -> bool {
    settings::find(Scope::Broker, name).is_some_and(|setting| setting.update == Update::ClusterWide)
}

fn alter(operation: ConfigOperation, key: &str, value: Option<String>) -> AlterConfig {
    AlterConfig {
        operation: operation.into(),
        key: key.to_owned(),
        value,
    }
}

fn labels<'a>(manifests: &'a Manifests, namespace: &str) -> &'a BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    manifests.namespaces.get(namespace).unwrap_or(&NONE)
}

fn may_name(scope: &user::Scope, name: &str) -> bool {
    match scope {
        user::Scope::Own => true,
        user::Scope::Guest(prefixes) => {
            prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
        }
    }
}
