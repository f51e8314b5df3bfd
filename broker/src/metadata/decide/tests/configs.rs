use super::*;
use crate::metadata::ResourceType::{Broker, ClientMetrics, Group, Topic};

fn alter(
    resource: proto::ResourceType,
    name: &str,
    changes: &[(i32, &str, Option<&str>)],
    replace: bool,
) -> Asked {
    let changes = changes.iter().map(|(operation, key, value)| proto::AlterConfig {
        operation: *operation,
        key: (*key).to_owned(),
        value: value.map(str::to_owned),
    });
    Asked::AlterConfigs(proto::AlterConfigs {
        resources: vec![proto::ResourceConfigs {
            resource_type: resource.into(),
            resource_name: name.to_owned(),
            changes: changes.collect(),
            replace,
        }],
    })
}

#[test]
fn settings_are_set_removed_appended_and_subtracted_kip_339() {
    let mut fleet = Fleet::with_topic("1");
    assert_eq!(
        fleet.show(alter(
            Topic,
            "t",
            &[
                (0, "retention.ms", Some("5")),
                (2, "cleanup.policy", Some("compact"))
            ],
            false
        )),
        [
            "config Topic `t` cleanup.policy=delete,compact",
            "config Topic `t` retention.ms=5",
            "t done"
        ]
    );
    assert_eq!(
        fleet.show(alter(
            Topic,
            "t",
            &[(3, "cleanup.policy", Some("delete")), (1, "retention.ms", None)],
            false
        )),
        [
            "config Topic `t` retention.ms=(none)",
            "config Topic `t` cleanup.policy=compact",
            "t done"
        ]
    );
    assert_eq!(
        fleet.show(alter(
            Topic,
            "t",
            &[(2, "cleanup.policy", Some("compact")), (1, "retention.ms", None)],
            false
        )),
        ["t done"]
    );
    assert_eq!(
        fleet.show(alter(Topic, "t", &[(2, "retention.ms", Some("5"))], false)),
        [
            "t InvalidConfig: `retention.ms` is not a list, so that nothing can be added to it or taken from it"
        ]
    );
}

#[test]
fn the_older_call_replaces_all_settings_of_a_resource() {
    let mut fleet = Fleet::with_topic("1");
    fleet.ask(alter(Topic, "t", &[(0, "retention.ms", Some("5"))], false));
    assert_eq!(
        fleet.show(alter(Topic, "t", &[(0, "segment.ms", Some("7"))], true)),
        [
            "config Topic `t` retention.ms=(none)",
            "config Topic `t` segment.ms=7",
            "t done"
        ]
    );
    assert_eq!(
        fleet.show(alter(Broker, "", &[(0, "log.roll.ms", Some("7"))], true)),
        ["config Broker `` log.roll.ms=7", " done"],
        "the cluster's minimum of in-sync replicas stays set"
    );
}

#[test]
fn one_wrong_setting_refuses_all_of_its_resource() {
    let mut fleet = Fleet::with_topic("1");
    assert_eq!(
        fleet.show(alter(
            Topic,
            "t",
            &[(0, "segment.ms", Some("7")), (0, "nonsense", Some("7"))],
            false
        )),
        ["t InvalidConfig: unknown topic setting `nonsense`"]
    );
    let cases = [
        (vec![(0, "", Some("1"))], "a setting without a name"),
        (
            vec![(0, "segment.ms", Some("1")), (1, "segment.ms", None)],
            "`segment.ms` is named twice",
        ),
        (vec![(0, "segment.ms", None)], "`segment.ms` has no value"),
        (vec![(9, "segment.ms", None)], "`segment.ms`: unknown operation 9"),
    ];
    for (changes, why) in cases {
        assert_eq!(
            fleet.show(alter(Topic, "t", &changes, false)),
            [format!("t InvalidRequest: {why}")]
        );
    }
}

#[test]
fn settings_of_brokers_change_while_they_run_only_where_they_can_kip_226() {
    let mut fleet = Fleet::with_topic("1");
    assert_eq!(
        fleet.set(Broker, "", "log.retention.ms", Some("5")),
        ["config Broker `` log.retention.ms=5", " done"]
    );
    assert_eq!(
        fleet.set(Broker, "1", "log.retention.ms", Some("6")),
        ["config Broker `1` log.retention.ms=6", "1 done"]
    );
    assert_eq!(
        fleet.image.broker_setting(BrokerId(1), "log.retention.ms"),
        Some("6")
    );
    assert_eq!(
        fleet.image.broker_setting(BrokerId(2), "log.retention.ms"),
        Some("5")
    );
    assert_eq!(
        fleet.set(Broker, "", "num.partitions", Some("5")),
        [
            " InvalidRequest: `num.partitions` cannot be changed while brokers run: set it in their configuration and restart them"
        ]
    );
    assert_eq!(
        fleet.set(Broker, "9", "log.retention.ms", Some("5")),
        ["9 BrokerNotRegistered: broker 9 is not registered"]
    );
    assert_eq!(
        fleet.set(Broker, "x", "log.retention.ms", Some("5")),
        ["x InvalidRequest: `x` is not a broker id; an empty name is all brokers"]
    );
}

#[test]
fn settings_without_effect_take_kafkas_default_and_refuse_the_rest_with_the_reason() {
    let mut fleet = Fleet::with_topic("1");
    let threads = "`num.network.threads` cannot be `4`: listeners, requests and upkeep share one thread for each processor: there are \
                   no pools to size. Leave it out, or at Kafka's default `3`";
    for broker in ["", "1"] {
        assert_eq!(
            fleet.set(Broker, broker, "num.network.threads", Some("4")),
            [format!("{broker} InvalidConfig: {threads}")]
        );
    }
    assert_eq!(
        fleet.set(Broker, "", "num.network.threads", Some("3")),
        ["config Broker `` num.network.threads=3", " done"]
    );
    let level = "`compression.lz4.level` cannot be `1`: LZ4 has one level here: use zstd with `compression.zstd.level` where smaller \
                 batches are worth the time. Leave it out, or at Kafka's default `9`";
    assert_eq!(
        fleet.set(Topic, "t", "compression.lz4.level", Some("1")),
        [format!("t InvalidConfig: {level}")]
    );
    assert_eq!(
        fleet.set(Topic, "t", "compression.lz4.level", Some("9")),
        ["config Topic `t` compression.lz4.level=9", "t done"]
    );
}

#[test]
fn the_minimum_of_in_sync_replicas_is_the_clusters_and_stays_set_kip_966() {
    let mut fleet = Fleet::with_topic("1");
    assert_eq!(
        fleet.set(Broker, "1", "min.insync.replicas", Some("2")),
        [
            "1 InvalidConfig: `min.insync.replicas` can be set for all brokers or for a topic, not for one broker"
        ]
    );
    assert_eq!(
        fleet.set(Broker, "", "min.insync.replicas", None),
        [
            " InvalidConfig: `min.insync.replicas` of the cluster cannot be removed: set it to another value instead"
        ]
    );
    assert_eq!(
        fleet.set(Topic, "t", "min.insync.replicas", Some("2")),
        ["config Topic `t` min.insync.replicas=2", "t done"]
    );
}

#[test]
fn groups_have_settings_and_unknown_resources_have_none() {
    let mut fleet = Fleet::with_topic("1");
    assert_eq!(
        fleet.set(Group, "g", "consumer.session.timeout.ms", Some("50000")),
        ["config Group `g` consumer.session.timeout.ms=50000", "g done"]
    );
    assert_eq!(
        fleet.set(Group, "", "consumer.session.timeout.ms", Some("50000")),
        [" InvalidRequest: the settings of a group need the group's name"]
    );
    assert_eq!(
        fleet.set(Topic, "x", "retention.ms", Some("1")),
        ["x UnknownTopic: topic `x` does not exist"]
    );
}

#[test]
fn subscriptions_to_client_metrics_come_and_go_with_their_settings() {
    let mut fleet = Fleet::with_topic("1");
    assert_eq!(
        fleet.set(ClientMetrics, "m", "interval.ms", Some("100")),
        ["config ClientMetrics `m` interval.ms=100", "m done"]
    );
    assert_eq!(
        fleet.set(ClientMetrics, "m", "match", Some("client_id=a.*")),
        ["config ClientMetrics `m` match=client_id=a.*", "m done"]
    );
    assert_eq!(
        fleet.set(ClientMetrics, "m", "interval.ms", None),
        ["config ClientMetrics `m` interval.ms=(none)", "m done"]
    );
    assert_eq!(
        fleet.set(ClientMetrics, "m", "match", None),
        ["config ClientMetrics `m` match=(none)", "m done"]
    );
}

#[test]
fn wrong_subscriptions_to_client_metrics_are_refused_as_kafka_does() {
    let mut fleet = Fleet::with_topic("1");
    let interval = "a whole number from 100 to 3600000 is expected";
    for (name, key, value, refused) in [
        ("", "metrics", "*", " InvalidRequest: a subscription to client metrics needs a name".to_owned()),
        (
            "m",
            "interval",
            "5",
            "m InvalidRequest: unknown client metrics setting `interval`; did you mean `interval.ms`?".to_owned(),
        ),
        (
            "m",
            "interval.ms",
            "99",
            format!("m InvalidRequest: `interval.ms` cannot be `99`: {interval}"),
        ),
        (
            "m",
            "interval.ms",
            "soon",
            format!("m InvalidConfig: `interval.ms` cannot be `soon`: {interval}"),
        ),
        (
            "m",
            "match",
            "client_id=(",
            "m InvalidConfig: `match` cannot be `client_id=(`: the expression of client_id is wrong: unclosed group".to_owned(),
        ),
    ] {
        assert_eq!(fleet.set(ClientMetrics, name, key, Some(value)), [refused]);
    }
}

#[test]
fn a_resource_named_twice_is_refused() {
    let mut fleet = Fleet::with_topic("1");
    let Asked::AlterConfigs(mut asked) = alter(Topic, "t", &[(0, "retention.ms", Some("5"))], false) else {
        unreachable!()
    };
    asked.resources.push(asked.resources[0].clone());
    let refused = "t InvalidRequest: resource `t` is named twice in one request";
    assert_eq!(fleet.show(Asked::AlterConfigs(asked)), [refused, refused]);
}
