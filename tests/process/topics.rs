//! Many topics at once, as the operator asks for them.

use std::sync::Arc;
use std::time::Instant;

use flotilla_control::proto::fleet::ApplyTopicRequest;
use flotilla_control::proto::metadata::{ApplyTopic, Owner, Refusal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::contract::Operator;
use crate::fleet::{Fleet, manifests};

/// As many as the operator asks for at a time.
const AT_ONCE: usize = 16;

fn apply(number: usize) -> ApplyTopicRequest {
    let name = format!("many-{number}");
    ApplyTopicRequest {
        topic: Some(ApplyTopic {
            partitions: 3,
            replicas: 3,
            owner: Some(Owner {
                namespace: "shop".to_owned(),
                name: name.clone(),
                uid: name.clone(),
                deletion_policy: "Delete".to_owned(),
            }),
            name,
            ..ApplyTopic::default()
        }),
        dry_run: false,
    }
}

#[test]
fn topics_asked_for_at_once_are_all_made_and_the_same_again_changes_nothing() {
    let fleet = Fleet::start(&manifests(3, &[]));
    let operator = Operator::of(&fleet);
    let all = |count: usize| {
        let begun = Instant::now();
        let changed = operator.call(async |client| {
            let room = Arc::new(Semaphore::new(AT_ONCE));
            let mut asked = JoinSet::new();
            for number in 0..count {
                let permit = room.clone().acquire_owned().await.expect("a permit");
                let mut client = client.clone();
                asked.spawn(async move {
                    let answer = client.apply_topic(apply(number)).await;
                    drop(permit);
                    answer
                });
            }
            let mut changed = 0;
            for answer in asked.join_all().await {
                let answer = answer?.into_inner();
                assert_eq!(answer.refusal(), Refusal::None, "{}", answer.message);
                changed += usize::from(answer.changed);
            }
            Ok(tonic::Response::new(changed))
        });
        let changed = changed.expect("answers");
        (changed, begun.elapsed())
    };
    // More of them where somebody measures.
    let count = std::env::var("FLOTILLA_TOPICS").map_or(200, |count| count.parse().expect("a number"));
    let (_, took) = all(count);
    println!("{count} topics of 3 partitions and 3 replicas: {took:?}");
    let (changed, again) = all(count);
    println!("the same again: {again:?}");
    assert_eq!(changed, 0);
    let made = fleet.status().expect("a status")["topics"]
        .as_array()
        .map_or(0, Vec::len);
    assert!(made >= count, "{made} topics");
}
