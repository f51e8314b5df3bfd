use serde_json::{Map, Value};

/// Lists of a pod that are maps, and the key of their elements: what strategic merge patches know them by.
const KEYS: [(&str, &str); 10] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("volumes", "name"),
    ("env", "name"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("ports", "containerPort"),
    ("imagePullSecrets", "name"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
];

/// Lays an overlay onto an object as a strategic merge patch would: objects are merged, `null` takes a field away, elements of
/// the lists in [`KEYS`] are merged by their key and added where there is none, and everything else is replaced.
pub(super) fn merge(base: &mut Value, overlay: &Value) {
    match (base, overlay) {
        (Value::Object(base), Value::Object(overlay)) => merge_objects(base, overlay),
        (base, overlay) => *base = overlay.clone(),
    }
}

fn merge_objects(base: &mut Map<String, Value>, overlay: &Map<String, Value>) {
    for (name, value) in overlay {
        if value.is_null() {
            base.remove(name);
            continue;
        }
        match (base.get_mut(name), value, key_of(name)) {
            (Some(Value::Array(base)), Value::Array(overlay), Some(key)) => merge_lists(base, overlay, key),
            (Some(base), value, _) => merge(base, value),
            (None, value, _) => {
                base.insert(name.clone(), without_nulls(value));
            }
        }
    }
}

fn merge_lists(base: &mut Vec<Value>, overlay: &[Value], key: &str) {
    for element in overlay {
        let same = base
            .iter_mut()
            .find(|known| element.get(key).is_some() && known.get(key) == element.get(key));
        match same {
            Some(known) => merge(known, element),
            None => base.push(without_nulls(element)),
        }
    }
}

fn key_of(list: &str) -> Option<&'static str> {
    KEYS.iter().find(|(name, _)| *name == list).map(|(_, key)| *key)
}

/// What is taken away from nothing is nothing.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn overlay_merges_objects_and_named_elements_and_replaces_the_rest() {
        let mut base = json!({
            "metadata": {"labels": {"a": "1"}},
            "spec": {
                "containers": [{"name": "broker", "image": "x", "env": [{"name": "A", "value": "1"}], "args": ["a", "b"]}],
                "securityContext": {"fsGroup": 1, "runAsNonRoot": true},
                "tolerations": [{"key": "old"}],
            },
        });
        merge(
            &mut base,
            &json!({
                "metadata": {"annotations": {"note": "b", "none": null}},
                "spec": {
                    "containers": [
                        {"name": "broker", "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}], "args": ["c"]},
                        {"name": "sidecar", "image": "y"},
                    ],
                    "securityContext": {"fsGroup": null},
                    "tolerations": [{"key": "new"}],
                },
            }),
        );
        assert_eq!(
            base,
            json!({
                "metadata": {"labels": {"a": "1"}, "annotations": {"note": "b"}},
                "spec": {
                    "containers": [
                        {
                            "name": "broker", "image": "x",
                            "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}],
                            "args": ["c"],
                        },
                        {"name": "sidecar", "image": "y"},
                    ],
                    "securityContext": {"runAsNonRoot": true},
                    "tolerations": [{"key": "new"}],
                },
            })
        );
    }

    #[test]
    fn empty_overlay_changes_nothing() {
        let mut base = json!({"a": [1, {"b": null}]});
        let before = base.clone();
        merge(&mut base, &json!({}));
        assert_eq!(base, before);
    }

    #[test]
    fn elements_without_their_key_are_added() {
        let mut base = json!({"volumes": [{"emptyDir": {}}]});
        merge(&mut base, &json!({"volumes": [{"emptyDir": {}}]}));
        assert_eq!(base, json!({"volumes": [{"emptyDir": {}}, {"emptyDir": {}}]}));
    }
}
