use std::collections::BTreeMap;

use flotilla_crds::Cluster;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::names::{Names, owned};
use super::{CLIENTS_CA_FILE, Held, INTERNAL_CA_FILE, Trust, Unreadable};
use crate::certificate::Issued;

/// All that a pool's Secret holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// The certificates by stem.
    pub issued: BTreeMap<String, Issued>,
    /// The authorities of members, as PEM.
    pub internal_ca: String,
    /// The authorities of clients, as PEM.
    pub clients_ca: String,
    /// A digest of the key of each authority that issued them.
    pub authorities: BTreeMap<Trust, String>,
}

/// The annotation with the digest of the key of the authority that issued what a Secret holds.
fn annotation(trust: Trust) -> String {
    format!("flotilla.dev/{trust}-authority")
}

/// The Secret with the certificates of a pool's brokers: one, so that it can be mounted as a directory and its files change while
/// brokers run.
#[must_use]
pub fn certificates_secret(cluster: &Cluster, pool: &str, bundle: &Bundle) -> Secret {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut data = BTreeMap::from([
        (INTERNAL_CA_FILE.to_owned(), bytes(&bundle.internal_ca)),
        (CLIENTS_CA_FILE.to_owned(), bytes(&bundle.clients_ca)),
    ]);
    for (stem, issued) in &bundle.issued {
        data.insert(format!("{stem}.crt"), bytes(&issued.certificate));
        data.insert(format!("{stem}.key"), bytes(&issued.key));
    }
    let annotations = bundle
        .authorities
        .iter()
        .map(|(trust, digest)| (annotation(*trust), digest.clone()))
        .collect();
    Secret {
        metadata: ObjectMeta {
            annotations: Some(annotations),
            ..owned(cluster, Names::of(cluster).certificates(pool))
        },
        type_: Some("Opaque".to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

/// What a Secret holds under a stem, and by whom: the input of [`super::renewal`]. Half a pair counts as none.
#[must_use]
pub fn held(secret: &Secret, stem: &str, trust: Trust) -> (Option<Result<Held, Unreadable>>, Option<String>) {
    let file = |ending: &str| {
        let bytes = secret.data.as_ref()?.get(&format!("{stem}.{ending}"))?;
        std::str::from_utf8(&bytes.0).ok()
    };
    let held = file("key").and(file("crt")).map(Held::read);
    (held, issued_by(secret, trust))
}

/// A digest of the key of the authority that issued what a Secret holds.
#[must_use]
pub fn issued_by(secret: &Secret, trust: Trust) -> Option<String> {
    let annotations = secret.metadata.annotations.as_ref();
    annotations?.get(&annotation(trust)).cloned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::testing;
    use super::*;

    fn bundle() -> Bundle {
        let issued = Issued {
            certificate: "certificate".into(),
            key: "key".into(),
        };
        Bundle {
            issued: BTreeMap::from([("events-main-0.internal".into(), issued)]),
            internal_ca: "internal".into(),
            clients_ca: "clients".into(),
            authorities: BTreeMap::from([(Trust::Internal, "1234".into())]),
        }
    }

    #[test]
    fn secret_of_a_pool_is_whole() {
        let mut metadata = testing::metadata("events-main-certificates");
        metadata["annotations"] = json!({"flotilla.dev/internal-authority": "1234"});
        assert_eq!(
            serde_json::to_value(certificates_secret(&testing::cluster(), "main", &bundle())).unwrap(),
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata,
                "type": "Opaque",
                "data": {
                    "internal-ca.crt": "aW50ZXJuYWw=",
                    "clients-ca.crt": "Y2xpZW50cw==",
                    "events-main-0.internal.crt": "Y2VydGlmaWNhdGU=",
                    "events-main-0.internal.key": "a2V5",
                },
            })
        );
    }

    #[test]
    fn secret_tells_what_it_holds_and_by_whom() {
        let mut secret = certificates_secret(&testing::cluster(), "main", &bundle());
        let look = |secret: &Secret, stem| held(secret, stem, Trust::Internal);
        assert_eq!(
            look(&secret, "events-main-0.internal"),
            (Some(Err(Unreadable)), Some("1234".into()))
        );
        assert_eq!(look(&secret, "events-main-1.internal").0, None);
        assert_eq!(held(&secret, "events-main-0.internal", Trust::Cluster).1, None);
        secret.data.as_mut().unwrap().remove("events-main-0.internal.key");
        assert_eq!(look(&secret, "events-main-0.internal").0, None);
    }
}
