use std::time::Duration;

use flotilla_control::Uuid;
use flotilla_crds::{Cluster, IssuerRef, User};

use super::secret::Beside;
use super::{Context, Error, Failure};
use crate::Problem;
use crate::certificate::{Authority, Validity};
use crate::cluster::Names;
use crate::cluster::certificate::{
    Held, Issuer, Renewal, Source, Subject, Terms, Trust, Wanted, certificate_request, renewal, source,
};
use crate::controllers::cluster::authority;
use crate::topic::News;
use crate::user::{Credential, HeldSecret, answer_name, held, secret_name};

/// What a User proves itself with, and by whom it was issued.
pub(super) struct Issuance {
    pub(super) credential: Credential,
    /// A digest of the authority's key, of an authority that the operator issues with.
    pub(super) issuer: Option<String>,
    /// When the next one is due.
    pub(super) again: Option<Duration>,
    pub(super) news: Option<News>,
}

/// The client certificate of a User: the one that its Secret holds, or a new one.
pub(super) async fn settle(
    user: &User,
    cluster: &Cluster,
    context: &Context,
    beside: &mut Beside,
) -> Result<Issuance, Failure> {
    let source = source(cluster, Trust::Clients);
    if let Source::Issuer(issuer, terms) = source {
        return by_cert_manager(user, cluster, context, issuer, terms).await;
    }
    match authority(context, cluster, Trust::Clients).await? {
        Some(authority) => by_authority(user, context, beside, &authority, source.terms()).await,
        // Whoever keeps the key of the authority issues certificates too.
        None => Ok(Issuance {
            credential: Credential::Elsewhere,
            issuer: None,
            again: None,
            news: None,
        }),
    }
}

async fn by_authority(
    user: &User,
    context: &Context,
    beside: &mut Beside,
    authority: &Authority,
    terms: Terms,
) -> Result<Issuance, Failure> {
    let name = secret_name(user);
    let failed = |error: crate::certificate::Error| Failure::Error(Error::Other(error.to_string()));
    let key_digest = authority.key_digest().map_err(failed)?;
    let subject = Subject::User(name.to_owned());
    let now_unix_s = u64::try_from(context.now().0.as_second()).unwrap_or_default();
    let issuer = Issuer {
        key: &key_digest,
        until_unix_s: authority.until_unix_s(),
    };
    let due = |held: &HeldSecret| {
        let read = held
            .certificate
            .as_ref()
            .map(|issued| Held::read(&issued.certificate));
        renewal(
            now_unix_s,
            read.as_ref(),
            &subject.names(Uuid([0; 16])),
            held.issued_by.as_deref(),
            issuer,
            terms,
        )
    };
    let held = beside
        .held(user, context, |held| matches!(due(held), Renewal::Keep { .. }))
        .await?;
    match (due(&held), held.certificate) {
        (Renewal::Keep { until_unix_s }, Some(issued)) => Ok(Issuance {
            credential: Credential::Certificate(issued),
            issuer: Some(key_digest),
            again: Some(Duration::from_secs(until_unix_s.saturating_sub(now_unix_s))),
            news: None,
        }),
        (due, before) => {
            let validity = Validity::days(now_unix_s, terms.validity_days);
            let issued = authority.issue_user(name, validity).map_err(failed)?;
            let (reason, message) = match (before, due) {
                (Some(_), Renewal::Issue(why)) => (
                    "CertificateRenewed",
                    format!("user `{name}` has a new certificate: {why}"),
                ),
                _ => ("CertificateIssued", format!("user `{name}` has a certificate")),
            };
            Ok(Issuance {
                credential: Credential::Certificate(issued),
                issuer: Some(key_digest),
                again: None,
                news: Some(News {
                    warning: false,
                    reason: reason.to_owned(),
                    message,
                }),
            })
        }
    }
}

/// cert-manager answers in a Secret beside the Cluster, where its issuer is; from there it is copied.
async fn by_cert_manager(
    user: &User,
    cluster: &Cluster,
    context: &Context,
    issuer: &IssuerRef,
    terms: Terms,
) -> Result<Issuance, Failure> {
    let name = answer_name(user);
    let request = request(user, cluster, &name, issuer, terms);
    context.writer.apply(&request, None).await?;
    let answer = context
        .cache
        .read_secret(Names::of(cluster).namespace, &name)
        .await?;
    let issued = answer
        .as_ref()
        .and_then(|answer| held(answer).certificate)
        .ok_or_else(|| {
            Problem::because(
                flotilla_crds::Reason::Creating,
                "spec.authentication",
                format!("cert-manager has not answered the Certificate `{name}` yet"),
            )
        })?;
    Ok(Issuance {
        credential: Credential::Certificate(issued),
        issuer: None,
        again: None,
        news: None,
    })
}

fn request(
    user: &User,
    cluster: &Cluster,
    name: &str,
    issuer: &IssuerRef,
    terms: Terms,
) -> serde_json::Value {
    let wanted = Wanted {
        stem: name.to_owned(),
        trust: Trust::Clients,
        subject: Subject::User(secret_name(user).to_owned()),
    };
    certificate_request(cluster, Uuid([0; 16]), name, &wanted, issuer, terms)
}

/// Takes back what cert-manager was asked for. It must not keep a User from going, so that a failure is only logged.
pub(super) async fn take_back(user: &User, cluster: &Cluster, context: &Context) {
    let Source::Issuer(issuer, terms) = source(cluster, Trust::Clients) else {
        return;
    };
    if user.spec.authentication.type_ != flotilla_crds::UserAuthenticationType::Mtls {
        return;
    }
    let name = answer_name(user);
    let request = request(user, cluster, &name, issuer, terms);
    let namespace = Names::of(cluster).namespace;
    let taking = async {
        let there = context.writer.apply(&request, None).await?;
        let uid = there["metadata"]["uid"].as_str().unwrap_or_default();
        let kind = kube::core::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(
            "cert-manager.io",
            "v1",
            "Certificate",
        ));
        context.writer.delete(&kind, namespace, &name, uid).await?;
        if let Some(answer) = context.cache.read_secret(namespace, &name).await?
            && let Some(uid) = &answer.metadata.uid
        {
            let kind = crate::apply::kind::<k8s_openapi::api::core::v1::Secret>();
            context.writer.delete(&kind, namespace, &name, uid).await?;
        }
        Ok::<(), Error>(())
    };
    if let Err(error) = taking.await {
        tracing::warn!(%error, certificate = name, "a certificate that nobody needs any more stays");
    }
}
