use flotilla_crds::User;
use k8s_openapi::api::core::v1::Secret;

use super::secret::is_file_of_ours;
use crate::certificate::Issued;

/// What the Secret beside a User holds already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldSecret {
    /// The password, if it can be one.
    pub password: Option<String>,
    /// The certificate and its key, both.
    pub certificate: Option<Issued>,
    /// A digest of the key of the authority that issued it.
    pub issued_by: Option<String>,
}

/// Where the Secret beside a User says which authority issued its certificate.
const ISSUED_BY: &str = "flotilla.dev/clients-authority";

/// Notes in a User's Secret which authority issued its certificate.
pub fn note_issuer(secret: &mut Secret, key_digest: &str) {
    let annotations = secret.metadata.annotations.get_or_insert_default();
    annotations.insert(ISSUED_BY.to_owned(), key_digest.to_owned());
}

/// What a Secret beside a User holds. A password with line breaks is none.
#[must_use]
pub fn held(secret: &Secret) -> HeldSecret {
    let file = |name: &str| {
        let bytes = &secret.data.as_ref()?.get(name)?.0;
        std::str::from_utf8(bytes)
            .ok()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let annotations = secret.metadata.annotations.as_ref();
    HeldSecret {
        password: file("password").filter(|password| super::check_password(password).is_ok()),
        certificate: file("tls.crt")
            .zip(file("tls.key"))
            .map(|(certificate, key)| Issued { certificate, key }),
        issued_by: annotations.and_then(|all| all.get(ISSUED_BY).cloned()),
    }
}

/// Whether a Secret is this User's, and not of somebody else who took the name, or of a User that had the name before.
#[must_use]
pub fn is_of(secret: &Secret, user: &User) -> bool {
    let owners = secret.metadata.owner_references.as_deref().unwrap_or_default();
    owners
        .iter()
        .any(|owner| owner.kind == "User" && Some(&owner.uid) == user.metadata.uid.as_ref())
}

/// The files in the live Secret that are not in the desired one any more, after a change of type. Files that others put there stay.
#[must_use]
pub fn stale(desired: &Secret, live: &Secret) -> Vec<String> {
    let wanted = |name: &String| desired.data.as_ref().is_some_and(|data| data.contains_key(name));
    live.data
        .iter()
        .flatten()
        .map(|(name, _)| name)
        .filter(|name| is_file_of_ours(name) && !wanted(name))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::super::testing;
    use super::*;

    fn secret(files: &[(&str, &str)]) -> Secret {
        let data: BTreeMap<String, ByteString> = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), ByteString(text.as_bytes().to_vec())))
            .collect();
        Secret {
            data: Some(data),
            ..Secret::default()
        }
    }

    #[test]
    fn half_a_pair_and_a_password_that_is_none_are_not_held() {
        assert_eq!(held(&Secret::default()), HeldSecret::default());
        assert_eq!(
            held(&secret(&[("password", "a\nb"), ("tls.crt", "x")])),
            HeldSecret::default()
        );
        assert_eq!(held(&secret(&[("password", "")])).password, None);
        let whole = held(&secret(&[("password", "p"), ("tls.crt", "x"), ("tls.key", "y")]));
        assert_eq!(whole.password.as_deref(), Some("p"));
        assert_eq!(whole.certificate.unwrap().key, "y");
    }

    #[test]
    fn secret_of_an_earlier_user_of_the_name_is_not_this_ones() {
        let user = testing::user(json!({"type": "mtls"}));
        let of = |kind: &str, uid: &str| {
            let owner =
                json!({"apiVersion": "flotilla.dev/v1alpha1", "kind": kind, "name": "checkout", "uid": uid});
            let secret: Secret =
                serde_json::from_value(json!({"metadata": {"ownerReferences": [owner]}})).unwrap();
            is_of(&secret, &user)
        };
        assert!(of("User", "uid-of-checkout"));
        assert!(!of("User", "another"));
        assert!(!of("Cluster", "uid-of-checkout"));
        assert!(!is_of(&Secret::default(), &user));
    }

    #[test]
    fn files_of_the_former_type_are_stale_and_those_of_others_are_not() {
        let live = secret(&[
            ("password", "p"),
            ("mine", "m"),
            ("bootstrap.servers.old", "x"),
            ("username", "u"),
        ]);
        assert_eq!(
            stale(&secret(&[("username", "u"), ("tls.crt", "c")]), &live),
            ["bootstrap.servers.old", "password"]
        );
    }
}
