use flotilla_crds::Cluster;
use k8s_openapi::api::core::v1::ConfigMap;

use super::{Context, Error};
use crate::Key;
use crate::apply::{self, kind, live};
use crate::cluster::{
    Names, PENDING_BYTES_MAX, Pending, pending, pending_config_map, pending_fits, pending_patch,
};

/// Notes a deletion that no broker could be told, beside its Cluster. Whoever looks after the Cluster carries it out once the brokers
/// answer.
///
/// # Errors
/// Kubernetes does not take it, or as many wait as can.
pub(super) async fn record(context: &Context, cluster: &Cluster, deletion: &Pending) -> Result<(), Error> {
    let names = Names::of(cluster);
    let name = names.pending();
    let held = context
        .cache
        .labelled::<ConfigMap>(&Key::new(names.namespace, &name));
    if held
        .as_deref()
        .is_some_and(|held| pending(held).contains(deletion))
    {
        return Ok(());
    }
    if !pending_fits(held.as_deref(), deletion) {
        return Err(Error::Other(format!(
            "the ConfigMap `{name}` holds {PENDING_BYTES_MAX} bytes of deletions that wait for the brokers, and takes no more"
        )));
    }
    let config_map = kind::<ConfigMap>();
    let patch = pending_patch(std::slice::from_ref(deletion), &[]);
    let writer = &context.writer;
    match writer.merge(&config_map, names.namespace, &name, &patch).await {
        Err(apply::Error::NotFound(_)) => {}
        merged => return Ok(merged.map(drop)?),
    }
    match writer.create(&live(&pending_config_map(cluster, deletion))).await {
        // Somebody else was first.
        Err(apply::Error::Exists(_)) => {
            writer.merge(&config_map, names.namespace, &name, &patch).await?;
            Ok(())
        }
        created => Ok(created.map(drop)?),
    }
}
