use std::collections::BTreeMap;

use flotilla_crds::{Cluster, Pool};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
    LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    SeccompProfile, SecretVolumeSource, SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::names::{Names, pool_labels, pool_selector};
use super::site::{ADMIN_PORT, CONTROL_PORT, REPLICATION_PORT};
use super::{Site, config, revision, volume};

/// The broker's container.
pub const CONTAINER: &str = "broker";
/// Names of volumes that are the operator's own.
pub(super) const CONFIG_VOLUME: &str = "config";
pub(super) const CERTIFICATES_VOLUME: &str = "certificates";
pub(super) const CONFIG_DIRECTORY: &str = "/etc/flotilla/config";
pub(super) const CERTIFICATES_DIRECTORY: &str = "/etc/flotilla/certificates";

/// Who the broker runs as: the image's user. The group owns the volumes.
const USER: i64 = 65_532;
/// Files of the Secret: for the group alone.
const SECRET_MODE: i32 = 0o440;
/// A broker hands its leaderships over in 15 seconds at the most, and closes its logs; whoever takes longer hangs. The deletion of a
/// namespace waits for half of this before it looks again whether its pods are gone.
const TERMINATION_SECONDS: i64 = 40;
const HOST_LABEL: &str = "kubernetes.io/hostname";

/// The pods of a pool, before the user's overlay.
pub(super) fn template(cluster: &Cluster, pool: &Pool, site: &Site) -> PodTemplateSpec {
    let names = Names::of(cluster);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pool_labels(cluster, &pool.name)),
            annotations: Some(revision::annotations(cluster, pool, site)),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            containers: vec![container(cluster, pool, site)],
            image_pull_secrets: pull_secrets(cluster),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(USER),
                run_as_group: Some(USER),
                fs_group: Some(USER),
                fs_group_change_policy: Some("OnRootMismatch".to_owned()),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            termination_grace_period_seconds: Some(TERMINATION_SECONDS),
            topology_spread_constraints: Some(spread(cluster, pool)),
            volumes: Some(vec![
                Volume {
                    name: CONFIG_VOLUME.to_owned(),
                    config_map: Some(ConfigMapVolumeSource {
                        name: names.pool(&pool.name),
                        ..ConfigMapVolumeSource::default()
                    }),
                    ..Volume::default()
                },
                Volume {
                    name: CERTIFICATES_VOLUME.to_owned(),
                    secret: Some(SecretVolumeSource {
                        secret_name: Some(names.certificates(&pool.name)),
                        default_mode: Some(SECRET_MODE),
                        ..SecretVolumeSource::default()
                    }),
                    ..Volume::default()
                },
            ]),
            ..PodSpec::default()
        }),
    }
}

fn pull_secrets(cluster: &Cluster) -> Option<Vec<LocalObjectReference>> {
    let secrets: Vec<LocalObjectReference> = cluster
        .spec
        .image_pull_secrets
        .iter()
        .map(|secret| LocalObjectReference {
            name: secret.name.clone(),
        })
        .collect();
    (!secrets.is_empty()).then_some(secrets)
}

fn container(cluster: &Cluster, pool: &Pool, site: &Site) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(site.image(cluster)),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(vec![
            "--config".to_owned(),
            format!("{CONFIG_DIRECTORY}/$(POD_NAME).yaml"),
        ]),
        env: Some(vec![EnvVar {
            name: "POD_NAME".to_owned(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    field_path: "metadata.name".to_owned(),
                    api_version: Some("v1".to_owned()),
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        }]),
        ports: Some(ports(cluster)),
        resources: pool.resources.clone(),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: None,
            }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        // The admin port opens before the logs do, and answers well while they are read however long that takes: a slow
        // recovery is never taken for a broken broker.
        startup_probe: Some(probe("/healthz", 1, 120)),
        liveness_probe: Some(probe("/healthz", 10, 3)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        volume_mounts: Some(mounts(pool)),
        ..Container::default()
    }
}

fn ports(cluster: &Cluster) -> Vec<ContainerPort> {
    let port = |name: &str, port: u16| ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(port),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    let mut ports = vec![
        port("control", CONTROL_PORT),
        port("replication", REPLICATION_PORT),
        port("admin", ADMIN_PORT),
    ];
    ports.extend(
        config::listeners(cluster)
            .iter()
            .map(|listener| port(&listener.name, listener.port)),
    );
    ports
}

fn probe(path: &str, period_seconds: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn mounts(pool: &Pool) -> Vec<VolumeMount> {
    let read_only = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let mut mounts = vec![
        read_only(CONFIG_VOLUME, CONFIG_DIRECTORY),
        read_only(CERTIFICATES_VOLUME, CERTIFICATES_DIRECTORY),
    ];
    mounts.extend(volume::volumes(pool).iter().map(|volume| VolumeMount {
        name: volume.name.clone(),
        mount_path: volume::mount_path(volume),
        ..VolumeMount::default()
    }));
    mounts
}

/// Evenly over racks, as a must; over nodes, where it can be. A rack whose nodes are all tainted, as lost ones are, does not count:
/// it would keep pods from starting elsewhere.
fn spread(cluster: &Cluster, pool: &Pool) -> Vec<TopologySpreadConstraint> {
    let constraint = |key: &str, when: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: when.to_owned(),
        label_selector: Some(pool_selector(cluster, &pool.name)),
        node_taints_policy: Some("Honor".to_owned()),
        ..TopologySpreadConstraint::default()
    };
    let rack = cluster.spec.rack_topology_key.as_deref();
    let mut constraints: Vec<_> = rack
        .map(|key| constraint(key, "DoNotSchedule"))
        .into_iter()
        .collect();
    if rack != Some(HOST_LABEL) {
        constraints.push(constraint(HOST_LABEL, "ScheduleAnyway"));
    }
    constraints
}

/// Labels and annotations that the overlay of a pool must leave alone: selectors and restarts depend on them.
pub(super) fn reserved_metadata(cluster: &Cluster, pool: &Pool) -> BTreeMap<&'static str, Vec<String>> {
    BTreeMap::from([
        ("labels", pool_labels(cluster, &pool.name).into_keys().collect()),
        ("annotations", vec![revision::REVISION_ANNOTATION.to_owned()]),
    ])
}
