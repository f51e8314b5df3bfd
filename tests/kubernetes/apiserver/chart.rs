//! The chart against an API server of its own: CustomResourceDefinitions belong to all of a cluster, and to one release.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::programs::program;

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/flotilla")
}

/// What helm says: what it printed, or its error. Nothing is kept outside `home`.
fn try_helm(plane: &ControlPlane, home: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program("helm"))
        .env("HOME", home)
        .env("KUBECONFIG", plane.kubeconfig())
        .args(["--namespace", "flotilla-system"])
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

fn helm(plane: &ControlPlane, home: &Path, args: &[&str]) -> String {
    try_helm(plane, home, args).unwrap_or_else(|error| panic!("helm {args:?}: {error}"))
}

/// The rules of a Role or ClusterRole, each as `group/resource: verbs`.
fn rules(plane: &ControlPlane, args: &[&str]) -> Vec<String> {
    let role: Value =
        serde_json::from_str(&plane.kubectl(&[&["get"], args, &["-o", "json"]].concat())).unwrap();
    let list = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items.map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    role["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            format!(
                "{}/{}: {}",
                list(&rule["apiGroups"]).join(","),
                list(&rule["resources"]).join(","),
                list(&rule["verbs"]).join(",")
            )
        })
        .collect()
}

const IN_NAMESPACES: [&str; 10] = [
    "flotilla.dev/clusters,topics,users: get,list,watch,patch",
    "flotilla.dev/clusters/status,topics/status,users/status: patch",
    "flotilla.dev/clusters/finalizers,topics/finalizers,users/finalizers: update",
    "/services,configmaps,secrets: get,list,watch,create,patch,delete",
    "apps/statefulsets: get,list,watch,create,patch,delete",
    "policy/poddisruptionbudgets: get,list,watch,create,patch,delete",
    "networking.k8s.io/networkpolicies,ingresses: get,list,watch,create,patch,delete",
    "/pods: list,watch,delete",
    "/persistentvolumeclaims: list,watch,patch",
    "events.k8s.io/events: create",
];
const EVERYWHERE: &str = "/nodes,namespaces: list,watch";

#[test]
fn chart_installs_upgrades_definitions_and_leaves_them_when_it_goes() {
    let plane = ControlPlane::start();
    let home = tempfile::tempdir().unwrap();
    let chart = chart().display().to_string();
    plane.kubectl(&["create", "namespace", "flotilla-system"]);
    plane.kubectl(&[
        "label",
        "namespace",
        "flotilla-system",
        "pod-security.kubernetes.io/enforce=restricted",
    ]);
    plane.kubectl(&["create", "namespace", "shop"]);

    // An older chart, whose Topics have a field less.
    let older = home.path().join("older");
    let copied = Command::new("cp")
        .args(["-r", &chart, &older.display().to_string()])
        .status();
    assert!(copied.unwrap().success());
    let file = older.join("files/crds/topic.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let without = text.replace("deletionPolicy:", "formerPolicy:");
    assert_ne!(text, without);
    std::fs::write(&file, without).unwrap();
    helm(
        &plane,
        home.path(),
        &["install", "flotilla", &older.display().to_string()],
    );
    let role = ["clusterrole", "flotilla-flotilla-system"];
    assert_eq!(
        rules(&plane, &role),
        [&[EVERYWHERE], IN_NAMESPACES.as_slice()].concat()
    );

    let notes = helm(
        &plane,
        home.path(),
        &["upgrade", "flotilla", &chart, "--set", "namespaces={shop}"],
    );
    assert!(
        notes.contains("serves the namespace shop") && notes.contains("apply -n shop"),
        "{notes}"
    );
    let definition = plane.kubectl(&["get", "crd", "topics.flotilla.dev", "-o", "json"]);
    assert!(definition.contains("deletionPolicy") && !definition.contains("formerPolicy"));
    assert_eq!(rules(&plane, &role), [EVERYWHERE]);
    assert_eq!(
        rules(&plane, &["role", "flotilla", "--namespace", "shop"]),
        IN_NAMESPACES
    );

    // The pods pass what the namespace demands.
    let deployment: Value = serde_json::from_str(&plane.kubectl(&[
        "get",
        "deployment",
        "flotilla",
        "--namespace",
        "flotilla-system",
        "-o",
        "json",
    ]))
    .unwrap();
    let mut pod = deployment["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("trial");
    let taken = plane.kubectl_with_input(
        &[
            "apply",
            "--dry-run=server",
            "--namespace",
            "flotilla-system",
            "-f",
            "-",
        ],
        &pod.to_string(),
    );
    assert!(taken.status.success(), "{taken:?}");

    helm(&plane, home.path(), &["uninstall", "flotilla"]);
    plane.kubectl(&["get", "crd", "topics.flotilla.dev"]);
    // Installed again it takes them over.
    helm(&plane, home.path(), &["install", "flotilla", &chart]);
}

#[test]
fn chart_is_free_of_lint_and_refuses_values_that_make_no_sense() {
    let plane = ControlPlane::shared();
    let home = tempfile::tempdir().unwrap();
    let chart = chart().display().to_string();
    helm(plane, home.path(), &["lint", "--strict", &chart]);
    for (value, said) in [
        ("replica=2", "additional properties 'replica' not allowed"),
        ("replicas=0", "at '/replicas': minimum: got 0, want 1"),
        ("image.tag=a:b", "at '/image/tag'"),
        ("image.digest=latest", "at '/image/digest'"),
        ("image.pullPolicy=Sometimes", "at '/image/pullPolicy'"),
        (
            "brokerImage.repository=flotilla-broker:1",
            "at '/brokerImage/repository'",
        ),
        ("namespaces={Shop}", "at '/namespaces/0'"),
        (
            "metrics.serviceMonitor.interval=often",
            "at '/metrics/serviceMonitor/interval'",
        ),
    ] {
        let error = try_helm(
            plane,
            home.path(),
            &["template", "flotilla", &chart, "--set", value],
        )
        .unwrap_err();
        assert!(error.contains(said), "{value}: {error}");
    }
}
