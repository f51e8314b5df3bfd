//! What becomes of a topic whose Topic is deleted.
//!
//! The topic goes only if the Topic owns it, its Cluster still takes the Topic, and no other Topic wants it: a younger Topic of
//! the same name has been waiting, and takes it over with all its records. Where no broker answers, the deletion is noted
//! beside the Cluster. Nothing of it may keep a namespace from going.

use flotilla_control::proto::metadata::Owner;
use flotilla_crds::{DeletionPolicy, Reason, Topic};

use super::plan::is_same;
use super::{Found, News, kafka_name};
use crate::cluster::{Pending, PendingKind};
use crate::{Problem, namespace_of, owner};

/// The Cluster of a Topic that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// There is none, or it is being deleted too.
    Gone,
    /// It stays.
    Stays,
}

/// Its fleet.
#[derive(Clone, Copy, Debug)]
pub enum Reached<'a> {
    /// No broker answers, but one may in a moment.
    NotYet,
    /// No broker has answered for a while.
    No,
    /// It answers, and has this topic, or none of the name.
    Yes(Option<&'a Found<'a>>),
}

/// What is known when a Topic is deleted.
#[derive(Clone, Copy, Debug)]
pub struct Departing<'a> {
    /// Its Cluster.
    pub home: Home,
    /// Another Topic that wants the same topic, may have it, and is not being deleted.
    pub heir: Option<&'a Topic>,
    /// Whether the Cluster takes the Topic.
    pub allowed: bool,
    /// Its fleet.
    pub reached: Reached<'a>,
}

/// What is to be done so that the resource can go.
#[derive(Clone, Debug, PartialEq)]
pub enum Departure {
    /// It goes at once. What is told, if anything.
    Release(Option<News>),
    /// The fleet is told to delete the topic for this owner.
    Delete(Owner),
    /// The deletion is noted beside the Cluster, then the resource goes.
    Note(Pending, News),
    /// Nothing yet.
    Wait,
}

/// What the fleet said of a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is done, or there was nothing to delete.
    Deleted,
    /// The topic holds records, or nobody can tell; why.
    NotEmpty(String),
    /// It belongs to another by now.
    OfAnother,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The resource goes. What is told.
    Release(Option<News>),
    /// The resource stays, because of this.
    Blocked(Problem),
}

/// What is to be done about a Topic that is deleted.
#[must_use]
pub fn depart(topic: &Topic, departing: Departing<'_>) -> Departure {
    let name = kafka_name(topic);
    let kept = |why: String| {
        Departure::Release(Some(News::normal(
            "Retained",
            format!("topic `{name}` stays: {why}"),
        )))
    };
    if departing.home == Home::Gone {
        return Departure::Release(None);
    }
    if let Some(heir) = departing.heir {
        return kept(format!(
            "the Topic `{}` in namespace `{}` wants it too",
            heir.metadata.name.as_deref().unwrap_or_default(),
            namespace_of(&heir.metadata)
        ));
    }
    if topic.spec.deletion_policy == DeletionPolicy::Retain {
        return kept("`deletionPolicy` is Retain".to_owned());
    }
    let asks = owner(&topic.metadata, topic.spec.deletion_policy);
    match departing.reached {
        Reached::Yes(None) => Departure::Release(None),
        Reached::Yes(Some(found)) => {
            if !found.owner.is_some_and(|owner| is_same(&asks, owner)) {
                return Departure::Release(None);
            }
            if !departing.allowed {
                return kept(format!(
                    "its Cluster takes no such topic from namespace `{}` any more",
                    asks.namespace
                ));
            }
            Departure::Delete(asks)
        }
        Reached::No | Reached::NotYet if !departing.allowed => Departure::Release(None),
        Reached::NotYet => Departure::Wait,
        Reached::No => Departure::Note(
            Pending::of(PendingKind::Topic, name, &asks),
            News::warning(
                "DeletionRecorded",
                format!(
                    "no broker answers: that topic `{name}` is to be deleted is noted beside its Cluster and done once they \
                     are back"
                ),
            ),
        ),
    }
}

/// What comes of what the fleet said. In a namespace that is going nothing may wait for somebody to empty a topic: it stays,
/// and the resource goes.
#[must_use]
pub fn outcome(topic: &Topic, said: &Said, namespace_is_going: bool) -> Outcome {
    let name = kafka_name(topic);
    match said {
        Said::Deleted => Outcome::Release(Some(News::normal(
            "Deleted",
            format!("topic `{name}` was deleted"),
        ))),
        Said::OfAnother => Outcome::Release(None),
        Said::NotEmpty(why) if namespace_is_going => Outcome::Release(Some(News::warning(
            "Retained",
            format!("the namespace is being deleted, and {why}"),
        ))),
        Said::NotEmpty(why) => Outcome::Blocked(Problem::because(
            Reason::BlockedByData,
            "spec.deletionPolicy",
            format!("{why}. Empty it, wait for its retention, or set `deletionPolicy` to Delete or Retain"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{held, owner, topic};
    use super::*;

    const SETTLED: Departing<'static> = Departing {
        home: Home::Stays,
        heir: None,
        allowed: true,
        reached: Reached::Yes(None),
    };

    fn words(departure: Departure) -> String {
        match departure {
            Departure::Release(None) => "release".to_owned(),
            Departure::Release(Some(news)) => format!("release, {}: {}", news.reason, news.message),
            Departure::Delete(owner) => {
                format!("delete for {} {}", owner.name, owner.deletion_policy)
            }
            Departure::Note(pending, news) => format!("note {}, {}", pending.key(), news.reason),
            Departure::Wait => "wait".to_owned(),
        }
    }

    #[test]
    fn a_topic_goes_only_with_the_resource_that_owns_it_and_only_if_nobody_else_wants_it() {
        let of = |owner: Option<Owner>| held(owner, &[1], &[]);
        let (ours, nobodys) = (of(Some(owner("page-views", "1"))), of(None));
        let (same_name, anothers) = (of(Some(owner("page-views", "0"))), of(Some(owner("other", "9"))));
        let (ours, nobodys) = (Found::of(&ours), Found::of(&nobodys));
        let (same_name, anothers) = (Found::of(&same_name), Found::of(&anothers));
        let mut heir = topic(json!({}));
        heir.metadata.name = Some("heir".to_owned());
        let mut stays_for_heir = "release, Retained: topic `page_views` stays: ".to_owned();
        stays_for_heir.push_str("the Topic `heir` in namespace `shop` wants it too");
        let retained = "release, Retained: topic `page_views` stays: `deletionPolicy` is Retain";
        let not_taken = "release, Retained: topic `page_views` stays: its Cluster takes no such topic from namespace `shop` any more";
        let (delete, if_empty, retain) = ("Delete", "DeleteIfEmpty", "Retain");
        let yes = |found| Departing {
            reached: Reached::Yes(Some(found)),
            ..SETTLED
        };
        let with = |reached| Departing { reached, ..SETTLED };
        #[rustfmt::skip]
        let cases: Vec<(&str, Departing<'_>, &str)> = vec![
            (delete, yes(&ours), "delete for page-views Delete"),
            (if_empty, yes(&ours), "delete for page-views DeleteIfEmpty"),
            (delete, yes(&same_name), "delete for page-views Delete"),
            (retain, yes(&ours), retained),
            (delete, yes(&nobodys), "release"),
            (delete, yes(&anothers), "release"),
            (delete, SETTLED, "release"),
            (delete, with(Reached::NotYet), "wait"),
            (delete, with(Reached::No), "note topic.1, DeletionRecorded"),
            (if_empty, with(Reached::No), "note topic.1, DeletionRecorded"),
            (retain, with(Reached::No), retained),
            (delete, Departing { home: Home::Gone, ..with(Reached::No) }, "release"),
            (retain, Departing { home: Home::Gone, ..yes(&ours) }, "release"),
            (delete, Departing { heir: Some(&heir), ..yes(&ours) }, &stays_for_heir),
            (delete, Departing { heir: Some(&heir), ..with(Reached::No) }, &stays_for_heir),
            (delete, Departing { allowed: false, ..yes(&ours) }, not_taken),
            (delete, Departing { allowed: false, ..yes(&nobodys) }, "release"),
            (delete, Departing { allowed: false, ..with(Reached::NotYet) }, "release"),
        ];
        for (policy, departing, expected) in cases {
            let topic = topic(json!({"deletionPolicy": policy}));
            assert_eq!(
                words(depart(&topic, departing)),
                expected,
                "{policy} {departing:?}"
            );
        }
    }

    #[test]
    fn a_topic_with_data_blocks_its_resource_but_no_namespace() {
        let topic = topic(json!({"deletionPolicy": "DeleteIfEmpty"}));
        let full = Said::NotEmpty("topic `page_views` is kept: it holds 5 records".to_owned());
        let Outcome::Blocked(problem) = outcome(&topic, &full, false) else {
            panic!("not blocked");
        };
        assert_eq!(
            (problem.reason, problem.to_string()),
            (
                Reason::BlockedByData,
                "spec.deletionPolicy: topic `page_views` is kept: it holds 5 records. Empty it, wait for its retention, or set \
                 `deletionPolicy` to Delete or Retain"
                    .to_owned()
            )
        );
        assert_eq!(
            outcome(&topic, &full, true),
            Outcome::Release(Some(News::warning(
                "Retained",
                "the namespace is being deleted, and topic `page_views` is kept: it holds 5 records"
            )))
        );
        assert_eq!(outcome(&topic, &Said::OfAnother, false), Outcome::Release(None));
        assert_eq!(
            outcome(&topic, &Said::Deleted, true),
            Outcome::Release(Some(News::normal("Deleted", "topic `page_views` was deleted")))
        );
    }
}
