//! Whether a principal may do something: Kafka's rules for rules.

use super::acl::{self, Operation, PatternType, PermissionType, ResourceType, WILDCARD};
use super::principal::Principal;
use flotilla_control::proto::metadata::Acl;
use std::collections::BTreeSet;

/// Who asks, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Who.
    pub principal: &'a Principal,
    /// The client's address, as text without a port: rules may name it.
    pub host: &'a str,
}

/// Decides by the access rules, by default against.
#[derive(Clone, Debug)]
pub struct Authorizer {
    enforced: bool,
    super_users: BTreeSet<String>,
    allow_if_no_rule: bool,
}

impl Authorizer {
    /// Lets everyone do everything: a cluster without authorization.
    #[must_use]
    pub fn none() -> Self {
        Self {
            enforced: false,
            super_users: BTreeSet::new(),
            allow_if_no_rule: true,
        }
    }

    /// Enforces access rules. `super_users` (`admin` or `User:admin`) may do everything; `allow_if_no_rule` is
    /// `allow.everyone.if.no.acl.found`.
    #[must_use]
    pub fn acl<'a>(super_users: impl IntoIterator<Item = &'a str>, allow_if_no_rule: bool) -> Self {
        let super_users = super_users
            .into_iter()
            .map(|name| name.strip_prefix("User:").unwrap_or(name).to_owned())
            .collect();
        Self {
            enforced: true,
            super_users,
            allow_if_no_rule,
        }
    }

    /// Whether rules are enforced at all: where not, the calls about rules answer SECURITY_DISABLED.
    #[must_use]
    pub fn is_enforced(&self) -> bool {
        self.enforced
    }

    /// Whether the principal may do everything, whatever the rules say.
    #[must_use]
    pub fn is_super_user(&self, principal: &Principal) -> bool {
        self.super_users.contains(principal.name())
    }

    /// Whether `subject` may do `operation` on that resource. A rule that denies wins over every one that allows.
    #[must_use]
    pub fn authorize<'a>(
        &self,
        acls: impl IntoIterator<Item = &'a Acl>,
        subject: Subject<'_>,
        operation: Operation,
        resource_type: ResourceType,
        name: &str,
    ) -> bool {
        if !self.enforced || self.is_super_user(subject.principal) {
            return true;
        }
        let (mut any_rule, mut allowed) = (false, false);
        for rule in acls {
            if !acl::covers(rule, resource_type, name) {
                continue;
            }
            any_rule = true;
            match verdict(rule, subject, operation) {
                Some(PermissionType::Deny) => return false,
                Some(PermissionType::Allow) => allowed = true,
                None => {}
            }
        }
        allowed || (!any_rule && self.allow_if_no_rule)
    }

    /// Whether there is any resource of that type on which `subject` may do `operation`: what InitProducerId asks
    /// (KIP-679). Says no only where every granting rule is covered by one that denies.
    #[must_use]
    pub fn authorize_any<'a>(
        &self,
        acls: impl IntoIterator<Item = &'a Acl> + Clone,
        subject: Subject<'_>,
        operation: Operation,
        resource_type: ResourceType,
    ) -> bool {
        if !self.enforced || self.is_super_user(subject.principal) {
            return true;
        }
        let of_type = |rule: &&Acl| rule.resource_type == i32::from(resource_type.code());
        let denials: Vec<&Acl> = acls
            .clone()
            .into_iter()
            .filter(of_type)
            .filter(|rule| verdict(rule, subject, operation) == Some(PermissionType::Deny))
            .collect();
        if denials
            .iter()
            .any(|denial| is_literal(denial) && denial.resource_name == WILDCARD)
        {
            return false;
        }
        if self.allow_if_no_rule {
            return true;
        }
        acls.into_iter()
            .filter(of_type)
            .filter(|rule| verdict(rule, subject, operation) == Some(PermissionType::Allow))
            .any(|grant| !denials.iter().any(|denial| dominates(denial, grant)))
    }
}

fn is_literal(rule: &Acl) -> bool {
    rule.pattern_type == i32::from(PatternType::Literal.code())
}

/// Whether every resource of `grant` is one of `denial`.
fn dominates(denial: &Acl, grant: &Acl) -> bool {
    if is_literal(denial) {
        is_literal(grant) && denial.resource_name == grant.resource_name
    } else {
        let everything = is_literal(grant) && grant.resource_name == WILDCARD;
        !everything && grant.resource_name.starts_with(&denial.resource_name)
    }
}

/// What a rule whose resource fits says about the operation; none where it is not about it.
fn verdict(rule: &Acl, subject: Subject<'_>, operation: Operation) -> Option<PermissionType> {
    if !subject.principal.is_meant_by(&rule.principal) || (rule.host != WILDCARD && rule.host != subject.host)
    {
        return None;
    }
    let named = Operation::from_code(rule.operation)?;
    let permission = PermissionType::from_code(rule.permission_type)?;
    // A denial of Read does not deny Describe: only a grant implies.
    let fits = match permission {
        PermissionType::Allow => named.implies(operation),
        PermissionType::Deny => named == operation || named == Operation::All,
    };
    fits.then_some(permission)
}

#[cfg(test)]
mod tests {
    use super::*;
    use PermissionType::{Allow, Deny};

    fn rule(
        permission: PermissionType,
        operation: Operation,
        (pattern, name): (PatternType, &str),
        principal: &str,
    ) -> Acl {
        Acl {
            id: Vec::new(),
            resource_type: ResourceType::Topic.code().into(),
            resource_name: name.into(),
            pattern_type: pattern.code().into(),
            principal: principal.into(),
            host: "*".into(),
            operation: operation.code().into(),
            permission_type: permission.code().into(),
        }
    }

    fn may(acls: &[Acl], name: &str, operation: Operation, topic: &str) -> bool {
        let principal = Principal::user(name);
        let subject = Subject {
            principal: &principal,
            host: "10.0.0.1",
        };
        Authorizer::acl(["admin"], false).authorize(acls, subject, operation, ResourceType::Topic, topic)
    }

    const LITERAL: PatternType = PatternType::Literal;
    const PREFIXED: PatternType = PatternType::Prefixed;

    #[test]
    fn nobody_but_super_users_may_do_what_no_rule_allows() {
        assert!(!may(&[], "alice", Operation::Read, "orders"));
        assert!(may(&[], "admin", Operation::Read, "orders"));
        let deny = [rule(Deny, Operation::All, (LITERAL, "*"), "User:*")];
        assert!(may(&deny, "admin", Operation::Read, "orders"));
    }

    #[test]
    fn super_user_may_be_written_as_principal() {
        let authorizer = Authorizer::acl(["User:root"], false);
        assert!(authorizer.is_super_user(&Principal::user("root")));
        assert!(!authorizer.is_super_user(&Principal::user("User:root")));
    }

    #[test]
    fn denial_wins_over_grant() {
        let acls = [
            rule(Allow, Operation::All, (LITERAL, "*"), "User:*"),
            rule(Deny, Operation::Write, (PREFIXED, "audit-"), "User:alice"),
        ];
        assert!(!may(&acls, "alice", Operation::Write, "audit-log"));
        assert!(may(&acls, "alice", Operation::Read, "audit-log"));
        assert!(may(&acls, "alice", Operation::Write, "orders"));
        assert!(may(&acls, "bob", Operation::Write, "audit-log"));
    }

    #[test]
    fn read_write_delete_and_alter_imply_describe() {
        for operation in [
            Operation::Read,
            Operation::Write,
            Operation::Delete,
            Operation::Alter,
        ] {
            let acls = [rule(Allow, operation, (LITERAL, "orders"), "User:alice")];
            assert!(
                may(&acls, "alice", Operation::Describe, "orders"),
                "{operation:?}"
            );
            assert!(
                !may(&acls, "alice", Operation::DescribeConfigs, "orders"),
                "{operation:?}"
            );
        }
        let acls = [rule(
            Allow,
            Operation::AlterConfigs,
            (LITERAL, "orders"),
            "User:alice",
        )];
        assert!(may(&acls, "alice", Operation::DescribeConfigs, "orders"));
        assert!(!may(&acls, "alice", Operation::Describe, "orders"));
    }

    #[test]
    fn denied_read_leaves_describe_alone() {
        let acls = [
            rule(Allow, Operation::Describe, (LITERAL, "orders"), "User:alice"),
            rule(Deny, Operation::Read, (LITERAL, "orders"), "User:alice"),
        ];
        assert!(may(&acls, "alice", Operation::Describe, "orders"));
        assert!(!may(&acls, "alice", Operation::Read, "orders"));
    }

    #[test]
    fn rule_of_another_host_says_nothing() {
        let mut acl = rule(Allow, Operation::Read, (LITERAL, "orders"), "User:alice");
        acl.host = "10.0.0.2".into();
        assert!(!may(&[acl.clone()], "alice", Operation::Read, "orders"));
        acl.host = "10.0.0.1".into();
        assert!(may(&[acl], "alice", Operation::Read, "orders"));
    }

    #[test]
    fn without_any_rule_for_a_resource_the_setting_decides() {
        let principal = Principal::user("alice");
        let subject = Subject {
            principal: &principal,
            host: "h",
        };
        let open = Authorizer::acl([], true);
        let acls = [rule(Allow, Operation::Read, (LITERAL, "orders"), "User:bob")];
        let ask = |topic| open.authorize(&acls, subject, Operation::Read, ResourceType::Topic, topic);
        assert!(!ask("orders"), "a rule about bob closes the topic for alice");
        assert!(ask("payments"));
    }

    #[test]
    fn any_resource_is_found_unless_a_denial_covers_it() {
        let ask = |acls: &[Acl]| {
            let principal = Principal::user("alice");
            let subject = Subject {
                principal: &principal,
                host: "h",
            };
            Authorizer::acl([], false).authorize_any(acls, subject, Operation::Write, ResourceType::Topic)
        };
        let grant = rule(Allow, Operation::Write, (LITERAL, "shop-a"), "User:alice");
        assert!(!ask(&[]));
        assert!(ask(std::slice::from_ref(&grant)));
        assert!(!ask(&[
            grant.clone(),
            rule(Deny, Operation::Write, (LITERAL, "shop-a"), "User:*")
        ]));
        assert!(!ask(&[
            grant.clone(),
            rule(Deny, Operation::Write, (PREFIXED, "shop-"), "User:*")
        ]));
        assert!(!ask(&[
            grant.clone(),
            rule(Deny, Operation::All, (LITERAL, "*"), "User:*")
        ]));
        assert!(ask(&[
            grant,
            rule(Deny, Operation::Write, (PREFIXED, "shop-b"), "User:*")
        ]));
    }

    #[test]
    fn without_authorization_everyone_may_everything() {
        let principal = Principal::anonymous();
        let subject = Subject {
            principal: &principal,
            host: "h",
        };
        assert!(Authorizer::none().authorize(
            &[],
            subject,
            Operation::Alter,
            ResourceType::Cluster,
            "kafka-cluster"
        ));
    }
}
