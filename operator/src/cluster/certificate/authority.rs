use std::fmt;

use flotilla_crds::{CertificateAuthority, Cluster, IssuerRef, OwnCertificateAuthority};

/// Days that a certificate holds where the Cluster does not say.
const VALIDITY_DAYS: u32 = 365;
/// Days before its end that it is renewed where the Cluster does not say.
const RENEW_BEFORE_DAYS: u32 = 30;
/// How much longer an authority holds than what it issues.
const AUTHORITY_FACTOR: u32 = 10;

/// What an authority vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Members of the fleet, to each other. Always the operator's own: whoever issues what clients see must not be able to make
    /// brokers.
    Internal,
    /// Brokers, to clients.
    Cluster,
    /// Clients, to brokers.
    Clients,
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Internal => "internal",
            Self::Cluster => "cluster",
            Self::Clients => "clients",
        })
    }
}

/// How long certificates hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Days from issue to end.
    pub validity_days: u32,
    /// Days before the end at which a new one is made.
    pub renew_before_days: u32,
}

impl Terms {
    /// How long the authority itself holds. It outlives what it issues many times.
    #[must_use]
    pub fn authority_days(self) -> u32 {
        self.validity_days.saturating_mul(AUTHORITY_FACTOR).min(36_500)
    }

    fn of(own: Option<&OwnCertificateAuthority>) -> Self {
        let days =
            |given: Option<i32>, default| given.and_then(|days| days.try_into().ok()).unwrap_or(default);
        Self {
            validity_days: days(own.and_then(|own| own.validity_days), VALIDITY_DAYS),
            renew_before_days: days(own.and_then(|own| own.renew_before_days), RENEW_BEFORE_DAYS),
        }
    }
}

/// Where an authority comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// The operator makes and renews it.
    Own(Terms),
    /// The user keeps it in this Secret of type `kubernetes.io/tls`. The operator issues with it and never changes it.
    Secret(&'a str, Terms),
    /// cert-manager issues each certificate.
    Issuer(&'a IssuerRef, Terms),
}

impl Source<'_> {
    /// How long what it issues holds.
    #[must_use]
    pub fn terms(&self) -> Terms {
        match self {
            Self::Own(terms) | Self::Secret(_, terms) | Self::Issuer(_, terms) => *terms,
        }
    }
}

/// Where the authority for something comes from, as the Cluster says.
#[must_use]
pub fn source(cluster: &Cluster, trust: Trust) -> Source<'_> {
    let tls = cluster.spec.tls.as_ref();
    let given: Option<&CertificateAuthority> = match trust {
        Trust::Internal => None,
        Trust::Cluster => tls.and_then(|tls| tls.cluster_ca.as_ref()),
        Trust::Clients => tls.and_then(|tls| tls.clients_ca.as_ref()),
    };
    let terms = Terms::of(given.and_then(|given| given.own.as_ref()));
    match given {
        Some(CertificateAuthority {
            secret: Some(secret), ..
        }) => Source::Secret(&secret.name, terms),
        Some(CertificateAuthority {
            issuer_ref: Some(issuer),
            ..
        }) => Source::Issuer(issuer, terms),
        _ => Source::Own(terms),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::testing;
    use super::*;

    const DEFAULT: Terms = Terms {
        validity_days: 365,
        renew_before_days: 30,
    };

    #[test]
    fn authorities_come_from_where_the_cluster_says() {
        let cluster = testing::with(json!({"tls": {
            "clusterCa": {"secret": {"name": "company-ca"}},
            "clientsCa": {"own": {"validityDays": 10, "renewBeforeDays": 3}},
        }}));
        assert_eq!(source(&cluster, Trust::Internal), Source::Own(DEFAULT));
        assert_eq!(
            source(&cluster, Trust::Cluster),
            Source::Secret("company-ca", DEFAULT)
        );
        let terms = source(&cluster, Trust::Clients).terms();
        assert_eq!(
            (
                terms.validity_days,
                terms.renew_before_days,
                terms.authority_days()
            ),
            (10, 3, 100)
        );
        let cluster = testing::with(json!({"tls": {"clusterCa": {"issuerRef": {"name": "company"}}}}));
        assert!(
            matches!(source(&cluster, Trust::Cluster), Source::Issuer(issuer, DEFAULT) if issuer.name == "company")
        );
        assert_eq!(source(&testing::cluster(), Trust::Clients), Source::Own(DEFAULT));
    }
}
