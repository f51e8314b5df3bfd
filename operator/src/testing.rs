//! What the fixtures of all rooms are made with.

use serde_json::Value;

/// A specification with these fields besides or instead; a field that is null is left out.
pub(crate) fn with_fields(mut spec: Value, fields: &Value) -> Value {
    let whole = spec.as_object_mut().expect("a specification");
    for (name, value) in fields.as_object().expect("fields of a specification") {
        if value.is_null() {
            whole.remove(name);
        } else {
            whole.insert(name.clone(), value.clone());
        }
    }
    spec
}
