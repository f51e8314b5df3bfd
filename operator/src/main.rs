//! The operator on Kubernetes.

fn main() {
    let _client: Option<kube::Client> = None;
}
