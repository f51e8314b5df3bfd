//! Resources that cannot be decoded: written under a newer definition, for one. They stall nothing: what was known goes on, an event says so, and
//! one that was never known and is being deleted is let go.

use flotilla_crds::{Cluster, Reason, Topic, User};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};

use super::Context;
use crate::Key;
use crate::apply::{EventType, reference};
use crate::cache::Broken;

pub(super) async fn report(context: &Context, kind: &'static str, key: &Key) {
    let all = context.cache.undecodable();
    let found = all.into_iter().find(|(name, _)| *name == kind);
    let Some(broken) = found.and_then(|(_, mut broken)| broken.remove(key)) else {
        return;
    };
    match kind {
        "Cluster" => about::<Cluster>(context, &broken, context.cache.cluster(key).is_some()).await,
        "Topic" => about::<Topic>(context, &broken, context.cache.topic(key).is_some()).await,
        "User" => about::<User>(context, &broken, context.cache.user(key).is_some()).await,
        _ => {}
    }
}

async fn about<K>(context: &Context, broken: &Broken, known: bool)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let object: PartialObjectMeta<K> = PartialObjectMeta {
        types: None,
        metadata: broken.metadata.clone(),
        _phantom: std::marker::PhantomData,
    };
    let about: ObjectReference = reference(&object);
    let message = format!(
        "this operator cannot read it, and leaves everything as it is: {}",
        broken.why
    );
    let reason = Reason::InvalidSpec.to_string();
    let writer = &context.writer;
    writer
        .event(&about, EventType::Warning, &reason, "Read", &message)
        .await;
    if known || broken.metadata.deletion_timestamp.is_none() {
        return;
    }
    match writer.remove_finalizer(&object).await {
        Ok(false) => {}
        Ok(true) => {
            let message = "let go without having been read: what it made in its fleet stays";
            writer
                .event(
                    &about,
                    EventType::Warning,
                    &Reason::Deleting.to_string(),
                    "Delete",
                    message,
                )
                .await;
        }
        Err(error) => tracing::warn!(%error, "cannot let go of what cannot be read"),
    }
}
