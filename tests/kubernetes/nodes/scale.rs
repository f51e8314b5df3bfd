//! A fleet that grows.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::fleet::{Outside, READY_WITHIN, cluster, topic};

#[test]
fn scaled_fleet_gives_new_brokers_their_share_of_replicas_and_leaders() {
    let kubernetes = Cluster::shared();
    let _undisturbed = kubernetes.undisturbed();
    let namespace = kubernetes.namespace("scale");
    namespace.apply(&format!("{}{}", cluster(3), topic("spread", 15, 3, "")));
    namespace.ready(&["cluster/events", "topic/spread"], READY_WITHIN);

    let zone_of: BTreeMap<String, String> = kubernetes
        .list("default", "nodes", "")
        .iter()
        .map(|node| node["metadata"]["name"].as_str().unwrap().to_owned())
        .map(|node| (node.clone(), kubernetes.zone(&node)))
        .collect();

    // Some megabytes for each new broker at a megabyte a second: replicas are on their way for seconds, and nobody can miss it.
    Outside::of(&namespace).write("spread", (0..640).map(|_| "x".repeat(16_384)));
    namespace.kubectl(&[
        "annotate",
        "cluster.flotilla.dev/events",
        "flotilla.dev/replication-throttle=1000000",
    ]);

    // What the Cluster's status says on the way.
    let mut seen = Vec::new();
    namespace.kubectl(&["scale", "cluster/events", "--replicas=5"]);
    let shares = kubernetes.until_ok("an even spread over five brokers", READY_WITHIN * 2, || {
        let status = namespace.get("cluster.flotilla.dev/events").unwrap()["status"].take();
        for condition in status["conditions"].as_array().into_iter().flatten() {
            let word = format!(
                "{}={} {}: {}",
                condition["type"], condition["status"], condition["reason"], condition["message"]
            );
            if condition["type"] == "Ready" && seen.last() != Some(&word) {
                seen.push(word);
            }
        }
        // Broker ids are the pods' ordinals: this is the first pool.
        let zones: BTreeMap<i32, String> = kubernetes
            .list("scale", "pods", "flotilla.dev/cluster=events")
            .iter()
            .filter_map(|pod| {
                let id = pod["metadata"]["name"]
                    .as_str()?
                    .rsplit('-')
                    .next()?
                    .parse()
                    .ok()?;
                Some((id, zone_of.get(pod["spec"]["nodeName"].as_str()?)?.clone()))
            })
            .collect();
        let partitions = Outside::of(&namespace).partitions("spread");
        let mut shares: BTreeMap<i32, (usize, usize)> = BTreeMap::new();
        for partition in &partitions {
            for replica in &partition.replicas {
                shares.entry(*replica).or_default().0 += 1;
            }
            shares.entry(partition.leader).or_default().1 += 1;
        }
        let settled = partitions
            .iter()
            .all(|partition| partition.replicas.len() == 3 && partition.isr == partition.replicas);
        // Each partition has a replica in each of three zones: the brokers of a zone share fifteen. Leaders are shared by all five.
        let even = shares.len() == 5
            && shares.iter().all(|(broker, (replicas, leaders))| {
                let zone = zones.get(broker);
                let there = zones.values().filter(|other| Some(*other) == zone).count();
                (15 / there..=15_usize.div_ceil(there)).contains(replicas) && *leaders == 3
            });
        if settled && even {
            Ok(shares)
        } else {
            Err((shares, zones))
        }
    });
    eprintln!("replicas and leaders of each broker: {shares:?}\nstatus on the way: {seen:#?}");
    namespace.ready(&["cluster/events"], Duration::from_secs(30));
    assert!(
        seen.iter()
            .any(|word| word.contains("Rebalancing") && word.contains("are on their way")),
        "progress in status: {seen:#?}"
    );
    let scaled = namespace.get("cluster.flotilla.dev/events").unwrap();
    assert_eq!(scaled["status"]["replicas"], 5, "{scaled}");
}
