//! Against a real API server with a real etcd, and no nodes: `just test-apiserver`.

#![allow(missing_docs, clippy::unwrap_used)]

mod admission;
mod authorities;
mod chart;
#[allow(dead_code)]
#[path = "../control_plane.rs"]
mod control_plane;
mod exposure;
mod leases;
mod operator;
#[allow(dead_code)]
#[path = "../programs.rs"]
mod programs;
mod refusals;
mod resources;
mod writer;
#[path = "../wrong_clusters.rs"]
mod wrong_clusters;

use control_plane::ControlPlane;

#[test]
fn audit_log_tells_who_wrote_what() {
    let plane = ControlPlane::shared();
    let version = plane.kubectl(&["version", "-o", "json"]);
    assert!(version.contains(programs::kubernetes_version()), "{version}");
    plane.kubectl(&["create", "namespace", "audited"]);
    let writes: Vec<_> = plane
        .audit()
        .into_iter()
        .filter(|entry| entry["objectRef"]["name"] == "audited")
        .map(|entry| (entry["user"]["username"].clone(), entry["verb"].clone()))
        .collect();
    assert_eq!(writes, [("admin".into(), "create".into())]);
}
