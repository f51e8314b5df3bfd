//! Who proves brokers and users: an authority that is given, the operator's own as it ages, and cert-manager, which the test plays.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flotilla_operator::certificate::{Authority, Issued, Validity};
use flotilla_operator::cluster::certificate::Held;
use serde_json::{Value, json};

use crate::admission::plane;
use crate::control_plane::ControlPlane;
use crate::operator::{Operator, account, apply, condition, eventually, get, list, quiet};

const DAY_S: u64 = 86_400;
/// The pool's Secret, and the files in it that clients see of broker 0.
const POOL: &str = "events-main-certificates";
const LISTENER: &str = "events-main-0.listener";

fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An authority that lasts from now on for so many seconds.
fn authority(name: &str, seconds: u64) -> Authority {
    let validity = Validity {
        from_unix_s: now_unix_s(),
        lasts: Duration::from_secs(seconds),
    };
    Authority::generate(name, validity).unwrap()
}

/// A Secret as users keep an authority in it.
fn secret(namespace: &str, name: &str, pair: &Issued) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": pair.certificate, "tls.key": pair.key},
    })
}

fn cluster(namespace: &str, tls: Value) -> Value {
    json!({
        "apiVersion": "flotilla.dev/v1alpha1", "kind": "Cluster", "metadata": {"namespace": namespace, "name": "events"},
        "spec": {
            "replicas": 3,
            "listeners": [{"name": "internal", "port": 9092, "tls": true, "authentication": ["mtls"]}],
            "tls": tls,
        },
    })
}

fn user(namespace: &str) -> Value {
    json!({
        "apiVersion": "flotilla.dev/v1alpha1", "kind": "User", "metadata": {"namespace": namespace, "name": "checkout"},
        "spec": {"cluster": {"name": "events"}, "authentication": {"type": "mtls"}},
    })
}

/// A file of a Secret; `None` while it is not there.
pub fn file(plane: &ControlPlane, namespace: &str, secret: &str, file: &str) -> Option<String> {
    let found = get(plane, "secret", namespace, secret)?;
    let bytes = BASE64.decode(found["data"][file].as_str()?).unwrap();
    Some(String::from_utf8(bytes).unwrap())
}

/// Whether a certificate is from an authority, as OpenSSL judges it.
fn is_from(certificate: &str, authority: &str) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let verified = Command::new("openssl")
        .args(["verify", "-no_check_time", "-CAfile"])
        .arg(at("ca", authority))
        .arg(at("leaf", certificate))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    verified.unwrap().success()
}

fn end_of(certificate: &str) -> u64 {
    Held::read(certificate).unwrap().until_unix_s
}

/// The certificate that clients see of broker 0, once it is from this authority.
fn listener_from(plane: &ControlPlane, namespace: &str, authority: &Authority) -> String {
    let file_name = format!("{LISTENER}.crt");
    eventually("the listener's certificate is from the authority", || {
        let certificate = file(plane, namespace, POOL, &file_name)?;
        is_from(&certificate, &authority.pem().certificate).then_some(certificate)
    })
}

fn message(plane: &ControlPlane, namespace: &str) -> Option<String> {
    let found = get(plane, "cluster.flotilla.dev", namespace, "events")?;
    Some(condition(&found, "Ready")?["message"].as_str()?.to_owned())
}

#[test]
fn given_authorities_issue_for_brokers_and_users_and_their_successors_are_followed() {
    let plane = plane();
    let namespace = "given";
    let _operator = Operator::serving(plane, &[namespace]);
    let tls =
        json!({"clusterCa": {"secret": {"name": "company"}}, "clientsCa": {"secret": {"name": "clients"}}});
    apply(
        plane,
        &format!("{}\n---\n{}", cluster(namespace, tls), user(namespace)),
    );
    eventually("it is said that there is no authority", || {
        message(plane, namespace).filter(|said| said.contains("there is no Secret `company`"))
    });

    let (first, clients) = (authority("first", 900 * DAY_S), authority("clients", 900 * DAY_S));
    apply(plane, &secret(namespace, "company", first.pem()).to_string());
    apply(plane, &secret(namespace, "clients", clients.pem()).to_string());
    listener_from(plane, namespace, &first);
    // What brokers show each other is the operator's own affair.
    let internal = || file(plane, namespace, POOL, "events-main-0.internal.crt").unwrap();
    let among_brokers = internal();
    assert!(!is_from(&among_brokers, &first.pem().certificate));
    let trusted = |secret: &str, of: &str| file(plane, namespace, secret, of).unwrap_or_default();
    assert_eq!(
        trusted("events-cluster-ca", "ca.crt").trim(),
        first.pem().certificate.trim()
    );
    assert_eq!(
        trusted("events-cluster-ca", "tls.key"),
        "",
        "the key stays where it was given"
    );
    assert_eq!(
        trusted(POOL, "clients-ca.crt").trim(),
        clients.pem().certificate.trim()
    );
    let of_user = |authority: &Authority| {
        eventually("the user's certificate is from the authority", || {
            let certificate = file(plane, namespace, "checkout", "tls.crt")?;
            is_from(&certificate, &authority.pem().certificate).then_some(certificate)
        })
    };
    of_user(&clients);
    assert!(trusted("checkout", "ca.crt").contains(first.pem().certificate.trim()));

    // Successors: everything is issued anew, and the former ones stay trusted, since clients and brokers follow one by one.
    let (second, clients_again) = (
        authority("second", 900 * DAY_S),
        authority("clients again", 900 * DAY_S),
    );
    apply(plane, &secret(namespace, "company", second.pem()).to_string());
    apply(
        plane,
        &secret(namespace, "clients", clients_again.pem()).to_string(),
    );
    listener_from(plane, namespace, &second);
    of_user(&clients_again);
    for (secret, file, former) in [
        ("events-cluster-ca", "ca.crt", &first),
        ("events-clients-ca", "ca.crt", &clients),
        (POOL, "clients-ca.crt", &clients),
        ("checkout", "ca.crt", &first),
    ] {
        eventually("both are trusted", || {
            trusted(secret, file)
                .contains(former.pem().certificate.trim())
                .then_some(())
        });
    }
    assert_eq!(internal(), among_brokers);
    quiet(plane, &account(&[namespace]), Duration::from_secs(3));

    // It is taken away for a while: what it issued goes on, then and afterwards.
    let kept = listener_from(plane, namespace, &second);
    plane.kubectl(&["delete", "secret", "company", "-n", namespace]);
    eventually("it is said that there is no authority", || {
        message(plane, namespace).filter(|said| said.contains("there is no Secret `company`"))
    });
    let patch = r#"{"spec": {"quotas": {"producerByteRate": 1000}}}"#;
    plane.kubectl(&[
        "patch",
        "user.flotilla.dev",
        "checkout",
        "-n",
        namespace,
        "--type=merge",
        "-p",
        patch,
    ]);
    let said = eventually("the User is looked at", || {
        let found = get(plane, "user.flotilla.dev", namespace, "checkout")?;
        let ready = condition(&found, "Ready")?.clone();
        (ready["observedGeneration"] == found["metadata"]["generation"]).then_some(ready["message"].clone())
    });
    assert!(
        !said.to_string().contains("company"),
        "a User does not wait for it: {said}"
    );
    apply(plane, &secret(namespace, "company", second.pem()).to_string());
    eventually("nothing is wrong any more", || {
        message(plane, namespace).filter(|said| !said.contains("company"))
    });
    quiet(plane, &account(&[namespace]), Duration::from_secs(3));
    assert_eq!(listener_from(plane, namespace, &second), kept);
}

#[test]
fn given_authority_at_its_end_is_not_asked_again_and_again() {
    let plane = plane();
    let namespace = "ending";
    let _operator = Operator::serving(plane, &[namespace]);
    // The one ends soon enough that all it issues is due for renewal at once; the other has ended.
    let ending = authority("ending", 1_200);
    let tls =
        json!({"clusterCa": {"secret": {"name": "company"}}, "clientsCa": {"secret": {"name": "company"}}});
    apply(plane, &secret(namespace, "company", ending.pem()).to_string());
    apply(
        plane,
        &format!("{}\n---\n{}", cluster(namespace, tls), user(namespace)),
    );
    let first = listener_from(plane, namespace, &ending);
    assert_eq!(end_of(&first), end_of(&ending.pem().certificate));
    quiet(plane, &account(&[namespace]), Duration::from_secs(4));
    assert_eq!(listener_from(plane, namespace, &ending), first);

    // Its owner gives it more time: the same key, and what it issued lasts longer.
    let longer = Validity::days(now_unix_s(), 400);
    let renewed = ending.renew("ending", longer).unwrap();
    apply(plane, &secret(namespace, "company", renewed.pem()).to_string());
    eventually("the listener's certificate lasts longer", || {
        let certificate = file(plane, namespace, POOL, &format!("{LISTENER}.crt"))?;
        (end_of(&certificate) > now_unix_s() + 300 * DAY_S).then_some(())
    });

    let ended = authority("ended", 0);
    apply(plane, &secret(namespace, "company", ended.pem()).to_string());
    let said = eventually("it is said that it has ended", || {
        message(plane, namespace).filter(|said| said.contains("has ended"))
    });
    assert!(
        said.contains("spec.tls.") && said.contains("put its successor there"),
        "{said}"
    );
    quiet(plane, &account(&[namespace]), Duration::from_secs(4));
}

#[test]
fn aged_certificates_and_authorities_are_renewed_in_place() {
    let plane = plane();
    let namespace = "aged";
    let _operator = Operator::serving(plane, &[namespace]);
    apply(
        plane,
        &format!("{}\n---\n{}", cluster(namespace, json!({})), user(namespace)),
    );
    let pair_of = |secret: &str, stem: &str| {
        eventually("it is issued", || {
            Some(Issued {
                certificate: file(plane, namespace, secret, &format!("{stem}.crt"))?,
                key: file(plane, namespace, secret, &format!("{stem}.key"))?,
            })
        })
    };
    let put = |secret: &str, stem: &str, pair: &Issued| {
        let data = json!({"data": {
            format!("{stem}.crt"): BASE64.encode(&pair.certificate), format!("{stem}.key"): BASE64.encode(&pair.key),
        }});
        plane.kubectl(&[
            "patch",
            "secret",
            secret,
            "-n",
            namespace,
            "--type=merge",
            "-p",
            &data.to_string(),
        ]);
    };
    let set = eventually("the brokers' StatefulSet", || {
        get(plane, "statefulset", namespace, "events-main")
    });
    let cluster_ca = Authority::load(pair_of("events-cluster-ca", "tls")).unwrap();
    let clients_ca = Authority::load(pair_of("events-clients-ca", "tls")).unwrap();
    let others = [
        pair_of(POOL, "events-main-1.listener"),
        pair_of(POOL, "events-main-0.internal"),
    ];

    // As they were eleven months after they were issued: a minute less than twenty days are left, and thirty are asked for.
    let aged = Validity::days(now_unix_s() - 345 * DAY_S - 60, 365);
    let hosts: Vec<String> = Held::read(&pair_of(POOL, LISTENER).certificate)
        .unwrap()
        .names
        .iter()
        .filter_map(|name| Some(name.split_once(':')?.1.to_owned()))
        .collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    put(POOL, LISTENER, &cluster_ca.issue_listener(&hosts, aged).unwrap());
    // Users come after their Cluster.
    pair_of("checkout", "tls");
    put(
        "checkout",
        "tls",
        &clients_ca.issue_user("checkout", aged).unwrap(),
    );
    for (secret, stem, authority) in [(POOL, LISTENER, &cluster_ca), ("checkout", "tls", &clients_ca)] {
        eventually("it is renewed", || {
            let certificate = pair_of(secret, stem).certificate;
            let lasts = end_of(&certificate) > now_unix_s() + 360 * DAY_S;
            (lasts && is_from(&certificate, &authority.pem().certificate)).then_some(())
        });
    }
    assert_eq!(
        others,
        [
            pair_of(POOL, "events-main-1.listener"),
            pair_of(POOL, "events-main-0.internal")
        ]
    );
    for about in ["cluster/events", "user/checkout"] {
        eventually("an event says so", || {
            let events = plane.kubectl(&["events", "--for", about, "-n", namespace]);
            events.contains("it ends in 19 days").then_some(())
        });
    }

    // The authority itself, when a certificate that it issued now would not outlive it with days to spare.
    let aged = Validity::days(now_unix_s() - 3_280 * DAY_S, 3_650);
    let old = cluster_ca.renew("aged/events cluster authority", aged).unwrap();
    put("events-cluster-ca", "tls", old.pem());
    let renewed = eventually("the authority is renewed", || {
        let pair = pair_of("events-cluster-ca", "tls");
        (end_of(&pair.certificate) > now_unix_s() + 3_600 * DAY_S).then_some(pair)
    });
    assert_eq!(renewed.key, cluster_ca.pem().key, "what it issued stays good");
    assert!(is_from(&others[0].certificate, &renewed.certificate));
    let trusted = file(plane, namespace, "events-cluster-ca", "ca.crt").unwrap();
    assert!(
        trusted.contains(old.pem().certificate.trim()),
        "the former one is trusted until it ends"
    );

    quiet(plane, &account(&[namespace]), Duration::from_secs(3));
    let after = get(plane, "statefulset", namespace, "events-main").unwrap();
    assert_eq!(
        after["metadata"]["resourceVersion"], set["metadata"]["resourceVersion"],
        "nothing restarts"
    );
}

/// As much of cert-manager's definition as a request needs.
const CERTIFICATES: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: certificates.cert-manager.io}
spec:
  group: cert-manager.io
  scope: Namespaced
  names: {kind: Certificate, plural: certificates, singular: certificate}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

/// Answers all Certificates of a namespace as cert-manager would, each with a new key; where it does not `renew`, those that have no
/// answer yet. What this answers with is when they end, by Secret.
fn issue_all(
    plane: &ControlPlane,
    namespace: &str,
    authority: &Authority,
    days: u32,
    renew: bool,
) -> BTreeMap<String, u64> {
    let mut ends = BTreeMap::new();
    for certificate in list(plane, "certificates.cert-manager.io", namespace) {
        let spec = &certificate["spec"];
        let name = spec["secretName"].as_str().unwrap();
        if let (false, Some(issued)) = (renew, file(plane, namespace, name, "tls.crt")) {
            ends.insert(name.to_owned(), end_of(&issued));
            continue;
        }
        assert_eq!(
            spec["issuerRef"],
            json!({"name": "company", "kind": "ClusterIssuer", "group": "cert-manager.io"})
        );
        let validity = Validity::days(now_unix_s(), days);
        let issued = match spec["commonName"].as_str() {
            Some(name) => authority.issue_user(name, validity),
            None => {
                let names = spec["dnsNames"].as_array().into_iter().flatten();
                let names: Vec<&str> = names
                    .chain(spec["ipAddresses"].as_array().into_iter().flatten())
                    .filter_map(Value::as_str)
                    .collect();
                authority.issue_listener(&names, validity)
            }
        }
        .unwrap();
        let mut answer = secret(namespace, name, &issued);
        answer["stringData"]["ca.crt"] = authority.pem().certificate.clone().into();
        answer["metadata"]["labels"] = spec["secretTemplate"]["labels"].clone();
        apply(plane, &answer.to_string());
        ends.insert(name.to_owned(), end_of(&issued.certificate));
    }
    ends
}

#[test]
fn cert_manager_issues_for_brokers_and_users_and_its_renewals_are_followed_at_once() {
    let plane = plane();
    let namespace = "issuer";
    let _operator = Operator::serving_with(plane, &[namespace], &["certManager.enabled=true"]);
    let issuer = || json!({"issuerRef": {"name": "company", "kind": "ClusterIssuer"}});
    let tls = json!({"clusterCa": issuer(), "clientsCa": issuer()});
    apply(plane, &cluster(namespace, tls).to_string());
    eventually("it is said that cert-manager is not there", || {
        message(plane, namespace).filter(|said| said.contains("cert-manager is not installed"))
    });
    plane.kubectl_with_input(&["apply", "-f", "-"], CERTIFICATES);
    plane.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/certificates.cert-manager.io",
    ]);
    apply(plane, &user(namespace).to_string());

    let company = authority("company", 900 * DAY_S);
    let listener = format!("{LISTENER}.crt");
    let spread = |ends: &BTreeMap<String, u64>, secret: &str, of: &str, from: &str| {
        let certificate = file(plane, namespace, secret, of)?;
        (Some(&end_of(&certificate)) == ends.get(from)).then_some(certificate)
    };
    // The probes of two authorities, three brokers, and the user: each asks when it can.
    let ends = eventually("all is issued and handed on", || {
        let ends = issue_all(plane, namespace, &company, 90, false);
        let of_user = ends.keys().find(|name| name.starts_with("events-user-"))?;
        spread(&ends, POOL, &listener, "events-main-0-listener")?;
        spread(&ends, "checkout", "tls.crt", of_user)?;
        Some(ends)
    });
    assert_eq!(ends.len(), 6, "{ends:?}");
    let of_user = ends.keys().find(|name| name.starts_with("events-user-")).unwrap();
    let trusts = |secret: &str, file_: &str| {
        let trusted = file(plane, namespace, secret, file_).unwrap_or_default();
        trusted.contains(company.pem().certificate.trim())
    };
    assert!(trusts(POOL, "clients-ca.crt") && trusts("checkout", "ca.crt"));
    assert!(!trusts(POOL, "internal-ca.crt"), "cert-manager makes no brokers");
    quiet(plane, &account(&[namespace]), Duration::from_secs(3));

    // It renews: both hear of it without being told, long before the slow look.
    let renewed = issue_all(plane, namespace, &company, 120, true);
    eventually("the renewed ones are handed on", || {
        spread(&renewed, POOL, &listener, "events-main-0-listener")?;
        spread(&renewed, "checkout", "tls.crt", of_user)
    });
    let refused: Vec<Value> = plane
        .audit()
        .into_iter()
        .filter(|entry| {
            entry["impersonatedUser"]["username"] == account(&[namespace]).as_str()
                && entry["responseStatus"]["code"] == 403
        })
        .collect();
    assert_eq!(refused, Vec::<Value>::new(), "the chart's rights are enough");
}
