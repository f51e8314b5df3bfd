//! Deletions of topics and users that the brokers could not be told, because none of them answered. The resource is let go
//! all the same, so that its namespace can go; what is left to do stands in a ConfigMap beside the Cluster until the
//! brokers are back.
//!
//! An entry is carried out by whoever looks after the Cluster, unless a resource that is alive wants the same topic or user:
//! then the entry is only taken away.

use flotilla_control::proto::metadata::Owner;
use flotilla_crds::Cluster;
use k8s_openapi::api::core::v1::ConfigMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::names::{Names, owned};

/// One ConfigMap holds at most this many bytes of entries; the API server takes no more than 1 MiB. A deletion that does not
/// fit waits with its resource.
pub const PENDING_BYTES_MAX: usize = 900_000;

/// What is to be deleted.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum PendingKind {
    /// A topic, with its records.
    Topic,
    /// A user, with its credentials and rules.
    User,
}

/// A deletion that the brokers have not been told yet.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// What is to be deleted.
    pub kind: PendingKind,
    /// Its name in Kafka.
    pub name: String,
    /// Namespace of the resource that owned it.
    pub namespace: String,
    /// Name of the resource that owned it.
    pub resource: String,
    /// Uid of the resource that owned it.
    pub uid: String,
    /// Its deletion policy: Delete or DeleteIfEmpty.
    pub deletion_policy: String,
}

impl Pending {
    /// The deletion of what a resource owns.
    #[must_use]
    pub fn of(kind: PendingKind, name: impl Into<String>, owner: &Owner) -> Self {
        Self {
            kind,
            name: name.into(),
            namespace: owner.namespace.clone(),
            resource: owner.name.clone(),
            uid: owner.uid.clone(),
            deletion_policy: owner.deletion_policy.clone(),
        }
    }

    /// Whom the brokers are told: they delete nothing that belongs to another by now.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner {
            namespace: self.namespace.clone(),
            name: self.resource.clone(),
            uid: self.uid.clone(),
            deletion_policy: self.deletion_policy.clone(),
        }
    }

    /// The key of its entry.
    #[must_use]
    pub fn key(&self) -> String {
        let kind = match self.kind {
            PendingKind::Topic => "topic",
            PendingKind::User => "user",
        };
        format!("{kind}.{}", self.uid)
    }
}

/// The deletions in a ConfigMap that [`pending_config_map`] made, by key. An entry that somebody changed to something else is
/// left out, and nothing is deleted for it.
#[must_use]
pub fn pending(map: &ConfigMap) -> Vec<Pending> {
    map.data
        .iter()
        .flatten()
        .filter_map(|(key, text)| {
            let pending: Pending = serde_json::from_str(text).ok()?;
            (pending.key() == *key).then_some(pending)
        })
        .collect()
}

/// Whether one more fits.
#[must_use]
pub fn pending_fits(map: Option<&ConfigMap>, more: &Pending) -> bool {
    let held: usize = map
        .and_then(|map| map.data.as_ref())
        .into_iter()
        .flatten()
        .map(|(key, text)| key.len() + text.len())
        .sum();
    held + more.key().len() + text_of(more).len() <= PENDING_BYTES_MAX
}

/// The ConfigMap with its first entry. It goes with its Cluster: then nobody is left to delete anything.
#[must_use]
pub fn pending_config_map(cluster: &Cluster, first: &Pending) -> ConfigMap {
    ConfigMap {
        metadata: owned(cluster, Names::of(cluster).pending()),
        data: Some([(first.key(), text_of(first))].into()),
        ..ConfigMap::default()
    }
}

/// The JSON merge patch (RFC 7386) that notes some and takes others away, each by itself, so that many can be noted at once.
#[must_use]
pub fn pending_patch(noted: &[Pending], done: &[Pending]) -> Value {
    let mut data = Map::new();
    for pending in noted {
        data.insert(pending.key(), Value::String(text_of(pending)));
    }
    for pending in done {
        data.insert(pending.key(), Value::Null);
    }
    json!({ "data": data })
}

fn text_of(pending: &Pending) -> String {
    serde_json::to_string(pending).expect("a pending deletion is JSON")
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn deletion(uid: &str) -> Pending {
        let owner = Owner {
            namespace: "shop".to_owned(),
            name: "page-views".to_owned(),
            uid: uid.to_owned(),
            deletion_policy: "Delete".to_owned(),
        };
        let pending = Pending::of(PendingKind::Topic, "page_views", &owner);
        assert_eq!(pending.owner(), owner);
        pending
    }

    #[test]
    fn what_is_noted_is_read_again() {
        let map = pending_config_map(&testing::cluster(), &deletion("1"));
        assert_eq!(
            serde_json::to_value(&map.data).unwrap(),
            json!({
                "topic.1": "{\"kind\":\"Topic\",\"name\":\"page_views\",\"namespace\":\"shop\",\
                    \"resource\":\"page-views\",\"uid\":\"1\",\"deletionPolicy\":\"Delete\"}",
            })
        );
        assert_eq!(map.metadata.name.as_deref(), Some("events-pending"));
        assert!(map.metadata.owner_references.is_some());
        assert_eq!(pending(&map), [deletion("1")]);
    }

    #[test]
    fn entries_come_and_go_one_by_one() {
        assert_eq!(
            pending_patch(&[deletion("2")], &[deletion("1")]),
            json!({"data": {"topic.1": null, "topic.2": text_of(&deletion("2"))}})
        );
    }

    #[test]
    fn entry_that_somebody_changed_deletes_nothing() {
        let mut map = pending_config_map(&testing::cluster(), &deletion("1"));
        let data = map.data.as_mut().unwrap();
        data.insert("topic.2".into(), "{}".into());
        data.insert("topic.3".into(), data["topic.1"].clone());
        assert_eq!(pending(&map), [deletion("1")]);
    }

    #[test]
    fn more_than_a_config_map_holds_does_not_fit() {
        let mut map = pending_config_map(&testing::cluster(), &deletion("1"));
        assert!(pending_fits(None, &deletion("2")) && pending_fits(Some(&map), &deletion("2")));
        let data = map.data.as_mut().unwrap();
        data.insert("topic.2".into(), "x".repeat(PENDING_BYTES_MAX));
        assert!(!pending_fits(Some(&map), &deletion("3")));
    }
}
