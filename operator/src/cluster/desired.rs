use std::collections::BTreeMap;

use flotilla_crds::Cluster;
use k8s_openapi::Resource;
use serde::Serialize;
use serde_json::Value;

use super::member::pools;
use super::scale::present;
use super::{
    Identity, Revision, Site, config_map, disruption_budget, ingresses, network_policy, services,
    stateful_set,
};
use crate::Problem;

/// What a Cluster wants in Kubernetes, but for its identity, which is written before anything else, and its certificates, which need
/// keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The objects, in the order in which they are applied: StatefulSets last, so that pods find what they mount.
    pub objects: Vec<Value>,
    /// What the pods of each pool should be made from.
    pub revisions: BTreeMap<String, Revision>,
}

/// What a Cluster wants, where its pools should have so many pods: see [`super::scale::Scale::sizes`]. A pool that the Cluster no
/// longer has keeps its objects until it is empty; they are not among these, and must not be pruned before.
///
/// # Errors
/// A specification that cannot be followed. Then nothing is applied, and what runs goes on.
pub fn desired(
    cluster: &Cluster,
    identity: &Identity,
    site: &Site,
    sizes: &BTreeMap<String, i32>,
) -> Result<Desired, Problem> {
    if let Some(problem) = super::validate(cluster).into_iter().next() {
        return Err(problem);
    }
    let members = present(cluster, identity, sizes)?;
    let (mut objects, mut sets, mut revisions) = (Vec::new(), Vec::new(), BTreeMap::new());
    objects.extend(services(cluster, &members).iter().map(json));
    objects.extend(ingresses(cluster, &members).iter().map(json));
    objects.push(json(&disruption_budget(cluster)));
    objects.push(json(&network_policy(cluster, site)));
    for (pool, wanted) in pools(cluster) {
        let size = sizes.get(&pool.name).copied().unwrap_or(wanted);
        objects.push(json(&config_map(cluster, &pool, identity, &members, site)?));
        sets.push(stateful_set(cluster, &pool, size, site)?);
        revisions.insert(pool.name.clone(), Revision::wanted(cluster, &pool, site));
    }
    objects.extend(sets);
    Ok(Desired { objects, revisions })
}

fn json<K: Resource + Serialize>(object: &K) -> Value {
    serde_json::to_value(object).expect("an object of Kubernetes is JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing;
    use super::*;

    fn built(fields: Value, sizes: &BTreeMap<String, i32>) -> Result<Desired, Problem> {
        let cluster = testing::with(fields);
        let identity = testing::identity(&testing::cluster());
        desired(&cluster, &identity, &testing::site(), sizes)
    }

    fn named(desired: &Desired) -> Vec<String> {
        desired
            .objects
            .iter()
            .map(|object| {
                format!(
                    "{} {}",
                    object["kind"].as_str().unwrap(),
                    object["metadata"]["name"].as_str().unwrap()
                )
            })
            .collect()
    }

    #[test]
    fn objects_of_a_cluster_are_all_there_and_statefulsets_come_last() {
        let desired = built(json!({}), &BTreeMap::new()).unwrap();
        assert_eq!(
            named(&desired),
            [
                "Service events-brokers",
                "Service events-internal",
                "Service events-external",
                "Service events-external-0",
                "Service events-external-1",
                "Service events-external-2",
                "PodDisruptionBudget events",
                "NetworkPolicy events",
                "ConfigMap events-main",
                "StatefulSet events-main",
            ]
        );
        assert_eq!(desired.revisions.keys().collect::<Vec<_>>(), ["main"]);
        assert_eq!(
            desired,
            built(json!({}), &BTreeMap::new()).unwrap(),
            "the same twice"
        );
    }

    #[test]
    fn broker_that_leaves_keeps_its_configuration_until_it_is_gone() {
        let sizes = BTreeMap::from([("main".to_owned(), 4)]);
        let desired = built(json!({}), &sizes).unwrap();
        let set = desired.objects.last().unwrap();
        assert_eq!(set["spec"]["replicas"], 4);
        let files = &desired.objects[desired.objects.len() - 2]["data"];
        assert!(files["events-main-3.yaml"].is_string());
        assert!(named(&desired).contains(&"Service events-external-3".to_owned()));
    }

    #[test]
    fn nothing_is_built_from_a_bad_specification() {
        let problem = built(json!({"coordinators": 4}), &BTreeMap::new()).unwrap_err();
        assert_eq!(problem.field, "spec.coordinators");
    }

    #[test]
    fn no_object_holds_an_empty_field() {
        fn empties(way: &str, value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Null => found.push(way.to_owned()),
                Value::Object(fields) if fields.is_empty() && !way.ends_with("namespaceSelector") => {
                    found.push(way.to_owned());
                }
                Value::Object(fields) => {
                    for (name, value) in fields {
                        empties(&format!("{way}.{name}"), value, found);
                    }
                }
                Value::Array(elements) if elements.is_empty() => found.push(way.to_owned()),
                Value::Array(elements) => {
                    for element in elements {
                        empties(&format!("{way}[]"), element, found);
                    }
                }
                _ => {}
            }
        }
        let mut found = Vec::new();
        for object in built(json!({}), &BTreeMap::new()).unwrap().objects {
            empties(object["kind"].as_str().unwrap(), &object, &mut found);
        }
        assert_eq!(found, [""; 0]);
    }
}
