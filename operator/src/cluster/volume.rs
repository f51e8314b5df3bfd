use std::collections::BTreeMap;
use std::path::PathBuf;

use flotilla_crds::{Cluster, Pool, Retention, Volume};
use k8s_openapi::api::apps::v1::StatefulSetPersistentVolumeClaimRetentionPolicy;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use serde_json::{Value, json};

use super::names::{Names, pool_labels};
use super::quantity;
use crate::Problem;

/// Where volumes are mounted, each in a directory of its own name.
const MOUNT_ROOT: &str = "/var/lib/flotilla";
/// The directory of a volume that the broker writes to: file systems keep things of their own in the topmost one.
const DIRECTORY: &str = "broker";
/// The size of the volume of a pool that names none.
const DEFAULT_SIZE: &str = "10Gi";

/// The volumes of each broker of a pool.
#[must_use]
pub fn volumes(pool: &Pool) -> Vec<Volume> {
    if !pool.volumes.is_empty() {
        return pool.volumes.clone();
    }
    vec![Volume {
        name: "data".to_owned(),
        size: DEFAULT_SIZE.to_owned(),
        storage_class_name: None,
    }]
}

/// Where a volume is mounted.
pub(super) fn mount_path(volume: &Volume) -> String {
    format!("{MOUNT_ROOT}/{}", volume.name)
}

/// The directories that a broker of the pool keeps its data in.
#[must_use]
pub fn data_dirs(pool: &Pool) -> Vec<PathBuf> {
    volumes(pool)
        .iter()
        .map(|volume| PathBuf::from(mount_path(volume)).join(DIRECTORY))
        .collect()
}

/// What becomes of a pool's claims. Unless asked otherwise they stay.
#[must_use]
pub fn retention(pool: &Pool) -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    let word = |retention| match retention {
        Retention::Retain => "Retain".to_owned(),
        Retention::Delete => "Delete".to_owned(),
    };
    let persistence = pool.persistence.clone().unwrap_or_default();
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some(word(persistence.when_deleted)),
        when_scaled: Some(word(persistence.when_scaled)),
    }
}

/// The templates of a pool's claims.
#[must_use]
pub fn claim_templates(cluster: &Cluster, pool: &Pool) -> Vec<PersistentVolumeClaim> {
    volumes(pool)
        .into_iter()
        .map(|volume| PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(volume.name),
                labels: Some(pool_labels(cluster, &pool.name)),
                ..ObjectMeta::default()
            },
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                resources: Some(VolumeResourceRequirements {
                    requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(volume.size))])),
                    limits: None,
                }),
                storage_class_name: volume.storage_class_name,
                volume_mode: Some("Filesystem".to_owned()),
                ..PersistentVolumeClaimSpec::default()
            }),
            status: None,
        })
        .collect()
}

/// Whether a StatefulSet asks for other claims than the one that is there, as JSON both. Kubernetes lets nobody change that.
#[must_use]
pub fn claims_differ(desired: &Value, live: &Value) -> bool {
    let claims = |set: &Value| -> Vec<Value> {
        let templates = set["spec"]["volumeClaimTemplates"].as_array();
        templates
            .into_iter()
            .flatten()
            .map(|claim| {
                let size = claim["spec"]["resources"]["requests"]["storage"].as_str();
                json!({
                    "name": claim["metadata"]["name"],
                    "class": claim["spec"]["storageClassName"],
                    "size": size.and_then(quantity::read),
                })
            })
            .collect()
    };
    claims(desired) != claims(live)
}

/// A claim that is to become larger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Its name.
    pub claim: String,
    /// What it should have.
    pub size: String,
}

/// The claims of a pool that are smaller than they should be. `claims` are the names and sizes of those that there are.
///
/// # Errors
/// A volume of the pool became smaller: no volume can shrink.
pub fn growth(
    cluster: &Cluster,
    pool: &Pool,
    claims: &BTreeMap<String, String>,
) -> Result<Vec<Growth>, Problem> {
    let mut growing = Vec::new();
    for volume in volumes(pool) {
        let prefix = format!("{}-{}-", volume.name, Names::of(cluster).pool(&pool.name));
        let wanted = quantity::read(&volume.size).unwrap_or(0.0);
        let of_volume = claims.iter().filter(|(claim, _)| {
            claim
                .strip_prefix(&prefix)
                .is_some_and(|ordinal| ordinal.parse::<u32>().is_ok())
        });
        for (claim, size) in of_volume {
            let now = quantity::read(size).unwrap_or(0.0);
            if now > wanted {
                return Err(Problem::spec(
                    format!("spec.pools[{}].volumes[{}].size", pool.name, volume.name),
                    format!(
                        "the volume `{claim}` has {size} and cannot shrink to {}: volumes only grow",
                        volume.size
                    ),
                ));
            }
            if now < wanted {
                growing.push(Growth {
                    claim: claim.clone(),
                    size: volume.size.clone(),
                });
            }
        }
    }
    Ok(growing)
}

#[cfg(test)]
mod tests {
    use flotilla_crds::{Persistence, default_pools};
    use serde_json::json;

    use super::super::testing;
    use super::*;

    #[test]
    fn pool_that_names_no_volume_has_one_of_ten_gibibytes() {
        let pool = &default_pools()[0];
        assert_eq!(data_dirs(pool), [PathBuf::from("/var/lib/flotilla/data/broker")]);
        assert_eq!(
            serde_json::to_value(claim_templates(&testing::cluster(), pool)).unwrap(),
            json!([{
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data", "labels": testing::pool_labels()},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "10Gi"}},
                    "volumeMode": "Filesystem",
                },
            }])
        );
        assert_eq!(
            serde_json::to_value(retention(pool)).unwrap(),
            json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
        );
    }

    #[test]
    fn volumes_of_a_pool_are_claimed_as_it_says() {
        let mut pool = default_pools().remove(0);
        pool.volumes = vec![
            Volume {
                name: "fast".into(),
                size: "1Ti".into(),
                storage_class_name: Some("nvme".into()),
            },
            Volume {
                name: "slow".into(),
                size: "2Ti".into(),
                storage_class_name: None,
            },
        ];
        pool.persistence = Some(Persistence {
            when_deleted: Retention::Delete,
            when_scaled: Retention::Retain,
        });
        let claims = claim_templates(&testing::cluster(), &pool);
        let class = |claim: &PersistentVolumeClaim| claim.spec.as_ref().unwrap().storage_class_name.clone();
        assert_eq!(class(&claims[0]).as_deref(), Some("nvme"));
        assert_eq!(class(&claims[1]), None);
        assert_eq!(
            data_dirs(&pool),
            [
                PathBuf::from("/var/lib/flotilla/fast/broker"),
                PathBuf::from("/var/lib/flotilla/slow/broker")
            ]
        );
        assert_eq!(retention(&pool).when_deleted.as_deref(), Some("Delete"));
    }

    #[test]
    fn claims_grow_and_never_shrink() {
        let cluster = testing::cluster();
        let pool = &default_pools()[0];
        let claims = |size: &str| {
            BTreeMap::from([
                ("data-events-main-0".to_owned(), size.to_owned()),
                ("data-events-main-1".to_owned(), "10240Mi".to_owned()),
                ("data-events-main-other-0".to_owned(), "1Gi".to_owned()),
            ])
        };
        assert_eq!(
            growth(&cluster, pool, &claims("5Gi")),
            Ok(vec![Growth {
                claim: "data-events-main-0".into(),
                size: "10Gi".into()
            }])
        );
        assert_eq!(
            growth(&cluster, pool, &claims("20Gi")).unwrap_err().to_string(),
            "spec.pools[main].volumes[data].size: the volume `data-events-main-0` has 20Gi and cannot shrink to 10Gi: volumes only grow"
        );
    }

    #[test]
    fn claims_of_a_statefulset_are_compared_as_kubernetes_keeps_them() {
        let set = |size: &str, class: Option<&str>| {
            let mut claim =
                json!({"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}});
            if let Some(class) = class {
                claim["spec"]["storageClassName"] = class.into();
            }
            json!({"spec": {"volumeClaimTemplates": [claim]}})
        };
        let mut live = set("1Gi", None);
        live["spec"]["volumeClaimTemplates"][0]["status"] = json!({"phase": "Pending"});
        assert!(!claims_differ(&set("1024Mi", None), &live));
        assert!(claims_differ(&set("2Gi", None), &live));
        assert!(claims_differ(&set("1Gi", Some("fast")), &live));
        assert!(claims_differ(&json!({"spec": {}}), &live));
    }
}
