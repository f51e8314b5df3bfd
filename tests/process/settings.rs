//! Settings that have no effect, over the wire: Kafka's default is taken, and any other value is refused with the reason.

use std::time::Duration;

use flotilla_protocol::messages::CreateTopicsRequest;
use flotilla_protocol::messages::alter_configs_request::{self, AlterConfigsRequest};
use flotilla_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use flotilla_protocol::messages::incremental_alter_configs_request::{self, IncrementalAlterConfigsRequest};
use flotilla_protocol::{ErrorCode, Str};

use crate::fleet::{Fleet, manifests, topic};
use crate::raw::Connection;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const TIERED: &str = "`remote.storage.enable` cannot be `true`: there is no tiered storage (KIP-405): all records lie on the volumes of \
                      the brokers. Leave it out, or at Kafka's default `false`";
const THREADS: &str = "`num.io.threads` cannot be `16`: listeners, requests and upkeep share one thread for each processor: there are no \
                       pools to size. Leave it out, or at Kafka's default `8`";

/// An error and what is said about it.
type Told = (ErrorCode, Option<String>);

fn refused(message: &str) -> Told {
    (ErrorCode::InvalidConfig, Some(message.to_owned()))
}

fn create(connection: &mut Connection, name: &str, value: &str) -> Told {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: Str::copy_from(name),
            num_partitions: 1,
            replication_factor: 1,
            configs: vec![CreatableTopicConfig {
                name: "remote.storage.enable".into(),
                value: Some(Str::copy_from(value)),
            }],
            ..CreatableTopic::default()
        }],
        timeout_ms: 10_000,
        ..CreateTopicsRequest::default()
    };
    let answer = connection.call(7, &request).expect("an answer");
    let topic = &answer.topics[0];
    let message = topic.error_message.as_ref().map(ToString::to_string);
    (topic.error_code.into(), message)
}

/// Sets one setting by IncrementalAlterConfigs.
fn set(connection: &mut Connection, kind: i8, name: &str, key: &str, value: &str) -> Told {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![incremental_alter_configs_request::AlterConfigsResource {
            resource_type: kind,
            resource_name: Str::copy_from(name),
            configs: vec![incremental_alter_configs_request::AlterableConfig {
                name: Str::copy_from(key),
                config_operation: 0,
                value: Some(Str::copy_from(value)),
            }],
        }],
        validate_only: false,
    };
    let answer = connection.call(1, &request).expect("an answer");
    let told = &answer.responses[0];
    (
        told.error_code.into(),
        told.error_message.as_ref().map(ToString::to_string),
    )
}

/// Sets one setting of a topic, and no other, by AlterConfigs.
fn replace(connection: &mut Connection, name: &str, key: &str, value: &str) -> Told {
    let request = AlterConfigsRequest {
        resources: vec![alter_configs_request::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: Str::copy_from(name),
            configs: vec![alter_configs_request::AlterableConfig {
                name: Str::copy_from(key),
                value: Some(Str::copy_from(value)),
            }],
        }],
        validate_only: false,
    };
    let answer = connection.call(2, &request).expect("an answer");
    let told = &answer.responses[0];
    (
        told.error_code.into(),
        told.error_message.as_ref().map(ToString::to_string),
    )
}

#[test]
fn settings_without_effect_are_refused_in_the_same_words_wherever_they_are_set() {
    let mut files = manifests(1, &[]);
    files.insert(
        "tiered.yaml".into(),
        topic("tiered", 1, 1, "remote.storage.enable: true"),
    );
    let fleet = Fleet::start(&files);
    fleet.wait_for_report(Duration::from_secs(10), TIERED);

    let mut connection = Connection::open(fleet.bootstrap());
    assert_eq!(create(&mut connection, "plain", "false").0, ErrorCode::None);
    assert_eq!(create(&mut connection, "other", "true"), refused(TIERED));
    let key = "remote.storage.enable";
    assert_eq!(set(&mut connection, TOPIC, "plain", key, "true"), refused(TIERED));
    assert_eq!(replace(&mut connection, "plain", key, "true"), refused(TIERED));
    assert_eq!(replace(&mut connection, "plain", key, "False").0, ErrorCode::None);

    let key = "num.io.threads";
    for broker in ["", "0"] {
        assert_eq!(set(&mut connection, BROKER, broker, key, "16"), refused(THREADS));
        assert_eq!(set(&mut connection, BROKER, broker, key, "8").0, ErrorCode::None);
    }
}
