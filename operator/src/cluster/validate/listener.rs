use flotilla_crds::{Authentication, Cluster, Exposure, ExposureType, Listener};

use super::super::names::Names;
use super::super::site::{ADMIN_PORT, CONTROL_PORT, REPLICATION_PORT};
use super::super::{config, member};
use super::name;
use crate::Problem;

/// Names of ports and Services that are the fleet's own.
const RESERVED_NAMES: [&str; 4] = ["control", "replication", "admin", "brokers"];
const RESERVED_PORTS: [u16; 3] = [CONTROL_PORT, REPLICATION_PORT, ADMIN_PORT];
/// The name of a Service is a label in DNS.
const SERVICE_NAME_MAX: usize = 63;

pub(super) fn check(cluster: &Cluster, wrong: &mut Vec<Problem>) {
    let listeners = config::listeners(cluster);
    for (place, listener) in listeners.iter().enumerate() {
        let others = &listeners[..place];
        let mut refuse = |field: &str, message: String| {
            wrong.push(Problem::spec(
                format!("spec.listeners[{}].{field}", listener.name),
                message,
            ));
        };
        check_name(listener, others, &mut refuse);
        check_port(listener, others, &mut refuse);
        check_authentication(listener, &mut refuse);
        if let Some(exposure) = &listener.exposure {
            check_exposure(cluster, listener, exposure, &mut refuse);
        }
    }
}

type Refuse<'a> = dyn FnMut(&str, String) + 'a;

fn check_name(listener: &Listener, others: &[Listener], refuse: &mut Refuse<'_>) {
    let name = &listener.name;
    if !name::is_name(name) || name.len() > 15 {
        refuse(
            "name",
            "a listener is named with at most 15 of a-z, 0-9 and -, beginning with a letter".to_owned(),
        );
    }
    if RESERVED_NAMES.contains(&name.as_str()) {
        refuse("name", format!("`{name}` is the fleet's own"));
    }
    if others.iter().any(|other| other.name == *name) {
        refuse("name", "two listeners have this name".to_owned());
    }
}

fn check_port(listener: &Listener, others: &[Listener], refuse: &mut Refuse<'_>) {
    let port = listener.port;
    if port < 1_024 {
        refuse(
            "port",
            format!("{port} is below 1024, where only root can listen: brokers are not root"),
        );
    }
    if RESERVED_PORTS.contains(&port) {
        refuse(
            "port",
            format!("{port} is the fleet's own, as are 8080, 9090 and 9091"),
        );
    }
    if let Some(other) = others.iter().find(|other| other.port == port) {
        refuse("port", format!("listener `{}` has it already", other.name));
    }
}

fn check_authentication(listener: &Listener, refuse: &mut Refuse<'_>) {
    for (way, name, why) in [
        (Authentication::Plain, "plain", "it shows passwords on the way"),
        (
            Authentication::OauthBearer,
            "oauthbearer",
            "it shows tokens on the way",
        ),
        (
            Authentication::Mtls,
            "mtls",
            "certificates are shown in its handshake",
        ),
    ] {
        if listener.authentication.contains(&way) && !listener.tls {
            refuse("authentication", format!("{name} needs `tls: true`: {why}"));
        }
    }
    let ways = &listener.authentication;
    if (1..ways.len()).any(|place| ways[..place].contains(&ways[place])) {
        refuse("authentication", "a way is named twice".to_owned());
    }
}

fn check_exposure(cluster: &Cluster, listener: &Listener, exposure: &Exposure, refuse: &mut Refuse<'_>) {
    if let Some(template) = &exposure.host_template {
        if !template.contains("{id}") {
            refuse(
                "exposure.hostTemplate",
                format!("`{template}` has no {{id}}: brokers need hosts of their own"),
            );
        } else if !name::is_host(&template.replace("{id}", "0")) {
            refuse(
                "exposure.hostTemplate",
                format!("`{template}` makes no host name, such as broker-{{id}}.example.com"),
            );
        }
    }
    if let Some(host) = &exposure.bootstrap_host
        && !name::is_host_or_address(host)
    {
        refuse("exposure.bootstrapHost", format!("`{host}` is not a host name"));
    }
    if exposure.type_ == ExposureType::Ingress {
        if !listener.tls {
            refuse(
                "tls",
                "an Ingress tells brokers apart by the host name in the TLS handshake: set `tls: true`"
                    .to_owned(),
            );
        }
        for (field, given) in [
            ("exposure.hostTemplate", &exposure.host_template),
            ("exposure.bootstrapHost", &exposure.bootstrap_host),
        ] {
            if given.is_none() {
                refuse(
                    field,
                    "an Ingress needs it: clients find brokers by host name".to_owned(),
                );
            }
        }
    }
    if let Some(key) = exposure.annotations.keys().find(|key| !name::is_label_key(key)) {
        refuse(
            "exposure.annotations",
            format!("`{key}` is not the key of an annotation"),
        );
    }
    check_service_names(cluster, listener, refuse);
}

/// The longest name is that of the broker with the longest id. Blocks that the operator allots have short ones.
fn check_service_names(cluster: &Cluster, listener: &Listener, refuse: &mut Refuse<'_>) {
    let last = member::pools(cluster)
        .iter()
        .map(|(pool, size)| i64::from(pool.first_broker_id.unwrap_or(20_000)) + i64::from(*size))
        .max()
        .unwrap_or(0);
    let service = format!("{}-{last}", Names::of(cluster).bootstrap(&listener.name));
    if service.len() > SERVICE_NAME_MAX {
        refuse(
            "name",
            format!(
                "the Service `{service}` would have {} characters, and {SERVICE_NAME_MAX} are allowed: shorten a name",
                service.len()
            ),
        );
    }
}
