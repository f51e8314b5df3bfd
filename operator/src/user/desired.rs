use std::collections::BTreeMap;

use flotilla_control::proto::fleet::ApplyUserRequest;
use flotilla_control::proto::metadata::KeyQuota;
use flotilla_crds::{Cluster, DeletionPolicy, Quotas, Reason, User, UserAuthenticationType};

use super::{Scope, acls, scope};
use crate::{Problem, namespace_of, owner};

/// The command for a User. `password` is needed for SCRAM alone; `namespace_labels` are those of the User's namespace, and
/// `owned_topics` the Kafka names of the Topics in it.
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
    let name = user.metadata.name.as_deref().unwrap_or_default();
    let scope = scope(cluster, namespace_of(&user.metadata), namespace_labels)?;
    check_name(name, cluster, &scope)?;
    let rules = user
        .spec
        .authorization
        .as_ref()
        .map(|authorization| authorization.acls.as_slice())
        .unwrap_or_default();
    for (place, rule) in rules.iter().enumerate() {
        scope.check(rule, owned_topics).map_err(|problem| Problem {
            field: format!("{}[{place}]", problem.field),
            ..problem
        })?;
    }
    let (authentication, needs_password) = match user.spec.authentication.type_ {
        UserAuthenticationType::ScramSha512 => ("scram-sha-512", true),
        UserAuthenticationType::ScramSha256 => ("scram-sha-256", true),
        UserAuthenticationType::Mtls => ("mtls", false),
    };
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
    Ok(ApplyUserRequest {
        name: name.to_owned(),
        authentication: authentication.to_owned(),
        password: password.to_owned(),
        acls: acls(name, rules),
        leave_acls: user.spec.authorization.is_none(),
        leave_quotas: user.spec.quotas.is_none(),
        quotas: user.spec.quotas.as_ref().map(quotas).unwrap_or_default(),
        owner: Some(owner(&user.metadata, DeletionPolicy::Delete)),
        dry_run: false,
        previous_owner: None,
    })
}

/// A name that would make its bearer more than the namespace may grant.
fn check_name(name: &str, cluster: &Cluster, scope: &Scope) -> Result<(), Problem> {
    let super_users = cluster
        .spec
        .authorization
        .as_ref()
        .map(|rules| rules.super_users.as_slice())
        .unwrap_or_default();
    let guest = matches!(scope, Scope::Guest(_));
    if guest && super_users.iter().any(|super_user| super_user == name) {
        return Err(Problem::because(
            Reason::NotAllowed,
            "metadata.name",
            format!("`{name}` is a super user of the Cluster: only its own namespace may make that User"),
        ));
    }
    if name.starts_with("__") || name.eq_ignore_ascii_case("anonymous") {
        return Err(Problem::because(
            Reason::NotAllowed,
            "metadata.name",
            format!("the name `{name}` is reserved"),
        ));
    }
    Ok(())
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
    use flotilla_crds::{Authorization, AuthorizationType, ClusterSpec};

    use super::*;

    fn user(name: &str, namespace: &str, spec: &str) -> User {
        let mut user = User::new(name, serde_json::from_str(spec).unwrap());
        user.metadata.namespace = Some(namespace.into());
        user
    }

    fn cluster() -> Cluster {
        let spec = ClusterSpec {
            authorization: Some(Authorization {
                type_: AuthorizationType::Acl,
                super_users: vec!["admin".into()],
            }),
            allowed_namespaces: serde_json::from_str(r#"[{"from": "All", "prefixes": ["shop-"]}]"#).unwrap(),
            ..ClusterSpec::default()
        };
        let mut cluster = Cluster::new("events", spec);
        cluster.metadata.namespace = Some("streaming".into());
        cluster
    }

    const SPEC: &str = r#"{"cluster": {"name": "events", "namespace": "streaming"}, "authentication": {"type": "scram-sha-512"},
        "authorization": {"acls": [{"resource": {"type": "topic", "name": "shop-", "pattern": "prefixed"}, "operations": ["Read", "Write"]}]},
        "quotas": {"producerByteRate": 1000}}"#;

    #[test]
    fn command_says_all_that_the_resource_says() {
        let user = user("checkout", "shop", SPEC);
        let command = apply(&user, &cluster(), &BTreeMap::new(), &[], Some("secret")).unwrap();
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
        assert_eq!(command.acls, [acl(3), acl(4)]);
        assert_eq!(
            command.quotas,
            [KeyQuota {
                key: "producer_byte_rate".into(),
                value: 1_000.0
            }]
        );
        assert_eq!(
            (command.authentication.as_str(), command.password.as_str()),
            ("scram-sha-512", "secret")
        );
        assert_eq!(command.owner.unwrap().uid, "shop/checkout");
    }

    #[test]
    fn guest_makes_no_super_user_and_nobody_makes_reserved_names() {
        let refused = |name, namespace| {
            apply(
                &user(name, namespace, SPEC),
                &cluster(),
                &BTreeMap::new(),
                &[],
                Some("secret"),
            )
            .is_err()
        };
        assert!(refused("admin", "shop"));
        assert!(!refused("admin", "streaming"));
        assert!(refused("__replicator", "streaming"));
        assert!(refused("ANONYMOUS", "streaming"));
    }

    #[test]
    fn scram_without_a_password_is_refused() {
        let problem = apply(
            &user("checkout", "shop", SPEC),
            &cluster(),
            &BTreeMap::new(),
            &[],
            None,
        )
        .unwrap_err();
        assert_eq!(problem.field, "spec.authentication.passwordFrom");
    }
}
