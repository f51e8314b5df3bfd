use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::BrokerId;
use flotilla_control::config::{Advertised, Internal, InternalTls, ListenerTls, Peer};
use flotilla_crds::{Cluster, Pool, Retention, Role};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::certificate::{CLIENTS_CA_FILE, INTERNAL_CA_FILE, internal_stem, listener_stem};
use super::member::pools;
use super::names::{Names, kept, owned};
use super::pod::CERTIFICATES_DIRECTORY;
use super::site::{ADMIN_PORT, CONTROL_PORT, REPLICATION_PORT};
use super::{Address, Identity, Member, Place, Site, broker_config, config, dynamic, volume};
use crate::Problem;

/// The key of the identity in its ConfigMap.
const IDENTITY_KEY: &str = "identity.json";
/// The API server takes no larger ConfigMap; some room is left for metadata.
const SIZE_BYTES_MAX: usize = 1_000_000;
/// Brokers that a configuration file names as peers, besides the first voters: it needs to lead to the quorum, and the
/// metadata leads on from there.
const PEERS_MAX: usize = 20;

/// The ConfigMap with the configuration files of a pool's brokers, each under its pod's name.
///
/// # Errors
/// Settings or listeners that are refused, or more brokers than one ConfigMap can hold.
pub fn config_map(
    cluster: &Cluster,
    pool: &Pool,
    identity: &Identity,
    members: &[Member],
    site: &Site,
) -> Result<ConfigMap, Problem> {
    let names = Names::of(cluster);
    let peers = peers(names, identity, members);
    let mut files = BTreeMap::new();
    for member in members.iter().filter(|member| member.pool == pool.name) {
        let place = place(cluster, pool, member, &peers, site);
        let mut config = broker_config(cluster, identity, member, &place)?;
        // The others are told to the fleet: one that is taken away would hold on from the file until the next restart.
        config.settings.retain(|name, _| !dynamic::is_dynamic(name));
        files.insert(format!("{}.yaml", names.pod(member)), config.to_yaml());
    }
    let size_bytes: usize = files.iter().map(|(name, file)| name.len() + file.len()).sum();
    if size_bytes > SIZE_BYTES_MAX {
        return Err(Problem::spec(
            format!("spec.pools[{}].replicas", pool.name),
            format!(
                "the configuration of {} brokers takes {size_bytes} bytes, and a ConfigMap holds {SIZE_BYTES_MAX}: split the pool",
                files.len()
            ),
        ));
    }
    Ok(ConfigMap {
        metadata: owned(cluster, names.pool(&pool.name)),
        data: Some(files),
        ..ConfigMap::default()
    })
}

/// The ConfigMap that keeps the identity. It outlives its Cluster as long as a volume does: without it, nobody knows whose the
/// data is.
#[must_use]
pub fn identity_config_map(cluster: &Cluster, identity: &Identity) -> ConfigMap {
    let text = serde_json::to_string_pretty(identity).expect("an identity is JSON");
    ConfigMap {
        metadata: with_data(cluster, Names::of(cluster).identity()),
        data: Some(BTreeMap::from([(IDENTITY_KEY.to_owned(), text)])),
        ..ConfigMap::default()
    }
}

/// The metadata of an object that is of use as long as a volume of the Cluster is there: it outlives its Cluster where any does.
#[must_use]
pub fn with_data(cluster: &Cluster, name: String) -> ObjectMeta {
    let keeps_data = pools(cluster)
        .iter()
        .any(|(pool, _)| pool.persistence.clone().unwrap_or_default().when_deleted == Retention::Retain);
    if keeps_data {
        kept(cluster, name)
    } else {
        owned(cluster, name)
    }
}

/// Reads what [`identity_config_map`] wrote.
///
/// # Errors
/// Somebody changed it to something else. A new identity must never take its place: it would begin a second cluster on
/// the volumes of the first.
pub fn read_identity(map: &ConfigMap) -> Result<Identity, Problem> {
    let name = map.metadata.name.as_deref().unwrap_or_default();
    let refuse = |what: String| {
        Problem::spec(
            format!("ConfigMap {name}"),
            format!("{what}. It says which cluster the volumes belong to: restore it from a backup"),
        )
    };
    let text = map
        .data
        .as_ref()
        .and_then(|data| data.get(IDENTITY_KEY))
        .ok_or_else(|| refuse(format!("`{IDENTITY_KEY}` is missing")))?;
    serde_json::from_str(text).map_err(|error| refuse(format!("`{IDENTITY_KEY}` cannot be read: {error}")))
}

/// Those who can lead a broker to the quorum: the first voters, also those that are gone, and brokers that may vote.
fn peers(names: Names<'_>, identity: &Identity, members: &[Member]) -> Vec<Peer> {
    let eligible = members
        .iter()
        .filter(|member| member.roles.contains(&Role::Coordinator))
        .map(|member| member.id)
        .take(PEERS_MAX);
    let chosen: BTreeSet<BrokerId> = identity.voters.keys().copied().chain(eligible).collect();
    chosen
        .into_iter()
        .filter_map(|id| {
            let known = members.iter().find(|member| member.id == id).cloned();
            let member = known.or_else(|| former(identity, id))?;
            Some(Peer {
                broker_id: id,
                address: format!("{}:{CONTROL_PORT}", names.pod_host(&member)),
            })
        })
        .collect()
}

/// Where a broker was that is gone: in the block that its id is of.
fn former(identity: &Identity, id: BrokerId) -> Option<Member> {
    let (pool, first) = identity
        .blocks
        .iter()
        .filter(|(_, first)| **first <= id)
        .max_by_key(|(_, first)| **first)?;
    Some(Member {
        id,
        pool: pool.clone(),
        ordinal: id.0 - first.0,
        roles: Vec::new(),
    })
}

/// Where a broker is in its pod.
fn place(cluster: &Cluster, pool: &Pool, member: &Member, peers: &[Peer], site: &Site) -> Place {
    let names = Names::of(cluster);
    let host = names.pod_host(member);
    let internal = |port: u16| Internal {
        bind: site.bind(port),
        advertised: Advertised {
            host: host.clone(),
            port,
        },
    };
    let listeners = config::listeners(cluster)
        .iter()
        .map(|listener| {
            let inside = listener.exposure.is_none().then(|| Advertised {
                host: host.clone(),
                port: listener.port,
            });
            let address = Address {
                bind: site.bind(listener.port),
                advertised: inside,
            };
            (listener.name.clone(), address)
        })
        .collect();
    let file = |name: String| format!("{CERTIFICATES_DIRECTORY}/{name}").into();
    let pod = names.pod(member);
    let (internal_tls, listener_tls) = (internal_stem(&pod), listener_stem(&pod));
    Place {
        data_dirs: volume::data_dirs(pool),
        rack: None,
        listeners,
        listener_tls: Some(ListenerTls {
            certificate: file(format!("{listener_tls}.crt")),
            key: file(format!("{listener_tls}.key")),
            client_ca: Some(file(CLIENTS_CA_FILE.to_owned())),
        }),
        replication: internal(REPLICATION_PORT),
        control: internal(CONTROL_PORT),
        admin: site.bind(ADMIN_PORT),
        internal_tls: InternalTls {
            ca: file(INTERNAL_CA_FILE.to_owned()),
            certificate: file(format!("{internal_tls}.crt")),
            key: file(format!("{internal_tls}.key")),
        },
        peers: peers.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use flotilla_control::config::BrokerConfig;
    use flotilla_crds::default_pools;
    use serde_json::json;

    use super::super::testing;
    use super::*;

    fn built(cluster: &Cluster) -> Result<ConfigMap, Problem> {
        let identity = testing::identity(cluster);
        config_map(
            cluster,
            &pools(cluster)[0].0,
            &identity,
            &testing::members(cluster),
            &testing::site(),
        )
    }

    #[test]
    fn configuration_file_in_a_pod_is_whole() {
        let settings = json!({"config": {"min.insync.replicas": 2, "controlled.shutdown.enable": true}});
        let map = built(&testing::with(settings)).unwrap();
        assert_eq!(
            serde_json::to_value(&map.metadata).unwrap(),
            testing::metadata("events-main")
        );
        let files = map.data.unwrap();
        assert_eq!(
            files.keys().collect::<Vec<_>>(),
            ["events-main-0.yaml", "events-main-1.yaml", "events-main-2.yaml"]
        );
        let config = BrokerConfig::parse(&files["events-main-1.yaml"], Path::new("broker.yaml")).unwrap();
        let host = |broker: i32| format!("events-main-{broker}.events-brokers.streaming.svc");
        let tls = |client_ca: Option<&str>| {
            json!({
                "certificate": "/etc/flotilla/certificates/events-main-1.listener.crt",
                "key": "/etc/flotilla/certificates/events-main-1.listener.key",
            })
            .as_object()
            .map(|files| {
                let mut files = files.clone();
                files.extend(client_ca.map(|file| ("clientCa".to_owned(), json!(file))));
                files
            })
        };
        let id = |byte: u8| flotilla_control::Uuid([byte; 16]).to_string();
        assert_eq!(
            serde_json::to_value(&config).unwrap(),
            json!({
                "clusterId": id(1),
                "brokerId": 1,
                "version": "0.1.0",
                "roles": ["broker", "coordinator"],
                "dataDirs": ["/var/lib/flotilla/data/broker"],
                "listeners": [
                    {
                        "name": "internal", "bind": "0.0.0.0:9092", "advertised": {"host": host(1), "port": 9092},
                        "tls": tls(Some("/etc/flotilla/certificates/clients-ca.crt")), "authentication": ["scram-sha-512", "mtls"],
                    },
                    {"name": "external", "bind": "0.0.0.0:9094", "tls": tls(None), "authentication": ["scram-sha-512"]},
                ],
                "replication": {"bind": "0.0.0.0:9091", "advertised": {"host": host(1), "port": 9091}},
                "control": {"bind": "0.0.0.0:9090", "advertised": {"host": host(1), "port": 9090}},
                "admin": {"bind": "0.0.0.0:8080"},
                "internalTls": {
                    "ca": "/etc/flotilla/certificates/internal-ca.crt",
                    "certificate": "/etc/flotilla/certificates/events-main-1.internal.crt",
                    "key": "/etc/flotilla/certificates/events-main-1.internal.key",
                },
                "quorum": {
                    "voters": (0..3u8).map(|broker| json!({
                        "brokerId": broker, "directoryId": id(2 + broker), "address": format!("{}:9090", host(broker.into())),
                    })).collect::<Vec<_>>(),
                    "bootstrapped": false,
                    "peers": (0..3).map(|broker| json!({
                        "brokerId": broker, "address": format!("{}:9090", host(broker)),
                    })).collect::<Vec<_>>(),
                },
                "authorization": {"type": "acl", "superUsers": ["admin"]},
                "settings": {"controlled.shutdown.enable": "true"},
            })
        );
    }

    #[test]
    fn pool_that_no_config_map_can_hold_is_refused() {
        let problem = built(&testing::with(json!({"replicas": 1000}))).unwrap_err();
        assert_eq!(problem.field, "spec.pools[main].replicas");
        assert!(problem.message.ends_with("split the pool"), "{problem}");
        assert!(built(&testing::with(json!({"replicas": 200}))).is_ok());
    }

    #[test]
    fn identity_outlives_the_cluster_unless_the_data_goes_too() {
        let mut cluster = testing::cluster();
        let identity = testing::identity(&cluster);
        let map = identity_config_map(&cluster, &identity);
        assert_eq!(map.metadata.name.as_deref(), Some("events-identity"));
        assert_eq!(map.metadata.owner_references, None);
        assert_eq!(read_identity(&map), Ok(identity.clone()));

        let mut pool = default_pools().remove(0);
        pool.persistence =
            Some(serde_json::from_value(json!({"whenDeleted": "Delete", "whenScaled": "Retain"})).unwrap());
        cluster.spec.pools = vec![pool];
        let map = identity_config_map(&cluster, &identity);
        assert!(map.metadata.owner_references.is_some());
    }

    #[test]
    fn identity_that_somebody_changed_is_not_replaced() {
        let cluster = testing::cluster();
        let mut map = identity_config_map(&cluster, &testing::identity(&cluster));
        map.data = Some(BTreeMap::from([(IDENTITY_KEY.into(), "{}".into())]));
        let problem = read_identity(&map).unwrap_err();
        assert_eq!(problem.field, "ConfigMap events-identity");
        assert!(problem.message.contains("restore it from a backup"), "{problem}");
        map.data = None;
        assert!(
            read_identity(&map)
                .unwrap_err()
                .message
                .starts_with("`identity.json` is missing")
        );
    }
}
