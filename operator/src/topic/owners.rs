use std::collections::BTreeMap;

use flotilla_crds::{Reason, Topic};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::kafka_name;
use crate::{Problem, namespace_of};

/// A Topic, and the problem that keeps it from being followed, if it lost its name to an older one.
pub type Claim<'a> = (&'a Topic, Option<Problem>);

/// Settles which of several Topics owns a name of a Cluster: the older one; without ages, the one that comes first. The answer
/// has the order of the input.
#[must_use]
pub fn settle<'a>(topics: &[&'a Topic]) -> Vec<Claim<'a>> {
    let mut owners: BTreeMap<(String, &str, &str), &Topic> = BTreeMap::new();
    let mut by_age: Vec<&'a Topic> = topics.to_vec();
    by_age.sort_by_key(|topic| age(topic));
    for topic in by_age {
        owners.entry(claim(topic)).or_insert(topic);
    }
    topics
        .iter()
        .map(|topic| {
            let owner = owners[&claim(topic)];
            let lost = !std::ptr::eq(owner, *topic);
            (*topic, lost.then(|| conflict(topic, owner)))
        })
        .collect()
}

/// Which of several Topics owns the name that all of them want: the older one, and of two from the same second the one whose uid
/// comes first.
#[must_use]
pub fn eldest<'a>(claimants: impl IntoIterator<Item = &'a Topic>) -> Option<&'a Topic> {
    claimants.into_iter().min_by_key(|topic| age(topic))
}

fn age(topic: &Topic) -> (Option<Time>, Option<String>) {
    (
        topic.metadata.creation_timestamp.clone(),
        topic.metadata.uid.clone(),
    )
}

fn claim(topic: &Topic) -> (String, &str, &str) {
    let namespace = topic
        .spec
        .cluster
        .namespace
        .as_deref()
        .unwrap_or_else(|| namespace_of(&topic.metadata));
    (namespace.to_owned(), &topic.spec.cluster.name, kafka_name(topic))
}

/// What the Topic that lost its name to another is told.
#[must_use]
pub fn conflict(topic: &Topic, owner: &Topic) -> Problem {
    let name = owner.metadata.name.as_deref().unwrap_or_default();
    Problem::because(
        Reason::Conflict,
        "spec.name",
        format!(
            "topic `{}` belongs to the Topic `{name}` in namespace `{}`, which is older. Delete one of the two, or choose another name",
            kafka_name(topic),
            namespace_of(&owner.metadata),
        ),
    )
}

#[cfg(test)]
mod tests {
    use flotilla_crds::{ClusterRef, TopicSpec};

    use super::*;

    fn topic(name: &str, kafka: Option<&str>, age: Option<&str>) -> Topic {
        let mut topic = Topic::new(
            name,
            TopicSpec {
                name: kafka.map(str::to_owned),
                cluster: ClusterRef {
                    name: "events".into(),
                    namespace: None,
                },
                partitions: None,
                replicas: None,
                config: BTreeMap::new(),
                deletion_policy: flotilla_crds::DeletionPolicy::Delete,
            },
        );
        topic.metadata.creation_timestamp =
            age.map(|age| serde_json::from_str::<Time>(&format!("\"{age}\"")).expect("a time"));
        topic
    }

    #[test]
    fn older_topic_owns_the_name_and_the_other_says_so() {
        let young = topic("orders", None, Some("2026-02-01T00:00:00Z"));
        let old = topic("old-orders", Some("orders"), Some("2026-01-01T00:00:00Z"));
        let claims = settle(&[&young, &old]);
        let problem = claims[0].1.as_ref().expect("the younger one lost");
        assert_eq!(problem.reason, Reason::Conflict);
        assert!(problem.message.contains("`old-orders`"), "{problem}");
        assert_eq!(claims[1].1, None);
    }

    #[test]
    fn of_two_from_the_same_second_the_first_uid_owns_the_name() {
        let of = |uid: &str| {
            let mut topic = topic(uid, Some("orders"), Some("2026-01-01T00:00:00Z"));
            topic.metadata.uid = Some(uid.to_owned());
            topic
        };
        let (a, b) = (of("a"), of("b"));
        assert_eq!(eldest([&b, &a]), Some(&a));
        assert_eq!(eldest([]), None);
        assert!(settle(&[&b, &a])[0].1.is_some());
    }

    #[test]
    fn without_ages_the_first_owns_the_name() {
        let (first, second) = (topic("a", Some("orders"), None), topic("b", Some("orders"), None));
        let lost: Vec<bool> = settle(&[&first, &second])
            .into_iter()
            .map(|(_, problem)| problem.is_some())
            .collect();
        assert_eq!(lost, [false, true]);
    }
}
