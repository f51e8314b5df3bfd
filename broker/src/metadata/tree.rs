//! The metadata as a tree, as ZooKeeper's users are used to read it: `/brokers/ids/0`, `/topics/NAME/partitions/0/state`.

use std::collections::BTreeSet;

use flotilla_protocol::{BrokerId, PartitionIndex};
use serde_json::{Map, Value, json};

use super::{
    Acl, Broker, DelegationToken, Image, Owner, Partition, QuotaKey, ResourceType, ScramMechanism,
    SecurityProtocol, Topic,
};

/// A place in the tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// What is there, if it is more than a place.
    pub value: Option<Value>,
    /// What is below, in order.
    pub children: Vec<String>,
}

/// What ZooKeeper's tree calls the settings of all brokers, and a quota's default entity.
const DEFAULT: &str = "<default>";

/// Reads one place. `controller` is the broker that decides now, if it is known. `None`: there is no such place. Secrets
/// are not in the tree: no keys of credentials, no values of password settings.
#[must_use]
pub fn tree(image: &Image, controller: Option<BrokerId>, path: &str) -> Option<Node> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [] => Some(places(&[
            "acls",
            "brokers",
            "config",
            "controller",
            "delegation_tokens",
            "features",
            "producer_ids",
            "quotas",
            "restart_grants",
            "topics",
            "users",
        ])),
        ["controller"] => controller.map(|id| leaf(json!({ "brokerid": id.0 }))),
        ["features"] => Some(leaf(
            image
                .features()
                .map(|(name, level)| (name.to_owned(), json!(level)))
                .collect(),
        )),
        ["producer_ids"] => Some(leaf(json!({ "next_producer_id": image.next_producer_id() }))),
        ["restart_grants"] => {
            let grants = image
                .restart_grants()
                .map(|(id, expires_ms)| (id.to_string(), json!(expires_ms)));
            Some(leaf(grants.collect()))
        }
        ["brokers"] => Some(places(&["ids", "topics"])),
        ["brokers", "ids"] => Some(children(image.brokers().map(|broker| broker.id.to_string()))),
        ["brokers", "ids", id] => Some(leaf(of_broker(image, image.broker(BrokerId(id.parse().ok()?))?))),
        ["topics", rest @ ..] | ["brokers", "topics", rest @ ..] => topics(image, rest),
        ["config", rest @ ..] => config(image, rest),
        ["users", rest @ ..] => users(image, rest),
        ["acls", rest @ ..] => acls(image, rest),
        ["delegation_tokens"] => Some(children(image.tokens().map(|token| token.id.clone()))),
        ["delegation_tokens", id] => image.token(id).map(|token| leaf(of_token(token))),
        ["quotas", rest @ ..] => quotas(image, &rest.join("/")),
        _ => None,
    }
}

fn places(names: &[&str]) -> Node {
    children(names.iter().map(|name| (*name).to_owned()))
}

fn children(names: impl IntoIterator<Item = String>) -> Node {
    Node {
        value: None,
        children: names.into_iter().collect(),
    }
}

fn leaf(value: Value) -> Node {
    Node {
        value: Some(value),
        children: Vec::new(),
    }
}

fn numbers(ids: &[BrokerId]) -> Value {
    ids.iter().map(|id| json!(id.0)).collect()
}

fn of_owner(owner: Option<&Owner>) -> Value {
    owner.map_or(Value::Null, |owner| {
        json!({ "namespace": owner.namespace, "name": owner.name, "uid": owner.uid, "deletion_policy": owner.deletion_policy })
    })
}

fn of_broker(image: &Image, broker: &Broker) -> Value {
    let advertised: Vec<_> = broker
        .endpoints
        .iter()
        .filter_map(|endpoint| broker.endpoint(&endpoint.listener))
        .collect();
    let endpoints: Vec<String> = advertised
        .iter()
        .map(|at| format!("{}://{}:{}", at.listener.to_uppercase(), at.host, at.port))
        .collect();
    let protocols: Map<String, Value> = advertised
        .iter()
        .map(|at| {
            (
                at.listener.to_uppercase(),
                json!(protocol(at.security_protocol())),
            )
        })
        .collect();
    json!({
        "endpoints": endpoints,
        "listener_security_protocol_map": protocols,
        "control": broker.control_address,
        "rack": broker.rack(),
        "roles": broker.roles,
        "epoch": broker.epoch.0,
        "incarnation": broker.incarnation.to_string(),
        "directory_id": broker.directory_id.to_string(),
        "fenced": broker.fenced,
        "in_controlled_shutdown": broker.in_controlled_shutdown,
        "draining": image.is_draining(broker.id),
        "version": broker.version,
    })
}

fn protocol(protocol: SecurityProtocol) -> &'static str {
    match protocol {
        SecurityProtocol::Plaintext => "PLAINTEXT",
        SecurityProtocol::Ssl => "SSL",
        SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
        SecurityProtocol::SaslSsl => "SASL_SSL",
    }
}

fn topics(image: &Image, rest: &[&str]) -> Option<Node> {
    let [name, rest @ ..] = rest else {
        return Some(children(image.topics().map(|topic| topic.name.clone())));
    };
    let topic = image.topic(name)?;
    match rest {
        [] => Some(Node {
            value: Some(of_topic(topic)),
            ..places(&["partitions"])
        }),
        ["partitions"] => Some(children(topic.partitions().map(|(index, _)| index.to_string()))),
        ["partitions", index, rest @ ..] => {
            let partition = topic.partition(PartitionIndex(index.parse().ok()?))?;
            match rest {
                [] => Some(places(&["state"])),
                ["state"] => Some(leaf(of_partition(partition))),
                _ => None,
            }
        }
        _ => None,
    }
}

fn of_topic(topic: &Topic) -> Value {
    let by_index = |of: fn(&Partition) -> &[BrokerId], all: bool| -> Value {
        let named = topic
            .partitions()
            .filter(|(_, partition)| all || !of(partition).is_empty());
        Value::Object(
            named
                .map(|(index, partition)| (index.to_string(), numbers(of(partition))))
                .collect(),
        )
    };
    json!({
        "topic_id": topic.id.to_string(),
        "owner": of_owner(topic.owner.as_ref()),
        "partitions": by_index(|partition| &partition.replicas, true),
        "adding_replicas": by_index(|partition| &partition.adding, false),
        "removing_replicas": by_index(|partition| &partition.removing, false),
    })
}

fn of_partition(partition: &Partition) -> Value {
    json!({
        "leader": partition.leader.map_or(-1, |leader| leader.0),
        "leader_epoch": partition.leader_epoch.0,
        "partition_epoch": partition.partition_epoch,
        "replicas": numbers(&partition.replicas),
        "isr": numbers(&partition.isr),
        "eligible_leader_replicas": numbers(&partition.elr),
        "last_known_elr": numbers(&partition.last_known_elr),
        "adding_replicas": numbers(&partition.adding),
        "removing_replicas": numbers(&partition.removing),
    })
}

fn config(image: &Image, rest: &[&str]) -> Option<Node> {
    let (kind, name) = match rest {
        [] => return Some(places(&["brokers", "groups", "topics"])),
        [kind, name @ ..] => (*kind, name.join("/")),
    };
    let resource = match kind {
        "brokers" => ResourceType::Broker,
        "groups" => ResourceType::Group,
        "topics" => ResourceType::Topic,
        _ => return None,
    };
    let shown = |name: &str| {
        if name.is_empty() {
            DEFAULT.to_owned()
        } else {
            name.to_owned()
        }
    };
    if name.is_empty() {
        return Some(children(image.configs(resource).map(|(name, _)| shown(name))));
    }
    let key = if resource == ResourceType::Broker && name == DEFAULT {
        ""
    } else {
        &name
    };
    let exists = resource == ResourceType::Topic && image.topic(key).is_some();
    let values = match image.config(resource, key) {
        Some(values) => values
            .iter()
            .map(|(key, value)| (key.clone(), json!(public(key, value))))
            .collect(),
        None if exists => Map::new(),
        None => return None,
    };
    Some(leaf(Value::Object(values)))
}

fn public<'a>(key: &str, value: &'a str) -> &'a str {
    let hidden = flotilla_control::settings::lookup(key).is_none_or(|setting| setting.sensitive());
    if hidden { "[hidden]" } else { value }
}

fn users(image: &Image, rest: &[&str]) -> Option<Node> {
    let name = rest.join("/");
    let credentials = || {
        image
            .scram_credentials()
            .filter(|credential| credential.user == name)
    };
    if name.is_empty() {
        let declared = image.users().map(|user| user.name.clone());
        let names: BTreeSet<String> = declared
            .chain(
                image
                    .scram_credentials()
                    .map(|credential| credential.user.clone()),
            )
            .collect();
        return Some(children(names));
    }
    let user = image.user(&name);
    if user.is_none() && credentials().next().is_none() {
        return None;
    }
    let mechanism = |mechanism| match mechanism {
        ScramMechanism::ScramSha256 => "SCRAM-SHA-256",
        ScramMechanism::ScramSha512 => "SCRAM-SHA-512",
        ScramMechanism::UnknownMechanism => "UNKNOWN",
    };
    let scram: Map<String, Value> = credentials()
        .map(|held| {
            (
                mechanism(held.mechanism()).to_owned(),
                json!({ "iterations": held.iterations }),
            )
        })
        .collect();
    Some(leaf(json!({
        "authentication": user.map(|user| user.authentication.as_str()),
        "owner": of_owner(user.and_then(|user| user.owner.as_ref())),
        "credentials": scram,
    })))
}

fn of_token(token: &DelegationToken) -> Value {
    json!({
        "owner": token.owner,
        "requester": token.requester,
        "renewers": token.renewers,
        "issue_ms": token.issue_ms,
        "expiry_ms": token.expiry_ms,
        "max_ms": token.max_ms,
    })
}

const RESOURCE_TYPES: [(i32, &str); 6] = [
    (4, "Cluster"),
    (6, "DelegationToken"),
    (3, "Group"),
    (2, "Topic"),
    (5, "TransactionalId"),
    (7, "User"),
];

fn acls(image: &Image, rest: &[&str]) -> Option<Node> {
    let [kind, name @ ..] = rest else {
        return Some(places(&RESOURCE_TYPES.map(|(_, name)| name)));
    };
    let (number, _) = RESOURCE_TYPES.into_iter().find(|(_, name)| name == kind)?;
    let name = name.join("/");
    let of_type = || image.acls().filter(move |acl| acl.resource_type == number);
    if name.is_empty() {
        return Some(children(
            of_type()
                .map(|acl| acl.resource_name.clone())
                .collect::<BTreeSet<_>>(),
        ));
    }
    let on: Vec<Value> = of_type()
        .filter(|acl| acl.resource_name == name)
        .map(of_acl)
        .collect();
    (!on.is_empty()).then(|| leaf(Value::Array(on)))
}

fn of_acl(acl: &Acl) -> Value {
    const OPERATIONS: [&str; 14] = [
        "All",
        "Read",
        "Write",
        "Create",
        "Delete",
        "Alter",
        "Describe",
        "ClusterAction",
        "DescribeConfigs",
        "AlterConfigs",
        "IdempotentWrite",
        "CreateTokens",
        "DescribeTokens",
        "TwoPhaseCommit",
    ];
    let operation = usize::try_from(acl.operation - 2)
        .ok()
        .and_then(|place| OPERATIONS.get(place));
    json!({
        "principal": acl.principal,
        "host": acl.host,
        "operation": operation,
        "permission": if acl.permission_type == 2 { "Deny" } else { "Allow" },
        "pattern": if acl.pattern_type == 4 { "Prefixed" } else { "Literal" },
    })
}

fn quotas(image: &Image, name: &str) -> Option<Node> {
    let shown = |entity: &QuotaKey| -> String {
        let parts = entity
            .iter()
            .map(|(kind, name)| format!("{kind}={}", name.as_deref().unwrap_or(DEFAULT)));
        parts.collect::<Vec<_>>().join(",")
    };
    if name.is_empty() {
        return Some(children(image.quotas().map(|(entity, _)| shown(entity))));
    }
    let (_, values) = image.quotas().find(|(entity, _)| shown(entity) == name)?;
    Some(leaf(
        values
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect(),
    ))
}
