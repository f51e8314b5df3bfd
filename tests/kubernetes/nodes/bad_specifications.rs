//! A Cluster that says what cannot be followed: its fleet goes on as it was, and so does everything else.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Cluster, Namespace};
use crate::fleet::{Outside, READY_WITHIN, cluster, topic, user};
use crate::writer::{Writer, check};
use crate::wrong_clusters::{says_what_is_wrong, wrong_clusters};

const SOON: Duration = Duration::from_secs(20);
/// The two that are wrong in turn and well meanwhile.
const CLUSTER: &str = "cluster.flotilla.dev/events";

#[test]
fn bad_specification_leaves_the_running_fleet_untouched_and_others_are_served() {
    let kubernetes = Cluster::shared();
    let _undisturbed = kubernetes.undisturbed();
    let namespace = kubernetes.namespace("wrong");
    let beside = kubernetes.namespace("wrong-beside");
    namespace.apply(&format!("{}{}", cluster(3), topic("orders", 6, 3, "")));
    beside.apply(&cluster(1));
    namespace.ready(&["cluster/events", "topic/orders"], READY_WITHIN);
    beside.ready(&["cluster/events"], READY_WITHIN);
    let outside = Outside::of(&namespace);
    let writer = Writer::start_with(&outside.config(), "orders", &[("message.timeout.ms", "20000")]);
    writer.wait_for_more(500, READY_WITHIN);

    let good = namespace.get(CLUSTER).expect("the Cluster");
    let untouched = runs(kubernetes, &namespace);
    let table = wrong_clusters(&good["spec"]);
    assert!(table.len() >= 30, "{} ways to be wrong", table.len());
    let began = Instant::now();
    let mut found = Vec::new();
    for wrong in &table {
        let Some(generation) = replace(&namespace, &good, &wrong.spec) else {
            continue;
        };
        let said = kubernetes.until_ok(&format!("what is wrong with {}", wrong.what), SOON, || {
            let seen = namespace.get(CLUSTER).expect("the Cluster");
            says_what_is_wrong(&seen, &generation).ok_or_else(|| seen["status"]["conditions"].clone())
        });
        writer.wait_for_more(100, SOON);
        assert_eq!(runs(kubernetes, &namespace), untouched, "{}", wrong.what);
        mend(kubernetes, &namespace, &good);
        found.push(said);
    }
    assert!((5..table.len()).contains(&found.len()), "{found:#?}");
    eprintln!(
        "{} specifications, {} of which the API server refused: {:?}; the operator said of the others: {found:#?}",
        table.len(),
        table.len() - found.len(),
        began.elapsed(),
    );

    // While it stays wrong, its own Topics and Users are served, and so are those of another Cluster, and that Cluster.
    let mut bad = good["spec"].clone();
    bad["config"] = json!({"min.insync.replica": 2});
    let generation = replace(&namespace, &good, &bad).expect("the API server does not know Kafka's settings");
    kubernetes.until("what is wrong", SOON, || {
        says_what_is_wrong(&namespace.get(CLUSTER)?, &generation)
    });
    let more = format!("{}{}", topic("more", 3, 1, ""), user("reader"));
    for namespace in [&namespace, &beside] {
        namespace.apply(&more);
        namespace.ready(&["topic/more", "user/reader"], READY_WITHIN);
    }
    let listener =
        r#"[{"op": "add", "path": "/spec/listeners/-", "value": {"name": "another", "port": 9095}}]"#;
    beside.kubectl(&["patch", CLUSTER, "--type=json", "--patch", listener]);
    kubernetes.until("the listener of the other Cluster", SOON, || {
        beside.get("service/events-another")
    });
    assert_eq!(runs(kubernetes, &namespace), untouched);

    mend(kubernetes, &namespace, &good);
    assert_eq!(runs(kubernetes, &namespace), untouched);
    assert_eq!(writer.failures(), Vec::<String>::new());
    let acknowledged = writer.finish();
    check(&outside.config(), "orders", &acknowledged);
}

/// What runs: each pod's uid and restarts, and the generation of what they are made by.
fn runs(kubernetes: &Cluster, namespace: &Namespace<'_>) -> BTreeMap<String, (Value, Value)> {
    kubernetes
        .list(
            &namespace.name,
            "pods,statefulsets",
            "flotilla.dev/cluster=events",
        )
        .into_iter()
        .map(|object| {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            let restarts = &object["status"]["containerStatuses"][0]["restartCount"];
            let generation = &object["metadata"]["generation"];
            let runs = json!({"restarts": restarts, "generation": generation});
            (name, (object["metadata"]["uid"].clone(), runs))
        })
        .collect()
}

/// Puts another specification in the place of the Cluster's; its generation then, or `None` if the API server refuses it.
fn replace(namespace: &Namespace<'_>, good: &Value, spec: &Value) -> Option<Value> {
    let wanted = json!({
        "apiVersion": good["apiVersion"], "kind": good["kind"], "spec": spec, "metadata": {"name": good["metadata"]["name"]},
    });
    let ran = namespace.replace(&wanted.to_string());
    if ran.success {
        let replaced: Value = serde_json::from_str(&ran.stdout).expect("kubectl prints JSON");
        return Some(replaced["metadata"]["generation"].clone());
    }
    assert!(ran.stderr.contains("is invalid"), "{}", ran.stderr);
    None
}

/// Puts the good specification back, and waits until the Cluster is Ready by it.
fn mend(kubernetes: &Cluster, namespace: &Namespace<'_>, good: &Value) {
    let generation = replace(namespace, good, &good["spec"]).expect("what was taken before is taken again");
    kubernetes.until_ok("a Cluster that is Ready again", READY_WITHIN, || {
        let seen = namespace.get(CLUSTER).expect("the Cluster");
        let ready = seen["status"]["conditions"][0].clone();
        let is = ready["type"] == "Ready" && ready["status"] == "True";
        if is && ready["observedGeneration"] == generation {
            Ok(())
        } else {
            Err(ready)
        }
    });
}
