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

/// What the example of a way to deploy refers to is in the same file, or in this repository.
#[test]
fn argo_cd_and_flux_deploy_what_there_is() {
    let of = |kind: &str| -> Vec<Value> {
        examples()
            .into_iter()
            .map(|(_, document)| document)
            .filter(|document| document["kind"] == kind)
            .collect()
    };
    let chart = |path: &Value| root().join(path.as_str().unwrap()).join("Chart.yaml").exists();

    let applications = of("Application");
    assert_eq!(applications.len(), 2);
    for application in &applications {
        assert_eq!(application["apiVersion"], "argoproj.io/v1alpha1");
        let spec = &application["spec"];
        let options = spec["syncPolicy"]["syncOptions"].as_array().unwrap();
        assert!(options.iter().any(|option| option == "ServerSideApply=true"));
        for field in ["repoURL", "targetRevision", "path"] {
            assert!(spec["source"][field].is_string(), "{field}");
        }
        assert_eq!(spec["destination"]["server"], "https://kubernetes.default.svc");
        for ignored in spec["ignoreDifferences"].as_array().into_iter().flatten() {
            assert_eq!(
                (&ignored["group"], &ignored["kind"]),
                (&"flotilla.dev".into(), &"Cluster".into())
            );
        }
    }
    assert!(chart(&applications[0]["spec"]["source"]["path"]));

    let settings = of("ConfigMap").remove(0);
    let settings = settings["data"]["resource.customizations"].as_str().unwrap();
    let scripts: Value = serde_saphyr::from_str(settings).unwrap();
    let script = scripts["flotilla.dev/*"]["health.lua"].as_str().unwrap();
    for condition in flotilla_crds::ConditionType::ALL {
        // Whoever is reconciling is on the way, as is whatever else says nothing.
        let named = script.contains(&format!("\"{condition}\""));
        assert_eq!(
            named,
            *condition != flotilla_crds::ConditionType::Reconciling,
            "{condition}"
        );
    }

    let repositories = of("GitRepository");
    let release = &of("HelmRelease")[0];
    let kustomization = &of("Kustomization")[0];
    for (object, version) in [
        (&repositories[0], "source.toolkit.fluxcd.io/v1"),
        (release, "helm.toolkit.fluxcd.io/v2"),
        (kustomization, "kustomize.toolkit.fluxcd.io/v1"),
    ] {
        assert_eq!(object["apiVersion"], version);
        assert!(object["spec"]["interval"].is_string());
    }
    let source = |reference: &Value| {
        assert_eq!(reference["kind"], "GitRepository");
        assert_eq!(reference["name"], repositories[0]["metadata"]["name"]);
    };
    source(&release["spec"]["chart"]["spec"]["sourceRef"]);
    source(&kustomization["spec"]["sourceRef"]);
    assert!(chart(&release["spec"]["chart"]["spec"]["chart"]));
    assert_eq!(kustomization["spec"]["wait"], true);

    // The values that they set are values of the chart.
    let values = &documents(&root().join("charts/flotilla/values.yaml"))[0];
    let set = [
        &applications[0]["spec"]["source"]["helm"]["valuesObject"],
        &release["spec"]["values"],
    ];
    for name in set.iter().flat_map(|set| set.as_object().unwrap().keys()) {
        assert!(!values[name].is_null(), "{name}");
    }
}

#[test]
fn application_of_the_examples_is_given_nothing_but_the_secret_of_a_user() {
    let users = of_kind::<User>("User");
    let (file, application) = examples()
        .into_iter()
        .find(|(_, document)| document["kind"] == "Deployment")
        .unwrap();
    let pod = &application["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().unwrap();
    let secrets: Vec<&str> = volumes
        .iter()
        .map(|volume| volume["secret"]["secretName"].as_str().unwrap())
        .collect();
    let user = users.iter().find(|(_, user)| {
        user.metadata.namespace.as_deref() == application["metadata"]["namespace"].as_str()
            && secrets == [user::secret_name(user)]
    });
    assert!(user.is_some(), "{file}: {secrets:?}");
    for container in pod["containers"].as_array().unwrap() {
        assert!(container["env"].is_null() && container["envFrom"].is_null());
        assert_eq!(container["volumeMounts"][0]["mountPath"], user::MOUNT_PATH);
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
