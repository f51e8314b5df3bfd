use std::fmt;

use flotilla_crds::{ConditionType, Reason, Topic};

use super::kafka_name;
use crate::Standing;
use crate::condition::cut;

/// Something that users are told once, as an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Whether somebody should look at it.
    pub warning: bool,
    /// One word for what happened.
    pub reason: String,
    /// What happened, in a sentence.
    pub message: String,
}

impl News {
    pub(super) fn normal(reason: impl fmt::Display, message: impl Into<String>) -> Self {
        Self {
            warning: false,
            reason: reason.to_string(),
            message: message.into(),
        }
    }

    pub(super) fn warning(reason: impl fmt::Display, message: impl Into<String>) -> Self {
        Self {
            warning: true,
            ..Self::normal(reason, message)
        }
    }
}

/// What is worth an event when a Topic comes to stand so. What its status says already is not said again.
#[must_use]
pub fn turn(topic: &Topic, standing: &Standing) -> Option<News> {
    let conditions = topic.status.as_ref().map(|status| status.conditions.as_slice());
    let ready = conditions
        .unwrap_or_default()
        .iter()
        .find(|condition| condition.type_ == ConditionType::Ready.to_string());
    let was = |reason: Reason| ready.is_some_and(|ready| ready.reason == reason.to_string());
    match standing {
        Standing::Ready(message) if was(Reason::Rebalancing) => Some(News::normal(
            "ReplicasChanged",
            format!("topic `{}` has {message}", kafka_name(topic)),
        )),
        Standing::Stuck(reason, message)
        | Standing::Working(reason @ (Reason::ClusterNotFound | Reason::NotEnoughBrokers), message) => {
            let said = was(*reason) && ready.is_some_and(|ready| ready.message == cut(message));
            (!said).then(|| News::warning(reason, message))
        }
        Standing::Ready(_) | Standing::Working(..) | Standing::Unknown(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::followed;
    use super::*;

    fn standing(reason: &str, message: &str) -> Topic {
        let mut topic = followed(json!({}), &[]);
        let ready = &mut topic.status.as_mut().unwrap().conditions[0];
        (ready.reason, ready.message) = (reason.to_owned(), message.to_owned());
        topic
    }

    #[test]
    fn a_problem_is_told_once_and_again_when_it_is_another() {
        let stuck = |message: &str| Standing::Stuck(Reason::InvalidSpec, message.to_owned());
        let told = Some(News::warning("InvalidSpec", "six"));
        assert_eq!(turn(&standing("Available", ""), &stuck("six")), told);
        assert_eq!(turn(&standing("InvalidSpec", "five"), &stuck("six")), told);
        assert_eq!(turn(&standing("InvalidSpec", "six"), &stuck("six")), None);
        let long = "x".repeat(2_000);
        assert_eq!(turn(&standing("InvalidSpec", &cut(&long)), &stuck(&long)), None);
    }

    #[test]
    fn a_change_of_replicas_is_told_when_it_is_done() {
        let ready = Standing::Ready("2 partitions of 3 replicas".to_owned());
        assert_eq!(
            turn(&standing("Rebalancing", ""), &ready),
            Some(News::normal(
                "ReplicasChanged",
                "topic `page_views` has 2 partitions of 3 replicas"
            ))
        );
        assert_eq!(turn(&standing("Creating", ""), &ready), None);
    }

    #[test]
    fn silence_of_a_fleet_is_not_told_for_each_topic() {
        let silent = Standing::Unknown(Reason::Unreachable, "no broker answers".to_owned());
        assert_eq!(turn(&standing("Available", ""), &silent), None);
    }
}
