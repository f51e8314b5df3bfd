use flotilla_crds::{Cluster, ExposureType, Listener};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::names::{Names, owned};
use super::{Member, config, exposure};

/// The port of the controllers that pass TLS through.
pub const INGRESS_PORT: u16 = 443;

/// What the two most used controllers want to hear so that they pass TLS through rather than end it: Kafka is no HTTP.
const PASSTHROUGH: [&str; 2] = [
    "nginx.ingress.kubernetes.io/ssl-passthrough",
    "ingress.kubernetes.io/ssl-passthrough",
];

/// All Ingresses of a Cluster: for each listener that is exposed so, one to begin at and one for each broker.
#[must_use]
pub fn ingresses(cluster: &Cluster, members: &[Member]) -> Vec<Ingress> {
    let names = Names::of(cluster);
    let mut ingresses = Vec::new();
    for listener in config::listeners(cluster) {
        let exposed = listener.exposure.as_ref().map(|exposure| exposure.type_);
        if exposed != Some(ExposureType::Ingress) {
            continue;
        }
        ingresses.extend(exposure::bootstrap_host(&listener).map(|host| {
            let annotations = exposure::annotations(&listener, None, Some(&host));
            let metadata = owned(cluster, names.bootstrap(&listener.name));
            ingress(metadata, annotations, &listener, host)
        }));
        ingresses.extend(members.iter().filter_map(|member| {
            let host = exposure::broker_host(&listener, member.id)?;
            let annotations = exposure::annotations(&listener, Some(member.id), Some(&host));
            let metadata = owned(cluster, names.broker(&listener.name, member.id));
            Some(ingress(metadata, annotations, &listener, host))
        }));
    }
    ingresses
}

/// The Ingress has the name of the Service behind it.
fn ingress(
    metadata: ObjectMeta,
    mut annotations: std::collections::BTreeMap<String, String>,
    listener: &Listener,
    host: String,
) -> Ingress {
    for annotation in PASSTHROUGH {
        annotations
            .entry(annotation.to_owned())
            .or_insert_with(|| "true".to_owned());
    }
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: metadata.name.clone().unwrap_or_default(),
            port: Some(ServiceBackendPort {
                number: Some(i32::from(listener.port)),
                name: None,
            }),
        }),
        resource: None,
    };
    Ingress {
        metadata: ObjectMeta {
            annotations: Some(annotations),
            ..metadata
        },
        spec: Some(IngressSpec {
            rules: Some(vec![IngressRule {
                host: Some(host.clone()),
                http: Some(HTTPIngressRuleValue {
                    paths: vec![HTTPIngressPath {
                        path: Some("/".to_owned()),
                        path_type: "Prefix".to_owned(),
                        backend,
                    }],
                }),
            }]),
            tls: Some(vec![IngressTLS {
                hosts: Some(vec![host]),
                secret_name: None,
            }]),
            ..IngressSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing;
    use super::*;

    #[test]
    fn ingresses_pass_tls_through_to_the_service_of_their_name() {
        let cluster = testing::with(json!({"listeners": [{
            "name": "web", "port": 9094, "tls": true,
            "exposure": {
                "type": "Ingress", "hostTemplate": "b{id}.example.com", "bootstrapHost": "kafka.example.com",
                "annotations": {"ingress.kubernetes.io/ssl-passthrough": "yes"},
            },
        }]}));
        let built: Vec<_> = ingresses(&cluster, &testing::members(&cluster)[..1])
            .iter()
            .map(|ingress| serde_json::to_value(ingress).unwrap())
            .collect();
        let ingress = |name: &str, host: &str| {
            let mut metadata = testing::metadata(name);
            metadata["annotations"] = json!({
                "nginx.ingress.kubernetes.io/ssl-passthrough": "true", "ingress.kubernetes.io/ssl-passthrough": "yes",
            });
            json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "metadata": metadata,
                "spec": {
                    "rules": [{"host": host, "http": {"paths": [{
                        "path": "/", "pathType": "Prefix",
                        "backend": {"service": {"name": name, "port": {"number": 9094}}},
                    }]}}],
                    "tls": [{"hosts": [host]}],
                },
            })
        };
        assert_eq!(
            built,
            [
                ingress("events-web", "kafka.example.com"),
                ingress("events-web-0", "b0.example.com")
            ]
        );
    }

    #[test]
    fn other_exposures_make_no_ingress() {
        let cluster = testing::cluster();
        assert_eq!(ingresses(&cluster, &testing::members(&cluster)), []);
    }
}
