use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where clients connect.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.authentication) || !('mtls' in self.authentication) || (has(self.tls) && self.tls)")
        .message("mtls needs tls: true"),
    validation = Rule::new("!has(self.authentication) || !('plain' in self.authentication) || (has(self.tls) && self.tls)")
        .message("plain sends passwords as they are and needs tls: true"),
    validation = Rule::new("!has(self.authentication) || !('oauthbearer' in self.authentication) || (has(self.tls) && self.tls)")
        .message("oauthbearer sends tokens as they are and needs tls: true"),
    validation = Rule::new("!has(self.exposure) || self.exposure.type != 'Ingress' || (has(self.tls) && self.tls)")
        .message("an Ingress tells brokers apart by the host name in the TLS handshake and needs tls: true")
)]
pub struct Listener {
    /// Its name.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("!(self in ['control', 'replication', 'admin', 'brokers'])")
        .message("the names `control`, `replication`, `admin` and `brokers` are the fleet's own"))]
    pub name: String,
    /// The port that brokers listen on.
    #[schemars(range(min = 1_024, max = 65_535))]
    #[x_kube(validation = Rule::new("!(self in [8080, 9090, 9091])")
        .message("the ports 8080, 9090 and 9091 are the fleet's own"))]
    pub port: u16,
    /// Whether connections are encrypted. Default: `false`.
    #[serde(default)]
    pub tls: bool,
    /// How clients prove who they are: any one of these. `plain`, `oauthbearer` and `mtls` need `tls: true`. Default: not at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "set"))]
    pub authentication: Vec<Authentication>,
    /// How it is reached from outside. Default: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
}

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum Authentication {
    /// SCRAM with SHA-512 (RFC 5802).
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
    /// SCRAM with SHA-256 (RFC 7677).
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// A password as it is, over TLS only (RFC 4616).
    #[serde(rename = "plain")]
    Plain,
    /// A token that somebody else signs, over TLS only (RFC 7628): `sasl.oauthbearer.*` in `spec.config` say whose.
    #[serde(rename = "oauthbearer")]
    OauthBearer,
    /// A client certificate.
    #[serde(rename = "mtls")]
    Mtls,
}

/// How a listener is reached from outside Kubernetes.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.type != 'Ingress' || (has(self.hostTemplate) && has(self.bootstrapHost))")
        .message("an Ingress needs hostTemplate and bootstrapHost: clients find brokers by host name")
)]
pub struct Exposure {
    /// By what: `NodePort`: a port of every node; `LoadBalancer`: one for each broker; `Ingress`: one host for each broker, passing TLS
    /// through.
    #[serde(rename = "type")]
    pub type_: ExposureType,
    /// Host of each broker, with `{id}` where the broker's id belongs. Default: the address of the broker's node or load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.contains('{id}')")
        .message("hostTemplate has no {id}: brokers need hosts of their own"))]
    pub host_template: Option<String>,
    /// Host for bootstrapping. Default: the addresses of nodes, or that of the load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub bootstrap_host: Option<String>,
    /// Annotations of the objects that expose it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100))]
    pub annotations: BTreeMap<String, String>,
}

/// By what a listener is exposed.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum ExposureType {
    /// A port of every node.
    NodePort,
    /// A load balancer a broker.
    LoadBalancer,
    /// An ingress that passes TLS through.
    Ingress,
}
