use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flotilla_crds::{Cluster, Reason, User, UserAuthenticationType};
use k8s_openapi::api::core::v1::Secret;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};

use super::certificate::{self, Issuance};
use super::scene::Scene;
use super::{Context, Error, Failure};
use crate::apply::{self, kind, live};
use crate::cluster::certificate::Trust;
use crate::cluster::listeners;
use crate::controllers::cluster::trusted;
use crate::topic::News;
use crate::user::{Credential, HeldSecret, check_password, check_source, held, is_of, note_issuer, stale};
use crate::{Key, Problem, user};

/// Characters of a password that is drawn: more than 180 bits.
const PASSWORD_CHARS: usize = 32;

/// What came of the Secret beside a User.
#[derive(Default)]
pub(super) struct Settled {
    /// The password in it.
    pub(super) password: Option<String>,
    /// When it must be looked at again, because its certificate ends.
    pub(super) again: Option<Duration>,
    /// What is worth telling.
    pub(super) news: Option<News>,
}

/// Makes the Secret beside a User whole. Without the fleet (`online` is false) a password stays as it is, because the brokers would not hear of
/// another one; a certificate is renewed all the same.
pub(super) async fn settle(
    user: &User,
    cluster: &Cluster,
    context: &Context,
    scene: &Scene,
    online: bool,
) -> Result<Settled, Failure> {
    check_source(user)?;
    let mut beside = Beside::look(user, context).await?;
    let servers = servers(cluster);
    let cluster_ca = match listeners(cluster).iter().any(|listener| listener.tls) {
        true => trusted(context, cluster, Trust::Cluster)?,
        false => String::new(),
    };
    let mut settled = Settled::default();
    let mut issued_by = None;
    let credential = match user.spec.authentication.type_ {
        UserAuthenticationType::Mtls => {
            let Issuance {
                credential,
                issuer,
                again,
                news,
            } = certificate::settle(user, cluster, context, &mut beside).await?;
            (settled.again, settled.news, issued_by) = (again, news, issuer);
            credential
        }
        UserAuthenticationType::ScramSha256 | UserAuthenticationType::ScramSha512 => {
            let password = password(user, context, scene, &mut beside, online).await?;
            settled.password = Some(password.clone());
            Credential::Password(password)
        }
    };
    let mut desired = user::secret(user, cluster, &servers, &cluster_ca, &credential)?;
    if let Some(digest) = issued_by {
        note_issuer(&mut desired, &digest);
    }
    write(user, context, &desired, beside.live.as_deref()).await?;
    Ok(settled)
}

/// Where clients begin, by listener.
fn servers(cluster: &Cluster) -> BTreeMap<String, String> {
    let status = cluster.status.as_ref();
    status.map(|status| status.listeners.clone()).unwrap_or_default()
}

/// The Secret of the User's name.
pub(super) struct Beside {
    key: Key,
    live: Option<Arc<Secret>>,
    /// It was read from the API server itself.
    fresh: bool,
}

impl Beside {
    async fn look(user: &User, context: &Context) -> Result<Self, Failure> {
        let key = Key::new(crate::namespace_of(&user.metadata), user::secret_name(user));
        let mut beside = Self {
            live: context.cache.secret(&key),
            key,
            fresh: false,
        };
        if beside.live.is_none() && context.cache.secret_metadata(&beside.key).is_some() {
            beside.refresh(context).await?;
        }
        beside.check(user)?;
        Ok(beside)
    }

    /// What the Secret holds. Before something is made because it lacks, it is read from the API server itself: what was made a moment ago may
    /// not have been heard of yet.
    pub(super) async fn held(
        &mut self,
        user: &User,
        context: &Context,
        suffices: impl Fn(&HeldSecret) -> bool,
    ) -> Result<HeldSecret, Failure> {
        let known = self.live.as_deref().map(held).unwrap_or_default();
        if self.fresh || suffices(&known) {
            return Ok(known);
        }
        self.refresh(context).await?;
        self.check(user)?;
        Ok(self.live.as_deref().map(held).unwrap_or_default())
    }

    async fn refresh(&mut self, context: &Context) -> Result<(), Failure> {
        let read = context
            .cache
            .read_secret(&self.key.namespace, &self.key.name)
            .await?;
        (self.live, self.fresh) = (read.map(Arc::new), true);
        Ok(())
    }

    /// A Secret of somebody else's is never written over.
    fn check(&self, user: &User) -> Result<(), Problem> {
        let Some(live) = self.live.as_deref().filter(|live| !is_of(live, user)) else {
            return Ok(());
        };
        let owners = live.metadata.owner_references.as_deref().unwrap_or_default();
        let of_a_former = owners
            .iter()
            .any(|owner| owner.kind == "User" && owner.name == self.key.name);
        if of_a_former || live.metadata.deletion_timestamp.is_some() {
            return Err(Problem::because(
                Reason::Creating,
                "metadata.name",
                format!(
                    "the Secret `{}` of the User that had the name before is being deleted",
                    self.key.name
                ),
            ));
        }
        Err(taken(&self.key.name))
    }
}

fn taken(name: &str) -> Problem {
    Problem::because(
        Reason::Conflict,
        "metadata.name",
        format!(
            "there is a Secret `{name}` that is not this User's, and it is not written over: rename the User, or delete that Secret"
        ),
    )
}

async fn write(
    user: &User,
    context: &Context,
    desired: &Secret,
    beside: Option<&Secret>,
) -> Result<(), Failure> {
    let now = beside.map(live);
    let written = match context.writer.apply(&live(desired), now.as_ref()).await {
        Err(apply::Error::Exists(_)) => return Err(taken(user::secret_name(user)).into()),
        written => written?,
    };
    let written: Secret = serde_json::from_value(written).map_err(|error| {
        Failure::Error(Error::Other(format!(
            "the API server answered with no Secret: {error}"
        )))
    })?;
    let stale = stale(desired, &written);
    if !stale.is_empty() {
        let nulls: serde_json::Map<String, Value> =
            stale.into_iter().map(|file| (file, Value::Null)).collect();
        let key = Key::of(&desired.metadata);
        let patch = json!({ "data": nulls });
        context
            .writer
            .merge(&kind::<Secret>(), &key.namespace, &key.name, &patch)
            .await?;
    }
    Ok(())
}

async fn password(
    user: &User,
    context: &Context,
    scene: &Scene,
    beside: &mut Beside,
    online: bool,
) -> Result<String, Failure> {
    let has_password = |held: &HeldSecret| held.password.is_some();
    if !online {
        let held = beside.held(user, context, has_password).await?;
        return held.password.ok_or_else(|| {
            Failure::Problem(Problem::because(
                Reason::Creating,
                "spec.cluster",
                format!("the brokers of Cluster `{}` do not answer yet", scene.key.name),
            ))
        });
    }
    let Some(from) = &user.spec.authentication.password_from else {
        let held = beside.held(user, context, has_password).await?;
        return match held.password {
            Some(password) => Ok(password),
            None => draw(),
        };
    };
    let refused = |message: String| Problem::spec("spec.authentication.passwordFrom", message);
    let namespace = crate::namespace_of(&user.metadata);
    let Some(given) = context.cache.read_secret(namespace, &from.name).await? else {
        return Err(refused(format!(
            "there is no Secret `{}` in namespace `{namespace}`",
            from.name
        ))
        .into());
    };
    let Some(bytes) = given.data.as_ref().and_then(|data| data.get(&from.key)) else {
        return Err(refused(format!("the Secret `{}` has no key `{}`", from.name, from.key)).into());
    };
    let password = String::from_utf8(bytes.0.clone()).map_err(|_| {
        refused(format!(
            "`{}` in the Secret `{}` is no text in UTF-8",
            from.key, from.name
        ))
    })?;
    check_password(&password)?;
    Ok(password)
}

/// Letters and digits: nothing that a shell or a properties file would take for something else.
fn draw() -> Result<String, Failure> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789AZ";
    let mut bytes = [0; PASSWORD_CHARS];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::Error(Error::Other("the system gives no random numbers".to_owned())))?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte & 63)]))
        .collect())
}
