//! What the fleet is told about a Topic: nothing where all is as it says.

use std::collections::BTreeSet;

use flotilla_control::proto::metadata::{ApplyTopic, Owner};
use flotilla_crds::{ConditionType, Reason, Topic};

use super::desired::{check_partitions, check_replicas, command};
use super::{Found, News, Observed, Settings, kafka_name};
use crate::{Problem, Standing};

/// What is known of the fleet.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The topic, if there is one of that name.
    pub found: Option<&'a Found<'a>>,
    /// Brokers that can hold replicas.
    pub brokers: usize,
    /// Whether the Topic may take over what belongs to this resource, or to nobody.
    pub may_take: &'a dyn Fn(Option<&Owner>) -> bool,
}

/// What is to be done about a Topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What the fleet is told. What is impossible is left out of it, so that the rest is done all the same.
    pub command: Option<ApplyTopic>,
    /// What users are told once the fleet has done it.
    pub news: Vec<News>,
    /// What cannot be followed.
    pub problem: Option<Problem>,
    /// The topic as it is.
    pub observed: Option<Observed>,
    /// What is known of the settings.
    pub settings: Settings,
}

impl Plan {
    /// How the Topic stands, once nothing is left to be told.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if let Some(problem) = &self.problem {
            return Standing::of(problem);
        }
        match self.observed {
            Some(observed) if observed.changing > 0 => Standing::Working(
                Reason::Rebalancing,
                format!(
                    "replicas are being copied or taken away: {} of {} partitions are done",
                    observed.partitions - observed.changing,
                    observed.partitions
                ),
            ),
            Some(observed) => Standing::Ready(format!(
                "{} of {}",
                counted(observed.partitions, "partition"),
                counted(observed.replicas, "replica")
            )),
            None => Standing::Working(Reason::Creating, "the topic is being created".to_owned()),
        }
    }

    fn impossible(problem: Problem, observed: Option<Observed>) -> Self {
        Self {
            command: None,
            news: Vec::new(),
            problem: Some(problem),
            observed,
            settings: Settings::Untold,
        }
    }
}

/// Who owns the topic that is there.
enum Holder<'a> {
    Us,
    Nobody,
    Another(&'a Owner),
}

/// One thing in which a topic is not as its Topic says. What was, and what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Difference {
    Partitions(i32, i32),
    Replicas(BTreeSet<i32>, i32),
    Setting(String, Option<String>, Option<String>),
}

/// What is to be done so that the topic becomes what the resource says.
#[must_use]
pub fn plan(topic: &Topic, known: Known<'_>) -> Plan {
    let observed = known.found.map(|found| found.observed);
    let result = match known.found {
        None => create(topic, known.brokers),
        Some(found) => change(topic, found, known),
    };
    result.unwrap_or_else(|problem| {
        let mut plan = Plan::impossible(problem, observed);
        // A topic of another is nothing that this one's status should speak of.
        if plan
            .problem
            .as_ref()
            .is_some_and(|problem| matches!(problem.reason, Reason::Conflict | Reason::NotAllowed))
        {
            plan.observed = None;
        }
        plan
    })
}

fn create(topic: &Topic, brokers: usize) -> Result<Plan, Problem> {
    let command = ApplyTopic {
        previous_configs: Vec::new(),
        ..command(topic, &[])?
    };
    check_replicas(topic, brokers)?;
    let name = kafka_name(topic);
    let news = match known_id(topic) {
        None => News::normal("Created", format!("topic `{name}` was created")),
        Some(_) => News::warning(
            "PutBack",
            format!(
                "topic `{name}` was deleted by a Kafka client; it was created again, without the records that it held"
            ),
        ),
    };
    Ok(Plan {
        command: Some(command),
        news: vec![news],
        problem: None,
        observed: None,
        settings: Settings::Told,
    })
}

fn change(topic: &Topic, found: &Found<'_>, known: Known<'_>) -> Result<Plan, Problem> {
    let managed = topic
        .status
        .as_ref()
        .map(|status| status.managed_config.as_slice());
    let mut command = command(topic, managed.unwrap_or_default())?;
    let named = |key: &String| topic.spec.config.contains_key(key);
    command.previous_configs.retain(|key| !named(key));
    let asks = command.owner.clone().unwrap_or_default();
    let holder = match found.owner {
        None => Holder::Nobody,
        Some(owner) if is_same(&asks, owner) => Holder::Us,
        Some(owner) => Holder::Another(owner),
    };
    match holder {
        Holder::Another(owner) if !(known.may_take)(Some(owner)) => return Err(belongs_to(topic, owner)),
        Holder::Nobody if !(known.may_take)(None) => return Err(not_adopted(topic, &asks)),
        Holder::Another(owner) => command.previous_owner = Some(owner.clone()),
        Holder::Us | Holder::Nobody => {}
    }
    let mut problem = None;
    if let Err(shrinks) = check_partitions(topic, found.observed.partitions) {
        command.partitions = 0;
        problem = Some(shrinks);
    }
    let as_asked = |replicas: i32| found.replicas.iter().all(|target| *target == replicas);
    if !as_asked(command.replicas)
        && let Err(too_many) = check_replicas(topic, known.brokers)
    {
        command.replicas = 0;
        problem = problem.or(Some(too_many));
    }
    // A topic that is not ours yet is not taken for what cannot be: who deletes the Topic then, to mend it, would lose a topic
    // that never was its own.
    if let (Some(problem), Holder::Nobody | Holder::Another(_)) = (&problem, &holder) {
        return Err(problem.clone());
    }
    let differences = differences(&command, found);
    let is_owner = found.owner == command.owner.as_ref();
    let news = news(topic, found, &holder, &differences);
    let settled = !differences
        .iter()
        .any(|difference| matches!(difference, Difference::Setting(..)));
    Ok(Plan {
        command: (!is_owner || !differences.is_empty()).then_some(command),
        news,
        problem,
        observed: Some(found.observed),
        settings: if settled {
            Settings::Settled
        } else {
            Settings::Told
        },
    })
}

/// A resource that was deleted and made again under its name is the same to the fleet.
pub(super) fn is_same(one: &Owner, other: &Owner) -> bool {
    (!one.uid.is_empty() && one.uid == other.uid)
        || (one.namespace == other.namespace && one.name == other.name)
}

fn belongs_to(topic: &Topic, owner: &Owner) -> Problem {
    Problem::because(
        Reason::Conflict,
        "spec.name",
        format!(
            "topic `{}` belongs to the resource `{}` in namespace `{}`. Delete one of the two, or choose another name",
            kafka_name(topic),
            owner.name,
            owner.namespace
        ),
    )
}

fn not_adopted(topic: &Topic, asks: &Owner) -> Problem {
    Problem::because(
        Reason::NotAllowed,
        "spec.name",
        format!(
            "topic `{}` exists already and belongs to no resource, and namespace `{}` may take over only what stands under its \
             prefixes. Choose another name, or ask the Cluster's owner for a prefix in `spec.allowedNamespaces`",
            kafka_name(topic),
            asks.namespace
        ),
    )
}

fn differences(command: &ApplyTopic, found: &Found<'_>) -> Vec<Difference> {
    let mut differences = Vec::new();
    let partitions = found.observed.partitions;
    if command.partitions != 0 && command.partitions != partitions {
        differences.push(Difference::Partitions(partitions, command.partitions));
    }
    if command.replicas != 0 && found.replicas.iter().any(|target| *target != command.replicas) {
        differences.push(Difference::Replicas(found.replicas.clone(), command.replicas));
    }
    for config in &command.configs {
        let is = found.configs.get(config.key.as_str()).copied();
        if is != config.value.as_deref() {
            let setting =
                Difference::Setting(config.key.clone(), is.map(str::to_owned), config.value.clone());
            differences.push(setting);
        }
    }
    for key in &command.previous_configs {
        if let Some(is) = found.configs.get(key.as_str()) {
            differences.push(Difference::Setting(key.clone(), Some((*is).to_owned()), None));
        }
    }
    differences
}

fn news(topic: &Topic, found: &Found<'_>, holder: &Holder<'_>, differences: &[Difference]) -> Vec<News> {
    let name = kafka_name(topic);
    let another_id = known_id(topic).is_some_and(|known| found.observed.id.to_string() != known);
    match holder {
        Holder::Nobody if another_id => vec![News::warning(
            "PutBack",
            format!(
                "topic `{name}` was deleted by a Kafka client and created again; it is looked after as before, without the \
                 records that it held"
            ),
        )],
        Holder::Nobody => vec![News::normal(
            "Adopted",
            format!(
                "topic `{name}` existed already and is looked after from now on; settings that this resource does not name \
                 stay as they are"
            ),
        )],
        Holder::Another(owner) => vec![News::normal(
            "TakenOver",
            format!(
                "topic `{name}` belonged to the Topic `{}` in namespace `{}`, and is looked after by this one from now on",
                owner.name, owner.namespace
            ),
        )],
        Holder::Us if differences.is_empty() => Vec::new(),
        Holder::Us if was_so(topic) => {
            let said: Vec<String> = differences.iter().map(put_back).collect();
            vec![News::warning(
                "PutBack",
                format!(
                    "topic `{name}` was changed by somebody else and put back: {}",
                    said.join("; ")
                ),
            )]
        }
        Holder::Us => changed(name, differences),
    }
}

/// What the resource asked for, done.
fn changed(name: &str, differences: &[Difference]) -> Vec<News> {
    let mut news = Vec::new();
    let mut settings = Vec::new();
    for difference in differences {
        match difference {
            Difference::Partitions(from, to) => news.push(News::normal(
                "Grown",
                format!("topic `{name}` grew from {from} to {to} partitions"),
            )),
            Difference::Replicas(from, to) => news.push(News::normal(
                "ReplicasChanging",
                format!(
                    "topic `{name}` goes from {} to {}, partition by partition",
                    numbers(from),
                    counted(*to, "replica")
                ),
            )),
            Difference::Setting(key, from, to) => {
                settings.push(format!("`{key}` from {} to {}", value(from), value(to)));
            }
        }
    }
    if !settings.is_empty() {
        news.push(News::normal(
            "SettingsChanged",
            format!("settings of topic `{name}` changed: {}", settings.join("; ")),
        ));
    }
    news
}

fn put_back(difference: &Difference) -> String {
    match difference {
        Difference::Partitions(from, to) => format!("{from} partitions, {to} again"),
        Difference::Replicas(from, to) => format!("{} replicas, {to} again", numbers(from)),
        Difference::Setting(key, from, to) => {
            format!("`{key}` was {}, is {} again", value(from), value(to))
        }
    }
}

fn value(value: &Option<String>) -> String {
    match value {
        Some(value) => format!("`{value}`"),
        None => "its default".to_owned(),
    }
}

fn numbers(numbers: &BTreeSet<i32>) -> String {
    let numbers: Vec<String> = numbers.iter().map(i32::to_string).collect();
    numbers.join(" or ")
}

fn counted(number: i32, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

fn known_id(topic: &Topic) -> Option<&str> {
    topic.status.as_ref()?.topic_id.as_deref()
}

/// Whether the topic was as this very specification says: then somebody else changed it since.
fn was_so(topic: &Topic) -> bool {
    let Some(status) = &topic.status else { return false };
    let ready = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == ConditionType::Ready.to_string());
    status.observed_generation == topic.metadata.generation
        && ready.is_some_and(|ready| {
            ready.observed_generation == topic.metadata.generation
                && (ready.status == "True" || ready.reason == Reason::Rebalancing.to_string())
        })
}

#[cfg(test)]
mod tests;
