//! What the API server itself makes of the three resources: what it refuses, and that it adds nothing.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use flotilla_crds::{GROUP, VERSION};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind, Request};
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::refusals::{Refusal, table};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// An API server that knows the three resources, applied as `kubectl apply` does by default: with a copy in an annotation.
pub fn plane() -> &'static ControlPlane {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let plane = ControlPlane::shared();
    INSTALLED.get_or_init(|| {
        for file in ["cluster", "topic", "user"] {
            let path = root().join(format!("crds/{file}.yaml"));
            plane.kubectl(&["apply", "-f", &path.display().to_string()]);
        }
        plane.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]);
    });
    plane
}

fn api(client: &kube::Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

fn object(kind: &str, name: &str, spec: &Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": kind, "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap()
}

/// What the API server says to it, or nothing. Unknown fields are errors, as they are for `kubectl`.
async fn said(client: &kube::Client, namespace: &str, refusal: &Refusal) -> Option<String> {
    let api = api(client, refusal.kind, namespace);
    let mut wanted = object(refusal.kind, refusal.name, &refusal.spec);
    let requests = Request::new(api.resource_url());
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let mut request = match &refusal.before {
        None => requests.create(&dry, serde_json::to_vec(&wanted).unwrap()),
        Some((spec, status)) => {
            let before = object(refusal.kind, refusal.name, spec);
            let mut made = api.create(&PostParams::default(), &before).await.unwrap();
            if !status.is_null() {
                let patch = Patch::Merge(json!({"status": status}));
                made = api
                    .patch_status(refusal.name, &PatchParams::default(), &patch)
                    .await
                    .unwrap();
            }
            wanted.metadata.resource_version = made.metadata.resource_version;
            requests.replace(refusal.name, &dry, serde_json::to_vec(&wanted).unwrap())
        }
    }
    .unwrap();
    *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri())
        .parse()
        .unwrap();
    let answer = client.request::<DynamicObject>(request).await;
    if refusal.before.is_some() {
        api.delete(refusal.name, &Default::default()).await.unwrap();
    }
    answer.err().map(|error| error.to_string())
}

#[tokio::test]
async fn bad_resources_are_refused_with_what_to_do() {
    let plane = plane();
    plane.kubectl(&["create", "namespace", "refused"]);
    let client = plane.client().await;
    let table = table();
    assert!(table.len() >= 60);
    let mut wrong = Vec::new();
    for refusal in &table {
        let said = said(&client, "refused", refusal).await;
        if !said.as_deref().is_some_and(|said| said.contains(refusal.said)) {
            wrong.push(format!(
                "{} {}: expected `{}`, got {said:?}",
                refusal.kind, refusal.spec, refusal.said
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn good_changes_are_taken() {
    let plane = plane();
    plane.kubectl(&["create", "namespace", "taken"]);
    let client = plane.client().await;
    let of = json!({"name": "events"});
    for (kind, before, status, after) in [
        // Named as it is called anyway.
        (
            "Topic",
            json!({"cluster": of}),
            json!({}),
            json!({"cluster": of, "name": "it"}),
        ),
        (
            "Topic",
            json!({"cluster": of, "partitions": 3}),
            json!({"partitions": 3}),
            json!({"cluster": of, "partitions": 4}),
        ),
        // A client let the topic grow further than the resource says: other fields can still change.
        (
            "Topic",
            json!({"cluster": of, "partitions": 3}),
            json!({"partitions": 9}),
            json!({"cluster": of, "partitions": 3, "replicas": 2}),
        ),
        (
            "Cluster",
            json!({"pools": [{"name": "main", "volumes": [{"name": "data", "size": "1Gi"}]}]}),
            json!({}),
            json!({"pools": [{"name": "main", "volumes": [{"name": "data", "size": "1.5Gi"}]}]}),
        ),
        (
            "Cluster",
            json!({"replicas": 3, "coordinators": 3}),
            json!({}),
            json!({"replicas": 5, "coordinators": 3, "paused": true, "pools": [
                {"name": "main", "resources": {"limits": {"cpu": 2, "memory": "1Gi"}}, "template": {"spec": {"priorityClassName": "high"}}},
            ]}),
        ),
        (
            "User",
            json!({"cluster": of, "authentication": {"type": "scram-sha-512"}}),
            json!({}),
            json!({"cluster": of, "authentication": {"type": "mtls"}, "authorization": {"acls": [
                {"resource": {"type": "cluster"}, "operations": ["IdempotentWrite"], "host": "fd00::1", "permission": "Deny"},
                {"resource": {"type": "transactionalId", "name": "*"}, "operations": ["All"]},
            ]}}),
        ),
    ] {
        let change = Refusal {
            kind,
            name: "it",
            before: Some((before, status)),
            spec: after,
            said: "",
        };
        assert_eq!(said(&client, "taken", &change).await, None, "{}", change.spec);
    }
}

/// What was applied is what is there, to the letter: nothing is filled in, and numbers and booleans stay what they were.
#[test]
fn examples_are_taken_as_they_are_and_do_not_differ_afterwards() {
    let plane = plane();
    for file in [
        "tls-scram",
        "application",
        "mutual-tls",
        "node-port",
        "pools-and-racks",
        "team-namespace",
    ] {
        let path = root().join(format!("examples/kubernetes/{file}.yaml"));
        let path = path.display().to_string();
        plane.kubectl(&["create", "namespace", file]);
        plane.try_kubectl(&["create", "namespace", "streaming"]);
        plane.kubectl(&["apply", "--server-side", "-f", &path]);
        assert_eq!(
            plane.kubectl(&["diff", "--server-side", "-f", &path]),
            "",
            "{file}"
        );
    }
    let spec = |kind: &str, name: &str| -> Value {
        let text = plane.kubectl(&["get", kind, name, "-n", "streaming", "-o", "jsonpath={.spec}"]);
        serde_json::from_str(&text).unwrap()
    };
    assert_eq!(
        spec("clusters.flotilla.dev", "events"),
        json!({
            "replicas": 3,
            "rackTopologyKey": "topology.kubernetes.io/zone",
            "listeners": [{"name": "internal", "port": 9092, "tls": true, "authentication": ["scram-sha-512"]}],
            "authorization": {"type": "acl", "superUsers": ["admin"]},
            "config": {"min.insync.replicas": 2, "default.replication.factor": 3, "auto.create.topics.enable": false},
        })
    );
    let listed = plane.kubectl(&["get", "flotilla", "-n", "streaming"]);
    for words in [
        "NAME                           BROKERS   VERSION   READY   REASON   AGE",
        "cluster.flotilla.dev/events",
        "topic.flotilla.dev/orders",
        "user.flotilla.dev/checkout",
    ] {
        assert!(listed.contains(words), "{words}: {listed}");
    }
    plane.kubectl(&["scale", "fc/events", "--replicas=5", "-n", "streaming"]);
    assert_eq!(spec("clusters.flotilla.dev", "events")["replicas"], 5);
}
