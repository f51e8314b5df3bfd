//! Specifications of a Cluster that cannot be followed: each is a good one with one field wrong. Both levels try all of them.

use serde_json::{Value, json};

/// A specification with one field wrong.
pub struct Wrong {
    /// What is changed.
    pub what: String,
    /// The whole of it.
    pub spec: Value,
}

/// Each field of `good` wrong in turn. What names a pool or a listener changes the first that `good` has and leaves the others.
pub fn wrong_clusters(good: &Value) -> Vec<Wrong> {
    let mut table = Vec::new();
    let mut add = |what: Value, spec: Value| {
        table.push(Wrong {
            what: what.to_string(),
            spec,
        });
    };
    for fields in whole() {
        add(fields.clone(), merged(good, &fields));
    }
    for fields in pools() {
        let mut spec = with_pool(good);
        spec["pools"][0] = merged(&spec["pools"][0], &fields);
        add(json!({ "pool": fields }), spec);
    }
    for fields in volumes() {
        let mut spec = with_pool(good);
        let pool = &mut spec["pools"][0];
        if pool["volumes"].is_null() {
            pool["volumes"] = json!([{"name": "data", "size": "10Gi"}]);
        }
        pool["volumes"][0] = merged(&pool["volumes"][0], &fields);
        add(json!({ "volume": fields }), spec);
    }
    for fields in listeners() {
        let mut spec = good.clone();
        spec["listeners"][0] = merged(&spec["listeners"][0], &fields);
        add(json!({ "listener": fields }), spec);
    }
    table
}

fn whole() -> Vec<Value> {
    vec![
        json!({"replicas": 0}),
        json!({"replicas": "three"}),
        json!({"version": "latest"}),
        json!({"image": "my image"}),
        json!({"imagePullSecrets": [{"name": "Pull"}]}),
        json!({"coordinators": 2}),
        json!({"coordinators": 5}),
        json!({"rackTopologyKey": "topology zone"}),
        json!({"pools": [{"name": "a"}, {"name": "b"}]}),
        json!({"listeners": [{"name": "a", "port": 9092}, {"name": "b", "port": 9092}]}),
        json!({"authorization": {"superUsers": ["User:admin"]}}),
        json!({"tls": {"clusterCa": {"own": {}, "secret": {"name": "ca"}}}}),
        json!({"tls": {"clusterCa": {"own": {"validityDays": 20}}}}),
        json!({"tls": {"clusterCa": {"secret": {"name": "nobody-made-this"}}}}),
        json!({"config": {"min.insync.replica": 2}}),
        json!({"config": {"num.partitions": "many"}}),
        json!({"config": {"listeners": "PLAINTEXT://:9092"}}),
        json!({"config": {"default.replication.factor": 4}}),
        json!({"allowedNamespaces": [{"from": "Selector"}]}),
        json!({"allowedNamespaces": [{"from": "All", "prefixes": [""]}]}),
        json!({"maintenanceWindows": [{"schedule": "0 25 * * *", "durationMinutes": 60}]}),
        json!({"maintenanceWindows": [{"schedule": "0 2 * * *", "durationMinutes": 0}]}),
    ]
}

fn pools() -> Vec<Value> {
    vec![
        json!({"name": "Main"}),
        json!({"name": "identity"}),
        json!({"roles": ["broker"]}),
        json!({"roles": ["leader"]}),
        json!({"firstBrokerId": -5}),
        json!({"resources": {"requests": {"cpu": "fast"}}}),
        json!({"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}),
        json!({"template": {"nodeSelector": {}}}),
        json!({"template": {"spec": {"containers": [{"name": "broker", "comand": ["x"]}]}}}),
        json!({"template": {"metadata": {"annotations": {"flotilla.dev/revision": "x"}}}}),
    ]
}

fn volumes() -> Vec<Value> {
    vec![
        json!({"name": "config"}),
        json!({"size": "10GB"}),
        json!({"size": "1Mi"}),
        json!({"storageClassName": "Fast Disks"}),
    ]
}

fn listeners() -> Vec<Value> {
    let ingress = json!({"type": "Ingress", "bootstrapHost": "k.x"});
    vec![
        json!({"name": "Internal"}),
        json!({"name": "brokers"}),
        json!({"port": 80}),
        json!({"port": 9091}),
        json!({"tls": false, "authentication": ["mtls"]}),
        json!({"authentication": ["kerberos"]}),
        json!({"exposure": {"type": "NodePort", "hostTemplate": "node.example.com"}}),
        json!({"tls": true, "exposure": ingress}),
    ]
}

fn with_pool(good: &Value) -> Value {
    let mut spec = good.clone();
    if spec["pools"].is_null() {
        spec["pools"] = json!([{"name": "main"}]);
    }
    spec
}

/// `fields` laid over `onto`; a mapping in a mapping is laid over that, so that what is beside the wrong field stays.
fn merged(onto: &Value, fields: &Value) -> Value {
    match (onto, fields) {
        (Value::Object(onto), Value::Object(fields)) => {
            let mut merged = onto.clone();
            for (name, field) in fields {
                let before = merged.get(name).cloned().unwrap_or_default();
                merged.insert(name.clone(), self::merged(&before, field));
            }
            Value::Object(merged)
        }
        _ => fields.clone(),
    }
}

/// Whether a Cluster says that what was asked for as `generation` is what is wrong with it, and how it says it.
pub fn says_what_is_wrong(cluster: &Value, generation: &Value) -> Option<String> {
    let condition = |type_: &str| {
        let conditions = cluster["status"]["conditions"].as_array()?;
        conditions.iter().find(|condition| condition["type"] == type_)
    };
    let (ready, stalled) = (condition("Ready")?, condition("Stalled")?);
    let told = ready["observedGeneration"] == *generation
        && (&ready["status"], &ready["reason"]) == (&"False".into(), &"InvalidSpec".into())
        && stalled["status"] == "True";
    let message = ready["message"].as_str()?;
    (told && message.starts_with("spec.")).then(|| message.to_owned())
}
