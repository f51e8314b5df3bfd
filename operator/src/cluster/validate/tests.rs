use serde_json::{Value, json};

use super::super::testing;
use super::*;

fn said(cluster: &Cluster) -> Vec<String> {
    validate(cluster).iter().map(Problem::to_string).collect()
}

fn pool(fields: Value) -> Value {
    let mut pool = json!({"name": "main"});
    for (name, value) in fields.as_object().unwrap() {
        pool[name] = value.clone();
    }
    json!({"pools": [pool]})
}

fn listener(fields: Value) -> Value {
    let mut listener = json!({"name": "internal", "port": 9092});
    for (name, value) in fields.as_object().unwrap() {
        listener[name] = value.clone();
    }
    json!({"listeners": [listener]})
}

fn volume(fields: Value) -> Value {
    let mut volume = json!({"name": "data", "size": "10Gi"});
    for (name, value) in fields.as_object().unwrap() {
        volume[name] = value.clone();
    }
    pool(json!({"volumes": [volume]}))
}

/// Fields of a specification, and all that is said about them.
fn table() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({"replicas": 0}),
            "spec.replicas: a pool has 1 to 1000 brokers, not 0",
        ),
        (
            json!({"replicas": 5000}),
            "spec.replicas: a pool has 1 to 1000 brokers, not 5000",
        ),
        (
            json!({"version": "latest"}),
            "spec.version: `latest` is not a version such as 0.1.0",
        ),
        (
            json!({"version": "0.1"}),
            "spec.version: `0.1` is not a version such as 0.1.0",
        ),
        (
            json!({"image": "my image"}),
            "spec.image: `my image` is not the name of an image, such as flotilla-broker:0.1.0",
        ),
        (
            json!({"imagePullSecrets": [{"name": "Pull"}]}),
            "spec.imagePullSecrets[Pull]: this is not the name of a Secret",
        ),
        (
            json!({"coordinators": 2}),
            "spec.coordinators: 2 is none of 1, 3 and 5",
        ),
        (
            json!({"coordinators": 5}),
            "spec.coordinators: 5 brokers should vote, but only 3 have the role coordinator",
        ),
        (
            pool(json!({"name": "Main"})),
            "spec.pools[Main].name: a pool is named with at most 20 of a-z, 0-9 and -, beginning with a letter",
        ),
        (
            pool(json!({"name": "identity"})),
            "spec.pools[identity].name: `identity` is the fleet's own",
        ),
        (
            json!({"pools": [{"name": "main", "replicas": 1}, {"name": "main", "replicas": 1}], "replicas": null, "config": {}}),
            "spec.pools[main].name: two pools have this name",
        ),
        (
            json!({"pools": [{"name": "a"}, {"name": "b"}]}),
            "spec.replicas: it is the size of the one pool that sets none of its own, and 2 pools do so",
        ),
        (
            json!({"pools": [{"name": "main", "replicas": -1}, {"name": "b"}]}),
            "spec.pools[main].replicas: a pool has 0 to 1000 brokers, not -1",
        ),
        (
            json!({"pools": [{"name": "a", "roles": []}, {"name": "b", "replicas": 3}]}),
            "spec.pools[a].roles: a broker does something: broker, coordinator or both",
        ),
        (
            pool(json!({"roles": ["broker"]})),
            "spec.pools: nobody forms the quorum: a pool that is not empty needs the role coordinator",
        ),
        (
            json!({"pools": [{"name": "main", "roles": ["coordinator"]}], "config": {}}),
            "spec.pools: nobody holds records: a pool that is not empty needs the role broker",
        ),
        (
            pool(json!({"firstBrokerId": -5})),
            "spec.pools[main].firstBrokerId: broker ids go from 0 to 2000000000, not -5",
        ),
        (
            json!({"pools": [{"name": "a", "firstBrokerId": 0}, {"name": "b", "replicas": 2, "firstBrokerId": 2}]}),
            "spec.pools[b].firstBrokerId: brokers of the pools `a` and `b` would have the same ids",
        ),
        (
            volume(json!({"name": "config"})),
            "spec.pools[main].volumes[config].name: a volume is named with at most 30 of a-z, 0-9 and -, beginning with a letter, \
             and not `config` or `certificates`",
        ),
        (
            volume(json!({"size": "10GB"})),
            "spec.pools[main].volumes[data].size: `10GB` is not a size such as 100Gi",
        ),
        (
            volume(json!({"size": "1Mi"})),
            "spec.pools[main].volumes[data].size: `1Mi` is too small: a volume has at least 64Mi",
        ),
        (
            volume(json!({"storageClassName": "Fast Disks"})),
            "spec.pools[main].volumes[data].storageClassName: `Fast Disks` is not the name of a StorageClass",
        ),
        (
            pool(json!({"volumes": [{"name": "data", "size": "1Gi"}, {"name": "data", "size": "1Gi"}]})),
            "spec.pools[main].volumes[data].name: two volumes have this name",
        ),
        (
            pool(json!({"resources": {"requests": {"cpu": "fast"}}})),
            "spec.pools[main].resources.requests.cpu: `fast` is not an amount such as 500m or 1Gi",
        ),
        (
            pool(json!({"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}})),
            "spec.pools[main].resources.requests.memory: it asks for more than its limit",
        ),
        (
            pool(json!({"template": {"nodeSelector": {}}})),
            "spec.pools[main].template.nodeSelector: an overlay holds `metadata` and `spec`, as a pod does",
        ),
        (
            pool(json!({"template": {"metadata": {"annotations": {"flotilla.dev/revision": "x"}}}})),
            "spec.pools[main].template.metadata.annotations: `flotilla.dev/revision` is the operator's own",
        ),
        (
            json!({"rackTopologyKey": "topology zone"}),
            "spec.rackTopologyKey: `topology zone` is not the key of a label, such as `topology.kubernetes.io/zone`",
        ),
        (
            listener(json!({"name": "Internal"})),
            "spec.listeners[Internal].name: a listener is named with at most 15 of a-z, 0-9 and -, beginning with a letter",
        ),
        (
            listener(json!({"name": "brokers"})),
            "spec.listeners[brokers].name: `brokers` is the fleet's own",
        ),
        (
            listener(json!({"port": 80})),
            "spec.listeners[internal].port: 80 is below 1024, where only root can listen: brokers are not root",
        ),
        (
            listener(json!({"port": 9091})),
            "spec.listeners[internal].port: 9091 is the fleet's own, as are 8080, 9090 and 9091",
        ),
        (
            json!({"listeners": [{"name": "a", "port": 9092}, {"name": "b", "port": 9092}]}),
            "spec.listeners[b].port: listener `a` has it already",
        ),
        (
            json!({"listeners": [{"name": "a", "port": 9092}, {"name": "a", "port": 9093}]}),
            "spec.listeners[a].name: two listeners have this name",
        ),
        (
            listener(json!({"authentication": ["mtls"]})),
            "spec.listeners[internal].authentication: mtls needs `tls: true`: certificates are shown in its handshake",
        ),
        (
            listener(json!({"authentication": ["plain"]})),
            "spec.listeners[internal].authentication: plain needs `tls: true`: it shows passwords on the way",
        ),
        (
            listener(json!({"authentication": ["oauthbearer"]})),
            "spec.listeners[internal].authentication: oauthbearer needs `tls: true`: it shows tokens on the way",
        ),
        (
            listener(json!({"authentication": ["scram-sha-512", "scram-sha-512"]})),
            "spec.listeners[internal].authentication: a way is named twice",
        ),
        (
            listener(json!({"exposure": {"type": "NodePort", "hostTemplate": "node.example.com"}})),
            "spec.listeners[internal].exposure.hostTemplate: `node.example.com` has no {id}: brokers need hosts of their own",
        ),
        (
            listener(json!({"exposure": {"type": "LoadBalancer", "hostTemplate": "b_{id}"}})),
            "spec.listeners[internal].exposure.hostTemplate: `b_{id}` makes no host name, such as broker-{id}.example.com",
        ),
        (
            listener(json!({"exposure": {"type": "NodePort", "bootstrapHost": "a b"}})),
            "spec.listeners[internal].exposure.bootstrapHost: `a b` is not a host name",
        ),
        (
            listener(
                json!({"exposure": {"type": "Ingress", "hostTemplate": "b{id}.x", "bootstrapHost": "k.x"}}),
            ),
            "spec.listeners[internal].tls: an Ingress tells brokers apart by the host name in the TLS handshake: set `tls: true`",
        ),
        (
            listener(json!({"tls": true, "exposure": {"type": "Ingress", "bootstrapHost": "k.x"}})),
            "spec.listeners[internal].exposure.hostTemplate: an Ingress needs it: clients find brokers by host name",
        ),
        (
            listener(json!({"exposure": {"type": "NodePort", "annotations": {"not a key": "x"}}})),
            "spec.listeners[internal].exposure.annotations: `not a key` is not the key of an annotation",
        ),
        (
            json!({"authorization": {"superUsers": ["User:admin"]}}),
            "spec.authorization.superUsers[User:admin]: name it without `User:`",
        ),
        (
            json!({"authorization": {"superUsers": ["*"]}}),
            "spec.authorization.superUsers[*]: `*` is nobody's name: with `type: none` everybody may do everything",
        ),
        (
            json!({"tls": {"clusterCa": {"own": {}, "secret": {"name": "ca"}}}}),
            "spec.tls.clusterCa: it is one of own, secret and issuerRef",
        ),
        (
            json!({"tls": {"clusterCa": {"own": {"validityDays": 20}}}}),
            "spec.tls.clusterCa.own.renewBeforeDays: certificates that hold 20 days cannot be renewed 30 days before their end",
        ),
        (
            json!({"tls": {"clientsCa": {"secret": {"name": "My CA"}}}}),
            "spec.tls.clientsCa.secret.name: `My CA` is not the name of an object in Kubernetes",
        ),
        (
            json!({"config": {"min.insync.replica": 2}}),
            "spec.config: unknown broker setting `min.insync.replica`; did you mean `min.insync.replicas`?",
        ),
        (
            json!({"config": {"num.partitions": "many"}}),
            "spec.config: `num.partitions` cannot be `many`: a whole number from 1 to 2147483647 is expected",
        ),
        (
            json!({"config": {"listeners": "PLAINTEXT://:9092"}}),
            "spec.config: `listeners` cannot be set by name: spec.listeners decides it",
        ),
        (
            json!({"config": {"default.replication.factor": 4}}),
            "spec.config: `default.replication.factor` is 4, but there are only 3 brokers",
        ),
        (
            json!({"allowedNamespaces": [{"from": "Selector"}]}),
            "spec.allowedNamespaces[0].selector: `from: Selector` needs it",
        ),
        (
            json!({"allowedNamespaces": [{"from": "Selector", "selector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}]}),
            "spec.allowedNamespaces[0].selector.matchExpressions: `Is` is none of In, NotIn, Exists and DoesNotExist",
        ),
        (
            json!({"allowedNamespaces": [{"from": "All", "prefixes": [""]}]}),
            "spec.allowedNamespaces[0].prefixes: an empty prefix allows every name: leave `prefixes` out if that is meant",
        ),
        (
            json!({"maintenanceWindows": [{"schedule": "0 25 * * *", "durationMinutes": 60}]}),
            "spec.maintenanceWindows[0].schedule: hour `25`: `25` is not between 0 and 23",
        ),
        (
            json!({"maintenanceWindows": [{"schedule": "0 2 * * *", "durationMinutes": 0}]}),
            "spec.maintenanceWindows[0].durationMinutes: a window lasts 1 to 10080 minutes (a week), not 0",
        ),
    ]
}

#[test]
fn every_bad_specification_is_refused_with_its_field_and_what_to_do() {
    let table = table();
    assert!(table.len() >= 30);
    for (fields, message) in table {
        let said = said(&testing::with(fields.clone()));
        assert!(said.iter().any(|said| said == message), "{fields}: {said:#?}");
    }
}

#[test]
fn good_specifications_are_not_spoken_of() {
    for fields in [
        json!({}),
        json!({"listeners": null, "authorization": null, "replicas": null, "config": null}),
        json!({
            "replicas": null,
            "pools": [
                {"name": "quorum", "replicas": 3, "roles": ["coordinator"], "firstBrokerId": 100},
                {"name": "data", "replicas": 4, "roles": ["broker"], "volumes": [
                    {"name": "a", "size": "1.5Ti", "storageClassName": "fast"}, {"name": "b", "size": "100Gi"},
                ], "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": 2}}},
            ],
        }),
        json!({"tls": {"clusterCa": {"issuerRef": {"name": "company"}}, "clientsCa": {"own": {"validityDays": 31}}}}),
        json!({"version": "1.2.3-rc.1", "image": "registry.example.com:5000/a/b@sha256:0123456789abcdef"}),
        json!({"listeners": [{
            "name": "web", "port": 9094, "tls": true,
            "exposure": {"type": "Ingress", "hostTemplate": "b-{id}.example.com", "bootstrapHost": "k.example.com"},
        }]}),
    ] {
        assert_eq!(
            said(&testing::with(fields.clone())),
            Vec::<String>::new(),
            "{fields}"
        );
    }
}

#[test]
fn names_that_make_names_too_long_are_refused() {
    let mut cluster = testing::with(json!({"listeners": [{
        "name": "fifteen-letters", "port": 9092, "exposure": {"type": "NodePort"},
    }], "pools": [{"name": "twenty-letters-pool", "firstBrokerId": 1_000_000_000}]}));
    cluster.metadata.name = Some("forty-letters-are-allowed-for-a-cluster".into());
    let said = said(&cluster);
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[0].contains("the name of a StatefulSet has at most 52"));
    assert!(said[1].contains("63 are allowed: shorten a name"));
    cluster.metadata.name = Some("forty-one-letters-are-too-many-for-a-name".into());
    assert!(
        validate(&cluster)
            .iter()
            .any(|problem| problem.field == "metadata.name")
    );
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let cluster = testing::with(json!({"replicas": 0, "version": "x", "config": {"no.such": 1}}));
    let fields: Vec<String> = validate(&cluster)
        .into_iter()
        .map(|problem| problem.field)
        .collect();
    assert_eq!(
        fields,
        [
            "spec.replicas",
            "spec.version",
            "spec.pools",
            "spec.pools",
            "spec.config"
        ]
    );
}
