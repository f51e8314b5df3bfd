//! What proves brokers, the operator and users: made and renewed before anything else, and whatever else is wrong.

use std::collections::BTreeMap;
use std::time::Instant;

use flotilla_control::tls::Credentials;
use k8s_openapi::api::core::v1::Secret;

use super::authorities::{BUNDLE, CERTIFICATE, Failure, Known, PRIVATE_KEY, text, waits_for};
use super::memory::{Memory, Operator};
use super::observed::json;
use super::{Error, Reconcile};
use crate::certificate::{Authority, Issued, Validity};
use crate::cluster::certificate::{
    Bundle, Held, Issuer, Renewal, Source, Subject, Terms, Trust, Wanted, bundle, certificates_secret, held,
    issued_by, renewal, source, wanted,
};
use crate::cluster::{Identity, Member, Names};
use crate::{Problem, apply};

/// The operator's own certificate is never written down, and so need not last.
const OPERATOR_TERMS: Terms = Terms {
    validity_days: 30,
    renew_before_days: 10,
};
const DAY_S: u64 = 86_400;

/// What came of it.
pub(super) struct Certificates {
    /// What proves the operator to the brokers.
    pub(super) operator: Option<Credentials>,
    /// What is wrong with authorities that the user gave.
    pub(super) problem: Option<Problem>,
}

impl Reconcile<'_> {
    /// Everything that is due. What cannot be issued keeps what there is; where the specification is not `valid`, so does what it does not
    /// ask for: brokers run on by what was valid before.
    pub(super) async fn certificates(
        &self,
        identity: &Identity,
        members: &[Member],
        valid: bool,
        memory: &mut Memory,
    ) -> Result<Certificates, Error> {
        let mut problem = None;
        let mut known = BTreeMap::new();
        for trust in [Trust::Internal, Trust::Cluster, Trust::Clients] {
            match self.known(trust, identity, memory).await {
                Ok(mut found) => {
                    problem = problem.or(found.problem.take());
                    known.insert(trust, found);
                }
                Err(Failure::Problem(found)) => problem = problem.or(Some(found)),
                Err(Failure::Error(error)) => return Err(error),
            }
        }
        let mut ends = Vec::new();
        for pool in self.pools_of(members) {
            self.pool_certificates(
                identity,
                &pool,
                members,
                valid,
                &known,
                memory,
                &mut ends,
                &mut problem,
            )
            .await?;
        }
        if let Some(first) = ends.into_iter().min() {
            let first = i64::try_from(first).unwrap_or(i64::MAX);
            self.context.metrics.certificate_expiry(&self.key, first);
        }
        let operator = match known.get(&Trust::Internal) {
            Some(internal) => self.operator(identity, internal, memory)?,
            None => None,
        };
        Ok(Certificates { operator, problem })
    }

    /// What proves the operator to the brokers of a fleet whose objects are left as they are.
    pub(super) fn operator_certificate(
        &self,
        identity: &Identity,
        memory: &mut Memory,
    ) -> Option<Credentials> {
        let name = Names::of(self.cluster).authority(&Trust::Internal.to_string());
        let live = self.observed.secret(&name).map(AsRef::as_ref);
        let authority = Authority::load(Issued {
            certificate: text(live, CERTIFICATE),
            key: text(live, PRIVATE_KEY),
        })
        .ok()?;
        let internal = Known {
            bundle: text(live, BUNDLE),
            digest: authority.key_digest().ok()?,
            authority: Some(authority),
            problem: None,
        };
        self.operator(identity, &internal, memory).ok().flatten()
    }

    fn pools_of(&self, members: &[Member]) -> Vec<String> {
        let mut pools: Vec<String> = members.iter().map(|member| member.pool.clone()).collect();
        pools.sort();
        pools.dedup();
        pools
    }

    /// The operator's own certificate.
    fn operator(
        &self,
        identity: &Identity,
        internal: &Known,
        memory: &mut Memory,
    ) -> Result<Option<Credentials>, Error> {
        let Some(authority) = &internal.authority else {
            return Ok(None);
        };
        let due = |operator: &Operator| {
            operator.authority != internal.digest || self.now_unix_s >= operator.due_unix_s
        };
        if memory.operator.as_ref().is_none_or(due) {
            let validity = Validity::days(self.now_unix_s, OPERATOR_TERMS.validity_days);
            let issued = authority
                .issue_for(identity.cluster_id, &Subject::Operator, validity)
                .map_err(|error| Error::Other(error.to_string()))?;
            let left = OPERATOR_TERMS.validity_days - OPERATOR_TERMS.renew_before_days;
            memory.operator = Some(Operator {
                issued,
                authority: internal.digest.clone(),
                due_unix_s: self.now_unix_s + u64::from(left) * DAY_S,
            });
        }
        Ok(memory.operator.as_ref().map(|operator| {
            let bytes = |text: &str| text.as_bytes().to_vec();
            let Issued { certificate, key } = &operator.issued;
            Credentials::from_pem(
                "operator",
                bytes(&internal.bundle),
                bytes(certificate),
                bytes(key),
            )
        }))
    }

    #[allow(clippy::too_many_arguments)]
    async fn pool_certificates(
        &self,
        identity: &Identity,
        pool: &str,
        members: &[Member],
        valid: bool,
        known: &BTreeMap<Trust, Known>,
        memory: &mut Memory,
        ends: &mut Vec<u64>,
        problem: &mut Option<Problem>,
    ) -> Result<(), Error> {
        let name = Names::of(self.cluster).certificates(pool);
        let live = self.observed.secret(&name).map(AsRef::as_ref);
        let version = live.and_then(|live: &Secret| live.metadata.resource_version.as_deref());
        if memory.is_behind(&name, version, Instant::now()) {
            return Err(apply::Error::Conflict(format!(
                "the Secret `{name}` was written, and is not seen yet"
            ))
            .into());
        }
        let mut made = Bundle {
            internal_ca: trusted(known, Trust::Internal, live, "internal-ca.crt", self.now_unix_s),
            clients_ca: trusted(known, Trust::Clients, live, "clients-ca.crt", self.now_unix_s),
            authorities: [Trust::Internal, Trust::Cluster]
                .into_iter()
                .filter_map(|trust| {
                    // What is kept for want of an authority was issued by the former one, and is not issued anew once that is back.
                    let digest = known.get(&trust).map(|known| known.digest.clone());
                    Some((trust, digest.or_else(|| issued_by(live?, trust))?))
                })
                .collect(),
            ..Bundle::default()
        };
        let mut renewed = Vec::new();
        for wanted in wanted(self.cluster, pool, members, &self.observed.reach) {
            let issued = match known.get(&wanted.trust) {
                None => kept(live, &wanted.stem),
                Some(Known {
                    authority: Some(authority),
                    digest,
                    ..
                }) => self.issue(identity, &wanted, live, authority, digest, &mut renewed)?,
                Some(Known { authority: None, .. }) => {
                    match self.answered(identity, &wanted, live, memory).await {
                        Ok(issued) => issued,
                        Err(Failure::Problem(found)) => {
                            problem.get_or_insert(found);
                            kept(live, &wanted.stem)
                        }
                        Err(Failure::Error(error)) => return Err(error),
                    }
                }
            };
            if let Some(issued) = issued {
                ends.extend(Held::read(&issued.certificate).ok().map(|held| held.until_unix_s));
                made.issued.insert(wanted.stem, issued);
            }
        }
        if !valid {
            let files = live
                .and_then(|live| live.data.as_ref())
                .into_iter()
                .flat_map(BTreeMap::keys);
            for stem in files.filter_map(|file| file.strip_suffix(".key")) {
                if let (false, Some(issued)) = (made.issued.contains_key(stem), kept(live, stem)) {
                    made.issued.insert(stem.to_owned(), issued);
                }
            }
        }
        let secret = json(&certificates_secret(self.cluster, pool, &made)).unwrap_or_default();
        let written = match self
            .context
            .writer
            .apply(&secret, live.and_then(json).as_ref())
            .await
        {
            Ok(written) => written,
            // It is somebody else's.
            Err(error @ apply::Error::Exists(_)) => {
                let found = Problem::because(error.reason(), format!("Secret {name}"), error.to_string());
                problem.get_or_insert(found);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let version = |secret: &Secret| secret.metadata.resource_version.clone();
        let version_now = written["metadata"]["resourceVersion"].as_str();
        if live.and_then(version).as_deref() != version_now {
            memory.wrote(&name, version_now, Instant::now());
        }
        if !renewed.is_empty() {
            let what = format!("certificates of pool {pool} are renewed: {}", renewed.join("; "));
            self.say("CertificatesRenewed", &what).await;
        }
        Ok(())
    }

    /// One certificate: the one that there is, or a new one.
    fn issue(
        &self,
        identity: &Identity,
        wanted: &Wanted,
        live: Option<&Secret>,
        authority: &Authority,
        authority_digest: &str,
        renewed: &mut Vec<String>,
    ) -> Result<Option<Issued>, Error> {
        let terms = source(self.cluster, wanted.trust).terms();
        let (held, by) = live.map_or((None, None), |live| held(live, &wanted.stem, wanted.trust));
        let names = wanted.subject.names(identity.cluster_id);
        match renewal(
            self.now_unix_s,
            held.as_ref(),
            &names,
            by.as_deref(),
            Issuer {
                key: authority_digest,
                until_unix_s: authority.until_unix_s(),
            },
            terms,
        ) {
            Renewal::Keep { .. } => Ok(kept(live, &wanted.stem)),
            Renewal::Issue(why) => {
                if held.is_some() {
                    renewed.push(format!("{}: {why}", wanted.stem));
                }
                let validity = Validity::days(self.now_unix_s, terms.validity_days);
                let issued = authority.issue_for(identity.cluster_id, &wanted.subject, validity);
                issued.map(Some).map_err(|error| Error::Other(error.to_string()))
            }
        }
    }

    /// What cert-manager issued, once it has.
    async fn answered(
        &self,
        identity: &Identity,
        wanted: &Wanted,
        live: Option<&Secret>,
        memory: &mut Memory,
    ) -> Result<Option<Issued>, Failure> {
        let Source::Issuer(issuer, terms) = source(self.cluster, wanted.trust) else {
            return Ok(kept(live, &wanted.stem));
        };
        let name = wanted.stem.replace('.', "-");
        self.request(identity, &name, wanted, issuer, terms, memory)
            .await?;
        let answer = self.observed.secret(&name).map(AsRef::as_ref);
        let issued = Issued {
            certificate: text(answer, CERTIFICATE),
            key: text(answer, PRIVATE_KEY),
        };
        if issued.certificate.is_empty() || issued.key.is_empty() {
            return Err(Failure::Problem(waits_for(&name, issuer)));
        }
        Ok(Some(issued))
    }
}

/// Whom brokers trust: as is known, or where nothing is, as before.
fn trusted(
    known: &BTreeMap<Trust, Known>,
    trust: Trust,
    live: Option<&Secret>,
    file: &str,
    now_unix_s: u64,
) -> String {
    let before = text(live, file);
    let current = known.get(&trust).map_or("", |known| known.bundle.as_str());
    bundle(current, &before, now_unix_s)
}

/// A certificate that is there already.
fn kept(live: Option<&Secret>, stem: &str) -> Option<Issued> {
    let issued = Issued {
        certificate: text(live, &format!("{stem}.crt")),
        key: text(live, &format!("{stem}.key")),
    };
    (!issued.certificate.is_empty() && !issued.key.is_empty()).then_some(issued)
}
