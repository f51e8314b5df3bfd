//! Brokers, the operator and volumes are taken away while a client writes with acks=all: nothing that was acknowledged is lost,
//! and nothing is there twice.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, Namespace, OPERATOR_NAMESPACE, OPERATOR_SELECTOR};
use crate::eventually::eventually;
use crate::fleet::{Outside, READY_WITHIN, cluster, topic};
use crate::writer::{Writer, check};

/// A record that waits longer has failed, as far as the producer is concerned. Handing leadership over takes a fraction of it.
const DELIVERY_TIMEOUT_MS: &str = "10000";
/// A pod is gone and back within this.
const BACK_WITHIN: Duration = Duration::from_secs(90);

#[test]
fn nothing_is_lost_while_pods_the_image_and_the_operator_go() {
    let kubernetes = Cluster::shared();
    let _alone = kubernetes.alone();
    let namespace = kubernetes.namespace("faults");
    namespace.apply(&format!("{}{}", cluster(3), topic("ledger", 6, 3, "")));
    namespace.ready(&["cluster/events", "topic/ledger"], READY_WITHIN);
    let outside = Outside::of(&namespace);
    // Any produce that fails at the client is seen here: it goes on all the time, and gives up soon.
    let writer = Writer::start_with(
        &outside.config(),
        "ledger",
        &[("message.timeout.ms", DELIVERY_TIMEOUT_MS)],
    );
    writer.wait_for_more(500, Duration::from_secs(30));

    // A broker's pod is deleted.
    let before = uid(&namespace, "pod/events-main-1");
    namespace.kubectl(&["delete", "pod", "events-main-1", "--wait=false"]);
    kubernetes.until("another pod in its place", BACK_WITHIN, || {
        let pod = namespace.get("pod/events-main-1")?;
        (pod["metadata"]["uid"] != before && is_ready(&pod)).then_some(())
    });
    settled(&namespace, &outside, "ledger");
    writer.wait_for_more(500, Duration::from_secs(30));
    eprintln!("a deleted pod: {} failures", writer.failures().len());

    // Another image: all brokers roll.
    let rolled = roll(kubernetes, &namespace, &outside);
    if let Some(took) = rolled {
        eprintln!("three brokers rolled in {took:?}");
    }
    writer.wait_for_more(500, Duration::from_secs(30));
    assert_eq!(writer.failures(), Vec::<String>::new(), "while brokers rolled");

    // The operator is deleted, and a broker while it is away.
    kubernetes.kubectl(&[
        "delete",
        "pods",
        "--namespace",
        OPERATOR_NAMESPACE,
        "--selector",
        OPERATOR_SELECTOR,
        "--wait=false",
    ]);
    namespace.kubectl(&["delete", "pod", "events-main-2", "--wait=false"]);
    writer.wait_for_more(1_000, Duration::from_secs(30));
    kubernetes.wait(
        OPERATOR_NAMESPACE,
        "condition=Available",
        &["deployment/flotilla"],
        BACK_WITHIN,
    );
    settled(&namespace, &outside, "ledger");
    namespace.ready(&["cluster/events", "topic/ledger"], BACK_WITHIN);

    assert_eq!(writer.failures(), Vec::<String>::new());
    let acknowledged = writer.finish();
    eprintln!("{} records acknowledged", acknowledged.len());
    check(&outside.config(), "ledger", &acknowledged);
}

/// Gives the image another tag and the Cluster that image; waits until all brokers run it. None where images cannot be tagged.
fn roll(kubernetes: &Cluster, namespace: &Namespace<'_>, outside: &Outside) -> Option<Duration> {
    let pod = namespace.get("pod/events-main-0").expect("a broker");
    let image = pod["spec"]["containers"][0]["image"].as_str().expect("an image");
    let (name, _) = image.rsplit_once(':').expect("a tag");
    let rolled = format!("{name}:rolled");
    let full = |image: &str| match image.contains('/') {
        true => image.to_owned(),
        false => format!("docker.io/library/{image}"),
    };
    kubernetes.machines(&["tag", &full(image), &full(&rolled)])?.ok();
    let began = Instant::now();
    let patch = format!(r#"{{"spec":{{"image":"{rolled}"}}}}"#);
    namespace.kubectl(&[
        "patch",
        "cluster.flotilla.dev/events",
        "--type=merge",
        "--patch",
        &patch,
    ]);
    kubernetes.until("all brokers with the other image", BACK_WITHIN * 2, || {
        (0..3)
            .all(|id| {
                let pod = namespace.get(&format!("pod/events-main-{id}"));
                pod.is_some_and(|pod| {
                    pod["spec"]["containers"][0]["image"] == rolled.as_str() && is_ready(&pod)
                })
            })
            .then_some(())
    });
    settled(namespace, outside, "ledger");
    Some(began.elapsed())
}

#[test]
fn emptied_volumes_of_a_voter_and_of_a_replica_heal() {
    let kubernetes = Cluster::shared();
    let _alone = kubernetes.alone();
    let namespace = kubernetes.namespace("emptied");
    // Three of the four vote.
    namespace.apply(&format!("{}{}", cluster(4), topic("ledger", 8, 3, "")));
    namespace.ready(&["cluster/events", "topic/ledger"], READY_WITHIN);
    let outside = Outside::of(&namespace);
    let writer = Writer::start_with(&outside.config(), "ledger", &[("message.timeout.ms", "60000")]);
    writer.wait_for_more(2_000, Duration::from_secs(60));
    let voters = voters(&namespace);
    eprintln!("voters: {voters:?}");
    let other = (0..4).find(|id| !voters.contains(id)).expect("one does not vote");
    for id in [voters[0], other] {
        let claim = format!("data-events-main-{id}");
        let Some(volume) = kubernetes.volume(&namespace.name, &claim) else {
            eprintln!("volumes cannot be emptied on a Kubernetes of others");
            return;
        };
        let began = Instant::now();
        empty(&volume);
        kubernetes.until("the broker to find its volume empty", BACK_WITHIN, || {
            std::fs::read_dir(&volume).ok()?.next().map(drop)
        });
        settled(&namespace, &outside, "ledger");
        namespace.ready(&["cluster/events"], BACK_WITHIN);
        eprintln!(
            "the emptied volume of broker {id} healed within {:?}",
            began.elapsed()
        );
        writer.wait_for_more(500, Duration::from_secs(60));
    }
    // The voter whose disk was emptied votes again: with another one stopped, its vote makes the majority.
    kubernetes.until_ok("a quorum that is whole", BACK_WITHIN, || {
        let found = self::voters(&namespace);
        if found.len() == 3 { Ok(()) } else { Err(found) }
    });
    let claim = format!("data-events-main-{}", voters[1]);
    let volume = kubernetes.volume(&namespace.name, &claim).expect("as before");
    let stopped = Stopped::broker_on(&volume);
    namespace.apply(&topic("proof", 1, 2, ""));
    namespace.ready(&["topic/proof"], Duration::from_secs(25));
    drop(stopped);
    settled(&namespace, &outside, "ledger");
    assert_eq!(writer.failures(), Vec::<String>::new());
    let acknowledged = writer.finish();
    check(&outside.config(), "ledger", &acknowledged);
}

/// The brokers that vote, as the Cluster's status says.
fn voters(namespace: &Namespace<'_>) -> Vec<i64> {
    let cluster = namespace.get("cluster.flotilla.dev/events").expect("it is there");
    let voters = cluster["status"]["coordinators"].as_array().cloned();
    voters
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_i64)
        .collect()
}

/// A disk is exchanged while its broker is down: the process is stopped where it is, so that it writes nothing any more, then the
/// files go, then the process.
fn empty(volume: &Path) {
    let stopped = Stopped::broker_on(volume);
    for entry in std::fs::read_dir(volume).expect("the volume") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            std::fs::remove_dir_all(&path).expect("emptied");
        } else {
            std::fs::remove_file(&path).expect("emptied");
        }
    }
    signal(stopped.0, "-KILL");
}

/// A process that is stopped until this is dropped.
struct Stopped(u32);

impl Stopped {
    fn broker_on(volume: &Path) -> Self {
        let name = volume.file_name().and_then(|name| name.to_str()).expect("a name");
        let pid = broker_on(name).expect("a process has the volume mounted");
        signal(pid, "-STOP");
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, "-CONT");
    }
}

/// Sends a signal. A process that is gone by now needs none.
fn signal(pid: u32, signal: &str) {
    let _ = std::process::Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
}

/// The broker whose mounts name the volume.
fn broker_on(volume: &str) -> Option<u32> {
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let read = |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        if read("cmdline").starts_with("/flotilla-broker\0") && read("mountinfo").contains(volume) {
            return Some(pid);
        }
    }
    None
}

/// Waits until all replicas of a topic are in sync.
fn settled(namespace: &Namespace<'_>, outside: &Outside, topic: &str) {
    let what = format!("all replicas of {topic} in {} in sync", namespace.name);
    eventually(BACK_WITHIN, &what, || {
        let partitions = outside.partitions(topic);
        let settled = partitions
            .iter()
            .all(|partition| partition.isr == partition.replicas);
        if settled {
            Ok(())
        } else {
            Err(format!("{partitions:#?}"))
        }
    });
}

fn uid(namespace: &Namespace<'_>, what: &str) -> Value {
    namespace.get(what).expect("it is there")["metadata"]["uid"].take()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    })
}
