//! The operator at work where no pod ever runs: what it makes, says, leaves alone and lets go.

use std::collections::BTreeMap;
use std::time::Duration;

use flotilla_crds::Cluster;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::admission::plane;
use crate::control_plane::ControlPlane;
use crate::operator::{
    Operator, account, apply, condition, definitions, eventually, get, list, quiet, writes,
};
use crate::wrong_clusters::{says_what_is_wrong, wrong_clusters};

/// Everything that a Cluster makes.
const MADE: &str = "statefulsets,services,configmaps,secrets,poddisruptionbudgets,networkpolicies,ingresses";

fn cluster(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "flotilla.dev/v1alpha1", "kind": "Cluster", "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "replicas": 3,
            "listeners": [{"name": "internal", "port": 9092, "tls": true, "authentication": ["scram-sha-512"]}],
            "authorization": {"type": "acl", "superUsers": ["admin"]},
            "config": {"min.insync.replicas": 2},
        },
    })
}

fn of_cluster(kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["cluster"] = json!({"name": "events"});
    json!({
        "apiVersion": "flotilla.dev/v1alpha1", "kind": kind, "metadata": {"namespace": namespace, "name": name}, "spec": spec,
    })
}

fn manifests(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("---\n{object}\n")).collect()
}

/// Puts another specification in the place of a resource's, as `kubectl replace` does; its generation then, or `None` if it is refused.
fn replace(plane: &ControlPlane, resource: &Value, spec: &Value) -> Option<Value> {
    let metadata = &resource["metadata"];
    let wanted = json!({
        "apiVersion": resource["apiVersion"], "kind": resource["kind"], "spec": spec,
        "metadata": {"namespace": metadata["namespace"], "name": metadata["name"]},
    });
    let (answer, why) = loop {
        let answer = plane.kubectl_with_input(&["replace", "-f", "-", "-o", "json"], &wanted.to_string());
        let why = String::from_utf8_lossy(&answer.stderr).into_owned();
        // The operator wrote a status between kubectl's reading and its writing: whoever replaces begins again, then.
        if !why.contains("(Conflict)") {
            break (answer, why);
        }
    };
    if answer.status.success() {
        let replaced: Value = serde_json::from_slice(&answer.stdout).unwrap();
        return Some(replaced["metadata"]["generation"].clone());
    }
    assert!(
        why.contains("is invalid") || why.contains("strict decoding error"),
        "{why}"
    );
    None
}

/// The version of every object that was made.
fn versions(plane: &ControlPlane, namespace: &str) -> BTreeMap<String, Value> {
    list(plane, MADE, namespace)
        .into_iter()
        .map(|object| {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            (name, object["metadata"]["resourceVersion"].clone())
        })
        .collect()
}

#[tokio::test]
async fn bad_specifications_leave_what_runs_untouched_and_others_are_served() {
    let plane = plane();
    let operator = Operator::serving(plane, &["untouched"]);
    apply(
        plane,
        &manifests(&[cluster("untouched", "events"), cluster("untouched", "other")]),
    );
    for name in ["events-main", "other-main"] {
        eventually("the StatefulSets are there", || {
            get(plane, "statefulset", "untouched", name)
        });
    }
    quiet(plane, &account(&["untouched"]), Duration::from_secs(2));
    let before = versions(plane, "untouched");
    let api: Api<Cluster> = Api::namespaced(plane.client().await, "untouched");
    let good = serde_json::to_value(api.get("events").await.unwrap()).unwrap();
    let table = wrong_clusters(&good["spec"]);
    assert!(table.len() >= 30);
    let mut stalled = 0;
    for wrong in &table {
        let what = &wrong.what;
        let Some(generation) = replace(plane, &good, &wrong.spec) else {
            // `kubectl` says why.
            continue;
        };
        stalled += 1;
        eventually(&format!("it is said what is wrong with {what}"), || {
            let found = get(plane, "cluster.flotilla.dev", "untouched", "events")?;
            says_what_is_wrong(&found, &generation)
        });
        assert_eq!(versions(plane, "untouched"), before, "{what}");
        assert!(replace(plane, &good, &good["spec"]).is_some(), "{what}");
    }
    assert!(
        (5..table.len()).contains(&stalled),
        "{stalled} of {} were for the operator to find, and the others for the API server",
        table.len()
    );

    // While one is bad, another is served.
    let params = PatchParams::default();
    let bad = Patch::Merge(json!({"spec": {"config": {"min.insync.replica": 2}}}));
    api.patch("events", &params, &bad).await.unwrap();
    let more = Patch::Merge(json!({"spec": {"listeners": [
        {"name": "internal", "port": 9092, "tls": true, "authentication": ["scram-sha-512"]}, {"name": "more", "port": 9095},
    ]}}));
    api.patch("other", &params, &more).await.unwrap();
    eventually("the other one gets its listener", || {
        get(plane, "service", "untouched", "other-more")
    });
    let metrics = operator.get("/metrics");
    assert!(
        metrics.contains("flotilla_operator_resources{kind=\"Cluster\",ready=\"False\"} 2"),
        "{metrics}"
    );
    assert!(!metrics.contains("result=\"panicked\""), "{metrics}");
}

#[test]
fn operator_that_has_nothing_to_do_writes_nothing_and_manifests_do_not_differ() {
    let plane = plane();
    let operator = Operator::serving(plane, &["idle"]);
    let user = json!({"authentication": {"type": "scram-sha-512"}, "authorization": {"acls": [
        {"resource": {"type": "topic", "name": "orders"}, "operations": ["Read"]},
    ]}});
    let applied = manifests(&[
        cluster("idle", "events"),
        of_cluster(
            "Topic",
            "idle",
            "orders",
            json!({"partitions": 3, "config": {"retention.ms": 1000}}),
        ),
        of_cluster("User", "idle", "checkout", user),
    ]);
    apply(plane, &applied);
    eventually("the StatefulSet is there", || {
        get(plane, "statefulset", "idle", "events-main")
    });
    for (kind, name) in [
        ("cluster.flotilla.dev", "events"),
        ("topic", "orders"),
        ("user.flotilla.dev", "checkout"),
    ] {
        let found = eventually("each says how it stands", || {
            get(plane, kind, "idle", name).filter(|found| condition(found, "Ready").is_some())
        });
        let ready = condition(&found, "Ready").unwrap();
        assert_ne!(ready["status"], "True", "no broker runs");
        assert_eq!(
            found["status"]["observedGeneration"],
            found["metadata"]["generation"]
        );
        assert_eq!(ready["observedGeneration"], found["metadata"]["generation"]);
        assert!(
            condition(&found, "Reconciling").is_some() != condition(&found, "Stalled").is_some(),
            "{found}"
        );
    }
    let account = account(&["idle"]);
    // Topics and Users give a fleet ten seconds before they call it unreachable.
    quiet(plane, &account, Duration::from_secs(13));
    let refused: Vec<Value> = plane
        .audit()
        .into_iter()
        .filter(|entry| {
            entry["impersonatedUser"]["username"] == account.as_str()
                && entry["responseStatus"]["code"] == 403
        })
        .collect();
    assert_eq!(refused, Vec::<Value>::new(), "the chart's rights are enough");
    let (before, made) = (writes(plane, &account).len(), versions(plane, "idle"));
    for flags in [&["diff", "-f", "-"][..], &["diff", "--server-side", "-f", "-"]] {
        let diff = plane.kubectl_with_input(flags, &applied);
        assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
    }
    // A fresh operator finds everything as it should be, too.
    drop(operator);
    let flags = ["--namespaces=idle"];
    let account_of = plane.kubeconfig_of("idle-operator", "flotilla");
    let again = Operator::start(&account_of, &flags, &[("POD_NAMESPACE", "idle-operator")]);
    again.wait_for("/readyz", "working");
    quiet(plane, &account, Duration::from_secs(13));
    assert_eq!(writes(plane, &account)[before..], [""; 0]);
    assert_eq!(versions(plane, "idle"), made);
}

#[test]
fn namespace_empties_itself_in_whatever_order_things_go() {
    let plane = plane();
    let _operator = Operator::serving(plane, &["going-a", "going-b"]);
    let user = || json!({"authentication": {"type": "scram-sha-512"}});
    for namespace in ["going-a", "going-b"] {
        apply(
            plane,
            &manifests(&[
                cluster(namespace, "events"),
                of_cluster("Topic", namespace, "orders", json!({})),
                of_cluster("Topic", namespace, "clicks", json!({})),
                of_cluster("User", namespace, "checkout", user()),
            ]),
        );
        for (kind, name) in [
            ("topic", "orders"),
            ("topic", "clicks"),
            ("user.flotilla.dev", "checkout"),
        ] {
            eventually("each is taken care of", || {
                get(plane, kind, namespace, name).filter(|found| condition(found, "Ready").is_some())
            });
        }
        plane.kubectl(&["delete", "namespace", namespace, "--wait=false"]);
    }
    // No controller for namespaces runs here: what it would do, in two orders.
    let (cluster, topic, user) = (
        "clusters.flotilla.dev",
        "topics.flotilla.dev",
        "users.flotilla.dev",
    );
    for (namespace, order) in [
        ("going-a", [cluster, topic, user]),
        ("going-b", [user, topic, cluster]),
    ] {
        for kind in order {
            plane.kubectl(&["delete", kind, "--all", "-n", namespace, "--wait=false"]);
        }
        let all = [cluster, topic, user].join(",");
        eventually("all are gone", || {
            list(plane, &all, namespace).is_empty().then_some(())
        });
    }
}

#[test]
fn resources_without_a_cluster_say_so_and_go_at_once() {
    let plane = plane();
    let _operator = Operator::serving(plane, &["alone"]);
    let user = json!({"authentication": {"type": "scram-sha-512"}});
    apply(
        plane,
        &manifests(&[
            of_cluster("Topic", "alone", "orders", json!({})),
            of_cluster("User", "alone", "checkout", user),
        ]),
    );
    for (kind, name) in [("topic", "orders"), ("user.flotilla.dev", "checkout")] {
        let found = eventually("it says what it waits for", || {
            get(plane, kind, "alone", name).filter(|found| condition(found, "Ready").is_some())
        });
        assert_eq!(
            condition(&found, "Ready").unwrap()["reason"],
            "ClusterNotFound",
            "{found}"
        );
        plane.kubectl(&["delete", kind, name, "-n", "alone", "--timeout=20s"]);
    }
}

#[test]
fn object_that_cannot_be_decoded_stalls_nothing() {
    // Definitions of a later version, which no other test should meet.
    let plane = ControlPlane::start();
    for file in definitions() {
        plane.kubectl(&["apply", "--server-side", "-f", &file.display().to_string()]);
    }
    plane.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]);
    let later = r#"[{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/shiny", "value": {"type": "string"}}]"#;
    plane.kubectl(&["patch", "crd", "topics.flotilla.dev", "--type=json", "-p", later]);
    let mut shiny = of_cluster("Topic", "later", "shiny", json!({"shiny": "yes"}));
    shiny["metadata"]["finalizers"] = json!(["flotilla.dev/finalizer"]);
    plane.kubectl(&["create", "namespace", "later"]);
    eventually("the later definition is served", || {
        let applied = plane.kubectl_with_input(&["apply", "--server-side", "-f", "-"], &shiny.to_string());
        applied.status.success().then_some(())
    });
    let operator = Operator::start(&plane.kubeconfig(), &["--namespaces=later"], &[]);
    operator.wait_for("/readyz", "working");
    operator.wait_for(
        "/metrics",
        "flotilla_operator_undecodable_resources{kind=\"Topic\"} 1",
    );
    apply(
        &plane,
        &manifests(&[of_cluster("Topic", "later", "plain", json!({}))]),
    );
    eventually("others are served", || {
        get(&plane, "topic", "later", "plain").filter(|found| condition(found, "Ready").is_some())
    });
    eventually("an event says so", || {
        let described = plane.kubectl(&["describe", "topic", "shiny", "-n", "later"]);
        described.contains("cannot read it").then_some(())
    });
    plane.kubectl(&["delete", "topic", "shiny", "-n", "later", "--timeout=20s"]);
    operator.wait_for(
        "/metrics",
        "flotilla_operator_undecodable_resources{kind=\"Topic\"} 0",
    );
}
