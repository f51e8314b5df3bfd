//! The authorities of a Cluster: the operator's own, those that users keep in Secrets, and cert-manager's.

use std::collections::BTreeMap;
use std::sync::Arc;

use flotilla_crds::{Cluster, IssuerRef, Reason};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::memory::Memory;
use super::observed::json;
use super::{Context, Error, Reconcile};
use crate::certificate::{Authority, Issued, Validity};
use crate::cluster::certificate::{
    Held, Renewal, Source, Subject, Terms, Trust, Wanted, authority_renewal, bundle, certificate_request,
    source,
};
use crate::cluster::{CLUSTER_LABEL, Identity, Names, labels, with_data};
use crate::{Key, Problem, apply};

pub(super) const CERTIFICATE: &str = "tls.crt";
pub(super) const PRIVATE_KEY: &str = "tls.key";
pub(super) const BUNDLE: &str = "ca.crt";

/// An authority as it is now.
pub(super) struct Known {
    /// Who is trusted, as PEM: the current one first.
    pub(super) bundle: String,
    /// What to issue with; none where cert-manager issues.
    pub(super) authority: Option<Authority>,
    /// A digest of its key, or what stands for it.
    pub(super) digest: String,
    /// What the user should know of it.
    pub(super) problem: Option<Problem>,
}

impl Reconcile<'_> {
    /// An authority, made or renewed where it is the operator's own.
    pub(super) async fn known(
        &self,
        trust: Trust,
        identity: &Identity,
        memory: &mut Memory,
    ) -> Result<Known, Failure> {
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
                let ended = authority
                    .as_ref()
                    .is_some_and(|authority| authority.until_unix_s() <= self.now_unix_s);
                let problem = ended.then(|| {
                    let what = format!(
                        "the authority in the Secret `{given}` has ended, and nobody trusts what it issued: put its successor there"
                    );
                    Problem::spec(field(trust), what)
                });
                Ok(Known {
                    bundle: trusted,
                    authority,
                    digest,
                    problem,
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
                    problem: None,
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
            problem: None,
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

    /// Asks cert-manager. Its kinds are not watched, so that what was asked is remembered.
    pub(super) async fn request(
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

/// Who is trusted, for clients: the certificates of an authority as PEM, the current one first. What a user gave and took away again is
/// still trusted.
///
/// # Errors
/// The authority is not there yet.
pub fn trusted(context: &Context, cluster: &Cluster, trust: Trust) -> Result<String, Problem> {
    let trusted = text(made(context, cluster, trust).as_deref(), BUNDLE);
    if trusted.is_empty() {
        return Err(Problem::because(
            Reason::Creating,
            "spec.cluster",
            format!("the {trust} authority of the Cluster is not made yet"),
        ));
    }
    Ok(trusted)
}

/// The Secret that the operator made of an authority.
fn made(context: &Context, cluster: &Cluster, trust: Trust) -> Option<Arc<Secret>> {
    let names = Names::of(cluster);
    let name = names.authority(&trust.to_string());
    context.cache.secret(&Key::new(names.namespace, &name))
}

/// What to issue with. That is `None` where cert-manager issues, and for a given Secret without a key.
///
/// # Errors
/// The authority is not there yet, or what the user gave is none.
pub async fn authority(
    context: &Context,
    cluster: &Cluster,
    trust: Trust,
) -> Result<Option<Authority>, Problem> {
    trusted(context, cluster, trust)?;
    let key = Key::of(&cluster.metadata);
    let secret = made(context, cluster, trust);
    Ok(match source(cluster, trust) {
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
    })
}

/// Where a Cluster names the Secret of an authority.
fn field(trust: Trust) -> &'static str {
    match trust {
        Trust::Clients => "spec.tls.clientsCa.secret",
        Trust::Internal | Trust::Cluster => "spec.tls.clusterCa.secret",
    }
}

/// The authority that the user keeps in a Secret: its certificates, and what to issue with.
async fn given_authority(
    context: &Context,
    cluster: &Key,
    name: &str,
    trust: Trust,
) -> Result<(String, Option<Authority>), Failure> {
    let wrong = |what: String| Failure::Problem(Problem::spec(field(trust), what));
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
pub(super) enum Failure {
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

pub(super) fn waits_for(name: &str, issuer: &IssuerRef) -> Problem {
    Problem::because(
        Reason::Creating,
        "spec.tls",
        format!(
            "the issuer `{}` has not answered the Certificate `{name}` yet",
            issuer.name
        ),
    )
}

/// What a Secret holds under a key; nothing where it holds none, or no text.
pub(super) fn text(secret: Option<&Secret>, key: &str) -> String {
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
