//! What users copy and install is what this operator understands.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flotilla_crds::{Cluster, Topic, User};
use flotilla_operator::certificate::{Authority, Validity};
use flotilla_operator::user::Credential;
use flotilla_operator::{cluster, topic, user};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn documents(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.split("\n---\n")
        .map(|part| {
            serde_saphyr::from_str(part).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        })
        .collect()
}

/// Every object of the examples, with the file that it stands in.
fn examples() -> Vec<(String, Value)> {
    let directory = root().join("examples/kubernetes");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|file| {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            documents(file)
                .into_iter()
                .map(move |document| (name.clone(), document))
        })
        .collect()
}

fn of_kind<K: serde::de::DeserializeOwned>(kind: &str) -> Vec<(String, K)> {
    examples()
        .into_iter()
        .filter(|(_, document)| document["kind"] == kind && document["apiVersion"] == "flotilla.dev/v1alpha1")
        .map(|(file, document)| {
            let read = serde_json::from_value(document).unwrap_or_else(|error| panic!("{file}: {error}"));
            (file, read)
        })
        .collect()
}

fn cluster_of<'a>(clusters: &'a [(String, Cluster)], name: &str) -> &'a Cluster {
    let (_, cluster) = clusters
        .iter()
        .find(|(_, cluster)| cluster.metadata.name.as_deref() == Some(name))
        .unwrap_or_else(|| panic!("no example has the Cluster {name}"));
    cluster
}

#[test]
fn clusters_of_the_examples_can_be_built() {
    let clusters = of_kind::<Cluster>("Cluster");
    assert_eq!(clusters.len(), 5);
    for (file, example) in clusters {
        let wrong: Vec<String> = cluster::validate(&example)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(wrong, [""; 0], "{file}");
        let mut next = 0;
        let identity = cluster::Identity::draw(&example, &mut || {
            next += 1;
            flotilla_control::Uuid([next; 16])
        })
        .unwrap();
        let site = cluster::Site {
            broker_image: "flotilla-broker".into(),
            version: "0.1.0".into(),
            bind: std::net::Ipv4Addr::UNSPECIFIED.into(),
            operator_namespace: "flotilla-system".into(),
        };
        let desired = cluster::desired(&example, &identity, &site, &BTreeMap::new()).unwrap();
        assert!(desired.objects.len() >= 6, "{file}");
    }
}

#[test]
fn topics_of_the_examples_are_understood() {
    let topics = of_kind::<Topic>("Topic");
    assert_eq!(topics.len(), 4);
    for (file, example) in topics {
        topic::apply(&example, None, 3).unwrap_or_else(|problem| panic!("{file}: {problem}"));
    }
}

#[test]
fn users_of_the_examples_are_allowed_and_get_their_secret() {
    let (clusters, users) = (of_kind::<Cluster>("Cluster"), of_kind::<User>("User"));
    let labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
    let authority = Authority::generate("test", Validity::days(1_700_000_000, 30)).unwrap();
    assert_eq!(users.len(), 5);
    for (file, example) in users {
        let cluster = cluster_of(&clusters, &example.spec.cluster.name);
        user::apply(&example, cluster, &labels, &["shop-page_views"], Some("secret"))
            .unwrap_or_else(|problem| panic!("{file}: {problem}"));
        let servers = cluster::listeners(cluster)
            .iter()
            .map(|listener| (listener.name.clone(), "somewhere:9092".to_owned()))
            .collect();
        let credential = if example.spec.authentication.type_ == flotilla_crds::UserAuthenticationType::Mtls {
            Credential::Certificate(authority.pem().clone())
        } else {
            Credential::Password("secret".into())
        };
        user::secret(&example, cluster, &servers, "ca", &credential)
            .unwrap_or_else(|problem| panic!("{file}: {problem}"));
    }
}

#[test]
fn chart_has_the_version_of_the_workspace() {
    let chart = &documents(&root().join("charts/flotilla/Chart.yaml"))[0];
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

/// Brokers let the operator in by this label: see `network_policy`.
#[test]
fn chart_labels_the_operator_as_brokers_expect() {
    let names = std::fs::read_to_string(root().join("charts/flotilla/templates/_names.tpl")).unwrap();
    assert!(names.contains(&format!("app.kubernetes.io/name: {}", cluster::MANAGER)));
}
