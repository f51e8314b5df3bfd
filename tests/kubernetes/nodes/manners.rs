//! What kubectl promises its users: server-side apply, diff, wait, scale, get by category.

use crate::cluster::{Cluster, root};
use crate::fleet::READY_WITHIN;

#[test]
fn kubectl_applies_diffs_waits_and_lists_as_it_promises() {
    let kubernetes = Cluster::shared();
    let _undisturbed = kubernetes.undisturbed();
    let namespace = kubernetes.namespace("manners");
    // The first example, in this namespace.
    let example = std::fs::read_to_string(root().join("examples/kubernetes/tls-scram.yaml"))
        .unwrap()
        .replace("namespace: streaming", "namespace: manners")
        .replace("name: streaming", "name: manners");
    let manifest = std::env::temp_dir().join(format!("flotilla-manners-{}.yaml", std::process::id()));
    std::fs::write(&manifest, example).unwrap();
    let file = manifest.display().to_string();

    namespace.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file]);
    namespace.ready(&["cluster/events", "topic/orders", "user/checkout"], READY_WITHIN);
    // Nothing that the operator or the API server fills in is a difference.
    let diff = namespace.try_kubectl(&["diff", "--server-side", "--force-conflicts", "-f", &file]);
    assert!(diff.success && diff.stdout.is_empty(), "{diff:?}");
    namespace.kubectl(&["apply", "--server-side", "-f", &file]);

    let listed = kubernetes.kubectl(&["get", "flotilla", "-A"]);
    for row in [
        "cluster.flotilla.dev/events",
        "topic.flotilla.dev/orders",
        "user.flotilla.dev/checkout",
    ] {
        let line = listed
            .lines()
            .find(|line| line.starts_with("manners ") && line.contains(row))
            .unwrap_or_else(|| panic!("no {row} in\n{listed}"));
        assert!(line.contains("True") && line.contains("Available"), "{line}");
    }
    std::fs::remove_file(manifest).ok();
}
