use std::collections::BTreeMap;

use flotilla_crds::{Cluster, Reason, Topic};

use super::kafka_name;
use crate::user::{Scope, scope};
use crate::{Problem, namespace_of};

/// Whether the Cluster takes this Topic from its namespace, which has these labels.
///
/// # Errors
/// It takes nothing from there, or not this name.
pub fn allowed(cluster: &Cluster, topic: &Topic, labels: &BTreeMap<String, String>) -> Result<(), Problem> {
    let (namespace, name) = (namespace_of(&topic.metadata), kafka_name(topic));
    match scope(cluster, namespace, labels)? {
        Scope::Own => Ok(()),
        Scope::Guest(prefixes) if prefixes.is_empty() => Ok(()),
        Scope::Guest(prefixes) if prefixes.iter().any(|prefix| name.starts_with(prefix)) => Ok(()),
        Scope::Guest(prefixes) => Err(Problem::because(
            Reason::NotAllowed,
            "spec.name",
            format!(
                "the Cluster takes from namespace `{namespace}` only topics that begin with {}, and `{name}` does not. Rename it, \
                 or ask the Cluster's owner to allow it in `spec.allowedNamespaces`",
                prefixes
                    .iter()
                    .map(|prefix| format!("`{prefix}`"))
                    .collect::<Vec<_>>()
                    .join(" or ")
            ),
        )),
    }
}

/// Whether the Topic may take over a topic that exists already and is not its namespace's own: a guest may only what stands under
/// its prefixes. Whoever owns a topic may delete it, and grant access to it.
#[must_use]
pub fn may_adopt(cluster: &Cluster, topic: &Topic, labels: &BTreeMap<String, String>) -> bool {
    match scope(cluster, namespace_of(&topic.metadata), labels) {
        Ok(Scope::Own) => true,
        Ok(Scope::Guest(prefixes)) => prefixes
            .iter()
            .any(|prefix| !prefix.is_empty() && kafka_name(topic).starts_with(prefix)),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::topic;
    use super::*;

    #[test]
    fn guests_take_over_only_what_stands_under_their_prefixes() {
        let cluster: Cluster = serde_json::from_value(json!({
            "apiVersion": "flotilla.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "events", "namespace": "streaming"},
            "spec": {"allowedNamespaces": [
                {"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}, "prefixes": ["shop-"]},
                {"from": "Selector", "selector": {"matchLabels": {"team": "ops"}}},
            ]},
        }))
        .unwrap();
        let check = |namespace: &str, name: &str, team: &str| {
            let mut topic = topic(json!({"name": name}));
            topic.metadata.namespace = Some(namespace.to_owned());
            may_adopt(
                &cluster,
                &topic,
                &BTreeMap::from([("team".to_owned(), team.to_owned())]),
            )
        };
        assert!(check("streaming", "orders", "") && check("shop", "shop-orders", "shop"));
        assert!(
            !check("shop", "orders", "shop") && !check("ops", "orders", "ops") && !check("x", "orders", "x")
        );
    }

    #[test]
    fn guests_bring_topics_under_their_prefixes_only() {
        let cluster: Cluster = serde_json::from_value(json!({
            "apiVersion": "flotilla.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "events", "namespace": "streaming"},
            "spec": {"allowedNamespaces": [
                {"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}, "prefixes": ["shop-", "web-"]},
                {"from": "Selector", "selector": {"matchLabels": {"team": "ops"}}},
            ]},
        }))
        .unwrap();
        let check = |namespace: &str, name: &str, team: &str| {
            let mut topic = topic(json!({"name": name}));
            topic.metadata.namespace = Some(namespace.to_owned());
            let labels = BTreeMap::from([("team".to_owned(), team.to_owned())]);
            allowed(&cluster, &topic, &labels).map_err(|problem| problem.to_string())
        };
        assert_eq!(check("streaming", "orders", ""), Ok(()));
        assert_eq!(check("shop", "shop-orders", "shop"), Ok(()));
        assert_eq!(check("ops", "orders", "ops"), Ok(()));
        assert_eq!(
            check("shop", "orders", "shop"),
            Err(
                "spec.name: the Cluster takes from namespace `shop` only topics that begin with `shop-` or `web-`, and `orders` \
                 does not. Rename it, or ask the Cluster's owner to allow it in `spec.allowedNamespaces`"
                    .to_owned()
            )
        );
        assert!(check("other", "shop-orders", "other").is_err());
    }
}
