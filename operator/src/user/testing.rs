//! A User as one writes it, for the tests of this room.

use flotilla_crds::User;
use serde_json::{Value, json};

pub(super) fn user(authentication: Value) -> User {
    serde_json::from_value(json!({
        "apiVersion": "flotilla.dev/v1alpha1",
        "kind": "User",
        "metadata": {"name": "checkout", "namespace": "shop", "uid": "uid-of-checkout", "generation": 3},
        "spec": {"cluster": {"name": "events", "namespace": "streaming"}, "authentication": authentication},
    }))
    .expect("a User")
}
