//! How brokers are reached from outside, where the test plays whoever gives addresses: a cloud's load balancers, an ingress controller.

use std::time::Duration;

use flotilla_operator::cluster::certificate::Held;
use serde_json::{Value, json};

use crate::admission::plane;
use crate::authorities::file;
use crate::control_plane::ControlPlane;
use crate::operator::{Operator, account, apply, condition, eventually, get, list, quiet};

fn cluster(namespace: &str, exposure: Value) -> Value {
    json!({
        "apiVersion": "flotilla.dev/v1alpha1", "kind": "Cluster", "metadata": {"namespace": namespace, "name": "events"},
        "spec": {
            "replicas": 3,
            "listeners": [{
                "name": "external", "port": 9094, "tls": true, "authentication": ["scram-sha-512"], "exposure": exposure,
            }],
        },
    })
}

fn bootstrap(plane: &ControlPlane, namespace: &str) -> Option<String> {
    let found = get(plane, "cluster.flotilla.dev", namespace, "events")?;
    Some(found["status"]["listeners"]["external"].as_str()?.to_owned())
}

/// The names that clients see of a broker.
fn names(plane: &ControlPlane, namespace: &str, broker: usize) -> Vec<String> {
    let stem = format!("events-main-{broker}.listener.crt");
    let certificate = file(plane, namespace, "events-main-certificates", &stem);
    let held = certificate.map(|certificate| Held::read(&certificate).unwrap());
    held.map(|held| held.names.into_iter().collect())
        .unwrap_or_default()
}

#[test]
fn load_balancers_addresses_are_reported_and_named_by_certificates_as_they_come() {
    let plane = plane();
    let namespace = "balanced";
    let _operator = Operator::serving(plane, &[namespace]);
    let note = json!({"note": "broker-{id}"});
    apply(
        plane,
        &cluster(namespace, json!({"type": "LoadBalancer", "annotations": note})).to_string(),
    );
    let balanced = eventually("a Service for each broker, and one to begin at", || {
        let services = list(plane, "services", namespace);
        let balanced: Vec<Value> = services
            .into_iter()
            .filter(|service| service["spec"]["type"] == "LoadBalancer")
            .collect();
        (balanced.len() == 4).then_some(balanced)
    });
    let annotated: Vec<(&str, &Value)> = balanced
        .iter()
        .map(|service| {
            let metadata = &service["metadata"];
            (
                metadata["name"].as_str().unwrap(),
                &metadata["annotations"]["note"],
            )
        })
        .collect();
    assert_eq!(
        annotated,
        [
            ("events-external", &Value::Null),
            ("events-external-0", &"broker-0".into()),
            ("events-external-1", &"broker-1".into()),
            ("events-external-2", &"broker-2".into()),
        ]
    );
    eventually("the Cluster says how it stands", || {
        condition(&get(plane, "cluster.flotilla.dev", namespace, "events")?, "Ready").map(drop)
    });
    assert_eq!(bootstrap(plane, namespace), None, "no address is known yet");

    // A cloud gives addresses to some, and a name to another.
    let give = |service: &str, ingress: Value| {
        let status = json!({"status": {"loadBalancer": {"ingress": [ingress]}}}).to_string();
        plane.kubectl(&[
            "patch",
            "service",
            service,
            "-n",
            namespace,
            "--subresource=status",
            "--type=merge",
            "-p",
            &status,
        ]);
    };
    give("events-external", json!({"hostname": "kafka.cloud.example"}));
    give("events-external-0", json!({"ip": "203.0.113.10"}));
    eventually("where clients begin", || {
        (bootstrap(plane, namespace).as_deref() == Some("kafka.cloud.example:9094")).then_some(())
    });
    eventually("the certificate names both", || {
        let names = names(plane, namespace, 0);
        let named = |name: &str| names.iter().any(|held| held == name);
        (named("DNS:kafka.cloud.example") && named("IP:203.0.113.10")).then_some(())
    });
    let other = names(plane, namespace, 1);
    assert!(
        !other.iter().any(|name| name.contains("203.0.113.10")),
        "{other:?}"
    );

    // An address changes.
    give("events-external-0", json!({"ip": "203.0.113.99"}));
    eventually("the certificate names the new one", || {
        let names = names(plane, namespace, 0);
        names.contains(&"IP:203.0.113.99".to_owned()).then_some(())
    });
    quiet(plane, &account(&[namespace]), Duration::from_secs(3));
}

#[test]
fn ingresses_pass_tls_through_under_a_host_of_each_broker() {
    let plane = plane();
    let namespace = "ingressed";
    let _operator = Operator::serving(plane, &[namespace]);
    let exposure = json!({
        "type": "Ingress", "bootstrapHost": "kafka.example.com", "hostTemplate": "kafka-{id}.example.com",
        "annotations": {"external-dns.alpha.kubernetes.io/hostname": "{host}"},
    });
    apply(plane, &cluster(namespace, exposure).to_string());
    let ingresses = eventually("an Ingress for each broker, and one to begin at", || {
        let found = list(plane, "ingresses", namespace);
        (found.len() == 4).then_some(found)
    });
    for (ingress, host) in ingresses.iter().zip([
        "kafka.example.com",
        "kafka-0.example.com",
        "kafka-1.example.com",
        "kafka-2.example.com",
    ]) {
        let name = &ingress["metadata"]["name"];
        let annotations = &ingress["metadata"]["annotations"];
        assert_eq!(annotations["nginx.ingress.kubernetes.io/ssl-passthrough"], "true");
        assert_eq!(annotations["external-dns.alpha.kubernetes.io/hostname"], host);
        assert_eq!(ingress["spec"]["tls"], json!([{"hosts": [host]}]));
        let rule = &ingress["spec"]["rules"][0];
        assert_eq!(rule["host"], host);
        let behind = &rule["http"]["paths"][0]["backend"]["service"];
        assert_eq!(*behind, json!({"name": name, "port": {"number": 9094}}));
        let service = get(plane, "service", namespace, name.as_str().unwrap()).unwrap();
        assert_eq!(service["spec"]["type"], "ClusterIP");
    }
    eventually("where clients begin", || {
        (bootstrap(plane, namespace).as_deref() == Some("kafka.example.com:443")).then_some(())
    });
    let named = eventually("a certificate", || {
        Some(names(plane, namespace, 2)).filter(|names| !names.is_empty())
    });
    for name in ["DNS:kafka.example.com", "DNS:kafka-2.example.com"] {
        assert!(named.iter().any(|held| held == name), "{named:?}");
    }
    quiet(plane, &account(&[namespace]), Duration::from_secs(3));

    // They go when the listener is exposed no more.
    let inside =
        json!([{"name": "external", "port": 9094, "tls": true, "authentication": ["scram-sha-512"]}]);
    let patch = json!({"spec": {"listeners": inside}}).to_string();
    plane.kubectl(&[
        "patch",
        "cluster.flotilla.dev",
        "events",
        "-n",
        namespace,
        "--type=merge",
        "-p",
        &patch,
    ]);
    eventually("no Ingress", || {
        list(plane, "ingresses", namespace).is_empty().then_some(())
    });
}
