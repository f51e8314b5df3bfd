//! A thousand topics at once.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, OPERATOR_NAMESPACE, OPERATOR_SELECTOR};
use crate::command::number;
use crate::fleet::{READY_WITHIN, cluster, topic};

/// How many, where `FLOTILLA_TOPICS` does not say.
const TOPICS: u64 = 1_000;
/// How soon so many are Ready after the last was applied. Of more than those there may be twice the time.
const READY_SECONDS: u64 = 60;
/// One `kubectl` must not take longer than two minutes.
const APPLIED_AT_ONCE: usize = 1_000;
const MEMORY_BYTES_MAX: u64 = 64 << 20;

#[test]
fn thousand_topics_are_ready_within_a_minute_and_the_operator_stays_small() {
    let kubernetes = Cluster::shared();
    let _alone = kubernetes.alone();
    let namespace = kubernetes.namespace("many");
    namespace.apply(&cluster(3));
    namespace.ready(&["cluster/events"], READY_WITHIN);
    let topics = number("FLOTILLA_TOPICS").unwrap_or(TOPICS);
    let (ready_seconds, replicas) = match topics {
        0..=TOPICS => (READY_SECONDS, 3),
        // Brokers keep files open: three replicas of ten thousand topics would be beyond what one machine's three brokers may.
        _ => (2 * READY_SECONDS, 1),
    };
    let names: Vec<String> = (0..topics).map(|number| format!("topic-{number}")).collect();
    let started = Instant::now();
    for names in names.chunks(APPLIED_AT_ONCE) {
        let manifest: String = names.iter().map(|name| topic(name, 1, replicas, "")).collect();
        let args = ["apply", "--server-side", "--namespace=many", "-f", "-"];
        kubernetes.kubectl_with_input(&args, &manifest).ok();
    }
    let applied_in = started.elapsed();

    let deadline = Instant::now() + Duration::from_secs(ready_seconds);
    let mut memory_bytes_most = 0;
    loop {
        let statuses = namespace.kubectl(&["get", "topics.flotilla.dev", "--no-headers"]);
        let ready = statuses.lines().filter(|line| line.contains(" True ")).count() as u64;
        memory_bytes_most = memory_bytes_most.max(operator_memory(kubernetes));
        if ready == topics {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{ready} of {topics} topics are Ready after {ready_seconds} s"
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    eprintln!(
        "{topics} topics of {replicas} replicas: applied in {applied_in:?}, Ready {:?} after the last; the operator took {} MiB at most",
        started.elapsed() - applied_in,
        memory_bytes_most >> 20,
    );
    assert!(memory_bytes_most > 0, "the operator's memory is measured");
    assert!(memory_bytes_most < MEMORY_BYTES_MAX, "{memory_bytes_most} bytes");
}

/// The memory of the larger of the operator's pods: what its kubelet counts as its working set.
fn operator_memory(kubernetes: &Cluster) -> u64 {
    let mut most = 0.0_f64;
    for pod in kubernetes.list(OPERATOR_NAMESPACE, "pods", OPERATOR_SELECTOR) {
        let (node, name) = (
            pod["spec"]["nodeName"].as_str().unwrap(),
            pod["metadata"]["name"].as_str().unwrap(),
        );
        let text = kubernetes.kubectl(&[
            "get",
            "--raw",
            &format!("/api/v1/nodes/{node}/proxy/metrics/resource"),
        ]);
        for line in text
            .lines()
            .filter(|line| line.starts_with("pod_memory_working_set_bytes{") && line.contains(name))
        {
            // `name{labels} value timestamp`
            let value = line
                .rsplit('}')
                .next()
                .unwrap()
                .split_whitespace()
                .next()
                .unwrap();
            most = most.max(value.parse().unwrap());
        }
    }
    most as u64
}
