//! The only file that writes to Kubernetes. By server-side apply under one field manager, and nothing is sent when what is asked for
//! is already so: a converged reconcile is silent.

mod compare;
mod error;
mod memory;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, NamespaceResourceScope};
use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use error::Error;

use crate::cluster::MANAGER;
use crate::metrics::Metrics;
use compare::{contains, digest, foreign, shape};
use memory::Memory;

/// What keeps a resource from vanishing before what it made outside Kubernetes is undone.
pub const FINALIZER: &str = "flotilla.dev/finalizer";
/// What was applied last, as a digest of its fields without their values: so that a field which is no longer asked for is noticed.
pub const APPLIED_ANNOTATION: &str = "flotilla.dev/applied";

/// How long the API server may take to answer a write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a change of finalizers is tried when others write at the same time.
const FINALIZER_ATTEMPTS: usize = 5;
/// The API server takes no longer note of an event.
const EVENT_NOTE_BYTES_MAX: usize = 1_000;

/// Whether an event is good news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// It is.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Writes to Kubernetes.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    /// Who reports events: this pod.
    instance: Arc<str>,
    metrics: Metrics,
    memory: Arc<Mutex<Memory>>,
}

impl Writer {
    /// A writer for the instance of the operator of this name.
    #[must_use]
    pub fn new(client: Client, instance: &str, metrics: Metrics) -> Self {
        Self {
            client,
            instance: instance.into(),
            metrics,
            memory: Arc::default(),
        }
    }

    /// Makes an object so, and answers with it as it now is. Nothing is sent when `live` is so already. Other managers of the fields that
    /// are named lose them; fields that are not named stay as they are, unless an earlier call named them. What belongs to somebody else is
    /// left alone.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is one that belongs to somebody else; the API server refuses it, or does not answer.
    pub async fn apply(&self, desired: &Value, live: Option<&Value>) -> Result<Value, Error> {
        let mut desired = desired.clone();
        mark(&mut desired);
        let wanted = digest(&desired);
        let subject = subject(&desired)?;
        let found = match live {
            Some(_) => None,
            // What is not in a cache may be there all the same: heard of later, or not ours.
            None => self
                .read(&subject, self.api(&subject).get_opt(&subject.name))
                .await?
                .map(|found| json_of(&found)),
        };
        let live = live.or(found.as_ref());
        if let Some(whose) = live.and_then(|live| foreign(&desired, live)) {
            return Err(Error::Exists(format!("{} {whose}", subject.said())));
        }
        if let Some(live) = live
            && (contains(&desired, live)
                || self
                    .memory
                    .lock()
                    .applied_already(&subject, &wanted, &desired, live))
        {
            return Ok(live.clone());
        }
        let params = PatchParams::apply(MANAGER).force();
        let applied = self.patch(&subject, &params, &desired).await?;
        self.memory.lock().applied(&subject, wanted, &desired, &applied);
        Ok(applied)
    }

    /// Makes an object that is not there.
    ///
    /// # Errors
    /// [`Error::Exists`] if it is there, or as [`Self::apply`].
    pub async fn create(&self, object: &Value) -> Result<Value, Error> {
        let mut object = object.clone();
        mark(&mut object);
        let subject = subject(&object)?;
        let typed: DynamicObject = serde_json::from_value(object)
            .map_err(|error| Error::Invalid(format!("{}: {error}", subject.said())))?;
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let api = self.api(&subject);
        let made = self.send("create", &subject, api.create(&params, &typed)).await?;
        Ok(json_of(&made))
    }

    /// Asks the API server whether it would take an object, strictly: fields that it does not know are refused.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the API server's words, or as [`Self::apply`].
    pub async fn dry_run(&self, object: &Value) -> Result<Value, Error> {
        let subject = subject(object)?;
        let params = PatchParams::apply(MANAGER).force().dry_run().validation_strict();
        self.patch(&subject, &params, object).await
    }

    /// Merges fields into an object that is there (RFC 7386): for the entries of a map of which several write, where server-side apply would
    /// drop the others'.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is not there, or as [`Self::apply`].
    pub async fn merge(
        &self,
        kind: &ApiResource,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, Error> {
        let subject = Subject {
            resource: kind.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api = self.api(&subject);
        let patch = Patch::Merge(patch);
        let merged = self
            .send("patch", &subject, api.patch(name, &params, &patch))
            .await?;
        Ok(json_of(&merged))
    }

    /// Deletes the object that has this uid, its dependents after it. Answers whether there was one.
    ///
    /// # Errors
    /// [`Error::Conflict`] when another object has the name by now.
    pub async fn delete(
        &self,
        kind: &ApiResource,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<bool, Error> {
        self.delete_with(kind, namespace, name, uid, DeleteParams::background())
            .await
    }

    /// As [`Self::delete`], but what it owns stays: to replace a StatefulSet below its pods.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub async fn orphan(
        &self,
        kind: &ApiResource,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<bool, Error> {
        self.delete_with(kind, namespace, name, uid, DeleteParams::orphan())
            .await
    }

    async fn delete_with(
        &self,
        kind: &ApiResource,
        namespace: &str,
        name: &str,
        uid: &str,
        params: DeleteParams,
    ) -> Result<bool, Error> {
        let subject = Subject {
            resource: kind.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let params = params.preconditions(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        });
        self.memory.lock().forget(&subject);
        let api = self.api(&subject);
        match self.send("delete", &subject, api.delete(name, &params)).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes the status of an object, unless it is so already. Answers whether anything was sent.
    ///
    /// # Errors
    /// As [`Self::apply`]; [`Error::NotFound`] when the object is gone, [`Error::Conflict`] when another has its name.
    pub async fn status<K, S>(&self, object: &K, status: &S) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize,
        S: Serialize,
    {
        let status = compare::without_empty(json_of(status));
        let current = compare::without_empty(json_of(object)["status"].take());
        let subject = Subject::of(object);
        let version = object.meta().resource_version.as_deref();
        if current == status || self.memory.lock().reported_already(&subject, version, &status) {
            return Ok(false);
        }
        let patch = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": subject.name, "namespace": subject.namespace},
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        let api = self.api(&subject);
        let patch = Patch::Apply(&patch);
        let written = self
            .send(
                "patch",
                &subject,
                api.patch_status(&subject.name, &params, &patch),
            )
            .await?;
        if written.metadata.uid != object.meta().uid {
            // It is mended by the next look at its successor, which this error brings about.
            return Err(Error::Conflict(format!(
                "{} is gone; another has its name",
                subject.said()
            )));
        }
        self.memory
            .lock()
            .reported(&subject, written.metadata.resource_version.as_deref(), &status);
        Ok(true)
    }

    /// Adds our finalizer, unless it is there. Answers whether anything was sent.
    ///
    /// # Errors
    /// As [`Self::apply`]; [`Error::NotFound`] when the object is gone.
    pub async fn add_finalizer<K>(&self, object: &K) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.set_finalizer(object, true).await
    }

    /// Takes our finalizer away, unless it is not there. Answers whether anything was sent. An object that is gone has none.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn remove_finalizer<K>(&self, object: &K) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self.set_finalizer(object, false).await {
            Err(Error::NotFound(_)) => Ok(false),
            other => other,
        }
    }

    /// A merge patch of the whole list under the version that it was read at: server-side apply could not take away a finalizer that somebody
    /// else wrote too, which is what tools for backups do.
    async fn set_finalizer<K>(&self, object: &K, present: bool) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let subject = Subject::of(object);
        let api = self.api(&subject);
        let mut metadata: ObjectMeta = object.meta().clone();
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        for attempt in 1.. {
            let mut finalizers = metadata.finalizers.clone().unwrap_or_default();
            if finalizers.iter().any(|finalizer| finalizer == FINALIZER) == present {
                return Ok(false);
            }
            if present {
                if metadata.deletion_timestamp.is_some() {
                    return Err(Error::Conflict(format!("{} is being deleted", subject.said())));
                }
                finalizers.push(FINALIZER.to_owned());
            } else {
                finalizers.retain(|finalizer| finalizer != FINALIZER);
            }
            let patch = json!({"metadata": {
                "uid": metadata.uid,
                "resourceVersion": metadata.resource_version,
                "finalizers": finalizers,
            }});
            let patch = Patch::Merge(&patch);
            match self
                .send(
                    "patch",
                    &subject,
                    api.patch_metadata(&subject.name, &params, &patch),
                )
                .await
            {
                Ok(_) => return Ok(true),
                Err(Error::Conflict(message)) => {
                    let fresh = self.read(&subject, api.get_metadata(&subject.name)).await?;
                    if fresh.metadata.uid != object.meta().uid {
                        return Err(Error::NotFound(format!(
                            "{} is gone; another has its name",
                            subject.said()
                        )));
                    }
                    if attempt >= FINALIZER_ATTEMPTS {
                        return Err(Error::Conflict(message));
                    }
                    metadata = fresh.metadata;
                }
                Err(error) => return Err(error),
            }
        }
        unreachable!("the attempts end with an answer")
    }

    /// Says something about an object, for `kubectl describe`. The same again within a while is not said again. A failure is only logged:
    /// events are lost in a namespace that is terminating, for one.
    pub async fn event(
        &self,
        about: &ObjectReference,
        type_: EventType,
        reason: &str,
        action: &str,
        message: &str,
    ) {
        if !self.memory.lock().news(about, reason, action, message) {
            return;
        }
        let namespace = about
            .namespace
            .clone()
            .unwrap_or_else(|| crate::DEFAULT_NAMESPACE.to_owned());
        let subject = Subject {
            resource: ApiResource::erase::<Event>(&()),
            namespace: namespace.clone(),
            name: about.name.clone().unwrap_or_default(),
        };
        let event = Event {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-", subject.name)),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(k8s_openapi::jiff::Timestamp::now())),
            type_: Some(format!("{type_:?}")),
            reason: Some(reason.to_owned()),
            action: Some(action.to_owned()),
            note: Some(cut(message, EVENT_NOTE_BYTES_MAX).to_owned()),
            regarding: Some(about.clone()),
            reporting_controller: Some(format!("{}/{MANAGER}", flotilla_crds::GROUP)),
            reporting_instance: Some(self.instance.to_string()),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let params = PostParams::default();
        if let Err(error) = self.send("create", &subject, api.create(&params, &event)).await {
            tracing::debug!(%error, reason, "an event was lost");
        }
    }

    /// Makes a lease, or replaces it if nobody wrote it since it was read.
    ///
    /// # Errors
    /// [`Error::Conflict`] or [`Error::Exists`] when somebody did.
    pub(crate) async fn lease(&self, lease: &Lease) -> Result<Lease, Error> {
        let subject = Subject::of(lease);
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &subject.namespace);
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        if lease.metadata.resource_version.is_none() {
            return self.send("create", &subject, api.create(&params, lease)).await;
        }
        self.send("update", &subject, api.replace(&subject.name, &params, lease))
            .await
    }

    async fn patch(&self, subject: &Subject, params: &PatchParams, body: &Value) -> Result<Value, Error> {
        let api = self.api(subject);
        let patch = Patch::Apply(body);
        let patched = self
            .send("patch", subject, api.patch(&subject.name, params, &patch))
            .await?;
        Ok(json_of(&patched))
    }

    fn api(&self, subject: &Subject) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &subject.namespace, &subject.resource)
    }

    async fn send<T>(
        &self,
        verb: &'static str,
        subject: &Subject,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        let answer = self.read(subject, request).await;
        self.metrics.written(verb, &subject.resource.kind, answer.is_ok());
        tracing::debug!(
            verb,
            object = %subject.said(),
            error = answer.as_ref().err().map(tracing::field::display),
            "written"
        );
        answer
    }

    async fn read<T>(
        &self,
        subject: &Subject,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(WRITE_TIMEOUT, request).await {
            Ok(answer) => answer.map_err(|error| Error::of(&subject.said(), error)),
            Err(_) => Err(Error::Other(format!(
                "{}: the API server did not answer within {} s",
                subject.said(),
                WRITE_TIMEOUT.as_secs()
            ))),
        }
    }
}

/// What is written to.
#[derive(Clone, Debug, PartialEq)]
struct Subject {
    resource: ApiResource,
    namespace: String,
    name: String,
}

impl Subject {
    fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self {
            resource: ApiResource::erase::<K>(&()),
            namespace: object
                .namespace()
                .unwrap_or_else(|| crate::DEFAULT_NAMESPACE.to_owned()),
            name: object.name_any(),
        }
    }

    /// For messages.
    fn said(&self) -> String {
        format!("{} `{}/{}`", self.resource.kind, self.namespace, self.name)
    }
}

fn subject(object: &Value) -> Result<Subject, Error> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let found = || {
        let api_version = text(&object["apiVersion"])?;
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
        let kind = GroupVersionKind::gvk(group, version, object["kind"].as_str()?);
        Some(Subject {
            resource: ApiResource::from_gvk(&kind),
            namespace: text(&object["metadata"]["namespace"])?,
            name: text(&object["metadata"]["name"])?,
        })
    };
    found().ok_or_else(|| {
        Error::Invalid("an object needs apiVersion, kind, metadata.namespace and metadata.name".into())
    })
}

fn mark(object: &mut Value) {
    let mut bare = object.clone();
    // The version that a write is conditional on is not part of what is asked for.
    if let Some(metadata) = bare["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    let shape = shape(&bare);
    object["metadata"]["annotations"][APPLIED_ANNOTATION] = shape.into();
}

fn json_of<T: Serialize>(object: &T) -> Value {
    serde_json::to_value(object).expect("an object of Kubernetes is JSON")
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// An object as it is compared with what is asked for: as JSON.
#[must_use]
pub fn live<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Value {
    let mut live = json_of(object);
    // Objects from lists leave their kind out.
    live["apiVersion"] = K::api_version(&()).into();
    live["kind"] = K::kind(&()).into();
    live
}

/// What an event about an object refers to.
#[must_use]
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    object.object_ref(&())
}

/// A kind that the writer deletes.
#[must_use]
pub fn kind<K: Resource<DynamicType = ()> + Debug + DeserializeOwned>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_is_read_from_any_object() {
        let object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "streaming", "name": "events"},
        });
        let found = subject(&object).unwrap();
        assert_eq!(found.said(), "NetworkPolicy `streaming/events`");
        assert_eq!(found.resource.plural, "networkpolicies");
        assert_eq!(found.resource.group, "networking.k8s.io");
        let core =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "a", "name": "b"}});
        assert_eq!(subject(&core).unwrap().resource.api_version, "v1");
        assert!(matches!(
            subject(&json!({"kind": "ConfigMap"})),
            Err(Error::Invalid(_))
        ));
    }

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(cut("aä", 2), "a");
        assert_eq!(cut("aä", 3), "aä");
        assert_eq!(cut("", 3), "");
    }
}
