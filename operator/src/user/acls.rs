use flotilla_control::proto::metadata::Acl;
use flotilla_crds::{AclOperation, AclPermission, AclResourceType, AclRule, PatternType};

/// Kafka's name of the one resource of type cluster.
const CLUSTER_RESOURCE: &str = "kafka-cluster";

/// A User's rules as Kafka keeps them: one for each operation. The controller draws their ids.
#[must_use]
pub fn acls<'a>(user: &str, rules: impl IntoIterator<Item = &'a AclRule>) -> Vec<Acl> {
    rules
        .into_iter()
        .flat_map(|rule| {
            rule.operations
                .iter()
                .map(move |operation| acl(user, rule, *operation))
        })
        .collect()
}

fn acl(user: &str, rule: &AclRule, operation: AclOperation) -> Acl {
    let cluster = rule.resource.type_ == AclResourceType::Cluster;
    let name = if cluster {
        CLUSTER_RESOURCE
    } else {
        rule.resource.name.as_deref().unwrap_or_default()
    };
    Acl {
        id: Default::default(),
        resource_type: resource_type(rule.resource.type_),
        resource_name: name.to_owned(),
        pattern_type: match rule.resource.pattern {
            PatternType::Literal => 3,
            PatternType::Prefixed => 4,
        },
        principal: format!("User:{user}"),
        host: rule.host.clone(),
        operation: operation_code(operation),
        permission_type: match rule.permission {
            AclPermission::Deny => 2,
            AclPermission::Allow => 3,
        },
    }
}

/// A rule in words, for people.
#[must_use]
pub(super) fn in_words(acl: &Acl) -> String {
    let type_ = match acl.resource_type {
        2 => "topic",
        3 => "group",
        4 => "cluster",
        5 => "transactional id",
        6 => "delegation token",
        7 => "user",
        _ => "resource",
    };
    let operation = OPERATIONS
        .iter()
        .find(|operation| operation_code(**operation) == acl.operation);
    let operation = operation.map_or_else(|| acl.operation.to_string(), |operation| format!("{operation:?}"));
    format!(
        "{} {operation} on {type_} `{}{}`{}",
        if acl.permission_type == 2 { "deny" } else { "allow" },
        acl.resource_name,
        if acl.pattern_type == 4 { "*" } else { "" },
        if acl.host == "*" {
            String::new()
        } else {
            format!(" from {}", acl.host)
        },
    )
}

const OPERATIONS: [AclOperation; 13] = [
    AclOperation::All,
    AclOperation::Read,
    AclOperation::Write,
    AclOperation::Create,
    AclOperation::Delete,
    AclOperation::Alter,
    AclOperation::Describe,
    AclOperation::ClusterAction,
    AclOperation::DescribeConfigs,
    AclOperation::AlterConfigs,
    AclOperation::IdempotentWrite,
    AclOperation::CreateTokens,
    AclOperation::DescribeTokens,
];

/// Kafka's numbers (`ResourceType.java`).
fn resource_type(type_: AclResourceType) -> i32 {
    match type_ {
        AclResourceType::Topic => 2,
        AclResourceType::Group => 3,
        AclResourceType::Cluster => 4,
        AclResourceType::TransactionalId => 5,
        AclResourceType::DelegationToken => 6,
    }
}

/// Kafka's numbers (`AclOperation.java`).
fn operation_code(operation: AclOperation) -> i32 {
    match operation {
        AclOperation::All => 2,
        AclOperation::Read => 3,
        AclOperation::Write => 4,
        AclOperation::Create => 5,
        AclOperation::Delete => 6,
        AclOperation::Alter => 7,
        AclOperation::Describe => 8,
        AclOperation::ClusterAction => 9,
        AclOperation::DescribeConfigs => 10,
        AclOperation::AlterConfigs => 11,
        AclOperation::IdempotentWrite => 12,
        AclOperation::CreateTokens => 13,
        AclOperation::DescribeTokens => 14,
    }
}
