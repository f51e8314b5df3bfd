//! What proves brokers, the operator and users: made and renewed before anything else, and whatever else is wrong.

use std::collections::BTreeMap;
use std::time::Instant;

use flotilla_control::tls::Credentials;
use flotilla_crds::{Cluster, IssuerRef, Reason};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::memory::{Memory, Operator};
use super::observed::json;
use super::{Context, Error, Reconcile};
use crate::certificate::{Authority, Issued, Validity};
use crate::cluster::certificate::{
    Bundle, Held, Renewal, Source, Subject, Terms, Trust, Wanted, authority_renewal, bundle,
    certificate_request, certificates_secret, held, renewal, source, wanted,
};
use crate::cluster::{CLUSTER_LABEL, Identity, Member, Names, labels, with_data};
use crate::{Key, Problem, apply};

const CERTIFICATE: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";
const BUNDLE: &str = "ca.crt";
/// The operator's own certificate is never written down, and so need not last.
const OPERATOR_TERMS: Terms = Terms {
    validity_days: 30,
    renew_before_days: 10,
};
const DAY_S: u64 = 86_400;

/// An authority as it is now.
struct Known {
    /// Who is trusted, as PEM: the current one first.
    bundle: String,
    /// What to issue with; none where cert-manager issues.
    authority: Option<Authority>,
    /// A digest of its key, or what stands for it.
    digest: String,
}

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
                Ok(found) => {
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

    /// An authority, made or renewed where it is the operator's own.
    async fn known(&self, trust: Trust, identity: &Identity, memory: &mut Memory) -> Result<Known, Failure> {
        let name = Names::of(self.cluster).authority(&trust.to_string());
        let live = self.observed.secret(&name).map(AsRef::as_ref);
        match source(self.cluster, trust) {
            Source::Own(terms) => Ok(self.own(trust, &name, live, terms).await?),
            Source::Secret(given, _) => {
                let (current, authority) = given_authority(self.context, &self.key, given, trust).await?;
                let digest = match &authority {
                    Some(authority) => digest_of(authority)?,
                    None => short_digest(&current),
                };
                let trusted = bundle(&current, &text(live, BUNDLE), self.now_unix_s);
                self.write_authority(&name, live, None, &trusted).await?;
                Ok(Known {
                    bundle: trusted,
                    authority,
                    digest,
                })
            }
            Source::Issuer(issuer, terms) => {
                // What cert-manager issues comes with its authority: that is how one is learnt that nothing else tells.
                let probe = format!("{name}-probe");
                let wanted = Wanted {
                    stem: String::new(),
                    trust,
                    subject: match trust {
                        Trust::Clients => Subject::User(format!("{}-probe", self.key.name)),
                        Trust::Internal | Trust::Cluster => {
                            Subject::Listener(vec![format!("{probe}.invalid")])
                        }
                    },
                };
                self.request(identity, &probe, &wanted, issuer, terms, memory)
                    .await?;
                let answer = self.observed.secret(&probe).map(AsRef::as_ref);
                let current = text(answer, BUNDLE);
                if current.is_empty() {
                    return Err(Failure::Problem(waits_for(&probe, issuer)));
                }
                let trusted = bundle(&current, &text(live, BUNDLE), self.now_unix_s);
                self.write_authority(&name, live, None, &trusted).await?;
                Ok(Known {
                    bundle: trusted,
                    authority: None,
                    digest: short_digest(&format!("{}/{:?}", issuer.name, issuer.kind)),
                })
            }
        }
    }

    /// The operator's own authority. It keeps its key as long as that can be read.
    async fn own(
        &self,
        trust: Trust,
        name: &str,
        live: Option<&Secret>,
        terms: Terms,
    ) -> Result<Known, Failure> {
        let (certificate, key) = (text(live, CERTIFICATE), text(live, PRIVATE_KEY));
        let loaded = Authority::load(Issued {
            certificate: certificate.clone(),
            key,
        })
        .ok();
        let held = loaded.as_ref().map(|_| Held::read(&certificate));
        let called = format!("{} {trust} authority", self.key);
        let validity = Validity::days(self.now_unix_s, terms.authority_days());
        let authority = match (authority_renewal(self.now_unix_s, held.as_ref(), terms), loaded) {
            (Renewal::Keep { .. }, Some(authority)) => authority,
            (Renewal::Issue(why), Some(authority)) => {
                self.say(
                    "CertificatesRenewed",
                    &format!("the {trust} authority is renewed: {why}"),
                )
                .await;
                authority.renew(&called, validity).map_err(refused)?
            }
            (_, None) => {
                if live.is_some_and(|live| {
                    live.data
                        .as_ref()
                        .is_some_and(|data| data.contains_key(PRIVATE_KEY))
                }) {
                    let what = format!(
                        "the Secret `{name}` held no {trust} authority that can be used: there is a new one"
                    );
                    self.warn("CertificatesRenewed", &what).await;
                }
                Authority::generate(&called, validity).map_err(refused)?
            }
        };
        let before = format!("{}\n{}", certificate, text(live, BUNDLE));
        let trusted = bundle(&authority.pem().certificate, &before, self.now_unix_s);
        self.write_authority(name, live, Some(&authority), &trusted)
            .await?;
        Ok(Known {
            bundle: trusted,
            digest: digest_of(&authority)?,
            authority: Some(authority),
        })
    }

    /// The Secret of an authority. It outlives its Cluster where data does: the clients of the same Cluster applied again trust it already.
    async fn write_authority(
        &self,
        name: &str,
        live: Option<&Secret>,
        authority: Option<&Authority>,
        trusted: &str,
    ) -> Result<(), Failure> {
        let mut data = BTreeMap::from([(BUNDLE.to_owned(), bytes(trusted))]);
        if let Some(authority) = authority {
            data.insert(CERTIFICATE.to_owned(), bytes(&authority.pem().certificate));
            data.insert(PRIVATE_KEY.to_owned(), bytes(&authority.pem().key));
        }
        let mut secret = Secret {
            metadata: with_data(self.cluster, name.to_owned()),
            type_: Some("Opaque".to_owned()),
            data: Some(data),
            ..Secret::default()
        };
        match live {
            // Never over one that is not known of: it may be what everything was issued by.
            None => {
                let made = self
                    .context
                    .writer
                    .create(&json(&secret).unwrap_or_default())
                    .await;
                if let Err(error @ apply::Error::Exists(_)) = made {
                    return Err(self.in_the_way(name, error).await);
                }
                made.map_err(Error::from)?;
            }
            Some(live) => {
                secret.metadata.resource_version = live.metadata.resource_version.clone();
                let (secret, live) = (json(&secret).unwrap_or_default(), json(live));
                self.context
                    .writer
                    .apply(&secret, live.as_ref())
                    .await
                    .map_err(Error::from)?;
            }
        }
        Ok(())
    }

    /// What a Secret means that is there though the cache does not have it: it was made a moment ago, or it is somebody else's.
    async fn in_the_way(&self, name: &str, error: apply::Error) -> Failure {
        let found = self.context.cache.read_secret(&self.key.namespace, name).await;
        let label = |secret: &Secret| secret.metadata.labels.as_ref()?.get(CLUSTER_LABEL).cloned();
        match found {
            Ok(Some(secret)) if label(&secret).as_deref() != Some(&self.key.name) => {
                Failure::Problem(Problem::because(
                    Reason::Conflict,
                    format!("Secret {name}"),
                    "there is one already that is not this Cluster's: rename it, or delete it if it is of no use",
                ))
            }
            _ => Failure::Error(apply::Error::Conflict(error.to_string()).into()),
        }
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
            authorities: known
                .iter()
                .filter(|(trust, _)| **trust != Trust::Clients)
                .map(|(trust, known)| (*trust, known.digest.clone()))
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
        let written = self
            .context
            .writer
            .apply(&secret, live.and_then(json).as_ref())
            .await?;
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
            authority_digest,
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

    /// Asks cert-manager. Its kinds are not watched, so that what was asked is remembered.
    async fn request(
        &self,
        identity: &Identity,
        name: &str,
        wanted: &Wanted,
        issuer: &IssuerRef,
        terms: Terms,
        memory: &mut Memory,
    ) -> Result<(), Failure> {
        let mut request = certificate_request(self.cluster, identity.cluster_id, name, wanted, issuer, terms);
        // By the label the answer is seen.
        request["spec"]["secretTemplate"]["labels"] =
            serde_json::to_value(labels(self.cluster)).unwrap_or_default();
        let asked = short_digest(&request.to_string());
        if memory.requested.get(name) == Some(&asked) {
            return Ok(());
        }
        match self.context.writer.apply(&request, None::<&Value>).await {
            Ok(_) => {
                memory.requested.insert(name.to_owned(), asked);
                Ok(())
            }
            Err(apply::Error::NotFound(_)) => Err(Failure::Problem(Problem::spec(
                "spec.tls",
                "cert-manager is not installed: install it, or let the operator issue certificates",
            ))),
            Err(error) => Err(Failure::Error(error.into())),
        }
    }
}

/// Who is trusted, for those who issue and for clients: the certificates of an authority as PEM, the current one first, and what to issue
/// with. That is `None` where cert-manager issues, and for a given Secret without a key.
///
/// # Errors
/// The authority is not there yet, or what the user gave is none.
pub async fn authority(
    context: &Context,
    cluster: &Cluster,
    trust: Trust,
) -> Result<(String, Option<Authority>), Problem> {
    let key = Key::of(&cluster.metadata);
    let name = Names::of(cluster).authority(&trust.to_string());
    let secret = context.cache.secret(&Key::new(&key.namespace, &name));
    let trusted = text(secret.as_deref(), BUNDLE);
    if trusted.is_empty() {
        return Err(Problem::because(
            Reason::Creating,
            "spec.cluster",
            format!("the {trust} authority of the Cluster is not made yet"),
        ));
    }
    let authority = match source(cluster, trust) {
        Source::Own(_) => Authority::load(Issued {
            certificate: text(secret.as_deref(), CERTIFICATE),
            key: text(secret.as_deref(), PRIVATE_KEY),
        })
        .ok(),
        Source::Secret(given, _) => match given_authority(context, &key, given, trust).await {
            Ok((_, authority)) => authority,
            Err(Failure::Problem(problem)) => return Err(problem),
            Err(Failure::Error(error)) => {
                return Err(Problem::because(
                    Reason::Creating,
                    "spec.cluster",
                    error.to_string(),
                ));
            }
        },
        Source::Issuer(..) => None,
    };
    Ok((trusted, authority))
}

/// The authority that the user keeps in a Secret: its certificates, and what to issue with.
async fn given_authority(
    context: &Context,
    cluster: &Key,
    name: &str,
    trust: Trust,
) -> Result<(String, Option<Authority>), Failure> {
    let field = match trust {
        Trust::Clients => "spec.tls.clientsCa.secret",
        Trust::Internal | Trust::Cluster => "spec.tls.clusterCa.secret",
    };
    let wrong = |what: String| Failure::Problem(Problem::spec(field, what));
    let secret = context
        .cache
        .read_secret(&cluster.namespace, name)
        .await
        .map_err(Error::from)?;
    let Some(secret) = secret else {
        return Err(wrong(format!(
            "there is no Secret `{name}` in namespace `{}`: make it, of type kubernetes.io/tls",
            cluster.namespace
        )));
    };
    let (certificate, key) = (text(Some(&secret), CERTIFICATE), text(Some(&secret), PRIVATE_KEY));
    let current = format!("{certificate}\n{}", text(Some(&secret), BUNDLE));
    if Held::read(&certificate).is_err() && Held::read(&current).is_err() {
        return Err(wrong(format!(
            "the Secret `{name}` holds no certificate in `{CERTIFICATE}`"
        )));
    }
    if key.is_empty() {
        return match trust {
            Trust::Clients => Ok((current, None)),
            Trust::Internal | Trust::Cluster => Err(wrong(format!(
                "the Secret `{name}` holds no `{PRIVATE_KEY}`: brokers' certificates are issued with it"
            ))),
        };
    }
    match Authority::load(Issued { certificate, key }) {
        Ok(authority) => Ok((current, Some(authority))),
        Err(error) => Err(wrong(format!("the Secret `{name}` holds no authority: {error}"))),
    }
}

/// Why something could not be done: because of what the user gave, or for now.
enum Failure {
    Problem(Problem),
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

fn refused(error: crate::certificate::Error) -> Failure {
    Failure::Error(Error::Other(error.to_string()))
}

fn digest_of(authority: &Authority) -> Result<String, Failure> {
    authority.key_digest().map_err(refused)
}

fn waits_for(name: &str, issuer: &IssuerRef) -> Problem {
    Problem::because(
        Reason::Creating,
        "spec.tls",
        format!(
            "the issuer `{}` has not answered the Certificate `{name}` yet",
            issuer.name
        ),
    )
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

/// What a Secret holds under a key; nothing where it holds none, or no text.
fn text(secret: Option<&Secret>, key: &str) -> String {
    let data = secret.and_then(|secret| secret.data.as_ref()?.get(key));
    data.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok())
        .unwrap_or_default()
}

fn bytes(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

fn short_digest(of: &str) -> String {
    digest(&SHA256, of.as_bytes()).as_ref()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
