//! Which certificates a fleet needs, by which authority, and when each is made anew. Nothing here draws keys or knows the time:
//! that is for whoever calls [`crate::certificate`].

mod authority;
mod cert_manager;
mod renewal;
mod secret;
mod trust;

pub use authority::{Source, Terms, Trust, source};
pub use cert_manager::certificate_request;
pub use renewal::{Held, Issuer, Renewal, Unreadable, authority_renewal, renewal};
pub use secret::{Bundle, certificates_secret, held, issued_by};
pub use trust::bundle;

use std::collections::BTreeSet;
use std::net::IpAddr;

use flotilla_control::{BrokerId, Uuid, tls};
use flotilla_crds::Cluster;

use super::exposure::{Reach, certificate_hosts};
use super::{Member, Names};

/// The authorities of what brokers and the operator show each other, in a pool's Secret.
pub const INTERNAL_CA_FILE: &str = "internal-ca.crt";
/// The authorities of what clients show.
pub const CLIENTS_CA_FILE: &str = "clients-ca.crt";

/// The name, without its ending, of what a broker shows to others of its fleet.
pub(super) fn internal_stem(pod: &str) -> String {
    format!("{pod}.internal")
}

/// The name, without its ending, of what a broker shows to clients.
pub(super) fn listener_stem(pod: &str) -> String {
    format!("{pod}.listener")
}

/// Whom a certificate speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A broker, to the others of its fleet.
    Broker(BrokerId),
    /// The operator, to brokers.
    Operator,
    /// A broker, to clients: the hosts and addresses that they connect to.
    Listener(Vec<String>),
    /// A user, to brokers.
    User(String),
}

/// A certificate that there must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name in the Secret, without `.crt` and `.key`.
    pub stem: String,
    /// By whom.
    pub trust: Trust,
    /// For whom.
    pub subject: Subject,
}

impl Subject {
    /// The names that the certificate must hold, each with its kind: `DNS:`, `IP:`, `URI:`, `CN:`.
    #[must_use]
    pub fn names(&self, cluster_id: Uuid) -> BTreeSet<String> {
        let member = |identity| {
            let member = tls::Member { cluster_id, identity };
            format!("URI:{member}")
        };
        match self {
            Self::Broker(id) => BTreeSet::from([
                format!("DNS:{}", tls::server_name(cluster_id, *id)),
                member(tls::Identity::Broker(*id)),
            ]),
            Self::Operator => BTreeSet::from([member(tls::Identity::Operator)]),
            Self::Listener(hosts) => hosts
                .iter()
                .map(|host| match host.parse::<IpAddr>() {
                    Ok(address) => format!("IP:{address}"),
                    Err(_) => format!("DNS:{host}"),
                })
                .collect(),
            Self::User(name) => BTreeSet::from([format!("CN:{name}")]),
        }
    }
}

/// The certificates of one pool's brokers. A fleet without TLS for clients needs none for them.
#[must_use]
pub fn wanted(cluster: &Cluster, pool: &str, members: &[Member], reach: &Reach) -> Vec<Wanted> {
    let names = Names::of(cluster);
    let mut wanted = Vec::new();
    for member in members.iter().filter(|member| member.pool == pool) {
        let pod = names.pod(member);
        wanted.push(Wanted {
            stem: internal_stem(&pod),
            trust: Trust::Internal,
            subject: Subject::Broker(member.id),
        });
        let hosts = certificate_hosts(cluster, member, reach);
        if !hosts.is_empty() {
            wanted.push(Wanted {
                stem: listener_stem(&pod),
                trust: Trust::Cluster,
                subject: Subject::Listener(hosts),
            });
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing;
    use super::*;

    #[test]
    fn each_broker_needs_one_certificate_for_the_fleet_and_one_for_clients() {
        let cluster = testing::with(json!({"listeners": [{"name": "internal", "port": 9092, "tls": true}]}));
        let members = testing::members(&cluster);
        let hosts = |broker: &str| {
            vec![
                "events-internal".to_owned(),
                "events-internal.streaming".into(),
                "events-internal.streaming.svc".into(),
                format!("{broker}.events-brokers.streaming.svc"),
            ]
        };
        assert_eq!(
            wanted(&cluster, "main", &members[..1], &Reach::default()),
            [
                Wanted {
                    stem: "events-main-0.internal".into(),
                    trust: Trust::Internal,
                    subject: Subject::Broker(BrokerId(0)),
                },
                Wanted {
                    stem: "events-main-0.listener".into(),
                    trust: Trust::Cluster,
                    subject: Subject::Listener(hosts("events-main-0")),
                },
            ]
        );
        assert_eq!(wanted(&cluster, "other", &members, &Reach::default()), []);
        let plaintext = testing::with(json!({"listeners": null}));
        assert_eq!(wanted(&plaintext, "main", &members, &Reach::default()).len(), 3);
    }

    #[test]
    fn names_say_their_kind() {
        let id = Uuid([3; 16]);
        let names = |subject: Subject| subject.names(id).into_iter().collect::<Vec<_>>();
        assert_eq!(
            names(Subject::Listener(vec![
                "10.0.0.1".into(),
                "a.b".into(),
                "fd00::1".into()
            ])),
            ["DNS:a.b", "IP:10.0.0.1", "IP:fd00::1"]
        );
        assert_eq!(names(Subject::User("checkout".into())), ["CN:checkout"]);
        assert_eq!(
            names(Subject::Operator),
            [format!("URI:flotilla://{id}/operator")]
        );
        assert_eq!(
            names(Subject::Broker(BrokerId(4))),
            [
                format!("DNS:{}", tls::server_name(id, BrokerId(4))),
                format!("URI:flotilla://{id}/broker/4")
            ]
        );
    }
}
