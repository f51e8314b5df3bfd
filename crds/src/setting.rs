use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The value of a Kafka setting: text, or a number or a boolean without quotes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SettingValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Number(f64),
    /// Anything else.
    Text(String),
}

/// As Kafka writes it: the text that its own tools would take.
impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

impl JsonSchema for SettingValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SettingValue".into()
    }

    /// A structural schema knows no "text, number or boolean". What these bounds let in and is none of them, an empty list or mapping, is
    /// refused by whoever decodes the resource, with its name.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Text, a number or a boolean.",
            "x-kubernetes-preserve-unknown-fields": true,
            "maxLength": 4_096,
            "maxItems": 0,
            "maxProperties": 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_as_kafka_writes_them() {
        for (yaml, text) in [
            ("168", "168"),
            ("true", "true"),
            ("0.5", "0.5"),
            ("delete", "delete"),
            ("\"7\"", "7"),
        ] {
            let value: SettingValue = serde_saphyr::from_str(yaml).expect(yaml);
            assert_eq!(value.to_string(), text);
        }
    }

    #[test]
    fn lists_and_mappings_are_refused() {
        for yaml in ["[1, 2]", "{a: 1}", "null"] {
            assert!(serde_saphyr::from_str::<SettingValue>(yaml).is_err(), "{yaml}");
        }
    }
}
