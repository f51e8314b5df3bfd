use flotilla_crds::{Cluster, Pool};
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::names::{Names, owned, pool_labels, pool_selector};
use super::{Site, overlay, pod, volume};
use crate::Problem;

/// The StatefulSet of a pool, with `replicas` brokers. It is JSON rather than a typed object, because what the user's overlay says
/// must reach the API server even where this program does not know the field: there a strict dry run tells what is wrong.
///
/// # Errors
/// An overlay that makes something of the pod that is no pod, or takes away what the operator relies on.
pub fn stateful_set(cluster: &Cluster, pool: &Pool, replicas: i32, site: &Site) -> Result<Value, Problem> {
    let names = Names::of(cluster);
    let set = StatefulSet {
        metadata: ObjectMeta {
            labels: Some(pool_labels(cluster, &pool.name)),
            ..owned(cluster, names.pool(&pool.name))
        },
        spec: Some(StatefulSetSpec {
            replicas: Some(replicas),
            service_name: Some(names.brokers()),
            selector: pool_selector(cluster, &pool.name),
            // All at once when the fleet is made or has lost power: a quorum cannot form one by one.
            pod_management_policy: Some("Parallel".to_owned()),
            // The operator deletes pods itself, each with a grant of the fleet's.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            persistent_volume_claim_retention_policy: Some(volume::retention(pool)),
            volume_claim_templates: Some(volume::claim_templates(cluster, pool)),
            template: pod::template(cluster, pool, site),
            ..StatefulSetSpec::default()
        }),
        status: None,
    };
    let mut set = serde_json::to_value(set).expect("a StatefulSet is JSON");
    if let Some(overlay) = &pool.template {
        lay_over(cluster, pool, &mut set["spec"]["template"], overlay)?;
    }
    Ok(set)
}

fn lay_over(cluster: &Cluster, pool: &Pool, template: &mut Value, overlay: &Value) -> Result<(), Problem> {
    let field = format!("spec.pools[{}].template", pool.name);
    let Some(parts) = overlay.as_object() else {
        return Err(Problem::spec(field, "an overlay is an object, as a pod is"));
    };
    if let Some(other) = parts
        .keys()
        .find(|key| !["metadata", "spec"].contains(&key.as_str()))
    {
        return Err(Problem::spec(
            format!("{field}.{other}"),
            "an overlay holds `metadata` and `spec`, as a pod does",
        ));
    }
    for (part, keys) in pod::reserved_metadata(cluster, pool) {
        let touched = keys
            .iter()
            .find(|key| !overlay["metadata"][part][key.as_str()].is_null());
        if let Some(key) = touched {
            return Err(Problem::spec(
                format!("{field}.metadata.{part}"),
                format!("`{key}` is the operator's own"),
            ));
        }
    }
    overlay::merge(template, overlay);
    serde_json::from_value::<PodTemplateSpec>(template.clone())
        .map_err(|error| Problem::spec(&field, format!("with this overlay the pod is none: {error}")))?;
    check_container(template).map_err(|what| Problem::spec(field, what))
}

/// What the operator relies on is still there.
fn check_container(template: &Value) -> Result<(), String> {
    let containers = template["spec"]["containers"].as_array();
    let broker = containers
        .into_iter()
        .flatten()
        .find(|container| container["name"] == pod::CONTAINER)
        .ok_or_else(|| format!("the container `{}` must stay", pod::CONTAINER))?;
    let mounted = |volume: &str| {
        broker["volumeMounts"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|mount| mount["name"] == volume)
    };
    match [pod::CONFIG_VOLUME, pod::CERTIFICATES_VOLUME]
        .into_iter()
        .find(|volume| !mounted(volume))
    {
        Some(volume) => Err(format!("the broker needs its volume `{volume}`")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use flotilla_crds::default_pools;
    use serde_json::json;

    use super::super::testing;
    use super::*;

    fn build(fields: Value, pool: &Pool) -> Result<Value, Problem> {
        stateful_set(&testing::with(fields), pool, 3, &testing::site())
    }

    fn main_pool(fields: Value) -> Pool {
        let mut pool = serde_json::to_value(&default_pools()[0]).unwrap();
        for (name, value) in fields.as_object().unwrap() {
            pool[name] = value.clone();
        }
        serde_json::from_value(pool).unwrap()
    }

    #[test]
    fn statefulset_of_a_pool_is_whole() {
        let pool = main_pool(json!({"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}));
        let set = build(
            json!({"rackTopologyKey": "topology.kubernetes.io/zone", "imagePullSecrets": [{"name": "pull"}]}),
            &pool,
        )
        .unwrap();
        let selector =
            json!({"matchLabels": {"flotilla.dev/cluster": "events", "flotilla.dev/pool": "main"}});
        let mut metadata = testing::metadata("events-main");
        metadata["labels"] = testing::pool_labels();
        let revision = set["spec"]["template"]["metadata"]["annotations"]["flotilla.dev/revision"].clone();
        assert!(revision.as_str().unwrap().contains("image="), "{revision}");
        let container = json!({
                                "name": "broker",
                                "image": "flotilla-broker:0.1.0",
                                "imagePullPolicy": "IfNotPresent",
                                "args": ["--config", "/etc/flotilla/config/$(POD_NAME).yaml"],
                                "env": [{
                                    "name": "POD_NAME",
                                    "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
                                }],
                                "ports": [
                                    {"name": "control", "containerPort": 9090, "protocol": "TCP"},
                                    {"name": "replication", "containerPort": 9091, "protocol": "TCP"},
                                    {"name": "admin", "containerPort": 8080, "protocol": "TCP"},
                                    {"name": "internal", "containerPort": 9092, "protocol": "TCP"},
                                    {"name": "external", "containerPort": 9094, "protocol": "TCP"},
                                ],
                                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
                                "securityContext": {
                                    "allowPrivilegeEscalation": false,
                                    "capabilities": {"drop": ["ALL"]},
                                    "readOnlyRootFilesystem": true,
                                },
                                "startupProbe": {
                                    "httpGet": {"path": "/healthz", "port": "admin"},
                                    "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 120,
                                },
                                "livenessProbe": {
                                    "httpGet": {"path": "/healthz", "port": "admin"},
                                    "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3,
                                },
                                "readinessProbe": {
                                    "httpGet": {"path": "/readyz", "port": "admin"},
                                    "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 2,
                                },
                                "volumeMounts": [
                                    {"name": "config", "mountPath": "/etc/flotilla/config", "readOnly": true},
                                    {"name": "certificates", "mountPath": "/etc/flotilla/certificates", "readOnly": true},
                                    {"name": "data", "mountPath": "/var/lib/flotilla/data"},
                                ],
        });
        assert_eq!(
            set,
            json!({
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": metadata,
                "spec": {
                    "replicas": 3,
                    "serviceName": "events-brokers",
                    "selector": selector,
                    "podManagementPolicy": "Parallel",
                    "updateStrategy": {"type": "OnDelete"},
                    "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
                    "volumeClaimTemplates": [{
                        "apiVersion": "v1",
                        "kind": "PersistentVolumeClaim",
                        "metadata": {"name": "data", "labels": testing::pool_labels()},
                        "spec": {
                            "accessModes": ["ReadWriteOnce"],
                            "resources": {"requests": {"storage": "10Gi"}},
                            "volumeMode": "Filesystem",
                        },
                    }],
                    "template": {
                        "metadata": {
                            "labels": testing::pool_labels(),
                            "annotations": {"flotilla.dev/revision": revision},
                        },
                        "spec": {
                            "automountServiceAccountToken": false,
                            "enableServiceLinks": false,
                            "imagePullSecrets": [{"name": "pull"}],
                            "securityContext": {
                                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                                "fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch",
                                "seccompProfile": {"type": "RuntimeDefault"},
                            },
                            "terminationGracePeriodSeconds": 40,
                            "topologySpreadConstraints": [
                                {
                                    "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
                                    "labelSelector": selector, "nodeTaintsPolicy": "Honor",
                                },
                                {
                                    "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
                                    "labelSelector": selector, "nodeTaintsPolicy": "Honor",
                                },
                            ],
                            "containers": [container],
                            "volumes": [
                                {"name": "config", "configMap": {"name": "events-main"}},
                                {"name": "certificates", "secret": {"secretName": "events-main-certificates", "defaultMode": 288}},
                            ],
                        },
                    },
                },
            })
        );
    }

    #[test]
    fn overlay_reaches_the_pod_and_keeps_what_this_program_does_not_know() {
        let pool = main_pool(json!({"template": {
            "metadata": {"annotations": {"team": "data"}},
            "spec": {"tolerations": [{"key": "dedicated"}], "fieldOfTomorrow": 7, "containers": [{"name": "broker", "tty": true}]},
        }}));
        let set = build(json!({}), &pool).unwrap();
        let template = &set["spec"]["template"];
        assert_eq!(template["metadata"]["annotations"]["team"], "data");
        assert_eq!(template["spec"]["tolerations"], json!([{"key": "dedicated"}]));
        assert_eq!(template["spec"]["fieldOfTomorrow"], 7);
        assert_eq!(template["spec"]["containers"][0]["tty"], true);
        assert_eq!(
            template["spec"]["containers"][0]["image"],
            "flotilla-broker:0.1.0"
        );
    }

    #[test]
    fn overlay_that_breaks_the_pod_is_refused_by_name() {
        for (template, problem) in [
            (
                json!([]),
                "spec.pools[main].template: an overlay is an object, as a pod is",
            ),
            (
                json!({"nodeSelector": {}}),
                "spec.pools[main].template.nodeSelector: an overlay holds `metadata` and `spec`, as a pod does",
            ),
            (
                json!({"metadata": {"labels": {"flotilla.dev/pool": "x"}}}),
                "spec.pools[main].template.metadata.labels: `flotilla.dev/pool` is the operator's own",
            ),
            (
                json!({"spec": {"containers": null}}),
                "spec.pools[main].template: the container `broker` must stay",
            ),
            (
                json!({"spec": {"containers": [{"name": "broker", "volumeMounts": null}]}}),
                "spec.pools[main].template: the broker needs its volume `config`",
            ),
        ] {
            let pool = main_pool(json!({"template": template}));
            assert_eq!(build(json!({}), &pool).unwrap_err().to_string(), problem);
        }
        let pool = main_pool(json!({"template": {"spec": {"nodeSelector": "zone-a"}}}));
        let problem = build(json!({}), &pool).unwrap_err();
        assert!(
            problem
                .message
                .starts_with("with this overlay the pod is none: invalid type"),
            "{problem}"
        );
    }
}
