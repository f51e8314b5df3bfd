//! What is in Kubernetes, as last heard: watched, stripped of what nobody reads, and found by what it belongs to.

mod store;
mod strip;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flotilla_crds::{Cluster, Topic, User, UserAuthenticationType};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{broadcast, watch as signal};
use tokio_util::sync::CancellationToken;

use crate::cluster::CLUSTER_LABEL;
use crate::metrics::Metrics;
use crate::{Key, namespace_of, topic};
pub use store::Broken;
use store::{Index, Store};

/// Changes that a reader may lag behind. A reader that lags further looks at everything again.
const TOUCHED_MAX: usize = 8_192;
/// How long the API server may take to answer a read.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Something that changed, where the change may matter to somebody. A change of a status that says the same is not told, nor is one of
/// fields that the cache drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// A Cluster.
    Cluster {
        /// Which.
        key: Key,
        /// Its specification, labels, annotations or deletion changed, it appeared, or it is gone.
        own: bool,
        /// Its Ready condition, its id or its listeners changed.
        standing: bool,
    },
    /// A Topic whose specification, labels, annotations or deletion changed, that appeared, or that is gone.
    Topic {
        /// Which.
        key: Key,
        /// The Cluster that it names.
        cluster: Key,
        /// Its name in Kafka.
        name: String,
        /// It appeared, is being deleted, or is gone.
        came_or_went: bool,
    },
    /// A User whose specification, labels, annotations or deletion changed, that appeared, or that is gone.
    User {
        /// Which.
        key: Key,
        /// The Cluster that it names.
        cluster: Key,
        /// It appeared, is being deleted, or is gone.
        came_or_went: bool,
    },
    /// An object that belongs to a Cluster, by label.
    Owned {
        /// Its kind.
        kind: &'static str,
        /// Which.
        key: Key,
        /// The Cluster.
        cluster: Key,
    },
    /// Any Secret, also one that is not ours.
    Secret {
        /// Which.
        key: Key,
    },
    /// A node's labels or addresses.
    Node,
    /// A namespace's labels, or it is terminating, or gone.
    Namespace {
        /// Which.
        name: String,
    },
    /// An object that cannot be decoded.
    Undecodable {
        /// Its kind.
        kind: &'static str,
        /// Which.
        key: Key,
    },
}

/// What is in Kubernetes, as last heard. A clone reads the same.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    client: Client,
    /// The namespaces that are watched; none: all.
    watched: Vec<String>,
    metrics: Metrics,
    touched: broadcast::Sender<Touched>,
    /// Watches whose first list is not complete.
    unsynced: signal::Sender<usize>,
    clusters: Store<Cluster>,
    topics: Store<Topic>,
    users: Store<User>,
    stateful_sets: Store<StatefulSet>,
    services: Store<Service>,
    config_maps: Store<ConfigMap>,
    secrets: Store<Secret>,
    pods: Store<Pod>,
    claims: Store<PersistentVolumeClaim>,
    budgets: Store<PodDisruptionBudget>,
    policies: Store<NetworkPolicy>,
    ingresses: Store<Ingress>,
    nodes: Store<Node>,
    namespaces: Store<PartialObjectMeta<Namespace>>,
    secret_metadata: Store<PartialObjectMeta<Secret>>,
}

/// A kind whose objects belong to Clusters.
pub trait Owned: Resource<DynamicType = ()> + Sized {
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn store(inner: &Inner) -> &Store<Self>;
}

macro_rules! owned {
    ($($kind:ty => $store:ident,)*) => {
        $(impl Owned for $kind {
            #[allow(private_interfaces)]
            fn store(inner: &Inner) -> &Store<Self> {
                &inner.$store
            }
        })*
    };
}

owned! {
    StatefulSet => stateful_sets,
    Service => services,
    ConfigMap => config_maps,
    Secret => secrets,
    Pod => pods,
    PersistentVolumeClaim => claims,
    PodDisruptionBudget => budgets,
    NetworkPolicy => policies,
    Ingress => ingresses,
}

impl Cache {
    /// Begins to watch, until `shutdown`: everywhere, or in these namespaces.
    #[must_use]
    pub fn start(
        client: Client,
        namespaces: &[String],
        metrics: &Metrics,
        shutdown: &CancellationToken,
    ) -> Self {
        let cache = Self::empty(client, namespaces.to_vec(), metrics.clone());
        watch::start(&cache, namespaces, shutdown);
        let counted = cache.clone();
        metrics.before_reading(move |metrics| counted.count(metrics));
        cache
    }

    fn empty(client: Client, watched: Vec<String>, metrics: Metrics) -> Self {
        Self(Arc::new(Inner {
            client,
            watched,
            metrics,
            touched: broadcast::Sender::new(TOUCHED_MAX),
            unsynced: signal::Sender::new(0),
            clusters: Store::new(|_| Vec::new()),
            topics: Store::new(|topic| {
                let cluster = cluster_of_topic(topic);
                let name = topic::kafka_name(topic).to_owned();
                vec![Index::Cluster(cluster.clone()), Index::Named(cluster, name)]
            }),
            users: Store::new(|user| {
                let cluster = cluster_of_user(user);
                let name = user.metadata.name.clone().unwrap_or_default();
                let namespace = namespace_of(&user.metadata);
                let mut found = vec![
                    Index::Cluster(cluster.clone()),
                    Index::Named(cluster.clone(), name),
                    Index::Secret(Key::new(namespace, crate::user::secret_name(user))),
                ];
                if user.spec.authentication.type_ == UserAuthenticationType::Mtls {
                    // Where cert-manager answers, if the Cluster's clients have their certificates from it.
                    let answer = crate::user::answer_name(user);
                    found.push(Index::Secret(Key::new(&cluster.namespace, &answer)));
                }
                let password = user.spec.authentication.password_from.as_ref();
                found.extend(password.map(|from| Index::Secret(Key::new(namespace, &from.name))));
                found
            }),
            stateful_sets: Store::new(by_label),
            services: Store::new(by_label),
            config_maps: Store::new(by_label),
            // The Secrets of Users carry the label too, and may lie beside the Cluster's own.
            secrets: Store::new(|secret| {
                if owned_by_user(secret) {
                    Vec::new()
                } else {
                    by_label(secret)
                }
            }),
            pods: Store::new(by_label),
            claims: Store::new(by_label),
            budgets: Store::new(by_label),
            policies: Store::new(by_label),
            ingresses: Store::new(by_label),
            nodes: Store::new(|_| Vec::new()),
            namespaces: Store::new(|_| Vec::new()),
            secret_metadata: Store::new(|_| Vec::new()),
        }))
    }

    /// Waits until everything has been heard of once.
    pub async fn synced(&self) {
        let mut unsynced = self.0.unsynced.subscribe();
        // The sender lives in `self`.
        let _ = unsynced.wait_for(|count| *count == 0).await;
    }

    /// Whether everything has been heard of once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        *self.0.unsynced.borrow() == 0
    }

    /// What changes from now on.
    #[must_use]
    pub fn touched(&self) -> broadcast::Receiver<Touched> {
        self.0.touched.subscribe()
    }

    /// All Clusters.
    #[must_use]
    pub fn clusters(&self) -> Vec<Arc<Cluster>> {
        self.0.clusters.all()
    }

    /// One Cluster.
    #[must_use]
    pub fn cluster(&self, key: &Key) -> Option<Arc<Cluster>> {
        self.0.clusters.get(key)
    }

    /// All Topics.
    #[must_use]
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.0.topics.all()
    }

    /// One Topic.
    #[must_use]
    pub fn topic(&self, key: &Key) -> Option<Arc<Topic>> {
        self.0.topics.get(key)
    }

    /// The Topics that name a Cluster.
    #[must_use]
    pub fn topics_of(&self, cluster: &Key) -> Vec<Arc<Topic>> {
        self.0.topics.by(&Index::Cluster(cluster.clone()))
    }

    /// The Topics that claim a name in Kafka.
    #[must_use]
    pub fn topics_named(&self, cluster: &Key, kafka_name: &str) -> Vec<Arc<Topic>> {
        self.0
            .topics
            .by(&Index::Named(cluster.clone(), kafka_name.to_owned()))
    }

    /// The Topics of a namespace.
    #[must_use]
    pub fn topics_in(&self, namespace: &str) -> Vec<Arc<Topic>> {
        self.0.topics.within(namespace)
    }

    /// All Users.
    #[must_use]
    pub fn users(&self) -> Vec<Arc<User>> {
        self.0.users.all()
    }

    /// One User.
    #[must_use]
    pub fn user(&self, key: &Key) -> Option<Arc<User>> {
        self.0.users.get(key)
    }

    /// The Users that name a Cluster.
    #[must_use]
    pub fn users_of(&self, cluster: &Key) -> Vec<Arc<User>> {
        self.0.users.by(&Index::Cluster(cluster.clone()))
    }

    /// The Users that claim a name in Kafka.
    #[must_use]
    pub fn users_named(&self, cluster: &Key, name: &str) -> Vec<Arc<User>> {
        self.0.users.by(&Index::Named(cluster.clone(), name.to_owned()))
    }

    /// The Users of a namespace.
    #[must_use]
    pub fn users_in(&self, namespace: &str) -> Vec<Arc<User>> {
        self.0.users.within(namespace)
    }

    /// The Users that write a Secret, or take their password or their certificate from it.
    #[must_use]
    pub fn users_with_secret(&self, secret: &Key) -> Vec<Arc<User>> {
        self.0.users.by(&Index::Secret(secret.clone()))
    }

    /// What belongs to a Cluster, by label and namespace; not the Secrets of its Users.
    #[must_use]
    pub fn owned<K: Owned>(&self, cluster: &Key) -> Vec<Arc<K>> {
        K::store(&self.0).by(&Index::Cluster(cluster.clone()))
    }

    /// One object that carries the label of a Cluster.
    #[must_use]
    pub fn labelled<K: Owned>(&self, key: &Key) -> Option<Arc<K>> {
        K::store(&self.0).get(key)
    }

    /// One Secret that carries the label of a Cluster, whole.
    #[must_use]
    pub fn secret(&self, key: &Key) -> Option<Arc<Secret>> {
        self.0.secrets.get(key)
    }

    /// Any Secret's name, uid, version and deletion.
    #[must_use]
    pub fn secret_metadata(&self, key: &Key) -> Option<Arc<PartialObjectMeta<Secret>>> {
        self.0.secret_metadata.get(key)
    }

    /// The nodes: their labels and addresses.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.0.nodes.all()
    }

    /// Whether what is in a namespace is known here.
    #[must_use]
    pub fn watches(&self, namespace: &str) -> bool {
        self.0.watched.is_empty() || self.0.watched.iter().any(|watched| watched == namespace)
    }

    /// The labels of a namespace, if it is there.
    #[must_use]
    pub fn namespace_labels(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        let found = self.0.namespaces.get(&Key::new("", namespace))?;
        Some(found.metadata.labels.clone().unwrap_or_default())
    }

    /// Whether a namespace is on its way out, or gone.
    #[must_use]
    pub fn namespace_terminating(&self, namespace: &str) -> bool {
        let found = self.0.namespaces.get(&Key::new("", namespace));
        found.is_none_or(|found| found.metadata.deletion_timestamp.is_some())
    }

    /// Reads an object from the API server itself: for what is not watched, or must not be stale.
    ///
    /// # Errors
    /// The API server refuses, or does not answer. An object that is not there is no error.
    pub async fn read<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, ReadError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.0.client.clone(), namespace);
        let failed = |message: String| ReadError {
            subject: format!("{} `{namespace}/{name}`", K::kind(&())),
            message,
        };
        match tokio::time::timeout(READ_TIMEOUT, api.get_opt(name)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(kube::Error::Api(status))) => Err(failed(status.message)),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("the API server did not answer".to_owned())),
        }
    }

    /// Reads a Secret that is not ours.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, ReadError> {
        self.read(namespace, name).await
    }

    /// The Clusters, Topics and Users that cannot be decoded, by kind.
    #[must_use]
    pub fn undecodable(&self) -> [(&'static str, BTreeMap<Key, Broken>); 3] {
        [
            ("Cluster", self.0.clusters.broken()),
            ("Topic", self.0.topics.broken()),
            ("User", self.0.users.broken()),
        ]
    }

    fn count(&self, metrics: &Metrics) {
        fn tally<'a>(conditions: impl Iterator<Item = &'a [Condition]>) -> [usize; 3] {
            let mut counts = [0; 3];
            for conditions in conditions {
                let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
                counts[match ready.map(|ready| ready.status.as_str()) {
                    Some("True") => 0,
                    Some("False") => 1,
                    _ => 2,
                }] += 1;
            }
            counts
        }
        macro_rules! tally_of {
            ($kind:literal, $store:ident) => {
                let all = self.0.$store.all();
                let conditions = all.iter().map(|object| {
                    object
                        .status
                        .as_ref()
                        .map_or(&[][..], |status| &status.conditions)
                });
                metrics.resources($kind, tally(conditions), self.0.$store.broken().len());
            };
        }
        tally_of!("Cluster", clusters);
        tally_of!("Topic", topics);
        tally_of!("User", users);
    }
}

/// A read that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{subject}: {message}")]
pub struct ReadError {
    subject: String,
    message: String,
}

/// The Cluster that a Topic names.
#[must_use]
pub fn cluster_of_topic(topic: &Topic) -> Key {
    let namespace = topic.spec.cluster.namespace.as_deref();
    Key::new(
        namespace.unwrap_or_else(|| namespace_of(&topic.metadata)),
        &topic.spec.cluster.name,
    )
}

/// The Cluster that a User names.
#[must_use]
pub fn cluster_of_user(user: &User) -> Key {
    let namespace = user.spec.cluster.namespace.as_deref();
    Key::new(
        namespace.unwrap_or_else(|| namespace_of(&user.metadata)),
        &user.spec.cluster.name,
    )
}

fn by_label<K: Resource>(object: &K) -> Vec<Index> {
    let labels = object.meta().labels.as_ref();
    let cluster = labels.and_then(|labels| labels.get(CLUSTER_LABEL));
    cluster
        .map(|cluster| Index::Cluster(Key::new(namespace_of(object.meta()), cluster)))
        .into_iter()
        .collect()
}

fn owned_by_user(secret: &Secret) -> bool {
    let owners = secret.metadata.owner_references.as_deref().unwrap_or_default();
    owners
        .iter()
        .any(|owner| owner.kind == "User" && owner.api_version.starts_with(flotilla_crds::GROUP))
}
