use serde_json::{Value, json};

use flotilla_control::proto::fleet::TopicState;

use super::super::testing::{followed, held, owner, topic};
use super::*;

const ONLY_NOBODYS: &dyn Fn(Option<&Owner>) -> bool = &|owner| owner.is_none();

fn planned(topic: &Topic, held: Option<&TopicState>) -> Plan {
    let found = held.map(Found::of);
    plan(
        topic,
        Known {
            found: found.as_ref(),
            brokers: 3,
            may_take: ONLY_NOBODYS,
        },
    )
}

fn ours(replicas: &[usize], configs: &[(&str, &str)]) -> TopicState {
    held(Some(owner("page-views", "1")), replicas, configs)
}

/// The command in short: partitions x replicas, settings, settings taken back.
fn short(plan: &Plan) -> String {
    let Some(command) = &plan.command else {
        return "nothing".to_owned();
    };
    let configs: Vec<String> = command
        .configs
        .iter()
        .map(|config| format!("{}={}", config.key, config.value.as_deref().unwrap_or("")))
        .collect();
    format!(
        "{}x{} {} -{}{}",
        command.partitions,
        command.replicas,
        configs.join(","),
        command.previous_configs.join(","),
        command
            .previous_owner
            .as_ref()
            .map(|owner| format!(" from {}", owner.name))
            .unwrap_or_default()
    )
}

fn told(plan: &Plan) -> Vec<String> {
    plan.news
        .iter()
        .map(|news| format!("{}: {}", news.reason, news.message))
        .collect()
}

const AS_ASKED: &[(&str, &str)] = &[("retention.ms", "1000")];
const TWO_BY_TWO: &[usize] = &[2, 2];

#[test]
fn nothing_is_sent_where_all_is_as_the_resource_says() {
    let followed = followed(json!({}), &["retention.ms"]);
    for topic in [&topic(json!({})), &followed] {
        let plan = planned(
            topic,
            Some(&ours(TWO_BY_TWO, &[("retention.ms", "1000"), ("flush.ms", "5")])),
        );
        assert_eq!((short(&plan).as_str(), told(&plan).len()), ("nothing", 0));
        assert_eq!(plan.settings, Settings::Settled);
        assert_eq!(
            plan.standing(),
            Standing::Ready("2 partitions of 2 replicas".to_owned())
        );
    }
}

#[test]
fn what_the_resource_leaves_open_is_left_as_it_is() {
    let topic = topic(json!({"partitions": null, "replicas": null, "config": {}}));
    let state = ours(&[1, 1, 1], &[("flush.ms", "5")]);
    assert_eq!(short(&planned(&topic, Some(&state))), "nothing");
}

#[test]
fn a_topic_that_is_not_there_is_created() {
    let plan = planned(&topic(json!({})), None);
    assert_eq!(short(&plan), "2x2 retention.ms=1000 -");
    assert_eq!(told(&plan), ["Created: topic `page_views` was created"]);
    assert_eq!(
        plan.command.as_ref().unwrap().owner,
        Some(owner("page-views", "1"))
    );
    assert!(matches!(plan.standing(), Standing::Working(Reason::Creating, _)));
}

#[test]
fn what_the_resource_changes_is_done_and_told() {
    let topic = |spec: Value| {
        let mut topic = followed(spec, &["retention.ms", "segment.ms"]);
        topic.metadata.generation = Some(3);
        topic
    };
    let before = [("retention.ms", "1000"), ("segment.ms", "7")];
    #[rustfmt::skip]
    let cases = [
        (json!({"partitions": 4}), "4x2 retention.ms=1000 -segment.ms", vec![
            "Grown: topic `page_views` grew from 2 to 4 partitions",
            "SettingsChanged: settings of topic `page_views` changed: `segment.ms` from `7` to its default",
        ]),
        (json!({"replicas": 3, "config": {"retention.ms": 1000, "segment.ms": 7}}), "2x3 retention.ms=1000,segment.ms=7 -", vec![
            "ReplicasChanging: topic `page_views` goes from 2 to 3 replicas, partition by partition",
        ]),
        (json!({"replicas": 1, "config": {"retention.ms": 1000, "segment.ms": 7}}), "2x1 retention.ms=1000,segment.ms=7 -", vec![
            "ReplicasChanging: topic `page_views` goes from 2 to 1 replica, partition by partition",
        ]),
        (json!({"config": {"retention.ms": 2000, "cleanup.policy": "compact"}}), "2x2 cleanup.policy=compact,retention.ms=2000 -segment.ms", vec![
            "SettingsChanged: settings of topic `page_views` changed: `cleanup.policy` from its default to `compact`; \
             `retention.ms` from `1000` to `2000`; `segment.ms` from `7` to its default",
        ]),
    ];
    for (spec, expected, news) in cases {
        let plan = planned(&topic(spec.clone()), Some(&ours(TWO_BY_TWO, &before)));
        assert_eq!(short(&plan), expected, "{spec}");
        assert_eq!(told(&plan), news, "{spec}");
    }
}

#[test]
fn what_somebody_else_changed_is_put_back_and_told() {
    let topic = followed(json!({}), &["retention.ms"]);
    type Case<'a> = (&'a [usize], &'a [(&'a str, &'a str)], &'a str);
    #[rustfmt::skip]
    let cases: [Case<'_>; 4] = [
        (TWO_BY_TWO, &[("retention.ms", "5")], "`retention.ms` was `5`, is `1000` again"),
        (TWO_BY_TWO, &[], "`retention.ms` was its default, is `1000` again"),
        (&[3, 2], AS_ASKED, "2 or 3 replicas, 2 again"),
        (&[1, 1], &[("retention.ms", "5")], "1 replicas, 2 again; `retention.ms` was `5`, is `1000` again"),
    ];
    for (partitions, configs, said) in cases {
        let plan = planned(&topic, Some(&ours(partitions, configs)));
        assert_eq!(short(&plan), "2x2 retention.ms=1000 -");
        assert_eq!(
            plan.news,
            [News::warning(
                "PutBack",
                format!("topic `page_views` was changed by somebody else and put back: {said}")
            )]
        );
    }
    let gone = planned(&topic, None);
    assert_eq!(
        told(&gone),
        [
            "PutBack: topic `page_views` was deleted by a Kafka client; it was created again, without the records that it held"
        ]
    );
    let mut made_again = held(None, TWO_BY_TWO, AS_ASKED);
    made_again.topic.as_mut().unwrap().topic_id = vec![2; 16];
    let plan = planned(&topic, Some(&made_again));
    assert!(
        told(&plan)[0]
            .starts_with("PutBack: topic `page_views` was deleted by a Kafka client and created again")
    );
    assert_ne!(plan.command, None);
}

#[test]
fn partitions_that_somebody_else_added_are_told_and_the_rest_is_followed() {
    let topic = followed(json!({}), &["retention.ms"]);
    let state = ours(&[2, 2, 2], &[("retention.ms", "5")]);
    let plan = planned(&topic, Some(&state));
    assert_eq!(short(&plan), "0x2 retention.ms=1000 -");
    let Standing::Stuck(Reason::InvalidSpec, message) = plan.standing() else {
        panic!("{:?}", plan.standing());
    };
    assert!(
        message.starts_with("spec.partitions: topic `page_views` has 3 partitions and cannot shrink to 2"),
        "{message}"
    );
    // What is put back then is not put back again.
    let state = ours(&[2, 2, 2], AS_ASKED);
    assert_eq!(short(&planned(&topic, Some(&state))), "nothing");
}

#[test]
fn a_topic_of_nobody_is_adopted_unless_it_cannot_be_what_is_asked() {
    let asked = topic(json!({}));
    let state = held(None, TWO_BY_TWO, &[("retention.ms", "1000"), ("flush.ms", "5")]);
    let plan = planned(&asked, Some(&state));
    assert_eq!(short(&plan), "2x2 retention.ms=1000 -");
    assert_eq!(
        told(&plan),
        [
            "Adopted: topic `page_views` existed already and is looked after from now on; settings that this resource does not \
             name stay as they are"
        ]
    );
    let larger = held(None, &[2, 2, 2], &[]);
    let plan = planned(&asked, Some(&larger));
    assert_eq!((plan.command.clone(), plan.settings), (None, Settings::Untold));
    assert_eq!(plan.problem.as_ref().unwrap().field, "spec.partitions");
}

#[test]
fn a_topic_of_another_is_taken_over_only_where_that_is_allowed() {
    let asked = topic(json!({}));
    let state = held(Some(owner("other", "9")), TWO_BY_TWO, AS_ASKED);
    let plan_of = planned(&asked, Some(&state));
    assert_eq!((plan_of.command.clone(), plan_of.observed), (None, None));
    assert_eq!(
        plan_of.standing(),
        Standing::Stuck(
            Reason::Conflict,
            "spec.name: topic `page_views` belongs to the resource `other` in namespace `shop`. Delete one of the two, or \
             choose another name"
                .to_owned()
        )
    );
    let may_take = |owner: Option<&Owner>| owner.is_some_and(|owner| owner.name == "other");
    let plan = plan(
        &asked,
        Known {
            found: Some(&Found::of(&state)),
            brokers: 3,
            may_take: &may_take,
        },
    );
    assert_eq!(short(&plan), "2x2 retention.ms=1000 - from other");
    assert_eq!(plan.news[0].reason, "TakenOver");
}

#[test]
fn a_topic_of_nobody_is_not_adopted_by_a_guest_that_may_not() {
    let plan = plan(
        &topic(json!({})),
        Known {
            found: Some(&Found::of(&held(None, TWO_BY_TWO, AS_ASKED))),
            brokers: 3,
            may_take: &|_| false,
        },
    );
    assert_eq!((plan.command.clone(), plan.observed), (None, None));
    assert!(matches!(plan.standing(), Standing::Stuck(Reason::NotAllowed, _)));
}

#[test]
fn another_deletion_policy_is_told_to_the_fleet_and_to_nobody_else() {
    let topic = followed(json!({"deletionPolicy": "Retain"}), &["retention.ms"]);
    let plan = planned(&topic, Some(&ours(TWO_BY_TWO, AS_ASKED)));
    assert_eq!(
        plan.command
            .as_ref()
            .unwrap()
            .owner
            .as_ref()
            .unwrap()
            .deletion_policy,
        "Retain"
    );
    assert_eq!(plan.news, []);
}

#[test]
fn replicas_under_way_are_progress_and_are_not_begun_again() {
    let topic = followed(json!({"replicas": 3}), &["retention.ms"]);
    let mut state = ours(&[3, 3], AS_ASKED);
    state.partitions[1].adding_replicas = vec![2];
    let plan = planned(&topic, Some(&state));
    assert_eq!(short(&plan), "nothing");
    assert_eq!(
        plan.standing(),
        Standing::Working(
            Reason::Rebalancing,
            "replicas are being copied or taken away: 1 of 2 partitions are done".to_owned()
        )
    );
}

#[test]
fn more_replicas_than_brokers_wait_for_brokers_and_the_rest_is_followed() {
    let topic = topic(json!({"replicas": 4}));
    let none = planned(&topic, None);
    assert_eq!(none.command, None);
    assert!(matches!(
        none.standing(),
        Standing::Working(Reason::NotEnoughBrokers, _)
    ));
    let plan = planned(&topic, Some(&ours(TWO_BY_TWO, &[])));
    assert_eq!(short(&plan), "2x0 retention.ms=1000 -");
    // A broker that is gone takes nothing away from what is as it was asked for.
    let four = ours(&[4, 4], AS_ASKED);
    assert_eq!(planned(&topic, Some(&four)).problem, None);
}

#[test]
fn what_is_invalid_leaves_the_topic_as_it_is() {
    let topic = followed(json!({"config": {"retention.mss": 1}}), &["retention.ms"]);
    let state = ours(TWO_BY_TWO, AS_ASKED);
    let plan = planned(&topic, Some(&state));
    assert_eq!((plan.command.clone(), plan.settings), (None, Settings::Untold));
    assert_eq!(plan.observed.map(|observed| observed.partitions), Some(2));
    assert!(matches!(plan.standing(), Standing::Stuck(Reason::InvalidSpec, _)));
}
