//! The typed table of settings: what Kafka 4.3 calls them, what they may hold, and what holds when nobody says. Operator,
//! command line and broker read the same table, so that a setting refused by one is refused by all, with the same words.
//!
//! [`lookup`] finds the description of a setting; [`TopicConfig`] and [`BrokerSettings`] are the typed values that the
//! code works with, resolved from what was set where.

mod broker;
mod broker_table;
mod check;
mod client_metrics;
mod client_metrics_table;
pub mod document;
mod group_table;
mod nearest;
mod no_effect;
mod password;
mod replica_selector;
mod topic;
mod topic_table;
mod value;

use std::fmt;

pub use broker::BrokerSettings;
pub use check::{
    check_broker, check_client_metrics, check_group, check_topic, check_topic_change, duration_ms,
};
pub use client_metrics::ClientMetricsConfig;
pub use no_effect::NoEffect;
pub use password::Password;
pub use replica_selector::ReplicaSelector;
pub use topic::{CleanupPolicy, Compression, FlushPolicy, ThrottledReplicas, TimestampType, TopicConfig};
pub use value::IfSet;

/// The type of a setting's value, as Kafka's ConfigDef names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A whole number of 16 bits.
    Short,
    /// A number.
    Double,
    /// A text.
    String,
    /// Texts separated by commas.
    List,
    /// The name of a Java class.
    Class,
    /// A text that is never shown again.
    Password,
}

/// What a setting belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A broker, or all brokers of the cluster.
    Broker,
    /// A topic.
    Topic,
    /// A consumer, share or streams group.
    Group,
    /// A subscription to metrics of clients (KIP-714).
    ClientMetrics,
}

/// How a setting takes effect (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Read from the configuration file when the broker starts. Kafka: read-only.
    Restart,
    /// Changed while brokers run, for all of them or for one.
    ClusterWide,
    /// Changed while a broker runs, for each broker by itself.
    PerBroker,
}

/// Which values of its kind a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    /// All of the kind.
    Any,
    /// Whole numbers from this one.
    AtLeast(i64),
    /// Whole numbers between the two, both included.
    Between(i64, i64),
    /// Numbers between the two, both included.
    Fraction(f64, f64),
    /// -1, or 1 to 9: gzip's levels.
    GzipLevel,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// One of these, in whatever case.
    AnyCaseOf(&'static [&'static str]),
    /// A list of these, each at most once.
    EachOf(&'static [&'static str]),
    /// `*`, or partition:broker pairs: `0:101,1:102`.
    ThrottledReplicas,
    /// `earliest`, `latest` or `by_duration:` with an ISO 8601 duration (KIP-1106).
    OffsetReset,
    /// A list of selector=expression, which says what clients are meant (KIP-714).
    ClientMatch,
}

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Kafka's name for it, or ours where Kafka has none.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// What holds when it is set nowhere. `None`: nothing; another setting or the broker's own state decides.
    pub default: Option<&'static str>,
    /// What it belongs to.
    pub scope: Scope,
    /// How it takes effect.
    pub update: Update,
    /// Which values it takes.
    pub allowed: Allowed,
    /// The broker settings that hold where this one is not set, in order, with the factor that turns their unit into this
    /// one's (hours to milliseconds: 3,600,000).
    pub fallbacks: &'static [Fallback],
    /// The part of the Cluster resource that decides it instead: it cannot be set by name.
    pub managed_by: Option<&'static str>,
    /// Why it has no effect here: then no other value than the default is taken. `None`: it is honoured, or managed.
    pub no_effect: Option<NoEffect>,
}

/// A broker setting that stands in for an unset setting of a topic or group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The broker setting's name.
    pub name: &'static str,
    /// Its value times this is the value of the setting that it stands in for. 1 also for what is no number.
    pub factor: i64,
}

/// Why a setting is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Kafka has no such setting in this scope.
    #[error("unknown {scope} setting `{name}`{}", nearest.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    Unknown {
        /// What was looked for in.
        scope: Scope,
        /// The name as it was given.
        name: String,
        /// The known name that is most like it.
        nearest: Option<&'static str>,
    },
    /// The value is not one that the setting takes.
    #[error("`{name}` cannot be `{value}`: {expected}")]
    Value {
        /// The setting.
        name: &'static str,
        /// The value as it was given; `[hidden]` for a password.
        value: String,
        /// What it takes.
        expected: String,
    },
    /// The setting has no effect here, and the value is not the default.
    #[error("`{name}` cannot be `{value}`: {reason}. Leave it out{}", default.map(|d| format!(", or at Kafka's default `{d}`")).unwrap_or_default())]
    NoEffect {
        /// The setting.
        name: &'static str,
        /// The value as it was given; `[hidden]` for a password.
        value: String,
        /// What is the case here, and what to use instead.
        reason: &'static str,
        /// What is taken, if there is a default.
        default: Option<&'static str>,
    },
    /// A part of the Cluster resource decides it.
    #[error("`{name}` cannot be set by name: {by} decides it")]
    Managed {
        /// The setting.
        name: &'static str,
        /// The part of the resource.
        by: &'static str,
    },
    /// Two settings contradict each other.
    #[error("{0}")]
    Contradiction(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broker => "broker",
            Self::Topic => "topic",
            Self::Group => "group",
            Self::ClientMetrics => "client metrics",
        })
    }
}

impl Setting {
    const fn new(
        scope: Scope,
        name: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        allowed: Allowed,
        update: Update,
    ) -> Self {
        Self {
            name,
            kind,
            default,
            scope,
            update,
            allowed,
            fallbacks: &[],
            managed_by: None,
            no_effect: None,
        }
    }

    const fn managed_by(mut self, part: &'static str) -> Self {
        self.managed_by = Some(part);
        self
    }

    const fn without_effect(self, reason: &'static str) -> Self {
        self.without_effect_but(&[], reason)
    }

    const fn without_effect_but(mut self, also: &'static [&'static str], reason: &'static str) -> Self {
        self.no_effect = Some(NoEffect { reason, also });
        self
    }

    const fn falls_back_on(mut self, fallbacks: &'static [Fallback]) -> Self {
        self.fallbacks = fallbacks;
        self
    }

    /// Whether the value must never be shown.
    #[must_use]
    pub fn sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// What the setting does here; empty for one that has no effect, that a part of the Cluster decides, or that does nothing
    /// but stand in for others ([`Setting::stands_in_for`]).
    #[must_use]
    pub fn doc(&self) -> &'static str {
        let docs = match self.scope {
            Scope::Broker => broker::DOCS,
            Scope::Topic => topic::DOCS,
            Scope::Group => group_table::DOCS,
            Scope::ClientMetrics => client_metrics_table::DOCS,
        };
        docs.iter()
            .chain(
                broker::READ_BY_NAME
                    .iter()
                    .filter(|_| self.scope == Scope::Broker),
            )
            .find(|(name, _)| *name == self.name)
            .map_or("", |(_, doc)| doc.trim())
    }

    /// The settings of topics and groups that this setting of brokers stands in for where they are not set.
    pub fn stands_in_for(&self) -> impl Iterator<Item = &'static Setting> {
        let name = (self.scope == Scope::Broker).then_some(self.name);
        let dependent = topic_settings().iter().chain(group_settings());
        dependent.filter(move |setting| {
            setting
                .fallbacks
                .iter()
                .any(|fallback| Some(fallback.name) == name)
        })
    }

    /// The value that holds where the setting itself is not set: the first of its fallbacks that the broker has set (as
    /// `broker` answers by name), turned into this setting's unit, else the default. A broker's own setting has none.
    #[must_use]
    pub fn inherited(&self, broker: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        self.fallbacks
            .iter()
            .find_map(|fallback| {
                let value = broker(fallback.name)?;
                fallback.convert(&value)
            })
            .or_else(|| self.default.map(str::to_owned))
    }
}

impl Fallback {
    /// The fallback's value in the unit of the setting that it stands in for. Negative values mean "without limit" in every
    /// unit and stay -1. `None` for what is not a number where one is needed.
    #[must_use]
    pub fn convert(&self, value: &str) -> Option<String> {
        if self.factor == 1 {
            return Some(value.to_owned());
        }
        let number: i64 = value.trim().parse().ok()?;
        let converted = if number < 0 {
            -1
        } else {
            number.saturating_mul(self.factor)
        };
        Some(converted.to_string())
    }
}

/// The setting of this name in the scope. Names are unique within a scope, not across them (`min.insync.replicas`).
#[must_use]
pub fn find(scope: Scope, name: &str) -> Option<&'static Setting> {
    let table = settings(scope);
    table
        .binary_search_by(|setting| setting.name.cmp(name))
        .ok()
        .map(|place| &table[place])
}

/// As [`find`], and the refusal that names the most similar setting where there is none.
///
/// # Errors
/// [`Error::Unknown`].
pub fn get(scope: Scope, name: &str) -> Result<&'static Setting, Error> {
    find(scope, name).ok_or_else(|| Error::Unknown {
        scope,
        name: name.to_owned(),
        nearest: nearest::nearest(name, settings(scope).iter().map(|setting| setting.name)),
    })
}

/// The first setting of this name: of a broker, else of a topic, of a group, of a subscription to client metrics.
#[must_use]
pub fn lookup(name: &str) -> Option<&'static Setting> {
    [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics]
        .into_iter()
        .find_map(|scope| find(scope, name))
}

/// All settings of the scope, by name.
#[must_use]
pub fn settings(scope: Scope) -> &'static [Setting] {
    match scope {
        Scope::Broker => broker_table::SETTINGS,
        Scope::Topic => topic_table::SETTINGS,
        Scope::Group => group_table::SETTINGS,
        Scope::ClientMetrics => client_metrics_table::SETTINGS,
    }
}

/// All settings of a topic, by name.
#[must_use]
pub fn topic_settings() -> &'static [Setting] {
    settings(Scope::Topic)
}

/// All settings of a broker, by name.
#[must_use]
pub fn broker_settings() -> &'static [Setting] {
    settings(Scope::Broker)
}

/// All settings of a group, by name.
#[must_use]
pub fn group_settings() -> &'static [Setting] {
    settings(Scope::Group)
}

/// All settings of a subscription to client metrics, by name.
#[must_use]
pub fn client_metrics_settings() -> &'static [Setting] {
    settings(Scope::ClientMetrics)
}

#[cfg(test)]
mod tests;
