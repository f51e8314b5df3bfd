use std::collections::BTreeMap;

use flotilla_crds::{AclResourceType, AclRule, AllowedNamespaces, Cluster, From, PatternType, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::{Problem, namespace_of};

/// What a namespace may do with a Cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything: it is the Cluster's own.
    Own,
    /// What begins with one of these prefixes, and topics that it owns; with no prefix given, any name.
    Guest(Vec<String>),
}

/// What the namespace with these labels may do with the Cluster.
///
/// # Errors
/// Nothing: the Cluster does not take resources from there.
pub fn scope(
    cluster: &Cluster,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Result<Scope, Problem> {
    if namespace == namespace_of(&cluster.metadata) {
        return Ok(Scope::Own);
    }
    let allowing: Vec<&AllowedNamespaces> = cluster
        .spec
        .allowed_namespaces
        .iter()
        .filter(|allowed| allows(allowed, labels))
        .collect();
    if allowing.is_empty() {
        let name = cluster.metadata.name.as_deref().unwrap_or_default();
        return Err(Problem::because(
            Reason::NotAllowed,
            "spec.cluster",
            format!(
                "the Cluster `{name}` takes no Topics and Users from namespace `{namespace}`. Ask its owner to allow it in `spec.allowedNamespaces`"
            ),
        ));
    }
    // One entry without prefixes lets everything in.
    if allowing.iter().any(|allowed| allowed.prefixes.is_empty()) {
        return Ok(Scope::Guest(Vec::new()));
    }
    Ok(Scope::Guest(
        allowing
            .into_iter()
            .flat_map(|allowed| allowed.prefixes.clone())
            .collect(),
    ))
}

fn allows(allowed: &AllowedNamespaces, labels: &BTreeMap<String, String>) -> bool {
    match allowed.from {
        From::Same => false,
        From::All => true,
        From::Selector => allowed
            .selector
            .as_ref()
            .is_some_and(|selector| matches(selector, labels)),
    }
}

fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector.match_expressions.iter().flatten().all(|expression| {
            let label = labels.get(&expression.key);
            let listed = || {
                let values = expression.values.as_deref().unwrap_or_default();
                label.is_some_and(|label| values.contains(label))
            };
            match expression.operator.as_str() {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => label.is_some(),
                "DoesNotExist" => label.is_none(),
                _ => false,
            }
        })
}

impl Scope {
    /// Whether a rule stays within what is the namespace's own, so that a team cannot grant itself what is another's.
    ///
    /// # Errors
    /// The rule reaches further.
    pub fn check(&self, rule: &AclRule, owned_topics: &[&str]) -> Result<(), Problem> {
        let Self::Guest(prefixes) = self else {
            return Ok(());
        };
        let name = rule.resource.name.as_deref().unwrap_or_default();
        let under_prefix = prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
        let (allowed, owned) = match rule.resource.type_ {
            AclResourceType::Cluster | AclResourceType::DelegationToken => (false, false),
            AclResourceType::Topic => (
                under_prefix,
                rule.resource.pattern == PatternType::Literal && owned_topics.contains(&name),
            ),
            AclResourceType::Group | AclResourceType::TransactionalId => {
                (under_prefix || prefixes.is_empty(), false)
            }
        };
        if (allowed || owned) && name != "*" {
            return Ok(());
        }
        Err(Problem::because(
            Reason::NotAllowed,
            "spec.authorization.acls",
            format!(
                "a rule about {:?} `{name}` reaches beyond this namespace: it may name its own Topics{}",
                rule.resource.type_,
                if prefixes.is_empty() {
                    String::new()
                } else {
                    format!(" and what begins with {}", prefixes.join(", "))
                },
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use flotilla_crds::{AclOperation, AclPermission, AclResource, ClusterSpec};

    use super::*;

    fn cluster(allowed: &str) -> Cluster {
        let allowed_namespaces = serde_json::from_str(allowed).unwrap();
        let mut cluster = Cluster::new(
            "events",
            ClusterSpec {
                allowed_namespaces,
                ..ClusterSpec::default()
            },
        );
        cluster.metadata.namespace = Some("streaming".into());
        cluster
    }

    fn rule(type_: AclResourceType, name: &str, pattern: PatternType) -> AclRule {
        AclRule {
            resource: AclResource {
                type_,
                name: Some(name.into()),
                pattern,
            },
            operations: vec![AclOperation::Read],
            host: "*".into(),
            permission: AclPermission::Allow,
        }
    }

    #[test]
    fn namespaces_are_let_in_by_selector_and_refused_otherwise() {
        let cluster = cluster(
            r#"[{"from": "Selector", "selector": {"matchLabels": {"team": "data"}}, "prefixes": ["shop-"]}]"#,
        );
        let labels = |team: &str| BTreeMap::from([("team".to_owned(), team.to_owned())]);
        assert_eq!(scope(&cluster, "streaming", &BTreeMap::new()), Ok(Scope::Own));
        assert_eq!(
            scope(&cluster, "shop", &labels("data")),
            Ok(Scope::Guest(vec!["shop-".into()]))
        );
        let problem = scope(&cluster, "shop", &labels("other")).unwrap_err();
        assert_eq!(problem.reason, Reason::NotAllowed);
    }

    #[test]
    fn guest_may_name_its_own_topics_and_its_prefixes_only() {
        let scope = Scope::Guest(vec!["shop-".into()]);
        let check = |type_, name, pattern| scope.check(&rule(type_, name, pattern), &["orders"]).is_ok();
        assert!(check(AclResourceType::Topic, "orders", PatternType::Literal));
        assert!(check(AclResourceType::Topic, "shop-", PatternType::Prefixed));
        assert!(check(
            AclResourceType::Group,
            "shop-readers",
            PatternType::Literal
        ));
        assert!(!check(AclResourceType::Topic, "orders", PatternType::Prefixed));
        assert!(!check(AclResourceType::Topic, "payments", PatternType::Literal));
        assert!(!check(AclResourceType::Topic, "*", PatternType::Literal));
        assert!(!check(AclResourceType::Topic, "", PatternType::Prefixed));
        assert!(!check(
            AclResourceType::Cluster,
            "kafka-cluster",
            PatternType::Literal
        ));
        assert!(!check(AclResourceType::Group, "others", PatternType::Literal));
    }
}
