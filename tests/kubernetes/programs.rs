//! Where `tests/kubernetes/install` keeps what it builds.

use std::path::PathBuf;

/// The version of Kubernetes that the install script pins.
pub fn kubernetes_version() -> &'static str {
    include_str!("install")
        .lines()
        .find_map(|line| line.strip_prefix("kubernetes_version="))
        .expect("the install script pins a version")
}

/// `~/.cache/flotilla/kubernetes-<version>`, or beneath `FLOTILLA_CACHE`.
pub fn directory() -> PathBuf {
    std::env::var_os("FLOTILLA_CACHE")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/flotilla")
        })
        .join(format!("kubernetes-{}", kubernetes_version()))
}

/// The program `name`: one of Kubernetes' own, `helm` or `coredns`.
pub fn program(name: &str) -> PathBuf {
    let path = directory().join("bin").join(name);
    assert!(
        path.exists(),
        "run tests/kubernetes/install first: there is no {}",
        path.display()
    );
    path
}
