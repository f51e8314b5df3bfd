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

/// What is merged into the specification, each wrong in one way.
fn wrong() -> Vec<Value> {
    let listener = |fields: Value| {
        let mut listener = json!({"name": "internal", "port": 9092});
        for (name, value) in fields.as_object().unwrap() {
            listener[name] = value.clone();
        }
        json!({"listeners": [listener]})
    };
    let pool = |fields: Value| {
        let mut pool = json!({"name": "main"});
        for (name, value) in fields.as_object().unwrap() {
            pool[name] = value.clone();
        }
        json!({"pools": [pool]})
    };
    let volume = |fields: Value| {
        let mut volume = json!({"name": "data", "size": "10Gi"});
        for (name, value) in fields.as_object().unwrap() {
            volume[name] = value.clone();
        }
        pool(json!({"volumes": [volume]}))
    };
    vec![
        json!({"replicas": 0}),
        json!({"replicas": "three"}),
        json!({"version": "latest"}),
        json!({"image": "my image"}),
        json!({"imagePullSecrets": [{"name": "Pull"}]}),
        json!({"coordinators": 2}),
        json!({"coordinators": 5}),
        json!({"rackTopologyKey": "topology zone"}),
        pool(json!({"name": "Main"})),
        pool(json!({"name": "identity"})),
        pool(json!({"roles": ["broker"]})),
        pool(json!({"roles": ["leader"]})),
        pool(json!({"firstBrokerId": -5})),
        pool(json!({"resources": {"requests": {"cpu": "fast"}}})),
        pool(json!({"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}})),
        pool(json!({"template": {"nodeSelector": {}}})),
        pool(json!({"template": {"spec": {"containers": [{"name": "broker", "comand": ["x"]}]}}})),
        pool(json!({"template": {"metadata": {"annotations": {"flotilla.dev/revision": "x"}}}})),
        json!({"pools": [{"name": "a"}, {"name": "b"}]}),
        volume(json!({"name": "config"})),
        volume(json!({"size": "10GB"})),
        volume(json!({"size": "1Mi"})),
        volume(json!({"storageClassName": "Fast Disks"})),
        listener(json!({"name": "Internal"})),
        listener(json!({"name": "brokers"})),
        listener(json!({"port": 80})),
        listener(json!({"port": 9091})),
        listener(json!({"authentication": ["mtls"]})),
        listener(json!({"authentication": ["kerberos"]})),
        listener(json!({"exposure": {"type": "NodePort", "hostTemplate": "node.example.com"}})),
        listener(json!({"tls": true, "exposure": {"type": "Ingress", "bootstrapHost": "k.x"}})),
        json!({"listeners": [{"name": "a", "port": 9092}, {"name": "b", "port": 9092}]}),
        json!({"authorization": {"superUsers": ["User:admin"]}}),
        json!({"tls": {"clusterCa": {"own": {}, "secret": {"name": "ca"}}}}),
        json!({"tls": {"clusterCa": {"own": {"validityDays": 20}}}}),
        json!({"config": {"min.insync.replica": 2}}),
        json!({"config": {"num.partitions": "many"}}),
        json!({"config": {"listeners": "PLAINTEXT://:9092"}}),
        json!({"config": {"default.replication.factor": 4}}),
        json!({"allowedNamespaces": [{"from": "Selector"}]}),
        json!({"allowedNamespaces": [{"from": "All", "prefixes": [""]}]}),
        json!({"maintenanceWindows": [{"schedule": "0 25 * * *", "durationMinutes": 60}]}),
        json!({"maintenanceWindows": [{"schedule": "0 2 * * *", "durationMinutes": 0}]}),
    ]
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
    let good = api.get("events").await.unwrap();
    let params = PatchParams::default();
    let table = wrong();
    assert!(table.len() >= 30);
    let mut stalled = 0;
    for fields in &table {
        let patch = Patch::Merge(json!({"spec": fields}));
        let Ok(bad) = api.patch("events", &params, &patch).await else {
            // `kubectl apply` says why.
            continue;
        };
        stalled += 1;
        let generation = bad.metadata.generation.unwrap();
        let status = eventually(&format!("it is said what is wrong with {fields}"), || {
            let found = get(plane, "cluster.flotilla.dev", "untouched", "events")?;
            let ready = condition(&found, "Ready")?;
            (ready["observedGeneration"] == generation && ready["reason"] == "InvalidSpec").then_some(found)
        });
        assert_eq!(
            condition(&status, "Ready").unwrap()["status"],
            "False",
            "{fields}"
        );
        assert_eq!(
            condition(&status, "Stalled").unwrap()["status"],
            "True",
            "{fields}"
        );
        let message = condition(&status, "Ready").unwrap()["message"].as_str().unwrap();
        assert!(message.starts_with("spec."), "{fields}: {message}");
        assert_eq!(versions(plane, "untouched"), before, "{fields}");
        // Whole, so that nothing of it is left.
        let mut back = serde_json::to_value(&good).unwrap();
        let metadata = back["metadata"].as_object_mut().unwrap();
        metadata.retain(|name, _| name == "name" || name == "namespace");
        back.as_object_mut().unwrap().remove("status");
        let replaced = plane.kubectl_with_input(&["replace", "-f", "-"], &back.to_string());
        assert!(
            replaced.status.success(),
            "{}",
            String::from_utf8_lossy(&replaced.stderr)
        );
    }
    assert!(
        stalled > 0,
        "the API server knows all rules, and the operator's own were not tried"
    );

    // While one is bad, another is served.
    let bad = Patch::Merge(json!({"spec": {"version": "latest", "image": "my image"}}));
    let _ = api.patch("events", &params, &bad).await;
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
