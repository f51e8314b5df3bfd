use std::net::{IpAddr, SocketAddr};

use flotilla_crds::Cluster;

/// The port of gRPC between brokers, and from the operator.
pub const CONTROL_PORT: u16 = 9_090;
/// The port of replication.
pub const REPLICATION_PORT: u16 = 9_091;
/// The port of probes and metrics.
pub const ADMIN_PORT: u16 = 8_080;

/// What the operator knows of the place that it runs at, from its own flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The image of brokers, without a tag: the tag is the version.
    pub broker_image: String,
    /// The version of brokers that a new Cluster gets when it names none.
    pub version: String,
    /// The address that brokers listen on: the unspecified one of the family that pods have.
    pub bind: IpAddr,
    /// The namespace that the operator runs in.
    pub operator_namespace: String,
}

impl Site {
    /// The version that a Cluster's brokers should have: what it says, else what it runs, so that an upgrade of the operator
    /// alone restarts nobody, else the operator's own.
    #[must_use]
    pub fn version<'a>(&'a self, cluster: &'a Cluster) -> &'a str {
        let running = cluster
            .status
            .as_ref()
            .and_then(|status| status.version.as_deref());
        cluster
            .spec
            .version
            .as_deref()
            .or(running)
            .unwrap_or(&self.version)
    }

    /// The image that a Cluster's brokers should have.
    #[must_use]
    pub fn image(&self, cluster: &Cluster) -> String {
        match &cluster.spec.image {
            Some(image) => image.clone(),
            None => format!("{}:{}", self.broker_image, self.version(cluster)),
        }
    }

    pub(super) fn bind(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.bind, port)
    }
}

#[cfg(test)]
mod tests {
    use flotilla_crds::ClusterStatus;
    use serde_json::json;

    use super::super::testing;

    #[test]
    fn upgraded_operator_keeps_the_version_that_runs() {
        let site = testing::site();
        let mut cluster = testing::with(json!({"version": null}));
        assert_eq!(site.image(&cluster), "flotilla-broker:0.1.0");
        cluster.status = Some(ClusterStatus {
            version: Some("0.0.9".into()),
            ..ClusterStatus::default()
        });
        assert_eq!(site.image(&cluster), "flotilla-broker:0.0.9");
        cluster.spec.version = Some("0.2.0".into());
        assert_eq!(site.image(&cluster), "flotilla-broker:0.2.0");
        cluster.spec.image = Some("mine:7".into());
        assert_eq!(site.image(&cluster), "mine:7");
    }
}
