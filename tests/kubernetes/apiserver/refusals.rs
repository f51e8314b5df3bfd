//! What admission refuses, each with words of its message.

use serde_json::{Value, json};

/// One thing that is refused.
pub struct Refusal {
    pub kind: &'static str,
    /// Name of the resource.
    pub name: &'static str,
    /// The specification and the status that there are, where it is a change that is refused.
    pub before: Option<(Value, Value)>,
    /// The specification that is refused.
    pub spec: Value,
    /// What is said.
    pub said: &'static str,
}

fn made(kind: &'static str, name: &'static str, spec: Value, said: &'static str) -> Refusal {
    Refusal {
        kind,
        name,
        before: None,
        spec,
        said,
    }
}

fn cluster(spec: Value, said: &'static str) -> Refusal {
    made("Cluster", "events", spec, said)
}

fn topic(spec: Value, said: &'static str) -> Refusal {
    made("Topic", "orders", of_cluster(spec), said)
}

fn user(spec: Value, said: &'static str) -> Refusal {
    let mut spec = of_cluster(spec);
    if spec["authentication"].is_null() {
        spec["authentication"] = json!({"type": "scram-sha-512"});
    }
    made("User", "checkout", spec, said)
}

fn of_cluster(mut spec: Value) -> Value {
    if spec["cluster"].is_null() {
        spec["cluster"] = json!({"name": "events"});
    }
    spec
}

fn changed(refusal: Refusal, before: Value) -> Refusal {
    changed_with_status(refusal, before, Value::Null)
}

fn changed_with_status(refusal: Refusal, before: Value, status: Value) -> Refusal {
    Refusal {
        before: Some((before, status)),
        ..refusal
    }
}

fn pool(pool: Value) -> Value {
    json!({"pools": [pool]})
}

fn volume(volume: Value) -> Value {
    pool(json!({"name": "main", "volumes": [volume]}))
}

fn listener(listener: Value) -> Value {
    json!({"listeners": [listener]})
}

fn rule(rule: Value) -> Value {
    json!({"authorization": {"acls": [rule]}})
}

pub fn table() -> Vec<Refusal> {
    let mut table = clusters();
    table.extend(pools());
    table.extend(listeners());
    table.extend(topics());
    table.extend(users());
    table
}

fn clusters() -> Vec<Refusal> {
    let long = "forty-one-letters-are-too-many-for-a-name";
    vec![
        made("Cluster", long, json!({}), "the name of a Cluster has at most 40"),
        made(
            "Cluster",
            "my.events",
            json!({}),
            "the name of a Cluster has at most 40",
        ),
        made(
            "Cluster",
            "forty-letters-are-allowed-for-a-cluster",
            pool(json!({"name": "twenty-letters-pool"})),
            "have at most 51 characters together",
        ),
        cluster(json!({"replicas": 0}), "should be greater than or equal to 1"),
        cluster(json!({"replicas": 5000}), "should be less than or equal to 1000"),
        cluster(json!({"version": "latest"}), "spec.version in body should match"),
        cluster(json!({"image": "my image"}), "spec.image in body should match"),
        cluster(
            json!({"imagePullSecrets": [{"name": "Pull Secret"}]}),
            "spec.imagePullSecrets[0].name in body should match",
        ),
        cluster(json!({"coordinators": 2}), "spec.coordinators is 1, 3 or 5"),
        cluster(
            json!({"coordinators": 5}),
            "more brokers should vote (spec.coordinators) than there are (spec.replicas)",
        ),
        cluster(
            json!({"coordinators": 3, "pools": [{"name": "a", "replicas": 1}, {"name": "b", "roles": ["broker"]}]}),
            "more brokers should vote (spec.coordinators) than have the role coordinator",
        ),
        cluster(
            json!({"rackTopologyKey": "topology zone"}),
            "spec.rackTopologyKey in body should match",
        ),
        cluster(
            json!({"authorization": {"superUsers": ["User:admin"]}}),
            "name super users without `User:`",
        ),
        cluster(
            json!({"authorization": {"superUsers": ["*"]}}),
            "with type: none everybody may do everything",
        ),
        cluster(
            json!({"authorization": {"superUsers": ["a", "a"]}}),
            "Duplicate value",
        ),
        cluster(
            json!({"tls": {"clusterCa": {"own": {}, "secret": {"name": "ca"}}}}),
            "an authority is one of own, secret and issuerRef",
        ),
        cluster(
            json!({"tls": {"clusterCa": {"own": {"validityDays": 20}}}}),
            "cannot be renewed (renewBeforeDays, default 30) before it is made",
        ),
        cluster(
            json!({"config": {"min.insync.replicas": [2]}}),
            "must have at most 0 items",
        ),
        cluster(
            json!({"config": {"min.insync.replicas": {"a": 2}}}),
            "spec.config.min.insync.replicas: Too many",
        ),
        cluster(
            json!({"allowedNamespaces": [{"from": "Selector"}]}),
            "from: Selector needs a selector",
        ),
        cluster(
            json!({"allowedNamespaces": [{"from": "All", "selector": {}}]}),
            "a selector has no effect without from: Selector",
        ),
        cluster(
            json!({"allowedNamespaces": [{"from": "All", "prefixes": [""]}]}),
            "should be at least 1 chars long",
        ),
        cluster(
            json!({"maintenanceWindows": [{"schedule": "at night", "durationMinutes": 60}]}),
            "spec.maintenanceWindows[0].schedule in body should match",
        ),
        cluster(
            json!({"maintenanceWindows": [{"schedule": "0 2 * * *", "durationMinutes": 0}]}),
            "should be greater than or equal to 1",
        ),
    ]
}

fn pools() -> Vec<Refusal> {
    vec![
        cluster(
            pool(json!({"name": "Main"})),
            "spec.pools[0].name in body should match",
        ),
        cluster(pool(json!({"name": "identity"})), "are the fleet's own"),
        cluster(
            json!({"pools": [{"name": "main", "replicas": 1}, {"name": "main", "replicas": 1}]}),
            "Duplicate value",
        ),
        cluster(
            json!({"replicas": 3, "pools": [{"name": "a"}, {"name": "b"}]}),
            "spec.replicas is the size of the one pool that sets none of its own",
        ),
        cluster(
            pool(json!({"name": "main", "roles": []})),
            "should have at least 1 items",
        ),
        cluster(
            pool(json!({"name": "main", "roles": ["broker"]})),
            "nobody forms the quorum",
        ),
        cluster(
            pool(json!({"name": "main", "roles": ["coordinator"]})),
            "nobody holds records",
        ),
        cluster(
            pool(json!({"name": "main", "firstBrokerId": -5})),
            "should be greater than or equal to 0",
        ),
        cluster(
            json!({"pools": [
                {"name": "a", "replicas": 3, "firstBrokerId": 0},
                {"name": "b", "replicas": 2, "firstBrokerId": 2},
            ]}),
            "brokers of two pools would have the same ids",
        ),
        changed(
            cluster(
                pool(json!({"name": "main", "firstBrokerId": 100})),
                "firstBrokerId cannot change: make a new pool",
            ),
            pool(json!({"name": "main", "firstBrokerId": 0})),
        ),
        changed(
            cluster(
                pool(json!({"name": "main"})),
                "firstBrokerId cannot change: make a new pool",
            ),
            pool(json!({"name": "main", "firstBrokerId": 0})),
        ),
        cluster(
            volume(json!({"name": "config", "size": "1Gi"})),
            "the names `config` and `certificates` are the fleet's own",
        ),
        cluster(
            volume(json!({"name": "data", "size": "10GB"})),
            "a size is a number and a unit, such as 100Gi",
        ),
        cluster(
            volume(json!({"name": "data", "size": "1Mi"})),
            "a volume has at least 64Mi",
        ),
        changed(
            cluster(
                volume(json!({"name": "data", "size": "10240Mi"})),
                "the volume `data` has 100Gi and cannot shrink to 10240Mi: volumes only grow",
            ),
            volume(json!({"name": "data", "size": "100Gi"})),
        ),
        cluster(
            pool(json!({"name": "main", "resources": {"requests": {"cpu": "fast"}}})),
            "spec.pools[0].resources.requests.cpu in body should match",
        ),
    ]
}

fn listeners() -> Vec<Refusal> {
    vec![
        cluster(
            listener(json!({"name": "Internal", "port": 9092})),
            "spec.listeners[0].name in body should match",
        ),
        cluster(
            listener(json!({"name": "brokers", "port": 9092})),
            "are the fleet's own",
        ),
        cluster(
            listener(json!({"name": "internal", "port": 80})),
            "should be greater than or equal to 1024",
        ),
        cluster(
            listener(json!({"name": "internal", "port": 70000})),
            "should be less than or equal to 65535",
        ),
        cluster(
            listener(json!({"name": "internal", "port": 9091})),
            "the ports 8080, 9090 and 9091 are the fleet's own",
        ),
        cluster(
            json!({"listeners": [{"name": "a", "port": 9092}, {"name": "b", "port": 9092}]}),
            "two listeners cannot share a port",
        ),
        cluster(
            json!({"listeners": [{"name": "a", "port": 9092}, {"name": "a", "port": 9093}]}),
            "Duplicate value",
        ),
        cluster(
            listener(json!({"name": "internal", "port": 9092, "authentication": ["mtls"]})),
            "mtls needs tls: true",
        ),
        cluster(
            listener(json!({"name": "internal", "port": 9092, "authentication": ["plain"]})),
            "plain sends passwords as they are and needs tls: true",
        ),
        cluster(
            listener(json!({"name": "internal", "port": 9092, "authentication": ["oauthbearer"]})),
            "oauthbearer sends tokens as they are and needs tls: true",
        ),
        cluster(
            listener(json!({"name": "internal", "port": 9092, "authentication": ["kerberos"]})),
            "Unsupported value: \"kerberos\"",
        ),
        cluster(
            listener(json!({"name": "internal", "port": 9092, "tsl": true})),
            "unknown field \"spec.listeners[0].tsl\"",
        ),
        cluster(
            listener(
                json!({"name": "external", "port": 9094, "exposure": {"type": "NodePort", "hostTemplate": "broker.example.com"}}),
            ),
            "hostTemplate has no {id}",
        ),
        cluster(
            listener(
                json!({"name": "external", "port": 9094, "tls": true, "exposure": {"type": "Ingress", "bootstrapHost": "k.x"}}),
            ),
            "an Ingress needs hostTemplate and bootstrapHost",
        ),
        cluster(
            listener(json!({"name": "external", "port": 9094, "exposure": {
                "type": "Ingress", "bootstrapHost": "k.x", "hostTemplate": "b{id}.x",
            }})),
            "an Ingress tells brokers apart by the host name in the TLS handshake and needs tls: true",
        ),
    ]
}

fn topics() -> Vec<Refusal> {
    vec![
        made("Topic", "orders", json!({}), "spec.cluster: Required value"),
        topic(json!({"name": ".."}), "a topic cannot be named `.` or `..`"),
        topic(json!({"name": "two words"}), "spec.name in body should match"),
        topic(
            json!({"name": "__consumer_offsets"}),
            "names that begin with `__` belong to the fleet itself",
        ),
        topic(json!({"partitions": 0}), "should be greater than or equal to 1"),
        topic(json!({"replicas": 0}), "should be greater than or equal to 1"),
        topic(json!({"deletionPolicy": "Maybe"}), "Unsupported value: \"Maybe\""),
        topic(json!({"partition": 3}), "unknown field \"spec.partition\""),
        changed(
            topic(
                json!({"partitions": 6}),
                "spec.partitions cannot shrink from 12 to 6: records would be lost, and keys would change their partition. \
                 Ask for 12 or more, or make a new Topic",
            ),
            of_cluster(json!({"partitions": 12})),
        ),
        changed_with_status(
            topic(
                json!({"partitions": 6}),
                "the topic has 12 partitions and cannot shrink to 6",
            ),
            of_cluster(json!({})),
            json!({"partitions": 12}),
        ),
        changed(
            topic(json!({"name": "other"}), "spec.name cannot change"),
            of_cluster(json!({})),
        ),
        changed(
            topic(json!({}), "spec.name cannot change"),
            of_cluster(json!({"name": "other"})),
        ),
        changed(
            topic(
                json!({"cluster": {"name": "other"}}),
                "spec.cluster cannot change",
            ),
            of_cluster(json!({})),
        ),
    ]
}

fn users() -> Vec<Refusal> {
    let scram = json!({"cluster": {"name": "events"}, "authentication": {"type": "scram-sha-512"}});
    let topic = json!({"type": "topic", "name": "orders"});
    vec![
        made(
            "User",
            "checkout",
            of_cluster(json!({})),
            "spec.authentication: Required value",
        ),
        made(
            "User",
            "anonymous",
            scram.clone(),
            "belongs to clients that do not say who they are",
        ),
        user(
            json!({"authentication": {"type": "password"}}),
            "Unsupported value: \"password\"",
        ),
        user(
            json!({"authentication": {"type": "mtls", "passwordFrom": {"name": "a", "key": "b"}}}),
            "a user with a client certificate has no password",
        ),
        user(
            json!({"authentication": {"type": "scram-sha-512", "passwordFrom": {"name": "checkout", "key": "password"}}}),
            "keep the password in another",
        ),
        changed(
            user(
                json!({"cluster": {"name": "other"}}),
                "spec.cluster cannot change: make a new User there",
            ),
            scram,
        ),
        user(
            rule(json!({"resource": {"type": "topic"}, "operations": ["Read"]})),
            "a rule needs the name of its resource",
        ),
        user(
            rule(
                json!({"resource": {"type": "topic", "name": "*", "pattern": "prefixed"}, "operations": ["Read"]}),
            ),
            "`*` stands for all by itself",
        ),
        user(
            rule(json!({"resource": topic, "operations": []})),
            "should have at least 1 items",
        ),
        user(
            rule(json!({"resource": topic, "operations": ["read"]})),
            "Unsupported value: \"read\"",
        ),
        user(
            rule(json!({"resource": {"type": "group", "name": "checkout"}, "operations": ["Read", "Write"]})),
            "an operation that resources of this type do not have",
        ),
        user(
            rule(json!({"resource": topic, "operations": ["Read"], "host": "shop.example.com"})),
            "a host is an address such as 10.0.0.1, or `*`",
        ),
        user(
            json!({"quotas": {"producerByteRate": 0}}),
            "should be greater than or equal to 1",
        ),
    ]
}
