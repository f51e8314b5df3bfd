//! Which of several operators works.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::admission::plane;
use crate::control_plane::ControlPlane;
use crate::operator::{Operator, eventually, get};

fn start(plane: &ControlPlane, namespace: &str, name: &str) -> Operator {
    let environment = [("POD_NAME", name), ("POD_NAMESPACE", namespace)];
    let served = format!("--namespaces={namespace}");
    Operator::start(&plane.kubeconfig(), &["--lease=flotilla", &served], &environment)
}

fn holder(plane: &ControlPlane, namespace: &str) -> Option<Value> {
    Some(get(plane, "lease", namespace, "flotilla")?["spec"]["holderIdentity"].clone())
}

#[test]
fn one_of_two_works_and_the_other_takes_over_at_once_after_a_clean_stop_and_soon_after_a_crash() {
    let plane = plane();
    plane.kubectl(&["create", "namespace", "leased"]);
    let mut first = start(plane, "leased", "first");
    first.wait_for("/readyz", "working");
    let mut second = start(plane, "leased", "second");
    second.wait_for("/readyz", "200 OK");
    second.wait_for("/readyz", "waiting");
    assert_eq!(holder(plane, "leased"), Some("first".into()));
    assert!(first.get("/metrics").contains("flotilla_operator_lease_held 1"));
    assert!(second.get("/metrics").contains("flotilla_operator_lease_held 0"));

    let stopped = Instant::now();
    assert!(first.stop().success());
    second.wait_for("/readyz", "working");
    assert!(
        stopped.elapsed() < Duration::from_secs(5),
        "{:?}",
        stopped.elapsed()
    );
    assert_eq!(holder(plane, "leased"), Some("second".into()));

    let third = start(plane, "leased", "third");
    third.wait_for("/readyz", "waiting");
    let killed = Instant::now();
    second.kill();
    third.wait_for("/readyz", "working");
    assert!(
        killed.elapsed() < Duration::from_secs(16),
        "{:?}",
        killed.elapsed()
    );
    assert_eq!(holder(plane, "leased"), Some("third".into()));
}

#[test]
fn operator_that_lost_its_lease_ends_and_says_to_whom() {
    let plane = plane();
    plane.kubectl(&["create", "namespace", "lost"]);
    let mut operator = start(plane, "lost", "first");
    operator.wait_for("/readyz", "working");
    plane.kubectl(&[
        "patch",
        "lease",
        "flotilla",
        "-n",
        "lost",
        "--type=merge",
        "-p",
        r#"{"spec": {"holderIdentity": "thief"}}"#,
    ]);
    assert_eq!(operator.ended().code(), Some(1));
    assert!(
        operator.log().contains("the lease is now held by thief"),
        "{}",
        operator.log()
    );
    assert_eq!(
        holder(plane, "lost"),
        Some("thief".into()),
        "what is lost is not given back"
    );
}

#[test]
fn lease_that_somebody_deletes_is_made_again() {
    let plane = plane();
    plane.kubectl(&["create", "namespace", "made-again"]);
    let operator = start(plane, "made-again", "first");
    operator.wait_for("/readyz", "working");
    plane.kubectl(&["delete", "lease", "flotilla", "-n", "made-again"]);
    eventually("the lease is back", || {
        (holder(plane, "made-again")? == "first").then_some(())
    });
    operator.wait_for("/readyz", "working");
}
