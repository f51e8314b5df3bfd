use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flotilla_control::proto::fleet::{ApplyUserRequest, UserState};
use flotilla_control::proto::metadata::{Owner, Refusal};
use flotilla_crds::{Cluster, ConditionType, DeletionPolicy, Reason, User};
use ring::digest::{SHA256, digest};

use super::leave::has_finalizer;
use super::memory::Taken;
use super::scene::{Scene, Sight, found};
use super::secret::{self, Settled};
use super::{Action, Context, Error, Failure, LATER, SOON, tell};
use crate::fleet::{self, Fleet, View};
use crate::topic::News;
use crate::user::{
    Difference, Granted, Scope, Sent, admit, applied, conflict, difference, granted, request, secret_name,
    status, status_paused, turn, unowned,
};
use crate::{Key, Problem, Standing, namespace_of, owner};

/// How long the fleet may take to show what it has done.
const SHOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Of two Users of one name the younger one looks again after this: what keeps the older one may end without a sign.
const RIVAL: Duration = Duration::from_secs(60);
/// What is due later than this is left to the slow look.
const SLOW: Duration = Duration::from_secs(600);

/// Makes the user as the User says.
pub(super) async fn follow(user: &User, context: &Context, scene: &Scene) -> Result<Action, Error> {
    match step(user, context, scene).await {
        Ok(action) => Ok(action),
        Err(Failure::Problem(problem)) => {
            report(user, context, scene, false, &Standing::of(&problem)).await?;
            Ok(match problem.reason {
                // It goes away by itself, but not always with a sign. A fleet that begins to answer is one.
                Reason::Creating if matches!(scene.sight, Sight::Clear(..)) => Action::requeue(SOON),
                Reason::Creating => Action::requeue(LATER),
                Reason::Conflict => Action::requeue(RIVAL),
                _ => Action::await_change(),
            })
        }
        Err(Failure::Error(error)) => Err(error),
    }
}

async fn step(user: &User, context: &Context, scene: &Scene) -> Result<Action, Failure> {
    let cluster = staying(context, scene)?;
    if cluster.spec.paused {
        let paused = status_paused(user, &context.now());
        context.writer.status(user, &paused).await?;
        return Ok(Action::await_change());
    }
    let namespace = namespace_of(&user.metadata);
    let Some(labels) = scene.labels(namespace, context) else {
        // Nothing is given, and nothing taken away, on what is not known.
        return Err(Failure::Error(Error::Other(format!(
            "namespace `{namespace}` has not been heard of yet"
        ))));
    };
    let scope = match admit(user, cluster, &labels) {
        Ok(scope) => scope,
        Err(problem) => {
            revoke(user, context, scene, &problem).await?;
            return Err(problem.into());
        }
    };
    if let Some(elder) = scene.elder(user, cluster, context) {
        return Err(conflict(user, &elder).into());
    }
    match &scene.sight {
        Sight::Clear(fleet, view) => {
            let asked = Asked {
                user,
                cluster,
                scope,
                labels,
            };
            make(&asked, context, scene, fleet, view).await
        }
        Sight::Blinking(left) if user.status.is_some() => Ok(Action::requeue(*left)),
        Sight::Blinking(_) | Sight::Dark => silent(user, cluster, context, scene).await,
    }
}

fn staying<'a>(context: &Context, scene: &'a Scene) -> Result<&'a Arc<Cluster>, Problem> {
    scene.staying(context).ok_or_else(|| {
        let name = &scene.key.name;
        let why = match &scene.cluster {
            Some(_) => format!("the Cluster `{name}` is being deleted"),
            None if scene.illegible => format!("the Cluster `{name}` cannot be read: look at its events"),
            None => format!(
                "there is no Cluster `{name}` in namespace `{}`",
                scene.key.namespace
            ),
        };
        Problem::because(Reason::ClusterNotFound, "spec.cluster", why)
    })
}

/// Takes back what the fleet was given for a User that its Cluster takes no longer: the user is deleted, and its connections end. The Secret stays,
/// so that the same password holds should the Cluster take the User again.
async fn revoke(user: &User, context: &Context, scene: &Scene, problem: &Problem) -> Result<(), Failure> {
    let asks = owner(&user.metadata, DeletionPolicy::Delete);
    let (Sight::Clear(fleet, _), Some(held)) = (&scene.sight, scene.found(user)) else {
        return Ok(());
    };
    if !is_same(&asks, &held) {
        return Ok(());
    }
    let name = secret_name(user);
    match fleet.delete_user(name, Some(asks)).await {
        Ok(_) => {}
        Err(error) if error.refusal() == Some(Refusal::OwnedByAnother) => return Ok(()),
        Err(error) => return Err(Failure::Error(error.into())),
    }
    context.users.forget(&Key::of(&user.metadata));
    let news = News {
        warning: true,
        reason: "Revoked".to_owned(),
        message: format!("user `{name}` was deleted from the fleet: {problem}"),
    };
    tell(user, context, scene, &news).await;
    Ok(())
}

/// A fleet that does not answer keeps nobody from a renewed certificate or a moved address.
async fn silent(user: &User, cluster: &Cluster, context: &Context, scene: &Scene) -> Result<Action, Failure> {
    let Settled { again, news, .. } = secret::settle(user, cluster, context, scene, false).await?;
    if let Some(news) = news {
        tell(user, context, scene, &news).await;
    }
    let message = format!(
        "no broker of Cluster `{}` answers; what is known is from before",
        scene.key.name
    );
    let standing = match has_finalizer(user) {
        true => Standing::Unknown(Reason::Unreachable, message),
        false => Standing::Working(
            Reason::Creating,
            format!("the brokers of Cluster `{}` do not answer yet", scene.key.name),
        ),
    };
    report(user, context, scene, true, &standing)
        .await
        .map_err(Failure::Error)?;
    Ok(match &scene.sight {
        Sight::Blinking(left) => Action::requeue(*left),
        _ => due(again),
    })
}

/// What is asked for, and within which bounds.
struct Asked<'a> {
    user: &'a User,
    cluster: &'a Cluster,
    scope: Scope,
    labels: BTreeMap<String, String>,
}

async fn make(
    asked: &Asked<'_>,
    context: &Context,
    scene: &Scene,
    fleet: &Fleet,
    view: &View,
) -> Result<Action, Failure> {
    let user = asked.user;
    let own = scene.own_topics(user, asked.cluster, &asked.labels, view, context);
    let owned: Vec<&str> = own.owned.iter().map(String::as_str).collect();
    let Granted { rules, refused } = granted(user, &asked.scope, &owned);
    let held = found(user, view);
    let asks = owner(&user.metadata, DeletionPolicy::Delete);
    let ours = held.as_ref().is_some_and(|held| is_same(&asks, held));
    // A rule may wait for its topic, which the Topic beside the User is about to make.
    let refused = refused.map(|problem| match own.awaited.first() {
        Some(topic) => Problem::because(
            Reason::Creating,
            problem.field,
            format!("topic `{topic}` is not made yet"),
        ),
        None => problem,
    });
    // What a User had keeps working but for what it may not have any more; a new one is refused whole.
    if let (Some(problem), false) = (&refused, ours) {
        return Err(problem.clone().into());
    }
    let nobodys = held.as_ref().is_some_and(|held| owner_of(held).is_none());
    if nobodys && asked.scope != Scope::Own {
        return Err(unowned(user).into());
    }
    let settled = secret::settle(user, asked.cluster, context, scene, true).await?;
    if let Some(news) = &settled.news {
        tell(user, context, scene, news).await;
    }
    let mut command = request(user, &asked.scope, &rules, settled.password.as_deref())?;
    // Whoever has it now came after this User, or is gone.
    command.previous_owner = held.as_deref().and_then(owner_of).filter(|_| !ours);
    apply(user, context, scene, fleet, view, command).await?;
    if let Some(problem) = refused {
        return Err(problem.into());
    }
    let rules = match (user.spec.authorization.is_some(), rules.len()) {
        (false, _) => String::new(),
        (true, 1) => ", and has 1 rule".to_owned(),
        (true, rules) => format!(", and has {rules} rules"),
    };
    let message = format!(
        "user `{}` proves itself by {}{rules}",
        secret_name(user),
        serde_json::to_value(user.spec.authentication.type_)
            .ok()
            .and_then(|type_| type_.as_str().map(str::to_owned))
            .unwrap_or_default(),
    );
    report(user, context, scene, true, &Standing::Ready(message))
        .await
        .map_err(Failure::Error)?;
    Ok(due(settled.again))
}

/// Sends the command, if the fleet has anything otherwise.
async fn apply(
    user: &User,
    context: &Context,
    scene: &Scene,
    fleet: &Fleet,
    view: &View,
    command: ApplyUserRequest,
) -> Result<(), Failure> {
    let key = Key::of(&user.metadata);
    let password = match command.password.as_str() {
        "" => Vec::new(),
        password => digest(&SHA256, password.as_bytes()).as_ref().to_vec(),
    };
    let taken = context.users.taken(&key, user.metadata.uid.as_deref());
    let sent = taken.as_ref().map(|taken| &taken.sent);
    let held = found(user, view);
    let differs = difference(&command, &password, held.as_deref(), sent);
    let asked = ApplyUserRequest {
        password: String::new(),
        previous_owner: None,
        ..command.clone()
    };
    if differs.is_none() && taken.as_ref().is_some_and(|taken| taken.asked == asked) {
        return Ok(());
    }
    let settled = match &taken {
        Some(taken) => taken.asked == asked,
        None => is_settled(user),
    };
    let took = |credential: Vec<u8>| Taken {
        uid: user.metadata.uid.clone(),
        asked: asked.clone(),
        sent: Sent {
            password: password.clone(),
            credential,
        },
    };
    if differs.is_none() {
        let credential = sent.map(|sent| sent.credential.clone()).unwrap_or_default();
        context.users.took(key, took(credential));
        return Ok(());
    }
    // Before anything is made, so that nothing is left behind.
    context.writer.add_finalizer(user).await?;
    let compared = command.clone();
    let answer = fleet.apply_user(command).await.map_err(refused)?;
    let now = took(answer.credential.clone());
    if answer.changed
        && let Some(news) = applied(user, &differs, settled, &password, sent)
    {
        tell(user, context, scene, &news).await;
    }
    context.users.took(key, now.clone());
    shown(user, fleet, |held| {
        difference(&compared, &password, held, Some(&now.sent))
    })
    .await;
    Ok(())
}

/// Waits until the fleet shows what was done: a look at what was before would send it again.
async fn shown(user: &User, fleet: &Fleet, difference: impl Fn(Option<&UserState>) -> Difference) {
    let mut sight = fleet.subscribe();
    let shown = sight.wait_for(|sight| {
        let view = sight.view.as_ref();
        view.is_none_or(|view| difference(found(user, view).as_deref()).is_none())
    });
    // Whoever waited in vain goes on: the same again writes nothing.
    let _ = tokio::time::timeout(SHOWN_TIMEOUT, shown).await;
}

/// Whether the status says that the fleet was as this very specification asks.
fn is_settled(user: &User) -> bool {
    let conditions = user.status.as_ref().map(|status| status.conditions.as_slice());
    conditions.unwrap_or_default().iter().any(|condition| {
        condition.type_ == ConditionType::Ready.to_string()
            && condition.status == "True"
            && condition.observed_generation == user.metadata.generation
    })
}

fn owner_of(held: &UserState) -> Option<Owner> {
    held.user.as_ref().and_then(|user| user.owner.clone())
}

/// Whether the fleet has the user for this very resource, or for one of its name that was there before it.
fn is_same(asks: &Owner, held: &UserState) -> bool {
    owner_of(held).is_some_and(|owner| {
        owner.uid == asks.uid || (owner.namespace == asks.namespace && owner.name == asks.name)
    })
}

/// What the fleet's refusal means for the resource.
fn refused(error: fleet::Error) -> Failure {
    let (reason, field) = match error.refusal() {
        _ if error.is_transient() => return Failure::Error(error.into()),
        Some(Refusal::OwnedByAnother) => (Reason::Conflict, "metadata.name"),
        Some(Refusal::UnacceptableCredential) => (Reason::InvalidSpec, "spec.authentication"),
        _ => (Reason::InvalidSpec, "spec"),
    };
    Failure::Problem(Problem::because(reason, field, error.to_string()))
}

async fn report(
    user: &User,
    context: &Context,
    scene: &Scene,
    has_secret: bool,
    standing: &Standing,
) -> Result<(), Error> {
    let status = status(user, &context.now(), has_secret, standing);
    let written = context.writer.status(user, &status).await?;
    if written && let Some(news) = turn(user, standing) {
        tell(user, context, scene, &news).await;
    }
    Ok(())
}

fn due(again: Option<Duration>) -> Action {
    match again {
        Some(again) if again < SLOW => Action::requeue(again.max(LATER)),
        _ => Action::await_change(),
    }
}
