//! Who the fleet is: read, and only where nothing ever was, drawn.

use flotilla_control::Uuid;
use k8s_openapi::api::core::v1::ConfigMap;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::observed::json;
use super::{Error, Reconcile};
use crate::Problem;
use crate::cluster::{Identity, Names, identity_config_map, read_identity};

impl Reconcile<'_> {
    /// The identity of the fleet. A new one is drawn only where there is none, and no volume that another one may have written to.
    pub(super) async fn identity(&self, valid: bool) -> Result<Result<Identity, Problem>, Error> {
        let name = Names::of(self.cluster).identity();
        let found = match self.observed.config_map(&name) {
            Some(map) => Some(ConfigMap::clone(map)),
            // One from a backup may lack the label by which it would be seen.
            None => {
                self.context
                    .cache
                    .read::<ConfigMap>(&self.key.namespace, &name)
                    .await?
            }
        };
        if let Some(map) = found {
            return match read_identity(&map) {
                Ok(identity) => self.keep_identity(identity, &map, valid).await,
                Err(problem) => Ok(Err(problem)),
            };
        }
        if !valid {
            let what = "the fleet is made once the specification can be followed";
            return Ok(Err(Problem::spec("spec", what)));
        }
        if let Some(claim) = self.observed.claims.first() {
            return Ok(Err(Problem::spec(
                format!("ConfigMap {name}"),
                format!(
                    "it is missing, but {} volumes of this Cluster are there, such as `{}`: it says which fleet they belong to. Restore \
                     it from a backup, or delete the volumes if their data is of no use",
                    self.observed.claims.len(),
                    claim.metadata.name.as_deref().unwrap_or_default()
                ),
            )));
        }
        let identity = match Identity::draw(self.cluster, &mut fresh) {
            Ok(identity) => identity,
            Err(problem) => return Ok(Err(problem)),
        };
        let map = json(&identity_config_map(self.cluster, &identity)).unwrap_or_default();
        match self.context.writer.create(&map).await {
            Ok(_) => {
                let what = format!("cluster id {}", identity.cluster_id);
                self.say("Creating", &format!("a new fleet begins: {what}")).await;
                Ok(Ok(identity))
            }
            // If it is there by now, that one counts, at the next look.
            Err(error) => Err(error.into()),
        }
    }

    /// Blocks for pools that are new, and that the quorum has formed.
    async fn keep_identity(
        &self,
        before: Identity,
        map: &ConfigMap,
        valid: bool,
    ) -> Result<Result<Identity, Problem>, Error> {
        let mut identity = before;
        if valid {
            identity.allot_blocks(self.cluster);
        }
        if self.view.as_ref().is_some_and(|view| view.controller.is_some()) {
            identity.bootstrapped = true;
        }
        let mut wanted = identity_config_map(self.cluster, &identity);
        wanted.metadata.resource_version = map.metadata.resource_version.clone();
        let wanted = json(&wanted).unwrap_or_default();
        self.context.writer.apply(&wanted, json(map).as_ref()).await?;
        Ok(Ok(identity))
    }
}

/// Draws an id.
fn fresh() -> Uuid {
    loop {
        let mut bytes = [0; 16];
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the operating system has random numbers");
        // In writing it would begin with a dash, and look like an option on a command line.
        if bytes[0] >> 2 != 62 {
            return Uuid(bytes);
        }
    }
}
