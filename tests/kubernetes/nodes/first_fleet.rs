//! What a first user does: install, apply the example, wait.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, root};

#[test]
fn helm_install_and_the_first_example_are_ready_within_a_minute_in_three_zones() {
    let cluster = Cluster::shared();
    let _alone = cluster.alone();
    let streaming = cluster.adopt("streaming");
    let started = Instant::now();
    let example = root().join("examples/kubernetes/tls-scram.yaml");
    cluster.kubectl(&["apply", "-f", &example.display().to_string()]);
    let left = Duration::from_secs(60).saturating_sub(cluster.installed_in);
    streaming.ready(&["cluster/events", "topic/orders", "user/checkout"], left);
    let ready_in = started.elapsed();
    eprintln!(
        "helm install: {:?}; from apply to Ready: {ready_in:?}",
        cluster.installed_in
    );
    assert!(cluster.installed_in + ready_in < Duration::from_secs(60));

    let zones: BTreeMap<String, String> = cluster
        .list("streaming", "pods", "flotilla.dev/cluster=events")
        .iter()
        .map(|pod| {
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            (name, cluster.zone(pod["spec"]["nodeName"].as_str().unwrap()))
        })
        .collect();
    assert_eq!(
        zones.values().map(String::as_str).collect::<BTreeSet<_>>(),
        BTreeSet::from(["zone-a", "zone-b", "zone-c"]),
        "{zones:?}"
    );

    // A client sees what the brokers believe.
    let client = streaming.client("client", "checkout");
    let metadata: serde_json::Value = serde_json::from_str(&client.kcat("-L -J -t orders").ok()).unwrap();
    let partitions = metadata["topics"][0]["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 12, "{metadata}");
    for partition in partitions {
        let replicas: BTreeSet<u64> = partition["replicas"]
            .as_array()
            .unwrap()
            .iter()
            .map(|replica| replica["id"].as_u64().unwrap())
            .collect();
        // Three brokers, each in a zone of its own: three different replicas are in three zones.
        assert_eq!(replicas.len(), 3, "{partition}");
    }
}
