use flotilla_control::Uuid;
use flotilla_crds::{Cluster, IssuerRef};
use serde_json::{Map, Value, json};

use super::super::names::owned;
use super::{Subject, Terms, Wanted};

const GROUP: &str = "cert-manager.io";

/// cert-manager's request for one certificate, which it answers in a Secret of the same name. Its kinds are not among those that
/// this program has types for: cert-manager need not be there.
#[must_use]
pub fn certificate_request(
    cluster: &Cluster,
    cluster_id: Uuid,
    name: &str,
    wanted: &Wanted,
    issuer: &IssuerRef,
    terms: Terms,
) -> Value {
    let (mut hosts, mut addresses, mut uris, mut common_name) = (Vec::new(), Vec::new(), Vec::new(), None);
    for name in wanted.subject.names(cluster_id) {
        match name.split_once(':') {
            Some(("DNS", host)) => hosts.push(host.to_owned()),
            Some(("IP", address)) => addresses.push(address.to_owned()),
            Some(("URI", uri)) => uris.push(uri.to_owned()),
            Some(("CN", name)) => common_name = Some(name.to_owned()),
            _ => {}
        }
    }
    let usage = match &wanted.subject {
        Subject::Listener(_) => json!(["digital signature", "server auth"]),
        Subject::User(_) | Subject::Operator => json!(["digital signature", "client auth"]),
        Subject::Broker(_) => json!(["digital signature", "server auth", "client auth"]),
    };
    let mut spec = json!({
        "secretName": name,
        "duration": hours(terms.validity_days),
        "renewBefore": hours(terms.renew_before_days),
        "privateKey": {"algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always"},
        "usages": usage,
        "issuerRef": {
            "name": issuer.name,
            "kind": issuer.kind.as_deref().unwrap_or("Issuer"),
            "group": issuer.group.as_deref().unwrap_or(GROUP),
        },
    });
    let lists = [("dnsNames", hosts), ("ipAddresses", addresses), ("uris", uris)];
    let lists = lists
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(field, list)| (field.to_owned(), json!(list)));
    let name_of_user = common_name.map(|name| ("commonName".to_owned(), json!(name)));
    if let Some(fields) = spec.as_object_mut() {
        fields.extend(lists.chain(name_of_user).collect::<Map<_, _>>());
    }
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "Certificate",
        "metadata": owned(cluster, name.to_owned()),
        "spec": spec,
    })
}

/// As Go writes durations.
fn hours(days: u32) -> String {
    format!("{}h0m0s", u64::from(days) * 24)
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::super::Trust;
    use super::*;

    const TERMS: Terms = Terms {
        validity_days: 90,
        renew_before_days: 30,
    };

    fn request(subject: Subject) -> Value {
        let issuer = IssuerRef {
            name: "company".into(),
            kind: Some("ClusterIssuer".into()),
            group: None,
        };
        let wanted = Wanted {
            stem: "x".into(),
            trust: Trust::Cluster,
            subject,
        };
        certificate_request(
            &testing::cluster(),
            Uuid([3; 16]),
            "events-main-0-listener",
            &wanted,
            &issuer,
            TERMS,
        )
    }

    #[test]
    fn request_for_a_listener_is_whole() {
        assert_eq!(
            request(Subject::Listener(vec!["a.example.com".into(), "10.0.0.1".into()])),
            json!({
                "apiVersion": "cert-manager.io/v1",
                "kind": "Certificate",
                "metadata": testing::metadata("events-main-0-listener"),
                "spec": {
                    "secretName": "events-main-0-listener",
                    "duration": "2160h0m0s",
                    "renewBefore": "720h0m0s",
                    "privateKey": {"algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always"},
                    "usages": ["digital signature", "server auth"],
                    "issuerRef": {"name": "company", "kind": "ClusterIssuer", "group": "cert-manager.io"},
                    "dnsNames": ["a.example.com"],
                    "ipAddresses": ["10.0.0.1"],
                },
            })
        );
    }

    #[test]
    fn request_for_a_user_names_it_and_proves_a_client_alone() {
        let request = request(Subject::User("checkout".into()));
        assert_eq!(request["spec"]["commonName"], "checkout");
        assert_eq!(
            request["spec"]["usages"],
            json!(["digital signature", "client auth"])
        );
        assert_eq!(request["spec"].get("dnsNames"), None);
    }
}
