use std::collections::BTreeMap;

use super::*;

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

#[test]
fn tables_are_sorted_so_that_a_search_finds_every_setting() {
    for scope in [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics] {
        for setting in settings(scope) {
            assert_eq!(find(scope, setting.name), Some(setting), "{}", setting.name);
        }
    }
    assert_eq!(topic_settings().len(), 34);
}

#[test]
fn every_default_is_a_value_that_its_setting_takes() {
    for scope in [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics] {
        for setting in settings(scope) {
            if let Some(default) = setting.default {
                assert_eq!(setting.check(default), Ok(()), "{}", setting.name);
            }
        }
    }
}

#[test]
fn every_fallback_is_a_broker_setting_with_the_same_default_or_none() {
    for setting in topic_settings().iter().chain(group_settings()) {
        for fallback in setting.fallbacks {
            let broker = find(Scope::Broker, fallback.name).expect(fallback.name);
            if let Some(default) = broker.default {
                assert_eq!(
                    fallback.convert(default),
                    setting.default.map(str::to_owned),
                    "{} <- {}",
                    setting.name,
                    fallback.name
                );
            }
        }
    }
}

#[test]
fn every_field_reads_the_default_of_its_setting() {
    let topic = TopicConfig::default();
    assert_eq!(topic.retention_ms, 604_800_000);
    assert_eq!(topic.flush_policy, FlushPolicy::Sync);
    assert_eq!(
        topic.cleanup_policy,
        CleanupPolicy {
            delete: true,
            compact: false
        }
    );
    let broker = BrokerSettings::default();
    assert_eq!(broker.broker_heartbeat_interval_ms, 250);
    assert_eq!(broker.broker_session_timeout_ms, 1000);
    assert_eq!(broker.offsets_topic_replication_factor, 3);
}

#[test]
fn retention_comes_from_the_topic_then_from_ms_then_minutes_then_hours() {
    let broker = map(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")]);
    let resolve = |topic: &BTreeMap<String, String>, broker: &BTreeMap<String, String>| {
        TopicConfig::resolve(topic, &|name| broker.get(name).cloned()).retention_ms
    };
    assert_eq!(resolve(&map(&[("retention.ms", "5")]), &broker), 5);
    assert_eq!(resolve(&map(&[]), &broker), 180_000);
    assert_eq!(
        resolve(&map(&[]), &map(&[("log.retention.hours", "2")])),
        7_200_000
    );
    assert_eq!(resolve(&map(&[]), &map(&[("log.retention.hours", "-1")])), -1);
    assert_eq!(
        resolve(
            &map(&[]),
            &map(&[("log.retention.ms", "7"), ("log.retention.hours", "2")])
        ),
        7
    );
}

#[test]
fn a_value_that_slipped_through_unchecked_counts_as_not_set() {
    let config = TopicConfig::resolve(&map(&[("retention.ms", "soon"), ("segment.bytes", "0")]), &|_| {
        Some("nonsense".to_owned())
    });
    assert_eq!(config, TopicConfig::default());
}

#[test]
fn an_unknown_setting_is_refused_with_the_nearest_known_one() {
    for (name, nearest) in [
        ("retention.mss", "; did you mean `retention.ms`?"),
        ("retention_ms", "; did you mean `retention.ms`?"),
        ("minInsyncReplicas", "; did you mean `min.insync.replicas`?"),
        ("zookeeper", ""),
    ] {
        let error = check_topic(&map(&[(name, "1")])).expect_err("unknown");
        assert_eq!(
            error.to_string(),
            format!("unknown topic setting `{name}`{nearest}")
        );
    }
}

#[test]
fn a_wrong_value_is_refused_with_what_is_allowed() {
    for (name, value, message) in [
        (
            "retention.ms",
            "-2",
            "`retention.ms` cannot be `-2`: a whole number of at least -1 is expected",
        ),
        (
            "min.insync.replicas",
            "two",
            "`min.insync.replicas` cannot be `two`: a whole number from 1 to 2147483647 is expected",
        ),
        (
            "cleanup.policy",
            "delete,delete",
            "`cleanup.policy` cannot be `delete,delete`: a list of compact, delete, each at most once, is expected",
        ),
        (
            "compression.type",
            "GZIP",
            "`compression.type` cannot be `GZIP`: one of uncompressed, zstd, lz4, snappy, gzip, producer is expected",
        ),
        (
            "preallocate",
            "yes",
            "`preallocate` cannot be `yes`: true or false is expected",
        ),
        (
            "min.cleanable.dirty.ratio",
            "NaN",
            "`min.cleanable.dirty.ratio` cannot be `NaN`: a number from 0 to 1 is expected",
        ),
        (
            "leader.replication.throttled.replicas",
            "1",
            "`leader.replication.throttled.replicas` cannot be `1`: `*` or a list of partition:broker is expected, such as \
             0:1,1:2",
        ),
    ] {
        let error = check_topic(&map(&[(name, value)])).expect_err("refused");
        assert_eq!(error.to_string(), message);
    }
    let error = check_topic(&map(&[
        ("min.compaction.lag.ms", "9"),
        ("max.compaction.lag.ms", "8"),
    ]))
    .expect_err("lag");
    assert_eq!(
        error.to_string(),
        "`min.compaction.lag.ms` (9) cannot be more than `max.compaction.lag.ms` (8)"
    );
}

#[test]
fn what_a_part_of_the_cluster_decides_cannot_be_set_by_name() {
    let error = check_broker(&map(&[("log.dirs", "/data")])).expect_err("managed");
    assert_eq!(
        error.to_string(),
        "`log.dirs` cannot be set by name: the pool's volumes decides it"
    );
}

#[test]
fn compaction_needs_memory_for_each_of_its_threads() {
    let sized = |bytes: &str, threads: &str| {
        check_broker(&map(&[
            ("log.cleaner.dedupe.buffer.size", bytes),
            ("log.cleaner.threads", threads),
        ]))
    };
    assert_eq!(sized("4194304", "4"), Ok(()));
    assert_eq!(sized("1048576", "0"), Ok(()));
    let error = sized("4194303", "4").expect_err("too little");
    assert_eq!(
        error.to_string(),
        "`log.cleaner.dedupe.buffer.size` (4194303) is less than 1048576 for each of `log.cleaner.threads` (4)"
    );
    let error = check_broker(&map(&[("log.cleaner.threads", "200")])).expect_err("of the default's 128 MiB");
    assert!(matches!(error, Error::Contradiction(_)), "{error}");
}

#[test]
fn what_has_no_effect_takes_kafkas_default_and_nothing_else() {
    for (name, default, other, message) in [
        (
            "transaction.two.phase.commit.enable",
            "False",
            "true",
            "`transaction.two.phase.commit.enable` cannot be `true`: there is no two-phase commit of transactions (KIP-939). Leave it \
             out, or at Kafka's default `false`",
        ),
        (
            "num.io.threads",
            " 8",
            "16",
            "`num.io.threads` cannot be `16`: listeners, requests and upkeep share one thread for each processor: there are no pools \
             to size. Leave it out, or at Kafka's default `8`",
        ),
        (
            "security.providers",
            "",
            "org.example.Provider",
            "`security.providers` cannot be `org.example.Provider`: TLS is not Java's here: it has no providers, factories and \
             managers to choose from. Leave it out",
        ),
        (
            "sasl.jaas.config",
            "",
            "a secret",
            "`sasl.jaas.config` cannot be `[hidden]`: users and their passwords are those of User resources or of kafka-configs.sh \
             (SCRAM), and stand in no setting. Leave it out",
        ),
        (
            "metric.reporters",
            "org.apache.kafka.common.metrics.JmxReporter",
            "",
            "`metric.reporters` cannot be ``: there are no reporters and no samples: Prometheus reads the metrics of a broker from its \
             admin port, see docs/metrics.md. Leave it out, or at Kafka's default `org.apache.kafka.common.metrics.JmxReporter`",
        ),
    ] {
        assert_eq!(check_broker(&map(&[(name, default)])), Ok(()), "{name}");
        let refused = check_broker(&map(&[(name, other)])).expect_err(name);
        assert_eq!(refused.to_string(), message);
    }
    let tiered = |value| check_topic(&map(&[("remote.storage.enable", value)]));
    assert_eq!(tiered("false"), Ok(()));
    assert_eq!(
        tiered("true").expect_err("tiered").to_string(),
        "`remote.storage.enable` cannot be `true`: there is no tiered storage (KIP-405): all records lie on the volumes of the \
         brokers. Leave it out, or at Kafka's default `false`"
    );
}

#[test]
fn what_a_topic_has_from_an_earlier_version_stays_until_it_is_set_anew() {
    let now = map(&[("compression.lz4.level", "1"), ("retention.ms", "5")]);
    let change = |next: &[(&str, &str)]| check_topic_change(&now, &map(next));
    assert_eq!(
        change(&[("compression.lz4.level", "1"), ("retention.ms", "6")]),
        Ok(())
    );
    assert_eq!(change(&[("retention.ms", "5")]), Ok(()));
    assert!(matches!(
        change(&[("compression.lz4.level", "2"), ("retention.ms", "5")]),
        Err(Error::NoEffect { .. })
    ));
    assert!(matches!(
        change(&[("retention.ms", "soon")]),
        Err(Error::Value { .. })
    ));
}

#[test]
fn what_says_what_is_the_case_is_taken_beside_the_default() {
    let protocols = |value| check_broker(&map(&[("group.coordinator.rebalance.protocols", value)]));
    assert_eq!(protocols("classic,consumer,streams"), Ok(()));
    assert_eq!(protocols("classic,consumer,share,streams"), Ok(()));
    assert!(matches!(
        protocols("classic,consumer"),
        Err(Error::NoEffect { .. })
    ));
    assert!(matches!(protocols("nonsense"), Err(Error::Value { .. })));
}

/// What the systems around Kafka set on the topics that they create.
#[test]
fn what_other_systems_set_on_their_topics_is_taken() {
    for (system, settings) in [
        (
            "Kafka Streams: repartition topics",
            &[
                ("cleanup.policy", "delete"),
                ("message.timestamp.type", "CreateTime"),
                ("retention.ms", "-1"),
                ("segment.bytes", "52428800"),
            ][..],
        ),
        (
            "Kafka Streams: changelogs of windows and versions",
            &[
                ("cleanup.policy", "compact,delete"),
                ("message.timestamp.type", "CreateTime"),
                ("min.compaction.lag.ms", "86400000"),
                ("retention.ms", "172800000"),
            ],
        ),
        (
            "Connect, Schema Registry",
            &[("cleanup.policy", "compact"), ("min.insync.replicas", "1")],
        ),
        (
            "MirrorMaker 2, which sets what the topic that it copies has",
            &[
                ("compression.gzip.level", "9"),
                ("compression.zstd.level", "7"),
                ("delete.retention.ms", "1"),
                ("file.delete.delay.ms", "1000"),
                ("flush.messages", "1"),
                ("flush.ms", "1"),
                ("index.interval.bytes", "1"),
                ("max.compaction.lag.ms", "1000"),
                ("message.timestamp.before.max.ms", "1"),
                ("preallocate", "true"),
                ("remote.storage.enable", "false"),
                ("segment.index.bytes", "100"),
                ("segment.jitter.ms", "5"),
                ("unclean.leader.election.enable", "true"),
            ],
        ),
    ] {
        assert_eq!(check_topic(&map(settings)), Ok(()), "{system}");
    }
}

#[test]
fn every_setting_is_honoured_with_a_word_about_it_or_managed_or_has_a_reason_to_have_no_effect() {
    for setting in [Scope::Broker, Scope::Topic, Scope::Group]
        .into_iter()
        .flat_map(settings)
    {
        let of_honoured = setting.stands_in_for().find(|of| of.no_effect.is_none());
        let is = [
            !setting.doc().is_empty() || of_honoured.is_some(),
            setting.managed_by.is_some(),
            setting.no_effect.is_some(),
        ];
        assert_eq!(
            is.into_iter().filter(|is| *is).count(),
            1,
            "{} {is:?}",
            setting.name
        );
    }
}

#[test]
fn document_says_what_the_tables_say() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == document::document(),
        "docs/settings.md is stale: run `just settings-generate`"
    );
}

#[test]
fn what_nobody_has_set_is_left_to_the_system_where_kafkas_default_is_only_shown() {
    let set = |value: Option<&str>| {
        BrokerSettings::resolve(&|name| {
            value
                .filter(|_| name == "socket.send.buffer.bytes")
                .map(str::to_owned)
        })
        .socket_send_buffer_bytes
    };
    assert_eq!(set(None), IfSet(None));
    assert_eq!(set(Some("102400")), IfSet(Some(102_400)));
    assert_eq!(set(Some("-1")), IfSet(Some(-1)));
}

#[test]
fn settings_of_groups_that_contradict_each_other_are_refused() {
    assert_eq!(
        check_group(&map(&[("consumer.session.timeout.ms", "50000")])),
        Ok(())
    );
    let refused = |set: &[(&str, &str)]| check_group(&map(set)).expect_err("refused").to_string();
    assert_eq!(
        check_group(&map(&[("share.isolation.level", "read_committed")])),
        Ok(())
    );
    assert_eq!(
        check_group(&map(&[("streams.num.standby.replicas", "1")])),
        Ok(())
    );
    assert_eq!(
        refused(&[
            ("streams.heartbeat.interval.ms", "9000"),
            ("streams.session.timeout.ms", "8000")
        ]),
        "`streams.session.timeout.ms` (8000) must be more than `streams.heartbeat.interval.ms` (9000)"
    );
    assert_eq!(
        refused(&[
            ("consumer.heartbeat.interval.ms", "9000"),
            ("consumer.session.timeout.ms", "9000")
        ]),
        "`consumer.session.timeout.ms` (9000) must be more than `consumer.heartbeat.interval.ms` (9000)"
    );
    assert_eq!(
        refused(&[
            ("share.heartbeat.interval.ms", "9000"),
            ("share.session.timeout.ms", "8000")
        ]),
        "`share.session.timeout.ms` (8000) must be more than `share.heartbeat.interval.ms` (9000)"
    );
}

#[test]
fn a_password_is_never_quoted() {
    let setting = find(Scope::Broker, "ssl.key.password").expect("known");
    assert!(setting.sensitive());
}

#[test]
fn a_secret_is_read_and_does_not_print() {
    let settings =
        BrokerSettings::resolve(&|name| (name == "delegation.token.secret.key").then(|| "hush".to_owned()));
    assert_eq!(settings.delegation_token_secret_key.secret(), Some("hush"));
    assert!(!format!("{settings:?}").contains("hush"));
    let none = BrokerSettings::default();
    assert_eq!(none.delegation_token_secret_key.secret(), None);
}

#[test]
fn an_offset_reset_by_duration_needs_a_duration() {
    let setting = find(Scope::Group, "share.auto.offset.reset").expect("known");
    for value in [
        "earliest",
        "latest",
        "by_duration:PT1H",
        "by_duration:P2DT3H4M5.5S",
        "by_duration:P1D",
    ] {
        assert_eq!(setting.check(value), Ok(()), "{value}");
    }
    for value in [
        "",
        "none",
        "by_duration:",
        "by_duration:P",
        "by_duration:PT",
        "by_duration:1H",
        "by_duration:PT-1H",
    ] {
        assert!(setting.check(value).is_err(), "{value}");
    }
}

#[test]
fn settings_without_effect_have_no_doc_and_the_others_do() {
    assert_eq!(find(Scope::Broker, "ssl.provider").map(Setting::doc), Some(""));
    assert_eq!(
        find(Scope::Topic, "flush.ms").map(Setting::doc),
        Some("After how many milliseconds the log is synced, with either flush policy.")
    );
}

#[test]
fn subscription_to_client_metrics_is_resolved_from_what_is_set() {
    assert_eq!(
        ClientMetricsConfig::resolve(&map(&[])),
        ClientMetricsConfig {
            metrics: Vec::new(),
            interval_ms: 300_000,
            selectors: Vec::new(),
        }
    );
    let set = map(&[
        ("interval.ms", "100"),
        ("match", "client_id=a.*, client_source_port=[0-9]+"),
        ("metrics", "org.apache.kafka.producer. ,*"),
    ]);
    assert_eq!(check_client_metrics(&set), Ok(()));
    let config = ClientMetricsConfig::resolve(&set);
    assert_eq!(config.metrics, ["org.apache.kafka.producer.", "*"]);
    assert_eq!(config.interval_ms, 100);
    let selectors = [("client_id", "a.*"), ("client_source_port", "[0-9]+")];
    assert_eq!(
        config.selectors,
        selectors.map(|(name, of)| (name, of.to_owned()))
    );
}

#[test]
fn settings_of_client_metrics_are_refused_with_what_is_expected() {
    let interval = "a whole number from 100 to 3600000 is expected";
    let selectors = "a list of selector=expression is expected; selectors are client_id, client_instance_id, client_software_name, \
                     client_software_version, client_source_address, client_source_port";
    for (name, value, refused) in [
        (
            "intervals",
            "100",
            "unknown client metrics setting `intervals`; did you mean `interval.ms`?".to_owned(),
        ),
        (
            "interval.ms",
            "99",
            format!("`interval.ms` cannot be `99`: {interval}"),
        ),
        (
            "interval.ms",
            "3600001",
            format!("`interval.ms` cannot be `3600001`: {interval}"),
        ),
        (
            "match",
            "user=x",
            format!("`match` cannot be `user=x`: {selectors}"),
        ),
        (
            "match",
            "client_id",
            format!("`match` cannot be `client_id`: {selectors}"),
        ),
        (
            "match",
            "client_id=",
            format!("`match` cannot be `client_id=`: {selectors}"),
        ),
        (
            "match",
            "client_id=a=b",
            format!("`match` cannot be `client_id=a=b`: {selectors}"),
        ),
        (
            "match",
            "client_id=a,",
            format!("`match` cannot be `client_id=a,`: {selectors}"),
        ),
    ] {
        let error = check_client_metrics(&map(&[(name, value)])).expect_err(value);
        assert_eq!(error.to_string(), refused);
    }
}
