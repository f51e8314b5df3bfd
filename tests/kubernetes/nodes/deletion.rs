//! Everything can be taken away, in any order.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Namespace};
use crate::fleet::{Outside, READY_WITHIN, cluster, topic, user};

fn fill(namespace: &Namespace<'_>) {
    namespace.apply(&format!(
        "{}{}{}{}",
        cluster(3),
        topic("orders", 6, 3, ""),
        topic("payments", 6, 3, ""),
        user("reader"),
    ));
    namespace.ready(
        &["cluster/events", "topic/orders", "topic/payments", "user/reader"],
        READY_WITHIN,
    );
}

#[test]
fn namespaces_are_deleted_within_a_minute_in_whatever_order() {
    let kubernetes = Cluster::shared();
    let _undisturbed = kubernetes.undisturbed();
    // What is deleted before the namespace is.
    let orders = [
        ("deleted-whole", &[][..]),
        ("deleted-cluster-first", &["cluster/events"]),
        ("deleted-brokers-first", &["statefulset", "--all"]),
        ("deleted-topic-first", &["topic/orders", "user/reader"]),
    ];
    let namespaces = orders.map(|(name, _)| kubernetes.namespace(name));
    for namespace in &namespaces {
        fill(namespace);
    }
    let started = Instant::now();
    for ((name, first), namespace) in orders.iter().zip(&namespaces) {
        if !first.is_empty() {
            namespace.kubectl(&[&["delete", "--wait=false"], *first].concat());
        }
        kubernetes.kubectl(&["delete", "namespace", "--wait=false", name]);
    }
    for (name, _) in orders {
        let left = Duration::from_secs(60).saturating_sub(started.elapsed());
        kubernetes.wait("default", "delete", &[&format!("namespace/{name}")], left);
        eprintln!("{name}: gone after {:?}", started.elapsed());
    }
}

#[test]
fn topic_that_is_deleted_while_no_broker_answers_is_deleted_once_they_do() {
    let kubernetes = Cluster::shared();
    let _undisturbed = kubernetes.undisturbed();
    let namespace = kubernetes.namespace("unreachable");
    fill(&namespace);
    // No pod of the fleet can be scheduled any more, and those that there are go.
    namespace.kubectl(&["create", "quota", "none", "--hard=pods=0"]);
    namespace.kubectl(&[
        "delete",
        "pods",
        "--selector=flotilla.dev/cluster=events",
        "--grace-period=0",
        "--force",
    ]);
    kubernetes.until("a Cluster that is not Ready", READY_WITHIN, || {
        let cluster = namespace.get("cluster.flotilla.dev/events").unwrap();
        let ready = cluster["status"]["conditions"]
            .as_array()?
            .iter()
            .find(|condition| condition["type"] == "Ready")?;
        (ready["status"] != "True").then_some(())
    });
    namespace.kubectl(&["delete", "topic/orders", "--timeout=30s"]);
    let events = namespace.kubectl(&[
        "get",
        "events.events.k8s.io",
        "-o",
        "jsonpath={range .items[*]}{.regarding.kind}/{.regarding.name} {.note}{\"\\n\"}{end}",
    ]);
    assert!(
        events.lines().any(|line| line.contains("orders")),
        "an event speaks of the deletion that is to be carried out:\n{events}"
    );
    namespace.kubectl(&["delete", "quota", "none"]);
    namespace.ready(&["cluster/events"], READY_WITHIN);
    let outside = Outside::of(&namespace);
    kubernetes.until("a fleet without the topic", Duration::from_secs(30), || {
        outside.partitions("orders").is_empty().then_some(())
    });
    assert_eq!(outside.partitions("payments").len(), 6);
}

#[test]
fn cluster_that_is_deleted_and_applied_again_finds_its_data() {
    let kubernetes = Cluster::shared();
    let _undisturbed = kubernetes.undisturbed();
    let namespace = kubernetes.namespace("again");
    fill(&namespace);
    let before = namespace.get("cluster.flotilla.dev/events").unwrap()["status"]["clusterId"].clone();
    Outside::of(&namespace).write("payments", (0..1_000).map(|number| format!("record {number}")));
    namespace.kubectl(&["delete", "cluster/events", "--timeout=60s"]);
    kubernetes.until("no pod", READY_WITHIN, || {
        kubernetes
            .list("again", "pods", "flotilla.dev/cluster=events")
            .is_empty()
            .then_some(())
    });
    namespace.apply(&cluster(3));
    namespace.ready(&["cluster/events"], READY_WITHIN);
    let after = namespace.get("cluster.flotilla.dev/events").unwrap()["status"]["clusterId"].clone();
    assert_eq!(before, after);
    assert_eq!(Outside::of(&namespace).records("payments"), 1_000);
}
