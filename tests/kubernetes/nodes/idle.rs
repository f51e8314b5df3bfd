//! What an operator does when there is nothing to do: nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::{Cluster, OPERATOR_NAMESPACE, OPERATOR_SELECTOR};
use crate::command::number;
use crate::fleet::{READY_WITHIN, cluster, topic, user};

/// How long nothing may happen, in minutes, where `FLOTILLA_IDLE_MINUTES` does not say. This is the measurement itself.
const IDLE_MINUTES: u64 = 1;

#[test]
fn converged_operator_writes_nothing_but_its_lease() {
    let kubernetes = Cluster::shared();
    let _alone = kubernetes.alone();
    let namespace = kubernetes.namespace("idle");
    namespace.apply(&format!(
        "{}{}{}{}",
        cluster(3),
        topic("orders", 12, 3, "retention.ms: 3600000"),
        topic("payments", 6, 2, ""),
        user("reader"),
    ));
    namespace.ready(
        &["cluster/events", "topic/orders", "topic/payments", "user/reader"],
        READY_WITHIN,
    );

    let Some((_, mut from)) = kubernetes.audit(0) else {
        return;
    };
    // Other scenarios' namespaces may still be going: once they are gone, the first seconds without a write begin the measurement.
    kubernetes.until("a quiet operator", Duration::from_secs(180), || {
        std::thread::sleep(Duration::from_secs(3));
        let (entries, end) = kubernetes.audit(from).unwrap();
        from = end;
        let namespaces = kubernetes.list("default", "namespaces", "");
        let going = namespaces
            .iter()
            .any(|namespace| namespace["status"]["phase"] == "Terminating");
        (!going && writes(&entries).is_empty()).then_some(())
    });
    let calls = fleet_calls(kubernetes);
    let minutes = number("FLOTILLA_IDLE_MINUTES").unwrap_or(IDLE_MINUTES);
    std::thread::sleep(Duration::from_secs(60 * minutes));
    let (entries, _) = kubernetes.audit(from).unwrap();
    let leases = entries
        .iter()
        .filter(|entry| entry["objectRef"]["resource"] == "leases" && by_operator(entry))
        .count();
    eprintln!(
        "{minutes} idle minutes: {} writes in the audit log, of them the operator's: {leases} of its Lease, {} others; \
         calls to brokers before {calls:?}, after {:?}",
        entries.len(),
        writes(&entries).len(),
        fleet_calls(kubernetes),
    );
    assert_eq!(writes(&entries), Vec::<String>::new());
    assert!(leases > 0, "the audit log tells of the operator");
    assert_eq!(fleet_calls(kubernetes), calls, "calls to brokers");
}

fn by_operator(entry: &serde_json::Value) -> bool {
    entry["user"]["username"]
        .as_str()
        .is_some_and(|name| name.starts_with(&format!("system:serviceaccount:{OPERATOR_NAMESPACE}:")))
}

/// The operator's writes other than of its Lease.
fn writes(entries: &[serde_json::Value]) -> Vec<String> {
    entries
        .iter()
        .filter(|entry| by_operator(entry) && entry["objectRef"]["resource"] != "leases")
        .map(|entry| {
            format!(
                "{} {} {}",
                entry["verb"], entry["requestURI"], entry["responseStatus"]["code"]
            )
        })
        .collect()
}

/// The calls to brokers that the operator counts, by name; those of both instances.
fn fleet_calls(kubernetes: &Cluster) -> BTreeMap<String, f64> {
    let mut calls = BTreeMap::new();
    for pod in kubernetes.list(OPERATOR_NAMESPACE, "pods", OPERATOR_SELECTOR) {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let text = kubernetes.kubectl(&[
            "get",
            "--raw",
            &format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{name}:8080/proxy/metrics"),
        ]);
        for line in text
            .lines()
            .filter(|line| line.starts_with("flotilla_operator_fleet_calls"))
        {
            let (call, count) = line.rsplit_once(' ').unwrap();
            *calls.entry(call.to_owned()).or_default() += count.parse::<f64>().unwrap();
        }
    }
    calls
}
