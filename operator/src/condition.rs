use flotilla_crds::{ConditionType, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::Problem;

/// Longer messages are cut: they would crowd out what else `kubectl describe` shows.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// How a resource stands, in the terms of kstatus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is as it was asked for.
    Ready(String),
    /// Work is under way, or is tried again by itself.
    Working(Reason, String),
    /// Nothing moves until somebody acts.
    Stuck(Reason, String),
    /// Nobody can tell, because the fleet does not answer.
    Unknown(Reason, String),
}

impl Standing {
    /// What a problem means: some go away by themselves, when a Cluster appears or brokers come back; others wait for the user.
    #[must_use]
    pub fn of(problem: &Problem) -> Self {
        let message = problem.to_string();
        match problem.reason {
            Reason::InvalidSpec
            | Reason::NotAllowed
            | Reason::Conflict
            | Reason::StorageFull
            | Reason::ImageUnavailable
            | Reason::BlockedByData => Self::Stuck(problem.reason, message),
            Reason::Unreachable | Reason::QuorumLost => Self::Unknown(problem.reason, message),
            reason => Self::Working(reason, message),
        }
    }

    fn ready(&self) -> (&'static str, Reason, &str) {
        match self {
            Self::Ready(message) => ("True", Reason::Available, message),
            Self::Working(reason, message) | Self::Stuck(reason, message) => ("False", *reason, message),
            Self::Unknown(reason, message) => ("Unknown", *reason, message),
        }
    }

    /// The condition that says why it is not ready.
    fn why(&self) -> Option<ConditionType> {
        match self {
            Self::Ready(_) => None,
            Self::Working(..) | Self::Unknown(..) => Some(ConditionType::Reconciling),
            Self::Stuck(..) => Some(ConditionType::Stalled),
        }
    }
}

/// The conditions of a resource: `Ready` always, `Reconciling` or `Stalled` while they hold. The time of a condition changes with its
/// status alone, so that a status which says the same is the same.
#[must_use]
pub fn conditions(
    previous: &[Condition],
    generation: Option<i64>,
    now: &Time,
    standing: &Standing,
) -> Vec<Condition> {
    let (status, reason, message) = standing.ready();
    let make = |type_: ConditionType, status: &str| Condition {
        type_: type_.to_string(),
        status: status.to_owned(),
        reason: reason.to_string(),
        message: cut(message),
        observed_generation: generation,
        last_transition_time: since(previous, type_, status).unwrap_or(now).clone(),
    };
    let mut conditions = vec![make(ConditionType::Ready, status)];
    conditions.extend(standing.why().map(|type_| make(type_, "True")));
    conditions
}

/// The conditions of a resource that is paused: what was known before it was, which may be nothing, and that it is paused.
#[must_use]
pub fn paused(previous: &[Condition], generation: Option<i64>, now: &Time) -> Vec<Condition> {
    let (ready, paused) = (ConditionType::Ready, ConditionType::Paused);
    let mut conditions: Vec<Condition> = previous
        .iter()
        .filter(|condition| condition.type_ != paused.to_string())
        .cloned()
        .collect();
    let make = |type_: ConditionType, status: &str, reason: &str, message: &str| Condition {
        type_: type_.to_string(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: since(previous, type_, status).unwrap_or(now).clone(),
    };
    if !conditions
        .iter()
        .any(|condition| condition.type_ == ready.to_string())
    {
        let message = "nothing has been made yet, and `spec.paused` is set";
        conditions.insert(0, make(ready, "Unknown", &Reason::Creating.to_string(), message));
    }
    let message = "everything is left as it is until `spec.paused` is taken away";
    conditions.push(make(paused, "True", &Reason::Paused.to_string(), message));
    conditions
}

/// Since when a condition has this status.
fn since<'a>(previous: &'a [Condition], type_: ConditionType, status: &str) -> Option<&'a Time> {
    previous
        .iter()
        .find(|condition| condition.type_ == type_.to_string() && condition.status == status)
        .map(|condition| &condition.last_transition_time)
}

pub(crate) fn cut(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(text: &str) -> Time {
        serde_json::from_value(json!(text)).unwrap()
    }

    fn json_of(conditions: &[Condition]) -> Value {
        serde_json::to_value(conditions).unwrap()
    }

    const ONE: &str = "2026-01-01T00:00:01Z";
    const TWO: &str = "2026-01-01T00:00:02Z";
    const THREE: &str = "2026-01-01T00:00:03Z";

    #[test]
    fn ready_is_always_there_and_the_others_while_they_hold() {
        let working = Standing::Working(Reason::Rolling, "broker 1 is next".into());
        let first = conditions(&[], Some(3), &at(ONE), &working);
        let condition = |type_: &str, status: &str, time: &str| {
            json!({
                "type": type_, "status": status, "reason": "Rolling", "message": "broker 1 is next",
                "observedGeneration": 3, "lastTransitionTime": time,
            })
        };
        assert_eq!(
            json_of(&first),
            json!([
                condition("Ready", "False", ONE),
                condition("Reconciling", "True", ONE)
            ])
        );
        // The same again: the same.
        assert_eq!(conditions(&first, Some(3), &at(TWO), &working), first);
        let stuck = Standing::Stuck(Reason::Rolling, "broker 1 is next".into());
        assert_eq!(
            json_of(&conditions(&first, Some(3), &at(TWO), &stuck)),
            json!([
                condition("Ready", "False", ONE),
                condition("Stalled", "True", TWO)
            ])
        );
        let ready = conditions(
            &first,
            Some(4),
            &at(THREE),
            &Standing::Ready("3 brokers serve".into()),
        );
        assert_eq!(
            json_of(&ready),
            json!([{
                "type": "Ready", "status": "True", "reason": "Available", "message": "3 brokers serve",
                "observedGeneration": 4, "lastTransitionTime": THREE,
            }])
        );
    }

    #[test]
    fn problems_that_wait_for_the_user_stall_and_the_others_do_not() {
        let standing = |reason| Standing::of(&Problem::because(reason, "spec.x", "is wrong"));
        assert!(matches!(standing(Reason::InvalidSpec), Standing::Stuck(..)));
        assert!(matches!(
            standing(Reason::ClusterNotFound),
            Standing::Working(Reason::ClusterNotFound, message) if message == "spec.x: is wrong"
        ));
        assert!(matches!(standing(Reason::QuorumLost), Standing::Unknown(..)));
        let unknown = conditions(&[], None, &at(ONE), &standing(Reason::Unreachable));
        assert_eq!(
            (unknown[0].status.as_str(), unknown[1].type_.as_str()),
            ("Unknown", "Reconciling")
        );
    }

    #[test]
    fn paused_stands_beside_what_was_known() {
        let before = conditions(&[], Some(1), &at(ONE), &Standing::Ready("fine".into()));
        let now = paused(&before, Some(2), &at(TWO));
        assert_eq!(now[0], before[0]);
        assert_eq!(
            json_of(&now)[1],
            json!({
                "type": "Paused", "status": "True", "reason": "Paused", "observedGeneration": 2, "lastTransitionTime": TWO,
                "message": "everything is left as it is until `spec.paused` is taken away",
            })
        );
        assert_eq!(paused(&now, Some(2), &at(THREE)), now);
        let never = paused(&[], Some(1), &at(ONE));
        assert_eq!(
            (never[0].type_.as_str(), never[0].status.as_str()),
            ("Ready", "Unknown")
        );
        let resumed = conditions(&now, Some(2), &at(THREE), &Standing::Ready("fine".into()));
        assert_eq!(resumed.len(), 1);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let long = "ä".repeat(2_000);
        let made = conditions(&[], None, &at(ONE), &Standing::Ready(long));
        assert_eq!(made[0].message.chars().count(), MESSAGE_CHARS_MAX + 1);
    }
}
