use std::collections::BTreeMap;

use flotilla_control::proto::fleet::ApplyUserRequest;
use flotilla_control::proto::metadata::KeyQuota;
use flotilla_crds::{AclRule, Cluster, DeletionPolicy, Quotas, User, UserAuthenticationType};

use super::{Scope, acls, admit, granted};
use crate::{Problem, owner};

/// A common name in a certificate has no more characters (RFC 5280).
const COMMON_NAME_CHARS_MAX: usize = 64;

/// The command for a User, or nothing of it. `password` is needed for SCRAM alone; `namespace_labels` are those of the User's
/// namespace, and `owned_topics` the Kafka names of the Topics in it.
///
/// # Errors
/// What the User's namespace may not do, or no password for SCRAM.
pub fn apply(
    user: &User,
    cluster: &Cluster,
    namespace_labels: &BTreeMap<String, String>,
    owned_topics: &[&str],
    password: Option<&str>,
) -> Result<ApplyUserRequest, Problem> {
    let scope = admit(user, cluster, namespace_labels)?;
    let granted = granted(user, &scope, owned_topics);
    if let Some(refused) = granted.refused {
        return Err(refused);
    }
    request(user, &scope, &granted.rules, password)
}

/// The command that gives a User these of its rules. What the resource does not speak of, the fleet leaves as it is. A guest's
/// user has what its resource says and nothing else: else a team could take over a name that somebody gave rights to.
///
/// # Errors
/// No password for SCRAM, or a name that no certificate can hold.
pub fn request(
    user: &User,
    scope: &Scope,
    rules: &[&AclRule],
    password: Option<&str>,
) -> Result<ApplyUserRequest, Problem> {
    let name = user.metadata.name.as_deref().unwrap_or_default();
    let (authentication, needs_password) = match user.spec.authentication.type_ {
        UserAuthenticationType::ScramSha512 => ("scram-sha-512", true),
        UserAuthenticationType::ScramSha256 => ("scram-sha-256", true),
        UserAuthenticationType::Mtls => ("mtls", false),
    };
    if !needs_password && name.chars().count() > COMMON_NAME_CHARS_MAX {
        return Err(Problem::spec(
            "metadata.name",
            format!("a certificate names at most {COMMON_NAME_CHARS_MAX} characters: choose a shorter name"),
        ));
    }
    let password = match (needs_password, password) {
        (false, _) => "",
        (true, Some(password)) if !password.is_empty() => password,
        (true, _) => {
            return Err(Problem::spec(
                "spec.authentication.passwordFrom",
                "the password is empty or missing",
            ));
        }
    };
    let own = *scope == Scope::Own;
    Ok(ApplyUserRequest {
        name: name.to_owned(),
        authentication: authentication.to_owned(),
        password: password.to_owned(),
        acls: acls(name, rules.iter().copied()),
        leave_acls: own && user.spec.authorization.is_none(),
        leave_quotas: own && user.spec.quotas.is_none(),
        quotas: user.spec.quotas.as_ref().map(quotas).unwrap_or_default(),
        owner: Some(owner(&user.metadata, DeletionPolicy::Delete)),
        previous_owner: None,
        dry_run: false,
    })
}

/// Kafka's names of the quotas (KIP-257).
fn quotas(quotas: &Quotas) -> Vec<KeyQuota> {
    [
        (
            "producer_byte_rate",
            quotas.producer_byte_rate.map(|rate| rate as f64),
        ),
        (
            "consumer_byte_rate",
            quotas.consumer_byte_rate.map(|rate| rate as f64),
        ),
        ("request_percentage", quotas.request_percentage),
        ("controller_mutation_rate", quotas.controller_mutation_rate),
    ]
    .into_iter()
    .filter_map(|(key, value)| {
        Some(KeyQuota {
            key: key.to_owned(),
            value: value?,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use flotilla_control::proto::metadata::Acl;
    use serde_json::json;

    use super::super::testing;
    use super::*;

    fn cluster() -> Cluster {
        testing::cluster(json!({"allowedNamespaces": [{"from": "All", "prefixes": ["shop-"]}]}))
    }

    fn command(user: &User, password: Option<&str>) -> Result<ApplyUserRequest, Problem> {
        apply(user, &cluster(), &BTreeMap::new(), &[], password)
    }

    #[test]
    fn command_says_all_that_the_resource_says() {
        let mut user = testing::user(json!({"type": "scram-sha-512"}));
        user.spec.authorization = serde_json::from_value(json!({"acls": [
            {"resource": {"type": "topic", "name": "shop-", "pattern": "prefixed"}, "operations": ["Read", "Write"]},
        ]}))
        .unwrap();
        user.spec.quotas = serde_json::from_value(json!({"producerByteRate": 1000})).unwrap();
        let acl = |operation| Acl {
            id: Default::default(),
            resource_type: 2,
            resource_name: "shop-".into(),
            pattern_type: 4,
            principal: "User:checkout".into(),
            host: "*".into(),
            operation,
            permission_type: 3,
        };
        let expected = ApplyUserRequest {
            name: "checkout".into(),
            authentication: "scram-sha-512".into(),
            password: "secret".into(),
            acls: vec![acl(3), acl(4)],
            quotas: vec![KeyQuota {
                key: "producer_byte_rate".into(),
                value: 1_000.0,
            }],
            owner: Some(testing::owner("shop", "checkout", "uid-of-checkout")),
            ..ApplyUserRequest::default()
        };
        assert_eq!(command(&user, Some("secret")), Ok(expected));
    }

    #[test]
    fn what_the_resource_does_not_name_is_left_to_the_clusters_own_and_denied_to_guests() {
        let mut user = testing::user(json!({"type": "mtls"}));
        let left = |user: &User| {
            let command = command(user, None).unwrap();
            (command.leave_acls, command.leave_quotas)
        };
        assert_eq!(left(&user), (false, false));
        user.metadata.namespace = Some("streaming".into());
        assert_eq!(left(&user), (true, true));
        user.spec.authorization = Some(Default::default());
        assert_eq!(left(&user), (false, true));
    }

    #[test]
    fn scram_without_a_password_is_refused() {
        let user = testing::user(json!({"type": "scram-sha-512"}));
        for password in [None, Some("")] {
            let problem = command(&user, password).unwrap_err();
            assert_eq!(problem.field, "spec.authentication.passwordFrom");
        }
    }

    #[test]
    fn name_too_long_for_a_certificate_is_refused_for_one_only() {
        let mut user = testing::user(json!({"type": "mtls"}));
        user.metadata.name = Some("a".repeat(65));
        assert_eq!(command(&user, None).unwrap_err().field, "metadata.name");
        user.spec.authentication.type_ = UserAuthenticationType::ScramSha256;
        assert!(command(&user, Some("secret")).is_ok());
    }
}
