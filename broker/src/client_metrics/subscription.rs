//! What administrators want to know of which clients.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::settings::{self, ClientMetricsConfig, Scope};
use flotilla_protocol::Uuid;

use super::client::Client;
use crate::pattern::Pattern;

/// The name of all metrics.
pub(super) const ALL_METRICS: &str = "*";
/// How often a client comes back whom no subscription means, and the longest that any waits, in milliseconds.
pub(super) const INTERVAL_MS_DEFAULT: i64 = 5 * 60 * 1000;

/// A subscription, ready to be held against clients.
#[derive(Clone, Debug)]
pub struct Subscription {
    metrics: Vec<String>,
    interval_ms: i64,
    selectors: Vec<(&'static str, Pattern)>,
}

/// What the subscriptions that mean a client ask of it together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selected {
    /// What the names begin with; [`ALL_METRICS`] stands alone.
    pub metrics: BTreeSet<String>,
    pub interval_ms: i64,
}

/// Whether the expressions of `match` are regular ones that this broker can match with.
///
/// # Errors
/// The refusal of the setting, which says what is wrong.
pub fn check_match(set: &BTreeMap<String, String>) -> Result<(), settings::Error> {
    let Some((name, value)) = set.get_key_value("match") else {
        return Ok(());
    };
    for (selector, expression) in ClientMetricsConfig::resolve(set).selectors {
        Pattern::compile(&expression).map_err(|error| match settings::get(Scope::ClientMetrics, name) {
            Ok(setting) => setting.refusal(value, format!("the expression of {selector} is wrong: {error}")),
            Err(unknown) => unknown,
        })?;
    }
    Ok(())
}

impl Subscription {
    /// From what is set. A selector whose expression cannot be matched selects nobody: expressions are checked where they are set.
    #[must_use]
    pub fn new(set: &BTreeMap<String, String>) -> Option<Self> {
        let config = ClientMetricsConfig::resolve(set);
        let selectors = config.selectors.into_iter().map(|(selector, expression)| {
            let pattern = Pattern::compile(&expression).ok()?;
            Some((selector, pattern))
        });
        Some(Self {
            metrics: config.metrics,
            interval_ms: i64::from(config.interval_ms),
            selectors: selectors.collect::<Option<_>>()?,
        })
    }

    /// Whether all its selectors match; without any it means everybody. Of a selector that is named twice the last one counts, as in Kafka.
    fn means(&self, client: &Client) -> bool {
        let last: BTreeMap<&str, &Pattern> = self
            .selectors
            .iter()
            .map(|(selector, pattern)| (*selector, pattern))
            .collect();
        last.into_iter().all(|(selector, pattern)| {
            client
                .value(selector)
                .is_some_and(|value| pattern.matches(&value))
        })
    }
}

/// What is asked of a client.
pub(super) fn select(subscriptions: &[Subscription], client: &Client) -> Selected {
    let mut selected = Selected {
        metrics: BTreeSet::new(),
        interval_ms: INTERVAL_MS_DEFAULT,
    };
    for subscription in subscriptions.iter().filter(|of| of.means(client)) {
        selected.metrics.extend(subscription.metrics.iter().cloned());
        selected.interval_ms = selected.interval_ms.min(subscription.interval_ms);
    }
    if selected.metrics.contains(ALL_METRICS) {
        selected.metrics = BTreeSet::from([ALL_METRICS.to_owned()]);
    }
    selected
}

impl Selected {
    /// Tells one set of metrics and interval from another, for one instance: the CRC-32C of both, and the instance's id folded over it (KIP-714).
    pub(super) fn id(&self, instance: Uuid) -> i32 {
        let names: Vec<_> = self.metrics.iter().map(String::as_str).collect();
        let text = format!("[{}]{}", names.join(", "), self.interval_ms);
        let (words, _) = instance.0.as_chunks::<4>();
        let folded = words
            .iter()
            .fold(0, |folded, word| folded ^ u32::from_be_bytes(*word));
        (crc32c::crc32c(text.as_bytes()) ^ folded).cast_signed()
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A subscription of which that is set.
    pub(crate) fn subscription(set: &[(&str, &str)]) -> Subscription {
        let set = set
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Subscription::new(&set.collect()).expect("it can be matched with")
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::testing::client;
    use super::testing::subscription;
    use super::*;

    fn selected(subscriptions: &[Subscription], client: &Client) -> (Vec<String>, i64) {
        let selected = select(subscriptions, client);
        (selected.metrics.into_iter().collect(), selected.interval_ms)
    }

    #[test]
    fn client_is_asked_for_what_all_subscriptions_want_that_mean_it() {
        let all = [
            subscription(&[
                ("metrics", "b.,a."),
                ("interval.ms", "5000"),
                ("match", "client_id=client-1"),
            ]),
            subscription(&[
                ("metrics", "a."),
                ("match", "client_source_address=10\\..*,client_source_port=4.*"),
            ]),
            subscription(&[
                ("metrics", "*"),
                ("interval.ms", "200"),
                ("match", "client_id=client"),
            ]),
        ];
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(selected(&all, &client(1)), (names(&["a.", "b."]), 5_000));
        assert_eq!(selected(&all, &client(2)), (names(&["a."]), 300_000));
        let elsewhere = Client {
            source_address: "11.0.0.7".into(),
            ..client(2)
        };
        assert_eq!(selected(&all, &elsewhere), (names(&[]), 300_000));
        let everybody = subscription(&[("metrics", "*,x."), ("interval.ms", "3600000")]);
        assert_eq!(
            selected(&[everybody, all[0].clone()], &client(1)),
            (names(&["*"]), 5_000)
        );
    }

    #[test]
    fn every_selector_looks_at_what_it_names() {
        let client = client(1);
        let id = client.instance_id.to_string();
        for (selector, value) in [
            ("client_id", "client-1"),
            ("client_instance_id", id.as_str()),
            ("client_software_name", "apache-kafka-java"),
            ("client_software_version", r"4\.3\..*"),
            ("client_source_address", r"10\.0\.0\.7"),
            ("client_source_port", "40000"),
        ] {
            let means = |expression: &str| {
                subscription(&[("match", &format!("{selector}={expression}"))]).means(&client)
            };
            assert!(means(value), "{selector}");
            assert!(!means("other"), "{selector}");
        }
        let nameless = Client {
            client_id: None,
            source_port: None,
            ..client
        };
        for selector in ["client_id", "client_source_port"] {
            assert!(!subscription(&[("match", &format!("{selector}=.*"))]).means(&nameless));
        }
    }

    #[test]
    fn id_is_another_for_other_metrics_another_interval_and_another_instance() {
        let one = select(&[subscription(&[("metrics", "a.")])], &client(1));
        let id = one.id(Uuid([1; 16]));
        // 0x01010101 four times cancels itself out: what is left is the CRC of `[a.]300000`.
        assert_eq!(id, crc32c::crc32c(b"[a.]300000").cast_signed());
        let more = select(&[subscription(&[("metrics", "a.,b.")])], &client(1));
        let sooner = select(
            &[subscription(&[("metrics", "a."), ("interval.ms", "100")])],
            &client(1),
        );
        let mut other = [1; 16];
        other[15] = 2;
        let ids = [
            id,
            more.id(Uuid([1; 16])),
            sooner.id(Uuid([1; 16])),
            one.id(Uuid(other)),
        ];
        assert_eq!(BTreeSet::from(ids).len(), 4);
    }

    #[test]
    fn expressions_that_are_none_are_refused_in_words() {
        let check = |value: &str| check_match(&BTreeMap::from([("match".to_owned(), value.to_owned())]));
        assert_eq!(check("client_id=a.*"), Ok(()));
        assert_eq!(
            check("client_id=a,client_source_port=(")
                .expect_err("unclosed")
                .to_string(),
            "`match` cannot be `client_id=a,client_source_port=(`: the expression of client_source_port is wrong: unclosed group"
        );
    }
}
