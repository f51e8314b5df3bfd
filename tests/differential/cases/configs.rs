//! Settings: DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources.

use flotilla_protocol::messages::describe_configs_request::DescribeConfigsResource;
use flotilla_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    alter_configs_request, incremental_alter_configs_request,
};
use flotilla_protocol::{ErrorCode, Str};

use crate::case::{Case, case};

/// Kinds of resources, as these APIs count.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const MADE_UP: i8 = 77;
/// What is done with one setting.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub fn cases() -> Vec<Case> {
    [describe(), alter(), alter_incrementally(), list()]
        .into_iter()
        .flatten()
        .collect()
}

fn of(resource_type: i8, resource_name: Str, keys: Option<&[&'static str]>) -> DescribeConfigsRequest {
    DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type,
            resource_name,
            configuration_keys: keys.map(|keys| keys.iter().map(|key| Str::from(*key)).collect()),
        }],
        ..Default::default()
    }
}

fn describe() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a setting of a topic", E::None, |at| {
            let topic = at.topic_with(1, &[("retention.ms", "3600000")])?;
            Ok(of(TOPIC, topic.name, Some(&["retention.ms"])))
        }),
        case("a setting with where it comes from", E::None, |at| {
            let topic = at.topic_with(1, &[("retention.ms", "3600000")])?;
            Ok(DescribeConfigsRequest {
                include_synonyms: true,
                ..of(TOPIC, topic.name, Some(&["retention.ms", "segment.bytes"]))
            })
        }),
        case("a setting with what is said about it", E::None, |at| {
            let topic = at.topic()?;
            Ok(DescribeConfigsRequest {
                include_documentation: true,
                ..of(TOPIC, topic.name, Some(&["cleanup.policy"]))
            })
        })
        .versions(3..=i16::MAX),
        case("all settings of a topic", E::None, |at| {
            let topic = at.topic()?;
            Ok(of(TOPIC, topic.name, None))
        }),
        case("a setting that there is not", E::None, |at| {
            let topic = at.topic()?;
            Ok(of(TOPIC, topic.name, Some(&["made.up"])))
        }),
        case("a setting of the broker", E::None, |_| {
            Ok(of(
                BROKER,
                "0".into(),
                Some(&["num.io.threads", "log.retention.ms"]),
            ))
        }),
        case("a setting of all brokers", E::None, |_| {
            Ok(of(BROKER, "".into(), Some(&["log.retention.ms"])))
        }),
        case("a setting of a group", E::None, |at| {
            Ok(of(GROUP, at.name(), Some(&["consumer.session.timeout.ms"])))
        }),
        case("client metrics", E::None, |at| {
            Ok(DescribeConfigsRequest {
                include_synonyms: true,
                ..of(CLIENT_METRICS, at.name(), None)
            })
        }),
        case("client metrics without a name", E::InvalidRequest, |_| {
            Ok(of(CLIENT_METRICS, "".into(), None))
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            Ok(of(TOPIC, at.name(), None))
        }),
        case("an invalid name", E::InvalidTopicException, |_| {
            Ok(of(TOPIC, "not a name!".into(), None))
        }),
        case("another broker", E::InvalidRequest, |_| {
            Ok(of(BROKER, "77".into(), None))
        }),
        case("a broker that is no number", E::InvalidRequest, |_| {
            Ok(of(BROKER, "zero".into(), None))
        }),
        case("a kind that there is not", E::InvalidRequest, |at| {
            Ok(of(MADE_UP, at.name(), None))
        }),
        case("by nobody", E::TopicAuthorizationFailed, |at| {
            let topic = at.topic()?;
            Ok(of(TOPIC, topic.name, None))
        })
        .by_nobody(),
        case("the broker, by nobody", E::ClusterAuthorizationFailed, |_| {
            Ok(of(BROKER, "0".into(), None))
        })
        .by_nobody(),
    ]
}

fn replaced(
    resource_type: i8,
    resource_name: Str,
    name: &'static str,
    value: Option<&'static str>,
) -> AlterConfigsRequest {
    AlterConfigsRequest {
        resources: vec![alter_configs_request::AlterConfigsResource {
            resource_type,
            resource_name,
            configs: vec![alter_configs_request::AlterableConfig {
                name: name.into(),
                value: value.map(Str::from),
            }],
        }],
        validate_only: false,
    }
}

fn alter() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("a topic", E::None, |at| {
            let topic = at.topic()?;
            Ok(replaced(TOPIC, topic.name, "retention.ms", Some("5000")))
        }),
        case("only checked", E::None, |at| {
            let topic = at.topic()?;
            Ok(AlterConfigsRequest {
                validate_only: true,
                ..replaced(TOPIC, topic.name, "retention.ms", Some("5000"))
            })
        }),
        case("a group", E::None, |at| {
            Ok(replaced(
                GROUP,
                at.name(),
                "consumer.session.timeout.ms",
                Some("50000"),
            ))
        }),
        case("a setting that there is not", E::InvalidConfig, |at| {
            let topic = at.topic()?;
            Ok(replaced(TOPIC, topic.name, "made.up", Some("5000")))
        }),
        case("a value that is none", E::InvalidConfig, |at| {
            let topic = at.topic()?;
            Ok(replaced(TOPIC, topic.name, "retention.ms", Some("many")))
        }),
        case("no value", E::InvalidRequest, |at| {
            let topic = at.topic()?;
            Ok(replaced(TOPIC, topic.name, "retention.ms", None))
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            Ok(replaced(TOPIC, at.name(), "retention.ms", Some("5000")))
        }),
        case("an invalid name", E::InvalidTopicException, |_| {
            Ok(replaced(
                TOPIC,
                "not a name!".into(),
                "retention.ms",
                Some("5000"),
            ))
        }),
        case("another broker", E::InvalidRequest, |_| {
            Ok(replaced(BROKER, "77".into(), "log.retention.ms", Some("5000")))
        }),
        case("a kind that there is not", E::InvalidRequest, |at| {
            Ok(replaced(MADE_UP, at.name(), "retention.ms", Some("5000")))
        }),
        case("by nobody", E::TopicAuthorizationFailed, |at| {
            let topic = at.topic()?;
            Ok(replaced(TOPIC, topic.name, "retention.ms", Some("5000")))
        })
        .by_nobody(),
        case("the broker, by nobody", E::ClusterAuthorizationFailed, |_| {
            Ok(replaced(BROKER, "0".into(), "log.retention.ms", Some("5000")))
        })
        .by_nobody(),
        case("a group, by nobody", E::GroupAuthorizationFailed, |at| {
            Ok(replaced(
                GROUP,
                at.name(),
                "consumer.session.timeout.ms",
                Some("50000"),
            ))
        })
        .by_nobody(),
    ]
}

fn changed(
    resource_type: i8,
    resource_name: Str,
    config_operation: i8,
    name: &'static str,
    value: Option<&'static str>,
) -> IncrementalAlterConfigsRequest {
    IncrementalAlterConfigsRequest {
        resources: vec![incremental_alter_configs_request::AlterConfigsResource {
            resource_type,
            resource_name,
            configs: vec![incremental_alter_configs_request::AlterableConfig {
                name: name.into(),
                config_operation,
                value: value.map(Str::from),
            }],
        }],
        validate_only: false,
    }
}

fn alter_incrementally() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("set", E::None, |at| {
            let topic = at.topic()?;
            Ok(changed(TOPIC, topic.name, SET, "retention.ms", Some("5000")))
        }),
        case("deleted", E::None, |at| {
            let topic = at.topic_with(1, &[("retention.ms", "5000")])?;
            Ok(changed(TOPIC, topic.name, DELETE, "retention.ms", None))
        }),
        case("deleted where it was not set", E::None, |at| {
            let topic = at.topic()?;
            Ok(changed(TOPIC, topic.name, DELETE, "retention.ms", None))
        }),
        case("added to a list", E::None, |at| {
            let topic = at.topic()?;
            Ok(changed(
                TOPIC,
                topic.name,
                APPEND,
                "cleanup.policy",
                Some("compact"),
            ))
        }),
        case("taken from a list", E::None, |at| {
            let topic = at.topic_with(1, &[("cleanup.policy", "compact,delete")])?;
            Ok(changed(
                TOPIC,
                topic.name,
                SUBTRACT,
                "cleanup.policy",
                Some("delete"),
            ))
        }),
        case("a setting of all brokers", E::None, |_| {
            Ok(changed(
                BROKER,
                "".into(),
                SET,
                "log.cleaner.backoff.ms",
                Some("15000"),
            ))
        }),
        case("a group", E::None, |at| {
            let setting = "consumer.heartbeat.interval.ms";
            Ok(changed(GROUP, at.name(), SET, setting, Some("6000")))
        }),
        case("client metrics, only checked", E::None, |at| {
            Ok(IncrementalAlterConfigsRequest {
                validate_only: true,
                ..changed(CLIENT_METRICS, at.name(), SET, "match", Some("client_id=a.*"))
            })
        }),
        case("client metrics without a name", E::InvalidRequest, |_| {
            Ok(changed(CLIENT_METRICS, "".into(), SET, "metrics", Some("*")))
        }),
        case("client metrics too often", E::InvalidRequest, |at| {
            Ok(changed(CLIENT_METRICS, at.name(), SET, "interval.ms", Some("99")))
        }),
        case("client metrics in no time at all", E::InvalidConfig, |at| {
            Ok(changed(
                CLIENT_METRICS,
                at.name(),
                SET,
                "interval.ms",
                Some("soon"),
            ))
        }),
        case(
            "a setting of client metrics that there is not",
            E::InvalidRequest,
            |at| Ok(changed(CLIENT_METRICS, at.name(), SET, "made.up", Some("5000"))),
        ),
        case("client metrics of whom there is not", E::InvalidConfig, |at| {
            Ok(changed(CLIENT_METRICS, at.name(), SET, "match", Some("user=a")))
        }),
        case(
            "client metrics of an expression that is none",
            E::InvalidConfig,
            |at| {
                Ok(changed(
                    CLIENT_METRICS,
                    at.name(),
                    SET,
                    "match",
                    Some("client_id=("),
                ))
            },
        ),
        case("added to what is no list", E::InvalidConfig, |at| {
            let topic = at.topic()?;
            Ok(changed(TOPIC, topic.name, APPEND, "retention.ms", Some("5000")))
        }),
        case("an operation that there is not", E::UnknownServerError, |at| {
            let topic = at.topic()?;
            Ok(changed(TOPIC, topic.name, MADE_UP, "retention.ms", Some("5000")))
        }),
        case("a setting that there is not", E::InvalidConfig, |at| {
            let topic = at.topic()?;
            Ok(changed(TOPIC, topic.name, SET, "made.up", Some("5000")))
        }),
        case("a value that is none", E::InvalidConfig, |at| {
            let topic = at.topic()?;
            Ok(changed(TOPIC, topic.name, SET, "retention.ms", Some("many")))
        }),
        case("no value", E::InvalidRequest, |at| {
            let topic = at.topic()?;
            Ok(changed(TOPIC, topic.name, SET, "retention.ms", None))
        }),
        case("a setting of the broker that stays", E::InvalidRequest, |_| {
            Ok(changed(BROKER, "0".into(), SET, "node.id", Some("5")))
        }),
        case("the same setting twice", E::InvalidRequest, |at| {
            let topic = at.topic()?;
            let mut request = changed(TOPIC, topic.name, SET, "retention.ms", Some("5000"));
            let again = request.resources[0].configs[0].clone();
            request.resources[0].configs.push(again);
            Ok(request)
        }),
        case("an unknown topic", E::UnknownTopicOrPartition, |at| {
            Ok(changed(TOPIC, at.name(), SET, "retention.ms", Some("5000")))
        }),
        case("an invalid name", E::InvalidTopicException, |_| {
            Ok(changed(
                TOPIC,
                "not a name!".into(),
                SET,
                "retention.ms",
                Some("5000"),
            ))
        }),
        case("another broker", E::InvalidRequest, |_| {
            Ok(changed(
                BROKER,
                "77".into(),
                SET,
                "log.retention.ms",
                Some("5000"),
            ))
        }),
        case("a kind that there is not", E::InvalidRequest, |at| {
            Ok(changed(MADE_UP, at.name(), SET, "retention.ms", Some("5000")))
        }),
        case("by nobody", E::TopicAuthorizationFailed, |at| {
            let topic = at.topic()?;
            Ok(changed(TOPIC, topic.name, SET, "retention.ms", Some("5000")))
        })
        .by_nobody(),
        case("the broker, by nobody", E::ClusterAuthorizationFailed, |_| {
            Ok(changed(BROKER, "0".into(), SET, "log.retention.ms", Some("5000")))
        })
        .by_nobody(),
        case("client metrics, by nobody", E::ClusterAuthorizationFailed, |at| {
            Ok(changed(CLIENT_METRICS, at.name(), SET, "metrics", Some("*")))
        })
        .by_nobody(),
        case("a group, by nobody", E::GroupAuthorizationFailed, |at| {
            let setting = "consumer.heartbeat.interval.ms";
            Ok(changed(GROUP, at.name(), SET, setting, Some("6000")))
        })
        .by_nobody(),
    ]
}

fn list() -> Vec<Case> {
    use ErrorCode as E;
    let of = |resource_types| ListConfigResourcesRequest { resource_types };
    vec![
        case("client metrics", E::None, move |_| Ok(of(Vec::new()))).versions(0..=0),
        case("of all kinds", E::None, move |at| {
            at.topic()?;
            Ok(of(Vec::new()))
        })
        .versions(1..=i16::MAX)
        .own("config_resources"),
        case("topics", E::None, move |at| {
            at.topic()?;
            Ok(of(vec![TOPIC]))
        })
        .versions(1..=i16::MAX)
        .own("config_resources"),
        case("brokers and client metrics", E::None, move |_| {
            Ok(of(vec![BROKER, CLIENT_METRICS]))
        })
        .versions(1..=i16::MAX),
        case("of a kind that there is not", E::UnsupportedVersion, move |_| {
            Ok(of(vec![MADE_UP]))
        })
        .versions(1..=i16::MAX),
        case("by nobody", E::ClusterAuthorizationFailed, move |_| {
            Ok(of(Vec::new()))
        })
        .by_nobody(),
    ]
}
