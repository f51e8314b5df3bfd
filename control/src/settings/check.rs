//! Whether a value may be set: the refusals of the admin calls, of the operator and of the command line.

use std::collections::{BTreeMap, BTreeSet};

use super::client_metrics_table::{SELECTORS, selector};
use super::value::{Value, items};
use super::{Allowed, Error, Kind, NoEffect, Scope, Setting, find, get};

impl Setting {
    /// Whether the setting takes this value. One without effect takes its default, which changes nothing, and no other.
    ///
    /// # Errors
    /// [`Error::Value`], which names the setting, the value, and what it takes; [`Error::NoEffect`] with the reason.
    pub fn check(&self, value: &str) -> Result<(), Error> {
        let name = self.name;
        if !self.takes(value) {
            let (value, expected) = (self.shown(value), self.expected());
            return Err(Error::Value {
                name,
                value,
                expected,
            });
        }
        match &self.no_effect {
            Some(without) if !self.says_what_is(value, without) => Err(Error::NoEffect {
                name,
                value: self.shown(value),
                reason: without.reason,
                default: self.default.filter(|default| !default.is_empty()),
            }),
            _ => Ok(()),
        }
    }

    /// The value as a message may quote it.
    fn shown(&self, value: &str) -> String {
        if self.sensitive() {
            "[hidden]".to_owned()
        } else {
            shortened(value)
        }
    }

    /// Whether a value of a setting without effect is the default, or another that says what is the case anyway.
    fn says_what_is(&self, value: &str, without: &NoEffect) -> bool {
        let default = self.default.unwrap_or_default();
        self.is_same(value, default) || without.also.iter().any(|also| self.is_same(value, also))
    }

    /// Whether two values mean the same: numbers and flags however they are written, lists in whatever order.
    fn is_same(&self, value: &str, other: &str) -> bool {
        fn read_alike<T: Value + PartialEq>(value: &str, other: &str) -> bool {
            T::read(value).is_some_and(|value| T::read(other) == Some(value))
        }
        let sorted = |list: &str| items(list).map(str::to_owned).collect::<BTreeSet<_>>();
        match self.kind {
            Kind::Bool => read_alike::<bool>(value, other),
            Kind::Short | Kind::Int | Kind::Long => read_alike::<i64>(value, other),
            Kind::Double => read_alike::<f64>(value, other),
            Kind::List => sorted(value) == sorted(other),
            Kind::String | Kind::Class | Kind::Password => value.trim() == other,
        }
    }

    /// The refusal of a value, with what is expected instead, or what is wrong with it.
    #[must_use]
    pub fn refusal(&self, value: &str, expected: String) -> Error {
        Error::Value {
            name: self.name,
            value: self.shown(value),
            expected,
        }
    }

    fn takes(&self, value: &str) -> bool {
        let of_kind = match self.kind {
            Kind::Bool => bool::read(value).is_some(),
            Kind::Short => i16::read(value).is_some(),
            Kind::Int => i32::read(value).is_some(),
            Kind::Long => i64::read(value).is_some(),
            Kind::Double => f64::read(value).is_some_and(|number| !number.is_nan()),
            Kind::String | Kind::List | Kind::Class | Kind::Password => true,
        };
        of_kind
            && match self.allowed {
                Allowed::Any => true,
                Allowed::AtLeast(least) => i64::read(value).is_some_and(|n| n >= least),
                Allowed::Between(least, most) => {
                    i64::read(value).is_some_and(|n| (least..=most).contains(&n))
                }
                Allowed::Fraction(least, most) => {
                    f64::read(value).is_some_and(|n| (least..=most).contains(&n))
                }
                Allowed::GzipLevel => i64::read(value).is_some_and(|n| n == -1 || (1..=9).contains(&n)),
                Allowed::OneOf(words) => words.contains(&value),
                Allowed::AnyCaseOf(words) => words.iter().any(|word| word.eq_ignore_ascii_case(value)),
                Allowed::EachOf(words) => {
                    let mut seen: Vec<&str> = Vec::new();
                    items(value).all(|item| {
                        let fresh = !seen.contains(&item);
                        seen.push(item);
                        fresh && words.contains(&item)
                    })
                }
                Allowed::ThrottledReplicas => value.trim() == "*" || items(value).all(is_replica),
                Allowed::OffsetReset => {
                    matches!(value, "earliest" | "latest")
                        || value.strip_prefix("by_duration:").and_then(duration_ms).is_some()
                }
                Allowed::ClientMatch => items(value).all(|item| selector(item).is_some()),
            }
    }

    /// What the setting takes, in words.
    #[must_use]
    pub fn expected(&self) -> String {
        let words = |words: &[&str]| words.join(", ");
        match self.allowed {
            Allowed::Any => match self.kind {
                Kind::Bool => "true or false is expected".to_owned(),
                Kind::Short => "a whole number of 16 bits is expected".to_owned(),
                Kind::Int => "a whole number of 32 bits is expected".to_owned(),
                Kind::Long => "a whole number of 64 bits is expected".to_owned(),
                Kind::Double => "a number is expected".to_owned(),
                Kind::List => "a list separated by commas is expected".to_owned(),
                Kind::String | Kind::Class | Kind::Password => "a text is expected".to_owned(),
            },
            Allowed::AtLeast(least) => match self.kind {
                Kind::Int => format!("a whole number from {least} to {} is expected", i32::MAX),
                Kind::Short => format!("a whole number from {least} to {} is expected", i16::MAX),
                _ => format!("a whole number of at least {least} is expected"),
            },
            Allowed::Between(least, most) => format!("a whole number from {least} to {most} is expected"),
            Allowed::Fraction(least, most) => format!("a number from {least} to {most} is expected"),
            Allowed::GzipLevel => "-1 or a whole number from 1 to 9 is expected".to_owned(),
            Allowed::OneOf(of) | Allowed::AnyCaseOf(of) => format!("one of {} is expected", words(of)),
            Allowed::EachOf(of) => format!("a list of {}, each at most once, is expected", words(of)),
            Allowed::ThrottledReplicas => "`*` or a list of partition:broker is expected, such as 0:1,1:2".to_owned(),
            Allowed::OffsetReset => {
                "earliest, latest or by_duration: with an ISO 8601 duration is expected, such as by_duration:PT1H".to_owned()
            }
            Allowed::ClientMatch => format!("a list of selector=expression is expected; selectors are {}", words(&SELECTORS)),
        }
    }
}

/// Whether these may be a topic's settings.
///
/// # Errors
/// The first setting that is unknown or whose value is refused, else the first contradiction among them.
pub fn check_topic(config: &BTreeMap<String, String>) -> Result<(), Error> {
    for (name, value) in config {
        get(Scope::Topic, name)?.check(value)?;
    }
    let number = |name: &str| config.get(name).and_then(|value| i64::read(value));
    if let (Some(least), Some(most)) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"))
        && least > most
    {
        return Err(Error::Contradiction(format!(
            "`min.compaction.lag.ms` ({least}) cannot be more than `max.compaction.lag.ms` ({most})"
        )));
    }
    Ok(())
}

/// Whether a topic's settings may become these. What it has already and has no effect may stay: the version before may have taken
/// it.
///
/// # Errors
/// Those of [`check_topic`].
pub fn check_topic_change(
    now: &BTreeMap<String, String>,
    next: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let stays_without_effect = |name: &str, value: &String| {
        now.get(name) == Some(value)
            && find(Scope::Topic, name).is_some_and(|setting| setting.no_effect.is_some())
    };
    let checked = next
        .iter()
        .filter(|(name, value)| !stays_without_effect(name, value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    check_topic(&checked)
}

/// Whether these may be the settings of a broker or of all brokers.
///
/// # Errors
/// The first setting that is unknown, decided by a part of the Cluster resource, or whose value is refused.
pub fn check_broker(config: &BTreeMap<String, String>) -> Result<(), Error> {
    for (name, value) in config {
        let setting = get(Scope::Broker, name)?;
        if let Some(by) = setting.managed_by {
            return Err(Error::Managed {
                name: setting.name,
                by,
            });
        }
        setting.check(value)?;
    }
    check_cleaner(config)
}

/// What one thread of compaction needs for keys at least, as in Kafka.
const DEDUPE_BYTES_MIN: i64 = 1024 * 1024;

/// Holds what compaction may take against what it needs.
fn check_cleaner(config: &BTreeMap<String, String>) -> Result<(), Error> {
    const BYTES: &str = "log.cleaner.dedupe.buffer.size";
    const THREADS: &str = "log.cleaner.threads";
    let number = |name: &'static str| {
        let default = find(Scope::Broker, name).and_then(|setting| setting.default);
        config
            .get(name)
            .map(String::as_str)
            .or(default)
            .and_then(i64::read)
    };
    if !config.contains_key(BYTES) && !config.contains_key(THREADS) {
        return Ok(());
    }
    if let (Some(bytes), Some(threads)) = (number(BYTES), number(THREADS))
        && bytes / threads.max(1) < DEDUPE_BYTES_MIN
    {
        return Err(Error::Contradiction(format!(
            "`{BYTES}` ({bytes}) is less than {DEDUPE_BYTES_MIN} for each of `{THREADS}` ({threads})"
        )));
    }
    Ok(())
}

/// Whether these may be a group's settings.
///
/// # Errors
/// The first setting that is unknown or whose value is refused, else the first contradiction among them.
pub fn check_group(config: &BTreeMap<String, String>) -> Result<(), Error> {
    for (name, value) in config {
        get(Scope::Group, name)?.check(value)?;
    }
    let number = |name: &str| config.get(name).and_then(|value| i64::read(value));
    for kind in ["consumer", "share", "streams"] {
        let session = format!("{kind}.session.timeout.ms");
        let heartbeat = format!("{kind}.heartbeat.interval.ms");
        if let (Some(session_ms), Some(heartbeat_ms)) = (number(&session), number(&heartbeat))
            && session_ms <= heartbeat_ms
        {
            return Err(Error::Contradiction(format!(
                "`{session}` ({session_ms}) must be more than `{heartbeat}` ({heartbeat_ms})"
            )));
        }
    }
    Ok(())
}

/// Whether these may be the settings of a subscription to client metrics. Whether an expression of `match` is a regular one is for the
/// broker to say, which matches with it.
///
/// # Errors
/// The first setting that is unknown or whose value is refused.
pub fn check_client_metrics(config: &BTreeMap<String, String>) -> Result<(), Error> {
    config
        .iter()
        .try_for_each(|(name, value)| get(Scope::ClientMetrics, name)?.check(value))
}

fn is_replica(item: &str) -> bool {
    item.split_once(':')
        .is_some_and(|(partition, broker)| partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok())
}

/// How long a duration is, in milliseconds: PnDTnHnMn.nS, as java.time.Duration reads it, not negative. None: it is none, or
/// too long.
#[must_use]
pub fn duration_ms(text: &str) -> Option<i64> {
    let text = text.to_ascii_uppercase();
    let rest = text.strip_prefix('P')?;
    let (days, time) = rest
        .split_once('T')
        .map_or((rest, None), |(days, time)| (days, Some(time)));
    if (days.is_empty() && time.is_none()) || time.is_some_and(str::is_empty) {
        return None;
    }
    let whole = |number: &str, each_ms: i64| number.parse::<u32>().ok().map(|n| i64::from(n) * each_ms);
    let mut ms = match days {
        "" => 0,
        _ => whole(days.strip_suffix('D')?, 86_400_000)?,
    };
    let mut time = time.unwrap_or("");
    for (unit, each_ms) in [('H', 3_600_000), ('M', 60_000)] {
        if let Some((number, after)) = time.split_once(unit) {
            ms += whole(number, each_ms)?;
            time = after;
        }
    }
    if !time.is_empty() {
        let seconds = time.strip_suffix('S')?;
        let is_plain = seconds.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let seconds = seconds.parse::<f64>().ok().filter(|_| is_plain)?;
        ms += (seconds * 1000.0) as i64;
    }
    Some(ms)
}

/// Values come from anywhere: a message quotes no more than 64 characters of one.
fn shortened(value: &str) -> String {
    if value.chars().count() <= 64 {
        return value.to_owned();
    }
    value.chars().take(64).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_java_reads_them() {
        for (text, ms) in [
            ("PT1H", 3_600_000),
            ("P1DT2M", 86_520_000),
            ("PT0.5S", 500),
            ("p2d", 172_800_000),
        ] {
            assert_eq!(duration_ms(text), Some(ms), "{text}");
        }
        for bad in ["", "P", "PT", "P1", "1D", "PT-1S", "PTeS", "PT1HX"] {
            assert_eq!(duration_ms(bad), None, "{bad}");
        }
    }
}
