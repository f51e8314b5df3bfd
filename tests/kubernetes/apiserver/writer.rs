//! What the operator sends when it writes, and what it does not.

use flotilla_crds::{Topic, TopicStatus};
use flotilla_operator::apply::{Error, EventType, FINALIZER, Writer, kind, live, reference};
use flotilla_operator::metrics::Metrics;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::admission::plane;

/// A namespace of a test's own, a client, and a writer.
struct Place {
    namespace: &'static str,
    client: kube::Client,
    writer: Writer,
}

impl Place {
    async fn new(namespace: &'static str) -> Self {
        plane().kubectl(&["create", "namespace", namespace]);
        let client = plane().client().await;
        let writer = Writer::new(client.clone(), "test", Metrics::new());
        Self {
            namespace,
            client,
            writer,
        }
    }

    /// How many requests that write this namespace has seen.
    fn writes(&self) -> usize {
        let writing =
            |entry: &&Value| entry["objectRef"]["namespace"] == self.namespace && entry["verb"] != "get";
        plane().audit().iter().filter(writing).count()
    }

    fn api<K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    fn config_map(&self, data: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": self.namespace, "name": "it", "labels": {"app.kubernetes.io/managed-by": "flotilla-operator"}},
            "data": data,
        })
    }

    async fn topic(&self, name: &str) -> Topic {
        let topic = json!({
            "apiVersion": "flotilla.dev/v1alpha1", "kind": "Topic", "metadata": {"name": name}, "spec": {"cluster": {"name": "events"}},
        });
        let topic: Topic = serde_json::from_value(topic).unwrap();
        self.api().create(&PostParams::default(), &topic).await.unwrap()
    }
}

#[tokio::test]
async fn what_is_so_already_is_not_sent() {
    let place = Place::new("writer-silent").await;
    let desired = place.config_map(json!({"a": "1", "b": "2"}));
    place.writer.apply(&desired, None).await.unwrap();
    let found = live(&place.api::<ConfigMap>().get("it").await.unwrap());
    let before = place.writes();
    for _ in 0..3 {
        place.writer.apply(&desired, Some(&found)).await.unwrap();
        place.writer.apply(&desired, None).await.unwrap();
    }
    // A writer that remembers nothing, as after a restart, sees it too.
    let fresh = Writer::new(place.client.clone(), "another", Metrics::new());
    fresh.apply(&desired, Some(&found)).await.unwrap();
    assert_eq!(place.writes(), before);
    // A field that is no longer asked for goes, though all that is asked for is there.
    let fewer = place.config_map(json!({"a": "1"}));
    let written = fresh.apply(&fewer, Some(&found)).await.unwrap();
    assert_eq!(written["data"], json!({"a": "1"}));
    assert_eq!(place.writes(), before + 1);
}

#[tokio::test]
async fn value_that_the_api_server_writes_in_its_own_way_is_sent_once() {
    let place = Place::new("writer-normal").await;
    let desired = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"namespace": place.namespace, "name": "it"},
        "spec": {
            "serviceName": "it", "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "it", "image": "it", "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}}}]},
            },
        },
    });
    place.writer.apply(&desired, None).await.unwrap();
    let found = live(&place.api::<StatefulSet>().get("it").await.unwrap());
    let container = &found["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["resources"]["requests"],
        json!({"cpu": "1", "memory": "1Gi"})
    );
    let before = place.writes();
    place.writer.apply(&desired, Some(&found)).await.unwrap();
    assert_eq!(place.writes(), before);
}

#[tokio::test]
async fn what_another_manager_changed_is_put_back_and_what_it_added_stays() {
    let place = Place::new("writer-conflict").await;
    let desired = place.config_map(json!({"a": "1"}));
    place.writer.apply(&desired, None).await.unwrap();
    let theirs = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "it", "labels": {"team": "x"}}, "data": {"a": "2", "theirs": "3"},
    });
    let params = PatchParams::apply("somebody").force();
    let found = place
        .api::<ConfigMap>()
        .patch("it", &params, &Patch::Apply(theirs))
        .await
        .unwrap();
    let written = place.writer.apply(&desired, Some(&live(&found))).await.unwrap();
    assert_eq!(written["data"], json!({"a": "1", "theirs": "3"}));
    assert_eq!(written["metadata"]["labels"]["team"], "x");
}

#[tokio::test]
async fn what_is_somebody_elses_is_left_alone() {
    let place = Place::new("writer-foreign").await;
    let theirs: Secret =
        serde_json::from_value(json!({"metadata": {"name": "checkout"}, "stringData": {"mine": "1"}}))
            .unwrap();
    place.api().create(&PostParams::default(), &theirs).await.unwrap();
    let before = place.writes();
    let desired = json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": {"password": "x"},
        "metadata": {"namespace": place.namespace, "name": "checkout", "ownerReferences": [{
            "apiVersion": "flotilla.dev/v1alpha1", "kind": "User", "name": "checkout", "uid": "1", "controller": true,
        }]},
    });
    let refused = place.writer.apply(&desired, None).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Exists(said) if said.contains("is there already")),
        "{refused}"
    );
    let refused = place.writer.create(&desired).await.unwrap_err();
    assert!(matches!(refused, Error::Exists(_)), "{refused}");
    // The create was sent, and refused by the API server.
    assert_eq!(place.writes(), before + 1);
    let found: Secret = place.api().get("checkout").await.unwrap();
    assert_eq!(found.data.unwrap().into_keys().collect::<Vec<_>>(), ["mine"]);
}

#[tokio::test]
async fn status_is_sent_when_it_says_something_new_and_is_ours_alone() {
    let place = Place::new("writer-status").await;
    let topic = place.topic("it").await;
    let said = |partitions| TopicStatus {
        partitions: Some(partitions),
        topic_name: Some("it".into()),
        ..TopicStatus::default()
    };
    let before = place.writes();
    assert!(place.writer.status(&topic, &said(3)).await.unwrap());
    // From the object as it was read before: what was written is remembered.
    assert!(!place.writer.status(&topic, &said(3)).await.unwrap());
    let fresh: Topic = place.api().get("it").await.unwrap();
    assert_eq!(fresh.status, Some(said(3)));
    assert!(!place.writer.status(&fresh, &said(3)).await.unwrap());
    assert_eq!(place.writes(), before + 1);
    // What the next status leaves out goes.
    let less = TopicStatus {
        partitions: Some(4),
        ..TopicStatus::default()
    };
    assert!(place.writer.status(&fresh, &less).await.unwrap());
    assert_eq!(
        place.api::<Topic>().get("it").await.unwrap().status,
        Some(less.clone())
    );
    // Its successor is not spoken of.
    place
        .api::<Topic>()
        .delete("it", &Default::default())
        .await
        .unwrap();
    place.topic("it").await;
    let refused = place.writer.status(&fresh, &said(5)).await.unwrap_err();
    assert!(matches!(refused, Error::Conflict(_)), "{refused}");
}

#[tokio::test]
async fn finalizer_is_added_and_taken_away_once_whatever_others_write_meanwhile() {
    let place = Place::new("writer-finalizer").await;
    let stale = place.topic("it").await;
    let params = PatchParams::default();
    let theirs =
        Patch::Merge(json!({"metadata": {"finalizers": ["theirs.example/x"], "labels": {"a": "b"}}}));
    place.api::<Topic>().patch("it", &params, &theirs).await.unwrap();
    assert!(place.writer.add_finalizer(&stale).await.unwrap());
    let fresh: Topic = place.api().get("it").await.unwrap();
    assert_eq!(
        fresh.metadata.finalizers.as_deref().unwrap(),
        ["theirs.example/x", FINALIZER]
    );
    let before = place.writes();
    assert!(!place.writer.add_finalizer(&fresh).await.unwrap());
    assert_eq!(place.writes(), before);

    place
        .api::<Topic>()
        .delete("it", &Default::default())
        .await
        .unwrap();
    assert!(place.writer.remove_finalizer(&fresh).await.unwrap());
    let left: Topic = place.api().get("it").await.unwrap();
    assert_eq!(left.metadata.finalizers.as_deref().unwrap(), ["theirs.example/x"]);
    assert!(!place.writer.remove_finalizer(&left).await.unwrap());
    let refused = place.writer.add_finalizer(&left).await.unwrap_err();
    assert!(
        matches!(refused, Error::Conflict(_)),
        "none is added to what is on its way out: {refused}"
    );
    place
        .api::<Topic>()
        .patch(
            "it",
            &params,
            &Patch::Merge(json!({"metadata": {"finalizers": null}})),
        )
        .await
        .unwrap();
    assert!(
        !place.writer.remove_finalizer(&fresh).await.unwrap(),
        "what is gone has none"
    );
}

#[tokio::test]
async fn deletion_takes_the_object_that_was_meant_and_no_other() {
    let place = Place::new("writer-delete").await;
    let desired = place.config_map(json!({"a": "1"}));
    let made = place.writer.apply(&desired, None).await.unwrap();
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let kind = kind::<ConfigMap>();
    let refused = place
        .writer
        .delete(&kind, place.namespace, "it", "another")
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Conflict(_)), "{refused}");
    assert!(
        place
            .writer
            .delete(&kind, place.namespace, "it", uid)
            .await
            .unwrap()
    );
    assert!(
        !place
            .writer
            .delete(&kind, place.namespace, "it", uid)
            .await
            .unwrap()
    );
    let missing = place
        .writer
        .merge(&kind, place.namespace, "it", &json!({"data": {"b": "1"}}))
        .await
        .unwrap_err();
    assert!(matches!(missing, Error::NotFound(_)), "{missing}");
    place.writer.create(&desired).await.unwrap();
    let exists = place.writer.create(&desired).await.unwrap_err();
    assert!(matches!(exists, Error::Exists(_)), "{exists}");
}

#[tokio::test]
async fn dry_run_refuses_what_the_api_server_does_not_know_and_makes_nothing() {
    let place = Place::new("writer-dry").await;
    let mut desired = place.config_map(json!({"a": "1"}));
    place.writer.dry_run(&desired).await.unwrap();
    desired["dta"] = json!({"a": "1"});
    let refused = place.writer.dry_run(&desired).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Invalid(said) if said.contains("dta")),
        "{refused}"
    );
    assert!(place.api::<ConfigMap>().get_opt("it").await.unwrap().is_none());
}

#[tokio::test]
async fn event_that_says_the_same_is_said_once() {
    let place = Place::new("writer-event").await;
    let about = reference(&place.topic("it").await);
    for _ in 0..3 {
        place
            .writer
            .event(&about, EventType::Warning, "Conflict", "Apply", "another owns it")
            .await;
    }
    place
        .writer
        .event(
            &about,
            EventType::Normal,
            "Available",
            "Apply",
            &"long ".repeat(500),
        )
        .await;
    let events = place.api::<Event>().list(&ListParams::default()).await.unwrap();
    let mut said: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.type_.clone().unwrap(),
                event.reason.clone().unwrap(),
                event.note.clone().unwrap().len(),
            )
        })
        .collect();
    said.sort();
    assert_eq!(
        said,
        [
            ("Normal".into(), "Available".into(), 1_000),
            ("Warning".into(), "Conflict".into(), 15)
        ]
    );
    let described = plane().kubectl(&["describe", "topic", "it", "-n", place.namespace]);
    assert!(described.contains("another owns it"), "{described}");
}
