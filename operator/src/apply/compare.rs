//! Whether what is there is what was asked for. Pure.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::cluster::MANAGER;

/// Whether every field that is asked for is there with its value. Arrays are compared element by element and have the same length; fields
/// beside those asked for do not matter.
pub(super) fn contains(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired
            .iter()
            .all(|(name, value)| live.get(name).is_some_and(|found| contains(value, found))),
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len()
                && desired
                    .iter()
                    .zip(live)
                    .all(|(value, found)| contains(value, found))
        }
        _ => desired == live,
    }
}

/// The part of what is there that was asked for, with the values that it has.
pub(super) fn own_part(desired: &Value, live: &Value) -> Value {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => Value::Object(
            desired
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), own_part(value, live.get(name)?))))
                .collect(),
        ),
        (Value::Array(desired), Value::Array(live)) if desired.len() == live.len() => desired
            .iter()
            .zip(live)
            .map(|(value, found)| own_part(value, found))
            .collect(),
        _ => live.clone(),
    }
}

/// Why what is there must not be written over with what is asked for, if it must not: another resource owns it, or nobody that is ours. What
/// a former resource of the same name owned passes on to this one.
pub(super) fn foreign(desired: &Value, live: &Value) -> Option<String> {
    let owner = |object: &Value| {
        let owners = object["metadata"]["ownerReferences"].as_array()?;
        let owner = owners.iter().find(|owner| owner["controller"] == true)?;
        Some(format!(
            "{} `{}`",
            owner["kind"].as_str()?,
            owner["name"].as_str()?
        ))
    };
    let ours = owner(desired)?;
    match owner(live) {
        Some(theirs) if theirs == ours => None,
        Some(theirs) => Some(format!(
            "is there already, and belongs to {theirs}, not to {ours}"
        )),
        None => {
            let label = &live["metadata"]["labels"]["app.kubernetes.io/managed-by"];
            (label != MANAGER)
                .then(|| format!("is there already, and is not {ours}'s: rename one of them, or delete it"))
        }
    }
}

/// A digest of a value. Names of fields are in order, so that equal values have equal digests.
pub(super) fn digest(value: &Value) -> String {
    let text = value.to_string();
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref()[..8].iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A digest of the fields that a value has, whatever their values: it tells nothing of a Secret's.
pub(super) fn shape(value: &Value) -> String {
    fn bare(value: &Value) -> Value {
        match value {
            Value::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), bare(value)))
                    .collect(),
            ),
            Value::Array(elements) => elements.iter().map(bare).collect(),
            _ => Value::Null,
        }
    }
    digest(&bare(value))
}

/// A value without nulls, empty objects, empty arrays and empty strings, at any depth but in arrays.
pub(super) fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name, without_empty(value)))
                .filter(|(_, value)| match value {
                    Value::Null => false,
                    Value::Object(fields) => !fields.is_empty(),
                    Value::Array(elements) => !elements.is_empty(),
                    _ => true,
                })
                .collect::<Map<_, _>>(),
        ),
        Value::Array(elements) => elements.into_iter().map(without_empty).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::shape as digest_of_shape;
    use super::*;

    #[test]
    fn what_is_there_may_have_more_fields_and_no_more_elements() {
        let live = json!({"a": 1, "b": {"c": [1, {"d": 2, "e": 3}]}, "status": {}});
        assert!(contains(&json!({"a": 1}), &live));
        assert!(contains(&json!({"b": {"c": [1, {"d": 2}]}}), &live));
        assert!(!contains(&json!({"b": {"c": [1]}}), &live));
        assert!(!contains(&json!({"b": {"c": [{"d": 2}, 1]}}), &live));
        assert!(!contains(&json!({"a": "1"}), &live));
        assert!(!contains(&json!({"f": null}), &live));
    }

    #[test]
    fn own_part_has_the_fields_asked_for_and_the_values_found() {
        let live = json!({"cpu": "1", "other": 1, "list": [{"a": 1, "b": 2}], "longer": [1, 2]});
        let desired = json!({"cpu": "1000m", "list": [{"a": 5}], "longer": [1], "missing": 1});
        assert_eq!(
            own_part(&desired, &live),
            json!({"cpu": "1", "list": [{"a": 1}], "longer": [1, 2]})
        );
    }

    #[test]
    fn what_belongs_to_somebody_else_is_foreign() {
        let owned = |kind: &str, name: &str, uid: &str| json!({"metadata": {"ownerReferences": [{"kind": kind, "name": name, "uid": uid, "controller": true}]}});
        let desired = owned("User", "checkout", "2");
        assert_eq!(
            foreign(&desired, &owned("User", "checkout", "1")),
            None,
            "a successor inherits"
        );
        assert_eq!(
            foreign(&desired, &owned("Cluster", "events", "1")).unwrap(),
            "is there already, and belongs to Cluster `events`, not to User `checkout`"
        );
        assert!(foreign(&desired, &json!({"metadata": {"name": "checkout"}})).is_some());
        let left = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": MANAGER}}});
        assert_eq!(foreign(&desired, &left), None);
        assert_eq!(
            foreign(
                &json!({"metadata": {}}),
                &owned("StatefulSet", "events-main", "1")
            ),
            None
        );
    }

    #[test]
    fn shape_knows_the_fields_and_not_their_values() {
        let shape = |value: Value| digest_of_shape(&value);
        assert_eq!(
            shape(json!({"data": {"password": "a"}})),
            shape(json!({"data": {"password": "b"}}))
        );
        assert_ne!(
            shape(json!({"data": {"password": "a"}})),
            shape(json!({"data": {"user": "a"}}))
        );
        assert_ne!(shape(json!({"ports": [1]})), shape(json!({"ports": [1, 2]})));
        assert_eq!(shape(json!({"a": 1, "b": 2})), shape(json!({"b": 1, "a": 2})));
    }

    #[test]
    fn empty_fields_go_at_any_depth() {
        let value =
            json!({"a": null, "b": {"c": {}}, "d": [], "e": [{"f": null, "g": 0}], "h": false, "i": ""});
        assert_eq!(
            without_empty(value),
            json!({"e": [{"g": 0}], "h": false, "i": ""})
        );
    }
}
