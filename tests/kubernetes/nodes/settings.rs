//! What else a Cluster may say: when its brokers may restart, what becomes of its data, whose authority it is under, how it is reached.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Cluster, Namespace};
use crate::eventually::eventually;
use crate::fleet::{Outside, READY_WITHIN, cluster, topic, user};

const SOON: Duration = Duration::from_secs(30);
const CLUSTER: &str = "cluster.flotilla.dev/events";
/// A kubelet looks at the Secrets that its pods mount about once a minute.
const MOUNTED_WITHIN: Duration = Duration::from_secs(150);

/// The Ready condition, once it says something.
fn ready_says(kubernetes: &Cluster, namespace: &Namespace<'_>, words: &str) -> Value {
    kubernetes.until_ok(&format!("a Ready condition with `{words}`"), READY_WITHIN, || {
        let seen = namespace.get(CLUSTER).expect("the Cluster")["status"]["conditions"][0].take();
        let said = format!("{}: {}", seen["reason"], seen["message"]);
        if said.contains(words) { Ok(seen) } else { Err(seen) }
    })
}

fn merge(namespace: &Namespace<'_>, spec: Value) {
    let patch = json!({ "spec": spec }).to_string();
    namespace.kubectl(&["patch", CLUSTER, "--type=merge", "--patch", &patch]);
}

fn uid(namespace: &Namespace<'_>, what: &str) -> Value {
    namespace.get(what).expect("it is there")["metadata"]["uid"].take()
}

#[test]
fn brokers_restart_in_maintenance_windows_only_and_a_full_volume_is_said_until_there_is_room() {
    let kubernetes = Cluster::shared();
    let _undisturbed = kubernetes.undisturbed();
    let namespace = kubernetes.namespace("windows");
    namespace.apply(&format!("{}{}", cluster(1), topic("orders", 1, 1, "")));
    namespace.ready(&["cluster/events", "topic/orders"], READY_WITHIN);
    let pod = uid(&namespace, "pod/events-main-0");

    // A window that is months away, and a setting that only a restart brings: more room is to be kept free than any disk has.
    let month = k8s_openapi::jiff::Timestamp::now()
        .to_zoned(k8s_openapi::jiff::tz::TimeZone::UTC)
        .month();
    let months_away =
        json!([{"schedule": format!("0 3 15 {} *", (month + 5) % 12 + 1), "durationMinutes": 60}]);
    merge(
        &namespace,
        json!({"maintenanceWindows": months_away, "config": {"log.dir.free.min.bytes": 9_000_000_000_000_000_i64}}),
    );
    ready_says(kubernetes, &namespace, "the next maintenance window opens at");
    assert_eq!(uid(&namespace, "pod/events-main-0"), pod, "it waits");

    merge(
        &namespace,
        json!({"maintenanceWindows": [{"schedule": "* * * * *", "durationMinutes": 60}]}),
    );
    let full = ready_says(kubernetes, &namespace, "a volume of broker 0 is full");
    assert_eq!(
        (&full["reason"], &full["status"]),
        (&"StorageFull".into(), &"False".into())
    );
    assert_ne!(uid(&namespace, "pod/events-main-0"), pod, "it was restarted");
    kubernetes.until("an event about it", SOON, || {
        let events = namespace.kubectl(&["events", "--for=cluster/events"]);
        events.contains("StorageFull").then_some(())
    });

    merge(&namespace, json!({"config": {"log.dir.free.min.bytes": null}}));
    namespace.ready(&["cluster/events", "topic/orders"], READY_WITHIN);
    Outside::of(&namespace).write("orders", ["there is room again".to_owned()]);
}

#[test]
fn cluster_takes_its_data_along_where_that_is_asked_for() {
    let kubernetes = Cluster::shared();
    let _undisturbed = kubernetes.undisturbed();
    let namespace = kubernetes.namespace("along");
    let manifest = cluster(1).replace(
        "{name: main, ",
        "{name: main, persistence: {whenDeleted: Delete}, ",
    );
    assert_ne!(manifest, cluster(1));
    namespace.apply(&format!("{manifest}{}", topic("orders", 1, 1, "")));
    namespace.ready(&["cluster/events", "topic/orders"], READY_WITHIN);
    let id = namespace.get(CLUSTER).expect("the Cluster")["status"]["clusterId"].clone();
    let of_cluster = "pods,pvc,secrets,configmaps,services,statefulsets";
    let left = || kubernetes.list("along", of_cluster, "flotilla.dev/cluster=events");
    assert!(
        left()
            .iter()
            .any(|object| object["kind"] == "PersistentVolumeClaim")
    );
    Outside::of(&namespace).write("orders", (0..100).map(|number| number.to_string()));

    namespace.kubectl(&["delete", "cluster/events", "--timeout=60s"]);
    kubernetes.until_ok("nothing of it left", READY_WITHIN, || {
        let names: Vec<_> = left()
            .iter()
            .map(|object| object["metadata"]["name"].clone())
            .collect();
        if names.is_empty() { Ok(()) } else { Err(names) }
    });
    namespace.apply(&manifest);
    namespace.ready(&["cluster/events", "topic/orders"], READY_WITHIN);
    let again = namespace.get(CLUSTER).expect("the Cluster")["status"]["clusterId"].clone();
    assert_ne!(again, id, "it is another fleet");
    assert_eq!(Outside::of(&namespace).records("orders"), 0);
}

#[test]
fn given_authority_and_its_successor_and_load_balancers_are_taken_up_without_a_restart() {
    let kubernetes = Cluster::shared();
    let _undisturbed = kubernetes.undisturbed();
    let namespace = kubernetes.namespace("given");
    let work = tempfile::tempdir().expect("a temporary directory");
    let (first, second) = (authority(work.path(), "first"), authority(work.path(), "second"));
    give(&namespace, &first);
    let balanced = "    - {name: balanced, port: 9096, tls: true, authentication: [scram-sha-512], exposure: {type: LoadBalancer}}\n";
    let manifest = cluster(1).replace(
        "  config:\n",
        &format!("{balanced}  tls: {{clusterCa: {{secret: {{name: company}}}}}}\n  config:\n"),
    );
    namespace.apply(&format!(
        "{manifest}{}{}",
        topic("orders", 1, 1, ""),
        user("reader")
    ));
    namespace.ready(&["cluster/events", "topic/orders", "user/reader"], READY_WITHIN);
    let before = namespace.get("pod/events-main-0").expect("the broker");

    // The test reaches the listener at the node's port, and knows it by the authority.
    let service = namespace
        .get("service/events-balanced-0")
        .expect("the broker's Service");
    let node = kubernetes.address(before["spec"]["nodeName"].as_str().expect("a node"));
    let at = format!("{node}:{}", service["spec"]["ports"][0]["nodePort"]);
    eventually(SOON, "TLS by the first authority", || {
        greets(&at, &first, "events-balanced")
    });
    greets(&at, &second, "events-balanced")
        .expect_err("nobody is known by an authority of which nobody heard");

    // What a cloud does, and what the owner of the authority does. Pods have a way to the addresses of nodes; no address is a node's and a
    // load balancer's port at once.
    let nodes = kubernetes.list("default", "nodes", "");
    let addresses: Vec<String> = nodes
        .iter()
        .map(|node| kubernetes.address(node["metadata"]["name"].as_str().expect("a name")))
        .collect();
    let (begin, broker) = (&addresses[0], &addresses[1]);
    for (service, ip) in [("events-balanced", begin), ("events-balanced-0", broker)] {
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}}).to_string();
        namespace.kubectl(&[
            "patch",
            "service",
            service,
            "--subresource=status",
            "--type=merge",
            "--patch",
            &status,
        ]);
    }
    give(&namespace, &second);
    kubernetes.until("where clients of the load balancer begin", SOON, || {
        let listeners = namespace.get(CLUSTER)?["status"]["listeners"].take();
        (listeners["balanced"] == format!("{begin}:9096")).then_some(())
    });
    eventually(MOUNTED_WITHIN, "TLS by the second authority", || {
        greets(&at, &second, broker)
    });
    kubernetes.until("the address in the user's Secret", SOON, || {
        let data = namespace.get("secret/reader")?["data"].take();
        (data["bootstrap.servers.balanced"].is_string()).then_some(())
    });

    // An application goes through the load balancer, which is this cluster's own kube-proxy, with what its Secret holds.
    let client = namespace.client("reader", "reader");
    let through = "-X bootstrap.servers=$(cat /etc/flotilla/bootstrap.servers.balanced)";
    let args = format!("{through} -P -t orders -X acks=all");
    client
        .sh(&format!(
            "echo hello | kcat -F /etc/flotilla/librdkafka.conf {args}"
        ))
        .ok();
    let read = client
        .kcat(&format!("{through} -C -t orders -o beginning -e -q"))
        .ok();
    assert_eq!(read.trim(), "hello");
    let listed = client.kcat(&format!("{through} -L -t orders")).ok();
    assert!(listed.contains(&format!("{broker}:9096")), "{listed}");

    let after = namespace.get("pod/events-main-0").expect("the broker");
    let runs = |pod: &Value| {
        (
            pod["metadata"]["uid"].clone(),
            pod["status"]["containerStatuses"][0]["restartCount"].clone(),
        )
    };
    assert_eq!(runs(&after), runs(&before), "nothing was restarted");
}

/// The files of an authority: its certificate and its key.
struct Files {
    certificate: String,
    key: String,
}

fn authority(directory: &std::path::Path, name: &str) -> Files {
    let (certificate, key) = (
        directory.join(format!("{name}.crt")),
        directory.join(format!("{name}.key")),
    );
    let files = Files {
        certificate: certificate.display().to_string(),
        key: key.display().to_string(),
    };
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "900",
        "-subj",
        &format!("/CN={name} authority"),
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
        "-keyout",
        &files.key,
        "-out",
        &files.certificate,
    ])
    .expect("an authority");
    files
}

/// Puts an authority where the Cluster looks for it.
fn give(namespace: &Namespace<'_>, files: &Files) {
    let (certificate, key) = (
        format!("--cert={}", files.certificate),
        format!("--key={}", files.key),
    );
    let args = [
        "create",
        "secret",
        "tls",
        "company",
        &certificate,
        &key,
        "--dry-run=client",
        "-o",
        "yaml",
    ];
    let manifest = namespace.kubectl(&args);
    namespace.apply(&manifest);
}

/// Whether whoever listens proves to be this name or address, by this authority.
fn greets(at: &str, authority: &Files, name: &str) -> Result<(), String> {
    let named = if name.parse::<std::net::IpAddr>().is_ok() {
        "-verify_ip"
    } else {
        "-verify_hostname"
    };
    openssl(&[
        "s_client",
        "-connect",
        at,
        "-CAfile",
        &authority.certificate,
        named,
        name,
        "-verify_return_error",
        "-brief",
    ])
}

fn openssl(args: &[&str]) -> Result<(), String> {
    let ran = crate::command::run(std::path::Path::new("openssl"), args, b"", 10);
    if ran.success { Ok(()) } else { Err(ran.all()) }
}
