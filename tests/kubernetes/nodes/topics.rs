//! What becomes of a topic when its resource changes, and when somebody changes the topic behind it.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::fleet::{Outside, READY_WITHIN, cluster, topic};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn topic_follows_its_resource_and_is_put_back_when_a_client_changes_it() {
    let kubernetes = Cluster::shared();
    let _undisturbed = kubernetes.undisturbed();
    let namespace = kubernetes.namespace("topics");
    namespace.apply(&format!(
        "{}{}",
        cluster(3),
        topic("orders", 3, 2, "retention.ms: 3600000")
    ));
    namespace.ready(&["cluster/events", "topic/orders"], READY_WITHIN);
    let outside = Outside::of(&namespace);
    let shape = || {
        outside
            .partitions("orders")
            .iter()
            .map(|partition| partition.replicas.len())
            .collect::<Vec<_>>()
    };
    assert_eq!(shape(), [2, 2, 2]);
    assert_eq!(
        outside.setting("orders", "retention.ms").as_deref(),
        Some("3600000")
    );

    // Partitions grow.
    namespace.apply(&topic("orders", 5, 2, "retention.ms: 3600000"));
    kubernetes.until("five partitions", SOON, || (shape() == [2; 5]).then_some(()));

    // Replicas grow, in place, and shrink again.
    for replicas in [3, 2] {
        namespace.apply(&topic("orders", 5, replicas, "retention.ms: 3600000"));
        kubernetes.until("the replicas that were asked for, all in sync", SOON, || {
            let partitions = outside.partitions("orders");
            let done = partitions.iter().all(|partition| {
                partition.replicas.len() == replicas as usize && partition.isr == partition.replicas
            });
            done.then_some(())
        });
        namespace.ready(&["topic/orders"], SOON);
        let status = namespace.get("topic.flotilla.dev/orders").unwrap()["status"].take();
        assert_eq!(
            (&status["partitions"], &status["replicas"]),
            (&5.into(), &replicas.into()),
            "{status}"
        );
    }

    // A setting changes.
    namespace.apply(&topic("orders", 5, 2, "retention.ms: 7200000"));
    kubernetes.until("the new retention", SOON, || {
        (outside.setting("orders", "retention.ms").as_deref() == Some("7200000")).then_some(())
    });

    // Kafka's tools change it behind the resource: it is put back, and an event says so.
    namespace.ready(&["topic/orders"], SOON);
    outside.set("orders", "retention.ms", "1000");
    kubernetes.until("the retention of the resource again", SOON, || {
        (outside.setting("orders", "retention.ms").as_deref() == Some("7200000")).then_some(())
    });
    kubernetes.until("an event about it", SOON, || {
        namespace
            .kubectl(&["events", "--for=topic/orders"])
            .contains("retention.ms")
            .then_some(())
    });

    // Fewer partitions: `kubectl apply` itself refuses, and says why.
    let refused = namespace
        .try_apply(&topic("orders", 4, 2, "retention.ms: 7200000"))
        .refused();
    assert!(
        refused.contains("cannot shrink from 5 to 4") && refused.contains("make a new Topic"),
        "{refused}"
    );
    assert_eq!(shape(), [2; 5]);
}
