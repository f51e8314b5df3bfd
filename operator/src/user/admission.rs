use std::collections::BTreeMap;

use flotilla_crds::{AclPermission, AclRule, Cluster, Reason, User};

use super::{Scope, scope};
use crate::{Problem, namespace_of};

/// Whether the Cluster takes this User, from its namespace, which has these labels; and what the namespace may do there.
///
/// # Errors
/// It takes nothing from there, or the name would make its bearer more than the namespace may grant.
pub fn admit(user: &User, cluster: &Cluster, labels: &BTreeMap<String, String>) -> Result<Scope, Problem> {
    let scope = scope(cluster, namespace_of(&user.metadata), labels)?;
    check_name(user.metadata.name.as_deref().unwrap_or_default(), cluster, &scope)?;
    Ok(scope)
}

/// What of a User's rules may be in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Granted<'a> {
    /// The rules that stay within what is the namespace's own, and all that deny: those take nothing from anybody else.
    pub rules: Vec<&'a AclRule>,
    /// Why not the others, for the first of them.
    pub refused: Option<Problem>,
}

/// What of a User's rules may be in force. `owned_topics` are the topics that Topics of its namespace own.
#[must_use]
pub fn granted<'a>(user: &'a User, scope: &Scope, owned_topics: &[&str]) -> Granted<'a> {
    let mut granted = Granted::default();
    for (place, rule) in rules(user).iter().enumerate() {
        match scope.check(rule, owned_topics) {
            Ok(()) => granted.rules.push(rule),
            Err(problem) => {
                if rule.permission == AclPermission::Deny {
                    granted.rules.push(rule);
                }
                granted.refused.get_or_insert(Problem {
                    field: format!("{}[{place}]", problem.field),
                    ..problem
                });
            }
        }
    }
    granted
}

/// The rules of a User.
#[must_use]
pub fn rules(user: &User) -> &[AclRule] {
    let authorization = user.spec.authorization.as_ref();
    authorization
        .map(|authorization| authorization.acls.as_slice())
        .unwrap_or_default()
}

fn check_name(name: &str, cluster: &Cluster, scope: &Scope) -> Result<(), Problem> {
    let authorization = cluster.spec.authorization.as_ref();
    let super_users = authorization
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing;
    use super::*;

    #[test]
    fn guest_makes_no_super_user_and_nobody_makes_reserved_names() {
        let cluster = testing::cluster(json!({
            "authorization": {"type": "acl", "superUsers": ["admin"]},
            "allowedNamespaces": [{"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}, "prefixes": ["shop-"]}],
        }));
        let admitted = |name: &str, namespace: &str, team: &str| {
            let mut user = testing::user(json!({"type": "mtls"}));
            user.metadata.name = Some(name.to_owned());
            user.metadata.namespace = Some(namespace.to_owned());
            let labels = BTreeMap::from([("team".to_owned(), team.to_owned())]);
            admit(&user, &cluster, &labels).map_err(|problem| problem.field)
        };
        let guest = Ok(Scope::Guest(vec!["shop-".to_owned()]));
        let name = Err("metadata.name".to_owned());
        assert_eq!(admitted("checkout", "shop", "shop"), guest);
        assert_eq!(
            admitted("checkout", "shop", "other"),
            Err("spec.cluster".to_owned())
        );
        assert_eq!(admitted("admin", "shop", "shop"), name);
        assert_eq!(admitted("admin", "streaming", ""), Ok(Scope::Own));
        assert_eq!(admitted("__replicator", "streaming", ""), name);
        assert_eq!(admitted("ANONYMOUS", "streaming", ""), name);
    }

    #[test]
    fn rules_that_reach_too_far_are_left_out_but_those_that_deny_stay() {
        let rule = |name: &str, permission: &str| json!({"resource": {"type": "topic", "name": name}, "operations": ["Read"], "permission": permission});
        let mut user = testing::user(json!({"type": "mtls"}));
        let acls = json!([
            rule("shop-a", "Allow"),
            rule("payments", "Allow"),
            rule("pay", "Deny"),
            rule("orders", "Allow")
        ]);
        user.spec.authorization = serde_json::from_value(json!({"acls": acls})).unwrap();
        let all = rules(&user);
        let granted = granted(&user, &Scope::Guest(vec!["shop-".into()]), &["orders"]);
        assert_eq!(granted.rules, [&all[0], &all[2], &all[3]]);
        let refused = granted.refused.unwrap();
        assert_eq!(refused.field, "spec.authorization.acls[1]");
        assert_eq!(refused.reason, Reason::NotAllowed);
        let own = super::granted(&user, &Scope::Own, &[]);
        assert_eq!((own.rules.len(), own.refused), (4, None));
    }
}
